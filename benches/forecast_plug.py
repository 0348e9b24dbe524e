"""Plug state of real homes and real charging stations at seven leads, beside the plain baselines.

The data are read from the folder that PLUGCAST_DATA names. Models are trained again as the test part goes on, each
time from outcomes known by then. ``--size small`` forecasts a generated fleet and needs no data.
"""

from __future__ import annotations

import gzip
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from benches import data_folder
from benches import forecast_plug_scale as scale
from benches.registry import Bar, BenchSpec, Outcome, note

from plugcast.features.grid import STEP_US, STEPS_PER_DAY, UNKNOWN, StateGrid
from plugcast.features.grid_sources import from_stays
from plugcast.features.spec import FeatureSpec
from plugcast.forecast import scores
from plugcast.forecast.availability_rolling import BASELINES, LeadResult, Trial, roll
from plugcast.forecast.panel import panel
from plugcast.simulate.telemetry import GeneratorSpec, generate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LEADS: Final = (1, 4, 12, 24, 48, 96, 192)
FEWEST_SESSIONS, FEWEST_DAYS = 40, 28
BEFORE_THE_CUT: Final = "before the cut"
BY_THE_WHOLE_FILE: Final = "by the whole file"
DRAWS: Final = 500
BARS: Final = {
    "trondheim": ((7, 25, 43, 44, 26, 16, 12), (5, 12, 17, 19, 18, 13, 11)),
    "caltech": ((8, 26, 34, 20, 14, 14, 14), None),
    "jpl": ((12, 46, 40, 31, 23, 23, 20), None),
}
ECE_SHORT, ECE_LONG, SHORT_MIN = 0.02, 0.03, 360.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A set of plug states and its test part."""

    name: str
    time_zone: str
    start_at: datetime
    cut_at: datetime
    end_at: datetime
    refit_days: int
    train_every: int
    test_every: int
    """Test origins are this many steps apart."""


# Caltech fell to half its use in autumn 2018, when charging was no longer free: without the time before, the plain
# frequencies that we are compared with are better by far
SERIES: Final = (
    Series(
        name="trondheim",
        time_zone="Europe/Oslo",
        start_at=datetime(2018, 12, 21, tzinfo=UTC),
        cut_at=datetime(2019, 10, 31, 23, tzinfo=UTC),
        end_at=datetime(2019, 12, 15, 21, 45, tzinfo=UTC),
        refit_days=14,
        train_every=11,
        test_every=1,
    ),
    Series(
        name="jpl",
        time_zone="America/Los_Angeles",
        start_at=datetime(2018, 10, 8, tzinfo=UTC),
        cut_at=datetime(2019, 10, 1, 7, tzinfo=UTC),
        end_at=datetime(2020, 1, 1, 8, tzinfo=UTC),
        refit_days=28,
        train_every=37,
        test_every=5,
    ),
    Series(
        name="caltech",
        time_zone="America/Los_Angeles",
        start_at=datetime(2018, 4, 25, 7, tzinfo=UTC),
        cut_at=datetime(2019, 10, 1, 7, tzinfo=UTC),
        end_at=datetime(2020, 1, 1, 8, tzinfo=UTC),
        refit_days=28,
        train_every=53,
        test_every=5,
    ),
    Series(
        name="caltech since 2019",
        time_zone="America/Los_Angeles",
        start_at=datetime(2019, 1, 1, 8, tzinfo=UTC),
        cut_at=datetime(2019, 10, 1, 7, tzinfo=UTC),
        end_at=datetime(2020, 1, 1, 8, tzinfo=UTC),
        refit_days=28,
        train_every=31,
        test_every=5,
    ),
)


def _stays(series: Series, folder: Path) -> pl.DataFrame:
    """Columns ``asset_id, arrival_at, departure_at`` (null: not known)."""
    if series.name == "trondheim":
        table = pl.read_parquet(folder / "trondheim_residential_sessions.parquet")
        local = [
            pl.col(name)
            .str.to_datetime("%d.%m.%Y %H:%M", strict=False)
            .dt.replace_time_zone(series.time_zone, ambiguous="earliest", non_existent="null")
            .dt.convert_time_zone("UTC")
            for name in ("Start_plugin", "End_plugout")
        ]
        table = table.filter(pl.col("User_type") == "Private").with_columns(local)
        return table.select(asset_id="User_ID", arrival_at="Start_plugin", departure_at="End_plugout")
    if series.name == "jpl":
        table = pl.read_parquet(folder / "acn_jpl_sessions.parquet").unique("Session", maintain_order=True)
        utc = [
            pl.col(f"Connection{side}DateTime").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
            for side in ("Start", "End")
        ]
        table = table.with_columns(utc)
        return table.select(
            asset_id="ChargingStation", arrival_at="ConnectionStartDateTime", departure_at="ConnectionEndDateTime"
        )
    with gzip.open(folder / "acn_caltech_sessions.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    instant = "%a, %d %b %Y %H:%M:%S GMT"
    return pl.DataFrame(
        {
            "asset_id": [record["stationID"] for record in records],
            "arrival_at": [record["connectionTime"] for record in records],
            "departure_at": [record["disconnectTime"] for record in records],
        }
    ).with_columns(pl.col("arrival_at", "departure_at").str.to_datetime(instant).dt.replace_time_zone("UTC"))


def _grid(series: Series, stays: pl.DataFrame) -> tuple[StateGrid, tuple[str, ...]]:
    kept = stays.filter(
        pl.col("arrival_at") >= series.start_at - timedelta(days=3), pl.col("arrival_at") < series.end_at
    )
    return from_stays(
        kept["asset_id"],
        kept["arrival_at"],
        kept["departure_at"],
        start_us=_us(series.start_at),
        end_us=_us(series.end_at),
        time_zone=series.time_zone,
    )


def _us(instant: datetime) -> int:
    return round(instant.timestamp()) * 1_000_000


def chosen_assets(series: Series, stays: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Bool per asset: 40 sessions and 28 days of history before the cut; what came after plays no part."""
    before = stays.filter(pl.col("arrival_at") >= series.start_at, pl.col("arrival_at") < series.cut_at)
    counted = before.group_by("asset_id").agg(pl.len().alias("number"), pl.col("arrival_at").min())
    oldest = series.cut_at - timedelta(days=FEWEST_DAYS)
    kept = counted.filter(pl.col("number") >= FEWEST_SESSIONS, pl.col("arrival_at") <= oldest)
    return np.isin(np.array(names), kept["asset_id"].to_numpy())


