"""From telemetry to models, and from models to predictions: the verbs' work, free of any shell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from plugcast.domain.units import HORIZON_SLOTS, SLOT_MIN
from plugcast.errors import InputError, NoUsableRowsError
from plugcast.features.gaps import drop_short_traces
from plugcast.features.spec import FeatureSpec
from plugcast.forecast import artefacts, horizon, short
from plugcast.forecast.boosting import Boosting
from plugcast.forecast.hazard import HazardSpec
from plugcast.forecast.lead_columns import LEAD_COLUMNS
from plugcast.forecast.panel import Panel, panel
from plugcast.forecast.scenarios import ScenarioModel
from plugcast.services import unlike

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from plugcast.config import Settings
    from plugcast.domain.rejected import Rejected
    from plugcast.ports import ArtifactStore, Counts, TelemetryRead


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """What training did; ``metrics`` is what ``metrics.json`` holds."""

    metrics: dict[str, Any]
    rejected: tuple[Rejected, ...]
    notes: tuple[str, ...] = ()
    """What the telemetry could not teach; in the metrics too."""


def train(
    read: TelemetryRead,
    store: ArtifactStore,
    settings: Settings,
    *,
    source: str,
    now: datetime,
    threads: int,
    with_horizon: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> TrainingReport:
    """Train the short pair and the horizon model, and store them with their metrics.

    Args:
        read: Telemetry with its books.
        store: Where the models go.
        settings: Site zone, gap limit, leads, shares.
        source: Name of the telemetry, for the record.
        now: For the record.
        threads: Threads to train with.
        with_horizon: Also train the 48 h model.
        say: Told what is being done.

    Raises:
        NoUsableRowsError: There is too little to learn from.
    """
    samples, too_short = drop_short_traces(read.samples, settings.features.min_rows)
    if samples.is_empty():
        raise NoUsableRowsError(
            f"{source}: no vehicle has the {settings.features.min_rows} samples that training wants "
            f"(accepted {read.counts.accepted} of {read.counts.read} rows). Give a longer file."
        )
    say(f"features of {samples.height:,} samples of {samples['asset_id'].n_unique():,} vehicles")
    spec = FeatureSpec(time_zone=settings.site.time_zone, gap_limit_min=settings.features.gap_limit_min)
    known = panel(samples, spec)
    say(f"training the +{settings.forecast.lead_min:g} min pair")
    pair = short.train(known, _short_spec(settings, threads))
    notes, books = _notes(known), _books(read.counts, too_short)
    metrics: dict[str, Any] = {"source": source, "books": books, "notes": notes, **pair.metrics}
    odd, metrics["unlike"] = unlike.fit(known, pair.models.lead_min)
    long_range = None
    if with_horizon:
        say("training the 15 min to 48 h model")
        long_range = horizon.train(known, _horizon_spec(settings, threads))
        metrics["horizon"] = long_range.metrics
    model = None if long_range is None else long_range.model
    description = artefacts.Description(
        format=artefacts.FORMAT,
        spec=spec,
        spec_hash=spec.hash,
        columns=(*spec.columns, *LEAD_COLUMNS),
        lead_min=settings.forecast.lead_min,
        horizon=None if model is None else artefacts.parts_of(model, known.plug_columns),
        trained_at=now.isoformat(timespec="seconds"),
        source=source,
        samples=known.rows,
    )
    artefacts.save(store, description, pair.models, model, metrics, unlike=odd)
    if with_horizon:
        _store_scenarios(known, store, threads)
    return TrainingReport(metrics=metrics, rejected=(*read.rejected, *too_short), notes=notes)


def predict(read: TelemetryRead, store: ArtifactStore) -> pl.DataFrame:
    """The short-lead prediction for EVERY vehicle's newest sample (``schemas.PREDICTIONS``); needs no label.

    The energy is null where the newest sample carries no state of charge.
    """
    description = artefacts.describe(store)
    models = artefacts.load_short(store, description)
    known = panel(read.samples, description.spec)
    row = known.newest_rows()
    probability, energy = models.predict(known, row) if len(row) else (np.zeros(0), np.zeros(0))
    return _newest(known, row).with_columns(
        plug_probability=pl.Series(probability, dtype=pl.Float64),
        predicted_energy_to_full=pl.Series(energy, dtype=pl.Float64).fill_nan(None),
    )


def forecast(read: TelemetryRead, store: ArtifactStore, *, assets: Sequence[str] = ()) -> pl.DataFrame:
    """The next 48 h of some vehicles (none named: all), a row for every quarter of an hour.

    Returns:
        ``asset_id, issued_at, valid_at, lead_min, plug_probability, basis`` (``own history``, or ``pooled`` for a
        vehicle that is new) and the 10, 50 and 90 % quantiles of energy to full in % (null without a state of charge).

    Raises:
        InputError: A named vehicle has no sample.
    """
    description = artefacts.describe(store)
    model = artefacts.load_horizon(store, description)
    known = panel(read.samples, description.spec)
    row = known.newest_rows()
    if assets:
        absent = sorted(set(assets) - set(known.asset_ids))
        if absent:
            some = ", ".join(known.asset_ids[:5])
            raise InputError(
                f"No sample of {', '.join(absent)}; the file has {len(known.asset_ids)} vehicles: {some} ..."
            )
        row = row[np.isin(np.array(known.asset_ids)[known.asset[row]], assets)]
    leads = np.arange(1, HORIZON_SLOTS + 1) * float(SLOT_MIN)
    expected = model.expect_paths(known, row, leads)
    frame = _newest(known, np.repeat(row, len(leads))).rename({"timestamp": "issued_at"})
    energies = {
        "energy_to_full_low_pct": expected.energy_low_pct,
        "energy_to_full_pct": expected.energy_median_pct,
        "energy_to_full_high_pct": expected.energy_high_pct,
    }
    lead = pl.Series(np.tile(leads, len(row)))
    return frame.with_columns(
        valid_at=pl.col("issued_at") + (lead * 60_000_000).cast(pl.Duration("us")),
        lead_min=lead,
        plug_probability=pl.Series(expected.plug_probability),
        basis=pl.Series(expected.basis.tolist(), dtype=pl.String),
        **{
            name: pl.lit(None, pl.Float64) if value is None else pl.Series(value).fill_nan(None)
            for name, value in energies.items()
        },
    )


def _newest(known: Panel, row: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "asset_id": pl.Series([known.asset_ids[code] for code in known.asset[row]], dtype=pl.String),
            "timestamp": pl.Series(known.timestamp_us[row]).cast(pl.Datetime("us", "UTC")),
        }
    )


def _notes(known: Panel) -> tuple[str, ...]:
    plugged = known.is_plugged_in.astype(np.bool_)
    if plugged.all() or not plugged.any():
        state = "plugged in" if plugged.all() else "unplugged"
        advice = "Give telemetry that has both, or forecast from sessions (docs/how-to/forecast-sessions.md)."
        return (f"Every sample is {state}: the plug model can say nothing else. {advice}",)
    return ()


def _books(counts: Counts, too_short: Sequence[Rejected]) -> dict[str, int]:
    return {
        "read": counts.read,
        "accepted": counts.accepted,
        "rejected": counts.rejected,
        "duplicates": counts.duplicates,
        "vehicles_too_short": len(too_short),
    }


def _short_spec(settings: Settings, threads: int) -> short.ShortSpec:
    wanted = settings.forecast
    return short.ShortSpec(
        lead_min=wanted.lead_min,
        tolerance_min=wanted.tolerance_min,
        test_share=wanted.test_share,
        unseen_share=wanted.unseen_share,
        max_rows=wanted.max_rows,
        boosting=Boosting(threads=threads),
    )


def _horizon_spec(settings: Settings, threads: int) -> horizon.HorizonSpec:
    wanted, usual = settings.forecast, horizon.HorizonSpec()
    return horizon.HorizonSpec(
        test_share=wanted.test_share,
        unseen_share=wanted.unseen_share,
        max_rows=min(wanted.max_rows, usual.max_rows),
        anchor_rows=min(wanted.max_rows // 4, usual.anchor_rows),
        boosting=Boosting(rounds=150, threads=threads),
    )


def _store_scenarios(known: Panel, store: ArtifactStore, threads: int) -> bool:
    """Train what draws trajectories and store it beside the other models; False where hardly any state changes."""
    wanted = HazardSpec()
    try:
        model = ScenarioModel.fit(known, spec=replace(wanted, boosting=replace(wanted.boosting, threads=threads)))
    except NoUsableRowsError:
        return False
    model.save(store)
    return True


def scenarios(
    read: TelemetryRead, store: ArtifactStore, forecasts: pl.DataFrame, count: int, *, seed: int = 0
) -> list[dict[str, Any]]:
    """Joint futures of the vehicles of some forecasts, agreeing with their plug probabilities.

    Args:
        read: The telemetry that the forecasts were made from.
        store: Where the models are.
        forecasts: What ``forecast`` gave.
        count: Scenarios of each vehicle.
        seed: Of the draws; the same seed gives a vehicle the same scenarios, whoever else is asked for.

    Returns:
        A record a vehicle: ``asset_id, issued_at``, ``weight`` (count), and ``plugged_in`` and ``soc_pct`` (count lists
        of 192; charge null where unknown), each value standing at the end of its quarter of an hour.

    Raises:
        ModelNotFoundError: The models were trained without scenarios.
    """
    description = artefacts.describe(store)
    model = ScenarioModel.load(store)
    known = panel(read.samples, description.spec)
    named = forecasts["asset_id"].unique(maintain_order=True).to_list()
    row = known.newest_rows()
    row = row[np.isin(np.array(known.asset_ids)[known.asset[row]], named)]
    chances = {name: part["plug_probability"].to_numpy() for (name,), part in forecasts.group_by("asset_id")}
    names = [known.asset_ids[code] for code in known.asset[row]]
    wanted = np.array([chances[name] for name in names]).reshape(len(row), HORIZON_SLOTS)
    drawn = model.draw(known, row, count, np.random.default_rng(seed), wanted)
    issued = _newest(known, row)["timestamp"].to_list()
    return [
        {
            "asset_id": name,
            "issued_at": at,
            "weight": drawn.weight[place].round(6).tolist(),
            "plugged_in": drawn.plugged[place].tolist(),
            "soc_pct": drawn.soc[place].astype(np.float64).round(2).tolist(),
        }
        for place, (name, at) in enumerate(zip(names, issued, strict=True))
    ]
