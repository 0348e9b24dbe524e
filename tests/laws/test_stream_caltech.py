"""A month of a real workplace, streamed through one, two and three detectors, is what the batch makes of it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from tests.streams import drain, require_the_batch, said

from plugcast.adapters.journal import JournalLog
from plugcast.adapters.memory import ManualClock
from plugcast.adapters.memory_log import MemoryLog, MemoryWorker
from plugcast.domain import topics
from plugcast.features.sessions import rows_of
from plugcast.services.detection import train_detector, watch_closely
from plugcast.services.sources import open_sessions
from plugcast.services.stream.detecting import Detecting
from plugcast.services.stream.engine import Engine
from plugcast.services.stream.messages_of import entries_of, messages_of
from plugcast.services.stream.topics import specs

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugcast.ports import Log, LogWorker

pytestmark = [pytest.mark.data, pytest.mark.slow]

ZONE = "America/Los_Angeles"
NOW = datetime(2021, 1, 1, tzinfo=UTC)
FIRST, BEGIN, END = (datetime(2019, month, 1, 7, tzinfo=UTC) for month in (1, 4, 5))


class Month:
    """April 2019 at Caltech, a detector of the quarter before, and the batch's outcome."""

    def __init__(self, folder: Path) -> None:
        read = open_sessions(folder / "acn_caltech_sessions.jsonl.gz", now=NOW).read()
        known = pl.coalesce("available_at", "departure_at", "arrival_at")
        before, month = (
            read.sessions.filter(known.is_between(start, end, closed="left"))
            for start, end in ((FIRST, BEGIN), (BEGIN, END))
        )
        self.detector = train_detector(before, read.user_inputs, time_zone=ZONE, seed=0)
        features = self.detector.features(month, read.user_inputs)
        features = features.filter(pl.col("observed_at") > self.detector.trained_until_at)
        self.sessions = len(rows_of(features))
        self.findings, self.judgements, _ = watch_closely(self.detector, features, time_zone=ZONE)
        inputs = read.user_inputs.join(month, on="session_id", how="semi")
        self.entries = list(entries_of(messages_of(month, inputs), topics.PARTITIONS))

    def require(self, log: Log) -> None:
        assert len(self.judgements) == self.sessions > 900
        require_the_batch(log, self.findings, self.judgements)
        assert not said(log, topics.DEAD_LETTERS)


@pytest.fixture(scope="module")
def month() -> Month:
    place = os.environ.get("PLUGCAST_DATA")
    if not place:
        if os.environ.get("CI") == "true":
            pytest.fail("PLUGCAST_DATA names no folder, and CI needs the real sessions")
        pytest.skip("PLUGCAST_DATA names no folder with real sessions")
    return Month(Path(place))


def _engine(month: Month, log: Log, join: Callable[[], LogWorker], batch: int) -> Engine:
    return Engine(
        make_worker=join,
        make_reader=lambda: log.reader(topics.DETECTOR_STATE),
        make_processor=lambda: Detecting(month.detector, time_zone=ZONE),
        clock=ManualClock(NOW),
        batch=batch,
        idle_s=None,
    )


@pytest.mark.parametrize(
    ("shares", "batch"), [([(0, 1, 2)], 1_000), ([(0, 2), (1,)], 5_000), ([(0,), (1,), (2,)], 37)], ids=["1", "2", "3"]
)
def test_any_number_of_detectors_come_to_the_batch(month: Month, shares: list[tuple[int, ...]], batch: int) -> None:
    log = MemoryLog(clock=ManualClock(NOW))
    log.ensure(specs())
    log.writer().append(topics.STATION_DATA, month.entries)

    def join(parts: tuple[int, ...]) -> LogWorker:
        return MemoryWorker(log, f"detect-{parts}", [(topics.STATION_DATA, part) for part in parts])

    counts = drain([_engine(month, log, lambda parts=parts: join(parts), batch) for parts in shares])  # type: ignore[misc]
    month.require(log)
    assert counts["messages"] == len(month.entries)
    assert not counts["late"]


def test_a_journal_comes_to_the_batch_through_detectors_that_die(month: Month, tmp_path: Path) -> None:
    """Each third of the month another detector begins anew from the changelog on disk."""
    clock = ManualClock(NOW)
    third = len(month.entries) // 3 + 1
    for start in range(0, len(month.entries), third):
        log = JournalLog(tmp_path / "month.journal", clock=clock)
        log.ensure(specs())
        log.writer().append(topics.STATION_DATA, month.entries[start : start + third])
        detector = _engine(month, log, lambda log=log: log.worker("detectors", [topics.STATION_DATA]), 700)  # type: ignore[misc]
        drain([detector])
        clock.advance(11.0)  # nobody lets the lease go; it runs out
    month.require(log)