def chosen_by_the_whole_file(series: Series, stays: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Bool per asset: 40 sessions in the whole file and 28 days before the cut. It looks ahead; for comparison only."""
    counted = stays.group_by("asset_id").agg(pl.len().alias("number"), pl.col("arrival_at").min())
    oldest = series.cut_at - timedelta(days=FEWEST_DAYS)
    kept = counted.filter(pl.col("number") >= FEWEST_SESSIONS, pl.col("arrival_at") <= oldest)
    return np.isin(np.array(names), kept["asset_id"].to_numpy())


def qualified_from(series: Series, stays: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Instant from which each asset has had 40 sessions and 28 days, us; far off where it never has."""
    never = np.iinfo(np.int64).max
    result = np.full(len(names), never)
    by_asset = dict(stays.sort("arrival_at").group_by("asset_id").agg("arrival_at").iter_rows())
    for place, name in enumerate(names):
        arrivals = [each for each in by_asset[name] if each >= series.start_at]
        if len(arrivals) >= FEWEST_SESSIONS:
            at = max(arrivals[FEWEST_SESSIONS - 1], arrivals[0] + timedelta(days=FEWEST_DAYS))
            result[place] = _us(at)
    return result


def _interval(
    model: np.ndarray, baseline: np.ndarray, result: LeadResult, blocks: np.ndarray, rng: np.random.Generator
) -> list[float]:
    """95 % interval of the percentage below a baseline: blocks (assets or weeks) drawn with replacement."""
    _, place = np.unique(blocks, return_inverse=True)
    ours = np.bincount(place, weights=(model - result.outcome) ** 2)
    theirs = np.bincount(place, weights=(baseline - result.outcome) ** 2)
    drawn = rng.integers(0, len(ours), (DRAWS, len(ours)))
    below = 100.0 * (1.0 - ours[drawn].sum(axis=1) / theirs[drawn].sum(axis=1))
    return [round(float(level), 2) for level in np.quantile(below, (0.025, 0.975))]


def _where(result: LeadResult, chosen: np.ndarray) -> LeadResult:
    return LeadResult(
        lead_min=result.lead_min,
        asset=result.asset[chosen],
        step=result.step[chosen],
        outcome=result.outcome[chosen],
        chance={name: chance[chosen] for name, chance in result.chance.items()},
    )


def case_of(series: str, users: str, result: LeadResult) -> dict[str, Any]:
    """Every score of the model beside the baselines, and how far below them it is, with intervals."""
    rng = np.random.default_rng(0)
    table = {
        name: {
            "brier": scores.brier(chance, result.outcome),
            "auc": scores.auc(chance, result.outcome),
            "log_loss": scores.log_loss(chance, result.outcome),
            "ece": scores.ece(chance, result.outcome),
        }
        for name, chance in result.chance.items()
    }
    better = min(("persistence", "hour_of_week"), key=lambda name: table[name]["brier"])
    weeks = result.step // (7 * STEPS_PER_DAY)
    case: dict[str, Any] = {
        "series": series,
        "assets_chosen": users,
        "lead_min": result.lead_min,
        "rows": len(result.outcome),
        "assets": len(np.unique(result.asset)),
        "base_rate": float(result.outcome.mean()),
        **{name: table[name] for name in ("model", *BASELINES)},
        "better_baseline": better,
    }
    for key, name in (("better_baseline", better), ("blend", "blend")):
        model, baseline = result.chance["model"], result.chance[name]
        case[f"below_{key}_pct"] = 100.0 * (1.0 - table["model"]["brier"] / table[name]["brier"])
        case[f"below_{key}_95_assets"] = _interval(model, baseline, result, result.asset, rng)
        case[f"below_{key}_95_weeks"] = _interval(model, baseline, result, weeks, rng)
    return case


def _bars(series: str, cases: Sequence[dict[str, Any]]) -> list[Bar]:
    better, blend = BARS[series.partition(" (")[0]]
    bars = []
    for place, case in enumerate(cases):
        name = f"{series} +{case['lead_min'] / 60:g} h"
        bars.append(
            Bar(
                name=f"{name}: % below the better of persistence and hour-of-week",
                value=case["below_better_baseline_pct"],
                limit=better[place],
                sense="at_least",
            )
        )
        if blend is not None:
            bars.append(
                Bar(
                    name=f"{name}: % below their blend",
                    value=case["below_blend_pct"],
                    limit=blend[place],
                    sense="at_least",
                )
            )
            limit = ECE_SHORT if case["lead_min"] <= SHORT_MIN else ECE_LONG
            bars.append(Bar(name=f"{name}: ECE", value=case["model"]["ece"], limit=limit, sense="at_most"))
    return bars


def run_series(series: Series, leads: Sequence[int] = LEADS) -> tuple[list[dict[str, Any]], list[Bar]]:
    """All leads of one set; bars from the assets chosen before the cut."""
    stays = _stays(series, data_folder.needed())
    grid, names = _grid(series, stays)
    cut = int(grid.step_at(np.array(_us(series.cut_at))))
    fixed = chosen_assets(series, stays, names)
    qualified = qualified_from(series, stays, names)
    whole = chosen_by_the_whole_file(series, stays, names)
    steps = np.arange(cut, grid.steps, series.test_every)
    asset, place = np.nonzero((fixed | whole)[:, None] | (qualified[:, None] <= grid.start_us + steps * STEP_US))
    trial = Trial(
        asset=asset,
        step=steps[place],
        refits=np.arange(cut, grid.steps, series.refit_days * STEPS_PER_DAY),
        every=series.train_every,
    )
    tables: dict[str, list[dict[str, Any]]] = {BEFORE_THE_CUT: [], "before each origin": [], BY_THE_WHOLE_FILE: []}
    for lead in leads:
        started = time.process_time()
        result = roll(grid, trial, lead)
        since = qualified[result.asset] <= grid.start_us + result.step * STEP_US
        chosen = (fixed[result.asset], since, whole[result.asset])
        for (users, cases), mine in zip(tables.items(), chosen, strict=True):
            cases.append(case_of(series.name, users, _where(result, mine)))
            _say(cases[-1], time.process_time() - started)
    bars = _bars(series.name, tables[BEFORE_THE_CUT]) if series.name in BARS else []
    if bars and tables[BY_THE_WHOLE_FILE][0]["assets"] != tables[BEFORE_THE_CUT][0]["assets"]:
        # the limits were measured on these assets
        bars += _bars(f"{series.name} ({BY_THE_WHOLE_FILE})", tables[BY_THE_WHOLE_FILE])
    return [case for cases in tables.values() for case in cases], bars


def _say(case: dict[str, Any], cpu_s: float) -> None:
    note(
        f"  {case['series']} +{case['lead_min'] / 60:g} h, {case['assets']} assets ({case['assets_chosen']}): Brier "
        f"{case['model']['brier']:.4f}, {case['below_better_baseline_pct']:.1f} % below {case['better_baseline']} and "
        f"{case['below_blend_pct']:.1f} % below the blend, ECE {case['model']['ece']:.3f}, {cpu_s:.0f} CPU s"
    )


def generated_case(vehicles: int, days: int) -> list[dict[str, Any]]:
    """A generated fleet, as the real sets are forecast: for machines without the data."""
    known = panel(generate(GeneratorSpec(vehicles=vehicles, days=days)), FeatureSpec())
    grid = known.grid
    cut = grid.steps * 3 // 4
    asset, step = np.nonzero(grid.state[:, cut:] != UNKNOWN)
    trial = Trial(
        asset=asset,
        step=step + cut,
        refits=np.array([cut]),
        every=7,
    )
    return [case_of("generated", "all", roll(grid, trial, lead)) for lead in (4, 96)]


def run(size: str) -> Outcome:
    """All sets (full), or a generated fleet (small), and then what a batch and training cost."""
    cases: list[dict[str, Any]] = []
    bars: list[Bar] = []
    if size == "full":
        for series in SERIES:
            note(f"{series.name}: trained again every {series.refit_days} days")
            more, kept = run_series(series)
            cases.extend(more)
            bars.extend(kept)
    else:
        cases.extend(generated_case(10, 12))
    for more, kept in (
        scale.batch(*{"small": (10, 7, 500), "full": (1_000, 7, 3_000)}[size]),
        scale.training(*{"small": (6, 10, 500), "full": (230, 21, 12_000)}[size]),
    ):
        cases.extend(more)
        bars.extend(kept)
    data = "Trondheim private users; Caltech and JPL stations (PLUGCAST_DATA)" if size == "full" else "generated"
    return Outcome(data=data, cases=cases, bars=bars)


BENCH = BenchSpec(
    name="forecast_plug",
    description="Plug state 15 min to 48 h ahead on real homes and stations, beside the baselines; cost of a batch.",
    run=run,
)
