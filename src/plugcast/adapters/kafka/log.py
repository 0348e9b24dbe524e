"""A ``ports.Log`` in Apache Kafka, by librdkafka."""

from __future__ import annotations

import time
import weakref
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import ConfigResource, NewTopic, ResourceType  # type: ignore[attr-defined]  # its package exports them without saying so

from plugcast.adapters.kafka.connection import Connection, Security, Times
from plugcast.adapters.kafka.failures import MISSING, KafkaError, KafkaException, kafka_error
from plugcast.adapters.kafka.feed import Feed
from plugcast.adapters.kafka.outgoing import PRODUCER, check, put
from plugcast.adapters.kafka.worker import KafkaWorker
from plugcast.errors import ConfigError, LogUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from confluent_kafka import Message

    from plugcast.ports import Entry, Place, Stored, TopicSpec

DAY_MS: Final = 86_400_000
_AGAIN_S: Final = 0.05
READ_WAIT_MS: Final = 10
"""How long a broker may sit on a reader's request where nothing is new: after so long the end is known as the end."""


class KafkaLog:
    """Topics of a Kafka cluster, for any number of processes anywhere.

    Members of a group share its partitions. The log keeps what its topics' settings say: it is never full, it forgets
    by age. Brokers stamp entries on arrival where the topic was made by :meth:`ensure`.

    Args:
        servers: ``host:port[,host:port]`` of some brokers.
        prefix: Before the name of every topic and group, where a cluster serves several purposes.
        security: Credentials; none by default.
        times: Limits.
    """

    def __init__(
        self, servers: str, *, prefix: str = "", security: Security | None = None, times: Times | None = None
    ) -> None:
        self._connection = Connection(servers, prefix=prefix, security=security or Security(), times=times or Times())

    def ensure(self, topics: Iterable[TopicSpec]) -> None:
        """Make the topics that are missing, none where one of them has another shape; keeps what operators have set."""
        wanted = {self._connection.prefix + spec.name: spec for spec in topics}
        there = self._connection.topics()
        self._compare({name: spec for name, spec in wanted.items() if name in there})
        missing = [_new_topic(name, spec) for name, spec in wanted.items() if name not in there]
        if not missing:
            return
        answers = self._connection.admin.create_topics(missing, operation_timeout=self._connection.times.answer_s)
        for name, answer in answers.items():
            try:
                answer.result()
            except KafkaException as error:
                if kafka_error(error).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self._connection.failure(error, f"making the topic {name}") from error
        self._connection.topics()
        self._compare(wanted)  # another process may have been quicker
        made = [(topic.topic, part) for topic in missing for part in range(topic.num_partitions)]
        self._connection.ends(made, committed=True)  # once these are told, every partition has its leader

    def _compare(self, there: dict[str, TopicSpec]) -> None:
        for name, found in self._described(there).items():
            spec = there[name]
            compacted = "compact" in str(found["cleanup.policy"].value)
            partitions = self._connection.partitions(spec.name)
            if (partitions, compacted) != (spec.partitions, spec.compacted):
                raise ConfigError(
                    f"wanted {spec}, found {partitions} partition(s) with compacted={compacted}."
                    " A topic cannot be changed; name another."
                )

    def _described(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The configuration of topics that are known to exist: one just made may not be known everywhere at once."""
        times = self._connection.times
        until_s = time.monotonic() + times.answer_s
        resources = {name: ConfigResource(ResourceType.TOPIC, name) for name in names}
        found: dict[str, dict[str, Any]] = {}
        while left := [resource for name, resource in resources.items() if name not in found]:
            answers = self._connection.admin.describe_configs(left, request_timeout=times.answer_s)
            for resource, answer in answers.items():
                try:
                    found[resource.name] = answer.result()
                except KafkaException as error:
                    if kafka_error(error).code() not in MISSING or time.monotonic() > until_s:
                        raise self._connection.failure(error, f"looking at the topic {resource.name}") from error
            if len(found) < len(resources):
                time.sleep(_AGAIN_S)
        return found

    def writer(self) -> KafkaWriter:
        """A way in."""
        return KafkaWriter(self._connection)

    def reader(self, topic: str) -> KafkaReader:
        """A way through all of a topic."""
        return KafkaReader(self._connection, topic)

    def worker(self, group: str, topics: Sequence[str]) -> KafkaWorker:
        """A member of a group, which gets its share of the partitions at its first poll."""
        if not topics:
            raise ConfigError(f"group {group}: wanted at least one topic, found none.")
        for topic in topics:
            self._connection.partitions(topic)
        return KafkaWorker(self._connection, group, tuple(dict.fromkeys(topics)))


def _new_topic(name: str, spec: TopicSpec) -> NewTopic:
    kept_ms = -1 if spec.keep_days is None else round(spec.keep_days * DAY_MS)
    policy = "compact" if spec.compacted else "delete"
    config = {"cleanup.policy": policy, "retention.ms": str(kept_ms), "message.timestamp.type": "LogAppendTime"}
    return NewTopic(name, num_partitions=spec.partitions, config=config)


class KafkaWriter:
    """Appends entries, which an idempotent producer stores once and in order, however often it has to send them.

    An append that fails drops what it has not sent: nothing of it arrives later, between other entries.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._producer: Producer | None = None
        self._closed = False
        self._lock = Lock()

    def append(self, topic: str, entries: Sequence[Entry]) -> list[tuple[int, int]]:
        """Store entries in order; also raises LogRefusedError, where nothing was written unless a broker said so."""
        with self._lock:
            if self._closed:
                raise LogUnavailableError("This writer is closed. Take a new one from the log.")
            check(self._connection, {topic: entries})
            return self._append(self._connection.prefix + topic, entries) if entries else []

    def _append(self, real: str, entries: Sequence[Entry]) -> list[tuple[int, int]]:
        times = self._connection.times
        if self._producer is None:
            settings = self._connection.settings(**PRODUCER, message_timeout_ms=round(times.answer_s * 1000))
            self._producer = Producer(settings)
        producer = self._producer
        placed: list[tuple[int, int]] = [(-1, -1)] * len(entries)
        failed: list[KafkaError] = []

        def told(number: int, error: KafkaError | None, message: Message) -> None:
            if error is None:
                placed[number] = message.partition(), message.offset()  # type: ignore[assignment]  # it has a place now
            else:
                failed.append(error)

        try:
            for number, entry in enumerate(entries):
                put(self._connection, producer, real, entry, partial(told, number))
            left = producer.flush(times.answer_s + 1.0)
        except KafkaException as error:
            self._drop(producer)
            raise self._connection.failure(error, f"appending to {real}") from error
        except BaseException:
            self._drop(producer)
            raise
        if failed or left:
            self._drop(producer)
            if failed and failed[0].code() != KafkaError._MSG_TIMED_OUT:  # noqa: SLF001 - librdkafka's own
                raise self._connection.failure(KafkaException(failed[0]), f"appending to {real}")
            raise self._connection.silence(f"appending to {real}")
        return placed

    def _drop(self, producer: Producer) -> None:
        producer.purge()
        producer.flush(0.0)
        self._producer = None

    def close(self) -> None:
        """Refuse further appends."""
        with self._lock:
            self._closed = True
            self._producer = None


class KafkaReader:
    """Reads all partitions of one topic from the start; entries of aborted transactions are not seen."""

    def __init__(self, connection: Connection, topic: str) -> None:
        self._places: list[Place] = [(topic, part) for part in range(connection.partitions(topic))]
        settings = connection.settings(
            group_id=f"{connection.prefix}reader",  # never joined; librdkafka wants one
            isolation_level="read_committed",
            enable_auto_commit=False,
            enable_partition_eof=True,
            auto_offset_reset="earliest",
            fetch_wait_max_ms=READ_WAIT_MS,
            queued_max_messages_kbytes=16_384,
        )
        self._consumer = Consumer(settings)
        self._leave = weakref.finalize(self, self._consumer.close)  # unclosed, it could not be freed
        self._feed = Feed(connection, self._consumer, [topic], reached={}, patient=True)
        self._consumer.assign(
            [TopicPartition(connection.prefix + topic, part, OFFSET_BEGINNING) for _, part in self._places]
        )
        self._there: dict[Place, int] = {}
        self.look_again()

    def read(self, limit: int, *, wait_s: float = 0.0) -> list[Stored]:
        """The next entries."""
        return self._feed.take(limit, wait_s, places=lambda: self._places, stop=lambda: False)

    def caught_up(self) -> bool:
        """Whether the ends at opening, or at the last look again, have been reached."""
        return not self._feed.behind(self._there)

    def look_again(self) -> None:
        """Take the ends anew; what open transactions have written counts, and is waited for."""
        self._there = self._feed.ends(self._places, committed=False)

    def close(self) -> None:
        """Let go of the connection."""
        self._leave()
