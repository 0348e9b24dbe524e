"""The contract of the log over memory and the journal; over Kafka it stands in ``tests/connected``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.laws.log_contract import LEASE_S, LocalLogContract

from plugcast.adapters.journal import Bounds, JournalLog
from plugcast.adapters.memory_log import MemoryLog
from plugcast.ports import TopicSpec

if TYPE_CHECKING:
    from pathlib import Path

    from plugcast.adapters.memory import ManualClock


class TestMemoryLog(LocalLogContract):
    def make(self, folder: Path, clock: ManualClock, *, max_entries: int = 10_000) -> MemoryLog:
        assert folder.is_dir()
        return MemoryLog(clock=clock, max_entries=max_entries, lease_s=LEASE_S)


class TestJournalLog(LocalLogContract):
    def make(self, folder: Path, clock: ManualClock, *, max_entries: int = 10_000) -> JournalLog:
        return JournalLog(folder / "journal.db", clock=clock, bounds=Bounds(max_entries=max_entries), lease_s=LEASE_S)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TopicSpec(name="", partitions=1),
        lambda: TopicSpec(name="t", partitions=0),
        lambda: TopicSpec(name="t", partitions=1, keep_days=-1.0),
        lambda: TopicSpec(name="t", partitions=1, keep_days=float("nan")),
    ],
)
def test_a_topic_that_could_not_be_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match="at least one partition"):
        make()
