"""How numbers, instants and codes are worded on the page; ``static/js/format.js`` says the same in the browser.

Both round half away from zero, so that the first paint and the live page show the same digits.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from math import isfinite
from typing import TYPE_CHECKING, Final

from plugcast.domain.finding import Cause, Severity
from plugcast.services.live import StationStatus

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

MISSING: Final = "—"
DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LARGEST: Final = 1e15
"""What is larger is no figure of a site; nor is NaN."""
SYMBOLS: Final = {"USD": "$", "EUR": "€", "GBP": "£"}

_CAUSES: Final = {
    Cause.FAILED_START: "Charging never started",
    Cause.DERATING: "Charged below its power",
    Cause.EARLY_STOP: "Stopped too early",
    Cause.STUCK_ON: "Kept drawing power",
    Cause.METER_FAULT: "Impossible meter reading",
    Cause.GHOST_SESSION: "Session without a car",
    Cause.OVERSTAY: "Stayed long after charging",
    Cause.UNUSUAL_ENERGY: "Unusual amount of energy",
    Cause.CLOCK_FAULT: "Clock is wrong",
    Cause.OVER_RATING: "Above the rated power",
    Cause.NEVER_DONE: "Never finished charging",
    Cause.UNUSUAL_USE: "Unusual use",
    Cause.TOKEN_MISUSE: "Card used by another car",
    Cause.CHATTER: "Charging on and off",
    Cause.PHASE_LOSS: "A phase is missing",
    Cause.REPLAY: "Repeats an earlier record",
    Cause.SITE_EVENT: "Many stations at once",
}
CAUSES: Final = {cause.value: _CAUSES.get(cause, cause.value.replace("_", " ").capitalize()) for cause in Cause}
SEVERITIES: Final = {severity.value: severity.value.capitalize() for severity in Severity}
STATUSES: Final = {
    StationStatus.CHARGING.value: "Charging",
    StationStatus.WAITING.value: "Waiting",
    StationStatus.DONE.value: "Done",
    StationStatus.FREE.value: "Free",
}
"""In the order in which the page counts them."""


def number(value: float | None, digits: int = 1) -> str:
    """A number with thousands separated, or a dash where there is none.

    >>> number(1234.56), number(0.25), number(None), number(-0.04)
    ('1,234.6', '0.3', '—', '0.0')
    """
    if value is None or not abs(value) < LARGEST:
        return MISSING
    rounded = Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{abs(rounded) if rounded == 0 else rounded:,.{digits}f}"


def money(value: float | None, currency: str, digits: int = 2) -> str:
    """An amount with its currency.

    >>> money(12.5, "USD"), money(12.5, "NOK"), money(-1, "EUR")
    ('$12.50', 'NOK 12.50', '-€1.00')
    """
    text = number(value, digits)
    if text == MISSING:
        return text
    sign, text = ("-", text[1:]) if text.startswith("-") else ("", text)
    return sign + (SYMBOLS[currency] + text if currency in SYMBOLS else f"{currency} {text}")


def percent(share: float | None) -> str:
    """A share of one in whole percents.

    >>> percent(0.125), percent(None)
    ('13 %', '—')
    """
    return MISSING if share is None or not isfinite(share) else f"{number(share * 100, 0)} %"


def significant(value: float) -> str:
    """A figure with three significant digits, never in powers of ten.

    >>> significant(0.012345), significant(1234.5), significant(2)
    ('0.0123', '1,235', '2.00')
    """
    if not isfinite(value):
        return MISSING
    digits = 2 if value == 0 else max(0, 2 - Decimal(value).adjusted())
    return number(value, min(digits, 6))


def change(plan: float, reference: float) -> str:
    """How far the plan lies below or above its reference, in words.

    >>> change(80, 100), change(110, 100), change(100, 100), change(5, 0)
    ('20 % less', '10 % more', 'the same', '—')
    """
    if reference <= 0:
        return MISSING
    share = percent(abs(1 - plan / reference))
    if share == "0 %":
        return "the same"
    return f"{share} {'less' if plan < reference else 'more'}"


def local(at: datetime | int, zone: ZoneInfo) -> datetime:
    """An instant, or epoch seconds, on the site's clock."""
    instant = datetime.fromtimestamp(at, UTC) if isinstance(at, int) else at
    return instant.astimezone(zone)


def day(at: datetime | int, zone: ZoneInfo) -> str:
    """``Tue 5 Mar``."""
    here = local(at, zone)
    return f"{DAYS[here.weekday()]} {here.day} {MONTHS[here.month - 1]}"


def hour(at: datetime | int, zone: ZoneInfo) -> str:
    """``07:45``."""
    return f"{local(at, zone):%H:%M}"


def when(at: datetime | int, zone: ZoneInfo) -> str:
    """``Tue 5 Mar 07:45``."""
    return f"{day(at, zone)} {hour(at, zone)}"


def near(at: datetime, now: datetime, zone: ZoneInfo) -> str:
    """``07:45`` on the day of ``now``, else with its day."""
    return hour(at, zone) if local(at, zone).date() == local(now, zone).date() else when(at, zone)


def zone_name(time_zone: str) -> str:
    """A time zone as people call it.

    >>> zone_name("America/Los_Angeles"), zone_name("UTC")
    ('Los Angeles time', 'UTC')
    """
    return f"{time_zone.rpartition('/')[2].replace('_', ' ')} time" if "/" in time_zone else time_zone
