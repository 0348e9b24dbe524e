"""A small site of drivers with habits, for the tests of session forecasts; some sessions are nobody's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from plugcast.features.stay_visits import StayBook
from plugcast.schemas import SESSIONS, USER_INPUTS

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
HABITS = ((8.0, 9.0, 12.0), (9.0, 4.0, 6.0), (13.0, 2.0, 20.0), (7.5, 10.0, 8.0), (10.0, 6.0, 15.0))
"""Arrival, stay, energy of each kind of driver."""


def town(days: int = 42, drivers: int = 14, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sessions and declarations; every declaration is amended an hour later."""
    rng = np.random.default_rng(seed)
    sessions: list[dict[str, object]] = []
    inputs: list[dict[str, object]] = []
    for day in range(days):
        for driver in range(drivers):
            if rng.random() < 0.3:
                continue
            hour, stay, energy = HABITS[driver % len(HABITS)]
            at = MONDAY + timedelta(days=day, hours=float(hour + rng.normal(0, 0.3)))
            leaves = at + timedelta(hours=float(stay * rng.uniform(0.8, 1.2)))
            name = f"s{day:03}-{driver:02}"
            user = None if driver % 7 == 6 else f"u{driver}"
            sessions.append(
                {
                    "session_id": name,
                    "site_id": "town",
                    "station_id": f"p{driver % 4}",
                    "user_id": user,
                    "arrival_at": at,
                    "departure_at": leaves,
                    "done_charging_at": at + (leaves - at) * 0.6,
                    "energy_delivered_kwh": float(energy * rng.uniform(0.8, 1.2)),
                    "available_at": leaves,
                }
            )
            if user is not None:
                inputs += [
                    {
                        "session_id": name,
                        "available_at": at + timedelta(minutes=minutes),
                        "energy_requested_kwh": energy * factor,
                        "minutes_available": stay * 60 * factor,
                        "user_id": user,
                    }
                    for minutes, factor in ((1, 1.5), (60, 3.0))
                ]
    return _frame(sessions, SESSIONS), _frame(inputs, USER_INPUTS)


def book(sessions: pl.DataFrame, inputs: pl.DataFrame) -> StayBook:
    """The town's sessions; who comes is known from the declaration."""
    return StayBook.of(sessions, inputs, time_zone="UTC", grace=timedelta(minutes=5), identified="by_declaration")


def _frame(rows: list[dict[str, object]], schema: object) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(schema))  # type: ignore[call-overload]
