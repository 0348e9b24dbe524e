"""Extended isolation forests: nodes that cut along a sloping plane instead of across one feature.

Hariri, Carrasco Kind and Brunner (2019). A node takes ``terms`` features; ``terms=1`` is the plain isolation forest.
Rows are brought to one scale first, or the widest feature would decide every plane; the weights carry that scale.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.errors import NoUsableRowsError
from plugcast.trees.packed.forest import Forest, Kind, Link, Missing, check, right_children
from plugcast.trees.packed.quantise import quantise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SUBSAMPLE: Final = 256


def usual_depth(rows: float) -> float:
    """c(n): mean path length of an unsuccessful search among n rows (Liu et al. 2008, equation 1)."""
    if rows <= 1:
        return 0.0
    if rows == 2:  # noqa: PLR2004 - the formula's own special case
        return 1.0
    return 2.0 * (math.log(rows - 1.0) + float(np.euler_gamma)) - 2.0 * (rows - 1.0) / rows


def fit_extended(
    matrix: NDArray[np.floating], names: Sequence[str], *, seed: int, terms: int = 2, trees: int = 100
) -> Forest:
    """Fit on (rows, features) of mostly ordinary rows; ``Packed.predict`` gives the isolation score, HIGHER is odder.

    Missing values count as the feature's median. The same seed gives the same forest.

    Args:
        matrix: At least two rows; NaN = missing.
        names: The features.
        seed: Of the draws.
        terms: Features of each plane, from 1 to all of them.
        trees: How many; each sees 256 rows.

    Raises:
        NoUsableRowsError: Fewer than two rows.
    """
    if len(matrix) < 2:  # noqa: PLR2004 - one row tells nothing apart
        raise NoUsableRowsError(f"Wanted at least two rows for an isolation forest; found {len(matrix)}. Give more.")
    known = np.isfinite(matrix)
    median = np.array(
        [np.median(part[there]) if there.any() else 0.0 for part, there in zip(matrix.T, known.T, strict=True)]
    )
    rows = np.where(known, matrix, median).astype(np.float32).astype(np.float64)
    spread = np.subtract(*np.quantile(rows, [0.75, 0.25], axis=0))
    spread = np.where(spread > 0, spread, np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1.0))
    rng = np.random.default_rng(seed)
    size = min(SUBSAMPLE, len(rows))
    grown = _Grown(rng=rng, spread=spread, terms=min(terms, rows.shape[1]), limit=math.ceil(math.log2(size)))
    for _ in range(trees):
        grown.tree(rows[rng.choice(len(rows), size, replace=False)])
    return grown.forest(names, median, trees, usual_depth(size))


class _Grown:
    """Trees in preorder, as they grow."""

    def __init__(self, *, rng: np.random.Generator, spread: Floats, terms: int, limit: int) -> None:
        self.rng, self.spread, self.terms, self.limit = rng, spread, terms, limit
        self.inner: list[bool] = []
        self.column: list[NDArray[np.int64]] = []
        self.weight: list[NDArray[np.float32]] = []
        self.offset: list[np.float32] = []
        self.depth: list[float] = []

    def tree(self, rows: Floats) -> float:
        """One tree below this many rows; returns the expected path length."""
        return self._grow(rows, 0)

    def _grow(self, rows: Floats, level: int) -> float:
        place = len(self.inner)
        column = np.sort(self.rng.choice(rows.shape[1], self.terms, replace=False))
        weight = (self.rng.normal(size=self.terms) / self.spread[column]).astype(np.float32)
        total = rows[:, column] @ weight.astype(np.float64)
        low, high = float(total.min()), float(total.max())
        cut = np.float32(self.rng.uniform(low, high))
        goes_left = total <= cut
        splits = level < self.limit and 0 < int(goes_left.sum()) < len(rows)
        self.inner.append(splits)
        self.column.append(column if splits else np.zeros(self.terms, np.int64))
        self.weight.append(weight if splits else np.zeros(self.terms, np.float32))
        self.offset.append(cut if splits else np.float32(np.nan))
        self.depth.append(level + usual_depth(len(rows)))
        if splits:
            below = [self._grow(part, level + 1) * len(part) for part in (rows[goes_left], rows[~goes_left])]
            self.depth[place] = sum(below) / len(rows)
        return self.depth[place]

    def forest(self, names: Sequence[str], median: Floats, trees: int, usual: float) -> Forest:
        """All of them, packed."""
        root, right = right_children(np.array(self.inner, np.bool_))
        leaf = ~np.array(self.inner, np.bool_)
        value, shift, base, scale = quantise(np.array(self.depth), leaf, root)
        features = len(names)
        return check(
            Forest(
                kind=Kind.HYPERPLANE,
                names=tuple(names),
                column_feature=np.arange(features, dtype=np.uint16),
                column_missing=np.full(features, Missing.FILL, np.uint8),
                column_fill=median.astype(np.float32),
                cut_start=np.zeros(features + 1, np.uint32),
                cuts=np.zeros(0, np.float32),
                root=root,
                right=right,
                column=np.array(self.column).astype(np.uint16).reshape(len(leaf), -1),
                rank=np.zeros(0, np.uint8),
                threshold=np.array(self.offset, np.float32),
                weight=np.array(self.weight, np.float32).reshape(len(leaf), -1),
                value=value,
                shift=shift,
                explains=True,
                base=base / trees,
                scale=scale / trees,
                link=Link.EXP,
                slope=-math.log(2.0) / usual,
            )
        )
