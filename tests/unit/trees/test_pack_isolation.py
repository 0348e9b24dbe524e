"""Packed isolation forests score as scikit-learn's; extended ones find what lies off the diagonal."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest as SkForest

from plugcast.anomaly.forests import design_matrix, fit_forest
from plugcast.errors import ModelError, NoUsableRowsError
from plugcast.trees.packed.extended import fit_extended
from plugcast.trees.packed.forest import Kind
from plugcast.trees.packed.pack_isolation import pack_isolation
from plugcast.trees.packed.predictor import Packed

NAMES = ("a", "b", "c", "d")


def rows(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    some = rng.normal(0, 3, size=(count, 4))
    return np.where(rng.random(some.shape) < 0.05, np.array([np.nan, np.inf, -np.inf, 1e300]), some)


def test_scores_are_scikit_learns_to_the_rounding_of_path_lengths() -> None:
    train = np.random.default_rng(1).normal(size=(1000, 4))
    forest = fit_forest(train, NAMES, seed=3, trees=100)
    theirs = SkForest(n_estimators=100, max_samples=256, random_state=3, n_jobs=1).fit(train)
    some = rows(2, 3000)
    filled = design_matrix(some, forest.median)
    assert forest.packed.forest.kind == Kind.DIRECT
    np.testing.assert_allclose(forest.score(some, NAMES), -theirs.score_samples(filled), rtol=0, atol=2e-6)
    again = Packed.from_bytes(forest.packed.to_bytes(), NAMES)
    np.testing.assert_array_equal(again.predict(some), forest.score(some, NAMES))
    np.testing.assert_array_equal(Packed(again.forest, kernel=False).predict(some), forest.score(some, NAMES))


def test_few_trees_fit_eight_bits() -> None:
    train = np.random.default_rng(1).normal(size=(60, 4))
    forest = fit_forest(train, NAMES, seed=3, trees=4)
    assert forest.packed.forest.kind == Kind.RANKED
    theirs = SkForest(n_estimators=4, max_samples=60, random_state=3, n_jobs=1).fit(train)
    filled = design_matrix(rows(2, 500), forest.median)
    np.testing.assert_allclose(forest.score(rows(2, 500), NAMES), -theirs.score_samples(filled), rtol=0, atol=5e-6)


def test_branches_that_share_nodes_are_refused() -> None:
    """Thirty levels that lead to one another twice would be a billion paths."""
    levels = np.arange(30)
    below = np.minimum(levels + 1, 29)
    with pytest.raises(ModelError, match="shared"):
        pack_isolation(
            ["a"],
            feature=levels * 0,
            threshold=levels * 0.0,
            left=below,
            right=below,
            depth=levels * 1.0,
            root=np.array([0]),
            fill=np.array([0.0]),
            usual_depth=10.0,
        )


def test_planes_see_what_no_single_feature_shows() -> None:
    rng = np.random.default_rng(4)
    along = rng.normal(size=2000)
    train = np.stack([along, 1000 * (along + rng.normal(0, 0.1, 2000))], axis=1)  # on scales far apart
    off = np.stack([np.linspace(-1, 1, 50), -1000 * np.linspace(-1, 1, 50)], axis=1)[np.r_[0:20, 30:50]]
    made = Packed(fit_extended(train, ["x", "y"], seed=1, terms=2))
    plain = Packed(fit_extended(train, ["x", "y"], seed=1, terms=1))

    def separation(packed: Packed) -> float:
        return float((packed.predict(off)[:, None] > packed.predict(train[:500])[None]).mean())

    assert separation(made) > max(0.9, separation(plain))
    again = Packed.from_bytes(made.to_bytes())
    np.testing.assert_array_equal(again.predict(train), made.predict(train))
    np.testing.assert_array_equal(Packed(made.forest, kernel=False).predict(off), made.predict(off))


def test_a_missing_value_counts_as_the_median() -> None:
    train = np.random.default_rng(4).normal(5, 1, size=(500, 3))
    made = Packed(fit_extended(train, ["x", "y", "z"], seed=1))
    median = np.median(train, axis=0).astype(np.float32)
    missing = np.array([[np.nan, median[1], 9.0], [median[0], np.inf, 9.0]])
    assert made.predict(missing).tolist() == made.predict(np.array([[median[0], median[1], 9.0]] * 2)).tolist()


@pytest.mark.parametrize("train", [np.ones((50, 2)), np.array([[1.0, 2.0], [1.0, 3.0]])], ids=["alike", "two rows"])
def test_little_to_learn_from_is_no_error(train: np.ndarray) -> None:
    assert np.isfinite(Packed(fit_extended(train, ["x", "y"], seed=0)).predict(train)).all()


def test_one_row_is_too_few() -> None:
    with pytest.raises(NoUsableRowsError, match="found 1"):
        fit_extended(np.ones((1, 2)), ["x", "y"], seed=0)
