"""The contract of the log over a real Kafka, and what only Kafka can do wrong."""

from __future__ import annotations

import os
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from tests.laws.log_contract import LogContract, values

from plugcast.adapters.kafka import KafkaLog, Times
from plugcast.ports import Entry

if TYPE_CHECKING:
    from pathlib import Path

    from plugcast.adapters.memory import ManualClock
    from plugcast.ports import Log

pytestmark = pytest.mark.connected

TIMES = Times(answer_s=20.0, join_s=10.0, session_s=3.0, processing_s=4.0, transaction_s=5.0)


class TestKafkaLog(LogContract):
    """Each log has a prefix of its own, so that one cluster serves all tests."""

    EXAMPLES = 5

    @pytest.fixture(autouse=True)
    def _cluster(self, kafka_servers: str) -> None:
        self.servers = kafka_servers

    def make(self, folder: Path, clock: ManualClock) -> KafkaLog:
        assert folder.is_dir()
        assert clock is not None
        return KafkaLog(self.servers, prefix=f"t{uuid.uuid4().hex[:12]}.", times=TIMES)

    def leave(self, log: Log) -> None:
        assert isinstance(log, KafkaLog)

    def lapse(self, clock: ManualClock) -> None:
        assert clock is not None
        time.sleep(TIMES.processing_s + 2.0)

    def is_now(self, at_us: int, clock: ManualClock) -> bool:
        assert clock is not None
        return abs(at_us / 1e6 - time.time()) < 600.0

    def test_a_busy_partition_does_not_starve_another(self, log: Log) -> None:
        worker = log.worker("g", ["ev-station-data"])
        log.writer().append("ev-station-data", [Entry(b"k", b"first", part) for part in (0, 2)])
        seen: list[bytes | None] = []
        while len(seen) < 2:  # both are being read: a partition just made may be found later than another
            seen += values(worker.poll(1, wait_s=10.0))
        busy = os.urandom(100_000)  # what cannot be compressed; else all of it fits into one answer
        log.writer().append("ev-station-data", [Entry(b"k", busy, 0)] * 300)
        log.writer().append("ev-station-data", [Entry(b"k", b"rare", 2)])
        while len(seen) < 303:
            seen += values(worker.poll(1, wait_s=10.0))
        assert seen.index(b"rare") < 302  # what was fetched before comes first, 16 MB at most
