"""A ``ports.Log`` in memory: for tests and the demo, and as the plainest statement of what a log promises."""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from threading import Condition
from typing import TYPE_CHECKING, Final

from plugcast.domain.partitions import partition_of
from plugcast.errors import ConfigError, LogFencedError, LogFullError, LogUnavailableError
from plugcast.ports import Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from plugcast.ports import Clock, Entry, Place, TopicSpec

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY_US: Final = 86_400_000_000
_OFFSET: Final = attrgetter("offset")


@dataclass(slots=True)
class _Topic:
    spec: TopicSpec
    parts: list[list[Stored]]
    ends: list[int]


@dataclass(slots=True)
class _Group:
    holder: MemoryWorker | None = None
    until_us: int = 0
    positions: dict[Place, int] = field(default_factory=dict)


class MemoryLog:
    """A log that is as durable as its process.

    Args:
        clock: Stamps entries and dates leases.
        max_entries: What it may hold before appends are refused.
        lease_s: How long a member of a group that says nothing keeps its place.
    """

    def __init__(self, *, clock: Clock, max_entries: int = 1_000_000, lease_s: float = 10.0) -> None:
        self.changed = Condition()
        self.lease_us = round(lease_s * 1e6)
        self._clock = clock
        self._max_entries = max_entries
        self._topics: dict[str, _Topic] = {}
        self._groups: dict[str, _Group] = {}

    def ensure(self, topics: Iterable[TopicSpec]) -> None:
        """Make the topics that are missing, all or none."""
        with self.changed:
            made = dict(self._topics)
            for spec in topics:
                found = made.get(spec.name)
                if found is None:
                    parts: list[list[Stored]] = [[] for _ in range(spec.partitions)]
                    made[spec.name] = _Topic(spec, parts, [0] * spec.partitions)
                elif (found.spec.partitions, found.spec.compacted) == (spec.partitions, spec.compacted):
                    made[spec.name] = _Topic(spec, found.parts, found.ends)
                else:
                    raise ConfigError(f"wanted {spec}, found {found.spec}. A topic cannot be changed; name another.")
            self._topics = made

    def writer(self) -> MemoryWriter:
        """A way in."""
        return MemoryWriter(self)

    def reader(self, topic: str) -> MemoryReader:
        """A way through all of a topic."""
        return MemoryReader(self, topic)

    def worker(self, group: str, topics: Sequence[str]) -> MemoryWorker:
        """A member of a group; one at a time holds all partitions, the others stand by."""
        if not topics:
            raise ConfigError(f"group {group}: wanted at least one topic, found none.")
        places = [(name, part) for name in dict.fromkeys(topics) for part in range(self.topic(name).spec.partitions)]
        return MemoryWorker(self, group, places)

    def now_us(self) -> int:
        """The clock in microseconds since 1970."""
        return (self._clock.now() - _EPOCH) // _MICROSECOND

    def topic(self, name: str) -> _Topic:
        """A topic by its name; ConfigError where there is none such."""
        if name not in self._topics:
            raise ConfigError(f"There is no topic {name!r}. Call ensure() with its TopicSpec first.")
        return self._topics[name]

    def group(self, name: str) -> _Group:
        """A group by its name, made at its first member."""
        return self._groups.setdefault(name, _Group())

    def rows(self, name: str, part: int, start: int, limit: int) -> list[Stored]:
        """The entries of a partition from an offset on."""
        held = self.topic(name).parts[part]
        first = bisect_left(held, start, key=_OFFSET)
        return held[first : first + limit]

    def place(self, outputs: Mapping[str, Sequence[Entry]]) -> list[tuple[int, int]]:
        """Put entries into their places, all or none; the caller holds the lock."""
        wanted = [(self.topic(name), entry) for name, entries in outputs.items() for entry in entries]
        parts = [_part(topic.spec, entry) for topic, entry in wanted]
        if self._held() + len(wanted) > self._max_entries:
            self.tidy()
            if self._held() + len(wanted) > self._max_entries:
                raise LogFullError(f"{len(wanted):,} more entries do not fit among {self._max_entries:,}.")
        placed, now_us = [], self.now_us()
        for (topic, entry), part in zip(wanted, parts, strict=True):
            offset = topic.ends[part]
            topic.parts[part].append(Stored(topic.spec.name, part, offset, entry.key, entry.value, now_us))
            topic.ends[part] += 1
            placed.append((part, offset))
        self.changed.notify_all()
        return placed

    def _held(self) -> int:
        return sum(len(part) for topic in self._topics.values() for part in topic.parts)

    def tidy(self) -> int:
        """Compact and expire, but nothing that a group has not committed past; returns the entries dropped."""
        with self.changed:
            before, now_us = self._held(), self.now_us()
            for name, topic in self._topics.items():
                for part, held in enumerate(topic.parts):
                    kept = held
                    if topic.spec.compacted:
                        last = {entry.key: entry.offset for entry in held}
                        kept = [entry for entry in kept if entry.offset == last[entry.key]]
                        kept = [e for e in kept if e.value is not None or e.at_us >= now_us - _DAY_US]
                    if topic.spec.keep_days is not None:
                        oldest_us = now_us - round(topic.spec.keep_days * _DAY_US)
                        needed = self._needed(name, part)
                        kept = [e for e in kept if e.at_us >= oldest_us or (needed is not None and e.offset >= needed)]
                    topic.parts[part] = kept
            return before - self._held()

    def _needed(self, name: str, part: int) -> int | None:
        """The first offset that some group has not committed past."""
        place = (name, part)
        positions = [group.positions[place] for group in self._groups.values() if place in group.positions]
        return min(positions, default=None)

    def waited(self, found: Callable[[], list[Stored]], wait_s: float) -> list[Stored]:
        """What a look gives, again at each change until it gives something or the wait is over."""
        until_s = time.monotonic() + wait_s
        with self.changed:
            while not (rows := found()) and (left_s := until_s - time.monotonic()) > 0:
                self.changed.wait(min(left_s, 0.02))  # a lease runs out without a change
            return rows


