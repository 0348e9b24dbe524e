"""Detection over a real Kafka: rubbish of every kind and size, and a month that comes to what the batch comes to."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its package exports them without saying so
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from tests.laws.test_stream_laws import PARTITIONS, Case, Site
from tests.laws.test_stream_rubbish import END, RUBBISH
from tests.streams import require_the_batch, said

from plugcast.adapters.kafka import KafkaLog, Times
from plugcast.domain import topics
from plugcast.domain.outgoing import DeadLetter
from plugcast.services.showcase import SHIPPED_ZONE
from plugcast.services.stream.detecting import Detecting
from plugcast.services.stream.engine import Engine
from plugcast.services.stream.topics import specs

if TYPE_CHECKING:
    from plugcast.ports import Log

pytestmark = pytest.mark.connected

TIMES = Times(answer_s=20.0, join_s=10.0, session_s=6.0, processing_s=30.0, transaction_s=20.0)
LARGEST = 60_000_000
STEPS = 400


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


class KafkaSite(Site):
    """As a site in memory, with a cluster's log."""

    def __init__(self, case: Case, servers: str) -> None:
        super().__init__(case)
        self.prefix = f"t{uuid.uuid4().hex[:12]}."
        self.kafka: Log = KafkaLog(servers, prefix=self.prefix, times=TIMES)
        self.kafka.ensure(specs(PARTITIONS))
        self.log = self.kafka  # type: ignore[assignment]  # what stands in memory is not used
        self.writer = self.kafka.writer()  # type: ignore[assignment]

    def detector(self) -> Engine:
        return Engine(
            make_worker=lambda: self.kafka.worker("detectors", [topics.STATION_DATA]),
            make_reader=lambda: self.kafka.reader(topics.DETECTOR_STATE),
            make_processor=lambda: Detecting(self.case.detector, time_zone=SHIPPED_ZONE, partitions=PARTITIONS),
            clock=self.clock,
            idle_s=None,
        )


def _until(engine: Engine, messages: int) -> None:
    """Steps until so many messages are taken and nothing more comes of them."""
    quiet = 0
    for _ in range(STEPS):
        made = engine.step(wait_s=0.5)
        done = engine.counts["messages"] >= messages and not made.outputs and not made.positions
        quiet = quiet + 1 if done else 0
        if quiet > 1:
            return
    pytest.fail(f"{engine.counts['messages']} of {messages} messages after {STEPS} steps")


def test_rubbish_of_every_kind_and_size_is_kept_with_its_reason(case: Case, kafka_servers: str) -> None:
    """Among it 50 MB in one message, where the topic lets them in."""
    site = KafkaSite(case, kafka_servers)
    topic = site.prefix + topics.STATION_DATA
    resource = ConfigResource(
        ResourceType.TOPIC,
        topic,
        incremental_configs=[
            ConfigEntry("max.message.bytes", str(LARGEST), incremental_operation=AlterConfigOpType.SET)
        ],
    )
    admin = AdminClient({"bootstrap.servers": kafka_servers})
    (answer,) = admin.incremental_alter_configs([resource]).values()
    answer.result(20.0)
    producer = Producer({"bootstrap.servers": kafka_servers, "message.max.bytes": LARGEST})
    for content, _ in RUBBISH:
        producer.produce(topic, value=content, partition=1)
    producer.produce(topic, value=None, key=b"a deleted key", partition=1)
    producer.produce(topic, value=END, partition=1)
    assert producer.flush(60.0) == 0
    engine = site.detector()
    _until(engine, len(RUBBISH) + 2)
    engine.close()
    letters = [said for said in said(site.log, topics.DEAD_LETTERS) if isinstance(said, DeadLetter)]
    assert [letter.reason for letter in sorted(letters, key=lambda one: one.offset)][:-1] == [why for _, why in RUBBISH]
    assert {letter.topic for letter in letters} == {topics.STATION_DATA}
    assert max(letter.size for letter in letters) == max(len(content) for content, _ in RUBBISH) > 10_000_000
    assert engine.counts["messages"] == len(RUBBISH) + 2


def test_a_month_through_kafka_is_the_batch(case: Case, kafka_servers: str) -> None:
    """The first detector leaves in the middle; the second one goes on with its state."""
    site = KafkaSite(case, kafka_servers)
    middle = len(case.messages) // 2
    for part in (case.messages[:middle], case.messages[middle:]):
        site.send(part)
        engine = site.detector()
        _until(engine, sum(1 if timed.key is not None else PARTITIONS for timed in part))
        engine.close()
    require_the_batch(site.log, case.findings, case.judgements)
