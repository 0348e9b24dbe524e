"""``plugcast model``: models as files; write them packed or as ONNX, and look into them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plugcast.cli import inputs, output

if TYPE_CHECKING:
    from plugcast.services.model_files import Inspection


class Form(StrEnum):
    """What ``export`` writes."""

    PACKED = "packed"
    ONNX = "onnx"


class Precision(StrEnum):
    """Of the numbers in ONNX."""

    DOUBLE = "double"
    FLOAT = "float"


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(name="model", help="Write models packed or as ONNX, and look into them.", no_args_is_help=True)
    group.command()(export)
    group.command()(inspect)
    app.add_typer(group)


def export(
    *,
    source: Annotated[
        Path, typer.Argument(help="A folder of models or of a detector, a LightGBM text model, or a packed model.")
    ] = inputs.DEFAULT_MODELS,
    form: Annotated[Form, typer.Option("--format", "-f", help="What to write.")] = Form.PACKED,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path("exported"),
    precision: Annotated[
        Precision, typer.Option("--precision", help="Of ONNX: double is exact, float is smaller.")
    ] = Precision.DOUBLE,
    explain: Annotated[
        bool, typer.Option("--explain", help="Keep in packed files what explains an answer, 2 bytes a split.")
    ] = False,
    as_json: inputs.JsonOption = False,
) -> None:
    """Write models in another form: packed for small and fast, ONNX for other runtimes.

    A packed file is some twenty times smaller than LightGBM's text and takes every float32 row the same way; its
    leaves are rounded to 16 bits. The ONNX is one TreeEnsemble of ai.onnx.ml 5, which stock onnxruntime loads.
    """
    from plugcast.services import model_files

    made = model_files.export(source, out, form=form.value, precision=precision.value, explains=explain)
    if as_json:
        output.emit_json({"written": made})
        return
    console = output.out()
    for one in made:
        ratio = one.source_bytes / one.bytes
        rounding = f"; raw scores within {one.leaf_error:.1e}" if one.leaf_error else ""
        console.print(f"{one.file}: {one.bytes:,} bytes, {ratio:.1f}x smaller{rounding}", highlight=False)
    if form is Form.PACKED:
        console.print(f"Look into one: plugcast model inspect {made[0].file}", highlight=False)


def inspect(
    *,
    file: Annotated[Path, typer.Argument(help="A packed model or a LightGBM text model, or a folder of them.")],
    as_json: inputs.JsonOption = False,
) -> None:
    """Say what model files hold, after checking all of each.

    A LightGBM text model is described as it would be packed. A damaged or forged file is refused (exit 1).
    """
    from plugcast.services import model_files

    seen = model_files.inspect(file)
    if as_json:
        output.emit_json({"models": seen})
        return
    console = output.out()
    for place, one in enumerate(seen):
        if place:
            console.print()
        for name, said in _lines(one).items():
            console.print(f"{name:<13} {said}", highlight=False, markup=False)


def _lines(found: Inspection) -> dict[str, str]:
    return {
        "file": f"{found.file}, {found.bytes:,} bytes, {found.format}",
        "forest": f"{found.kind}, {found.trees} trees of up to {found.most_leaves} leaves, {found.splits:,} splits",
        "features": f"{len(found.features)}: {', '.join(found.features)}",
        "thresholds": f"{found.thresholds:,}",
        "answer": f"{found.link}; raw scores within {found.leaf_error:.1e} of the model that was packed",
        "explains": "yes" if found.explains else "no; export it with --explain",
        "packed bytes": ", ".join(f"{name} {size:,}" for name, size in found.section_bytes.items() if size),
        "walked by": found.walked_by,
    }
