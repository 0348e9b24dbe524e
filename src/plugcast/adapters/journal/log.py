"""A ``ports.Log`` in one SQLite file, for any number of processes of one machine."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from plugcast.adapters.journal.store import Bounds, Store
from plugcast.adapters.journal.worker import JournalWorker
from plugcast.errors import LogUnavailableError, PlugcastError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plugcast.ports import Clock, Entry, Stored, TopicSpec

LOOK_AGAIN_S: Final = 0.02
"""How often a waiting reader looks; another process's commit rings no bell."""


@dataclass(slots=True)
class _Append:
    """One caller's entries, waiting for a transaction that carries them."""

    topic: str
    entries: Sequence[Entry]
    unique: Sequence[str] | None
    placed: list[tuple[int, int]] = field(default_factory=list)
    error: PlugcastError | None = None
    done: bool = False


class JournalLog:
    """A durable log with nothing to install.

    Args:
        path: The file; made if missing. It must lie on a local disk: SQLite's write-ahead log does not work over a
            network file system.
        clock: Stamps entries and dates leases; all processes of a journal need the same time.
        bounds: What it may hold before appends are refused.
        lease_s: How long a member of a group that says nothing keeps its place.
    """

    def __init__(self, path: Path | str, *, clock: Clock, bounds: Bounds | None = None, lease_s: float = 10.0) -> None:
        self._store = Store(Path(path), clock=clock, bounds=bounds or Bounds())
        self._lease_us = round(lease_s * 1e6)
        self._waiting: list[_Append] = []
        self._waiting_lock = Lock()

    def ensure(self, topics: Iterable[TopicSpec]) -> None:
        """Make the topics that are missing, all or none."""
        with self._store.transaction():
            for spec in topics:
                self._store.ensure(spec)

    def writer(self) -> JournalWriter:
        """A way in; writers of one journal share transactions."""
        return JournalWriter(self)

    def reader(self, topic: str) -> JournalReader:
        """A way through all of a topic."""
        return JournalReader(self._store, topic)

    def worker(self, group: str, topics: Sequence[str]) -> JournalWorker:
        """A member of a group; one at a time holds all partitions, the others stand by."""
        return JournalWorker(self._store, group, topics, lease_us=self._lease_us, look_again_s=LOOK_AGAIN_S)

    def tidy(self) -> int:
        """Compact and expire now; appends do it by themselves when the journal is full. Returns the entries dropped."""
        with self._store.transaction():
            return self._store.tidy()

    def close(self) -> None:
        """Close the file; writers, readers and workers of this log are of no use afterwards."""
        with self._store.lock:
            self._store.connection.close()

    def append(self, topic: str, entries: Sequence[Entry], unique: Sequence[str] | None) -> list[tuple[int, int]]:
        """One durable append. Callers that wait for the disk meanwhile share the next transaction (group commit)."""
        request = _Append(topic, entries, unique)
        with self._waiting_lock:
            self._waiting.append(request)
        with self._store.lock:
            if not request.done:  # else whoever held the lock before has carried it
                with self._waiting_lock:
                    batch, self._waiting = self._waiting, []
                self._carry(batch)
        if request.error is not None:
            raise request.error
        return request.placed

    def _carry(self, batch: list[_Append]) -> None:
        try:
            with self._store.transaction():
                for request in batch:
                    self._place(request)
        except PlugcastError as error:
            for request in batch:
                request.error = request.error or error
        except BaseException as error:
            # the caller whose thread was interrupted sees that; those who waited with it must not think it went well
            for request in batch:
                request.error = request.error or LogUnavailableError(f"The append was interrupted: {error!r}.")
            raise
        finally:
            for request in batch:
                request.done = True

    def _place(self, request: _Append) -> None:
        """One request inside the batch's transaction; one that is refused has written nothing, so the rest go on."""
        try:
            request.placed = self._store.place(request.topic, request.entries, unique=request.unique)
        except PlugcastError as error:
            request.error = error


class JournalWriter:
    """Appends entries; each call is atomic and, at its return, on the disk."""

    def __init__(self, log: JournalLog) -> None:
        self._log = log
        self._closed = False

    def append(
        self, topic: str, entries: Sequence[Entry], *, unique: Sequence[str] | None = None
    ) -> list[tuple[int, int]]:
        """Store entries in order, all or none.

        Args:
            topic: Where.
            entries: What.
            unique: A name for each entry. One whose name the topic has is not stored again, and its first place is
                returned: a retry after an unknown outcome does no harm. A name is forgotten with its entry.

        Raises:
            ValueError: There are not as many names as entries.
        """
        if unique is not None and len(unique) != len(entries):
            raise ValueError(f"wanted a unique name for each of {len(entries)} entries, found {len(unique)}")
        if self._closed:
            raise LogUnavailableError("This writer is closed. Take a new one from the log.")
        return self._log.append(topic, entries, unique) if entries else []

    def close(self) -> None:
        """Refuse further appends."""
        self._closed = True


class JournalReader:
    """Reads all partitions of one topic from the start."""

    def __init__(self, store: Store, topic: str) -> None:
        self._store = store
        self._topic = store.topic(topic)
        self._next = dict.fromkeys(range(self._topic.spec.partitions), 0)
        self._there: dict[int, int] = {}
        self.look_again()

    def read(self, limit: int, *, wait_s: float = 0.0) -> list[Stored]:
        """The next entries, partition by partition."""
        until_s = time.monotonic() + wait_s
        while not (found := self._read(limit)) and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(LOOK_AGAIN_S, left_s))
        return found

    def _read(self, limit: int) -> list[Stored]:
        found: list[Stored] = []
        with self._store.lock, self._store.translated():
            for part, start in self._next.items():
                wanted = limit - len(found)
                if wanted <= 0:
                    break
                end = self._store.end(self._topic.id, part)
                rows = self._store.rows(self._topic, part, start, wanted)
                # behind the last entry lie only gaps that compaction has left
                last = rows[-1].offset + 1 if rows else 0
                self._next[part] = last if len(rows) == wanted else max(last, end)
                found += rows
        return found

    def caught_up(self) -> bool:
        """Whether the ends at opening, or at the last look again, have been reached."""
        return all(self._next[part] >= end for part, end in self._there.items())

    def look_again(self) -> None:
        """Take the ends anew."""
        with self._store.lock, self._store.translated():
            self._there = {part: self._store.end(self._topic.id, part) for part in self._next}

    def close(self) -> None:
        """Nothing is held."""
