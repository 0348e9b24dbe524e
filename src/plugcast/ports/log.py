"""A log of topics: ordered, durable entries in partitions, read by groups whose effects count once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """A topic of the log, as it should be."""

    name: str
    partitions: int
    compacted: bool = False
    """Of each key only the last entry need be kept; an entry without a value deletes its key in time."""
    keep_days: float | None = None
    """Entries older than this may go; None keeps them all."""

    def __post_init__(self) -> None:
        """Refuse what no log could be."""
        if not self.name or self.partitions < 1 or (self.keep_days is not None and not self.keep_days >= 0):
            raise ValueError(f"wanted a name, at least one partition and keep_days of zero or more: {self}")


class Entry(Struct, frozen=True, gc=False):
    """What is appended. Entries of one key keep their order: they share ``domain.partitions.partition_of(key)``."""

    key: bytes
    value: bytes | None
    """None says that the key is no more."""
    partition: int | None = None
    """A partition chosen by hand, where the key's own will not do."""


class Stored(Struct, frozen=True, gc=False):
    """An entry in its place; offsets of a partition rise, and may leave gaps.

    A struct, since one is made of every message that is read: a frozen dataclass takes several times as long.
    """

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes | None
    at_us: int
    """When it was appended, by the log's clock, in microseconds since 1970 UTC."""


Place = tuple[str, int]
"""A topic and one of its partitions."""


def after(rows: Sequence[Stored]) -> dict[Place, int]:
    """The next offset of each place, once these are done with; in order within a partition.

    >>> after([Stored("a", 0, 4, b"", None, 0), Stored("a", 1, 7, b"", None, 0), Stored("a", 0, 6, b"", None, 0)])
    {('a', 0): 7, ('a', 1): 8}
    """
    topics = {row.topic for row in rows}
    if len(topics) != 1:
        return {(row.topic, row.partition): row.offset + 1 for row in rows}
    (topic,) = topics  # the usual case: no pair is made for each row
    return {(topic, part): row.offset + 1 for part, row in {row.partition: row for row in rows}.items()}


@runtime_checkable
class LogWriter(Protocol):
    """Appends to topics. What was acknowledged is durable; appending twice stores twice."""

    def append(self, topic: str, entries: Sequence[Entry]) -> list[tuple[int, int]]:
        """Store entries in order; returns the partition and offset of each, all durable by then.

        Raises ConfigError (no such topic or partition), LogFullError, LogRefusedError (an entry is too large) or
        LogUnavailableError; after the latter some of the entries may be there.
        """
        ...

    def close(self) -> None:
        """Let go of what is held; nothing acknowledged waits for it."""
        ...


@runtime_checkable
class LogReader(Protocol):
    """Reads every partition of one topic from the start, for oneself: no group, nothing is committed."""

    def read(self, limit: int, *, wait_s: float = 0.0) -> list[Stored]:
        """At most so many entries not read before, in order within a partition; waits for a first one so long."""
        ...

    def caught_up(self) -> bool:
        """Whether all that was there when the reader was opened, or at the last :meth:`look_again`, has been read."""
        ...

    def look_again(self) -> None:
        """From now on ``caught_up`` asks for all that is there now, commits still on their way included."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


@runtime_checkable
class LogWorker(Protocol):
    """One member of a group that shares topics. Every entry reaches the group at least once, and its effects once.

    What was read and not committed is read again by whoever comes next. Outputs and positions are committed together,
    so outputs written here are neither lost nor doubled.
    """

    def poll(self, limit: int, *, wait_s: float = 0.0) -> list[Stored]:
        """At most so many next entries of the partitions held, in order within each; empty where none are held.

        Raises LogFencedError once another member has taken over what this one held.
        """
        ...

    def commit(self, outputs: Mapping[str, Sequence[Entry]], positions: Mapping[Place, int]) -> None:
        """Append outputs by topic and move the group to the next offset to read of each place, in ONE transaction.

        Raises LogFencedError (nothing was written: another member has these partitions), LogFullError (nothing was
        written, the positions stand), LogRefusedError (an entry is too large; the same) or ConfigError. After
        LogUnavailableError nobody knows whether it was written: as when fenced, close, join again, and read on from
        where the group stands.
        """
        ...

    def lag(self) -> dict[Place, int]:
        """Offsets between the committed position and the end, for exactly the partitions that this member holds."""
        ...

    def close(self) -> None:
        """Leave the group, so that another need not wait for the lease to run out."""
        ...


@runtime_checkable
class Log(Protocol):
    """Topics of ordered, durable entries in partitions: Kafka, a journal on disk, or memory."""

    def ensure(self, topics: Iterable[TopicSpec]) -> None:
        """Make the topics that are missing. Idempotent; ConfigError where one has other partitions or compaction."""
        ...

    def writer(self) -> LogWriter:
        """A way in."""
        ...

    def reader(self, topic: str) -> LogReader:
        """A way through all of a topic; ConfigError where there is none such."""
        ...

    def worker(self, group: str, topics: Sequence[str]) -> LogWorker:
        """A member of a group, which begins at the start of each topic; ConfigError where there is none such."""
        ...
