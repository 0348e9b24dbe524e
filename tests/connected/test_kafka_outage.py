"""An edge whose Kafka is stopped: the journal fills to its bound, sheds with a count, and is sent in order, once.

``PLUGCAST_OUTAGE_S`` says for how long Kafka is away, at least.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING

import msgspec
import pytest
from scripts.own_server import OwnServer
from tests.laws.log_contract import everything

from plugcast.adapters.journal import Bounds, JournalLog
from plugcast.adapters.kafka import KafkaLog, Times
from plugcast.adapters.memory import ManualClock
from plugcast.domain.messages import SessionEnded
from plugcast.domain.wire import decode
from plugcast.errors import LogError, LogUnavailableError
from plugcast.ports import Entry, TopicSpec
from plugcast.services.showcase import shipped
from plugcast.services.stream.forwarding import FORWARDED, Forwarder, Sent
from plugcast.services.stream.replaying import Playing, Replay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.connected

DATA = TopicSpec(name="ev-station-data", partitions=3)
TIMES = Times(answer_s=3.0, session_s=3.0, processing_s=30.0, transaction_s=3.0)
KEEP = 400
OUTAGE_S = float(os.environ.get("PLUGCAST_OUTAGE_S", "0"))


@pytest.fixture
def broker(kafka_servers: str, tmp_path: Path) -> Iterator[OwnServer]:
    assert kafka_servers  # where none can run, this test is skipped like the others
    with OwnServer("kafka", tmp_path / "services") as mine:
        yield mine


def written(journal: JournalLog, first: int, count: int) -> None:
    numbers = range(first, first + count)
    journal.writer().append(
        "ev-station-data", [Entry(f"site/station-{each % 7}".encode(), str(each).encode()) for each in numbers]
    )


def emptied(carrier: Forwarder) -> None:
    """Tries until Kafka has everything; an answer that comes late is no failure."""
    until_s = time.monotonic() + 120.0
    while time.monotonic() < until_s:
        try:
            carrier.step()
        except LogError:
            continue
        if not carrier.waiting:
            return
    raise AssertionError("Kafka never came back")


def test_an_outage_is_bridged_to_a_bound_and_nothing_is_sent_twice(broker: OwnServer, tmp_path: Path) -> None:
    clock = ManualClock(datetime.now(UTC))
    journal = JournalLog(tmp_path / "edge.journal", clock=clock, bounds=Bounds(max_entries=3 * KEEP))
    journal.ensure([DATA])
    cluster = KafkaLog(broker.address, times=TIMES)
    carrier = Forwarder(journal, cluster, topics=[DATA], edge="depot", keep_entries=KEEP)
    written(journal, 0, 100)
    emptied(carrier)

    killed, until_s = broker.kill(), time.monotonic() + OUTAGE_S
    for first in range(100, 1_300, 300):
        written(journal, first, 300)
        clock.advance(timedelta(minutes=1).total_seconds())
        with pytest.raises(LogUnavailableError):
            carrier.step()
        assert carrier.waiting <= KEEP
    shed = carrier.counts["shed"]
    assert shed == 1_200 - KEEP

    while time.monotonic() < until_s:
        with pytest.raises(LogUnavailableError):
            carrier.step()
    broker.up()
    assert broker.pid != killed
    emptied(carrier)
    carrier.close()
    rows = sorted(everything(KafkaLog(broker.address, times=Times()), "ev-station-data"), key=lambda row: row.offset)
    numbers = [int(row.value or b"") for row in rows]
    assert len(numbers) == len(set(numbers)) == 100 + KEEP
    for station in range(7):
        mine = [number for number in numbers if number % 7 == station]
        assert mine == sorted(mine)
    told = msgspec.json.decode(everything(KafkaLog(broker.address), FORWARDED.name)[-1].value or b"", type=Sent)
    assert (told.sent, told.shed) == (100 + KEEP, shed)
    journal.close()


def test_a_replay_waits_for_a_broker_that_was_killed_and_sends_the_rest_once(broker: OwnServer) -> None:
    playing = Playing.of(shipped(datetime.now(UTC)).read, content=b"march")
    pids, why = [broker.pid], list[str]()

    def told(sent: int) -> None:
        if len(pids) == 1 and sent < len(playing.messages):
            pids.append(broker.kill())

    def waits(reason: str) -> None:
        why.append(reason)
        if broker.pid == pids[0]:
            broker.up()

    replay = Replay(KafkaLog(broker.address, times=TIMES), playing)
    assert replay.run(speed=None, told=told, stop=Event(), waits=waits)
    assert why
    assert broker.pid != pids[0]
    ends = [
        (said.site_id, said.session_id)
        for row in everything(KafkaLog(broker.address, times=Times()), DATA.name)
        if isinstance(said := decode(row.value or b"", now=datetime.now(UTC), source="x", row=1), SessionEnded)
    ]
    assert len(ends) == len(set(ends)) == sum(isinstance(one.message, SessionEnded) for one in playing.messages)