def _part(spec: TopicSpec, entry: Entry) -> int:
    if entry.partition is None:
        return partition_of(entry.key, spec.partitions)
    if not 0 <= entry.partition < spec.partitions:
        raise ConfigError(f"{spec.name}: wanted a partition below {spec.partitions}, found {entry.partition}.")
    return entry.partition


class MemoryWriter:
    """Appends entries, all or none."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._closed = False

    def append(self, topic: str, entries: Sequence[Entry]) -> list[tuple[int, int]]:
        """Store entries in order."""
        if self._closed:
            raise LogUnavailableError("This writer is closed. Take a new one from the log.")
        with self._log.changed:
            return self._log.place({topic: entries})

    def close(self) -> None:
        """Refuse further appends."""
        self._closed = True


class MemoryReader:
    """Reads all partitions of one topic from the start."""

    def __init__(self, log: MemoryLog, topic: str) -> None:
        self._log = log
        self._topic = topic
        with log.changed:
            self._there = list(log.topic(topic).ends)
        self._next = [0] * len(self._there)

    def read(self, limit: int, *, wait_s: float = 0.0) -> list[Stored]:
        """The next entries, partition by partition."""
        return self._log.waited(lambda: self._read(limit), wait_s)

    def _read(self, limit: int) -> list[Stored]:
        found: list[Stored] = []
        for part, start in enumerate(self._next):
            wanted = limit - len(found)
            if wanted <= 0:
                break
            rows = self._log.rows(self._topic, part, start, wanted)
            # behind the last entry lie only gaps that compaction has left
            self._next[part] = rows[-1].offset + 1 if len(rows) == wanted else self._log.topic(self._topic).ends[part]
            found += rows
        return found

    def caught_up(self) -> bool:
        """Whether the ends at opening, or at the last look again, have been reached."""
        return all(reached >= end for reached, end in zip(self._next, self._there, strict=True))

    def look_again(self) -> None:
        """Take the ends anew."""
        with self._log.changed:
            self._there = list(self._log.topic(self._topic).ends)

    def close(self) -> None:
        """Nothing is held."""


class MemoryWorker:
    """A member of a group; the one that holds the lease holds every partition."""

    def __init__(self, log: MemoryLog, group: str, places: list[Place]) -> None:
        self._log = log
        self._name = group
        self._places = places
        self._next: dict[Place, int] = {}
        self._first = 0
        self._closed = False
        with log.changed:
            self._group = log.group(group)

    def poll(self, limit: int, *, wait_s: float = 0.0) -> list[Stored]:
        """The next entries of every partition in turn; empty while another member holds the lease."""
        return self._log.waited(lambda: self._poll(limit), wait_s)

    def _poll(self, limit: int) -> list[Stored]:
        if not self._hold():
            return []
        self._first = (self._first + 1) % len(self._places)
        found: list[Stored] = []
        for name, part in self._places[self._first :] + self._places[: self._first]:
            wanted = limit - len(found)
            rows = self._log.rows(name, part, self._next[name, part], wanted) if wanted > 0 else []
            if rows:
                self._next[name, part] = rows[-1].offset + 1
                found += rows
        return found

    def _hold(self) -> bool:
        if self._closed:
            raise LogFencedError(f"group {self._name}: this member has left. Take a new one from the log.")
        now_us = self._log.now_us()
        if not self._next:
            if self._group.until_us > now_us:
                return False
            self._group.holder = self
            self._next = {place: self._group.positions.setdefault(place, 0) for place in self._places}
        self._check()
        self._group.until_us = now_us + self._log.lease_us
        return True

    def _check(self) -> None:
        if self._group.holder is not self:
            raise LogFencedError(
                f"group {self._name}: another member has taken over. Drop what was read, close, and join again."
            )

    def commit(self, outputs: Mapping[str, Sequence[Entry]], positions: Mapping[Place, int]) -> None:
        """Outputs and positions, both or neither."""
        with self._log.changed:
            if not self._next or self._closed:
                raise LogFencedError(f"group {self._name}: this member holds no partitions, so it commits nothing.")
            self._check()
            for (name, part), offset in positions.items():
                if (name, part) not in self._next:
                    raise ConfigError(f"group {self._name} does not read partition {part} of {name!r}.")
                end = self._log.topic(name).ends[part]
                if not 0 <= offset <= end:
                    raise ConfigError(f"{name} {part}: wanted a position from 0 to the end {end}, found {offset}.")
            self._log.place(outputs)
            self._group.positions.update(positions)
            self._group.until_us = self._log.now_us() + self._log.lease_us

    def lag(self) -> dict[Place, int]:
        """What the group has not committed, for each partition held."""
        with self._log.changed:
            if self._closed or self._group.holder is not self:
                return {}
            return {
                (name, part): self._log.topic(name).ends[part] - self._group.positions[name, part]
                for name, part in self._places
            }

    def close(self) -> None:
        """Let the lease go, if it is still this member's."""
        with self._log.changed:
            if self._group.holder is self and not self._closed:
                self._group.until_us = 0
            self._closed = True
            self._log.changed.notify_all()
