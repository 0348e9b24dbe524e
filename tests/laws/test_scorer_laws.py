"""What every detector of the stack obeys, whatever its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from plugcast.anomaly.extended import ExtendedForest, fit_extended_forest
from plugcast.anomaly.faults import FaultClassifier, fit_faults
from plugcast.anomaly.forests import fit_forest
from plugcast.anomaly.neighbours import Neighbours, fit_neighbours
from plugcast.anomaly.unsupervised import fit_unsupervised
from plugcast.domain.finding import Cause

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from plugcast.anomaly.stack import Scorer

NAMES = ("a", "b", "c", "d", "e")
RNG = np.random.default_rng(3)
TRAIN = RNG.normal(size=(400, 5)) * [1.0, 10.0, 0.1, 1.0, 0.0]
ODD = TRAIN[:60] + np.array([6.0, 60.0, 0.0, 0.0, 0.0])
TEST = np.vstack([RNG.normal(size=(40, 5)) * [1.0, 10.0, 0.1, 1.0, 0.0], ODD[:5]])


def faults(rows: NDArray[np.float64], names: tuple[str, ...]) -> FaultClassifier:
    odd = ODD[:, [NAMES.index(name) for name in names]]
    return fit_faults(rows, odd, [Cause.DERATING, Cause.OVERSTAY] * 30, names, seed=1, rounds=20)


FITS: dict[str, Callable[[NDArray[np.float64], tuple[str, ...]], Scorer]] = {
    "forest": lambda rows, names: fit_forest(rows, names, seed=1, trees=20),
    "extended": lambda rows, names: fit_extended_forest(rows, names, seed=1, trees=20),
    "neighbours": lambda rows, names: fit_neighbours(rows, names, seed=1, references=100),
    "faults": faults,
    "fused": lambda rows, names: fit_unsupervised(rows, names, seed=1),
}


@pytest.fixture(params=FITS, scope="module")
def fit(request: pytest.FixtureRequest) -> Callable[[NDArray[np.float64], tuple[str, ...]], Scorer]:
    return FITS[request.param]


def test_a_row_alone_scores_as_in_a_batch_and_nothing_is_changed(fit: Callable[..., Scorer]) -> None:
    scorer, before = fit(TRAIN, NAMES), TEST.copy()
    whole = scorer.score(TEST, NAMES)
    alone = np.concatenate([scorer.score(row[None], NAMES) for row in TEST])
    np.testing.assert_array_equal(whole, alone)
    np.testing.assert_array_equal(TEST, before)


def test_the_order_of_features_does_not_matter(fit: Callable[..., Scorer]) -> None:
    turned = [3, 1, 4, 0, 2]
    names = tuple(NAMES[place] for place in turned)
    one, other = fit(TRAIN, NAMES), fit(TRAIN[:, turned], names)
    np.testing.assert_array_equal(one.score(TEST, NAMES), other.score(TEST[:, turned], names))


def test_missing_vanished_new_and_absurd_values_are_survived(fit: Callable[..., Scorer]) -> None:
    scorer = fit(TRAIN, NAMES)
    rows = TEST.copy()
    rows[0], rows[1, 0], rows[2, 1], rows[3, 2] = np.nan, np.inf, -np.inf, 1e300
    assert np.isfinite(scorer.score(rows, NAMES)).all()
    gone = rows.copy()
    gone[:, 4] = np.nan
    np.testing.assert_array_equal(
        scorer.score(np.column_stack([rows[:, :4], rows[:, 0]]), (*NAMES[:4], "new")), scorer.score(gone, NAMES)
    )
    assert len(scorer.score(rows[:0], NAMES)) == 0


def test_constant_training_is_survived(fit: Callable[..., Scorer]) -> None:
    assert np.isfinite(fit(np.ones((50, 5)), NAMES).score(TEST, NAMES)).all()


def test_the_odd_are_odder(fit: Callable[..., Scorer]) -> None:
    scores = fit(TRAIN, NAMES).score(TEST, NAMES)
    assert scores[-5:].min() > np.median(scores[:40])


def test_arrays_bring_a_detector_back() -> None:
    extended = fit_extended_forest(TRAIN, NAMES, seed=1, trees=10)
    near = fit_neighbours(TRAIN, NAMES, seed=1)
    known = faults(TRAIN, NAMES)
    pairs: list[tuple[Scorer, Scorer]] = [
        (extended, ExtendedForest.from_arrays(extended.to_arrays(), names=extended.names)),
        (near, Neighbours.from_arrays(near.to_arrays(), names=near.names, k=near.k)),
        (known, FaultClassifier.from_arrays(known.to_arrays(), names=known.names)),
    ]
    for one, other in pairs:
        np.testing.assert_array_equal(one.score(TEST, NAMES), other.score(TEST, NAMES))
