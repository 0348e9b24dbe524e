"""Time-of-use tariffs from JSON sheets; a series of day-ahead prices is read by ``adapters.series``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from math import isfinite
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from plugcast.domain.site import Tariff, TariffPeriod, TariffSeason
from plugcast.errors import InputError, UnreadableInputError
from plugcast.handwritten import read_bytes

if TYPE_CHECKING:
    from pathlib import Path

BUILTIN_TARIFF: Final = "sce_tou_ev_4_march_2019.json"
"""Southern California Edison, Schedule TOU-EV-4 as of March 2019."""

_DAYS: Final = {"WEEKDAYS": (0, 1, 2, 3, 4), "WEEKENDS": (5, 6), "ALL": (0, 1, 2, 3, 4, 5, 6)}
_DAY_MARK: Final = re.compile(r"(\d{1,2})-(\d{1,2})")


class _Entry(msgspec.Struct, frozen=True):
    id: str
    effective_start: str
    effective_end: str
    dow_mask: str
    times: list[float]
    tariffs: list[float]
    demand_charge: float = 0.0


class _Sheet(msgspec.Struct, frozen=True):
    name: str
    schedule: list[_Entry]
    effective: str = ""
    time_zone: str | None = None
    currency: str = "USD"
    feed_in: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonTariff:
    """A tariff sheet on disk; implements ``PriceSource``.

    The format is that of the ACN simulator's sheets: a list of seasons and day types, each with the hours at which
    prices change. ``time_zone`` holds where the sheet names none.
    """

    path: Path
    time_zone: str = "UTC"

    def tariff(self) -> Tariff:
        """Read the sheet.

        Raises:
            UnreadableInputError: The file is missing or not of this kind.
            InputError: Its numbers contradict each other.
        """
        return parse_tariff(read_bytes(self.path, what="Tariff"), source=str(self.path), time_zone=self.time_zone)


def builtin_tariff() -> Tariff:
    """The example that Plugcast ships: Southern California Edison TOU-EV-4, March 2019."""
    content = (files("plugcast.adapters") / "data" / BUILTIN_TARIFF).read_bytes()
    return parse_tariff(content, source=BUILTIN_TARIFF)


def parse_tariff(content: bytes, *, source: str, time_zone: str = "UTC") -> Tariff:
    """A tariff from the JSON of a sheet.

    Raises:
        UnreadableInputError: Not JSON, or not of this shape.
        InputError: Numbers contradict each other; the message names season and value.
    """
    try:
        sheet = msgspec.json.decode(content, type=_Sheet)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableInputError(
            f"Tariff {source}: wanted JSON with name and schedule[id, effective_start, effective_end, dow_mask, times, "
            f"tariffs, demand_charge]; found: {error}."
        ) from error
    if not sheet.schedule:
        raise InputError(f"Tariff {source}: the schedule is empty. Give at least one season.")
    zone = sheet.time_zone or time_zone
    _zone(zone, source)
    return Tariff(
        name=sheet.name,
        time_zone=zone,
        seasons=tuple(_season(entry, source) for entry in sheet.schedule),
        currency=sheet.currency,
        feed_in_per_kwh=sheet.feed_in,
    )


def _season(entry: _Entry, source: str) -> TariffSeason:
    where = f"Tariff {source}, {entry.id!r}"
    if entry.dow_mask not in _DAYS:
        raise InputError(f"{where}: dow_mask {entry.dow_mask!r}; wanted one of {', '.join(_DAYS)}.")
    if len(entry.times) != len(entry.tariffs) or not entry.times:
        raise InputError(
            f"{where}: {len(entry.times)} times and {len(entry.tariffs)} prices; wanted as many of one as of the other."
        )
    if sorted(set(entry.times)) != entry.times or not 0 <= entry.times[0] <= entry.times[-1] < 24:  # noqa: PLR2004 - hours
        raise InputError(f"{where}: times {entry.times}; wanted ascending hours from 0 to below 24.")
    if not all(isfinite(number) for number in (*entry.tariffs, entry.demand_charge)) or entry.demand_charge < 0:
        raise InputError(f"{where}: prices must be numbers and the demand charge not negative.")
    return TariffSeason(
        name=entry.id,
        starts_on=_day_mark(entry.effective_start, where),
        ends_on=_day_mark(entry.effective_end, where),
        days=_DAYS[entry.dow_mask],
        periods=tuple(
            TariffPeriod(from_hour=hour, price_per_kwh=price)
            for hour, price in zip(entry.times, entry.tariffs, strict=True)
        ),
        demand_charge_per_kw=entry.demand_charge,
    )


def _day_mark(text: str, where: str) -> str:
    """``MM-DD`` with both digits: sheets in use also write ``9-30``, which would compare wrongly as text."""
    found = _DAY_MARK.fullmatch(text.strip())
    if found is None or not (1 <= int(found[1]) <= 12 and 1 <= int(found[2]) <= 31):  # noqa: PLR2004 - calendar
        raise InputError(f"{where}: date {text!r}; wanted month and day, like 06-01.")
    return f"{int(found[1]):02d}-{int(found[2]):02d}"


def _zone(name: str, source: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(f"{source}: {name!r} is not a time zone; write one like 'Europe/Oslo'.") from error
