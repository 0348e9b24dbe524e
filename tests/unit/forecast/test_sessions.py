from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from tests.unit.forecast.session_town import MONDAY, book, town

from plugcast.adapters.memory import MemoryArtifactStore
from plugcast.errors import ModelError, NoUsableRowsError
from plugcast.forecast.sessions import DESCRIPTION, Lessons, SessionForecaster, as_forecasts
from plugcast.forecast.sessions_fit import MEDIAN, EnsembleSpec
from plugcast.forecast.sessions_roll import Refit, adapt, expert_medians, roll

if TYPE_CHECKING:
    from plugcast.features.stay_visits import StayBook

CUT = MONDAY + timedelta(days=30)
SMALL = EnsembleSpec(rounds=30, learning_rate=0.15, thresholds=4)
CUT_US = int(CUT.timestamp() * 1e6)


@pytest.fixture(scope="module")
def known() -> StayBook:
    return book(*town())


@pytest.fixture(scope="module")
def model(known: StayBook) -> SessionForecaster:
    return SessionForecaster.fit([known], cut_at=CUT, spec=SMALL)


def later(known: StayBook) -> np.ndarray:
    return np.flatnonzero(known.arrival_us >= CUT_US)


def test_it_learns_habits_and_tells_them_as_quantiles(known: StayBook, model: SessionForecaster) -> None:
    row = later(known)
    found = model.at_plug_in(known, row)
    for quantiles, truth, declared in (
        (found.stay_h, known.stay_h[row], known.declared_h[row]),
        (found.energy_kwh, known.energy_kwh[row], known.declared_kwh[row]),
    ):
        assert (np.diff(quantiles, axis=1) >= 0).all()
        assert (quantiles > 0).all()
        error = np.abs(quantiles[:, MEDIAN] - truth)
        assert error.mean() < 0.5 * np.abs(np.median(truth) - truth).mean()
        told = ~np.isnan(declared)
        assert error[told].mean() < np.abs(declared - truth)[told].mean()
    assert set(found.basis) == {"own history", "pooled"}
    assert (found.own == (known.user[row] >= 0)).all()


def test_as_it_goes_the_end_lies_ahead(known: StayBook, model: SessionForecaster) -> None:
    row = later(known)
    row = row[known.stay_h[row] > 3]
    found = model.as_it_goes(known, row, 3.0)
    assert (found.stay_h > 3.0).all()
    assert (np.diff(found.stay_h, axis=1) >= 0).all()
    error = np.abs(found.stay_h[:, MEDIAN] - known.stay_h[row]).mean()
    assert error < np.abs(np.median(known.stay_h[row]) - known.stay_h[row]).mean()


def test_a_stored_model_says_the_same(known: StayBook, model: SessionForecaster) -> None:
    store = MemoryArtifactStore()
    model.save(store)
    read, row = SessionForecaster.load(store), later(known)
    for one, other in (
        (model.at_plug_in(known, row), read.at_plug_in(known, row)),
        (model.as_it_goes(known, row[:5], 1.0), read.as_it_goes(known, row[:5], 1.0)),
    ):
        np.testing.assert_array_equal(one.stay_h, other.stay_h)
        np.testing.assert_array_equal(one.energy_kwh, other.energy_kwh)
    assert all(name.endswith((".txt", ".json")) for name in store.names())


@pytest.mark.parametrize("content", [b"{", b'{"format":1,"columns":["hour"],"members":{}}'])
def test_a_foreign_description_is_refused(content: bytes) -> None:
    store = MemoryArtifactStore()
    store.put(DESCRIPTION, content)
    with pytest.raises(ModelError, match="Train again"):
        SessionForecaster.load(store)


def test_a_shuffled_future_gives_the_same_model(model: SessionForecaster) -> None:
    sessions, inputs = town()
    future = sessions.filter(pl.col("available_at") >= CUT)
    mixed = future.with_columns(pl.col("energy_delivered_kwh").shuffle(1), pl.col("user_id").shuffle(2))
    other = book(pl.concat([sessions.filter(pl.col("available_at") < CUT), mixed]), inputs)
    again = SessionForecaster.fit([other], cut_at=CUT, spec=SMALL)
    stores = MemoryArtifactStore(), MemoryArtifactStore()
    model.save(stores[0])
    again.save(stores[1])
    assert [stores[0].get(name) for name in stores[0].names()] == [stores[1].get(name) for name in stores[1].names()]
    assert len(future) > 50


def test_too_little_to_learn_from_is_said(known: StayBook) -> None:
    with pytest.raises(NoUsableRowsError, match="at least 100 sessions"):
        SessionForecaster.fit([known], cut_at=MONDAY + timedelta(days=3), spec=SMALL)


def test_without_the_third_model_nothing_is_said_later(known: StayBook) -> None:
    alone = SessionForecaster.fit([known], cut_at=CUT, spec=EnsembleSpec(rounds=2), going=False)
    with pytest.raises(ModelError, match="going=False"):
        alone.as_it_goes(known, np.array([0]), 1.0)


def test_values_carry_the_quantiles(known: StayBook, model: SessionForecaster) -> None:
    row = later(known)[:3]
    found = model.at_plug_in(known, row)
    made = as_forecasts(known, row, found, issued_at=CUT)
    assert [one.session_id for one in made] == [known.session_id[index] for index in row]
    for one in made:
        assert one.departure_early_at <= one.departure_at <= one.departure_late_at
        assert one.energy_low_kwh <= one.energy_kwh <= one.energy_high_kwh


def test_a_roll_is_the_newest_model_of_each_time(known: StayBook, model: SessionForecaster) -> None:
    lessons = Lessons.of(known, np.arange(known.rows))
    week = 7 * 86_400_000_000
    refits = [Refit(at_us=CUT_US, going=True), Refit(at_us=CUT_US + week, pooled=False)]
    until = CUT_US + 10 * 86_400_000_000
    (found,), (going,) = roll([lessons], refits, until, SMALL)
    first = (known.arrival_us >= CUT_US) & (known.arrival_us < CUT_US + week)
    np.testing.assert_array_equal(found.stay_h[first], model.at_plug_in(known, np.flatnonzero(first)).stay_h)
    outside = (known.arrival_us < CUT_US) | (known.arrival_us >= until)
    assert np.isnan(found.energy_kwh[outside]).all()
    assert not np.isnan(found.energy_kwh[~outside]).any()
    assert np.isfinite(going.stay_h).any()
    adapted = adapt(known, lessons.matrix, found.stay_h, "stay")
    assert np.isfinite(adapted).sum() == np.isfinite(found.stay_h).sum()
    assert expert_medians(lessons.matrix, "stay").shape == (known.rows, 2)
