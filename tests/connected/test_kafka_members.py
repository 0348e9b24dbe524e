"""Members of a group on a real Kafka: aborted transactions, zombies, partitions that move, entries that are refused."""

from __future__ import annotations

import time
import uuid
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from tests.laws.log_contract import after, drained, entries, everything, values

from plugcast.adapters.kafka import KafkaLog, Security, Times
from plugcast.errors import LogFencedError, LogRefusedError, LogUnavailableError
from plugcast.ports import Entry, TopicSpec

if TYPE_CHECKING:
    from plugcast.ports import LogWorker

pytestmark = pytest.mark.connected

TIMES = Times(answer_s=20.0, session_s=3.0, processing_s=5.0, transaction_s=5.0)
TOPICS = [TopicSpec(name="in", partitions=3), TopicSpec(name="out", partitions=2)]


@pytest.fixture
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:12]}."


@pytest.fixture
def log(kafka_servers: str, prefix: str) -> KafkaLog:
    made = KafkaLog(kafka_servers, prefix=prefix, times=TIMES)
    made.ensure(TOPICS)
    return made


def copied(worker: LogWorker, *, wait_s: float = 0.2) -> int:
    rows = worker.poll(50, wait_s=wait_s)
    if rows:
        worker.commit({"out": [Entry(row.key, row.value) for row in rows]}, after(rows))
    return len(rows)


def test_what_was_aborted_is_never_seen(log: KafkaLog, kafka_servers: str, prefix: str) -> None:
    producer = Producer({"bootstrap.servers": kafka_servers, "transactional.id": prefix + "p", "log_level": 0})
    producer.init_transactions(20.0)
    producer.begin_transaction()
    producer.produce(prefix + "in", b"never", b"k")
    producer.flush(20.0)
    producer.abort_transaction(20.0)
    log.writer().append("in", entries(5))
    assert b"never" not in values(everything(log, "in"))
    worker = log.worker("g", ["in"])
    rows = drained(worker)
    assert len(rows) == 5
    worker.commit({}, after(rows))
    assert set(worker.lag().values()) == {0}  # the marks of the aborted transaction are no messages
    worker.close()


def test_a_zombie_commits_nothing(log: KafkaLog) -> None:
    log.writer().append("in", entries(30))
    zombie = log.worker("g", ["in"])
    rows = drained(zombie)
    assert len(rows) == 30
    time.sleep(TIMES.processing_s + 2.0)  # it lives, and does not poll
    heir = log.worker("g", ["in"])
    done = 0
    until_s = time.monotonic() + 40.0
    while done < 30 and time.monotonic() < until_s:
        done += copied(heir)
    with pytest.raises(LogFencedError):
        zombie.commit({"out": [Entry(row.key, row.value) for row in rows]}, after(rows))
    with pytest.raises(LogFencedError, match="join again"):
        zombie.poll(1)
    assert sorted(values(everything(log, "out")), key=str) == sorted((e.value for e in entries(30)), key=str)
    zombie.close()
    heir.close()


def test_members_that_come_and_go_share_the_work_and_nothing_is_lost_or_doubled(log: KafkaLog) -> None:
    stop, shares = Event(), [0, 0, 0]

    def member(number: int, leaves: Event) -> None:
        worker = log.worker("g", ["in"])
        while not leaves.is_set():
            try:
                shares[number] += copied(worker)
            except LogFencedError:
                worker.close()
                worker = log.worker("g", ["in"])
        worker.close()

    early = Event()
    threads = [Thread(target=member, args=(number, early if number == 0 else stop)) for number in range(3)]
    writer, total = log.writer(), 0
    for step in range(60):
        if step % 10 == 0 and step < 30:
            threads[step // 10].start()
        if step == 45:
            early.set()
        names = [f"{step}/{number}".encode() for number in range(20)]
        writer.append("in", [Entry(name, name) for name in names])
        total += 20
        time.sleep(0.1)
    until_s = time.monotonic() + 60.0
    while sum(shares) < total and time.monotonic() < until_s:
        time.sleep(0.1)
    early.set()
    stop.set()
    for thread in threads:
        thread.join()
    found = values(everything(log, "out"))
    assert len(found) == len(set(found)) == total


def test_an_entry_that_is_too_large_is_refused_and_the_rest_goes_on(log: KafkaLog) -> None:
    large = Entry(b"k", b"x" * 2_000_000)
    with pytest.raises(LogRefusedError, match="at most"):
        log.writer().append("in", [Entry(b"k", b"small"), large])
    assert everything(log, "in") == []
    log.writer().append("in", entries(3))
    worker = log.worker("g", ["in"])
    rows = drained(worker)
    with pytest.raises(LogRefusedError):
        worker.commit({"out": [large]}, after(rows))
    worker.commit({"out": [Entry(b"k", b"cut")]}, after(rows))
    assert values(everything(log, "out")) == [b"cut"]
    worker.close()


def test_an_unreachable_cluster_is_told_in_time_and_without_secrets() -> None:
    security = Security(protocol="sasl_plaintext", mechanism="PLAIN", username="depot", password="hunter2")  # noqa: S106 - not one
    log = KafkaLog("127.0.0.1:1", security=security, times=Times(answer_s=1.0))
    with pytest.raises(LogUnavailableError) as raised:
        log.ensure(TOPICS)
    assert "127.0.0.1:1" in str(raised.value)
    assert "hunter2" not in f"{raised.value!r} {raised.value.__cause__!r}"
