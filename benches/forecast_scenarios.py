"""Trajectories of 48 h beside independent draws and a Gaussian copula from the same calibrated probabilities.

Everything is trained on what was known before the test part: the horizon model, the scenarios' hazard, and the copula's
one number, which is the best of a list on the last weeks of the training part. On real home chargers (train before
November 2019, test to mid December) and on generated telemetry. Losses are means over origins, with 95 % intervals of
the skill over resampled vehicles and weeks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from benches import data_folder
from benches.registry import Bar, BenchSpec, Outcome, note

from plugcast.features.occupancy import plug_states
from plugcast.features.online import micros
from plugcast.features.spec import FeatureSpec
from plugcast.features.targets import outcomes
from plugcast.forecast import copula, horizon
from plugcast.forecast.bootstrap import Blocks, skill_interval
from plugcast.forecast.panel import panel
from plugcast.forecast.scenarios import ScenarioModel, Scenarios
from plugcast.forecast.split import Split
from plugcast.simulate.realism import read_home_sessions
from plugcast.simulate.telemetry import GeneratorSpec, generate

if TYPE_CHECKING:
    from plugcast.forecast.panel import Panel

PHIS: Final = (0.96, 0.97, 0.98, 0.985, 0.99, 0.9925, 0.995, 0.9975)
LEADS_MIN: Final = np.arange(1, 193) * 15.0
SLOTS: Final = 192
FEW, MANY = 20, 100
CPU_LIMIT_MS: Final = 11.0
"""A car's 20 paths through a trees' call at every step."""
EVERY_US: Final = 9 * 3_600_000_000
FEWEST_SESSIONS, HISTORY_DAYS = 20, 28
SEED: Final = 42
ENOUGH: Final = 200
"""Origins for a mean number of changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A data set, where its test part begins, and what the copula's number is fitted on."""

    name: str
    known: Panel
    cut_us: int
    fitted_us: int
    """From here to the cut."""
    assets: np.ndarray
    """Codes of those that are scored."""
    most: int
    """Origins at most."""
    rows: int
    """That each anchor lead of the horizon model learns from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Origins with the 48 h that followed them; ``known`` is what models may be trained on before ``cut_us``."""

    known: Panel
    cut_us: int
    row: np.ndarray
    plugged: np.ndarray
    """State at the origin. Shape (n,)."""
    truth: np.ndarray
    """Bool. Shape (n, 192)."""
    soc: np.ndarray
    """%. Shape (n, 192)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Paths of one way to draw them, with weights."""

    plugged: np.ndarray
    weight: np.ndarray

    @classmethod
    def even(cls, plugged: np.ndarray) -> Drawn:
        return cls(plugged=plugged, weight=np.full(plugged.shape[:2], 1.0 / plugged.shape[1]))


def run(size: str) -> Outcome:
    """Both data sets; the small size is a few generated vehicles only."""
    fleet, days, most, rows = {"small": (12, 21, 24, 2_000), "full": (100, 35, 800, 20_000)}[size]
    spec = GeneratorSpec(vehicles=fleet, days=days)
    cases: list[dict[str, Any]] = []
    bars: list[Bar] = []
    for source in (_generated(spec, most, rows), _homes(most, rows) if size == "full" else None):
        if source is not None:
            note(f"{source.name}: {len(source.known.asset_ids)} vehicles, {source.known.rows} samples")
            more, held = _measure(source)
            cases += more
            bars += held
    return Outcome(data=f"generated, seed {spec.seed}; private home chargers of Trondheim", cases=cases, bars=bars)


def _measure(source: Source) -> tuple[list[dict[str, Any]], list[Bar]]:
    name, known = source.name, source.known
    earlier = _task(source, source.fitted_us, source.cut_us)
    phi = _fit_phi(earlier, _marginals(earlier, source.rows))
    test = _task(source, source.cut_us, int(known.timestamp_us.max()))
    wanted = _marginals(test, source.rows)
    model = ScenarioModel.fit(known, until_us=source.cut_us)
    ready = model.prepare(known)
    started = time.process_time()
    few = model.draw(ready, test.row, FEW, np.random.default_rng(SEED), wanted)
    cpu_ms = (time.process_time() - started) / len(test.row) * 1000
    many = model.draw(ready, test.row, MANY, np.random.default_rng(SEED), wanted)
    rng = np.random.default_rng(SEED)
    rivals = {
        "independent": Drawn.even(copula.independent(wanted, MANY, rng)),
        "copula": Drawn.even(copula.gaussian_copula(wanted, MANY, phi, rng)),
        "hazard alone": _drawn(model.draw(ready, test.row, MANY, np.random.default_rng(SEED))),
    }
    ours = {f"scenarios x {FEW}": _drawn(few), f"scenarios x {MANY}": _drawn(many)}
    real = float(copula.changes(test.truth, test.plugged).mean())
    cases = [
        {"case": name, "way": way, "real_changes_48h": real, **_described(drawn, test, wanted)}
        for way, drawn in (ours | rivals).items()
    ]
    cases[0]["cpu_ms_per_vehicle"], cases[3]["phi"] = cpu_ms, phi
    skills, bars = _skills(name, _drawn(many), rivals, test)
    for case in cases[:2]:
        if case["origins"] >= ENOUGH:  # the real mean of a few is a matter of luck
            far = abs(case["changes_48h"] / real - 1)
            bars.append(
                Bar(name=f"{name}, {case['way']}: changes away from real", value=far, limit=0.1, sense="at_most")
            )
        miss = case["marginal_mean_abs_error"]
        bars.append(Bar(name=f"{name}, {case['way']}: marginals", value=miss, limit=0.02, sense="at_most"))
    bars.append(Bar(name=f"{name}: CPU ms a vehicle x {FEW}", value=cpu_ms, limit=CPU_LIMIT_MS, sense="at_most"))
    return [*cases, *skills, *_charge(name, many, test)], bars


