"""Meter values from a CSV or Parquet file: one row a sample, of one session or of many stations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from plugcast.adapters.tables.aliases import match
from plugcast.adapters.tables.frames import EXTRA, ROW, Table, read_table
from plugcast.adapters.tables.meter_fields import METER_FIELDS
from plugcast.adapters.tables.numbers import cleaned, parse_numbers
from plugcast.adapters.tables.rows import (
    Check,
    native,
    not_a_number,
    out_of_range,
    split,
    surplus,
    text_checks,
    time_checks,
)
from plugcast.adapters.tables.times import DateOrder, check_zone, infer_order, localise, parse_times
from plugcast.domain.messages import MAX_CURRENT_A, MAX_REGISTER_KWH, MAX_VOLTAGE_V
from plugcast.domain.units import MAX_POWER_KW
from plugcast.errors import MissingColumnsError
from plugcast.ports import MeterRead
from plugcast.schemas import METER_VALUES, conform

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_TEXTS: Final = ("session_id", "site_id", "station_id")
_NUMBERS: Final = (
    ("power_kw", "power_w", -MAX_POWER_KW, MAX_POWER_KW, "kW"),
    ("offered_current_a", "", 0.0, MAX_CURRENT_A, "A"),
    ("measured_current_a", "", -MAX_CURRENT_A, MAX_CURRENT_A, "A"),
    ("voltage_v", "", 0.0, MAX_VOLTAGE_V, "V"),
    ("energy_register_kwh", "energy_register_wh", 0.0, MAX_REGISTER_KWH, "kWh"),
)
"""Our column, the one in thousandths that may stand for it, bounds and unit."""
_HINT: Final = "docs/reference/columns.md lists the accepted names."
_SUFFIXES: Final = (".gz", ".csv", ".parquet")


class MeterFile:
    """A ``ports.MeterSource`` over one file.

    Rows stay in the file's order, which is taken for the order in which they came; a file that is written newest first
    is turned round. A file without columns for session and station belongs to the session that it is named after.

    Args:
        path: CSV (also gzip) or Parquet; told apart by content.
        now: The reader's clock; what lies more than a day after it is refused.
        time_zone: IANA zone of times that carry no offset.

    Raises:
        ConfigError: There is no such time zone.
    """

    def __init__(self, path: Path | str, *, now: datetime, time_zone: str = "UTC") -> None:
        self._path = Path(path)
        self._now = now
        self._time_zone = check_zone(time_zone)

    def read(self) -> MeterRead:
        """Everything the file holds.

        Raises:
            UnreadableInputError: The file is missing, empty, damaged or no table.
            MissingColumnsError: There is no instant, or nothing that was measured.
            InputError: Two columns mean the same, or nothing tells day from month.
        """
        table = read_table(self._path)
        positions = match(table.names, METER_FIELDS, source=table.source, hint=_HINT)
        if not any(name in positions for pair in _NUMBERS for name in pair[:2]):
            raise MissingColumnsError(
                table.source, missing=[pair[0] for pair in _NUMBERS], found=table.names, hint="One is enough. " + _HINT
            )
        cells = {name: (position,) for name, position in positions.items()}
        for name, other, *_ in _NUMBERS:
            if name not in cells and other in cells:
                cells[name] = cells[other]
        accepted, rejected = split(self._parsed(table, positions), table, cells, self._checks())
        kept = conform(accepted.select(list(METER_VALUES)), METER_VALUES, source=table.source)
        if not {"session_id", "station_id"} & set(positions):
            kept = kept.with_columns(session_id=pl.lit(_stem(self._path)))
        return MeterRead(values=_oldest_first(kept), rejected=tuple(rejected))

    def _parsed(self, table: Table, positions: Mapping[str, int]) -> pl.DataFrame:
        height = table.frame.height
        columns = [table.frame[ROW], table.frame[EXTRA], *self._instants(table, positions)]
        for name in _TEXTS:
            found = native(table, positions, name)
            empty = pl.Series(name, [None], dtype=pl.String).new_from_index(0, height)
            columns.append(empty if found is None else cleaned(found).alias(name))
        for name, other, _, high, _unit in _NUMBERS:
            found, factor = native(table, positions, name), 1.0
            if found is None and other:
                found, factor = native(table, positions, other), 1e-3
            if found is None:
                found = pl.Series(name, [None], dtype=pl.Float64).new_from_index(0, height)
            values, bad = parse_numbers(found, largest=high / factor)
            columns += [(values * factor).alias(name), bad.alias(f"{name}.bad")]
        return pl.DataFrame(columns)

    def _instants(self, table: Table, positions: Mapping[str, int]) -> list[pl.Series]:
        column = table.frame[f"c{positions['measured_at']}"]
        order = DateOrder(infer_order([column], source=table.source))
        at = localise(parse_times(column.alias("cell"), order), self._time_zone)["at"]
        given = cleaned(column).is_not_null() if column.dtype == pl.String else column.is_not_null()
        bad = at.is_null() & given
        return [
            at.alias("measured_at"),
            bad.alias("measured_at.bad"),
            (bad & ~bad).alias("measured_at.untold"),
        ]

    def _checks(self) -> list[Check]:
        checks = [surplus(), *time_checks("measured_at", now=self._now, zone=self._time_zone)]
        for name in _TEXTS:
            checks += text_checks(name)
        for name, _, low, high, unit in _NUMBERS:
            checks += [not_a_number(name), out_of_range(name, low, high, unit=unit)]
        return checks


def _stem(path: Path) -> str:
    name = path.name
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _oldest_first(values: pl.DataFrame) -> pl.DataFrame:
    """A file that steps back more often than on is written newest first."""
    steps = values["measured_at"].diff()
    back, on = int((steps.dt.total_microseconds() < 0).sum()), int((steps.dt.total_microseconds() > 0).sum())
    return values.reverse() if back > on else values
