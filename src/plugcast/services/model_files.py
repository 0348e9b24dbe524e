"""Models as files of other kinds: what is in a folder or file, written packed or as ONNX, and what a file holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import numpy as np

from plugcast.adapters.files import LocalArtifacts, write_atomic
from plugcast.errors import ModelError, ModelNotFoundError
from plugcast.trees.onnx import lightgbm_to_onnx, packed_to_onnx
from plugcast.trees.packed import layout
from plugcast.trees.packed.pack_lightgbm import pack_lightgbm
from plugcast.trees.packed.predictor import Packed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plugcast.trees.packed.forest import Forest

SUFFIX: Final = {"packed": ".plugtree", "onnx": ".onnx"}
TEXT_START: Final = b"tree\n"
PATTERNS: Final = ("*_model.txt", "horizon_plug_*.txt", "*.plugtree")
WANTED: Final = ", ".join(PATTERNS)
Format = Literal["packed", "onnx"]
Precision = Literal["double", "float"]


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """One exported file."""

    source: str
    file: str
    source_bytes: int
    bytes: int
    leaf_error: float
    """Most that rounding leaves can move a raw score; 0 where nothing is rounded."""


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file holds."""

    file: str
    bytes: int
    format: str
    kind: str
    link: str
    features: tuple[str, ...]
    trees: int
    splits: int
    leaves: int
    most_leaves: int
    """Of one tree."""
    thresholds: int
    explains: bool
    leaf_error: float
    section_bytes: dict[str, int]
    walked_by: str


def export(
    source: Path, target: Path, *, form: Format, precision: Precision = "double", explains: bool = False
) -> tuple[Written, ...]:
    """Write every model of a file or folder in another form.

    Args:
        source: A LightGBM text model, a packed model, or a folder of these or with a detector.
        target: The folder to write to.
        form: Which.
        precision: Of ONNX numbers.
        explains: Keep in packed files what explains an answer.

    Raises:
        ModelNotFoundError: There is no model.
        ModelError: A model cannot be exported, or is damaged.
    """
    made = []
    for name, size, model in _models(source, explains=explains):
        content, error = _written(model, form=form, double=precision == "double", explains=explains)
        path = target / f"{name}{SUFFIX[form]}"
        write_atomic(path, content)
        made.append(Written(source=name, file=str(path), source_bytes=size, bytes=len(content), leaf_error=error))
    if not made:
        raise ModelNotFoundError(
            f"{source}: wanted models ({WANTED} or a detector), found none. Train first: plugcast train"
        )
    return tuple(made)


def inspect(path: Path) -> tuple[Inspection, ...]:
    """What each packed or LightGBM model of a file or folder holds; a LightGBM text is described as it would be packed.

    Raises:
        ModelNotFoundError: There is no model.
        ModelError: A file is neither, or damaged.
    """
    paths = _files(path) if path.is_dir() else [path]
    if not paths:
        raise ModelNotFoundError(f"{path}: wanted model files ({WANTED}), found none. Train first: plugcast train")
    return tuple(_inspected(one) for one in paths)


def _inspected(path: Path) -> Inspection:
    content = _read(path)
    packed = content.startswith(layout.MAGIC)
    forest = layout.decode(content) if packed else pack_lightgbm(_text(path, content))
    shape = forest.root[1:] - forest.root[:-1]
    return Inspection(
        file=str(path),
        bytes=len(content),
        format=f"packed {layout.VERSION}" if packed else "LightGBM text",
        kind=forest.kind.name.lower(),
        link=forest.link.name.lower(),
        features=forest.names,
        trees=forest.trees,
        splits=forest.splits,
        leaves=forest.splits + forest.trees,
        most_leaves=(int(shape.max()) + 1) // 2,
        thresholds=len(forest.cuts) or forest.splits,
        explains=forest.explains,
        leaf_error=forest.leaf_error,
        section_bytes=layout.read_header(layout.encode(forest)).sections,
        walked_by=Packed(forest).way,
    )


def _written(model: str | Forest, *, form: Format, double: bool, explains: bool) -> tuple[bytes, float]:
    """A file's bytes, and most that its leaves' rounding can move a raw score."""
    if form == "packed":
        forest = pack_lightgbm(model, explains=explains) if isinstance(model, str) else model
        return layout.encode(forest), forest.leaf_error
    if isinstance(model, str):
        return lightgbm_to_onnx(model, double=double), 0.0
    return packed_to_onnx(model, double=double), model.leaf_error


def _models(source: Path, *, explains: bool) -> Iterator[tuple[str, int, str | Forest]]:
    """Name, bytes and LightGBM text or forest of every model."""
    if source.is_dir():
        for path in _files(source):
            yield from _models(path, explains=explains)
        yield from _detector(source, explains=explains)
        return
    content = _read(source)
    if content.startswith(layout.MAGIC):
        yield source.stem, len(content), layout.decode(content)
    else:
        yield source.stem, len(content), _text(source, content)


def _files(folder: Path) -> list[Path]:
    return sorted({path for pattern in PATTERNS for path in folder.rglob(pattern)})


def _detector(folder: Path, *, explains: bool) -> Iterator[tuple[str, int, Forest]]:
    from plugcast.anomaly.model_file import has_detector, load_detector  # noqa: PLC0415 - polars, for detectors only

    store = LocalArtifacts(folder)
    if not has_detector(store):
        return
    for kind, model in sorted(load_detector(store).models.items()):
        stack = model.stack
        size = sum(part.nbytes for part in stack.forest.to_arrays().values())
        packed = {"": stack.forest.packed, "_extended": stack.extended.packed}
        if stack.faults is not None:
            packed["_faults"] = stack.faults.trees
        for name, trees in packed.items():
            kept = trees.forest if explains else unexplained(trees.forest)
            yield f"detector_{kind}{name}", len(trees.to_bytes()) if name else size, kept


def unexplained(forest: Forest) -> Forest:
    """The forest without what explains it."""
    return replace(forest, explains=False, value=np.where(forest.leaf, forest.value, 0).astype(np.int16))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelNotFoundError(f"{path}: cannot be read ({error.strerror}). Name a model file or folder.") from error


def _text(path: Path, content: bytes) -> str:
    if not content.startswith(TEXT_START):
        raise ModelError(f"{path}: wanted a LightGBM text model or a packed one; this is neither.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: the LightGBM text is damaged ({error}). Train or save it again.") from error
