from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.features.stay_features import STAY_COLUMNS
from plugcast.forecast.sessions_fit import LEAST, MEDIAN, QUANTILES, Ensemble, EnsembleSpec, Frame, Quantity, fit

SPEC = EnsembleSpec(rounds=40, seeds=1, learning_rate=0.2, min_leaf_rows=20)
HOUR, ELAPSED, DECLARED = (STAY_COLUMNS.index(name) for name in ("hour", "elapsed_h", "declared_h"))


def asked(rows: int, seed: int = 0) -> np.ndarray:
    """Visits of the site alone, whose quantiles lie between 2 and 9 hours; no driver is known."""
    matrix = np.full((rows, len(STAY_COLUMNS)), np.nan, np.float32)
    rng = np.random.default_rng(seed)
    matrix[:, HOUR], matrix[:, ELAPSED] = rng.uniform(6, 18, rows), 0.0
    for place, value in enumerate((1.5, 2.0, 5.0, 9.0, 10.0)):
        matrix[:, STAY_COLUMNS.index("pool_stay_q10") + place] = value
    return matrix


def test_two_ways_to_stay_are_seen_as_two() -> None:
    """In the morning three of four stay 9 h and the rest 2 h; in the afternoon the other way round."""
    matrix, rng = asked(3000), np.random.default_rng(1)
    morning = matrix[:, HOUR] < 12
    long = rng.random(3000) < np.where(morning, 0.75, 0.25)
    stay = np.where(long, 9.0, 2.0) * np.exp(rng.normal(0, 0.03, 3000))
    found = fit(matrix, stay, np.zeros(3000), Frame(quantity="stay", columns=STAY_COLUMNS), SPEC).predict(asked(400, 2))
    early = asked(400, 2)[:, HOUR] < 12
    assert np.median(found[early, MEDIAN]) == pytest.approx(9, rel=0.08)
    assert np.median(found[~early, MEDIAN]) == pytest.approx(2, rel=0.08)
    low, high = QUANTILES.index(0.1), QUANTILES.index(0.9)
    for part in (early, ~early):
        assert np.median(found[part, low]) == pytest.approx(2, rel=0.12)
        assert np.median(found[part, high]) == pytest.approx(9, rel=0.12)


def test_levels_are_reached_as_often_as_they_say() -> None:
    matrix, rng = asked(4000), np.random.default_rng(1)
    stay = 4.0 * np.exp(rng.normal(0, 0.5, 4000))
    frame = Frame(quantity="stay", columns=STAY_COLUMNS)
    found = fit(matrix[:3000], stay[:3000], np.zeros(3000), frame, SPEC).predict(matrix[3000:])
    reached = (stay[3000:, None] <= found).mean(axis=0)
    np.testing.assert_allclose(reached, QUANTILES, atol=0.05)


@pytest.mark.parametrize("quantity", ["stay", "energy"])
@given(st.integers(0, 2**32 - 1))
def test_whatever_is_not_known_quantiles_stand_in_order(quantity: Quantity, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.gamma(2.0, 3.0, (8, len(STAY_COLUMNS))).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.6] = np.nan
    matrix[:, HOUR], matrix[:, ELAPSED] = 9.0, 0.0
    found = MODELS[quantity].predict(matrix)
    assert found.shape == (8, len(QUANTILES))
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found >= LEAST).all()
    assert np.isfinite(found).all()


def _trained(quantity: Quantity) -> Ensemble:
    rng = np.random.default_rng(3)
    return fit(
        asked(300),
        rng.uniform(1, 12, 300),
        np.zeros(300),
        Frame(quantity=quantity, columns=STAY_COLUMNS),
        EnsembleSpec(rounds=5, seeds=1),
    )


MODELS: dict[Quantity, Ensemble] = {"stay": _trained("stay"), "energy": _trained("energy")}


def test_hours_into_a_visit_values_count_from_now() -> None:
    """The declared nine hours are two after seven have gone."""
    matrix = asked(1)
    matrix[:, DECLARED] = 9.0
    frame = Frame(quantity="stay", columns=STAY_COLUMNS)
    later = matrix.copy()
    later[:, ELAPSED] = 7.0
    place = frame.names.index("over_declared_h") - frame.names.index("at") - 1
    assert np.exp(frame.anchors(matrix)[0, place]) == pytest.approx(9)
    assert np.exp(frame.anchors(later)[0, place]) == pytest.approx(2)
    anchors = frame.anchors(later)
    inputs = frame.inputs(later, anchors, frame.ladders(anchors), np.log(np.array([2.0])))
    assert inputs.shape == (1, len(frame.names))
    assert inputs[0, frame.names.index("at_clock")] == pytest.approx(later[0, HOUR] + 9)
    assert inputs[0, frame.names.index("over_declared_h")] == pytest.approx(0, abs=1e-6)
