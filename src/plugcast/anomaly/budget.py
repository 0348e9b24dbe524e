"""Alarms as a budget: thresholds that roll with the site, and a memory of what was spent.

Two things are as of the last local midnight, so that stations in different partitions of a stream agree on them: the
scores of the last weeks, whose tail gives p-values, and the account of alarms spent against alarms allowed. A site
that has spent more than its budget asks for rarer sessions until it is even again (integral control of a conformal
level; Gibbs and Candes 2021, Angelopoulos, Candes and Tibshirani 2023).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from plugcast.anomaly.judgement import BudgetState, OpenEpisode
from plugcast.anomaly.threshold import Tail

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from plugcast.anomaly.threshold import Threshold

    Floats = NDArray[np.float64]

NO_EPISODES: Final[Mapping[str, str]] = MappingProxyType({})
WINDOW: Final = 4000
"""Scores kept; the oldest go first. At a hundred sessions a day that is six weeks."""
ACTIVE_DAYS: Final = 28
"""A station is in use if it had a session in so many days: a closed site has nobody to tell."""
GAIN: Final = 0.8
"""Each alarm too many asks for sessions that are exp(0.8) times rarer; chosen on March to August 2019."""
MOST_GENEROUS: Final = 9.0
"""Times the usual level, however much was saved up: a day's alarms are only counted when it is over. Chosen like the
gain."""
MOST_DEBT: Final = 12.0
"""Alarms, either way: a quiet year does not save up for a flood, nor does a flood silence the next year."""
REFIT_SHARE: Final = 0.02
"""The tail is fitted anew when so much of the window has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayLevel:
    """What holds for one local day."""

    alpha: float
    """A p-value of at most this is an alarm."""
    clear_alpha: float
    """Above this a session ends an open episode of its station; between the two it keeps it open."""


GOLDEN: Final = 0.6180339887498949
"""Steps of this share of a circle fall evenly, however many there are."""
CLEAR_TIMES: Final = 4.0
CLEAR_AFTER: Final = 3
"""Ordinary sessions in a row that end an episode."""
EPISODE_DAYS: Final = 14


class RollingBudget:
    """One current type of one site. Feed it days in order: ``level`` before a day's sessions, ``close`` after them."""

    def __init__(self, threshold: Threshold, *, alarms_per_station_week: float | None = None) -> None:
        self.rate = threshold.alarms_per_station_week if alarms_per_station_week is None else alarms_per_station_week
        self._scores: deque[float] = deque(_spread(threshold.held_out).tolist(), maxlen=WINDOW)
        self._tail = threshold.tail
        self._changed = 0
        self._start_alpha = threshold.alpha * (self.rate / threshold.alarms_per_station_week)
        self._days: deque[tuple[int, int, float]] = deque()
        """(day, sessions, alarms allowed) of the last weeks."""
        self._seen: dict[str, int] = {}
        self.debt = 0.0
        self._day: int | None = None

    def to_state(self) -> BudgetState:
        """All that the threshold does not say."""
        return BudgetState(
            scores=tuple(self._scores),
            held_out=tuple(self._tail.held_out.tolist()),
            changed=self._changed,
            days=tuple(self._days),
            seen=dict(self._seen),
            debt=self.debt,
            day=self._day,
        )

    @classmethod
    def from_state(cls, threshold: Threshold, state: BudgetState) -> Self:
        """Goes on where the other one stood."""
        made = cls(threshold)
        made._scores = deque(state.scores, maxlen=WINDOW)
        made._tail = Tail(held_out=np.array(state.held_out, dtype=np.float64))
        made._changed = state.changed
        made._days = deque(state.days)
        made._seen = dict(state.seen)
        made.debt = state.debt
        made._day = state.day
        return made

    def level(self, day: int) -> DayLevel:
        """Levels of a local day (a running number), from what was closed before it."""
        self._start(day)
        sessions = sum(count for _, count, _ in self._days)
        allowed = sum(part for _, _, part in self._days)
        base = self._start_alpha
        if sessions:
            share = min(1.0, len(self._days) / 7)
            base = (1 - share) * base + share * min(1.0, allowed / sessions)
        alpha = min(0.5, base * min(MOST_GENEROUS, math.exp(-GAIN * self.debt)))
        return DayLevel(alpha=alpha, clear_alpha=min(1.0, alpha * CLEAR_TIMES))

    def p_values(self, scores: Floats) -> Floats:
        """As of the last closed day."""
        return self._tail.p_values(scores)

    def close(self, day: int, *, scores: Iterable[float], stations: Sequence[str], alarms: int) -> float:
        """End a local day: its sessions' scores and stations, and the alarms raised; says how many were allowed."""
        self._start(day)
        for station in stations:
            self._seen[station] = day
        active = sum(day - last < ACTIVE_DAYS for last in self._seen.values())
        allowed = self.rate * active / 7
        before = [score for score in scores if math.isfinite(score)]
        self._scores.extend(before)
        self._changed += len(before)
        self._days.append((day, len(stations), allowed))
        self.debt = min(MOST_DEBT, max(-MOST_DEBT, self.debt + alarms - allowed))
        if self._changed >= REFIT_SHARE * len(self._scores):
            self._tail = Tail(held_out=np.sort(np.array(self._scores)))
            self._changed = 0
        self._day = day
        return allowed

    def _start(self, day: int) -> None:
        """Days without any session in between allow nothing: there was nobody to watch, and nothing to save up."""
        while self._days and day - self._days[0][0] > ACTIVE_DAYS:
            self._days.popleft()
        if self._day is not None and day > self._day + 1:
            self._day = day - 1


