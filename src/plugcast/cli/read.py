"""``plugcast read``: what a file holds, what of it can be used, and why the rest cannot."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from plugcast.domain.rejected import Rejected
    from plugcast.ports import SessionsRead, TelemetryRead

_EXAMPLES: Final = 3


class Kind(StrEnum):
    """What to read the file as."""

    AUTO = "auto"
    SESSIONS = "sessions"
    TELEMETRY = "telemetry"


class Order(StrEnum):
    """How dates are written."""

    YMD = "ymd"
    DMY = "dmy"
    MDY = "mdy"
    SWAPPED = "swapped"


FileArgument = Annotated[Path, typer.Argument(help="CSV (also .gz), Parquet, or ACN-Data as JSON or JSON lines.")]
KindOption = Annotated[Kind, typer.Option("--kind", help="What the file holds; auto looks at its columns.")]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="Write the accepted rows here, as Parquet.")]
RejectsOption = Annotated[
    Path | None, typer.Option("--rejects", help="Write the refused rows here with their reasons, one JSON a line.")
]
ZoneOption = Annotated[str, typer.Option("--time-zone", help="Zone of times without an offset, e.g. Europe/Oslo.")]
OrderOption = Annotated[
    Order | None,
    typer.Option(
        "--date-order",
        help="How dates are written, where the file does not decide; swapped exchanges day and month back.",
        show_default=False,
    ),
]
AssetOption = Annotated[
    str | None,
    typer.Option("--asset-id", help="The vehicle (or station) of a file without a column for it.", show_default=False),
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="OURS=THEIRS", help="Say which column is meant; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("read")(read)


def read(
    file: FileArgument,
    *,
    kind: KindOption = Kind.AUTO,
    out: OutOption = None,
    rejects: RejectsOption = None,
    time_zone: ZoneOption = "UTC",
    date_order: OrderOption = None,
    asset_id: AssetOption = None,
    column: ColumnOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a file of sessions or telemetry: count, check, and write it in Plugcast's own columns.

    Every row that cannot be used is counted under its reason. Exit code 1 if none can.
    """
    from plugcast.services import sources

    columns = _columns(column or [])
    _refuse_unknown_zone(time_zone)
    now = datetime.now(UTC)
    options: dict[str, Any] = {"now": now, "time_zone": time_zone, "date_order": date_order, "columns": columns}
    _refuse_overwriting(file, out, rejects)
    found = sources.kind_of(file, columns=columns) if kind is Kind.AUTO else sources.SourceKind(kind.value)
    result: SessionsRead | TelemetryRead
    if found is sources.SourceKind.TELEMETRY:
        result = sources.open_telemetry(file, asset_id=asset_id, **options).read()
        rows = result.samples
    else:
        result = sources.open_sessions(file, station_id=asset_id, **options).read()
        rows = result.sessions
    if rejects is not None:
        _write_rejects(result.rejected, rejects)
    if out is not None and rows.height:
        _write_rows(rows, out)
    document = _document(file, found.value, result, rows) | {
        "written": str(out) if out is not None and rows.height else None,
        "rejects_written": str(rejects) if rejects is not None else None,
    }
    if as_json:
        from plugcast.cli.output import emit_json

        emit_json(document)
    else:
        _print(document)
    sources.require_rows(result, source=file.name)


def _refuse_unknown_zone(name: str) -> None:
    from plugcast.adapters.tables.times import check_zone
    from plugcast.errors import ConfigError

    try:
        check_zone(name)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error


def _columns(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if not all(part.strip() for part in pair.partition("=")):
            raise typer.BadParameter(f"--column {pair!r}: wanted OURS=THEIRS, like soc='Battery level'.")
    return {ours.strip(): theirs.strip() for ours, _, theirs in (pair.partition("=") for pair in pairs)}


def _refuse_overwriting(file: Path, *targets: Path | None) -> None:
    given = [target.resolve() for target in targets if target is not None]
    if file.resolve() in given:
        raise typer.BadParameter(f"{file} is what is read; write to another file.")
    if len(set(given)) < len(given):
        raise typer.BadParameter("--out and --rejects name the same file.")


def _write_rows(rows: pl.DataFrame, out: Path) -> None:
    from plugcast.adapters.files import atomic_path

    with atomic_path(out) as temporary:
        rows.write_parquet(temporary)


def _write_rejects(rejected: tuple[Rejected, ...], path: Path) -> None:
    from plugcast.adapters.files import RejectFile, atomic_path

    with atomic_path(path) as temporary:
        RejectFile(temporary).keep(rejected)


def _document(file: Path, kind: str, result: SessionsRead | TelemetryRead, rows: pl.DataFrame) -> dict[str, Any]:
    counts = result.counts
    telemetry = "asset_id" in rows.columns
    at = rows["timestamp" if telemetry else "arrival_at"]
    if telemetry:
        things = {"assets": rows["asset_id"].n_unique()}
    else:
        things = {
            "stations": rows["station_id"].n_unique(),
            "users": rows["user_id"].drop_nulls().n_unique(),
            "running": rows["departure_at"].null_count(),
        }
    return {
        "file": str(file),
        "kind": kind,
        "read": counts.read,
        "accepted": counts.accepted,
        "rejected": counts.rejected,
        "duplicates": counts.duplicates,
        "first_at": at.min(),
        "last_at": at.max(),
        **things,
        "reasons": _reasons(result.rejected),
    }


def _reasons(rejected: tuple[Rejected, ...]) -> list[dict[str, Any]]:
    counted = Counter(item.reason for item in rejected)
    examples: dict[str, list[Rejected]] = {reason: [] for reason in counted}
    for item in rejected:
        if len(examples[item.reason]) < _EXAMPLES:
            examples[item.reason].append(item)
    return [
        {
            "reason": reason.value,
            "count": count,
            "examples": [{"row": item.row, "detail": item.detail, "raw": item.raw} for item in examples[reason]],
        }
        for reason, count in counted.most_common()
    ]


def _print(document: Mapping[str, Any]) -> None:
    from rich.markup import escape

    from plugcast.cli.output import out

    console = out()

    def say(text: str) -> None:
        console.print(escape(text), highlight=False)

    say(f"{document['file']}: {document['kind']}")
    for name in ("read", "accepted", "rejected", "duplicates"):
        say(f"  {name:<12}{document[name]:>12,}")
    if document["accepted"]:
        say(f"  {'span':<12}{document['first_at']:%Y-%m-%d %H:%M} to {document['last_at']:%Y-%m-%d %H:%M} UTC")
    for name in ("assets", "stations", "users", "running"):
        if name in document:
            say(f"  {name:<12}{document[name]:>12,}")
    for reason in document["reasons"]:
        say(f"  {reason['reason']}: {reason['count']:,}")
        for example in reason["examples"]:
            say(f"    row {example['row']}: {example['detail']}")
    for name, sentence in (("written", "accepted rows"), ("rejects_written", "refused rows")):
        if document[name]:
            say(f"  {sentence} are in {document[name]}")
