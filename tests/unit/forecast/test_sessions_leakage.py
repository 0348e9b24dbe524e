"""What comes later moves nothing: neither features nor forecasts nor corrections."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from tests.unit.forecast.session_town import MONDAY, book, town

from plugcast.features.stay_features import stay_features
from plugcast.forecast.sessions import Lessons, SessionForecaster
from plugcast.forecast.sessions_fit import EnsembleSpec
from plugcast.forecast.sessions_roll import adapt

if TYPE_CHECKING:
    from datetime import datetime

    from plugcast.features.stay_visits import StayBook

CUT = MONDAY + timedelta(days=28)
CUT_US = int(CUT.timestamp() * 1e6)
SPEC = EnsembleSpec(rounds=10, seeds=1, thresholds=3, learning_rate=0.2)


def other_future(at: datetime) -> StayBook:
    """The town as it was known at an instant, and from then on everything else came: stays, energy, drivers, wishes."""
    sessions, inputs = town()
    later = pl.col("available_at") > at
    sessions = sessions.with_columns(
        pl.when(later)
        .then(pl.col("departure_at") + timedelta(hours=5))
        .otherwise("departure_at")
        .alias("departure_at"),
        pl.when(later)
        .then(pl.col("available_at") + timedelta(hours=5))
        .otherwise("available_at")
        .alias("available_at"),
        pl.when(later).then(77.0).otherwise("energy_delivered_kwh").alias("energy_delivered_kwh"),
        pl.when(later).then(pl.lit("u3")).otherwise("user_id").alias("user_id"),
    )
    inputs = inputs.with_columns(
        pl.when(pl.col("available_at") > at + timedelta(minutes=5))
        .then(1.0)
        .otherwise("minutes_available")
        .alias("minutes_available")
    )
    return book(sessions, inputs)


@pytest.fixture(scope="module")
def known() -> StayBook:
    return book(*town())


@pytest.fixture(scope="module")
def model(known: StayBook) -> SessionForecaster:
    return SessionForecaster.fit([known], cut_at=CUT, spec=SPEC)


@pytest.mark.parametrize(("days", "elapsed_h"), [(28.5, 0.0), (33.4, 0.0), (35.6, 1.0)])
def test_another_future_moves_no_feature_and_no_forecast(
    known: StayBook, model: SessionForecaster, days: float, elapsed_h: float
) -> None:
    at = MONDAY + timedelta(days=days)
    other = other_future(at)
    at_us = int(at.timestamp() * 1e6)
    row = np.flatnonzero(known.arrival_us + elapsed_h * 3.6e9 <= at_us)[-25:]
    row = row[known.stay_h[row] > elapsed_h]
    assert [known.session_id[i] for i in row] == [other.session_id[i] for i in row]
    assert not np.array_equal(known.energy_kwh[row], other.energy_kwh[row])
    was, now = (stay_features(each, row, elapsed_h) for each in (known, other))
    np.testing.assert_array_equal(was, now)
    ask = model.predict_going if elapsed_h else model.predict
    np.testing.assert_array_equal(ask(was).stay_h, ask(now).stay_h)
    np.testing.assert_array_equal(ask(was).energy_kwh, ask(now).energy_kwh)


def test_a_model_of_a_shuffled_future_forecasts_the_same(known: StayBook, model: SessionForecaster) -> None:
    """Lessons of all sessions are handed over; only those complete before the cut may teach."""
    lessons = Lessons.of(known, np.arange(known.rows), going=False)
    future = np.flatnonzero(lessons.known_us >= CUT_US)
    mixed = np.random.default_rng(0).permutation(future)
    for values in (lessons.stay_h, lessons.energy_kwh):
        values[future] = values[mixed]
    again = SessionForecaster.learn([lessons], cut_us=CUT_US, spec=SPEC, going=False)
    ask = stay_features(known, np.flatnonzero(known.arrival_us >= CUT_US))
    np.testing.assert_array_equal(again.predict(ask).energy_kwh, model.predict(ask).energy_kwh)


def test_corrections_wait_for_the_outcome(known: StayBook, model: SessionForecaster) -> None:
    at = MONDAY + timedelta(days=36)
    other = other_future(at)
    matrix = stay_features(known, np.arange(known.rows))
    raw = model.predict(matrix).energy_kwh
    early = known.arrival_us <= int(at.timestamp() * 1e6)
    was, now = (adapt(each, matrix, raw, "energy") for each in (known, other))
    np.testing.assert_array_equal(was[early], now[early])
    assert not np.array_equal(was, now)
