"""Which part of a site's sessions is learnt from and which is replayed: by time, at a local midnight."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import polars as pl

from plugcast.errors import NoUsableRowsError

if TYPE_CHECKING:
    from datetime import date

FEWEST_SESSIONS: Final = 50
FEWEST_DAYS: Final = 7
REPLAY_SHARE: Final = 0.3
LONGEST_REPLAY_DAYS: Final = 14
LONGEST_PAST_DAYS: Final = 180
"""Older sessions teach little about the coming two days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """``[start_at, cut_at)`` is learnt from, ``[cut_at, end_at)`` is replayed."""

    start_at: datetime
    cut_at: datetime
    end_at: datetime

    @property
    def replay_slots(self) -> int:
        """Quarter hours of the replay."""
        return int((self.end_at - self.cut_at) / timedelta(minutes=15))


def choose(sessions: pl.DataFrame, time_zone: str) -> Period:
    """The last 30 % of the days, 14 at most, are replayed; up to 180 days before them are learnt from.

    Raises:
        NoUsableRowsError: There are fewer than 50 sessions or 7 days.
    """
    zone = ZoneInfo(time_zone)
    first, last = sessions["arrival_at"].min(), sessions["arrival_at"].max()
    if sessions.height < FEWEST_SESSIONS or not isinstance(first, datetime) or not isinstance(last, datetime):
        raise NoUsableRowsError(f"Wanted at least {FEWEST_SESSIONS} sessions to learn from; found {sessions.height}.")
    first_day, end_day = first.astimezone(zone).date(), last.astimezone(zone).date() + timedelta(days=1)
    days = (end_day - first_day).days
    if days < FEWEST_DAYS:
        raise NoUsableRowsError(f"Wanted sessions of at least {FEWEST_DAYS} days; these span {days}.")
    cut_day = end_day - timedelta(days=min(LONGEST_REPLAY_DAYS, max(1, round(days * REPLAY_SHARE))))
    start_day = max(first_day, cut_day - timedelta(days=LONGEST_PAST_DAYS))
    return Period(start_at=_midnight(start_day, zone), cut_at=_midnight(cut_day, zone), end_at=_midnight(end_day, zone))


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def within(sessions: pl.DataFrame, start_at: datetime, end_at: datetime) -> pl.DataFrame:
    """Sessions that arrive in ``[start_at, end_at)``."""
    return sessions.filter((pl.col("arrival_at") >= start_at) & (pl.col("arrival_at") < end_at))
