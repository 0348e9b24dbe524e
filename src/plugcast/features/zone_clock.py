"""The wall clock of many instants at once in NumPy: the light twin of what Polars and ``zoneinfo`` say, to the bit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
_THURSDAY: Final = 3
"""1 January 1970."""


class ZoneClock:
    """Local time of a zone; asks ``zoneinfo`` once for each hour that it has not met.

    >>> clock = ZoneClock("Europe/Oslo")
    >>> hour, day = clock.local(np.array([1_774_745_999_000_000, 1_774_746_000_000_000]))  # clocks go forward
    >>> hour.round(4).tolist(), day.tolist()
    ([1.9997, 3.0], [6, 6])
    """

    def __init__(self, time_zone: str) -> None:
        self._zone = ZoneInfo(time_zone)
        self._offsets: dict[int, int | None] = {}
        """Microseconds ahead of UTC in each hour of UTC; None where that changes within the hour."""

    def local(self, at_us: Ints) -> tuple[Floats, Ints]:
        """Hour of the day with its fraction, and day of the week (Monday = 0), of UTC instants. Shape (n,) each."""
        local_us = at_us + self._ahead_us(at_us)
        day = local_us // DAY_US
        return (local_us - day * DAY_US) / HOUR_US, (day + _THURSDAY) % 7

    def _ahead_us(self, at_us: Ints) -> Ints | int:
        if not len(at_us):
            return 0
        first, last = int(at_us.min()) // HOUR_US, int(at_us.max()) // HOUR_US
        if first == last and (only := self._of_hour(first)) is not None:
            return only
        hours, place = np.unique(at_us // HOUR_US, return_inverse=True)
        known = [self._of_hour(hour) for hour in hours.tolist()]
        ahead = np.array([0 if offset is None else offset for offset in known], np.int64)[place]
        if None in known:
            changing = np.array([offset is None for offset in known])[place]
            ahead[changing] = [self._at(at) for at in at_us[changing].tolist()]
        return ahead

    def _of_hour(self, hour: int) -> int | None:
        if hour not in self._offsets:
            first, last = self._at(hour * HOUR_US), self._at(hour * HOUR_US + HOUR_US - 1)
            self._offsets[hour] = first if first == last else None
        return self._offsets[hour]

    def _at(self, at_us: int) -> int:
        offset = (_EPOCH + timedelta(microseconds=at_us)).astimezone(self._zone).utcoffset() or timedelta()
        return offset // timedelta(microseconds=1)
