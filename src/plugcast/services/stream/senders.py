"""What every sender to a log needs: to be the only one of its name, and to know how far an earlier one had come.

Its position stands in a compacted topic, under its name, written in the transactions that send.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from plugcast.errors import LogFencedError, LogUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugcast.ports import Log, LogWorker

WAIT_S: Final = 30.0
READ_AT_ONCE: Final = 1_000


def be_the_only_one(worker: LogWorker, *, taken: str, stopped: Callable[[], bool] = lambda: False) -> None:
    """Wait until the worker holds its group's partitions.

    Args:
        worker: Of a group that has the sender's name.
        taken: What to say if another one holds them all the time.
        stopped: Ends the waiting.

    Raises:
        LogFencedError: Another process does the same.
    """
    until_s = time.monotonic() + WAIT_S
    while not worker.lag() and not stopped():
        worker.poll(1, wait_s=0.1)
        if time.monotonic() > until_s:
            raise LogFencedError(taken)


def last_kept(log: Log, topic: str, key: bytes) -> bytes | None:
    """The last value under a key of a compacted topic; None where there is none.

    Raises:
        LogUnavailableError: The log does not give it all in time.
    """
    reader, found = log.reader(topic), None
    until_s = time.monotonic() + WAIT_S
    try:
        while not reader.caught_up():
            if time.monotonic() > until_s:
                raise LogUnavailableError(f"The log does not say what {topic} holds. It may later.")
            for stored in reader.read(READ_AT_ONCE, wait_s=0.1):
                if stored.key == key:
                    found = stored.value
    finally:
        reader.close()
    return found
