"""Values over time from files: day-ahead prices, PV or any power, one instant and one number a row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from math import isfinite
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from plugcast.domain.rejected import RAW_LIMIT, Rejected, RejectReason
from plugcast.domain.units import MAX_SITE_VALUE
from plugcast.errors import InputError, MissingColumnsError, NoUsableRowsError, UnreadableInputError
from plugcast.handwritten import read_csv_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt

_TIME_COLUMNS: Final = ("start_at", "timestamp", "datetime", "time", "start", "hour", "date", "datetime (utc)")
PRICE_COLUMNS: Final = ("price_per_kwh", "price_per_mwh", "price", "price (eur/mwhe)", "price (eur/mwh)", "eur/mwh")
POWER_COLUMNS: Final = ("pv_kw", "power_kw", "kw", "pv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Values over equal steps, each holding from its instant for one step."""

    source: str
    start_s: npt.NDArray[np.int64]
    """Epoch seconds, ascending, each once."""
    value: npt.NDArray[np.float64]
    step_s: int
    """The commonest distance between instants."""
    rejected: tuple[Rejected, ...] = ()
    duplicates: int = 0

    def over(
        self, start_at: datetime, slots: int, slot_min: int, *, fill: bool = False
    ) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
        """The mean value of each slot, [slots], and notes on what was filled.

        With ``fill`` a missing step takes the value of the same hour on the day before (up to seven days back).

        Raises:
            InputError: A step is missing and may not, or cannot, be filled; the message names the first.
        """
        begin_s = int(start_at.timestamp())
        # so fine that no piece lies in two steps, wherever the slots begin
        fine_s = math.gcd(self.step_s, slot_min * 60, begin_s - int(self.start_s[0]))
        at = begin_s + fine_s * np.arange(slots * slot_min * 60 // fine_s)
        value, known = self._at(at)
        missing = np.flatnonzero(~known)
        notes: tuple[str, ...] = ()
        if missing.size:
            value, known = self._filled(at, value, known) if fill else (value, known)
            first = _instant(int(at[missing[0]]))
            gaps = f"{missing.size * fine_s / 3600:g} h from {first.isoformat()} on"
            if not known.all():
                begin, end = _instant(int(self.start_s[0])), _instant(int(self.start_s[-1]) + self.step_s)
                raise InputError(
                    f"{self.source} has no value for {gaps}; it holds {begin.isoformat()} to {end.isoformat()}"
                    f"{self._told_of_rejected()}. Plan a window inside it, supply the gap, or "
                    + (
                        "name another day: the seven before hold none of that hour either."
                        if fill
                        else "take it from the same hour of an earlier day with --fill."
                    )
                )
            notes = (f"{self.source}: {gaps} missing, taken from the same hour of an earlier day.",)
        return value.reshape(slots, -1).mean(axis=1), notes

    def _told_of_rejected(self) -> str:
        if not self.rejected:
            return ""
        first = self.rejected[0]
        return f"; {len(self.rejected)} rows were rejected, the first is row {first.row}: {first.detail}"

    def _at(self, at: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        index = np.searchsorted(self.start_s, at, side="right") - 1
        near = np.maximum(index, 0)
        known = (index >= 0) & (at - self.start_s[near] < self.step_s)
        return np.where(known, self.value[near], np.nan), known

    def _filled(
        self, at: npt.NDArray[np.int64], value: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        for days in range(1, 8):
            earlier, found = self._at(at - days * 86_400)
            value, known = np.where(known, value, earlier), known | found
        return value, known


def read_series(path: Path, *, columns: Sequence[str] = PRICE_COLUMNS, time_zone: str | None = None) -> Series:
    """A series from CSV or Parquet with an instant and a value in each row.

    A value column whose name speaks of MWh is divided by 1000. Instants are ISO 8601 or ``dd/mm/yyyy HH:MM``, mixed
    if need be; without an offset they are UTC where the column's name says so, else local to ``time_zone``
    (a local hour that comes twice in autumn counts as the first one first).

    Raises:
        UnreadableInputError: The file is missing or not a table.
        MissingColumnsError: No column of the accepted names is there.
        NoUsableRowsError: No row could be used.
    """
    header, rows = _table(path)
    time_column = _column(path, header, _TIME_COLUMNS)
    value_column = _column(path, header, columns)
    scale = 1e-3 if "mwh" in value_column.lower() else 1.0
    zone = UTC if "utc" in time_column.lower() else (_zone(time_zone, str(path)) if time_zone else None)
    values: dict[int, float] = {}
    rejected: list[Rejected] = []
    duplicates = 0
    seen: set[datetime] = set()
    for number, (when, amount) in enumerate(_pick(header, rows, time_column, value_column), start=1):
        instant = _parse_instant(when, zone, seen)
        value = _parse_number(amount)
        reason = RejectReason.BAD_TIME if instant is None else RejectReason.NOT_A_NUMBER if value is None else None
        if value is not None and abs(value * scale) > MAX_SITE_VALUE:
            reason = reason or RejectReason.OUT_OF_RANGE
        elif instant is not None and value is not None:
            key = int(instant.timestamp())
            if key not in values:
                values[key] = value * scale
                continue
            if values[key] == value * scale:
                duplicates += 1
                continue
            reason = RejectReason.CONFLICTING_DUPLICATE
        rejected.append(_reject(path, number, reason or RejectReason.BAD_TIME, when, amount))
    if not values:
        raise NoUsableRowsError(
            f"{path}: none of {len(rejected)} rows has a usable instant and value"
            f"{f'; the first: {rejected[0].detail}' if rejected else ''}. Instants need an offset or a named time zone."
        )
    start_s = np.array(sorted(values), dtype=np.int64)
    steps = np.diff(start_s)
    lengths, times = np.unique(steps, return_counts=True)
    step_s = int(lengths[times.argmax()]) if steps.size else 3600
    return Series(
        source=path.name,
        start_s=start_s,
        value=np.array([values[key] for key in start_s.tolist()]),
        step_s=step_s,
        rejected=tuple(rejected),
        duplicates=duplicates,
    )


def _table(path: Path) -> tuple[list[str], Iterable[Sequence[object]]]:
    if path.suffix == ".parquet":
        import polars as pl  # noqa: PLC0415 - heavy, and needed for this kind of file only

        try:
            frame = pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise UnreadableInputError(f"{path} cannot be read as Parquet: {error}") from error
        return frame.columns, frame.iter_rows()
    lines = read_csv_rows(path, what="Series")
    return [name.strip() for name in lines[0]], lines[1:]


def _column(path: Path, header: Sequence[str], accepted: Sequence[str]) -> str:
    by_lower = {name.lower(): name for name in header}
    for name in accepted:
        if name in by_lower:
            return by_lower[name]
    raise MissingColumnsError(
        str(path), missing=accepted[:1], found=header, hint=f"Accepted names: {', '.join(accepted)}."
    )


def _pick(
    header: Sequence[str], rows: Iterable[Sequence[object]], first: str, second: str
) -> Iterable[tuple[object, object]]:
    one, two = header.index(first), header.index(second)
    for row in rows:
        if row:
            yield (row[one] if one < len(row) else None), (row[two] if two < len(row) else None)


def _parse_instant(when: object, zone: tzinfo | None, seen: set[datetime]) -> datetime | None:
    """The instant; ``seen`` keeps the local times met so far."""
    moment = when if isinstance(when, datetime) else _parse_text(str(when or "").strip())
    if moment is None or moment.tzinfo is not None:
        return moment
    if zone is None:
        return None
    fold = int(moment in seen)  # the second coming of a local time is the later one, where the clocks went back
    seen.add(moment)
    return moment.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _parse_text(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        return datetime.strptime(text, "%d/%m/%Y %H:%M")  # noqa: DTZ007 - the caller gives it its zone
    except ValueError:
        return None


def _parse_number(amount: object) -> float | None:
    try:
        value = float(str(amount).strip())
    except ValueError:
        return None
    return value if isfinite(value) else None


def _reject(path: Path, row: int, reason: RejectReason, when: object, amount: object) -> Rejected:
    detail = {
        RejectReason.BAD_TIME: f"wanted an instant with an offset or in a named time zone, found {when!r}",
        RejectReason.NOT_A_NUMBER: f"wanted a number, found {amount!r}",
        RejectReason.OUT_OF_RANGE: f"wanted at most {MAX_SITE_VALUE:g} in size, found {amount!r}",
        RejectReason.CONFLICTING_DUPLICATE: f"another value for {when!r} came first; found {amount!r}",
    }[reason]
    return Rejected(source=path.name, row=row, reason=reason, detail=detail, raw=f"{when},{amount}"[:RAW_LIMIT])


def _zone(name: str, source: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(f"{source}: {name!r} is not a time zone; write one like 'Europe/Oslo'.") from error


def _instant(epoch_s: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=epoch_s)
