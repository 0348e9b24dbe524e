"""A forest as arrays: what the file holds, unfolded for walking. Nothing here reads bytes or scores rows.

Nodes stand tree after tree in preorder, leaves among them: an inner node's left child is the next node, its right
child is ``right[node]``, and a leaf is its own right child. So every way leads forward, and every walk ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_CUTS: Final = 255
"""Thresholds of one feature that 8-bit ranks can tell apart; a forest with more keeps float32 thresholds in nodes."""
MOST_COLUMNS: Final = 1024
MOST_RANKED_COLUMNS: Final = 256
MOST_TREES: Final = 65_535
"""So that 32,767 a leaf cannot overflow a 32-bit sum."""
MOST_TREE_NODES: Final = 65_535
MOST_TERMS: Final = 64
LEAF_LIMIT: Final = 32_767
SUM_LIMIT: Final = 2**31


class Kind(IntEnum):
    """What a node compares."""

    RANKED = 0
    """The 8-bit rank of a value among its feature's thresholds with the node's rank."""
    DIRECT = 1
    """A float32 value with the node's float32 threshold."""
    HYPERPLANE = 2
    """A weighted sum of float32 values with the node's offset (extended isolation forests)."""


class Link(IntEnum):
    """What turns the raw score into the answer."""

    IDENTITY = 0
    SIGMOID = 1
    """1 / (1 + exp(-slope * raw))."""
    EXP = 2
    """exp(slope * raw)."""


