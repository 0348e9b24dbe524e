"""Exact Shapley values of trees (TreeSHAP, path-dependent; Lundberg et al. 2020), on request.

A leaf's answer counts for a feature by how the rows under each node were divided in training. Over the features of one
leaf's way the Shapley value is an integral of a polynomial, for a feature i that the row satisfies (one) or not (zero):

    answer * (one_i - share_i) * integral from 0 to 1 of the product over j != i of (one_j * t + share_j * (1 - t)) dt

which Gauss and Legendre's rule with half as many points as features gives exactly. A feature met twice on a way is one
condition: its interval is the intersection, its share the product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plugcast.anomaly.forests import IsolationForest, align, average_path_length, design_matrix
from plugcast.trees.packed.forest import Kind, Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from plugcast.anomaly.faults import FaultClassifier
    from plugcast.trees.packed.forest import Forest

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trees:
    """Trees node by node, before their ways are listed; a leaf is its own left child."""

    feature: NDArray[np.int64]
    threshold: Floats
    """A value of at most this goes left."""
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    """Where a value that is not there goes."""
    answer: Floats
    """Of leaves, what each tree weighs included."""
    rows: Floats
    """Training rows under each node."""
    root: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leaves:
    """The way to every leaf, a condition a feature: (leaves, width) arrays, padded with what always holds."""

    features: int
    feature: NDArray[np.int64]
    low: Floats
    """A value above this ..."""
    high: Floats
    """... and of at most this satisfies the condition."""
    missing: NDArray[np.bool_]
    """Whether a value that is not there does."""
    share: Floats
    """Of the training rows that would have gone on, were the feature not known."""
    answer: Floats
    """(leaves,)"""

    @property
    def base(self) -> float:
        """The expected answer of a training row: what the values start from."""
        return float((self.answer * self.share.prod(axis=1)).sum())

    def values(self, row: Floats) -> Floats:
        """(features,) of one row; ``base + values.sum()`` is the row's answer, to rounding."""
        value = row[self.feature]
        unknown = np.isnan(value)
        inside = np.where(unknown, self.missing, (value > self.low) & (value <= self.high)).astype(np.float64)
        points, weights = np.polynomial.legendre.leggauss(max(1, (self.feature.shape[1] + 1) // 2))
        points, weights = 0.5 * (points + 1.0), 0.5 * weights
        factor = inside[..., None] * points + self.share[..., None] * (1.0 - points)
        others = (factor.prod(axis=1)[:, None, :] / factor) @ weights
        part = self.answer[:, None] * (inside - self.share) * others
        made: Floats = np.bincount(self.feature.ravel(), part.ravel(), self.features).astype(np.float64)
        return made


def leaves_of(trees: Trees, features: int) -> Leaves:
    """List the ways; cost grows with nodes times depth."""
    ways: list[dict[int, tuple[float, float, bool, float]]] = []
    answers: list[float] = []
    feature, threshold, rows = trees.feature.tolist(), trees.threshold.tolist(), trees.rows.tolist()
    left, right, missing_left = trees.left.tolist(), trees.right.tolist(), trees.missing_left.tolist()
    waiting: list[tuple[int, dict[int, tuple[float, float, bool, float]]]] = [(root, {}) for root in trees.root]
    while waiting:
        node, way = waiting.pop()
        if left[node] == node:
            ways.append(way)
            answers.append(float(trees.answer[node]))
            continue
        name, cut = feature[node], threshold[node]
        low, high, missing, share = way.get(name, (-np.inf, np.inf, True, 1.0))
        for child, goes_left in ((left[node], True), (right[node], False)):
            bounds = (low, min(high, cut)) if goes_left else (max(low, cut), high)
            passes = missing and missing_left[node] == goes_left
            waiting.append((child, way | {name: (*bounds, passes, share * rows[child] / rows[node])}))
    width = max(map(len, ways), default=1) or 1
    made = Leaves(
        features=features,
        feature=np.zeros((len(ways), width), np.int64),
        low=np.full((len(ways), width), -np.inf),
        high=np.full((len(ways), width), np.inf),
        missing=np.ones((len(ways), width), bool),
        share=np.ones((len(ways), width)),
        answer=np.array(answers),
    )
    for place, way in enumerate(ways):
        for column, (name, (low, high, missing, share)) in enumerate(way.items()):
            made.feature[place, column] = name
            made.low[place, column], made.high[place, column] = low, high
            made.missing[place, column], made.share[place, column] = missing, share
    return made


def forest_leaves(forest: IsolationForest) -> Leaves:
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
    trees = Trees(
        feature=forest.feature.astype(np.int64),
        threshold=forest.threshold,
        left=forest.left.astype(np.int64),
        right=forest.right.astype(np.int64),
        missing_left=np.zeros(nodes, bool),
        answer=forest.depth / len(forest.root),
        rows=rows,
        root=forest.root.tolist(),
    )
    return leaves_of(trees, len(forest.names))


def packed_leaves(forest: Forest, rows: Floats) -> Leaves:
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
    trees = Trees(
        feature=feature,
        threshold=threshold,
        left=np.where(leaf, own, own + 1),
        right=forest.right.astype(np.int64),
        missing_left=(rule == Missing.LEFT) | ((rule == Missing.ZERO) & (threshold >= 0)),
        answer=answer,
        rows=rows,
        root=forest.root[:-1].tolist(),
    )
    return leaves_of(trees, len(forest.names))


def forest_shap(forest: IsolationForest, matrix: Floats, names: Sequence[str]) -> Floats:
    """(rows, features) exact Shapley values of the mean path length, by ``forest.names``; NEGATIVE is odder."""
    leaves = forest_leaves(forest)
    return np.array([leaves.values(row) for row in design_matrix(align(matrix, names, forest.names), forest.median)])


def faults_shap(model: FaultClassifier, matrix: Floats, names: Sequence[str]) -> Floats | None:
    """(rows, features) exact Shapley values of the log-odds, by ``model.names``; None where the rows were not kept."""
    if model.rows is None:
        return None
    leaves = packed_leaves(model.trees.forest, model.rows.astype(np.float64))
    values = align(matrix, names, model.names).astype(np.float32).astype(np.float64)
    return np.array([leaves.values(row) for row in values])
