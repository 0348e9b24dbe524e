"""Backtests of a user's data: which samples, which split, and every figure with its interval in one document."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from plugcast.domain.units import SLOT_MIN
from plugcast.errors import InputError, NoUsableRowsError
from plugcast.features.gaps import drop_short_traces
from plugcast.features.occupancy import plug_states
from plugcast.features.spec import FeatureSpec
from plugcast.forecast import backtest, contenders, folds
from plugcast.forecast.horizon import HorizonSpec
from plugcast.forecast.panel import local_clock
from plugcast.services.backtest_figures import figures_at, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plugcast.config import Settings
    from plugcast.ports import TelemetryRead
    from plugcast.services.showcase import Shown

MOST_SAMPLES: Final = 1_500_000
"""Of plug states; older ones are left out, and the document says so."""
PAST_DAYS: Final = 180
"""Learnt from before a date of change."""
FAN_SHARES: Final = (0.1, 0.5, 0.9)
"""Assets whose forecasts are drawn, by their rank in Brier score: a good, a typical and a bad one."""
FAN_LEAD_MIN: Final = 360.0
FAN_STEP_MIN: Final = 15
FAN_HOURS: Final = 48
DAY_FROM_H, DAY_TO_H = 8, 18


class SplitKind(StrEnum):
    """What the test part is that training had not seen."""

    TIME = "time"
    UNSEEN = "unseen"
    SITE = "site"
    REGIME = "regime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to test."""

    split: SplitKind = SplitKind.TIME
    at: datetime | None = None
    """For ``regime``: when things changed."""
    folds: int = 3
    leads_min: tuple[float, ...] = backtest.LEADS_MIN
    since: datetime | None = None
    until: datetime | None = None
    most_rows: int = backtest.MOST_ROWS
    model: HorizonSpec = field(default_factory=HorizonSpec)
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is forecast: plug states of vehicles or of stations."""

    samples: pl.DataFrame
    """``schemas.TELEMETRY``."""
    name: str
    source: str
    time_zone: str
    kind: str
    """``vehicle`` or ``station``."""
    group_of: Mapping[str, str] = field(default_factory=dict)
    """Site of each asset, where it is known."""
    left_out: str = ""
    """What of the input was not used, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """One asset's forecast over 48 h beside what came. Arrays over leads, or over the samples that came."""

    asset_id: str
    rank: str
    issued_at: datetime
    lead_h: np.ndarray
    forecast: backtest.Forecast
    actual_h: np.ndarray
    """NaN stands in the two below where a silence begins."""
    actual_plugged: np.ndarray
    actual_energy_pct: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """The figures as one JSON document, and what is drawn beside them."""

    document: dict[str, Any]
    fans: tuple[Fan, ...]
    result: backtest.Backtest


def of_telemetry(read: TelemetryRead, settings: Settings, *, source: str) -> Subject:
    """The vehicles of a telemetry file.

    Raises:
        NoUsableRowsError: No vehicle has enough samples.
    """
    samples, short = drop_short_traces(read.samples, settings.features.min_rows)
    if samples.is_empty():
        raise NoUsableRowsError(
            f"{source}: no vehicle has the {settings.features.min_rows} samples that a backtest wants. "
            "Give a longer file."
        )
    return Subject(
        samples=samples,
        name=settings.site.name,
        source=source,
        time_zone=settings.site.time_zone,
        kind="vehicle",
        left_out=f"{len(short)} vehicles with too few samples" if short else "",
    )


def of_sessions(shown: Shown, plan: Plan) -> Subject:
    """The stations of a file of sessions, as plug states every quarter of an hour.

    Stations of several sites carry the site's name, so that none is taken for another's.
    """
    sessions = shown.read.sessions
    several = sessions["site_id"].n_unique() > 1
    if several:
        sessions = sessions.with_columns(pl.concat_str("site_id", "station_id", separator=" ").alias("station_id"))
    first, last = _slot(sessions["arrival_at"].min()), _slot(sessions["arrival_at"].max())
    start_at, end_at = max(first, plan.since or first), min(last, plan.until or last)
    if plan.at is not None and plan.since is None:
        start_at = max(start_at, plan.at - timedelta(days=PAST_DAYS))
    slots_a_day = 24 * 60 // SLOT_MIN
    most_days = MOST_SAMPLES // (slots_a_day * max(1, sessions["station_id"].n_unique()))
    note = ""
    if plan.since is None and end_at - start_at > timedelta(days=most_days):
        start_at = end_at - timedelta(days=most_days)
        note = f"plug states before {start_at:%Y-%m-%d} (--since takes them in)"
    if end_at - start_at < timedelta(days=2):
        raise NoUsableRowsError(f"{shown.source}: wanted sessions of more than two days; found {start_at} to {end_at}.")
    sites = dict(sessions.select("station_id", "site_id").unique().iter_rows())
    return Subject(
        samples=plug_states(sessions.filter(pl.col("arrival_at") < end_at), start_at, end_at),
        name=shown.name,
        source=shown.source,
        time_zone=shown.time_zone,
        kind="station",
        group_of=sites,
        left_out=note,
    )


