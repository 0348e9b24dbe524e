"""Vehicle telemetry from a CSV or Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from plugcast.adapters.tables.aliases import RENAME, TELEMETRY_FIELDS, match
from plugcast.adapters.tables.frames import EXTRA, ROW, Table, cell, read_table
from plugcast.adapters.tables.numbers import cleaned, parse_flags, parse_numbers
from plugcast.adapters.tables.rows import (
    Check,
    in_order,
    missing,
    native,
    not_a_number,
    out_of_range,
    set_apart_repeats,
    split,
    surplus,
    text_checks,
    time_checks,
)
from plugcast.adapters.tables.times import (
    DateOrder,
    check_zone,
    infer_order,
    join_date,
    localise,
    parse_times,
    resolve_folds,
)
from plugcast.domain.rejected import RejectReason
from plugcast.domain.units import MAX_CAPACITY_KWH, MAX_POWER_KW, SOC_RANGE_PCT
from plugcast.errors import InputError
from plugcast.ports import TelemetryRead
from plugcast.schemas import TELEMETRY, conform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

_HINT_ASSET: Final = "A file of one vehicle: plugcast read --asset-id NAME --out FILE names it. " + RENAME


class TelemetryFile:
    """A ``ports.TelemetrySource`` over one file.

    Args:
        path: CSV (also gzip) or Parquet; told apart by content.
        time_zone: IANA zone of times that carry no offset.
        date_order: How dates are written; None lets the whole column decide.
        now: The reader's clock; what lies more than a day after it is refused.
        columns: Our column name to the file's, where aliases do not serve.
        asset_id: The vehicle, for a file of one vehicle without a column for it.

    Raises:
        ConfigError: There is no such time zone.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        time_zone: str = "UTC",
        date_order: DateOrder | str | None = None,
        now: datetime,
        columns: Mapping[str, str] | None = None,
        asset_id: str | None = None,
    ) -> None:
        self._path = Path(path)
        self._time_zone = check_zone(time_zone)
        self._date_order = DateOrder(date_order) if date_order else None
        self._now = now
        self._columns = dict(columns or {})
        self._asset_id = asset_id

    def read(self) -> TelemetryRead:
        """Everything the file holds; ``samples`` are TELEMETRY, ``gap_flag`` where given, and unknown columns as found.

        Raises:
            UnreadableInputError: The file is missing, empty, damaged or no table.
            MissingColumnsError: A required column goes by no known name.
            InputError: Two columns mean the same, or nothing tells day from month.
        """
        table = read_table(self._path)
        given = () if self._asset_id is None else ("asset_id",)
        positions = match(
            table.names,
            TELEMETRY_FIELDS,
            source=table.source,
            declared=self._columns,
            given=given,
            hint=_HINT_ASSET if self._asset_id is None else RENAME,
        )
        if self._asset_id is not None and "asset_id" in positions:
            raise InputError(
                f"{table.source}: has the column {table.names[positions['asset_id']]!r} for the vehicle, and an "
                "--asset-id was given. Leave one of them out."
            )
        accepted, rejected = split(self._parsed(table, positions), table, _quotable(positions), self._checks(positions))
        kept, duplicates, conflicts = set_apart_repeats(
            accepted, table, key=("asset_id", "timestamp"), values=("soc", "is_plugged_in")
        )
        if "available_at" in positions:
            kept = kept.sort(["asset_id", "available_at", "timestamp"])
        return TelemetryRead(
            samples=_samples(kept, table, positions), rejected=in_order(rejected, conflicts), duplicates=duplicates
        )

    def _parsed(self, table: Table, positions: Mapping[str, int]) -> pl.DataFrame:
        asset = native(table, positions, "asset_id")
        if asset is None:
            asset = pl.Series("asset_id", [self._asset_id], dtype=pl.String).new_from_index(0, table.frame.height)
        columns = [cleaned(asset).alias("asset_id"), table.frame[ROW], table.frame[EXTRA]]
        for name, largest in (
            ("soc", SOC_RANGE_PCT[1]),
            ("power_kw", MAX_POWER_KW),
            ("capacity_kwh", MAX_CAPACITY_KWH),
        ):
            found = native(table, positions, name)
            if found is not None:
                values, bad = parse_numbers(found, largest=largest)
                columns += [values.alias(name), bad.alias(f"{name}.bad")]
            else:
                columns.append(_nulls(name, pl.Float64(), table.frame.height))
        for name in ("is_plugged_in", "gap_flag"):
            found = native(table, positions, name)
            if found is not None:
                flags, bad = parse_flags(found)
                columns += [flags.alias(name), bad.alias(f"{name}.bad")]
        columns += self._instants(table, positions, columns[0])
        frame = pl.DataFrame(columns).with_columns(pl.lit(False).alias("asset_id.bad"))
        return _with_availability(frame)

    def _instants(self, table: Table, positions: Mapping[str, int], asset: pl.Series) -> list[pl.Series]:
        cells = {"timestamp": _time_cells(table, positions), "available_at": native(table, positions, "available_at")}
        found = {name: column for name, column in cells.items() if column is not None}
        order = self._date_order or infer_order(list(found.values()), source=table.source)
        columns: list[pl.Series] = []
        for name, column in found.items():
            at, untold = resolve_folds(localise(parse_times(column, order), self._time_zone), asset)
            given = cleaned(column).is_not_null() if column.dtype == pl.String else column.is_not_null()
            columns += [
                at.alias(name),
                untold.alias(f"{name}.untold"),
                (at.is_null() & given & ~untold).alias(f"{name}.bad"),
            ]
        return columns

    def _checks(self, positions: Mapping[str, int]) -> list[Check]:
        low, high = SOC_RANGE_PCT
        checks = [surplus(), missing("asset_id"), *text_checks("asset_id")]
        checks += time_checks("timestamp", now=self._now, zone=self._time_zone)
        checks += [not_a_number("soc"), missing("soc"), out_of_range("soc", low, high, unit="%")]
        checks += [_undecided("is_plugged_in"), missing("is_plugged_in")]
        if "power_kw" in positions:
            # a car that feeds back (V2G) has negative power
            checks += [not_a_number("power_kw"), out_of_range("power_kw", -MAX_POWER_KW, MAX_POWER_KW, unit="kW")]
        if "capacity_kwh" in positions:
            checks += [not_a_number("capacity_kwh"), out_of_range("capacity_kwh", 1.0, MAX_CAPACITY_KWH, unit="kWh")]
        if "gap_flag" in positions:
            checks.append(_undecided("gap_flag"))
        if "available_at" in positions:
            checks += time_checks("available_at", now=self._now, zone=self._time_zone, required=False)
        return checks


