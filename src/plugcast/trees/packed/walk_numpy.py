"""The walk in NumPy: the reference that the C kernel must equal bit for bit, and what runs where there is no kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.trees.packed.forest import Forest, Kind, Link, Missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CHUNK_PLACES: Final = 2**20
"""Rows times trees that are walked in step: as much as stays in a cache."""
FLOAT_MOST: Final = float(np.finfo(np.float32).max)
LOG2_E: Final = 1.4426950408889634
LN2_HIGH: Final = 6.93147180369123816490e-01
LN2_LOW: Final = 1.90821492927058770002e-10
EXP_MOST: Final = 708.0
INVERSE_FACTORIALS: Final = tuple(1.0 / f for f in (6227020800, 479001600, 39916800, 3628800, 362880, 40320, 5040))
INVERSE_FACTORIALS_LOW: Final = tuple(1.0 / f for f in (720, 120, 24, 6, 2, 1, 1))


def as_float32(matrix: NDArray[Any]) -> NDArray[np.float32]:
    """Rows as the walk sees them: finite values beyond float32's range become its largest."""
    if matrix.dtype == np.float32:
        return np.ascontiguousarray(matrix)
    wide = matrix.astype(np.float64)
    huge = np.isfinite(wide) & (np.abs(wide) > FLOAT_MOST)
    if huge.any():
        wide = np.where(huge, np.copysign(FLOAT_MOST, wide), wide)
    return np.ascontiguousarray(wide.astype(np.float32))


def exp(values: Floats) -> Floats:
    """E to the power of each value by nothing but IEEE sums and products, so that every machine gives the same bits.

    Range reduction and a polynomial of degree 13; within 2 units in the last place, and cut off at +-708.
    """
    bound = np.minimum(np.maximum(values, -EXP_MOST), EXP_MOST)
    power = np.floor(bound * LOG2_E + 0.5)
    rest = (bound - power * LN2_HIGH) - power * LN2_LOW
    total = np.full_like(rest, INVERSE_FACTORIALS[0])
    for factor in (*INVERSE_FACTORIALS[1:], *INVERSE_FACTORIALS_LOW):
        total = total * rest + factor
    return np.asarray(np.ldexp(total, power.astype(np.int32)))


def linked(raw: Floats, link: Link, slope: float) -> Floats:
    """Answers of raw scores."""
    if link == Link.SIGMOID:
        return np.asarray(1.0 / (1.0 + exp(-(slope * raw))))
    if link == Link.EXP:
        return exp(slope * raw)
    return raw


def columns_of(forest: Forest, rows: NDArray[np.float32]) -> NDArray[Any]:
    """(rows, columns) what nodes compare: ranks for RANKED, float32 values for the other kinds."""
    if not len(forest.column_feature):  # leaves alone: something that they need not look at
        return np.zeros((len(rows), 1), np.uint8)
    values = rows[:, forest.column_feature]
    absent = np.isnan(values)
    for rule, odd in ((Missing.ZERO, absent), (Missing.FILL, ~np.isfinite(values))):
        mine = forest.column_missing == rule
        if mine.any():
            values = np.where(odd & mine, forest.column_fill * (rule == Missing.FILL), values)
    sent_left, sent_right = (absent & (forest.column_missing == rule) for rule in (Missing.LEFT, Missing.RIGHT))
    if forest.kind != Kind.RANKED:
        # no value is below minus infinity, and NaN is at most nothing
        return np.where(sent_left, np.float32(-np.inf), values).astype(np.float32)
    ranks = np.empty(values.shape, np.uint8)
    for column, feature in enumerate(forest.column_feature):
        cuts = forest.cuts[forest.cut_start[feature] : forest.cut_start[feature + 1]]
        ranks[:, column] = np.searchsorted(cuts, values[:, column], side="left")
    return np.where(sent_left, 0, np.where(sent_right, 255, ranks)).astype(np.uint8)


def sums(forest: Forest, rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """(rows,) sum of the leaves that each row reaches, in units of the scale."""
    made = np.zeros(len(rows), np.int64)
    step = max(1, CHUNK_PLACES // forest.trees)
    for start in range(0, len(rows), step):
        columns = columns_of(forest, rows[start : start + step])
        node = np.repeat(forest.root[None, :-1], len(columns), axis=0)
        while not np.array_equal(after := _next(forest, columns, node), node):
            node = after
        made[start : start + step] = (forest.value[node].astype(np.int64) << forest.shift).sum(axis=1)
    return made


def contributions(forest: Forest, rows: NDArray[np.float32]) -> Floats:
    """(rows, features) change of the expected answer along the paths, by feature, in units of the scale.

    A hyperplane's change is shared among its features by the size of their weights (the idea of ExIFFI, Arcudi et al.
    2023); those parts are fractions, the others whole numbers.
    """
    made = np.zeros((len(rows), len(forest.names)))
    step = max(1, CHUNK_PLACES // forest.trees)
    for start in range(0, len(rows), step):
        columns = columns_of(forest, rows[start : start + step])
        node = np.repeat(forest.root[None, :-1], len(columns), axis=0)
        place = np.broadcast_to(np.arange(start, start + len(columns))[:, None], node.shape)
        while not np.array_equal(after := _next(forest, columns, node), node):
            moved = after != node
            split = node[moved]
            doublings = np.broadcast_to(forest.shift, node.shape)[moved]
            change = ((forest.value[after[moved]].astype(np.int64) - forest.value[split]) << doublings).astype(
                np.float64
            )
            for term, share in enumerate(_shares(forest, split)):
                feature = forest.column_feature[forest.column[split, term]]
                np.add.at(made, (place[moved], feature), change * share)
            node = after
    return made


def _shares(forest: Forest, split: NDArray[np.int32]) -> list[Floats]:
    """Each term's share of what its splits decide."""
    if forest.kind != Kind.HYPERPLANE:
        return [np.ones(len(split))]
    size = np.abs(forest.weight[split].astype(np.float64))
    total = size.sum(axis=1)
    none = total == 0
    return [np.where(none, float(term == 0), part / np.where(none, 1.0, total)) for term, part in enumerate(size.T)]


def _next(forest: Forest, columns: NDArray[Any], node: NDArray[np.int32]) -> NDArray[np.int32]:
    """One step of every walk; leaves stay where they are."""
    right = forest.right[node]
    row = np.arange(len(columns))[:, None]
    if forest.kind == Kind.HYPERPLANE:
        total = np.zeros(node.shape)
        for term in range(forest.column.shape[1]):
            value = columns[row, forest.column[node, term]].astype(np.float64)
            total = total + forest.weight[node, term].astype(np.float64) * value
        goes_left = total <= forest.threshold[node]
    else:
        value = columns[row, forest.column[node, 0]]
        goes_left = value <= (forest.rank if forest.kind == Kind.RANKED else forest.threshold)[node]
    return np.where(goes_left & (right != node), node + 1, right)
