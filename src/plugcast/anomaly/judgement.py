"""What a stream keeps of a judged session until its local day closes."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

import msgspec

from plugcast.anomaly.telling import HALF_SCORE


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm of a session, as the day's account needs it."""

    cause: str
    episode_id: str
    """The first finding of its episode."""
    began: bool


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """One session, as every partition has to know of it to close the day. None, never NaN: it survives JSON."""

    session_id: str
    site_id: str
    station_id: str
    current_type: str
    day: int
    """The local day's running number."""
    observed_at: datetime
    total: float | None
    """Evidence; None where nothing could score the session."""
    p_value: float | None
    """Among the sessions that the training held out: what the site's event is told by."""
    p_value_of_day: float | None
    """Among the last weeks' sessions as of the last closed day: what the day's level of alarm is held against."""
    done_missing: bool
    user_mean_kw_z: float | None
    alarms: tuple[Alarm, ...]

    @property
    def score(self) -> float | None:
        """In [0, 1), higher is odder."""
        return None if self.total is None else self.total / (self.total + HALF_SCORE)

    @property
    def order(self) -> tuple[datetime, str, str]:
        """In which days are closed, whoever judged them."""
        return self.observed_at, self.site_id, self.session_id


def known(value: float) -> float | None:
    """The value, or None where it is no number.

    >>> known(1.5), known(math.nan)
    (1.5, None)
    """
    return value if math.isfinite(value) else None


STATE_VERSION: Final = 2
"""Version of the layout below."""


class OpenEpisode(msgspec.Struct, frozen=True, kw_only=True):
    """A fault of one station that is not over."""

    site_id: str
    station_id: str
    cause: str
    finding_id: str
    """The first."""
    ordinary: int
    """Ordinary sessions since, in a row."""
    day: int
    """The last local day on which it was found."""


class SiteTrouble(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that many stations of a site have at once: one episode, whoever else gets it."""

    site_id: str
    cause: str
    finding_id: str
    """The first."""
    day: int
    """The last local day on which many stations had it."""


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """What a rolling budget knows beyond its detector's threshold."""

    scores: tuple[float, ...]
    """Of the last weeks, in the order in which they came."""
    held_out: tuple[float, ...]
    """Ascending: what the tail in use was fitted to."""
    changed: int
    days: tuple[tuple[int, int, float], ...]
    seen: dict[str, int]
    debt: float
    day: int | None


class SiteBudget(msgspec.Struct, frozen=True, kw_only=True):
    """The budget of one current type of one site."""

    site_id: str
    current_type: str
    budget: BudgetState


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """What one local day came to, of one site and current type."""

    day: int
    site_id: str
    current_type: str
    sessions: int
    alarms: int
    """Episodes that began; what many stations got on one day is one."""
    allowed: float
    """Of the budget, by the stations in use."""
    alpha: float


class WatchState(msgspec.Struct, frozen=True, kw_only=True):
    """All that a watch knows beyond its detector; JSON and MessagePack give it back to the last bit.

    Budgets, days, troubles and the closed day are the same in every partition; episodes are those of its own stations.
    Judgements of the open day are the stream's to keep.
    """

    version: int = STATE_VERSION
    detector_version: str
    time_zone: str
    closed_day: int | None
    budgets: tuple[SiteBudget, ...]
    episodes: tuple[OpenEpisode, ...]
    days: tuple[Day, ...]
    troubles: tuple[SiteTrouble, ...]
