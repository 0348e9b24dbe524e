from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.features.stay_features import STAY_COLUMNS, column, stay_features
from plugcast.features.stay_visits import StayBook, first_declared, local, weekday
from plugcast.schemas import SESSIONS, USER_INPUTS, empty

START = datetime(2026, 3, 2, tzinfo=UTC)
GRACE = timedelta(minutes=5)


def random_site(seed: int, count: int = 80) -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(seed)
    sessions, inputs = [], []
    for number in range(count):
        at = START + timedelta(minutes=float(rng.uniform(0, 20 * 1440)))
        end = at + timedelta(minutes=float(rng.choice([20, 200, 900]) * rng.uniform(0.5, 1.5)))
        user = (None, "u", "v", "w")[int(rng.integers(4))]
        sessions.append(
            {
                "session_id": f"s{number:03}",
                "site_id": "x",
                "station_id": "p",
                "user_id": user,
                "arrival_at": at,
                "departure_at": end,
                "done_charging_at": None if rng.random() < 0.3 else at + (end - at) * 0.5,
                "energy_delivered_kwh": float(rng.uniform(1, 40)),
                "available_at": end,
            }
        )
        if user is not None:
            inputs += [
                {
                    "session_id": f"s{number:03}",
                    "available_at": at + timedelta(minutes=float(wait)),
                    "energy_requested_kwh": float(rng.uniform(2, 60)),
                    "minutes_available": float(rng.uniform(10, 900)),
                    "user_id": user,
                }
                for wait in sorted(rng.choice([0, 1, 4, 6, 30, 300], 2, replace=False))
            ]
    return pl.DataFrame(sessions, schema=dict(SESSIONS)), pl.DataFrame(inputs, schema=dict(USER_INPUTS))


def book(sessions: pl.DataFrame, inputs: pl.DataFrame) -> StayBook:
    return StayBook.of(sessions, inputs, time_zone="Europe/Oslo", grace=GRACE, identified="by_declaration")


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.7, 3.0]))
def test_what_comes_later_moves_nothing(seed: int, elapsed_h: float) -> None:
    sessions, inputs = random_site(seed)
    whole = book(sessions, inputs)
    row = whole.rows // 2
    now = datetime.fromtimestamp(whole.arrival_us[row] / 1e6, UTC) + timedelta(hours=elapsed_h)
    # every record of the future is another one, and this session has not ended either
    other = sessions.with_columns(
        pl.when(pl.col("available_at") > now)
        .then(pl.col("energy_delivered_kwh") * 7)
        .otherwise("energy_delivered_kwh"),
        *(
            pl.when(pl.col("available_at") > now)
            .then(pl.col(name) + timedelta(hours=50))
            .otherwise(pl.col(name))
            .alias(name)
            for name in ("departure_at", "done_charging_at", "available_at")
        ),
    ).filter((pl.col("arrival_at") <= now) | (pl.col("session_id").hash(1) % 2 == 0))
    altered = book(other, inputs)
    where = altered.session_id.index(whole.session_id[row])
    np.testing.assert_array_equal(
        stay_features(whole, np.array([row]), elapsed_h), stay_features(altered, np.array([where]), elapsed_h)
    )


def test_a_different_past_does_move_something() -> None:
    sessions, inputs = random_site(3)
    whole = book(sessions, inputs)
    moved = book(sessions.with_columns(pl.col("energy_delivered_kwh") * 2), inputs)
    row = np.arange(40, 80)
    assert not np.array_equal(stay_features(whole, row), stay_features(moved, row), equal_nan=True)


@pytest.mark.parametrize("seed", range(3))
def test_amendments_after_the_grace_change_nothing_at_plug_in(seed: int) -> None:
    sessions, inputs = random_site(seed)
    timed = inputs.join(sessions.select("session_id", "arrival_at"), on="session_id")
    late = pl.col("available_at") > pl.col("arrival_at") + GRACE
    amended = timed.with_columns(
        pl.when(late).then(pl.col("energy_requested_kwh") + 99).otherwise("energy_requested_kwh"),
        pl.when(late).then(pl.lit("somebody else")).otherwise("user_id").alias("user_id"),
    ).drop("arrival_at")
    assert amended["user_id"].eq("somebody else").sum() > 20
    one, other = book(sessions, inputs), book(sessions, amended)
    row = np.arange(one.rows)
    np.testing.assert_array_equal(stay_features(one, row), stay_features(other, row))
    np.testing.assert_array_equal(one.user, other.user)


def test_nobody_is_known_before_the_declaration() -> None:
    sessions, inputs = random_site(1)
    waiting = inputs.with_columns(pl.col("available_at") + timedelta(minutes=10))
    assert (book(sessions, inputs).user >= 0).sum() > 20
    assert (book(sessions, waiting).user < 0).all()
    by_card = StayBook.of(sessions, empty(USER_INPUTS), time_zone="UTC", grace=GRACE)
    assert (by_card.user >= 0).sum() == sessions["user_id"].is_not_null().sum()


def test_one_row_alone_equals_the_row_in_a_batch() -> None:
    whole = book(*random_site(5))
    row = np.array([70, 3, 41])
    batch = stay_features(whole, row, np.array([0.0, 1.0, 2.5]))
    single = [stay_features(whole, row[[k]], hours) for k, hours in enumerate((0.0, 1.0, 2.5))]
    np.testing.assert_array_equal(batch, np.vstack(single))
    assert batch.shape == (3, len(STAY_COLUMNS))


def test_hours_into_a_visit_only_longer_stays_compare() -> None:
    whole = book(*random_site(6))
    row = np.arange(whole.rows)
    found = stay_features(whole, row, 4.0)
    for name in ("pool_stay_q10", "stay_all_q50", "stay_near_q10"):
        values = column(found, name)
        assert np.isfinite(values).sum() > 5
        assert np.nanmin(values) > 4.0


def test_the_first_declaration_in_time_is_taken() -> None:
    sessions, inputs = random_site(2)
    first = {row["session_id"]: row for row in first_declared(sessions, inputs, GRACE).iter_rows(named=True)}
    arrivals = dict(sessions.select("session_id", "arrival_at").iter_rows())
    for name, arrival_at in arrivals.items():
        told = inputs.filter((pl.col("session_id") == name) & (pl.col("available_at") <= arrival_at + GRACE))
        if told.is_empty():
            assert name not in first
            continue
        wanted = told.sort("available_at").row(0, named=True)
        assert first[name]["declared_kwh"] == wanted["energy_requested_kwh"]
        assert first[name]["declared_h"] == pytest.approx(wanted["minutes_available"] / 60)


def test_the_local_clock_agrees_with_the_calendar() -> None:
    instants = [datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)]
    hour, day = local(np.array([int(at.timestamp() * 1e6) for at in instants]), "Europe/Oslo")
    assert hour.tolist() == [1.5, 3.5]  # the clock springs forward
    assert weekday(day).tolist() == [6, 6]


def test_running_sessions_ask_but_are_no_history() -> None:
    sessions, inputs = random_site(4)
    running = sessions.with_columns(pl.lit(None, SESSIONS["departure_at"]).alias("departure_at"))
    still = book(running, inputs)
    assert len(still.past.known_us) == 0
    assert np.isnan(column(stay_features(still, np.arange(still.rows)), "pool_stay_q50")).all()
    assert np.isnan(replace(still).stay_h).all()
