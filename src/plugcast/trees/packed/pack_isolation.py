"""Isolation forests into packed ones: a leaf's answer is its path length, the score 2 ** (-mean / c)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from plugcast.errors import ModelError
from plugcast.trees.packed.forest import Forest, Link, Missing
from plugcast.trees.packed.nodes import Nodes, pack_nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def pack_isolation(
    names: Sequence[str],
    *,
    feature: NDArray[Any],
    threshold: NDArray[Any],
    left: NDArray[Any],
    right: NDArray[Any],
    depth: NDArray[Any],
    root: NDArray[Any],
    fill: NDArray[Any],
    usual_depth: float,
    explains: bool = True,
) -> Forest:
    """Pack the trees of an isolation forest. ``Packed.raw`` is the mean path length, ``predict`` the isolation score.

    Args:
        names: The features.
        feature: (nodes,) that a node splits on.
        threshold: (nodes,) a value of at most this goes left.
        left: (nodes,) a leaf's children are itself.
        right: (nodes,) a child stands behind its parent.
        depth: (nodes,) expected path length at the node; a leaf's is its own with what its rows would add.
        root: (trees,) where each tree starts.
        fill: (features,) what a missing or infinite value counts as; the training medians.
        usual_depth: c(subsample), the mean path length of an ordinary search (Liu et al. 2008, equation 1).
        explains: Keep inner nodes' expected path lengths, for ``Packed.contributions``.

    Raises:
        ModelError: The arrays are no trees.
    """
    order, ends = preorder(np.asarray(left), np.asarray(right), np.asarray(root))
    place = np.empty(len(np.asarray(left)), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    leaf = np.asarray(left)[order] == order
    nodes = Nodes(
        names=tuple(names),
        right=np.where(leaf, np.arange(len(order)), place[np.asarray(right)[order]]).astype(np.int32),
        root=ends,
        feature=np.where(leaf, 0, np.asarray(feature)[order]).astype(np.int64),
        missing=np.where(leaf, 0, Missing.FILL).astype(np.uint8),
        threshold=np.where(leaf, 0.0, np.asarray(threshold)[order]),
        answer=np.asarray(depth, np.float64)[order],
        fill=np.asarray(fill, np.float64),
    )
    # training rows that are all alike make trees without splits, whose every row is ordinary
    slope = -math.log(2.0) / usual_depth if usual_depth > 0 else 0.0
    return pack_nodes(nodes, link=Link.EXP, slope=slope, explains=explains, share=1 / len(root))


def preorder(
    left: NDArray[Any], right: NDArray[Any], root: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Nodes tree after tree in preorder, and where each tree starts, with an end."""
    order: list[int] = []
    ends = [0]
    one, other = left.tolist(), right.tolist()
    for start in root.tolist():
        waiting = [start]
        while waiting:
            node = waiting.pop()
            order.append(node)
            if one[node] != node:
                waiting += [other[node], one[node]]
            if len(order) > len(one):
                raise ModelError("The isolation forest's nodes are shared between branches. Train it again.")
        ends.append(len(order))
    return np.array(order, np.int64), np.array(ends, np.int32)
