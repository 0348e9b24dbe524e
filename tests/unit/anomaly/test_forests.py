"""The forest's own walk against scikit-learn's, and its explanations against their sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest as SkForest

from plugcast.anomaly.forests import IsolationForest, average_path_length, fit_forest
from plugcast.errors import SpecMismatchError

NAMES = ("a", "b", "c", "d")
RNG = np.random.default_rng(5)
TRAIN = np.concatenate([RNG.normal(size=(500, 4)), RNG.normal(6, 3, size=(12, 4))])
FOREST = fit_forest(TRAIN, NAMES, seed=3, trees=40)


@pytest.mark.parametrize(("rows", "seed"), [(512, 3), (60, 4), (2, 5)])
def test_scores_are_scikit_learns(rows: int, seed: int) -> None:
    train = TRAIN[-rows:]
    ours = fit_forest(train, NAMES, seed=seed, trees=40)
    theirs = SkForest(n_estimators=40, max_samples=min(256, rows), random_state=seed, n_jobs=1).fit(train)
    fresh = RNG.normal(0, 4, size=(300, 4))
    for some in (fresh, train):
        np.testing.assert_allclose(ours.score(some, NAMES), -theirs.score_samples(some), rtol=0, atol=5e-6)


def test_contributions_add_up_to_the_path_length() -> None:
    rows = RNG.normal(0, 3, size=(50, 4))
    parts = FOREST.contributions(rows, NAMES)
    np.testing.assert_allclose(FOREST.base_depth + parts.sum(axis=1), FOREST.depths(rows, NAMES), rtol=0, atol=1e-9)


def test_the_feature_that_is_shifted_is_blamed() -> None:
    rows = np.zeros((4, 4)) + np.diag([9.0] * 4)
    blamed = FOREST.contributions(rows, NAMES).argmin(axis=1)
    assert blamed.tolist() == [0, 1, 2, 3]


def test_a_missing_value_is_not_odd() -> None:
    train = TRAIN.copy()
    train[::3, 0] = np.nan
    forest = fit_forest(train, NAMES, seed=1)
    ordinary, unknown, odd = np.zeros((3, 4))
    unknown[0], odd[0] = np.nan, 9.0
    scores = forest.score(np.stack([ordinary, unknown, odd]), NAMES)
    assert abs(scores[1] - scores[0]) < 0.02 < scores[2] - scores[0]


def test_constants_and_columns_that_were_never_there() -> None:
    train = np.column_stack([np.ones(50), np.full(50, np.nan), np.arange(50.0), np.zeros(50)])
    scores = fit_forest(train, NAMES, seed=0).score(train, NAMES)
    assert np.isfinite(scores).all()
    same = fit_forest(np.ones((50, 4)), NAMES, seed=0).score(np.ones((3, 4)), NAMES)
    assert np.isfinite(same).all()


def test_infinite_and_huge_values_are_scored() -> None:
    wild = np.array([[np.inf, -np.inf, 1e300, -1e300]])
    assert 0 < FOREST.score(wild, NAMES)[0] <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.permutations(NAMES), st.integers(0, 2**31))
def test_arrays_restore_the_same_bits(rows: int, order: list[str], seed: int) -> None:
    some = np.random.default_rng(seed).normal(0, 3, size=(rows, 4))
    restored = IsolationForest.from_arrays(FOREST.to_arrays(), names=FOREST.names, subsample=FOREST.subsample)
    shuffled = some[:, [NAMES.index(name) for name in order]]
    np.testing.assert_array_equal(restored.score(shuffled, order), FOREST.score(some, NAMES))


@pytest.mark.parametrize("damage", [{"left": np.int32(10**6)}, {"feature": np.int32(4)}, {"right": np.int32(-1)}])
def test_arrays_that_point_outside_are_refused(damage: dict[str, Any]) -> None:
    arrays = {name: part.copy() for name, part in FOREST.to_arrays().items()}
    for name, value in damage.items():
        arrays[name][1] = value
    with pytest.raises(SpecMismatchError, match="train it again"):
        IsolationForest.from_arrays(arrays, names=FOREST.names, subsample=FOREST.subsample)


def test_average_path_length_is_the_harmonic_formula() -> None:
    harmonic = sum(1 / k for k in range(1, 256))
    assert average_path_length(256) == pytest.approx(2 * harmonic - 2 * 255 / 256, abs=5e-3)


def test_a_value_equal_to_the_threshold_goes_left() -> None:
    stump = IsolationForest.from_arrays(
        {
            "feature": np.array([0, 0, 0], dtype=np.int32),
            "threshold": np.array([1.0, np.inf, np.inf]),
            "left": np.array([1, 1, 2], dtype=np.int32),
            "right": np.array([2, 1, 2], dtype=np.int32),
            "depth": np.array([3.0, 1.0, 5.0]),
            "root": np.array([0], dtype=np.int32),
            "median": np.array([0.0]),
        },
        names=["a"],
        subsample=256,
    )
    rows = np.array([[1.0], [1.5], [np.nan]])
    assert stump.depths(rows, ["a"]).tolist() == [1.0, 5.0, 1.0]
    assert stump.contributions(rows, ["a"]).ravel().tolist() == [-2.0, 2.0, -2.0]
