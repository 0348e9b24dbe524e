"""Forests as standard ONNX: one ``TreeEnsemble`` of ai.onnx.ml 5, which stock onnxruntime loads.

The usual converters write the older operators, three times the size. In double the graph is exact: LightGBM's own
numbers, or a packed forest's whole numbers with one scale. In float, thresholds are rounded down, which moves no
float32 row, and leaves are rounded to the nearest.

ONNX is a protobuf message; its few fields are written here, so that exporting needs no further package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.errors import ModelError
from plugcast.trees.packed.forest import Forest, Kind, Link, Missing
from plugcast.trees.packed.pack_lightgbm import read_lightgbm
from plugcast.trees.packed.quantise import round_down

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

IR_VERSION: Final = 10
OPSET, ML_OPSET = 21, 5
FLOAT, UINT8, DOUBLE = 1, 2, 11
INT, TENSOR, INTS = 2, 4, 7
AT_MOST, SUM = 0, 1
INPUT, OUTPUT = "rows", "answer"
VARINT, BYTES = 0, 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Trees:
    """What a graph is made of; arrays over all nodes in preorder."""

    names: tuple[str, ...]
    root: NDArray[np.int32]
    right: NDArray[np.int32]
    feature: NDArray[Any]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    answer: NDArray[np.float64]
    scale: float
    base: float
    link: Link
    slope: float


def lightgbm_to_onnx(text: str, *, double: bool = True) -> bytes:
    """A LightGBM text model as ONNX: input ``rows`` (n, features), output ``answer`` (n, 1).

    Args:
        text: ``Booster.model_to_string()``; see ``read_lightgbm`` for what is refused.
        double: Exact, for float64 rows. False: float32 rows, leaves rounded to float32.
    """
    nodes, link, slope = read_lightgbm(text)
    return _model(
        _Trees(
            names=nodes.names,
            root=nodes.root,
            right=nodes.right,
            feature=nodes.feature,
            threshold=nodes.threshold,
            missing_left=_missing_left(nodes.missing, nodes.threshold, np.zeros(len(nodes.threshold))),
            answer=nodes.answer,
            scale=1.0,
            base=0.0,
            link=link,
            slope=slope,
        ),
        double=double,
    )


def packed_to_onnx(forest: Forest, *, double: bool = True) -> bytes:
    """A packed forest as ONNX. Infinities in isolation forests are not replaced by medians, as ``Packed`` does.

    Args:
        forest: RANKED or DIRECT.
        double: The raw score has the bits of ``Packed.raw``, for rows that are float32 values. False: float32 rows.

    Raises:
        ModelError: Hyperplanes have no ONNX operator.
    """
    if forest.kind == Kind.HYPERPLANE:
        raise ModelError("An extended isolation forest has no ONNX operator. Export it as packed.")
    column = forest.column[:, 0]
    inner = ~forest.leaf
    feature = np.zeros(len(column), np.int64)
    feature[inner] = forest.column_feature[column[inner]]
    threshold = np.zeros(len(column))
    if forest.kind == Kind.RANKED:
        threshold[inner] = forest.cuts[forest.cut_start[feature[inner]] + forest.rank[inner]]
    else:
        threshold[inner] = forest.threshold[inner]
    doublings = np.repeat(forest.shift.astype(np.int32), np.diff(forest.root))
    missing, fill = np.zeros(len(column), np.uint8), np.zeros(len(column))
    missing[inner], fill[inner] = forest.column_missing[column[inner]], forest.column_fill[column[inner]]
    return _model(
        _Trees(
            names=forest.names,
            root=forest.root,
            right=forest.right,
            feature=feature,
            threshold=threshold,
            missing_left=_missing_left(missing, threshold, fill),
            answer=np.ldexp(forest.value.astype(np.float64), doublings) * (1.0 if double else forest.scale),
            scale=forest.scale if double else 1.0,
            base=forest.base,
            link=forest.link,
            slope=forest.slope,
        ),
        double=double,
    )


def _missing_left(
    missing: NDArray[np.uint8], threshold: NDArray[np.float64], fill: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Where a missing value goes at each node."""
    counted = np.where(missing == Missing.FILL, fill, 0.0) <= threshold
    return np.asarray((missing == Missing.LEFT) | (counted & (missing != Missing.RIGHT)))


