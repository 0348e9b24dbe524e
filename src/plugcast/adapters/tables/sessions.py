"""Charging sessions from a CSV or Parquet file of any producer."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from plugcast.adapters.tables.aliases import RENAME, SESSION_FIELDS, match, plain
from plugcast.adapters.tables.frames import EXTRA, ROW, Table, read_table
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
    is_zone,
    join_date,
    localise,
    looks_swapped,
    parse_times,
)
from plugcast.domain.rejected import RejectReason
from plugcast.domain.units import MAX_SESSION_ENERGY_KWH
from plugcast.errors import InputError
from plugcast.ports import SessionsRead
from plugcast.schemas import SESSIONS, USER_INPUTS, conform, empty

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_TEXTS: Final = ("session_id", "site_id", "cluster_id", "station_id", "space_id", "user_id", "native_session_id")
_TEXTS_AND_ZONE: Final = (*_TEXTS, "time_zone")
_INSTANTS: Final = {
    "arrival_at": "arrival_date",
    "departure_at": "departure_date",
    "done_charging_at": "",
    "declared_departure_at": "",
    "available_at": "",
}
"""Our instants, each with the column that may hold its date."""
_SHARED_POINT: Final = "sharedid"
_MAX_MINUTES: Final = 60.0 * 24 * 366
_HINT_STATION: Final = "A file of one station: plugcast read --asset-id NAME --out FILE names it. " + RENAME


class SessionsFile:
    """A ``ports.SessionSource`` over one table.

    Args:
        path: CSV (also gzip) or Parquet; told apart by content.
        time_zone: IANA zone of times that carry no offset.
        date_order: How dates are written; None lets the whole file decide.
        now: The reader's clock; what lies more than a day after it is refused.
        columns: Our column name to the file's, where aliases do not serve.
        site_id: The site of rows that name none.
        site_time_zone: The site's own zone, where times are written in another; by default ``time_zone``.
        station_id: The station, for a file of one station without a column for it.

    Raises:
        ConfigError: There is no such time zone.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        now: datetime,
        time_zone: str = "UTC",
        date_order: DateOrder | str | None = None,
        columns: Mapping[str, str] | None = None,
        site_id: str = "site",
        site_time_zone: str | None = None,
        station_id: str | None = None,
    ) -> None:
        self._path = Path(path)
        self._now = now
        self._time_zone = check_zone(time_zone)
        self._site_time_zone = check_zone(site_time_zone) if site_time_zone else self._time_zone
        self._date_order = DateOrder(date_order) if date_order else None
        self._columns = dict(columns or {})
        self._site_id = site_id
        self._station_id = station_id

    def read(self) -> SessionsRead:
        """Every session once; a row without a plug-out is a car that is still there.

        Raises:
            UnreadableInputError: The file is missing, empty, damaged or no table.
            MissingColumnsError: A required column goes by no known name.
            InputError: Two columns mean the same, nothing tells day from month, or the producer swapped them.
        """
        table = read_table(self._path)
        positions = match(
            table.names,
            SESSION_FIELDS,
            source=table.source,
            declared=self._columns,
            given=() if self._station_id is None else ("station_id",),
            hint=_HINT_STATION if self._station_id is None else RENAME,
        )
        _refuse_two(table, positions, station_id=self._station_id)
        parsed = self._parsed(table, positions)
        accepted, rejected = split(parsed, table, _quotable(positions), self._checks(parsed))
        kept, duplicates, conflicts = set_apart_repeats(
            _with_ids(accepted),
            table,
            key=("session_id",),
            values=("station_id", "arrival_at", "departure_at", "energy_delivered_kwh"),
        )
        kept = _with_availability(kept).sort(["arrival_at", "session_id"])
        return SessionsRead(
            sessions=conform(kept.select(list(SESSIONS)), SESSIONS, source=table.source),
            user_inputs=_user_inputs(kept),
            rejected=in_order(rejected, conflicts),
            duplicates=duplicates,
        )

    def _parsed(self, table: Table, positions: Mapping[str, int]) -> pl.DataFrame:
        height = table.frame.height
        columns = [table.frame[ROW], table.frame[EXTRA]]
        for name in _TEXTS_AND_ZONE:
            found = native(table, positions, name)
            columns.append(_nulls(name, height) if found is None else cleaned(found).alias(name))
        frame = pl.DataFrame([*columns, *_energies(table, positions), *self._instants(table, positions)])
        if "claimed" in positions:
            flags, bad = parse_flags(table.frame[f"c{positions['claimed']}"])
            frame = frame.with_columns(flags.alias("claimed"), bad.alias("claimed.bad"))
        station = pl.col("station_id")
        if "station_id" in positions and plain(table.names[positions["station_id"]]) == _SHARED_POINT:
            station = pl.coalesce("station_id", "user_id")
        return frame.with_columns(
            station.fill_null(pl.lit(self._station_id, dtype=pl.String)).alias("station_id"),
            pl.col("site_id").fill_null(self._site_id),
            pl.col("time_zone").fill_null(self._site_time_zone),
            pl.lit(False).alias("station_id.bad"),
        )

    def _instants(self, table: Table, positions: Mapping[str, int]) -> list[pl.Series]:
        cells: dict[str, pl.Series] = {}
        for name, date in _INSTANTS.items():
            time, day = native(table, positions, name), native(table, positions, date)
            found = day if time is None else time if day is None else join_date(day, time).alias(name)
            if found is not None:
                cells[name] = found.alias(name)
        order = self._date_order or infer_order(list(cells.values()), source=table.source)
        times = {name: parse_times(column, order) for name, column in cells.items()}
        if self._date_order is None and order is DateOrder.YMD:
            _refuse_swapped(table, cells, times)
        readings = {name: localise(frame, self._time_zone) for name, frame in times.items()}
        columns: list[pl.Series] = []
        for name, column in cells.items():
            at = readings[name]["at"]
            if name != "arrival_at":
                # a plug-out in a doubled hour is the later one where the earlier would lie before the plug-in
                at = at.zip_with((at >= readings["arrival_at"]["at"]).fill_null(value=True), readings[name]["later"])
            given = cleaned(column).is_not_null() if column.dtype == pl.String else column.is_not_null()
            bad = at.is_null() & given
            columns += [at.alias(name), bad.alias(f"{name}.bad"), (bad & ~bad).alias(f"{name}.untold")]
        return columns

    def _checks(self, parsed: pl.DataFrame) -> list[Check]:
        checks = [surplus()]
        for name in _TEXTS:
            checks += text_checks(name)
        checks.append(missing("station_id"))
        known = [name for name in parsed["time_zone"].unique() if is_zone(name)]
        checks.append(
            Check(
                failed=~pl.col("time_zone").is_in(known),
                reason=RejectReason.UNDECODABLE,
                field="time_zone",
                wanted="an IANA name like 'Europe/Oslo'",
            )
        )
        for name in _INSTANTS:
            if name in parsed.columns:
                latest = self._now if name != "declared_departure_at" else None
                checks += time_checks(name, now=latest, zone=self._time_zone, required=name == "arrival_at")
        checks.append(
            Check(
                failed=pl.col("departure_at") < pl.col("arrival_at"),
                reason=RejectReason.END_BEFORE_START,
                field="departure_at",
                wanted="a plug-out after the plug-in",
            )
        )
        for name, high, unit in _BOUNDS:
            if f"{name}.bad" in parsed.columns:
                checks += [not_a_number(name), out_of_range(name, 0.0, high, unit=unit)]
        return checks


