"""Trees of any source before they are made small, and the step that makes them so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plugcast.trees.packed.forest import MOST_CUTS, MOST_RANKED_COLUMNS, Forest, Kind, Link, Missing, check
from plugcast.trees.packed.quantise import quantise, round_down

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nodes:
    """Trees in preorder, one split and one threshold a node."""

    names: tuple[str, ...]
    right: NDArray[np.int32]
    root: NDArray[np.int32]
    feature: NDArray[np.int64]
    """(nodes,) 0 in leaves."""
    missing: NDArray[np.uint8]
    threshold: NDArray[np.float64]
    answer: NDArray[np.float64]
    """(nodes,) of leaves, and what is to be expected at inner nodes: between their children's."""
    fill: NDArray[np.float64]
    """(features,) what a missing value counts as where the rule is Missing.FILL."""
    rows: NDArray[np.float64] | None = None
    """(nodes,) training rows in leaves; None where they are not known."""

    @property
    def leaf(self) -> NDArray[np.bool_]:
        """Whether each node is a leaf."""
        return np.asarray(self.right == np.arange(len(self.right)))


def pack_nodes(nodes: Nodes, *, link: Link, slope: float, explains: bool, share: float = 1.0) -> Forest:
    """Quantise trees: ranks where 8 bits tell all of every feature's thresholds apart, float32 thresholds elsewhere.

    Args:
        nodes: The trees.
        link: From raw score to answer.
        slope: The link's.
        explains: Keep expectations.
        share: What each tree's answer is multiplied by; 1 / trees for a mean.
    """
    leaf = nodes.leaf
    inner = ~leaf
    value, shift, base, scale = quantise(nodes.answer, leaf, nodes.root)
    threshold = round_down(nodes.threshold)
    pair = nodes.feature * len(Missing) + nodes.missing
    kept, column = np.unique(pair[inner], return_inverse=True)
    cuts = [np.unique(threshold[inner & (nodes.feature == feature)]) for feature in range(len(nodes.names))]
    ranked = max(map(len, cuts)) <= MOST_CUTS and len(kept) <= MOST_RANKED_COLUMNS
    start = np.concatenate([[0], np.cumsum([len(part) for part in cuts])]) * ranked
    node_column = np.zeros((len(leaf), 1), np.uint16)
    node_column[inner, 0] = column
    rank = np.zeros(len(leaf) if ranked else 0, np.uint8)
    if ranked:
        for feature, part in enumerate(cuts):
            mine = inner & (nodes.feature == feature)
            rank[mine] = np.searchsorted(part, threshold[mine])
    return check(
        Forest(
            kind=Kind.RANKED if ranked else Kind.DIRECT,
            names=nodes.names,
            column_feature=(kept // len(Missing)).astype(np.uint16),
            column_missing=(kept % len(Missing)).astype(np.uint8),
            column_fill=nodes.fill[kept // len(Missing)].astype(np.float32),
            cut_start=start.astype(np.uint32),
            cuts=np.concatenate(cuts) if ranked else np.zeros(0, np.float32),
            root=nodes.root,
            right=nodes.right,
            column=node_column,
            rank=rank,
            threshold=np.zeros(0, np.float32) if ranked else np.where(leaf, np.float32(np.nan), threshold),
            weight=np.zeros((0, 1), np.float32),
            value=value if explains else np.where(leaf, value, 0).astype(np.int16),
            shift=shift,
            explains=explains,
            base=base * share,
            scale=scale * share,
            link=link,
            slope=slope,
        )
    )