def _undecided(field: str) -> Check:
    return Check(
        failed=pl.col(f"{field}.bad"),
        reason=RejectReason.UNDECODABLE,
        field=field,
        wanted="true, false, yes, no, 1 or 0",
    )


def _time_cells(table: Table, positions: Mapping[str, int]) -> pl.Series | None:
    time, date = native(table, positions, "timestamp"), native(table, positions, "date")
    if time is not None and date is not None:
        return join_date(date, time).alias("timestamp")
    return date if time is None else time


def _quotable(positions: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Where a message finds the cells of a column; a separate date belongs to its time."""
    cells: dict[str, tuple[int, ...]] = {name: (position,) for name, position in positions.items()}
    if "date" in positions:
        cells["timestamp"] = (positions["date"], *cells.get("timestamp", ()))
    return cells


def _nulls(name: str, dtype: pl.DataType, height: int) -> pl.Series:
    return pl.Series(name, [None], dtype=dtype).new_from_index(0, height)


def _with_availability(frame: pl.DataFrame) -> pl.DataFrame:
    if "available_at" not in frame.columns:
        return frame.with_columns(pl.col("timestamp").alias("available_at"))
    # a car's clock may run ahead of its server's; nothing is known before it happened
    return frame.with_columns(pl.max_horizontal("available_at", "timestamp").alias("available_at"))


def _samples(kept: pl.DataFrame, table: Table, positions: Mapping[str, int]) -> pl.DataFrame:
    ours = [*TELEMETRY, "gap_flag"] if "gap_flag" in positions else list(TELEMETRY)
    used = set(positions.values())
    unknown = [position for position in range(len(table.names)) if position not in used]
    if not unknown:
        return conform(kept.select(ours), TELEMETRY, source=table.source)
    names = _free_names([table.names[position] for position in unknown], taken=ours)
    rest = table.frame.select(pl.col(cell(position)).alias(name) for position, name in zip(unknown, names, strict=True))
    rows = kept[ROW].cast(pl.UInt32) - 1
    return conform(pl.concat([kept.select(ours), rest.select(pl.all().gather(rows))], how="horizontal"), TELEMETRY)


def _free_names(names: Sequence[str], *, taken: Sequence[str]) -> list[str]:
    """The names made unique by a number, so that no column of the file is lost to another."""
    seen = set(taken)
    free: list[str] = []
    for name in names:
        unique, number = name, 2
        while unique in seen:
            unique, number = f"{name}_{number}", number + 1
        seen.add(unique)
        free.append(unique)
    return free
