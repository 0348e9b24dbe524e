from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast import schemas
from plugcast.features.occupancy import AC_EFFICIENCY, plug_states, sessions_of
from plugcast.features.spec import FeatureSpec

START = datetime(2026, 3, 2, tzinfo=UTC)
END = START + timedelta(days=2)


def _sessions(stays: list[tuple[str, float, float | None]]) -> pl.DataFrame:
    rows = [
        {
            "session_id": f"s{number}",
            "station_id": station,
            "arrival_at": START + timedelta(hours=arrival),
            "departure_at": None if stay is None else START + timedelta(hours=arrival + stay),
        }
        for number, (station, arrival, stay) in enumerate(stays)
    ]
    return pl.DataFrame(rows, schema=dict(schemas.SESSIONS))


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.floats(0, 60), st.one_of(st.none(), st.floats(0.01, 30))),
        min_size=1,
        max_size=12,
        unique_by=lambda stay: round(stay[1], 3),
    )
)
def test_a_station_is_taken_exactly_while_some_car_stays(stays: list[tuple[str, float, float | None]]) -> None:
    sessions = _sessions(stays)
    states = plug_states(sessions, START, END)
    assert schemas.conform(states, schemas.TELEMETRY).equals(states)
    for station, at, taken in states.select("asset_id", "timestamp", "is_plugged_in").iter_rows():
        mine = [row for row in sessions.iter_rows(named=True) if row["station_id"] == station]
        arrivals: list[datetime] = [r["arrival_at"] for r in mine]

        def end(arrival: datetime, departure: datetime | None, arrivals: list[datetime] = arrivals) -> datetime:
            return min([departure] if departure is not None else [a for a in arrivals if a > arrival], default=END)

        assert taken == any(r["arrival_at"] <= at < end(r["arrival_at"], r["departure_at"]) for r in mine), (
            station,
            at,
        )
        assert min(r["arrival_at"] for r in mine) <= at


def test_sessions_of_telemetry_are_its_plugged_runs() -> None:
    minutes = np.array([0, 5, 10, 15, 20, 25, 700, 705, 710])
    plugged = [False, True, True, True, False, True, True, True, False]
    soc = [50.0, 50.0, 52.0, 55.0, 54.0, 54.0, 80.0, 80.0, 79.0]
    samples = pl.DataFrame(
        {
            "asset_id": ["car"] * 9,
            "timestamp": [START + timedelta(minutes=int(m)) for m in minutes],
            "soc": soc,
            "is_plugged_in": plugged,
            "power_kw": [0.0, 7.0, 7.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0],
            "capacity_kwh": [60.0] * 9,
            "available_at": [START] * 9,
        },
        schema=dict(schemas.TELEMETRY),
    )
    found = sessions_of(samples, FeatureSpec(), site_id="home")
    spans = [
        ((a - START).total_seconds() / 60, None if d is None else (d - START).total_seconds() / 60)
        for a, d in found.select("arrival_at", "departure_at").iter_rows()
    ]
    # the lone sample before the silence shows no stay; the one after it runs until the car is seen unplugged
    assert spans == [(5.0, 20.0), (700.0, 710.0)]
    assert found["energy_delivered_kwh"].to_list() == pytest.approx([3.0 / AC_EFFICIENCY, 0.0])
    assert found["done_charging_at"].to_list() == [START + timedelta(minutes=10), None]
    assert found["available_at"].to_list() == [START + timedelta(minutes=20), START + timedelta(minutes=710)]
    assert found["user_id"].to_list() == ["car", "car"]


def test_plug_states_give_their_sessions_back() -> None:
    sessions = _sessions([("a", 1.0, 2.0), ("a", 5.0, 1.5), ("b", 0.5, None)])
    states = plug_states(sessions, START, END)
    again = sessions_of(states, FeatureSpec(), site_id="x").sort("station_id", "arrival_at")
    assert again.select("station_id", "arrival_at", "departure_at").equals(
        sessions.select("station_id", "arrival_at", "departure_at")
    )


def test_a_visit_cut_by_a_silence_is_known_only_afterwards_and_a_running_one_has_no_end() -> None:
    minutes = [0, 5, 10, 600, 605]
    samples = pl.DataFrame(
        {
            "asset_id": ["car"] * 5,
            "timestamp": [START + timedelta(minutes=m) for m in minutes],
            "soc": [50.0, 51.0, 52.0, 60.0, 61.0],
            "is_plugged_in": [True] * 5,
            "power_kw": [7.0] * 5,
            "capacity_kwh": [60.0] * 5,
            "available_at": [START + timedelta(minutes=m) for m in minutes],
        },
        schema=dict(schemas.TELEMETRY),
    )
    found = sessions_of(samples, FeatureSpec(), site_id="home")
    assert found["departure_at"].to_list() == [START + timedelta(minutes=10), None]
    assert found["available_at"].to_list() == [START + timedelta(minutes=600), START + timedelta(minutes=600)]
    assert found["done_charging_at"].to_list() == [None, None]
