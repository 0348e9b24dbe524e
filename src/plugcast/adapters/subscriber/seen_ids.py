"""Which messages were dealt with before: what turns "at least once" into "once" for a subscriber of the bus."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING, Final, Self

from plugcast.errors import LogUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

KEEP: Final = timedelta(days=30)
"""As long as the topics keep their messages: nothing older can come again."""
MOST: Final = 1_000_000
_AT_ONCE: Final = 500
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS seen_ids (message_id TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_ids_at ON seen_ids (at);
"""


class SeenIds:
    """Ids of messages, durable and bounded.

    An effect counts once if the id is marked in the effect's own transaction: give this the connection that the effect
    is written with, and commit both. Marked after the effect, a crash in between repeats it; before, loses it.

    Args:
        connection: Of SQLite; commits are the caller's.
        keep: Ids older than this are forgotten.
        most: Beyond so many the oldest are forgotten; a repeat of one of those would count again.
    """

    def __init__(self, connection: sqlite3.Connection, *, keep: timedelta = KEEP, most: int = MOST) -> None:
        if most < 1:
            raise ValueError(f"wanted room for at least one id, found {most}")
        self._connection = connection
        self._keep_s, self._most = keep.total_seconds(), most
        self._lock = Lock()
        connection.executescript(_SCHEMA)

    @classmethod
    def at(cls, path: Path | str, *, keep: timedelta = KEEP, most: int = MOST) -> Self:
        """In a file of its own (made if missing), or in ``:memory:``; each ``mark`` is durable by itself.

        Raises:
            LogUnavailableError: The file cannot be opened, or is none of SQLite's.
        """
        try:
            connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            return cls(connection, keep=keep, most=most)
        except sqlite3.Error as error:
            raise LogUnavailableError(f"Ids seen, {path}: {error}.") from error

    def unseen(self, message_ids: Iterable[str]) -> list[str]:
        """Those that were never marked, each once, in their order."""
        asked = list(dict.fromkeys(message_ids))
        known: set[str] = set()
        with self._lock:
            for start in range(0, len(asked), _AT_ONCE):
                part = asked[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = self._connection.execute(f"SELECT message_id FROM seen_ids WHERE message_id IN ({marks})", part)  # noqa: S608 - question marks
                known.update(row[0] for row in rows)
        return [name for name in asked if name not in known]

    def mark(self, message_ids: Iterable[str], *, now: datetime) -> None:
        """They are dealt with; twice does no harm. What is too old or too much is forgotten."""
        stamp = now.timestamp()
        with self._lock:
            run = self._connection.execute
            for name in message_ids:
                run("INSERT OR IGNORE INTO seen_ids VALUES (?, ?)", (name, stamp))
            run("DELETE FROM seen_ids WHERE at < ?", (stamp - self._keep_s,))
            over = run("SELECT count(*) FROM seen_ids").fetchone()[0] - self._most
            if over > 0:
                run(
                    "DELETE FROM seen_ids WHERE message_id IN "
                    "(SELECT message_id FROM seen_ids ORDER BY at, message_id LIMIT ?)",
                    (over,),
                )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
