"""Numbers made smaller: thresholds rounded so that no float32 value changes sides, leaves to 16 bits on one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from plugcast.trees.packed.forest import LEAF_LIMIT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


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
) -> tuple[NDArray[np.int16], float, float]:
    """Answers of nodes as 16-bit steps: ``(values, base, scale)`` with ``sum(answers) ~ base + scale * sum(values)``.

    Each tree's middle moves into the base, so that one scale serves early, wide trees and late, narrow ones.

    Args:
        answer: (nodes,) of leaves and inner nodes; an inner node's lies between its leaves'.
        leaf: (nodes,)
        root: (trees + 1,)
    """
    low = np.minimum.reduceat(np.where(leaf, answer, np.inf), root[:-1])
    high = np.maximum.reduceat(np.where(leaf, answer, -np.inf), root[:-1])
    middle = (low + high) / 2
    scale = float((high - low).max() / 2 / LEAF_LIMIT) or 1.0
    steps = np.rint((answer - np.repeat(middle, np.diff(root))) / scale)
    return np.clip(steps, -LEAF_LIMIT, LEAF_LIMIT).astype(np.int16), float(middle.sum()), scale


def expected(answer: Floats, rows: Floats, leaf: NDArray[np.bool_], right: NDArray[np.int32]) -> Floats:
    """The leaves' answers, and in inner nodes the mean of theirs, weighted by the training rows of leaves."""
    answer, rows = np.where(leaf, answer, 0.0), np.where(leaf, rows, 0.0)
    for node in np.flatnonzero(~leaf)[::-1].tolist():  # children stand behind their parents
        a, b = node + 1, right[node]
        rows[node] = rows[a] + rows[b]
        share = rows[a] / rows[node] if rows[node] > 0 else 0.5
        answer[node] = share * answer[a] + (1 - share) * answer[b]
    return answer
