"""What a generated fleet costs, and whether its plug state is as hard to forecast as that of real users.

The forecastability part compares the Brier score of two naive forecasts (the state stays; the user's own frequency of
that hour of the week) on generated vehicles that charge at home with the same on Trondheim's private users.
"""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from benches import data_folder
from benches.registry import Bar, BenchSpec, Outcome, interleave

from plugcast.simulate.habits import Person
from plugcast.simulate.realism import read_home_sessions
from plugcast.simulate.telemetry import CSV_COLUMNS, CSV_INSTANT, GeneratorSpec, generate, vehicles, write_csv

if TYPE_CHECKING:
    from numpy.typing import NDArray

CPU_LIMIT_S: Final = 15.0
"""For 200 vehicles over 28 days, the file included."""
BRIER_LIMIT: Final = 0.10
"""How far the naive scores may lie from those of real users, as a share of these."""
SLOT_S: Final = 900
REGULAR_SESSIONS: Final = 40
WEEK: Final = 7 * 96
HISTORY: Final = 6 * WEEK
LEADS: Final = {"15 min": 1, "1 h": 4, "6 h": 24, "24 h": 96, "48 h": 192}


def run(size: str) -> Outcome:
    """Time generation beside writing the ready rows, then score the naive forecasts."""
    fleet, repeats, people = {"small": (10, 1, 40), "full": (200, 5, 300)}[size]
    spec = GeneratorSpec(vehicles=fleet)
    frame = generate(spec).select(CSV_COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.csv"
        timings = interleave(
            {
                "generate": lambda: [None for _ in write_csv(spec, path)],
                "write": lambda: frame.write_csv(path, datetime_format=CSV_INSTANT),
            },
            repeats=repeats,
        )
    made, written = timings["generate"], timings["write"]
    cost = {
        "case": f"generate and write {fleet} vehicles, 28 days",
        "reference": "write the ready rows",
        "rows": frame.height,
        "cpu_s": made.median_s,
        "reference_cpu_s": written.median_s,
        "ratio": made.median_s / written.median_s,
        "peak_mb": made.peak_mb,
        "repeats": made.repeats,
    }
    bars = [Bar(name="CPU s for the fleet and its file", value=made.median_s, limit=CPU_LIMIT_S, sense="at_most")]
    generated, real = naive_scores(generated_grid(people)), _real_scores()
    cases: list[dict[str, object]] = [cost]
    for name, score in generated.items():
        reference = real.get(name, float("nan"))
        cases.append({"case": f"home, {name}", "reference": "Trondheim", "value": score, "reference_value": reference})
        if real and name != "base rate" and size == "full":
            gap = abs(score / reference - 1)
            bars.append(Bar(name=f"Brier, {name}: away from real", value=gap, limit=BRIER_LIMIT, sense="at_most"))
    return Outcome(data=f"generated, seed {spec.seed}; Trondheim private users", cases=cases, bars=bars)


def naive_scores(grid: NDArray[np.float64]) -> dict[str, float]:
    """Brier scores on the quarter-hours after the history; a row a user, NaN = unknown."""
    test = grid[:, HISTORY:]
    scores = {"base rate": float(np.nanmean(test))}
    for name, lead in LEADS.items():
        scores[f"persistence {name}"] = float(np.nanmean((test - grid[:, HISTORY - lead : -lead]) ** 2))
    weeks = np.nanmean(grid[:, :HISTORY].reshape(len(grid), -1, WEEK), axis=1)
    own = np.tile(weeks, -(-test.shape[1] // WEEK))[:, : test.shape[1]]
    return scores | {"own hour of week": float(np.nanmean((test - own) ** 2))}


def generated_grid(count: int) -> NDArray[np.float64]:
    """The plug state of vehicles that charge at home, each quarter-hour of eight weeks."""
    spec = GeneratorSpec(vehicles=count, days=56)
    at_home = [vehicle.asset_id for vehicle in vehicles(spec) if vehicle.person is Person.HOME]
    frame = generate(spec).filter(pl.col("asset_id").is_in(at_home))
    slots = int(spec.start_at.timestamp()) + SLOT_S * np.arange(8 * WEEK)
    rows = []
    for _, trace in frame.group_by("asset_id", maintain_order=True):
        at = trace["timestamp"].dt.epoch("s").to_numpy()
        newest = np.maximum(np.searchsorted(at, slots, side="right") - 1, 0)
        state = trace["is_plugged_in"].to_numpy().astype(np.float64)[newest]
        rows.append(np.where((slots >= at[newest]) & (slots - at[newest] <= SLOT_S), state, np.nan))
    return np.array(rows)


def _real_scores() -> dict[str, float]:
    data_dir = data_folder.data_dir()
    if not data_dir.is_dir():
        return {}
    sessions = read_home_sessions(data_dir).drop_nulls(["plug_in_at", "plug_out_at"])
    begin = datetime(2019, 9, 20)  # noqa: DTZ001 - the set is in local wall time; six weeks before November
    users = sessions.group_by("asset_id").agg(pl.len(), first=pl.col("plug_in_at").min())
    regular = users.filter(pl.col("len") >= REGULAR_SESSIONS, pl.col("first") <= begin)["asset_id"].to_list()
    grid = np.zeros((len(regular), 8 * WEEK))
    for row, user in enumerate(sorted(regular)):
        for one in sessions.filter(pl.col("asset_id") == user).iter_rows(named=True):
            first, last = ((one[name] - begin) / timedelta(minutes=15) for name in ("plug_in_at", "plug_out_at"))
            grid[row, max(0, int(np.ceil(first))) : max(0, int(np.ceil(last)))] = 1.0
    return naive_scores(grid)


BENCH = BenchSpec(
    name="generator",
    description="CPU time of generated telemetry, and how forecastable its plug state is beside real users'.",
    run=run,
)
