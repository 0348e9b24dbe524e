"""Numbers and yes/no cells as people and machines write them; what decides nothing is refused, not guessed."""

from __future__ import annotations

from typing import Final

import polars as pl

MISSING: Final = ("", "-", "na", "n/a", "nan", "nil", "none", "null")
"""Cells that say: no value."""
TRUE: Final = (
    "true",
    "t",
    "yes",
    "y",
    "on",
    "plugged",
    "plugged_in",
    "plugged in",
    "connected",
    "1",
    "1.0",
    "2",
    "2.0",
)
FALSE: Final = (
    "false",
    "f",
    "no",
    "n",
    "off",
    "unplugged",
    "disconnected",
    "not connected",
    "not plugged in",
    "0",
    "0.0",
)
_LONGEST_MARK: Final = 4
_THOUSAND: Final = 1_000.0


def cleaned(column: pl.Series) -> pl.Series:
    """Text cells trimmed, marks of a missing value as null; any other dtype becomes its text.

    >>> cleaned(pl.Series(["  73 ", "NA", ""])).to_list()
    ['73', None, None]
    """
    text = column if column.dtype == pl.String else column.cast(pl.String, strict=False)
    name = text.name
    value = pl.col(name).str.strip_chars()
    mark = (value.str.len_bytes() <= _LONGEST_MARK) & value.str.to_lowercase().is_in(MISSING)
    return text.to_frame().select(pl.when(mark).then(None).otherwise(value).alias(name)).to_series()


def parse_numbers(column: pl.Series, *, largest: float) -> tuple[pl.Series, pl.Series]:
    """Numbers as float64, null where there is none, and a mask of the cells that are no number.

    A decimal comma is taken where no cell of the column has a point, and where ``1,234`` cannot be a thousand:
    either ``largest`` lies below 1000, or another cell shows that commas are decimal here (``7,5``).

    Args:
        column: Cells of any dtype.
        largest: The largest value that can be meant.

    >>> parse_numbers(pl.Series(["73,5", "80%", "1.234,5", None]), largest=100.0)[0].to_list()
    [73.5, 80.0, None, None]
    """
    if column.dtype.is_numeric():
        values = column.cast(pl.Float64, strict=False).fill_nan(None)
        return values, values.is_null() & column.is_not_null() & ~_is_nan(column)
    if column.dtype == pl.Boolean:
        return pl.Series(column.name, [None] * len(column), dtype=pl.Float64), column.is_not_null()
    text = cleaned(column)
    values = text.cast(pl.Float64, strict=False)
    if values.null_count() > text.null_count():
        values = _with_marks(text, values, largest=largest)
    return values, text.is_not_null() & values.is_null()


def _is_nan(column: pl.Series) -> pl.Series:
    if column.dtype.is_float():
        return column.is_nan().fill_null(value=False)
    return pl.Series(column.name, [False], dtype=pl.Boolean).new_from_index(0, len(column))


def _with_marks(text: pl.Series, values: pl.Series, *, largest: float) -> pl.Series:
    """The same, with per cent signs and decimal commas read."""
    open_cells = values.is_null() & text.is_not_null()
    bare = text.filter(open_cells).str.strip_suffix("%").str.strip_chars_end()
    read = bare.cast(pl.Float64, strict=False)
    commas = bare.str.contains(r"^[+-]?\d+,\d+$")
    decimal = bare.filter(commas).str.contains(r"^[+-]?(0\d*,\d+|\d{4,},\d+|\d+,(\d{1,2}|\d{4,}))$")
    has_points = text.str.contains(".", literal=True).any() and bool(
        (values.is_not_null() & text.str.contains(".", literal=True)).any()
    )
    if not has_points and (largest < _THOUSAND or decimal.any()):
        swapped = bare.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
        read = read.zip_with(~commas, swapped)
    positions = open_cells.arg_true()
    return values.scatter(positions, read) if len(positions) else values


def parse_flags(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Yes/no cells as booleans, null where there is none, and a mask of the cells that are neither.

    >>> parse_flags(pl.Series(["Yes", "0", "2", "maybe"]))[0].to_list()
    [True, False, True, None]
    """
    if column.dtype == pl.Boolean:
        return column, column.is_null() & column.is_not_null()
    if column.dtype.is_float():
        column = column.fill_nan(None)
    text = cleaned(column).str.to_lowercase()
    name = text.name
    value = pl.when(pl.col(name).is_in(TRUE)).then(True).when(pl.col(name).is_in(FALSE)).then(False).otherwise(None)
    flags = text.to_frame().select(value.alias(name)).to_series()
    return flags, text.is_not_null() & flags.is_null()
