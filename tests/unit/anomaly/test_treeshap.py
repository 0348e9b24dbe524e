"""Exact Shapley values of trees against enumeration and against LightGBM's own."""

from __future__ import annotations

import itertools
import math

import lightgbm as lgb
import numpy as np
import pytest

from plugcast.anomaly.faults import FaultClassifier, fit_faults
from plugcast.anomaly.forests import IsolationForest, fit_forest
from plugcast.anomaly.treeshap import ForestShap, faults_shap, forest_shap, packed_trees
from plugcast.domain.finding import Cause
from plugcast.trees.packed.pack_lightgbm import pack_lightgbm, training_rows
from plugcast.trees.packed.shapley import TreeShap

NAMES = ("a", "b", "c", "d")


def drawn(rows: int, seed: int, features: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, features))


def enumerated(forest: IsolationForest, row: np.ndarray) -> np.ndarray:
    """Shapley's formula over all subsets of features, the expectation walked down each tree."""
    rows = sample_sizes(forest)

    def expected(node: int, known: frozenset[int]) -> float:
        a, b = int(forest.left[node]), int(forest.right[node])
        if a == node:
            return float(forest.depth[node])
        if int(forest.feature[node]) in known:
            return expected(a if row[forest.feature[node]] <= forest.threshold[node] else b, known)
        return float((rows[a] * expected(a, known) + rows[b] * expected(b, known)) / rows[node])

    count = len(forest.names)
    value = np.zeros(count)
    for size in range(count):
        weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
        for feature in range(count):
            for others in itertools.combinations([f for f in range(count) if f != feature], size):
                known = frozenset(others)
                value[feature] += weight * sum(
                    expected(int(root), known | {feature}) - expected(int(root), known) for root in forest.root
                )
    return value / len(forest.root)


def sample_sizes(forest: IsolationForest) -> dict[int, float]:
    """Rows under each node, solved from the expected depths instead of read from leaves."""
    sizes: dict[int, float] = {}
    for root in forest.root.tolist():
        sizes[root] = float(forest.subsample)
        waiting = [root]
        while waiting:
            node = waiting.pop()
            a, b = int(forest.left[node]), int(forest.right[node])
            if a == node:
                continue
            gap = forest.depth[a] - forest.depth[b]
            share = 0.5 if abs(gap) < 1e-12 else (forest.depth[node] - forest.depth[b]) / gap
            sizes[a], sizes[b] = share * sizes[node], (1 - share) * sizes[node]
            waiting += [a, b]
    return sizes


def test_isolation_forest_equals_the_enumeration_of_all_subsets() -> None:
    forest = fit_forest(drawn(300, 1), NAMES, seed=3, trees=5, subsample=64)
    rows = np.vstack([drawn(3, 2), [[9.0, 0.0, -7.0, 0.1]]]).astype(np.float32).astype(np.float64)
    found = forest_shap(forest, rows, NAMES)
    wanted = np.array([enumerated(forest, row) for row in rows])
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_values_add_up_to_the_path_length_and_the_odd_feature_comes_first() -> None:
    forest = fit_forest(drawn(500, 4), NAMES, seed=5, trees=50)
    rows = np.vstack([drawn(20, 6), [[0.0, 8.0, 0.0, 0.0]], [[np.nan, 0.2, np.inf, 0.0]]])
    found = forest_shap(forest, rows, NAMES)
    np.testing.assert_allclose(ForestShap(forest).trees.base + found.sum(axis=1), forest.depths(rows, NAMES), atol=1e-3)
    assert found[20].argmin() == 1
    shuffled = ("c", "a", "d", "b")
    np.testing.assert_array_equal(forest_shap(forest, rows[:, [2, 0, 3, 1]], shuffled), found)


@pytest.mark.parametrize("missing", [True, False])
def test_boosted_trees_equal_what_lightgbm_says(*, missing: bool) -> None:
    rows = drawn(800, 7).astype(np.float32)
    target = (rows[:, 0] * rows[:, 1] + rows[:, 2] > 0).astype(float)
    if missing:
        rows[np.random.default_rng(8).random(rows.shape) < 0.2] = np.nan
    parameters = {"objective": "binary", "num_leaves": 15, "verbosity": -1, "num_threads": 1, "seed": 1}
    booster = lgb.train(parameters, lgb.Dataset(rows, target), num_boost_round=25)
    text = booster.model_to_string()
    trees = packed_trees(pack_lightgbm(text), training_rows(text).astype(np.float64))
    test = np.vstack([rows[:30], np.zeros((1, 4), np.float32)])
    wanted = booster.predict(test, pred_contrib=True)
    for kernel in (True, False):
        shap = TreeShap(trees, 4, kernel=kernel)
        found = np.column_stack([shap.values(test.astype(np.float64)), np.full(len(test), shap.base)])
        np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_the_classifier_keeps_its_rows_and_one_without_them_says_none() -> None:
    ordinary, faulty = drawn(400, 9), drawn(60, 10) + np.array([4.0, 0.0, 0.0, 0.0])
    model = fit_faults(ordinary, faulty, [Cause.DERATING] * 60, NAMES, seed=1, rounds=20)
    again = FaultClassifier.from_arrays(model.to_arrays(), names=model.names)
    found = faults_shap(again, faulty[:5], NAMES)
    assert found is not None
    assert (found.argmax(axis=1) == 0).all()
    bare = {name: part for name, part in model.to_arrays().items() if name != "rows"}
    assert faults_shap(FaultClassifier.from_arrays(bare, names=model.names), faulty[:5], NAMES) is None