def _model(trees: _Trees, *, double: bool) -> bytes:
    number = DOUBLE if double else FLOAT
    steps, constants = [_ensemble(trees, double=double)], []

    def then(operator: str, constant: float | None = None) -> None:
        name = f"step{len(steps)}"
        inputs = [f"step{len(steps) - 1}"]
        if constant is not None:
            constants.append(_tensor(np.array([constant]), number, name=f"constant{len(steps)}"))
            inputs.append(f"constant{len(steps)}")
        steps.append(_node(operator, inputs, name))

    if trees.scale != 1.0:
        then("Mul", trees.scale)
    if trees.base != 0.0:
        then("Add", trees.base)
    if trees.link != Link.IDENTITY:
        if trees.slope != 1.0:
            then("Mul", trees.slope)
        then("Sigmoid" if trees.link == Link.SIGMOID else "Exp")
    last = f"step{len(steps) - 1}"
    steps.append(_node("Identity", [last], OUTPUT))
    graph = (
        _fields(1, steps)
        + _text(2, "forest")
        + _fields(5, constants)
        + _bytes(11, _value(INPUT, number, len(trees.names)))
        + _bytes(12, _value(OUTPUT, number, 1))
    )
    opsets = [_text(1, ""), _text(1, "ai.onnx.ml")]
    return (
        _int(1, IR_VERSION)
        + _text(2, "plugcast")
        + _bytes(7, graph)
        + _fields(8, [opsets[0] + _int(2, OPSET), opsets[1] + _int(2, ML_OPSET)])
        + _bytes(14, _text(1, "features") + _text(2, "\n".join(trees.names)))
    )


def _ensemble(trees: _Trees, *, double: bool) -> bytes:
    """The TreeEnsemble; a tree that is one leaf becomes a split whose both ways lead to it."""
    leaf = trees.right == np.arange(len(trees.right))
    alone = leaf.copy()
    alone[:] = False
    alone[trees.root[:-1]] = leaf[trees.root[:-1]]
    split = ~leaf | alone
    number_of_split, number_of_leaf = np.cumsum(split) - 1, np.cumsum(leaf) - 1
    here = np.flatnonzero(split)
    true = np.where(alone[here], here, here + 1)
    false = trees.right[here]

    def child(node: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.where(leaf[node], number_of_leaf[node], number_of_split[node]))

    threshold = trees.threshold[here] if double else round_down(trees.threshold[here])
    number = DOUBLE if double else FLOAT
    integers: dict[str, NDArray[Any] | Sequence[int]] = {
        "leaf_targetids": np.zeros(int(leaf.sum()), np.int64),
        "nodes_falseleafs": leaf[false],
        "nodes_falsenodeids": child(false),
        "nodes_featureids": trees.feature[here],
        "nodes_missing_value_tracks_true": trees.missing_left[here],
        "nodes_trueleafs": leaf[true],
        "nodes_truenodeids": child(true),
        "tree_roots": number_of_split[trees.root[:-1]],
    }
    tensors = {
        "leaf_weights": _tensor(trees.answer[leaf], number),
        "nodes_modes": _tensor(np.full(len(here), AT_MOST), UINT8),
        "nodes_splits": _tensor(threshold, number),
    }
    attributes = [
        *(_text(1, name) + _bytes(8, _varints(values)) + _int(20, INTS) for name, values in integers.items()),
        *(_text(1, name) + _bytes(5, content) + _int(20, TENSOR) for name, content in tensors.items()),
        *(
            _text(1, name) + _int(3, value) + _int(20, INT)
            for name, value in (("aggregate_function", SUM), ("n_targets", 1), ("post_transform", 0))
        ),
    ]
    return _node("TreeEnsemble", [INPUT], "step0", domain="ai.onnx.ml") + _fields(5, attributes)


def _node(operator: str, inputs: Sequence[str], output: str, *, domain: str = "") -> bytes:
    return b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, operator) + _text(7, domain)


def _value(name: str, number: int, width: int) -> bytes:
    """An input or output of any number of rows."""
    shape = _fields(1, [_text(2, "n"), _int(1, width)])
    return _text(1, name) + _bytes(2, _bytes(1, _int(1, number) + _bytes(2, shape)))


def _tensor(values: NDArray[Any], number: int, *, name: str = "") -> bytes:
    raw = values.astype({FLOAT: "<f4", UINT8: "u1", DOUBLE: "<f8"}[number]).tobytes()
    return _int(1, len(values)) + _int(2, number) + (_text(8, name) if name else b"") + _bytes(9, raw)


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:  # noqa: PLR2004 - seven bits a byte
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


def _varints(values: NDArray[Any] | Sequence[int]) -> bytes:
    return b"".join(_varint(int(value)) for value in np.asarray(values).tolist())


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3 | VARINT) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | BYTES) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


def _fields(field: int, contents: Iterable[bytes]) -> bytes:
    return b"".join(_bytes(field, content) for content in contents)
