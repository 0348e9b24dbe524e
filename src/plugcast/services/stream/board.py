"""What a detector knows: the fold of the changelog, the same in whichever order its partitions are read.

All partitions are folded, not only those held: history, budgets and levels are as of the last local midnight of all
stations. Folding an entry twice changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from plugcast.anomaly.watch import Watch
from plugcast.domain.zones import known_zone
from plugcast.services.stream.changelog import Change, Declared, Ended, EventsTold, Progress, StationEpisodes

if TYPE_CHECKING:
    from plugcast.anomaly.detector import Detector
    from plugcast.anomaly.judgement import Judgement
    from plugcast.domain.finding import Finding
    from plugcast.domain.session import Session, UserInput

NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAYS_KEPT: Final = 60
"""Of the watch's account: the page shows no more."""


@dataclass(slots=True)
class Part:
    """One partition's own state."""

    event_at: datetime = NEVER
    judged_until: datetime = NEVER
    declared: dict[str, tuple[UserInput, ...]] = field(default_factory=dict)
    waiting: dict[bytes, Ended] = field(default_factory=dict)


class Board:
    """The fold; not to be shared between threads.

    Args:
        detector: Who judges. Judgements of another version count as history, not towards budgets.
        time_zone: Of the local days.
        partitions: Of the input, and so of the changelog.
    """

    def __init__(self, detector: Detector, *, time_zone: str, partitions: int) -> None:
        self.detector = detector
        self.zone = ZoneInfo(time_zone)
        self.watch = Watch(detector, time_zone=time_zone)
        self.history = detector.history.copy()
        self.parts = [Part() for _ in range(partitions)]
        self.last_known: dict[tuple[str, str], datetime] = {}
        """The latest judged record of each station."""
        self._told = 0
        self._events_of: dict[int, tuple[Finding, ...]] = {}
        self._seen: dict[bytes, int] = {}
        self._open: defaultdict[int, dict[str, Judgement]] = defaultdict(dict)
        self._closed = 0

    def apply(self, partition: int, change: Change) -> None:
        """Fold one entry of a partition's changelog."""
        part = self.parts[partition]
        match change:
            case Declared():
                part.declared[change.session_id] = change.declared
            case Ended():
                self._ended(part, change)
            case StationEpisodes():
                self.watch.take_episodes(change.site_id, change.station_id, change.open)
            case Progress():
                part.event_at = max(part.event_at, change.event_at)
                part.judged_until = max(part.judged_until, change.judged_until)
            case EventsTold():
                self._told = max(self._told, change.day)
                self._events_of = {day: found for day, found in self._events_of.items() if day > self._told}

    def drop(self, partition: int, key: bytes) -> None:
        """Fold a deleted key."""
        kind, _, rest = key.partition(b"/")
        if kind == b"declared":
            self.parts[partition].declared.pop(rest.decode(), None)

    def close_days(self) -> None:
        """Close each local day that every partition has left behind. Call it when the whole changelog has been read."""
        until = min(part.judged_until for part in self.parts)
        for day in sorted(self._open):
            if self.day_start(day + 1) > until:
                break
            judgements = self._open.pop(day)
            if day <= self._closed:
                continue  # a straggler of a day that is over: history, and no part of the account
            found = self.watch.close_day(day, judgements.values())
            self._closed = day
            if found and day > self._told:
                self._events_of[day] = found
        del self.watch.days[:-DAYS_KEPT]

    def untold(self) -> dict[int, tuple[Finding, ...]]:
        """The sites' events of closed days, by day, that nobody has told yet."""
        return dict(sorted(self._events_of.items()))

    def knows(self, ended: Ended) -> bool | None:
        """Whether the session has been taken before: None if not, True as it is, False with another content."""
        found = self._seen.get(ended.key)
        return None if found is None else found == _mark(ended.session)

    def is_open(self, ended: Ended) -> bool:
        """Whether the session can be judged: all partitions have passed the midnights that it is compared as of."""
        until = min(part.judged_until for part in self.parts)
        return self.day_start(self.day_of(ended.known_at)) <= until and self._cut(ended) <= until

    def floor(self, partition: int, session: Session) -> datetime:
        """Before this no further record of the station can count as known: its day, or a later one of it, is judged."""
        judged_until = self.parts[partition].judged_until
        open_from = NEVER if judged_until == NEVER else self.day_start(self.day_of(judged_until))
        return max(open_from, self.last_known.get((session.site_id, session.station_id), NEVER))

    def day_of(self, at: datetime) -> int:
        """The running number of the local day."""
        return at.astimezone(self.zone).toordinal()

    def day_start(self, day: int) -> datetime:
        """Its first instant, UTC."""
        local = datetime.fromordinal(day)
        return local.replace(tzinfo=self.zone).astimezone(UTC)

    def _ended(self, part: Part, change: Ended) -> None:
        self._seen[change.key] = _mark(change.session)
        if change.detector_version is None:
            part.waiting[change.key] = change
            return
        part.waiting.pop(change.key, None)
        self.history.observe(change.session, change.declared, available_at=change.known_at)
        station = change.session.site_id, change.session.station_id
        self.last_known[station] = max(self.last_known.get(station, NEVER), change.known_at)
        if change.judgement is not None and change.detector_version == self.detector.version:
            self._open[change.judgement.day][f"{station[0]}/{change.session.session_id}"] = change.judgement

    def _cut(self, ended: Ended) -> datetime:
        """The midnight that history is cut at, in the session's own zone."""
        name = ended.session.time_zone
        zone = ZoneInfo(name) if known_zone(name) else self.zone
        local = ended.known_at.astimezone(zone)
        return datetime(local.year, local.month, local.day, tzinfo=zone).astimezone(UTC)


def _mark(session: Session) -> int:
    """Tells two contents apart, within this process."""
    return hash(session)
