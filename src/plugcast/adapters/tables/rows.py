"""Which rows are taken: checks in order, the first that fails names the reason, and the row is kept with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import polars as pl

from plugcast.adapters.tables.aliases import shown
from plugcast.adapters.tables.frames import EXTRA, ROW, Table, cell
from plugcast.domain.rejected import RAW_LIMIT, Rejected, RejectReason
from plugcast.domain.units import EARLIEST_AT, LATEST_AT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

_SHOWN: Final = 60
AHEAD: Final = timedelta(days=1)
"""How far past the reader's clock an instant may lie: a zone's worth of clock error, not more."""
MAX_ID_CHARS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition that a row must not meet."""

    failed: pl.Expr
    """Over the parsed frame; null counts as passed."""
    reason: RejectReason
    field: str
    """Our column, whose cell the message quotes."""
    wanted: str


def surplus() -> Check:
    """More fields than the header has columns: an unquoted separator has shifted the cells."""
    return Check(
        failed=pl.col(EXTRA).is_not_null(),
        reason=RejectReason.UNDECODABLE,
        field=EXTRA,
        wanted="no more fields than the header names",
    )


def missing(field: str) -> Check:
    """A required cell without a value."""
    return Check(
        failed=pl.col(field).is_null() & ~pl.col(f"{field}.bad"),
        reason=RejectReason.MISSING_VALUE,
        field=field,
        wanted="a value",
    )


def not_a_number(field: str) -> Check:
    """A cell that should be a number and is not."""
    return Check(failed=pl.col(f"{field}.bad"), reason=RejectReason.NOT_A_NUMBER, field=field, wanted="a number")


def out_of_range(field: str, low: float, high: float, *, unit: str) -> Check:
    """A number beyond its bounds, infinity included."""
    return Check(
        failed=~pl.col(field).is_between(low, high),
        reason=RejectReason.OUT_OF_RANGE,
        field=field,
        wanted=f"{low:g} to {high:g} {unit}",
    )


def time_checks(field: str, *, now: datetime | None, zone: str, required: bool = True) -> list[Check]:
    """What an instant must be: there, readable, told apart, after 2005 and, by the clock ``now``, not in the future."""
    latest = LATEST_AT if now is None else now + AHEAD
    checks = [
        Check(
            failed=pl.col(f"{field}.untold"),
            reason=RejectReason.AMBIGUOUS_TIME,
            field=field,
            wanted=f"an hour that happened once in {zone}, or rows in order of time",
        ),
        Check(
            failed=pl.col(f"{field}.bad"),
            reason=RejectReason.BAD_TIME,
            field=field,
            wanted=f"a date with a time of day that existed in {zone}",
        ),
        Check(
            failed=~pl.col(field).is_between(EARLIEST_AT, latest),
            reason=RejectReason.TIME_OUT_OF_RANGE,
            field=field,
            wanted=f"an instant between {EARLIEST_AT:%Y-%m-%d} and {latest:%Y-%m-%d %H:%M} UTC",
        ),
    ]
    return [_missing_time(field), *checks] if required else checks


def _missing_time(field: str) -> Check:
    """A required instant without a value."""
    return Check(
        failed=pl.col(field).is_null() & ~pl.col(f"{field}.bad") & ~pl.col(f"{field}.untold"),
        reason=RejectReason.MISSING_VALUE,
        field=field,
        wanted="a value",
    )


def text_checks(field: str) -> tuple[Check, Check]:
    """A name that is no text, or too long for one."""
    return (
        Check(
            failed=pl.col(field).str.contains("[\n\r\ufffd]"),
            reason=RejectReason.UNDECODABLE,
            field=field,
            wanted="one line of UTF-8 text",
        ),
        Check(
            failed=pl.col(field).str.len_chars() > MAX_ID_CHARS,
            reason=RejectReason.TOO_LONG,
            field=field,
            wanted=f"at most {MAX_ID_CHARS} characters",
        ),
    )