def _drawn(scenarios: Scenarios) -> Drawn:
    return Drawn(plugged=scenarios.plugged, weight=scenarios.weight)


def _losses(drawn: Drawn, task: Task) -> dict[str, np.ndarray]:
    """Each origin's, in slots but for the energy score."""
    paths, truth, start = drawn.plugged, task.truth, task.plugged
    figures = {
        "crps_plugged_slots": (paths.sum(axis=2), truth.sum(axis=1)),
        "crps_first_change_slots": (copula.first_change(paths, start), copula.first_change(truth, start)),
        "crps_first_arrival_slots": (copula.first_arrival(paths, start), copula.first_arrival(truth, start)),
    }
    result = {name: copula.crps_weighted(each, drawn.weight, came) for name, (each, came) in figures.items()}
    parts = [slice(low, low + 100) for low in range(0, len(paths), 100)]
    result["energy_score"] = np.concatenate(
        [copula.energy_score(paths[part], drawn.weight[part], truth[part]) for part in parts]
    )
    return result


def _described(drawn: Drawn, task: Task, wanted: np.ndarray) -> dict[str, Any]:
    miss = np.abs(np.einsum("ns,nst->nt", drawn.weight, drawn.plugged) - wanted)
    turns = (drawn.weight * copula.changes(drawn.plugged, task.plugged)).sum(axis=1)
    return {
        "origins": len(task.row),
        "vehicles": len(np.unique(task.known.asset[task.row])),
        "changes_48h": float(turns.mean()),
        **{figure: float(loss.mean()) for figure, loss in _losses(drawn, task).items()},
        "marginal_mean_abs_error": float(miss.mean()),
        "marginal_worst_lead": float(miss.mean(axis=0).max()),
        "marginal_max": float(miss.max()),
        "effective_share": float(np.mean(1 / (drawn.weight**2).sum(axis=1)) / drawn.weight.shape[1]),
    }


def _skills(name: str, ours: Drawn, rivals: dict[str, Drawn], task: Task) -> tuple[list[dict[str, Any]], list[Bar]]:
    mine = _losses(ours, task)
    blocks = Blocks.of(task.known.asset[task.row], task.known.timestamp_us[task.row])
    cases, bars = [], []
    for rival in ("independent", "copula"):
        theirs = _losses(rivals[rival], task)
        for figure, loss in mine.items():
            skill = skill_interval(loss, theirs[figure], blocks)
            span = {"below": skill.value, "low": skill.low, "high": skill.high}
            cases.append({"case": name, "figure": figure, "reference": rival, **span})
            limit = float(theirs[figure].mean())
            bars.append(
                Bar(name=f"{name}: {figure} below {rival}", value=float(loss.mean()), limit=limit, sense="at_most")
            )
    return cases, bars


def _charge(name: str, scenarios: Scenarios, task: Task) -> list[dict[str, Any]]:
    """Charge at some leads beside persistence, where it is known."""
    cases = []
    for lead in (60, 360, 1440, 2880):
        place = lead // 15 - 1
        came, members = task.soc[:, place], scenarios.soc[:, :, place]
        ok = ~np.isnan(came) & ~np.isnan(members).any(axis=1)
        if not ok.any():
            continue
        loss = copula.crps_weighted(members[ok], scenarios.weight[ok], came[ok])
        mean = (scenarios.weight * members).sum(axis=1)
        cases.append(
            {
                "case": name,
                "figure": f"charge in {lead / 60:g} h, %",
                "crps": float(loss.mean()),
                "mae_of_mean": float(np.abs(mean - came)[ok].mean()),
                "bias_of_mean": float((mean - came)[ok].mean()),
                "persistence_mae": float(np.abs(task.known.soc[task.row] - came)[ok].mean()),
            }
        )
    return cases


