"""Public holidays as functions of the year: a day off looks like a Sunday, whatever its weekday."""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from typing import Final

MONDAY, THURSDAY = 0, 3
SATURDAY, SUNDAY = 5, 6
JUNETEENTH_SINCE: Final = 2022


def easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (Meeus, Jones, Butcher).

    >>> easter(2019)
    datetime.date(2019, 4, 21)
    """
    century, golden = year // 100, year % 19
    epact = (century - century // 4 - (8 * century + 13) // 25 + 19 * golden + 15) % 30
    epact -= (epact // 28) * (1 - (29 // (epact + 1)) * ((21 - golden) // 11))
    to_sunday = (year + year // 4 + epact + 2 - century + century // 4) % 7
    offset = epact - to_sunday
    month = 3 + (offset + 40) // 44
    return date(year, month, offset + 28 - 31 * (month // 4))


def united_states(year: int) -> frozenset[date]:
    """Days on which most workplaces of the United States are closed, on the weekday they are kept.

    Columbus Day and Veterans Day are federal holidays on which most people work, so they are left out; the day after
    Thanksgiving and the eves of Christmas and New Year are in.

    >>> date(2019, 11, 28) in united_states(2019), date(2019, 10, 14) in united_states(2019)
    (True, False)
    """
    thanksgiving = _nth(year, 11, THURSDAY, 4)
    fixed = {_kept(date(year, month, day)) for month, day in ((1, 1), (7, 4), (12, 25))}
    fixed |= {date(year, 12, 24), date(year, 12, 31)}
    if year >= JUNETEENTH_SINCE:
        fixed.add(_kept(date(year, 6, 19)))
    last_of_may = max(day for day in (date(year, 5, 25) + timedelta(i) for i in range(7)) if day.weekday() == MONDAY)
    moving = {
        _nth(year, 1, MONDAY, 3),
        _nth(year, 2, MONDAY, 3),
        last_of_may,
        _nth(year, 9, MONDAY, 1),
        thanksgiving,
        thanksgiving + timedelta(1),
    }
    return frozenset(fixed | moving)


def norway(year: int) -> frozenset[date]:
    """Norway's public holidays.

    >>> date(2019, 5, 30) in norway(2019)  # Ascension Day
    True
    """
    fixed = {(1, 1), (5, 1), (5, 17), (12, 25), (12, 26)}
    sunday = easter(year)
    return frozenset(
        {date(year, month, day) for month, day in fixed}
        | {sunday + timedelta(days) for days in (-3, -2, 0, 1, 39, 49, 50)}
    )


_UNITED_STATES_ZONES: Final = frozenset(
    f"America/{city}" for city in ("Los_Angeles", "New_York", "Chicago", "Denver", "Phoenix", "Detroit", "Anchorage")
)


def is_day_off(day: date, time_zone: str) -> bool:
    """Whether a local date is a public holiday of the country whose zone this is; False where we have no table."""
    return day in _of(day.year, time_zone)


@lru_cache(maxsize=256)
def _of(year: int, time_zone: str) -> frozenset[date]:
    if time_zone in _UNITED_STATES_ZONES:
        return united_states(year)
    return norway(year) if time_zone == "Europe/Oslo" else frozenset()


def _nth(year: int, month: int, weekday: int, number: int) -> date:
    first = date(year, month, 1)
    return first + timedelta((weekday - first.weekday()) % 7 + 7 * (number - 1))


def _kept(day: date) -> date:
    """A holiday on a Saturday is kept on the Friday before, one on a Sunday on the Monday after."""
    return day + timedelta({SATURDAY: -1, SUNDAY: 1}.get(day.weekday(), 0))
