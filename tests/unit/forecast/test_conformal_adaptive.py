from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from tests.unit.forecast.session_town import book, town

from plugcast.features.stay_features import STAY_COLUMNS
from plugcast.forecast.conformal import MOST, SHRINK, Adaptive
from plugcast.forecast.sessions_fit import MEDIAN, QUANTILES
from plugcast.forecast.sessions_roll import adapt

LOW, HIGH = QUANTILES.index(0.1), QUANTILES.index(0.9)


def forecast(scale: float = 1.0) -> np.ndarray:
    return np.exp(np.array([-2.0, -1.3, -0.7, 0.0, 0.7, 1.3, 2.0]) * scale) * 5


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_coverage_comes_back_from_either_side(scale: float) -> None:
    """The truth spreads as scale 1; forecasts that are three times too narrow or too wide are put right."""
    rng = np.random.default_rng(0)
    state, inside = Adaptive(step=0.02), []
    for _ in range(3000):
        outcome = float(5 * np.exp(rng.normal()))
        now = state.adjusted("known", None, forecast(scale))
        inside.append(now[LOW] <= outcome <= now[HIGH])
        state.learn("known", None, forecast(scale), outcome)
    assert abs(np.mean(inside[:100]) - 0.8) > 0.1
    assert np.mean(inside[1000:]) == pytest.approx(0.8, abs=0.03)


def test_classes_do_not_touch_each_other() -> None:
    state = Adaptive()
    for _ in range(200):
        state.learn("unknown", None, forecast(), 50.0, (40.0,))
    np.testing.assert_array_equal(state.adjusted("known", "ann", forecast(), (40.0,)), forecast())
    assert state.adjusted("unknown", None, forecast(), (40.0,))[MEDIAN] > 30  # the expert was right


def test_a_driver_leans_alone_and_only_so_far() -> None:
    state = Adaptive(step=0.0)
    for _ in range(10):
        state.learn("known", "ann", forecast(), 10.0)
    ann, bob = (state.adjusted("known", who, forecast())[MEDIAN] for who in ("ann", "bob"))
    assert bob == pytest.approx(5.0)
    assert ann == pytest.approx(5.0 * 2 ** (10 / (10 + SHRINK)))


def test_offsets_stay_bounded_and_quantiles_in_order() -> None:
    state = Adaptive(step=0.5)
    for outcome in [1e-6] * 50 + [1e6] * 50:
        state.learn("known", None, forecast(), outcome)
        assert (np.diff(state.adjusted("known", None, forecast())) >= 0).all()
        assert np.abs(state.classes["known"].offset).max() <= MOST


def test_the_state_survives_being_stored() -> None:
    state = Adaptive(shrink=None)
    for outcome in (1.0, 9.0, 4.0):
        state.learn("known", "ann", forecast(), outcome, (3.0, float("nan")))
    read = msgspec.json.decode(msgspec.json.encode(state), type=Adaptive)
    assert read == state
    np.testing.assert_array_equal(
        read.adjusted("known", "ann", forecast(), (3.0, 2.0)), state.adjusted("known", "ann", forecast(), (3.0, 2.0))
    )


def test_no_outcome_is_heard_before_it_is_known() -> None:
    """Outcomes that become known after the last plug-in may be anything."""
    known = book(*town(days=12))
    raw = np.tile(forecast(), (known.rows, 1))
    until = int(known.arrival_us[known.rows // 2])
    hidden = known.known_us >= until
    other = replace(known, stay_h=np.where(hidden, 99.0, known.stay_h))
    matrix = np.full((known.rows, len(STAY_COLUMNS)), np.nan, np.float32)
    one, two = (adapt(each, matrix, raw, "stay") for each in (known, other))
    before = known.arrival_us <= until
    np.testing.assert_array_equal(one[before], two[before])
    assert not np.array_equal(one, two)
