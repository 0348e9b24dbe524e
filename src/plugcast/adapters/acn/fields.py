"""Single values of ACN-Data, checked: texts, numbers, instants and time zones as they are seen in the wild."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Final

import msgspec

from plugcast.domain.rejected import RejectReason
from plugcast.domain.units import EARLIEST_AT
from plugcast.domain.zones import known_zone

Scalar = str | int | float | bool | None
"""What a native field may hold before it is checked."""

MAX_TEXT_CHARS: Final = 256
NULL_WORDS: Final = frozenset({"", "nan", "NaN", "NaT", "None", "null", "NULL", "<NA>"})
"""What tables write where JSON says null."""

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_HTTP_DATE: Final = re.compile(
    r"[A-Z][a-z]{2}, ([0-9]{1,2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_DIGITS: Final = re.compile(r"[0-9]+")
_WHOLE: Final = re.compile(r"([0-9]+)\.0")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MAX_INT: Final = 10**18
_SHOWN_CHARS: Final = 60


class Problem(msgspec.Struct, frozen=True):
    """Why a record is not taken; becomes a ``Rejected`` once its place in the source is known."""

    reason: RejectReason
    detail: str


def shown(value: object) -> str:
    """A value as messages quote it: its repr, shortened."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def parse_instant(text: str) -> datetime | None:
    """The instant of an RFC 1123 date in GMT or an ISO 8601 time; naive if it names no offset, None if it is neither.

    >>> parse_instant("Wed, 25 Apr 2018 11:08:04 GMT")
    datetime.datetime(2018, 4, 25, 11, 8, 4, tzinfo=datetime.timezone.utc)
    >>> parse_instant("2018-04-25 04:08:04-07:00")
    datetime.datetime(2018, 4, 25, 11, 8, 4, tzinfo=datetime.timezone.utc)
    """
    try:
        if match := _HTTP_DATE.fullmatch(text):
            day, month, year, hour, minute, second = match.groups()
            number = _MONTHS.get(month, 0)
            return datetime(int(year), number, int(day), int(hour), int(minute), int(second), tzinfo=UTC)
        parsed = datetime.fromisoformat(text)
        return parsed if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


class FieldReader:
    """Checks the fields of one record one after another and remembers the first thing that is wrong.

    Every method gives None (or "" where a text is required) for a value that is absent or refused;
    ``problem`` tells the two apart. No value is ever repaired, except that leading zeros which a
    table's number column has eaten are restored (``code``).
    """

    __slots__ = ("latest_at", "problem")

    def __init__(self, *, latest_at: datetime) -> None:
        self.latest_at = latest_at
        self.problem: Problem | None = None

    def fail(self, reason: RejectReason, detail: str) -> None:
        """Note a fault unless one is noted already."""
        if self.problem is None:
            self.problem = Problem(reason, detail)

    def text(self, name: str, value: Scalar) -> str | None:
        """A text; numbers become their shortest text, the null words and NaN become None."""
        if value is None:
            return None
        if not isinstance(value, str):
            return self._text_of_number(name, value)
        found = value.strip()
        if found in NULL_WORDS:
            return None
        if len(found) > MAX_TEXT_CHARS:
            self.fail(RejectReason.TOO_LONG, f"{name}: wanted at most {MAX_TEXT_CHARS} characters.")
            return None
        if not found.isascii() and any("\ud800" <= char <= "\udfff" for char in found):
            self.fail(RejectReason.UNDECODABLE, f"{name}: half a surrogate pair in {shown(found)}.")
            return None
        return found

    def _text_of_number(self, name: str, value: float | bool) -> str | None:  # noqa: FBT001 - JSON's value, no flag
        if isinstance(value, float) and math.isnan(value):
            return None
        if isinstance(value, bool) or abs(value) > _MAX_INT or value != int(value):
            self.fail(RejectReason.UNDECODABLE, f"{name}: wanted a text, found another value.")
            return None
        return str(int(value))

    def required(self, name: str, value: Scalar) -> str:
        """A text that must be there."""
        found = self.text(name, value)
        if found is None:
            self.fail(RejectReason.MISSING_VALUE, f"{name}: wanted a text, found {shown(value)}.")
            return ""
        return found

    def code(self, name: str, value: Scalar, *, digits: int) -> str | None:
        """A numeric name with its leading zeros: "39" (or 39, "39.0") of four digits is "0039"."""
        found = self.text(name, value)
        if found is None:
            return None
        if match := _WHOLE.fullmatch(found):
            found = match[1]
        return found.zfill(digits) if _DIGITS.fullmatch(found) else found

    def number(self, name: str, value: Scalar, *, high: float) -> float | None:
        """A finite number in [0, high]; an empty or null cell is None, the word NaN is not a number."""
        if value is None or (isinstance(value, str) and value.strip() in {"", "None", "null", "NULL"}):
            return None
        wanted = f"{name}: wanted a number from 0 to {high:g}, found {shown(value)}."
        if isinstance(value, bool) or (isinstance(value, str) and not _NUMBER.fullmatch(value.strip())):
            self.fail(RejectReason.NOT_A_NUMBER, wanted)
            return None
        if isinstance(value, int) and abs(value) > _MAX_INT:
            self.fail(RejectReason.OUT_OF_RANGE, f"{name}: wanted a number from 0 to {high:g}, found a huge one.")
            return None
        found = float(value)
        if not math.isfinite(found):
            self.fail(RejectReason.NOT_A_NUMBER, wanted)
            return None
        if not 0.0 <= found <= high:
            self.fail(RejectReason.OUT_OF_RANGE, wanted)
            return None
        return found

    def instant(self, name: str, value: Scalar, *, latest_at: datetime | None = None) -> datetime | None:
        """A UTC instant between EARLIEST_AT and the latest believable one (the reader's, unless given)."""
        if not isinstance(value, str | None) and not (isinstance(value, float) and math.isnan(value)):
            self.fail(RejectReason.BAD_TIME, f"{name}: wanted a time as text, found a number or truth value.")
            return None
        found = self.text(name, value)
        if found is None:
            return None
        parsed = parse_instant(found)
        if parsed is None:
            self.fail(
                RejectReason.BAD_TIME,
                f"{name}: wanted 'Wed, 25 Apr 2018 11:08:04 GMT' or ISO 8601 with offset, found {shown(found)}.",
            )
            return None
        if parsed.tzinfo is None:
            self.fail(
                RejectReason.AMBIGUOUS_TIME, f"{name}: wanted a time with its offset from UTC, found {shown(found)}."
            )
            return None
        last = latest_at or self.latest_at
        if not EARLIEST_AT <= parsed <= last:
            self.fail(
                RejectReason.TIME_OUT_OF_RANGE,
                f"{name}: wanted a time from {EARLIEST_AT:%Y-%m-%d} to {last:%Y-%m-%d}, found {shown(found)}.",
            )
            return None
        return parsed

    def flag(self, name: str, value: Scalar) -> bool | None:
        """A truth value, as JSON or table text."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            word = value.strip()
            if word in NULL_WORDS:
                return None
            if word.lower() in {"true", "false"}:
                return word.lower() == "true"
        self.fail(RejectReason.UNDECODABLE, f"{name}: wanted true or false, found {shown(value)}.")
        return None

    def zone(self, name: str, value: Scalar) -> str:
        """An IANA time zone that must be there."""
        found = self.required(name, value)
        if found and not known_zone(found):
            wanted = "wanted a time zone like 'America/Los_Angeles'"
            self.fail(RejectReason.BAD_TIME, f"{name}: {wanted}, found {shown(found)}.")
        return found
