"""Alerts, and the notifications that are to be sent, in one SQLite file: whatever was taken in is sent.

A notification is claimed on the disk, sent, then marked as sent. What cannot be claimed is not sent: a full disk
repeats no mail. A process that dies between the other side's answer and the mark sends it again when it is back,
after the claim's pause; the id is the same, by which mail readers and webhook receivers tell a repeat.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import msgspec

from plugcast.adapters.subscriber.seen_ids import SeenIds
from plugcast.domain.alert import Notification
from plugcast.errors import LogFullError, LogUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from plugcast.ports import Sending

    class _Run(Protocol):
        def __call__(self, sql: str, parameters: Sequence[object] = (), /) -> sqlite3.Cursor: ...


MOST_QUEUED: Final = 10_000
"""Notifications that wait; more are refused, and their findings wait on the bus."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS alerts (alert_id TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sendings (
    notification_id TEXT NOT NULL, channel TEXT NOT NULL, document BLOB NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, made_at REAL NOT NULL, due_at REAL NOT NULL, detail TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (notification_id, channel)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sendings_due ON sendings (state, due_at);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A notification for one channel."""

    notification: Notification
    channel: str
    state: str
    """``queued``, ``sent`` or ``failed``."""
    attempts: int
    detail: str


class Outbox:
    """Anybody may look into it; whoever sends from it owns it first.

    Args:
        path: The file; made if missing.

    Raises:
        LogUnavailableError: It cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        try:
            self._connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_SCHEMA)
            self._ids = SeenIds(self._connection)
        except sqlite3.Error as error:
            raise LogUnavailableError(f"Outbox {path}: {error}.") from error
        self._lock = Lock()
        self._path = path
        self._owner: sqlite3.Connection | None = None

    def own(self) -> bool:
        """Become the one process that writes and sends, until it closes the outbox or dies; False while another is.

        An exclusive lock on an empty database beside the file: the system takes it from a process that dies.

        Raises:
            LogUnavailableError: The lock cannot be had for another reason than that.
        """
        if self._owner is None:
            path, lock = f"{self._path}-owner", None
            try:
                lock = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.Error as error:
                if lock is not None:
                    lock.close()
                if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                    return False
                raise LogUnavailableError(f"Outbox {path}: {error}.") from error
            self._owner = lock
        return True

    def unseen(self, message_ids: Sequence[str]) -> set[str]:
        """Those of the messages that were not taken in before."""
        with self._lock, _translated():
            return set(self._ids.unseen(message_ids))

    def take(
        self,
        *,
        now: datetime,
        seen: Sequence[str] = (),
        alerts: Mapping[str, bytes] | None = None,
        notifications: Sequence[Notification] = (),
        channels: Sequence[str] = (),
    ) -> None:
        """Messages seen, alerts as they stand now, and notifications for each channel: all or none, durable.

        Raises:
            LogFullError: Too many notifications wait.
            LogUnavailableError: The disk refused.
        """
        stamp = now.timestamp()
        with self._transaction() as run:
            waiting = run("SELECT count(*) FROM sendings WHERE state = 'queued'").fetchone()[0]
            if notifications and waiting + len(notifications) * len(channels) > MOST_QUEUED:
                raise LogFullError(f"{waiting:,} notifications wait to be sent; no more are taken.")
            if seen:
                self._ids.mark(seen, now=now)
            for alert_id, document in (alerts or {}).items():
                run("INSERT OR REPLACE INTO alerts VALUES (?, ?)", (alert_id, document))
            for notification in notifications:
                document = msgspec.json.encode(notification)
                for channel in channels:
                    run(
                        "INSERT OR IGNORE INTO sendings (notification_id, channel, document, state, made_at, due_at) "
                        "VALUES (?, ?, ?, 'queued', ?, ?)",
                        (notification.notification_id, channel, document, stamp, stamp),
                    )

    def alerts(self) -> list[bytes]:
        """Every alert as it was last taken in."""
        return [row[0] for row in self._read("SELECT document FROM alerts ORDER BY alert_id")]

    def due(self, channel: str, *, now: datetime, limit: int = 20) -> list[Queued]:
        """What a channel is to send now, the oldest first."""
        return self._rows(
            "WHERE channel = ? AND state = 'queued' AND due_at <= ? ORDER BY due_at, notification_id LIMIT ?",
            (channel, now.timestamp(), limit),
        )

    def sendings(self, *, limit: int = 1_000) -> list[Queued]:
        """All that is known of sendings, the newest first."""
        return self._rows("ORDER BY made_at DESC, notification_id LIMIT ?", (limit,))

    def claim(self, queued: Queued, *, retry_at: datetime) -> None:
        """About to be sent: if nothing is heard of it, it is tried again then.

        Raises:
            LogUnavailableError: It cannot be written down, and must not be sent.
        """
        with self._transaction() as run:
            run(
                "UPDATE sendings SET attempts = attempts + 1, due_at = ?, detail = 'under way' "
                "WHERE notification_id = ? AND channel = ?",
                (retry_at.timestamp(), queued.notification.notification_id, queued.channel),
            )

    def settle(self, queued: Queued, sending: Sending, *, retry_at: datetime | None) -> None:
        """What became of a claimed sending; with an instant it is tried again then."""
        state = "queued" if retry_at is not None else sending.outcome.value
        state = "failed" if state not in {"queued", "sent"} else state
        with self._transaction() as run:
            run(
                "UPDATE sendings SET state = ?, detail = ?, due_at = coalesce(?, due_at) "
                "WHERE notification_id = ? AND channel = ?",
                (
                    state,
                    sending.detail,
                    retry_at.timestamp() if retry_at is not None else None,
                    queued.notification.notification_id,
                    queued.channel,
                ),
            )

    def tidy(self, *, now: datetime, keep: timedelta) -> None:
        """Forget what was sent or given up longer ago, and what waits for a channel that is no more."""
        before = (now - keep).timestamp()
        with self._transaction() as run:
            run("DELETE FROM sendings WHERE made_at < ?", (before,))

    def drop_alerts(self, alert_ids: Iterable[str]) -> None:
        """Forget alerts that can grow no more."""
        with self._transaction() as run:
            for alert_id in alert_ids:
                run("DELETE FROM alerts WHERE alert_id = ?", (alert_id,))

    def close(self) -> None:
        """Close the file, and own it no more."""
        with self._lock:
            self._connection.close()
            if self._owner is not None:
                self._owner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self, where: str, values: tuple[object, ...]) -> list[Queued]:
        columns = "document, channel, state, attempts, detail"
        rows = self._read(f"SELECT {columns} FROM sendings {where}", values)  # noqa: S608 - our own text
        return [
            Queued(
                notification=msgspec.json.decode(document, type=Notification),
                channel=channel,
                state=state,
                attempts=attempts,
                detail=detail,
            )
            for document, channel, state, attempts, detail in rows
        ]

    def _read(self, sql: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self._lock, _translated():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[_Run]:
        with self._lock, _translated():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


@contextmanager
def _translated() -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise LogUnavailableError(f"Outbox: {error}.") from error
