"""Backtest of visits: figures that a plain count confirms, and no look at what came later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from plugcast.errors import NoUsableRowsError
from plugcast.forecast.sessions_fit import EnsembleSpec
from plugcast.schemas import SESSIONS, conform
from plugcast.services.visits import VisitsPlan, backtest_visits

PLAN = VisitsPlan(
    time_zone="UTC", folds=2, spec=EnsembleSpec(rounds=25, seeds=1, leaves=7, learning_rate=0.15, min_leaf_rows=5)
)
FIRST = datetime(2024, 1, 1, tzinfo=UTC)


def commuters(days: int = 90, *, seed: int = 0) -> pl.DataFrame:
    """Two drivers: one stays for eight hours and takes 10 kWh, the other for two hours and takes 4; each roughly."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for day in range(days):
        for number, (hour, stay_h, kwh) in enumerate(((8.0, 8.0, 10.0), (12.0, 2.0, 4.0))):
            arrival = FIRST + timedelta(days=day, hours=hour + float(rng.normal(0, 0.3)))
            departure = arrival + timedelta(hours=stay_h * float(rng.lognormal(0, 0.1)))
            rows.append(
                {
                    "session_id": f"{day}-{number}",
                    "site_id": "s",
                    "station_id": f"p{number}",
                    "user_id": f"u{number}",
                    "time_zone": "UTC",
                    "arrival_at": arrival,
                    "departure_at": departure,
                    "done_charging_at": departure,
                    "energy_delivered_kwh": kwh * float(rng.lognormal(0, 0.1)),
                    "available_at": departure,
                }
            )
    frame = pl.DataFrame(rows)
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in SESSIONS.items() if name not in frame.columns]
    return conform(frame.with_columns(missing), SESSIONS)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return backtest_visits(commuters(), None, PLAN)


def test_the_last_quarter_of_the_visits_is_scored(document: dict[str, Any]) -> None:
    assert document["sessions"] == 180
    everyone = [group for group in document["groups"] if group["drivers"] == "all"]
    assert [group["quantity"] for group in everyone] == ["stay", "energy"]
    assert all(group["sessions"] == 45 for group in everyone)
    assert document["fitted"] == 3


def test_habits_are_worth_more_than_the_median_of_all(document: dict[str, Any]) -> None:
    for group in document["groups"]:
        if group["drivers"] == "known":
            assert group["model"]["mae"] < 0.5 * group["pooled_median"]["mae"]
            assert group["model"]["mae"] < 1.3 * group["own_median"]["mae"]
            assert "declared" not in group


def test_what_comes_later_changes_no_figure_of_what_was_forecast_before() -> None:
    sessions = commuters()
    order = sessions.sort("arrival_at")["arrival_at"]
    last = order[-10]
    later = pl.col("arrival_at") >= last
    changed = sessions.with_columns(
        pl.when(later).then(pl.lit(55.0)).otherwise("energy_delivered_kwh").alias("energy_delivered_kwh")
    )
    one, other = (backtest_visits(frame, None, PLAN) for frame in (sessions, changed))
    stay, same = (
        next(each for each in document["groups"] if (each["quantity"], each["drivers"]) == ("stay", "all"))
        for document in (one, other)
    )
    assert stay["model"] == pytest.approx(same["model"], rel=1e-6)  # sums are rounded in another order


def test_a_handful_of_visits_is_refused() -> None:
    with pytest.raises(NoUsableRowsError, match=r"at least 150 complete visits.*found 20"):
        backtest_visits(commuters(10), None, PLAN)
