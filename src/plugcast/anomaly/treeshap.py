"""Exact Shapley values of the isolation forest and of the fault classifier, on request (``trees.packed.shapley``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from plugcast.anomaly.forests import IsolationForest, align, average_path_length, design_matrix
from plugcast.trees.packed.forest import Kind, Missing
from plugcast.trees.packed.shapley import Trees, TreeShap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from plugcast.anomaly.faults import FaultClassifier
    from plugcast.trees.packed.forest import Forest

    Floats = NDArray[np.float64]


def forest_trees(forest: IsolationForest) -> Trees:
    """Of an isolation forest; the answer is the mean path length, so NEGATIVE values make a row odder.

    How many training rows a leaf holds is read from its path length: c(rows) tells the number.
    """
    sizes = np.array([average_path_length(n) for n in range(1, forest.subsample + 1)])
    nodes = len(forest.left)
    level, rows = np.zeros(nodes), np.zeros(nodes)
    leaf = forest.left == np.arange(nodes)
    for node in np.flatnonzero(~leaf):  # parents stand before their children
        level[forest.left[node]] = level[forest.right[node]] = level[node] + 1
    held = forest.depth[leaf] - level[leaf]
    near = np.clip(np.searchsorted(sizes, held), 1, len(sizes) - 1) if len(sizes) > 1 else np.zeros(len(held), int)
    below = near - (np.abs(sizes[near - 1] - held) < np.abs(sizes[near] - held)) if len(sizes) > 1 else near
    rows[leaf] = below + 1.0
    for node in np.flatnonzero(~leaf)[::-1]:
        rows[node] = rows[forest.left[node]] + rows[forest.right[node]]
    return Trees(
        feature=forest.feature.astype(np.int64),
        threshold=forest.threshold,
        left=forest.left.astype(np.int64),
        right=forest.right.astype(np.int64),
        missing_left=np.zeros(nodes, bool),
        answer=forest.depth / len(forest.root),
        rows=rows,
        root=forest.root.tolist(),
    )


def packed_trees(forest: Forest, rows: Floats) -> Trees:
    """Of packed boosted trees; answers are parts of the raw score, so positive values make a row odder.

    Args:
        forest: The trees, not of planes.
        rows: (nodes,) training rows under each node.
    """
    if forest.kind == Kind.HYPERPLANE:
        raise ValueError("wanted trees that split on one feature at a time")
    nodes = len(forest.right)
    leaf = forest.leaf
    own = np.arange(nodes)
    column = forest.column[:, 0]
    feature = (
        np.where(leaf, 0, forest.column_feature[column]).astype(np.int64) if len(forest.column_feature) else own * 0
    )
    threshold = np.zeros(nodes)
    if forest.kind == Kind.RANKED:
        inner = ~leaf
        threshold[inner] = forest.cuts[forest.cut_start[feature[inner]] + forest.rank[inner]]
    else:
        threshold[~leaf] = forest.threshold[~leaf]
    rule = forest.column_missing[column] if len(forest.column_missing) else np.zeros(nodes, np.uint8)
    doublings = np.repeat(forest.shift, np.diff(forest.root))
    answer = forest.scale * (forest.value.astype(np.int64) << doublings).astype(np.float64)
    answer += np.where(leaf, forest.base / forest.trees, 0.0)
    return Trees(
        feature=feature,
        threshold=threshold,
        left=np.where(leaf, own, own + 1),
        right=forest.right.astype(np.int64),
        missing_left=(rule == Missing.LEFT) | ((rule == Missing.ZERO) & (threshold >= 0)),
        answer=answer,
        rows=rows,
        root=forest.root[:-1].tolist(),
    )


class ForestShap:
    """Explains rows by an isolation forest, tabulated once; build it once for many rows."""

    def __init__(self, forest: IsolationForest, *, kernel: bool = True) -> None:
        self.forest = forest
        self.trees = TreeShap(forest_trees(forest), len(forest.names), kernel=kernel)

    def values(self, matrix: Floats, names: Sequence[str]) -> Floats:
        """(rows, features) exact Shapley values of the mean path length, by ``forest.names``; NEGATIVE is odder."""
        return self.trees.values(design_matrix(align(matrix, names, self.forest.names), self.forest.median))


def forest_shap(forest: IsolationForest, matrix: Floats, names: Sequence[str]) -> Floats:
    """As :class:`ForestShap`, for one batch."""
    return ForestShap(forest).values(matrix, names)


def faults_shap(model: FaultClassifier, matrix: Floats, names: Sequence[str]) -> Floats | None:
    """(rows, features) exact Shapley values of the log-odds, by ``model.names``; None where the rows were not kept."""
    if model.rows is None:
        return None
    trees = TreeShap(packed_trees(model.trees.forest, model.rows.astype(np.float64)), len(model.names))
    return trees.values(align(matrix, names, model.names).astype(np.float32).astype(np.float64))