class Missing(IntEnum):
    """Where a column sends a value that is not there (NaN)."""

    ZERO = 0
    """It counts as 0."""
    LEFT = 1
    RIGHT = 2
    FILL = 3
    """It counts as the column's fill value, and so do infinities: for isolation forests, the training median."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """Trees over columns; a column is a feature together with its rule for missing values.

    ``raw = base + scale * (sum of the reached leaves' values << shift)``: a sum of integers, then one multiplication
    and one addition in float64, so that order, vector width and machine do not matter.
    """

    kind: Kind
    names: tuple[str, ...]
    """The features, in the order of a row."""
    column_feature: NDArray[np.uint16]
    """(columns,) ascending."""
    column_missing: NDArray[np.uint8]
    """(columns,) of Missing."""
    column_fill: NDArray[np.float32]
    """(columns,) used by Missing.FILL."""
    cut_start: NDArray[np.uint32]
    """(features + 1,) where each feature's thresholds start; all 0 but for RANKED."""
    cuts: NDArray[np.float32]
    """Each feature's thresholds, ascending, each once."""
    root: NDArray[np.int32]
    """(trees + 1,) where each tree's nodes start; the last entry is the number of nodes."""
    right: NDArray[np.int32]
    """(nodes,)"""
    column: NDArray[np.uint16]
    """(nodes, terms) 0 in leaves; one term but for HYPERPLANE."""
    rank: NDArray[np.uint8]
    """(nodes,) RANKED: left where the value's rank (how many thresholds are below it) is at most this."""
    threshold: NDArray[np.float32]
    """(nodes,) DIRECT: left where the value is at most this; HYPERPLANE: where the weighted sum is. NaN in leaves."""
    weight: NDArray[np.float32]
    """(nodes, terms) HYPERPLANE."""
    value: NDArray[np.int16]
    """(nodes,) leaves' answers and, with ``explains``, inner nodes' expected ones, in steps of ``scale << shift``."""
    shift: NDArray[np.uint8]
    """(trees,) doublings of each tree's unit: a wide tree takes coarser steps than a narrow one."""
    explains: bool
    base: float
    scale: float
    link: Link
    slope: float

    @property
    def trees(self) -> int:
        """How many."""
        return len(self.root) - 1

    @property
    def leaf(self) -> NDArray[np.bool_]:
        """(nodes,) whether a node is a leaf."""
        return np.asarray(self.right == np.arange(len(self.right)))

    @property
    def splits(self) -> int:
        """Inner nodes of all trees."""
        return (len(self.right) - self.trees) // 2

    @property
    def leaf_error(self) -> float:
        """Most that rounding the leaves can move a raw score: half a unit for each tree."""
        return self.scale / 2 * float(np.ldexp(1.0, self.shift.astype(np.int32)).sum())


def right_children(inner: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Roots (with an end) and right children of trees given as one preorder row of inner (True) and leaf marks.

    Raises:
        ModelError: The marks do not end with a whole tree, or a tree has too many nodes.
    """
    nodes = len(inner)
    # open places: every inner node fills one and opens two, every leaf fills one; a tree ends at a new lowest value
    level = np.cumsum(np.where(inner, 1, -1), dtype=np.int64)
    lowest = np.minimum.accumulate(np.minimum(level, 0))
    ends = np.flatnonzero(np.diff(lowest, prepend=0) < 0)
    if not nodes or not len(ends) or ends[-1] != nodes - 1:
        raise ModelError("The trees' structure is not whole: the last tree has no end. Export the model again.")
    root = np.concatenate([[0], ends + 1]).astype(np.int32)
    if np.diff(root).max() > MOST_TREE_NODES:
        raise ModelError(f"A tree has more than {MOST_TREE_NODES} nodes. Train with fewer leaves.")
    right = np.arange(nodes, dtype=np.int64)
    split = np.flatnonzero(inner)
    # a left branch ends where the level first falls one below its parent's; keys are unique, so one search finds it
    span = nodes + 1
    key = level - level.min() + 1
    keys = np.sort(key * span + right)
    found = keys[np.searchsorted(keys, (key[split] - 1) * span + split)] % span
    right[split] = found + 1
    return root, right.astype(np.int32)


def sum_limit(shift: NDArray[np.uint8]) -> float:
    """The largest sum that the leaves could come to."""
    return (LEAF_LIMIT + 1) * float(np.ldexp(1.0, shift.astype(np.int32)).sum())


def check(forest: Forest) -> Forest:
    """Return the forest, or refuse what no walk could trust.

    Raises:
        ModelError: An index points outside, a number is not finite, or a limit is passed.
    """
    features, columns = len(forest.names), len(forest.column_feature)
    inner = ~forest.leaf
    limit = MOST_RANKED_COLUMNS if forest.kind == Kind.RANKED else MOST_COLUMNS
    per_feature = forest.cut_start[1:].astype(np.int64) - forest.cut_start[:-1]
    problems = {
        f"more than {MOST_TREES} trees, or none": not 1 <= forest.trees <= MOST_TREES,
        f"{columns} columns, where at most {limit} can be": columns > limit,
        "leaves whose sum may not fit in 32 bits": len(forest.shift) != forest.trees
        or sum_limit(forest.shift) >= 2**31,
        "a column of a feature that is not there": bool((forest.column_feature >= features).any()),
        "columns that are not in order": bool((np.diff(forest.column_feature.astype(np.int64)) < 0).any()),
        "a rule for missing values that does not exist": bool((forest.column_missing > max(Missing)).any()),
        "hyperplanes over values that may be missing": forest.kind == Kind.HYPERPLANE
        and bool((forest.column_missing != Missing.FILL).any()),
        "a node on a column that is not there": bool((forest.column[inner] >= columns).any()),
        "a base, scale or slope that is not finite": not np.isfinite([forest.base, forest.scale, forest.slope]).all(),
        "a fill value or weight that is not finite": not (
            np.isfinite(forest.column_fill).all() and np.isfinite(forest.weight).all()
        ),
    }
    if forest.kind == Kind.RANKED:
        owner = np.repeat(np.arange(features), per_feature)
        falls = (owner[1:] == owner[:-1]) & (forest.cuts[1:] <= forest.cuts[:-1])
        problems["thresholds of a feature that do not rise"] = bool(falls.any())
        problems["a threshold that is not a number"] = bool(np.isnan(forest.cuts).any())
        problems[f"more than {MOST_CUTS} thresholds of one feature"] = bool((per_feature > MOST_CUTS).any())
        if not any(problems.values()):
            used = forest.column_feature[forest.column[inner, 0]]
            problems["a rank beyond its feature's thresholds"] = bool((forest.rank[inner] >= per_feature[used]).any())
    else:
        problems["a threshold that is not a number"] = bool(np.isnan(forest.threshold[inner]).any())
    found = [problem for problem, there in problems.items() if there]
    if found:
        raise ModelError(f"The packed model holds {found[0]}. Export it again.")
    return forest
