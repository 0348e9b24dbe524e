"""Exact Shapley values of trees that split on one feature at a time (TreeSHAP, path-dependent), by the kernel or NumPy.

A leaf's answer counts for a feature by how the rows under each node were divided in training (Lundberg et al. 2020).
Over the features of one leaf's way the Shapley value is an integral of a polynomial, for a feature i whose conditions
the row satisfies (one) or not (zero):

    answer * (one_i - share_i) * integral from 0 to 1 of the product over j != i of (one_j * t + share_j * (1 - t)) dt

which Gauss and Legendre's rule with half as many points as features gives exactly. A feature met twice on a way is one
condition: its interval is the intersection, its share the product. :class:`Leaves` computes it as written, leaf by
leaf; the kernel shares the work of ways that begin alike, as Linear TreeSHAP does (Yu et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.trees.packed.pack_isolation import preorder
from plugcast.trees.packed.predictor import LEVELS, has_kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_FEATURES_OF_A_WAY: Final = 64
MOST_DEPTH: Final = 512
"""Beyond either the kernel refuses, and NumPy does the work."""


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


class TreeShap:
    """Explains rows by trees that it has tabulated once; immutable, safe to use from several threads.

    A row's values do not depend on what else is in the batch, bit for bit. Memory with the kernel: 160 bytes a node
    where no way asks more than eight features, 40 more for each further one.
    """

    __slots__ = ("_into", "_leaves", "base", "features")

    base: float
    """The expected answer of a training row: what the values start from."""
    features: int

    def __init__(self, trees: Trees, features: int, *, kernel: bool = True, vectors: str = "best") -> None:
        """Take trees over so many features.

        Args:
            trees: Of any order of nodes.
            features: Columns of a row.
            kernel: False for NumPy.
            vectors: ``best`` that the machine has, or ``plain`` or ``avx2`` at most.
        """
        self.features = features
        self._leaves: Leaves | None = None
        self._into: Any = None
        if kernel and has_kernel() and hasattr(_kernel(), "Shapley"):  # one built before this was has none
            try:
                self._into, self.base = _tabulated(trees, features, LEVELS[vectors])
            except ValueError:  # too deep, or too many features on one way: rare, and NumPy has no such limits
                self._into = None
        if self._into is None:
            self._leaves = leaves_of(trees, features)
            self.base = self._leaves.base

    def values(self, matrix: Floats) -> Floats:
        """(rows, features); ``base + values.sum(axis=1)`` are the trees' summed answers, to rounding. NaN = missing."""
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.features:  # noqa: PLR2004 - a matrix
            raise ValueError(f"wanted rows of {self.features} values, found an array of shape {rows.shape}")
        out = np.zeros(rows.shape)
        if self._leaves is None:
            self._into(rows, out)
        else:
            for place, row in enumerate(rows):
                out[place] = self._leaves.values(row)
        return out


def _kernel() -> Any:  # noqa: ANN401 - a C module, there or not
    return import_module("plugcast.trees.packed._kernel")


def _tabulated(trees: Trees, features: int, level: int) -> tuple[Any, float]:
    """The kernel's method for these trees, and their base."""
    order, root = preorder(trees.left, trees.right, np.asarray(trees.root))
    place = np.zeros(len(trees.left), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    rows, answer = trees.rows[order], trees.answer[order]
    leaf = trees.left[order] == order
    whole = np.repeat(rows[root[:-1]], np.diff(root))
    made = _kernel().Shapley(
        features,
        level,
        trees.feature[order].astype(np.int32),
        np.ascontiguousarray(trees.threshold[order], np.float64),
        place[trees.right[order]],
        trees.missing_left[order].astype(np.uint8),
        np.ascontiguousarray(answer, np.float64),
        np.ascontiguousarray(rows, np.float64),
        root,
    )
    return made.values_into, float((answer * rows / whole)[leaf].sum())