def split(
    parsed: pl.DataFrame, table: Table, positions: Mapping[str, tuple[int, ...]], checks: Sequence[Check]
) -> tuple[pl.DataFrame, list[Rejected]]:
    """The rows that pass every check, and the others with the first check that they failed.

    Args:
        parsed: One row for each of the table's, in its order, with ROW, EXTRA and the columns that the checks read.
        table: The cells as they were.
        positions: Where in the table the cells of each of our columns stand.
        checks: In order of precedence.
    """
    verdict = pl.lit(None, dtype=pl.Int16)
    for number, check in reversed(list(enumerate(checks))):
        verdict = pl.when(check.failed.fill_null(value=False)).then(pl.lit(number, dtype=pl.Int16)).otherwise(verdict)
    marked = parsed.with_columns(verdict.alias("verdict"))
    bad = marked.filter(pl.col("verdict").is_not_null()).select(ROW, "verdict")
    if bad.is_empty():
        return marked.drop("verdict"), []
    cells = table.frame[(bad[ROW] - 1).to_list()] if bad.height < table.frame.height else table.frame
    rejected = [
        _rejected(table, positions, checks[number], row, values)
        for number, row, values in zip(bad["verdict"], bad[ROW], cells.iter_rows(), strict=True)
    ]
    return marked.filter(pl.col("verdict").is_null()).drop("verdict"), rejected


def _rejected(
    table: Table, positions: Mapping[str, tuple[int, ...]], check: Check, row: int, values: tuple[object, ...]
) -> Rejected:
    if check.field == EXTRA:
        label, found = "row", f", found {_quoted(values[len(table.names)])} beyond them"
    else:
        where = positions.get(check.field, ())
        names = " and ".join(shown(table.names[position]) for position in where)
        label = check.field if names in {"", check.field} else f"{check.field} ({names})"
        found = f", found {' '.join(_quoted(values[position]) for position in where)}" if where else ""
    return Rejected(
        source=table.source,
        row=row,
        reason=check.reason,
        detail=f"{label}: wanted {check.wanted}{found}",
        raw=raw_text(values[: len(table.names) + 1]),
    )


def _quoted(value: object) -> str:
    if value is None:
        return "nothing"
    text = str(value)
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def raw_text(values: Sequence[object]) -> str:
    """Cells as one line, cut to RAW_LIMIT."""
    while values and values[-1] is None:
        values = values[:-1]
    return ",".join("" if value is None else str(value)[:RAW_LIMIT] for value in values)[:RAW_LIMIT]


def set_apart_repeats(
    frame: pl.DataFrame, table: Table, *, key: Sequence[str], values: Sequence[str]
) -> tuple[pl.DataFrame, int, list[Rejected]]:
    """The first row of each key, the number of its exact repeats, and the rows that contradict it.

    Args:
        frame: Accepted rows with ROW.
        table: The cells as they were.
        key: Columns that name a row.
        values: Columns that a repeat must share with the first row.

    Returns:
        The kept rows, ordered by key.
    """
    ordered = frame.sort([*key, ROW])
    repeat = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1)) for name in key) & (
        pl.col(ROW) != pl.col(ROW).first()
    )
    ordered = ordered.with_columns(repeat.alias("repeat"))
    if not ordered["repeat"].any():
        return ordered.drop("repeat"), 0, []
    # everything beside the key is compared with the first row of the group, carried forward
    group = (~pl.col("repeat")).cum_sum()
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).first().over("group")) for name in values)
    first_row = pl.col(ROW).first().over("group")
    judged = ordered.with_columns(group.alias("group")).with_columns(same.alias("same"), first_row.alias("first_row"))
    repeats = judged.filter("repeat")
    conflicts = repeats.filter(~pl.col("same")).sort(ROW)
    cells = table.frame[(conflicts[ROW] - 1).to_list()]
    rejected = [
        Rejected(
            source=table.source,
            row=row,
            reason=RejectReason.CONFLICTING_DUPLICATE,
            detail=f"{' and '.join(key)}: wanted one row for each, found other values than in row {first}",
            raw=raw_text(values_[: len(table.names) + 1]),
        )
        for row, first, values_ in zip(conflicts[ROW], conflicts["first_row"], cells.iter_rows(), strict=True)
    ]
    kept = judged.filter(~pl.col("repeat")).drop("repeat", "group", "same", "first_row")
    return kept, repeats.height - conflicts.height, rejected


def in_order(*parts: Sequence[Rejected]) -> tuple[Rejected, ...]:
    """Rejections of one file by row."""
    return tuple(sorted((item for part in parts for item in part), key=lambda item: item.row))


def native(table: Table, positions: Mapping[str, int], field: str) -> pl.Series | None:
    """The cells of one of our columns, or None where the table has none."""
    return table.frame[cell(positions[field])].alias(field) if field in positions else None
