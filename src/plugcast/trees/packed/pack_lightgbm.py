"""LightGBM's text form into a packed forest. Reads the text itself: packing needs no LightGBM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.errors import ModelError
from plugcast.trees.packed.forest import Forest, Link, Missing
from plugcast.trees.packed.nodes import Nodes, pack_nodes
from plugcast.trees.packed.quantise import expected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

IDENTITY: Final = frozenset(
    {"regression", "regression_l1", "quantile", "huber", "fair", "mape", "lambdarank", "rank_xendcg", "custom", ""}
)
EXPONENTIAL: Final = frozenset({"poisson", "gamma", "tweedie"})
CATEGORICAL, DEFAULT_LEFT, MISSING_SHIFT = 1, 2, 2
MISSING_NONE, MISSING_ZERO = 0, 1
ZERO: Final = float(np.float32(1e-35))
"""LightGBM takes what is no further from zero than this for zero, before it compares."""


@dataclass(slots=True, kw_only=True)
class _Growing:
    """Lists that trees are appended to."""

    right: list[int]
    feature: list[int]
    missing: list[int]
    threshold: list[float]
    answer: list[float]
    rows: list[float]
    root: list[int]


def read_lightgbm(text: str) -> tuple[Nodes, Link, float]:
    """Trees, link and slope of a LightGBM text model.

    Raises:
        ModelError: The text is no whole model, or holds what a packed forest cannot: categorical splits, linear trees,
            zeros that count as missing, several classes, averaged output.
    """
    if not text.startswith("tree\n") or "\nend of trees" not in text:
        raise ModelError("This is not a whole LightGBM text model. Save it with Booster.save_model, or train again.")
    head, *blocks = text[: text.index("\nend of trees")].split("\nTree=")
    facts = _facts(head)
    link, slope = _link(facts)
    growing = _Growing(right=[], feature=[], missing=[], threshold=[], answer=[], rows=[], root=[0])
    try:
        for block in blocks:
            _grow(growing, _facts(block))
        names = tuple(facts["feature_names"].split(" "))
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(f"The LightGBM text model is damaged ({error!r}). Train or save it again.") from error
    right, root = np.array(growing.right, np.int32), np.array(growing.root, np.int32)
    answer = expected(
        np.array(growing.answer, np.float64),
        np.array(growing.rows, np.float64),
        np.asarray(right == np.arange(len(right))),
        right,
    )
    nodes = Nodes(
        names=names,
        right=right,
        root=root,
        feature=np.array(growing.feature, np.int64),
        missing=np.array(growing.missing, np.uint8),
        threshold=_as_seen(np.array(growing.threshold, np.float64)),
        answer=answer,
        fill=np.zeros(len(names)),
        rows=np.array(growing.rows, np.float64),
    )
    if not blocks or (nodes.feature >= len(names)).any() or not np.isfinite(nodes.answer).all():
        raise ModelError("The LightGBM text model has no trees, or none that a row can go through. Train it again.")
    return nodes, link, slope


def pack_lightgbm(text: str, *, explains: bool = False) -> Forest:
    """Pack LightGBM's text (``Booster.model_to_string()``); see ``read_lightgbm`` for what is refused.

    Routing is that of LightGBM for float32 rows; leaves are rounded to 16 bits, see ``Forest.leaf_error``.

    Args:
        text: The model.
        explains: Keep inner nodes' expected answers too (2 bytes a split), for ``Packed.contributions``.
    """
    nodes, link, slope = read_lightgbm(text)
    return pack_nodes(nodes, link=link, slope=slope, explains=explains)


def training_rows(text: str) -> NDArray[np.float64]:
    """How many training rows came to each node, in the order of the packed nodes; see ``read_lightgbm``."""
    nodes, _, _ = read_lightgbm(text)
    rows = np.zeros(len(nodes.right)) if nodes.rows is None else nodes.rows.copy()
    for node in np.flatnonzero(~nodes.leaf)[::-1].tolist():  # children stand behind their parents
        rows[node] = rows[node + 1] + rows[nodes.right[node]]
    return rows


def _facts(block: str) -> dict[str, str]:
    """``key=value`` lines; a line without ``=`` is a fact of its own."""
    return {key: value for key, _, value in (line.partition("=") for line in block.split("\n")) if key}


def _link(facts: Mapping[str, str]) -> tuple[Link, float]:
    if facts.get("num_tree_per_iteration", "1") != "1":
        raise ModelError("The LightGBM model has several classes; only one score per row can be packed.")
    if "average_output" in facts:
        raise ModelError("The LightGBM model averages its trees (boosting=rf); only sums can be packed.")
    name, *options = facts.get("objective", "").split(" ")
    if name in IDENTITY and "sqrt" not in options:
        return Link.IDENTITY, 1.0
    if name in EXPONENTIAL:
        return Link.EXP, 1.0
    if name in {"binary", "cross_entropy"}:
        slopes = [float(option.partition(":")[2]) for option in options if option.startswith("sigmoid:")]
        return Link.SIGMOID, slopes[0] if slopes else 1.0
    raise ModelError(f"The LightGBM objective {facts.get('objective')!r} cannot be packed. Train with another one.")


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split()]


def _grow(growing: _Growing, tree: Mapping[str, str]) -> None:
    """Append one tree in preorder."""
    if int(tree.get("is_linear", "0")):
        raise ModelError("The LightGBM model has linear trees; they cannot be packed. Train with linear_tree=false.")
    if int(tree["num_cat"]):
        raise ModelError("The LightGBM model splits by category; that cannot be packed. Encode categories as numbers.")
    leaf_answer, leaf_rows = _numbers(tree["leaf_value"]), _numbers(tree.get("leaf_count", ""))
    leaves = int(tree["num_leaves"])
    if len(leaf_answer) != leaves:
        raise ValueError("a tree's leaves are not as many as it says")
    if leaves == 1:
        _leaf(growing, leaf_answer[0], 1.0)
        growing.root.append(len(growing.right))
        return
    feature, left, right, kind = (
        [int(part) for part in tree[name].split()]
        for name in ("split_feature", "left_child", "right_child", "decision_type")
    )
    threshold = _numbers(tree["threshold"])
    if not len(feature) == len(left) == len(right) == len(threshold) == len(kind) == leaves - 1:
        raise ValueError("a tree's lists differ in length")
    waiting: list[tuple[int, int]] = [(0, -1)]  # node, and whose right child it is
    met = 0
    while waiting:
        node, parent = waiting.pop()
        here = len(growing.right)
        if parent >= 0:
            growing.right[parent] = here
        met += 1
        if met > 2 * leaves:
            raise ValueError("a tree that leads back to itself")
        if node < 0:
            _leaf(growing, leaf_answer[~node], leaf_rows[~node] if leaf_rows else 1.0)
            continue
        growing.right.append(here)
        growing.feature.append(feature[node])
        growing.missing.append(_missing(kind[node]))
        growing.threshold.append(threshold[node])
        growing.answer.append(0.0)
        growing.rows.append(0.0)
        waiting += [(right[node], here), (left[node], -1)]
    growing.root.append(len(growing.right))


def _as_seen(threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thresholds within LightGBM's zero moved to its edge, so that all that it takes for zero goes where zero goes."""
    inside = np.abs(threshold) <= ZERO
    return np.where(inside, np.where(threshold >= 0, ZERO, np.nextafter(-ZERO, -1.0)), threshold)


def _leaf(growing: _Growing, answer: float, rows: float) -> None:
    growing.right.append(len(growing.right))
    growing.feature.append(0)
    growing.missing.append(0)
    growing.threshold.append(0.0)
    growing.answer.append(answer)
    growing.rows.append(rows)


def _missing(decision: int) -> Missing:
    rule = decision >> MISSING_SHIFT & 3
    if decision & CATEGORICAL:
        raise ModelError("The LightGBM model splits by category; that cannot be packed. Encode categories as numbers.")
    if rule == MISSING_ZERO:
        raise ModelError("The LightGBM model takes zeros for missing; that cannot be packed. zero_as_missing=false.")
    if rule == MISSING_NONE:
        return Missing.ZERO
    return Missing.LEFT if decision & DEFAULT_LEFT else Missing.RIGHT
