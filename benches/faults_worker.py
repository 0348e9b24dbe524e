"""A worker of the bench ``faults``: copies a topic to another until it is killed; started as a process of its own."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plugcast.adapters.kafka import KafkaLog, Times
from plugcast.errors import LogError
from plugcast.ports import Entry, after

if TYPE_CHECKING:
    from plugcast.ports import LogWorker, LogWriter

TIMES: Final = Times(answer_s=40.0, join_s=5.0, session_s=3.0, processing_s=15.0, transaction_s=5.0)
BATCH: Final = 100
WORK_S: Final = 0.03
"""What stands for the work on a batch: a kill shall meet it."""


def copy(worker: LogWorker, writer: LogWriter, *, careless: bool) -> int:
    """One batch; the careless way commits the positions before the work, as automatic commits do."""
    rows = worker.poll(BATCH, wait_s=0.2)
    if not rows:
        return 0
    positions = after(rows)
    outputs = [Entry(row.key, row.value) for row in rows]
    if careless:
        worker.commit({}, positions)
        time.sleep(WORK_S)
        writer.append("out", outputs)
    else:
        time.sleep(WORK_S)
        worker.commit({"out": outputs}, positions)
    return 1


def main(servers: str, prefix: str, way: str, progress: str) -> None:
    """Work for ever, a byte in the file of progress for each batch; whatever the log says, join again."""
    logging.basicConfig(level=logging.ERROR)
    log = KafkaLog(servers, prefix=prefix, times=TIMES)
    while True:
        try:
            worker, writer = log.worker("copy", ["in"]), log.writer()
        except LogError:
            time.sleep(0.2)
            continue
        try:
            with Path(progress).open("ab", buffering=0) as told:
                while True:
                    told.write(b"." * copy(worker, writer, careless=way == "careless"))
        except LogError as error:
            print(error, file=sys.stderr, flush=True)
            worker.close()
            time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
