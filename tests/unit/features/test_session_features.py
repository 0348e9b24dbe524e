"""Session features: the same from batch and stream, never from the future, right against hand-made numbers."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.domain.session import Session, UserInput
from plugcast.domain.site import Connector, CurrentType, Evse, Station
from plugcast.features.order import Sample
from plugcast.features.sessions import (
    SESSION_FEATURES,
    SessionHistory,
    declarations_by_session,
    session_features,
)
from plugcast.schemas import SESSIONS, USER_INPUTS, empty

START = datetime(2019, 3, 1, 16, tzinfo=UTC)
ZONE = "America/Los_Angeles"


def session(number: int, **changes: Any) -> Session:
    arrival = START + timedelta(days=number)
    values: dict[str, Any] = {
        "session_id": f"s{number}",
        "site_id": "site",
        "station_id": "a",
        "arrival_at": arrival,
        "departure_at": arrival + timedelta(hours=8),
        "done_charging_at": arrival + timedelta(hours=4),
        "energy_delivered_kwh": 12.0,
        "time_zone": ZONE,
        "user_id": "u",
    }
    return Session(**(values | changes))


def frame(sessions: list[Session]) -> pl.DataFrame:
    rows = [{**msgspec.structs.asdict(s), "available_at": s.departure_at} for s in sessions]
    return pl.DataFrame(rows, schema=dict(SESSIONS))


NO_INPUTS = empty(USER_INPUTS)

a_session = st.builds(
    lambda number, start_min, stay_min, done_share, energy, user, station, site: session(
        number,
        session_id=f"s{number}",
        arrival_at=START + timedelta(minutes=start_min),
        departure_at=START + timedelta(minutes=start_min + stay_min),
        done_charging_at=None if done_share is None else START + timedelta(minutes=start_min + stay_min * done_share),
        energy_delivered_kwh=energy,
        user_id=user,
        station_id=station,
        site_id=site,
    ),
    st.integers(0, 10_000),
    st.integers(0, 10 * 1440),
    st.integers(1, 4 * 1440),
    st.none() | st.floats(-0.1, 1.2),
    st.none() | st.floats(0, 90),
    st.none() | st.sampled_from("uvw"),
    st.sampled_from("ab"),
    st.sampled_from(["one", "two"]),
)
some_sessions = st.lists(a_session, max_size=25, unique_by=lambda s: s.session_id)


@settings(max_examples=40, deadline=None)
@given(some_sessions, st.sampled_from(["local_midnight", "record"]), st.randoms(use_true_random=False))
def test_stream_gives_the_rows_of_the_batch(sessions: list[Session], cut: Any, rng: Any) -> None:
    batch = session_features(frame(sessions), NO_INPUTS, history=SessionHistory(cut=cut))
    history, made = SessionHistory(cut=cut), {}
    arrived = sorted(sessions, key=lambda s: (s.departure_at, s.session_id))
    for place, one in enumerate(arrived):
        made[one.session_id] = msgspec.structs.astuple(history.features(one))
        history.observe(one)
        if rng.random() < 0.3:
            history.observe(arrived[rng.randrange(place + 1)])  # delivered twice
        if rng.random() < 0.1:
            history = SessionHistory.from_json(history.to_json())  # the process was restarted
    for one, row in zip(sessions, batch.iter_rows(), strict=True):
        np.testing.assert_array_equal(np.array(row[6:]), np.array(made[one.session_id][6:], dtype=float))
        assert row[:6] == made[one.session_id][:6]


@settings(max_examples=40, deadline=None)
@given(some_sessions, a_session)
def test_what_becomes_known_later_changes_nothing(sessions: list[Session], later: Session) -> None:
    before = session_features(frame(sessions), NO_INPUTS)
    shifted = session(
        99_999,
        arrival_at=later.arrival_at,
        departure_at=max([START, *(s.departure_at for s in sessions if s.departure_at)]),
    )
    after = session_features(frame([*sessions, shifted]), NO_INPUTS)[: len(sessions)]
    assert before.equals(after)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6) | st.integers(0, 3).map(float), min_size=1, max_size=40), st.floats(0, 1))
def test_order_statistics_are_the_textbooks(values: list[float], share: float) -> None:
    sample = Sample()
    for value in values:
        sample.add(value)
    median = statistics.median(values)
    assert sample.median == median
    assert sample.mad == pytest.approx(statistics.median(abs(v - median) for v in values), rel=1e-12, abs=1e-9)
    assert sample.quantile(share) == pytest.approx(float(np.quantile(values, share)), rel=1e-9, abs=1e-6)
    sample.add(math.nan)
    assert len(sample) == len(values)


def test_a_driver_is_compared_with_their_own_past_that_leans_on_the_sites() -> None:
    history = SessionHistory(time_zone=ZONE)
    for number in range(5):
        history.observe(session(number, energy_delivered_kwh=10.0 + number))
        history.observe(session(number, session_id=f"o{number}", user_id="other", energy_delivered_kwh=30.0 + number))
    row = history.features(session(9, energy_delivered_kwh=4.0))
    own, pooled = [10.0, 11, 12, 13, 14], [10.0, 11, 12, 13, 14, 30, 31, 32, 33, 34]
    pool_mad = statistics.median(abs(v - statistics.median(pooled)) for v in pooled)
    centre = (statistics.median(own) + statistics.median(pooled)) / 2  # five visits weigh one half
    spread = 1.4826 * (1.0 + pool_mad) / 2
    assert row.user_visits == 5
    assert row.user_energy_kwh_median == 12.0
    assert row.site_energy_kwh_median == 22.0
    assert row.user_energy_kwh_z == pytest.approx((4.0 - centre) / spread)


def test_only_the_first_declaration_counts_and_only_if_known() -> None:
    one = session(0)
    said = [
        UserInput(session_id="s0", available_at=START + timedelta(minutes=30), energy_requested_kwh=60.0),
        UserInput(
            session_id="s0",
            available_at=START + timedelta(minutes=1),
            energy_requested_kwh=24.0,
            declared_departure_at=START + timedelta(hours=6),
        ),
    ]
    row = SessionHistory().features(one, said)
    assert (row.requested_kwh, row.fulfilment, row.overstay_h) == (24.0, 0.5, 2.0)
    too_late = [UserInput(session_id="s0", available_at=START + timedelta(hours=9), energy_requested_kwh=1.0)]
    assert math.isnan(SessionHistory().features(one, too_late).fulfilment)
    minutes = [UserInput(session_id="s0", available_at=START, minutes_available=120.0)]
    assert SessionHistory().features(one, minutes).overstay_h == 6.0


def test_local_time_and_the_cut_follow_the_sessions_zone() -> None:
    row = SessionHistory().features(session(0))  # Friday 08:00 in Los Angeles
    assert (row.arrival_hour, row.weekend) == (8.0, 0.0)
    history = SessionHistory()
    early = session(0, departure_at=START + timedelta(hours=2))  # 10:00 local
    history.observe(early)
    same_day = session(1, arrival_at=START + timedelta(hours=3), departure_at=START + timedelta(hours=15))  # 23:00
    next_day = session(2, arrival_at=START + timedelta(hours=3), departure_at=START + timedelta(hours=17))  # 01:00
    assert history.features(same_day).site_visits == 0
    assert history.features(next_day).site_visits == 1
    assert history.features(same_day).site_visits == 0  # a cut that moves back forgets again
    by_record = SessionHistory(cut="record")
    by_record.observe(early)
    assert by_record.features(same_day).site_visits == 1
    assert by_record.features(early).site_visits == 0


def test_a_zone_that_does_not_exist_falls_back() -> None:
    row = SessionHistory(time_zone="Europe/Oslo").features(session(0, time_zone="Nowhere/At_All"))
    assert row.arrival_hour == 17.0


@pytest.mark.parametrize(
    ("change", "name", "value"),
    [
        ({"done_charging_at": None}, "mean_kw", 1.5),
        ({"done_charging_at": None}, "done_missing", 1.0),
        ({"done_charging_at": START + timedelta(hours=8, seconds=59)}, "charging_h", 8.0),
        ({"done_charging_at": START - timedelta(minutes=3)}, "charging_h", math.nan),
        ({"energy_delivered_kwh": None}, "mean_kw", math.nan),
        ({"departure_at": START}, "kw_conn", math.nan),
        ({"departure_at": None}, "duration_h", math.nan),
        ({}, "mean_kw", 3.0),
        ({}, "idle_frac", 0.5),
    ],
)
def test_own_numbers(change: dict[str, Any], name: str, value: float) -> None:
    found = getattr(SessionHistory().features(session(0, **change)), name)
    assert found == pytest.approx(value, nan_ok=True)


def test_current_type_and_rating_are_learnt_or_given() -> None:
    history = SessionHistory()
    for number in range(60):
        history.observe(session(number, station_id="fast", energy_delivered_kwh=160.0))
        history.observe(session(number, session_id=f"slow{number}", station_id="slow"))
    fast = history.features(session(70, station_id="fast", energy_delivered_kwh=20.0))
    slow = history.features(session(70, station_id="slow"))
    assert (fast.current_type, fast.rating_kw, fast.station_mean_kw_median) == ("dc", 40.0, 40.0)
    assert (slow.current_type, slow.rating_kw, slow.rating_share) == ("ac", 3.0, 1.0)
    assert math.isnan(history.features(session(70, station_id="new")).rating_kw)
    plate = Station(
        station_id="slow",
        current_type=CurrentType.DC,
        evses=(Evse(evse_id=1, connectors=(Connector(connector_id=1, max_power_kw=50.0),)),),
    )
    told = SessionHistory(stations=[plate]).features(session(0, station_id="slow"))
    assert (told.current_type, told.rating_kw) == ("dc", 50.0)


def test_short_visits_within_the_hour_are_counted_on_the_same_day() -> None:
    bounces = [
        session(n, arrival_at=START + timedelta(minutes=9 * n), departure_at=START + timedelta(minutes=9 * n + 2))
        for n in range(10)
    ]
    rows = session_features(frame(bounces), NO_INPUTS)
    assert rows["station_recent_short"].to_list() == [0, 1, 2, 3, 4, 5, 6, 6, 6, 6]


def test_empty_and_wrong_input() -> None:
    made = session_features(empty(SESSIONS), NO_INPUTS)
    assert made.schema == pl.Schema(SESSION_FEATURES)
    assert declarations_by_session(NO_INPUTS) == {}
    with pytest.raises(Exception, match="arrival_at"):
        session_features(empty(SESSIONS).drop("arrival_at"), NO_INPUTS)
