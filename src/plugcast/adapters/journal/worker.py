"""A group's member: takes the lease, reads on from what the group committed, and commits effects with positions."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from plugcast.errors import ConfigError, LogFencedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugcast.adapters.journal.store import Store
    from plugcast.ports import Entry, Place, Stored


class JournalWorker:
    """A member of a group over topics; the one that holds the lease holds every partition.

    The lease is a matter of time, who may commit is not: the holder's name is compared inside the transaction that
    commits. A member that slept through its lease commits if nobody came, and never again if somebody did.
    """

    def __init__(self, store: Store, group: str, topics: Sequence[str], *, lease_us: int, look_again_s: float) -> None:
        self._store = store
        self._group = group
        if not topics:
            raise ConfigError(f"group {group}: wanted at least one topic, found none.")
        self._topics = [store.topic(name) for name in dict.fromkeys(topics)]
        self._ids = {topic.spec.name: topic for topic in self._topics}
        self._lease_us = lease_us
        self._look_again_s = look_again_s
        self._holder = uuid.uuid4().hex
        self._holds = False
        self._closed = False
        self._next: dict[Place, int] = {}
        self._first = 0

    def poll(self, limit: int, *, wait_s: float = 0.0) -> list[Stored]:
        """The next entries of every partition in turn; empty while another member holds the lease."""
        until_s = time.monotonic() + wait_s
        while not (found := self._poll(limit)) and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(self._look_again_s, left_s))
        return found

    def _poll(self, limit: int) -> list[Stored]:
        with self._store.lock, self._store.translated():
            self._store.require_own_file()
            if not self._hold():
                return []
            places = list(self._next)
            # each poll begins with another partition, so that a busy one does not starve the rest
            self._first = (self._first + 1) % len(places)
            found: list[Stored] = []
            for name, part in places[self._first :] + places[: self._first]:
                wanted = limit - len(found)
                rows = self._store.rows(self._ids[name], part, self._next[name, part], wanted) if wanted > 0 else []
                if rows:
                    self._next[name, part] = rows[-1].offset + 1
                    found += rows
            return found

    def _hold(self) -> bool:
        """Take or renew the lease where that is due; reading it alone costs no wait for the disk."""
        if self._closed:
            raise LogFencedError(f"group {self._group}: this member has left. Take a new one from the log.")
        holder, until_us = self._lease()
        now_us = self._store.now_us()
        if self._holds:
            self._check(holder)
            if until_us - now_us > self._lease_us // 2:
                return True
        elif until_us > now_us:
            return False
        with self._store.transaction():
            holder, until_us = self._lease()
            if self._holds:
                self._check(holder)
                self._renew()
            elif until_us > now_us:
                return False
            else:
                self._take()
        return True

    def _lease(self) -> tuple[str, int]:
        row = self._store.connection.execute(
            "SELECT holder, until_us FROM leases WHERE member_group = ?", (self._group,)
        ).fetchone()
        return ("", 0) if row is None else (row[0], row[1])

    def _check(self, holder: str) -> None:
        if holder != self._holder:
            raise LogFencedError(
                f"group {self._group}: another member has taken over. Drop what was read, close, and join again."
            )

    def _take(self) -> None:
        connection = self._store.connection
        connection.execute(
            "INSERT OR REPLACE INTO leases VALUES (?, ?, ?)",
            (self._group, self._holder, self._store.now_us() + self._lease_us),
        )
        places = [(topic, part) for topic in self._topics for part in range(topic.spec.partitions)]
        # a row from the start on, so that nothing is expired before the group has seen it
        connection.executemany(
            "INSERT OR IGNORE INTO positions VALUES (?, ?, ?, 0)",
            [(self._group, topic.id, part) for topic, part in places],
        )
        self._next = {(topic.spec.name, part): self._position(topic.id, part) for topic, part in places}
        self._holds = True

    def _position(self, topic: int, part: int) -> int:
        row = self._store.connection.execute(
            "SELECT next FROM positions WHERE member_group = ? AND topic = ? AND part = ?", (self._group, topic, part)
        ).fetchone()
        return int(row[0])

    def _renew(self) -> None:
        self._store.connection.execute(
            "UPDATE leases SET until_us = ? WHERE member_group = ?",
            (self._store.now_us() + self._lease_us, self._group),
        )

    def commit(self, outputs: Mapping[str, Sequence[Entry]], positions: Mapping[Place, int]) -> None:
        """Outputs and positions in one transaction, which also checks that this member still holds the lease."""
        with self._store.transaction():
            if not self._holds or self._closed:
                raise LogFencedError(f"group {self._group}: this member holds no partitions, so it commits nothing.")
            self._check(self._lease()[0])
            for (name, part), offset in positions.items():
                self._move(name, part, offset)
            for name, entries in outputs.items():
                self._store.place(name, entries)
            self._renew()

    def _move(self, name: str, part: int, offset: int) -> None:
        if (name, part) not in self._next:
            raise ConfigError(f"group {self._group} does not read partition {part} of {name!r}.")
        topic = self._ids[name].id
        end = self._store.end(topic, part)
        if not 0 <= offset <= end:
            raise ConfigError(f"{name} {part}: wanted a position from 0 to the end {end}, found {offset}.")
        self._store.connection.execute(
            "UPDATE positions SET next = ? WHERE member_group = ? AND topic = ? AND part = ?",
            (offset, self._group, topic, part),
        )

    def lag(self) -> dict[Place, int]:
        """What the group has not committed, for each partition held."""
        with self._store.lock, self._store.translated():
            if not self._holds or self._closed or self._lease()[0] != self._holder:
                return {}
            return {
                (name, part): self._store.end(self._ids[name].id, part) - self._position(self._ids[name].id, part)
                for name, part in self._next
            }

    def close(self) -> None:
        """Let the lease go, if it is still this member's."""
        if self._holds and not self._closed:
            with self._store.transaction():
                self._store.connection.execute(
                    "UPDATE leases SET until_us = 0 WHERE member_group = ? AND holder = ?", (self._group, self._holder)
                )
        self._closed = True