def _task(source: Source, from_us: int, until_us: int) -> Task:
    """Origins about every nine hours whose 48 h are known slot by slot before the end."""
    known = source.known
    turn = np.r_[True, known.timestamp_us[1:] // EVERY_US != known.timestamp_us[:-1] // EVERY_US]
    inside = (known.timestamp_us >= from_us) & (known.timestamp_us < until_us - (SLOTS + 1) * 900_000_000)
    row = np.flatnonzero(turn & inside & np.isin(known.asset, source.assets))
    found = outcomes(
        known.asset,
        known.timestamp_us,
        known.segment,
        np.repeat(row, SLOTS),
        np.tile(LEADS_MIN, len(row)),
        tolerance_min=15.0,
    )
    whole = found.found.reshape(-1, SLOTS).all(axis=1)
    row, came = row[whole], found.row.reshape(-1, SLOTS)[whole]
    some = np.unique(np.linspace(0, len(row) - 1, min(source.most, len(row))).astype(np.int64))
    row, came = row[some], came[some]
    return Task(
        known=known,
        cut_us=from_us,
        row=row,
        plugged=known.is_plugged_in[row].astype(bool),
        truth=known.is_plugged_in[came].astype(bool),
        soc=known.soc[came],
    )


def _marginals(task: Task, rows: int) -> np.ndarray:
    """Calibrated probabilities of a horizon model trained before the task's first origin. Shape (n, 192)."""
    nobody = np.zeros(len(task.known.asset_ids), bool)
    spec = horizon.HorizonSpec(anchor_rows=rows, max_rows=6 * rows)
    model = horizon.fit(task.known, spec, Split(cut_us=task.cut_us, unseen=nobody))
    return model.expect_paths(task.known, task.row, LEADS_MIN).plug_probability.reshape(-1, SLOTS)


def _fit_phi(task: Task, wanted: np.ndarray) -> float:
    """The copula's best on the training part, by CRPS of the slots plugged in."""
    loss = {}
    for phi in PHIS:
        drawn = Drawn.even(copula.gaussian_copula(wanted, MANY // 2, phi, np.random.default_rng(SEED)))
        slots = copula.crps_weighted(drawn.plugged.sum(axis=2), drawn.weight, task.truth.sum(axis=1))
        loss[phi] = float(slots.mean())
    return min(loss, key=lambda phi: loss[phi])


def _generated(spec: GeneratorSpec, most: int, rows: int) -> Source:
    known = panel(generate(spec), FeatureSpec())
    end, day = int(known.timestamp_us.max()), 86_400_000_000
    return Source(
        name="generated",
        known=known,
        cut_us=end - 7 * day,
        fitted_us=end - 14 * day,
        assets=np.arange(len(known.asset_ids)),
        most=most,
        rows=rows,
    )


def _homes(most: int, rows: int) -> Source | None:
    """Private users with a past: 20 sessions and four weeks before the cut; nothing after it has a say."""
    data_dir = data_folder.data_dir()
    if not data_dir.is_dir():
        note(f"no real data: {data_dir} is not a directory; set PLUGCAST_DATA")
        return None
    zone = "Europe/Oslo"
    cut_at, end_at = datetime(2019, 11, 1, tzinfo=UTC), datetime(2019, 12, 16, tzinfo=UTC)
    instants = [
        pl.col(old)
        .dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        .dt.convert_time_zone("UTC")
        .alias(new)
        for old, new in (("plug_in_at", "arrival_at"), ("plug_out_at", "departure_at"))
    ]
    sessions = read_home_sessions(data_dir).select(pl.col("asset_id").alias("station_id"), *instants).drop_nulls()
    known = panel(plug_states(sessions, datetime(2018, 12, 21, tzinfo=UTC), end_at), FeatureSpec(time_zone=zone))
    past = (
        sessions.filter(pl.col("departure_at") < cut_at)
        .group_by("station_id")
        .agg(pl.len(), first_at=pl.col("arrival_at").min())
    )
    chosen = past.filter(pl.col("len") >= FEWEST_SESSIONS, pl.col("first_at") < cut_at - timedelta(days=HISTORY_DAYS))[
        "station_id"
    ]
    codes = np.flatnonzero(np.isin(np.array(known.asset_ids), chosen.to_numpy()))
    return Source(
        name="homes",
        known=known,
        cut_us=micros(cut_at),
        fitted_us=micros(cut_at - timedelta(days=42)),
        assets=codes,
        most=most,
        rows=rows,
    )


BENCH = BenchSpec(
    name="forecast_scenarios",
    description="48 h trajectories: scenarios, independent draws, a Gaussian copula, and what came.",
    run=run,
)