def _slot(at: Any) -> datetime:  # noqa: ANN401 - polars' minimum of a column of instants
    if not isinstance(at, datetime):
        raise NoUsableRowsError("Wanted sessions; found none.")
    return at.replace(minute=at.minute - at.minute % SLOT_MIN, second=0, microsecond=0)


def run_backtest(
    subject: Subject,
    plan: Plan,
    *,
    gap_limit_min: float = 240.0,
    more: Sequence[backtest.Contender] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Tested:
    """Run the backtest and put every figure into one document.

    Args:
        subject: What to forecast.
        plan: How to test.
        gap_limit_min: A longer silence cuts a trace.
        more: Contenders beside the model and the baselines.
        say: Told what is being done.

    Raises:
        NoUsableRowsError: Too little data for this split.
        LeakageError: A contender looked ahead.
    """
    begun = time.perf_counter()
    samples = _between(subject.samples, plan)
    layout = layout_folds(samples, plan, subject.group_of)
    spec = FeatureSpec(time_zone=subject.time_zone, gap_limit_min=gap_limit_min)
    tolerance = SLOT_MIN / 2
    result = backtest.run(
        samples,
        spec,
        layout,
        (*_contenders(plan, tolerance), *more),
        leads_min=plan.leads_min,
        tolerance_min=tolerance,
        most_rows=plan.most_rows,
        say=say,
    )
    say("figures and their intervals")
    document = {
        "name": "backtest",
        "data": _described(subject, samples, result),
        "split": _split(plan, result),
        "leads": [figures_at(scored, [fold.name for fold in layout]) for scored in result.leads],
        "machine": machine(threads=plan.threads),
        "seconds": round(time.perf_counter() - begun, 1),
    }
    return Tested(document=document, fans=_fans(result), result=result)


def _contenders(plan: Plan, tolerance_min: float) -> list[backtest.Contender]:
    """The model first, then what it has to beat; after a change also the model that is never refitted."""
    spec = replace(
        plan.model,
        tolerance_min=tolerance_min,
        boosting=replace(plan.model.boosting, threads=plan.threads),
    )
    model = contenders.HorizonContender(spec=spec)
    every: list[backtest.Contender] = [
        model,
        contenders.PersistenceContender(),
        contenders.ClimatologyContender(),
        contenders.BlendContender(leads_min=plan.leads_min, tolerance_min=tolerance_min),
    ]
    if plan.split is SplitKind.REGIME:
        every.append(contenders.FrozenContender(recipe=model))
    return every


def _between(samples: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    kept = samples
    if plan.since is not None:
        kept = kept.filter(pl.col("timestamp") >= plan.since)
    if plan.until is not None:
        kept = kept.filter(pl.col("timestamp") < plan.until)
    if kept.is_empty():
        raise NoUsableRowsError(f"No sample lies between {plan.since} and {plan.until}.")
    return kept


def layout_folds(samples: pl.DataFrame, plan: Plan, group_of: Mapping[str, str]) -> tuple[folds.Fold, ...]:
    """The folds of a split.

    Raises:
        InputError: A date is missing, or there is one site only.
    """
    first, last = samples["available_at"].min(), samples["available_at"].max()
    assert isinstance(first, datetime)  # noqa: S101 - the caller has rows
    assert isinstance(last, datetime)  # noqa: S101 - the same
    if plan.split is SplitKind.TIME:
        return folds.later_time(first, last, folds=plan.folds)
    if plan.split is SplitKind.REGIME:
        if plan.at is None:
            raise InputError("A split at a change wants its date. Give it with: --at 2020-03-15")
        if plan.at <= first:
            raise InputError(f"Nothing comes before {plan.at.isoformat()}: the data begin at {first.isoformat()}.")
        return folds.after(plan.at, last, folds=plan.folds)
    assets = samples["asset_id"].unique().sort().to_list()
    cut_at = last - (last - first) * folds.TEST_SHARE
    if plan.split is SplitKind.SITE and not group_of:
        raise InputError("Vehicles have no site here. Split by time or by unseen vehicles, or give sessions.")
    return folds.unseen(assets, cut_at, last, group_of=group_of if plan.split is SplitKind.SITE else None)


def _described(subject: Subject, samples: pl.DataFrame, result: backtest.Backtest) -> dict[str, Any]:
    return {
        "site": subject.name,
        "source": subject.source,
        "kind": subject.kind,
        "assets": len(result.panel.asset_ids),
        "samples": result.panel.rows,
        "samples_late": result.panel.late,
        "first_at": samples["timestamp"].min(),
        "last_at": samples["timestamp"].max(),
        "time_zone": subject.time_zone,
        "plugged_share": float(result.panel.is_plugged_in.mean()),
        "has_charge": bool((~np.isnan(result.panel.soc)).any()),
        "left_out": subject.left_out,
    }


def _split(plan: Plan, result: backtest.Backtest) -> dict[str, Any]:
    return {
        "kind": plan.split.value,
        "at": plan.at,
        "folds": [
            {
                "name": fold.name,
                "learnt_until": fold.origin_at,
                "learnt_from_samples": learnt,
                "tested_from": fold.start_at,
                "tested_until": fold.end_at,
                "assets_hidden": len(fold.hidden),
                "assets_tested": len(result.panel.asset_ids) if fold.tested is None else len(fold.tested),
            }
            for fold, learnt in zip(result.folds, result.fit_rows, strict=True)
        ],
        "origins_audited": result.audited,
    }


def _fans(result: backtest.Backtest) -> tuple[Fan, ...]:
    """A well, a typically and a badly forecast asset, each from a sample with all 48 hours ahead of it."""
    scored = min(result.leads, key=lambda each: abs(each.lead_min - FAN_LEAD_MIN))
    chance = next(iter(scored.forecasts.values())).plug_probability
    lost = (chance - scored.plugged) ** 2
    codes, place = np.unique(scored.asset, return_inverse=True)
    mean = np.bincount(place, weights=lost) / np.bincount(place)
    moves = np.array([np.ptp(scored.plugged[scored.asset == code]) > 0 for code in codes])
    ranked = codes[np.argsort(mean)][moves[np.argsort(mean)]]
    fans: list[Fan] = []
    for share, rank in zip(FAN_SHARES, ("well", "typically", "badly"), strict=True):
        if len(ranked) == 0:
            break
        fan = _fan(result, scored, int(ranked[round(share * (len(ranked) - 1))]), f"{rank} forecast")
        if fan is not None and fan.asset_id not in {each.asset_id for each in fans}:
            fans.append(fan)
    return tuple(fans)


def _fan(result: backtest.Backtest, scored: backtest.Scored, asset: int, rank: str) -> Fan | None:
    known, mine = result.panel, np.flatnonzero(scored.asset == asset)
    horizon_us = FAN_HOURS * 3_600_000_000
    rows = np.flatnonzero(known.asset == asset)
    reach = known.timestamp_us[scored.row[mine]] + horizon_us <= known.timestamp_us[rows[-1]]
    mine = mine[reach]
    if len(mine) == 0:
        return None
    hour, _ = local_clock(known.timestamp_us[scored.row[mine]], known.spec.time_zone)
    by_day = mine[(hour >= DAY_FROM_H) & (hour < DAY_TO_H)]  # at night there is little to see
    mine = by_day if len(by_day) else mine
    at = mine[len(mine) // 2]
    row = int(scored.row[at])
    lead = np.arange(FAN_STEP_MIN, FAN_HOURS * 60 + 1, FAN_STEP_MIN, dtype=float)
    model = next(iter(result.fitted[int(scored.fold[at])].values()))
    began = known.timestamp_us[row]
    came = rows[(known.timestamp_us[rows] >= began) & (known.timestamp_us[rows] <= began + horizon_us)]
    hours = (known.timestamp_us[came] - began) / 3.6e9
    silent = np.flatnonzero(np.diff(known.segment[came])) + 1  # nothing is drawn across a silence

    def broken(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.insert(values.astype(float), silent, np.nan))

    return Fan(
        asset_id=known.asset_ids[asset],
        rank=rank,
        issued_at=pl.Series([began]).cast(pl.Datetime("us", "UTC")).item(),
        lead_h=lead / 60,
        forecast=model.forecast(known, np.full(len(lead), row), lead),
        actual_h=np.insert(hours, silent, hours[silent - 1]),
        actual_plugged=broken(known.is_plugged_in[came]),
        actual_energy_pct=broken(100.0 - known.soc[came]),
    )
