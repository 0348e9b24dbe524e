"""The journal's file: its tables, its one connection, and what every transaction does alike.

Write-ahead log with ``synchronous=FULL``: a commit returns after the disk has it. Each transaction costs one such wait,
so many entries share one. The bounds are counted in the same transaction as the entries, and hold well before the disk
is full, where SQLite could no longer even delete.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import TYPE_CHECKING, Final, NamedTuple

from plugcast.domain.partitions import partition_of
from plugcast.errors import ConfigError, LogFullError, LogUnavailableError
from plugcast.ports import Stored, TopicSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from plugcast.ports import Clock, Entry

ENTRY_OVERHEAD_BYTES: Final = 64
"""What an entry costs beside its key and value."""
BUSY_S: Final = 30.0
"""How long to wait for another process's transaction."""
TOMBSTONE_KEPT_US: Final = 86_400_000_000
"""A deleted key's mark stays a day, so that readers of a compacted topic see it."""
TIDY_EVERY_US: Final = 10_000_000
"""How often a full journal looks again for what may go."""
_FORMAT: Final = 1
_PRIMARY: Final = 0xFF
"""Of SQLite's error codes: the rest says which case of one it is."""
_MAY_NOT: Final = " See whether this user may write to it and its folder."
_NO_JOURNAL: Final = " Name a journal; put a damaged one aside, and a new one is begun."
_ADVICE: Final = {
    sqlite3.SQLITE_CANTOPEN: _MAY_NOT,
    sqlite3.SQLITE_READONLY: _MAY_NOT,
    sqlite3.SQLITE_CORRUPT: _NO_JOURNAL,
    sqlite3.SQLITE_NOTADB: _NO_JOURNAL,
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TABLES: Final = """
CREATE TABLE topics (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL, compacted INTEGER NOT NULL,
    keep_days REAL);
CREATE TABLE ends (
    topic INTEGER NOT NULL, part INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (topic, part)) WITHOUT ROWID;
CREATE TABLE entries (
    topic INTEGER NOT NULL, part INTEGER NOT NULL, offset INTEGER NOT NULL, key BLOB NOT NULL, value BLOB,
    at_us INTEGER NOT NULL, PRIMARY KEY (topic, part, offset)) WITHOUT ROWID;
CREATE TABLE uniques (
    topic INTEGER NOT NULL, name TEXT NOT NULL, part INTEGER NOT NULL, offset INTEGER NOT NULL,
    PRIMARY KEY (topic, name)) WITHOUT ROWID;
CREATE INDEX uniques_by_place ON uniques (topic, part, offset);
CREATE TABLE positions (
    member_group TEXT NOT NULL, topic INTEGER NOT NULL, part INTEGER NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY (member_group, topic, part)) WITHOUT ROWID;
CREATE TABLE leases (
    member_group TEXT PRIMARY KEY, holder TEXT NOT NULL, until_us INTEGER NOT NULL);
CREATE TABLE size (entries INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO size VALUES (0, 0);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a journal may hold; the file on disk is some percent larger than its bytes."""

    max_entries: int = 20_000_000
    max_bytes: int = 8_000_000_000


class Found(NamedTuple):
    """A topic as the file has it."""

    id: int
    spec: TopicSpec


class Store:
    """One connection to a journal's file, shared by the threads of a process through ``lock``."""

    def __init__(self, path: Path, *, clock: Clock, bounds: Bounds) -> None:
        self.path = path
        self.lock = RLock()
        self._clock = clock
        self._bounds = bounds
        self._topics: dict[str, Found] = {}
        self._tidy_again_us = 0
        with self.translated():
            self.connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                self._open()
                opened = path.stat()
            except BaseException:
                self.connection.close()
                raise
        self._file = opened.st_dev, opened.st_ino

    def require_own_file(self) -> None:
        """See that the path still leads to the file that is open: what is written to another one is never seen here.

        Raises:
            LogUnavailableError: It was deleted, moved or replaced.
        """
        try:
            found = self.path.stat()
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._file:
            raise LogUnavailableError(
                f"{self.path} was deleted or replaced while it was in use. Stop, and start again."
            )

    def _open(self) -> None:
        self._write_ahead()
        self.connection.execute("PRAGMA synchronous=FULL")
        with self.transaction():
            found = self.connection.execute("PRAGMA user_version").fetchone()[0]
            if found == 0:
                if self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise LogUnavailableError(f"{self.path} is a database, but no journal. Check the path.")
                for statement in _TABLES.split(";"):
                    self.connection.execute(statement)
                self.connection.execute(f"PRAGMA user_version={_FORMAT}")
            elif found != _FORMAT:
                raise LogUnavailableError(
                    f"{self.path}: wanted a journal of format {_FORMAT}, found {found}. Use the version that wrote it."
                )

    def _write_ahead(self) -> None:
        """Switch to the write-ahead log; unlike everything else this does not wait for other processes by itself."""
        until_s = time.monotonic() + BUSY_S
        while True:
            try:
                self.connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until_s:
                    raise
                time.sleep(0.02)
            else:
                return

    @contextmanager
    def translated(self) -> Iterator[None]:
        """SQLite's errors as ours.

        Raises:
            LogFullError: The disk is full.
            LogUnavailableError: Anything else that keeps the file from being used.
        """
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise LogFullError(f"{self.path}: the disk is full. Nothing was written; make room.") from error
            advice = _ADVICE.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY, "")
            raise LogUnavailableError(f"{self.path} cannot be used as a journal: {error}.{advice}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, durable at the end; other processes' writers wait."""
        with self.lock, self.translated():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                self._topics.clear()  # one that this transaction made is gone again
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def now_us(self) -> int:
        """The clock in microseconds since 1970."""
        return (self._clock.now() - _EPOCH) // _MICROSECOND

    def topic(self, name: str) -> Found:
        """A topic by its name.

        Raises:
            ConfigError: There is none such.
        """
        if name not in self._topics:
            with self.lock, self.translated():
                row = self.connection.execute(
                    "SELECT id, partitions, compacted, keep_days FROM topics WHERE name = ?", (name,)
                ).fetchone()
            if row is None:
                raise ConfigError(f"{self.path} has no topic {name!r}. Its topics: {self._names()}.")
            spec = TopicSpec(name=name, partitions=row[1], compacted=bool(row[2]), keep_days=row[3])
            self._topics[name] = Found(row[0], spec)
        return self._topics[name]

    def _names(self) -> str:
        with self.lock, self.translated():
            there = self.connection.execute("SELECT name FROM topics ORDER BY name").fetchall()
        return ", ".join(name for (name,) in there) or "none; whoever writes makes them (ensure)"

    def ensure(self, spec: TopicSpec) -> None:
        """Make one topic, inside a transaction, unless it is there; its keep_days become those of the spec."""
        self.connection.execute(
            "INSERT OR IGNORE INTO topics (name, partitions, compacted, keep_days) VALUES (?, ?, ?, ?)",
            (spec.name, spec.partitions, spec.compacted, spec.keep_days),
        )
        self.connection.execute("UPDATE topics SET keep_days = ? WHERE name = ?", (spec.keep_days, spec.name))
        self._topics.pop(spec.name, None)
        found = self.topic(spec.name)
        if (found.spec.partitions, found.spec.compacted) != (spec.partitions, spec.compacted):
            self._topics.pop(spec.name)
            raise ConfigError(
                f"{self.path}: wanted {spec}, found {found.spec}. A topic cannot be changed; name another."
            )
        self.connection.executemany(
            "INSERT OR IGNORE INTO ends VALUES (?, ?, 0)", [(found.id, part) for part in range(spec.partitions)]
        )

    def end(self, topic: int, part: int) -> int:
        """The offset that the next entry of a partition gets."""
        return int(
            self.connection.execute("SELECT next FROM ends WHERE topic = ? AND part = ?", (topic, part)).fetchone()[0]
        )

    def place(
        self, topic: str, entries: Sequence[Entry], *, unique: Sequence[str] | None = None
    ) -> list[tuple[int, int]]:
        """Put entries into their places, inside a transaction; one whose unique name is there keeps its first place.

        What is refused is refused before the first of them is written.

        Raises:
            ConfigError: There is no such topic or partition.
            LogFullError: They do not fit the bounds.
        """
        found = self.topic(topic)
        ends: dict[int, int] = {}
        known = self._known(found.id, unique or ())
        rows, placed, names = [], [], []
        for index, entry in enumerate(entries):
            name = unique[index] if unique is not None else None
            if name is not None and name in known:
                placed.append(known[name])
                continue
            part = self._part(found.spec, entry)
            offset = ends.get(part, -1)
            if offset < 0:
                offset = self.end(found.id, part)
            ends[part] = offset + 1
            placed.append((part, offset))
            rows.append((found.id, part, offset, entry.key, entry.value))
            if name is not None:
                known[name] = (part, offset)
                names.append((found.id, name, part, offset))
        # the lock is held from the count to the commit, so two writers never both fit into the last room
        self._make_room(len(rows), sum(_cost(row[3], row[4]) for row in rows))
        now_us = self.now_us()
        self.connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", [(*row, now_us) for row in rows])
        self.connection.executemany("INSERT INTO uniques VALUES (?, ?, ?, ?)", names)
        self.connection.executemany(
            "UPDATE ends SET next = ? WHERE topic = ? AND part = ?",
            [(offset, found.id, part) for part, offset in ends.items()],
        )
        return placed

    def _known(self, topic: int, names: Sequence[str]) -> dict[str, tuple[int, int]]:
        query = "SELECT part, offset FROM uniques WHERE topic = ? AND name = ?"
        found = {name: self.connection.execute(query, (topic, name)).fetchone() for name in names}
        return {name: (row[0], row[1]) for name, row in found.items() if row is not None}

    def _part(self, spec: TopicSpec, entry: Entry) -> int:
        if entry.partition is None:
            return partition_of(entry.key, spec.partitions)
        if not 0 <= entry.partition < spec.partitions:
            raise ConfigError(f"{spec.name}: wanted a partition below {spec.partitions}, found {entry.partition}.")
        return entry.partition

    def _make_room(self, entries: int, size: int) -> None:
        if not self._fits(entries, size):
            now_us = self.now_us()
            if now_us >= self._tidy_again_us:  # a full journal refuses thousands a second: none of them may cost a scan
                self.tidy()
            if not self._fits(entries, size):
                if now_us >= self._tidy_again_us:
                    self._tidy_again_us = now_us + TIDY_EVERY_US
                raise LogFullError(
                    f"{self.path}: {entries:,} more entries do not fit into {self._bounds}. "
                    "Let readers catch up, shorten keep_days, or raise the bounds."
                )
        self.connection.execute("UPDATE size SET entries = entries + ?, bytes = bytes + ?", (entries, size))

    def _fits(self, entries: int, size: int) -> bool:
        held, held_bytes = self.connection.execute("SELECT entries, bytes FROM size").fetchone()
        return bool(held + entries <= self._bounds.max_entries and held_bytes + size <= self._bounds.max_bytes)

    def rows(self, topic: Found, part: int, start: int, limit: int) -> list[Stored]:
        """The entries of a partition from an offset on."""
        found = self.connection.execute(
            "SELECT offset, key, value, at_us FROM entries WHERE topic = ? AND part = ? AND offset >= ? "
            "ORDER BY offset LIMIT ?",
            (topic.id, part, start, limit),
        )
        return [Stored(topic.spec.name, part, *row) for row in found]

    def tidy(self) -> int:
        """Drop what no topic need keep, inside a transaction; returns how many entries went.

        What is older than its topic's keep_days goes once every group has committed past it: a slow group fills the
        journal up to its bound, where writers are told, instead of losing what it has not seen.
        """
        before = self.connection.execute("SELECT entries FROM size").fetchone()[0]
        now_us = self.now_us()
        for topic, compacted, keep_days in self.connection.execute(
            "SELECT id, compacted, keep_days FROM topics"
        ).fetchall():
            if compacted:
                self._compact(topic, now_us)
            if keep_days is not None:
                self._expire(topic, now_us - round(keep_days * 86_400_000_000))
        self.connection.execute(
            "DELETE FROM uniques WHERE NOT EXISTS (SELECT 1 FROM entries WHERE entries.topic = uniques.topic "
            "AND entries.part = uniques.part AND entries.offset = uniques.offset)"
        )
        self.connection.execute(
            "UPDATE size SET (entries, bytes) = (SELECT count(*), "
            "coalesce(sum(length(key) + coalesce(length(value), 0) + ?), 0) FROM entries)",
            (ENTRY_OVERHEAD_BYTES,),
        )
        return int(before - self.connection.execute("SELECT entries FROM size").fetchone()[0])

    def _compact(self, topic: int, now_us: int) -> None:
        self.connection.execute(
            "DELETE FROM entries WHERE topic = :topic AND (part, offset) NOT IN "
            "(SELECT part, max(offset) FROM entries WHERE topic = :topic GROUP BY part, key)",
            {"topic": topic},
        )
        self.connection.execute(
            "DELETE FROM entries WHERE topic = ? AND value IS NULL AND at_us < ?", (topic, now_us - TOMBSTONE_KEPT_US)
        )

    def _expire(self, topic: int, oldest_us: int) -> None:
        self.connection.execute(
            "DELETE FROM entries WHERE topic = ? AND at_us < ? AND offset < coalesce((SELECT min(next) FROM positions "
            "WHERE positions.topic = entries.topic AND positions.part = entries.part), 9223372036854775807)",
            (topic, oldest_us),
        )


def _cost(key: bytes, value: bytes | None) -> int:
    return len(key) + len(value or b"") + ENTRY_OVERHEAD_BYTES