def _spread(ascending: Floats) -> Floats:
    """Sorted scores so ordered that any stretch of them is like the whole: the oldest of a window go first.

    >>> _spread(np.arange(8.0)).tolist()
    [0.0, 5.0, 2.0, 7.0, 4.0, 1.0, 6.0, 3.0]
    """
    count = len(ascending)
    step = max(1, int(count * GOLDEN)) | 1
    while math.gcd(step, count) > 1:
        step += 2
    return np.asarray(ascending[np.arange(count) * step % max(count, 1)], dtype=np.float64)


class Episodes:
    """Hysteresis by station: the same fault found again is the same alarm until the station is ordinary again."""

    def __init__(self) -> None:
        self._open: dict[tuple[tuple[str, str], str], tuple[str, int, int]] = {}
        """((site, station), cause) -> (first finding, ordinary sessions since, last day)."""

    def to_state(self) -> tuple[OpenEpisode, ...]:
        """All that are open, by station and cause."""
        return tuple(
            OpenEpisode(site_id=site, station_id=station, cause=cause, finding_id=first, ordinary=ordinary, day=day)
            for ((site, station), cause), (first, ordinary, day) in sorted(self._open.items())
        )

    @classmethod
    def from_state(cls, state: Iterable[OpenEpisode]) -> Self:
        """Goes on with these; of several partitions where one takes over their stations."""
        made = cls()
        made._open = {
            ((kept.site_id, kept.station_id), kept.cause): (kept.finding_id, kept.ordinary, kept.day) for kept in state
        }
        return made

    def of(self, station: tuple[str, str]) -> tuple[OpenEpisode, ...]:
        """Those open at one station (site and name), by cause."""
        return tuple(kept for kept in self.to_state() if (kept.site_id, kept.station_id) == station)

    def put(self, station: tuple[str, str], state: Iterable[OpenEpisode]) -> None:
        """From now on a station's episodes are these and no others."""
        self._open = {key: kept for key, kept in self._open.items() if key[0] != station}
        self._open |= {((e.site_id, e.station_id), e.cause): (e.finding_id, e.ordinary, e.day) for e in state}

    def step(
        self,
        station: tuple[str, str],
        day: int,
        *,
        found: Sequence[tuple[str, str]],
        cleared: bool,
        under: Mapping[str, str] = NO_EPISODES,
    ) -> dict[str, str]:
        """One session: its findings (id, cause), and the first finding of the episode that each belongs to.

        Args:
            station: Site and station; two sites may use one name.
            day: The local day's number.
            found: Nothing where the session raised no alarm.
            cleared: Whether it was ordinary by the lower of the two levels.
            under: Episodes of the whole site, by cause: what would begin here belongs to them.
        """
        for key in [key for key in self._open if key[0] == station]:
            first, ordinary, last = self._open[key]
            ordinary = ordinary + 1 if cleared else 0
            if ordinary >= CLEAR_AFTER or day - last > EPISODE_DAYS:
                del self._open[key]
            else:
                self._open[key] = (first, ordinary, last)
        made = {}
        for finding, cause in found:
            first = self._open.get((station, cause), (under.get(cause, finding), 0, day))[0]
            self._open[station, cause] = (first, 0, day)
            made[finding] = first
        return made
