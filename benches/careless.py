"""A detector that loses data, to prove that the fault harness sees it: positions are committed first, effects later.

That is what a consumer with automatic commits and a producer that lingers does. Run by ``stream_faults`` as a process
of its own, since it is there to be killed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Final

from plugcast.adapters.clock import SystemClock
from plugcast.adapters.files import LocalArtifacts
from plugcast.config import load
from plugcast.domain import topics
from plugcast.services.detect_run import load as load_detector
from plugcast.services.stream.detecting import Detecting
from plugcast.services.stream.engine import Engine
from plugcast.services.stream.places import open_log
from plugcast.services.stream.serving import GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugcast.ports import Entry, LogWorker, Place, Stored

LINGER_S: Final = 0.3


class Careless:
    """A member of a group that says of everything it has read that it is done."""

    def __init__(self, worker: LogWorker) -> None:
        self._worker = worker

    def poll(self, limit: int, *, wait_s: float = 0.0) -> list[Stored]:
        """Read, and commit at once."""
        entries = self._worker.poll(limit, wait_s=wait_s)
        if entries:
            self._worker.commit({}, {(one.topic, one.partition): one.offset + 1 for one in entries})
        return entries

    def commit(self, outputs: Mapping[str, Sequence[Entry]], positions: Mapping[Place, int]) -> None:
        """Linger, then send: all is well as long as nobody dies in between. The positions are committed long since."""
        time.sleep(LINGER_S if positions else 0.0)
        if outputs:
            self._worker.commit(outputs, {})

    def lag(self) -> dict[Place, int]:
        """As it is."""
        return self._worker.lag()

    def close(self) -> None:
        """Leave."""
        self._worker.close()


def main() -> None:
    """``careless.py MODEL PLACE``: until killed."""
    model, place = sys.argv[1:]
    detector, log, settings = load_detector(LocalArtifacts(Path(model))), open_log(place), load()
    engine = Engine(
        make_worker=lambda: Careless(log.worker(GROUP, [topics.STATION_DATA])),
        make_reader=lambda: log.reader(topics.DETECTOR_STATE),
        make_processor=lambda: Detecting(detector, time_zone=settings.site.time_zone),
        clock=SystemClock(),
    )
    engine.run(Event())


if __name__ == "__main__":
    main()
