"""Exact Shapley values: the kernel against the formula as written, additivity, and hostile arrays."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.trees.packed.predictor import has_kernel
from plugcast.trees.packed.shapley import MOST_DEPTH, Trees, TreeShap, leaves_of

kernel = pytest.mark.skipif(not has_kernel(), reason="the kernel is not built or is switched off")


def grown(seed: int, *, trees: int = 3, splits: int = 12, features: int = 4, chain: bool = False) -> Trees:
    """Random trees whose rows add up; a chain splits its newest leaf for ever."""
    rng = np.random.default_rng(seed)
    nodes: list[list[Any]] = []
    roots = []
    for _ in range(trees):
        root = len(nodes)
        roots.append(root)
        nodes.append([0, 0.0, root, root, 0.0, 4096.0 * (splits + 1)])
        leaves = [root]
        for _ in range(splits):
            leaf = leaves.pop(-1 if chain else int(rng.integers(len(leaves))))
            rows, share = nodes[leaf][5], rng.uniform(0.01, 0.05) if chain else rng.uniform(0.05, 0.95)
            left, right = len(nodes), len(nodes) + 1
            for child, part in ((left, share), (right, 1 - share)):
                nodes.append([0, 0.0, child, child, float(rng.normal()), rows * part])
                leaves.append(child)
            nodes[leaf][:4] = [int(rng.integers(features)), float(rng.normal()), left, right]
    columns = list(zip(*nodes, strict=True))
    return Trees(
        feature=np.array(columns[0], np.int64),
        threshold=np.array(columns[1], np.float64),
        left=np.array(columns[2], np.int64),
        right=np.array(columns[3], np.int64),
        missing_left=rng.random(len(nodes)) < 0.5,
        answer=np.array(columns[4], np.float64),
        rows=np.array(columns[5], np.float64),
        root=roots,
    )


def rows_for(seed: int, count: int, features: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, features))
    rows[rng.random(rows.shape) < 0.1] = np.nan
    rows[rng.random(rows.shape) < 0.05] = np.inf
    return rows


def walked(trees: Trees, row: np.ndarray) -> float:
    """The answer, by following the row down every tree."""
    total = 0.0
    for start in trees.root:
        node = start
        while trees.left[node] != node:
            value = row[trees.feature[node]]
            left = trees.missing_left[node] if np.isnan(value) else value <= trees.threshold[node]
            node = int(trees.left[node] if left else trees.right[node])
        total += float(trees.answer[node])
    return total


@kernel
@given(st.integers(0, 10_000), st.integers(0, 40), st.integers(1, 24), st.booleans())
def test_the_kernel_equals_the_formula_as_written(seed: int, splits: int, features: int, chain: bool) -> None:  # noqa: FBT001 - drawn
    trees = grown(seed, splits=splits, features=features, chain=chain)
    rows = rows_for(seed, 6, features)
    fast, slow = TreeShap(trees, features), TreeShap(trees, features, kernel=False)
    found, wanted = fast.values(rows), slow.values(rows)
    np.testing.assert_allclose(found, wanted, atol=1e-12, rtol=1e-11)
    assert fast.base == pytest.approx(slow.base, abs=1e-12)
    np.testing.assert_allclose(fast.base + found.sum(axis=1), [walked(trees, row) for row in rows], atol=1e-9)


@kernel
def test_a_row_alone_equals_the_row_in_a_batch_with_any_vectors() -> None:
    trees = grown(1, trees=20, splits=60, features=11)
    rows = rows_for(2, 70, 11)
    whole = TreeShap(trees, 11).values(rows)
    np.testing.assert_array_equal(np.vstack([TreeShap(trees, 11).values(row[None]) for row in rows]), whole)
    np.testing.assert_array_equal(TreeShap(trees, 11, vectors="plain").values(rows), whole)


@pytest.mark.parametrize("features", [MOST_DEPTH + 90, 2])
def test_beyond_the_kernels_limits_numpy_does_the_work(features: int) -> None:
    """One way of 600 splits: too many features on it, or too deep."""
    trees = grown(3, trees=1, splits=MOST_DEPTH + 88, features=features, chain=True)
    row = rows_for(4, 1, features)
    made = TreeShap(trees, features)
    assert made.base + made.values(row).sum() == pytest.approx(walked(trees, row[0]), abs=1e-8)
    assert len(leaves_of(trees, features).answer) == MOST_DEPTH + 89


def test_other_shapes_are_refused_and_no_rows_are_none() -> None:
    made = TreeShap(grown(5), 4)
    assert made.values(np.zeros((0, 4))).shape == (0, 4)
    with pytest.raises(ValueError, match="rows of 4 values"):
        made.values(np.zeros((2, 3)))


@kernel
@given(st.data())
def test_hostile_arrays_are_refused_or_walked_never_followed_outside(data: st.DataObject) -> None:
    """What comes from a damaged file may hold any number; the sanitised run of this test is the proof."""
    trees = grown(6, trees=2, splits=5)
    nodes = len(trees.left)
    order = np.argsort(np.arange(nodes))  # not preorder on purpose: the kernel has to look
    arrays: dict[str, np.ndarray] = {
        "feature": trees.feature.astype(np.int32),
        "threshold": trees.threshold,
        "right": trees.right[order].astype(np.int32),
        "missing_left": trees.missing_left.astype(np.uint8),
        "answer": trees.answer,
        "rows": trees.rows,
        "root": np.array([*trees.root, nodes], np.int32),
    }
    for _ in range(data.draw(st.integers(0, 4))):
        array = arrays[data.draw(st.sampled_from(["feature", "right", "rows", "root"]))]
        array = array.copy() if not array.flags.writeable else array
        array[data.draw(st.integers(0, len(array) - 1))] = data.draw(st.integers(-2, nodes + 3))
    cut = data.draw(st.sampled_from(["", "threshold", "answer", "rows"]))
    if cut:
        arrays[cut] = arrays[cut][:-1]
    try:
        made = import_module("plugcast.trees.packed._kernel").Shapley(4, -1, *arrays.values())
    except ValueError:
        return
    out = np.zeros((3, 4))
    made.values_into(rows_for(7, 3, 4), out)


def test_the_trees_are_not_changed() -> None:
    trees = grown(8)
    before = replace(trees, threshold=trees.threshold.copy(), rows=trees.rows.copy())
    TreeShap(trees, 4).values(rows_for(9, 3, 4))
    np.testing.assert_array_equal(trees.threshold, before.threshold)
    np.testing.assert_array_equal(trees.rows, before.rows)
