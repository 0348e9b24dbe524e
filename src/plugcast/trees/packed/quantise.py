"""Numbers made smaller: thresholds rounded so that no float32 value changes sides, leaves to 16 bits on one scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.trees.packed.forest import LEAF_LIMIT, SUM_LIMIT, sum_limit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


MOST_SHIFT: Final = 12


def round_down(threshold: NDArray[Any]) -> NDArray[np.float32]:
    """The largest float32 of at most each value: for float32 x, ``x <= threshold`` is what it was.

    >>> round_down(np.array([0.1, 1e300])).tolist()
    [0.09999999403953552, 3.4028234663852886e+38]
    """
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float32)


def quantise(
    answer: Floats, leaf: NDArray[np.bool_], root: NDArray[np.int32]
) -> tuple[NDArray[np.int16], NDArray[np.uint8], float, float]:
    """Answers of nodes as 16-bit steps: ``(values, shift, base, scale)``, see ``Forest``.

    Each tree's middle moves into the base. The unit doubles from tree to tree as its width asks, so that one wide tree
    does not make all others coarse; the finest unit is one with which no sum can leave 32 bits.

    Args:
        answer: (nodes,) of leaves and inner nodes; an inner node's lies between its leaves'.
        leaf: (nodes,)
        root: (trees + 1,)
    """
    low = np.minimum.reduceat(np.where(leaf, answer, np.inf), root[:-1])
    high = np.maximum.reduceat(np.where(leaf, answer, -np.inf), root[:-1])
    middle = (low + high) / 2
    unit = (high - low) / 2 / LEAF_LIMIT
    widest = float(unit.max()) or 1.0
    for finer in range(MOST_SHIFT, -1, -1):
        scale = math.ldexp(widest, -finer)
        shift = np.ceil(np.log2(np.maximum(unit / scale, 1.0))).astype(np.uint8)
        if sum_limit(shift) < SUM_LIMIT:
            break
    steps = np.rint(
        (answer - np.repeat(middle, np.diff(root))) / np.repeat(np.ldexp(scale, shift.astype(np.int32)), np.diff(root))
    )
    return np.clip(steps, -LEAF_LIMIT, LEAF_LIMIT).astype(np.int16), shift, float(middle.sum()), scale


def expected(answer: Floats, rows: Floats, leaf: NDArray[np.bool_], right: NDArray[np.int32]) -> Floats:
    """The leaves' answers, and in inner nodes the mean of theirs, weighted by the training rows of leaves."""
    answer, rows = np.where(leaf, answer, 0.0), np.where(leaf, rows, 0.0)
    for node in np.flatnonzero(~leaf)[::-1].tolist():  # children stand behind their parents
        a, b = node + 1, right[node]
        rows[node] = rows[a] + rows[b]
        share = rows[a] / rows[node] if rows[node] > 0 else 0.5
        answer[node] = share * answer[a] + (1 - share) * answer[b]
    return answer
