"""Tables in memory, cells untouched: a frame with positional columns and the names that the file gave them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from plugcast.adapters.tables.text import Text, check_file, header_line, is_parquet, read_text
from plugcast.errors import UnreadableInputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EXTRA: Final = "extra"
"""The first field beyond the header's columns; null in a sound row."""
ROW: Final = "row"
"""1-based position of the data row in its file."""
_SEPARATORS: Final = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file's cells."""

    source: str
    """The file's name, for messages and rejections."""
    names: tuple[str, ...]
    """The columns as the file names them; column i is ``cell(i)`` of the frame."""
    frame: pl.DataFrame
    """Columns ``c0``.., then EXTRA and ROW; text cells where the file is text, typed ones where it is Parquet."""


def cell(position: int) -> str:
    """The frame's name of a position."""
    return f"c{position}"


def column_names(path: Path) -> tuple[str, ...]:
    """The columns of a file, read from its beginning only.

    Raises:
        UnreadableInputError: There is no readable table.
    """
    check_file(path)
    if is_parquet(path):
        try:
            return tuple(pl.read_parquet_schema(path))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _bad_parquet(path, error) from error
    return _split_header(header_line(path))[0]


def read_table(path: Path) -> Table:
    """The whole file.

    Raises:
        UnreadableInputError: It is missing, empty, a directory, truncated, binary, or has a line beyond all bounds.
    """
    check_file(path)
    return _read_parquet(path) if is_parquet(path) else _read_csv(path)


def _read_parquet(path: Path) -> Table:
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _bad_parquet(path, error) from error
    names = tuple(frame.columns)
    frame.columns = [cell(position) for position in range(len(names))]
    return _table(path, names, frame.with_columns(pl.lit(None, dtype=pl.String).alias(EXTRA)))


def _bad_parquet(path: Path, error: Exception) -> UnreadableInputError:
    first = (str(error).splitlines() or ["no reason given"])[0][:200]
    return UnreadableInputError(f"{path}: the Parquet file is damaged or truncated ({first}). Copy it again, whole.")


def _read_csv(path: Path) -> Table:
    text = read_text(path)
    names, separator = _split_header(text.header)
    columns = [*(cell(position) for position in range(len(names))), EXTRA]
    try:
        frame = _parse(text, columns, separator, quote='"' if text.quotes_balanced else None)
    except pl.exceptions.PolarsError:
        # quotes that pair up in number but not in place: take every line by itself, so that one bad row costs one row
        frame = _parse(text, columns, separator, quote=None)
    return _table(path, names, _without_trailing_blanks(frame))


def _parse(text: Text, columns: Sequence[str], separator: str, *, quote: str | None) -> pl.DataFrame:
    # our own header has one column more than the file's, so that surplus fields show instead of vanishing
    frame = pl.read_csv(
        separator.join(columns).encode() + b"\n" + text.body,
        separator=separator,
        schema=dict.fromkeys(columns, pl.String),
        quote_char=quote,
        truncate_ragged_lines=True,
        encoding="utf8-lossy",
    )
    if quote is None and b'"' in text.body:
        frame = frame.with_columns(pl.all().str.strip_chars('"'))
    return frame


def _without_trailing_blanks(frame: pl.DataFrame) -> pl.DataFrame:
    blank = frame.tail(1_000).select(pl.all_horizontal(pl.all().is_null())).to_series()
    filled = blank.arg_min() if not blank.all() else None
    if filled is None:
        return frame if blank.is_empty() or frame.height > blank.len() else frame.clear()
    trailing = int(blank.reverse().arg_min() or 0)
    return frame.head(frame.height - trailing)


def _split_header(line: bytes) -> tuple[tuple[str, ...], str]:
    text = line.decode("utf-8", errors="replace")
    separator = max(_SEPARATORS, key=text.count)
    try:
        names = next(csv.reader([text], delimiter=separator))
    except csv.Error:
        names = text.split(separator)
    return tuple(name.strip() for name in names), separator


def _table(path: Path, names: tuple[str, ...], frame: pl.DataFrame) -> Table:
    numbered = frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(ROW))
    return Table(source=path.name, names=names, frame=numbered)