_BOUNDS: Final = (
    ("energy_delivered_kwh", MAX_SESSION_ENERGY_KWH, "kWh"),
    ("energy_requested_kwh", MAX_SESSION_ENERGY_KWH, "kWh"),
    ("minutes_available", _MAX_MINUTES, "min"),
)


def _nulls(name: str, height: int, dtype: pl.DataType | None = None) -> pl.Series:
    return pl.Series(name, [None], dtype=dtype or pl.String()).new_from_index(0, height)


def _refuse_two(table: Table, positions: Mapping[str, int], *, station_id: str | None) -> None:
    """Two columns for one number, or a column and an option for one name, are a question for the user."""
    energies = [
        table.names[positions[name]] for name in ("energy_delivered_kwh", "energy_delivered_wh") if name in positions
    ]
    if len(energies) > 1:
        raise InputError(
            f"{table.source}: the columns {energies[0]!r} (kWh) and {energies[1]!r} (Wh) both hold the energy "
            "delivered. Leave one of them out."
        )
    if station_id is not None and "station_id" in positions:
        raise InputError(
            f"{table.source}: has the column {table.names[positions['station_id']]!r} for the station, and an "
            "--asset-id was given. Leave one of them out."
        )


def _quotable(positions: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Where a message finds the cells of a column, stand-ins and separate dates included."""
    beside = {name: date for name, date in _INSTANTS.items() if date} | {"energy_delivered_kwh": "energy_delivered_wh"}
    cells: dict[str, tuple[int, ...]] = {name: (position,) for name, position in positions.items()}
    for name, other in beside.items():
        if other in positions:
            cells[name] = (positions[other], *cells.get(name, ()))
    return cells


def _energies(table: Table, positions: Mapping[str, int]) -> list[pl.Series]:
    columns: list[pl.Series] = []
    for name, high, _unit in _BOUNDS:
        found, factor = native(table, positions, name), 1.0
        if found is None and name == "energy_delivered_kwh":
            found, factor = native(table, positions, "energy_delivered_wh"), 1e-3
        if found is not None:
            values, bad = parse_numbers(found, largest=high / factor)
            columns += [(values * factor).alias(name), bad.alias(f"{name}.bad")]
    return columns


def _refuse_swapped(table: Table, cells: Mapping[str, pl.Series], times: Mapping[str, pl.DataFrame]) -> None:
    """Year-first dates whose days up to 12 were exchanged with the month make sense of nothing that follows."""
    if any(cells[name].dtype != pl.String for name in ("arrival_at", "departure_at")):
        return
    swapped = {name: parse_times(cells[name], DateOrder.SWAPPED) for name in ("arrival_at", "departure_at")}
    odd, repaired = _odd_stays(times), _odd_stays(swapped)
    if looks_swapped(times["arrival_at"], swapped["arrival_at"]) or (odd >= _TELLING and repaired < odd / 10):
        raise InputError(
            f"{table.source}: day and month look exchanged wherever the day is at most 12: as written, {odd} sessions "
            f"end before they start or last over 20 days, exchanged back {repaired}. Wanted dates as they were. Use "
            "--date-order swapped to exchange them back, or --date-order ymd to take them as written."
        )


_TELLING: Final = 20


def _odd_stays(times: Mapping[str, pl.DataFrame]) -> int:
    plain_times = [
        frame.select(pl.coalesce(pl.col("local"), pl.col("utc").dt.replace_time_zone(None))).to_series()
        for frame in (times["arrival_at"], times["departure_at"])
    ]
    days = (plain_times[1] - plain_times[0]).dt.total_seconds() / 86_400
    return int(((days < 0) | (days > 20)).sum())  # noqa: PLR2004 - as the message says


def _with_ids(frame: pl.DataFrame) -> pl.DataFrame:
    """Sessions without an id get a hash of station, space and arrival, stable from run to run."""
    if not frame["session_id"].has_nulls():
        return frame
    nameless = pl.col("session_id").is_null()
    keys = frame.filter(nameless).select(
        pl.concat_str(
            pl.col("station_id"),
            pl.col("space_id").fill_null(""),
            pl.col("arrival_at").dt.epoch("us"),
            separator="\x1f",
        )
    )
    made = [blake2b(key.encode(), digest_size=12).hexdigest() for key in keys.to_series()]
    where = frame["session_id"].is_null().arg_true()
    return frame.with_columns(frame["session_id"].scatter(where, pl.Series(made, dtype=pl.String)))


def _with_availability(frame: pl.DataFrame) -> pl.DataFrame:
    # a session that runs is known since its plug-in, a completed one since its plug-out; never earlier
    known = pl.coalesce("departure_at", "arrival_at")
    if "available_at" in frame.columns:
        known = pl.max_horizontal("available_at", known)
    absent = [name for name in ("done_charging_at",) if name not in frame.columns]
    return frame.with_columns(
        known.alias("available_at"), *(pl.lit(None, dtype=SESSIONS[name]).alias(name) for name in absent)
    )


def _user_inputs(sessions: pl.DataFrame) -> pl.DataFrame:
    """The drivers' wishes, known from the plug-in on; none where the file has no column for them."""
    wishes = [
        name
        for name in ("energy_requested_kwh", "declared_departure_at", "minutes_available")
        if name in sessions.columns
    ]
    if not wishes:
        return empty(USER_INPUTS)
    told = sessions.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in wishes))
    if "claimed" in told.columns:
        told = told.filter(pl.col("claimed").fill_null(value=True))
    rest = [name for name in USER_INPUTS if name not in {"session_id", "available_at", "user_id", *wishes}]
    return conform(
        told.select(
            "session_id",
            pl.col("arrival_at").alias("available_at"),
            "user_id",
            *wishes,
            *(pl.lit(None, dtype=USER_INPUTS[name]).alias(name) for name in rest),
        ).sort(["session_id", "available_at"]),
        USER_INPUTS,
    )
