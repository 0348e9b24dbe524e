"""Needs from the rows of a table: parsed, checked, and the bad ones kept with their reasons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from plugcast.domain.rejected import RAW_LIMIT, Rejected, RejectReason
from plugcast.domain.units import EARLIEST_AT, LATEST_AT, MAX_POWER_KW, MAX_SESSION_ENERGY_KWH, MAX_SITE_VALUE
from plugcast.domain.zones import meanings
from plugcast.errors import MissingColumnsError
from plugcast.handwritten import UNDECODABLE
from plugcast.schedule.problem import VehicleNeed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "session_id": ("session_id", "session", "sessionid"),
    "station_id": ("station_id", "station", "stationid"),
    "arrival": ("arrival", "arrival_at", "connection_time", "connectiontime"),
    "departure": ("departure", "departure_at", "disconnect_time", "disconnecttime"),
    "energy_kwh": ("energy_kwh", "energy_needed_kwh", "kwh_delivered", "kwhdelivered", "energy_delivered_kwh"),
    "max_power_kw": ("max_power_kw", "power_kw"),
    "value_per_kwh": ("value_per_kwh",),
}
"""Accepted names of each column, lower case."""
_OPTIONAL: Final = frozenset({"value_per_kwh"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsRead:
    """What a table of needs gave."""

    needs: tuple[VehicleNeed, ...]
    rejected: tuple[Rejected, ...]
    duplicates: int
    """Rows that repeat an earlier one."""


class _BadRowError(ValueError):
    """Carries the reason out of a row's parsing; never leaves this module."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(detail)


def needs_from_rows(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    source: str,
    time_zone: str = "UTC",
    max_power_kw: float | None = None,
    station_kw: Mapping[str, float] | None = None,
) -> NeedsRead:
    """One need a row.

    Args:
        header: Column names, any of ``ALIASES``.
        rows: One car each.
        source: Name of the table, for messages.
        time_zone: Of times without an offset; one that the clock skips or passes twice is rejected.
        max_power_kw: Fills that column.
        station_kw: What stations can deliver at most; caps the cars there, and fills the column too.

    Raises:
        MissingColumnsError: A column of ``ALIASES`` is missing.
    """
    place = _columns(header, source, has_power=max_power_kw is not None or bool(station_kw))
    zone = ZoneInfo(time_zone)
    found: dict[str, VehicleNeed] = {}
    rejected: list[Rejected] = []
    duplicates = 0
    for number, row in enumerate(rows, start=1):
        if not any(cell.strip() for cell in row):
            continue
        cells = {name: row[index].strip() if index < len(row) else "" for name, index in place.items()}
        try:
            _decodable(cells)
            need = _need(cells, zone, max_power_kw, station_kw or {})
            _same_as_before(need, found.get(need.session_id))
        except _BadRowError as bad:
            raw = ",".join(row)[:RAW_LIMIT]
            rejected.append(Rejected(source=source, row=number, reason=bad.reason, detail=bad.detail, raw=raw))
            continue
        duplicates += need.session_id in found
        found.setdefault(need.session_id, need)
    return NeedsRead(needs=tuple(found.values()), rejected=tuple(rejected), duplicates=duplicates)


def _columns(header: Sequence[str], source: str, *, has_power: bool) -> dict[str, int]:
    lower = [name.strip().lower() for name in header]
    place = {
        name: next(lower.index(alias) for alias in aliases if alias in lower)
        for name, aliases in ALIASES.items()
        if any(alias in lower for alias in aliases)
    }
    optional = _OPTIONAL | ({"max_power_kw"} if has_power else frozenset())
    missing = [name for name in ALIASES if name not in place and name not in optional]
    if missing:
        hint = "The first two lines of such a file: " + EXAMPLE.replace("\n", " / ")
        if missing == ["max_power_kw"]:
            hint = "Add the column, or give --max-power KW for all cars."
        raise MissingColumnsError(source, missing=missing, found=header, hint=hint)
    return place


EXAMPLE: Final = (
    "session_id,station_id,arrival,departure,energy_kwh,max_power_kw\n"
    "car-1,A1,2019-03-04T08:00:00-08:00,2019-03-04T17:00:00-08:00,18.5,6.6"
)
"""A header and one row."""


def _need(
    cells: Mapping[str, str], zone: ZoneInfo, max_power_kw: float | None, station_kw: Mapping[str, float]
) -> VehicleNeed:
    for name in ("session_id", "station_id", "arrival", "departure", "energy_kwh"):
        if not cells[name]:
            raise _BadRowError(RejectReason.MISSING_VALUE, f"{name} is empty")
    arrival, departure = _instant(cells["arrival"], zone), _instant(cells["departure"], zone)
    if departure <= arrival:
        detail = f"departure {cells['departure']} is not after arrival {cells['arrival']}"
        raise _BadRowError(RejectReason.END_BEFORE_START, detail)
    power, station = cells.get("max_power_kw", ""), station_kw.get(cells["station_id"])
    told = _number("max_power_kw", power, MAX_POWER_KW) if power else max_power_kw
    if told is None and station is None:
        raise _BadRowError(RejectReason.MISSING_VALUE, "max_power_kw is empty")
    value = cells.get("value_per_kwh", "")
    return VehicleNeed(
        session_id=cells["session_id"],
        station_id=cells["station_id"],
        arrival_at=arrival,
        departure_at=departure,
        energy_needed_kwh=_number("energy_kwh", cells["energy_kwh"], MAX_SESSION_ENERGY_KWH),
        max_power_kw=min(limit for limit in (told, station) if limit is not None),
        value_per_kwh=_number("value_per_kwh", value, MAX_SITE_VALUE) if value else None,
    )


def _decodable(cells: Mapping[str, str]) -> None:
    for name, text in cells.items():
        if UNDECODABLE in text:
            raise _BadRowError(RejectReason.UNDECODABLE, f"{name} is not UTF-8: {text!r}")


def _same_as_before(need: VehicleNeed, before: VehicleNeed | None) -> None:
    if before is not None and before != need:
        detail = f"session {need.session_id!r} came before with other values"
        raise _BadRowError(RejectReason.CONFLICTING_DUPLICATE, detail)


def _instant(text: str, zone: ZoneInfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _BadRowError(RejectReason.BAD_TIME, f"wanted a time like 2019-03-04T08:00:00, found {text!r}") from None
    if moment.tzinfo is None:
        meant = meanings(moment, zone)
        if not meant:
            raise _BadRowError(RejectReason.BAD_TIME, f"{text} does not exist in {zone.key}: the clock skips it")
        if len(meant) > 1:
            detail = f"{text} comes twice in {zone.key}: write its offset"
            raise _BadRowError(RejectReason.AMBIGUOUS_TIME, detail)
        moment = meant[0]
    moment = moment.astimezone(UTC)
    if not EARLIEST_AT <= moment <= LATEST_AT:
        raise _BadRowError(RejectReason.TIME_OUT_OF_RANGE, f"{text} is not between 2005 and 2100")
    return moment


def _number(name: str, text: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _BadRowError(RejectReason.NOT_A_NUMBER, f"{name}: wanted a number, found {text!r}") from None
    if not isfinite(value):
        raise _BadRowError(RejectReason.NOT_A_NUMBER, f"{name}: wanted a number, found {text!r}")
    if not 0 <= value <= most:
        raise _BadRowError(RejectReason.OUT_OF_RANGE, f"{name} is {text}; wanted 0 to {most:g}")
    return value
