"""Messages as they come from a consumer: as the log's entries, with what is known of the ends of their partitions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from plugcast.adapters.kafka.failures import KafkaError, KafkaException
from plugcast.errors import LogUnavailableError
from plugcast.ports import Stored, after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from confluent_kafka import Consumer, Message

    from plugcast.adapters.kafka.connection import Connection
    from plugcast.ports import Place

_END: Final = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's own codes begin with an underscore
_EXPELLED: Final = KafkaError._MAX_POLL_EXCEEDED  # noqa: SLF001 - the same; its partitions are taken away by a call
_SERVED_S: Final = 0.25
"""Longest single wait inside librdkafka: a change of partitions and Ctrl-C are seen within it."""
_ARRIVING_S: Final = 0.05


class Feed:
    """What a consumer gives, by the log's own names.

    Args:
        connection: Of the cluster.
        consumer: Subscribed or assigned by the caller.
        topics: By the log's names.
        reached: How far each place is known to be read: the next offset that can hold an entry. Kept up here.
        patient: Whether entries of transactions that are open count as being there, and are waited for: a commit is
            acknowledged a moment before its entries can be read.
    """

    def __init__(
        self,
        connection: Connection,
        consumer: Consumer,
        topics: Iterable[str],
        *,
        reached: dict[Place, int],
        patient: bool,
    ) -> None:
        self._patient = patient
        self._connection = connection
        self._consumer = consumer
        self._names = {connection.prefix + topic: topic for topic in topics}
        self._failed: KafkaError | None = None
        self._reached = reached

    def take(
        self, limit: int, wait_s: float, *, places: Callable[[], Iterable[Place]], stop: Callable[[], bool]
    ) -> list[Stored]:
        """At most so many entries; waits for a first one so long, and without waiting still takes what is there.

        Args:
            limit: Most entries.
            wait_s: How long to wait for a first one where all has been read.
            places: What is read at present.
            stop: Whether to come back at once.
        """
        if limit < 1:
            return []
        begun_s = time.monotonic()
        rows = self._now(limit, 0.0)
        while not rows and not stop():
            waited_s = time.monotonic() - begun_s
            left_s = wait_s - waited_s
            if left_s <= 0:
                late = waited_s > wait_s + self._connection.times.answer_s
                if not self.behind(self.ends(places(), committed=late or not self._patient)):
                    return []
                if late:
                    raise LogUnavailableError(
                        f"Kafka at {self._connection.servers} holds entries that it does not give. It may work later."
                    )
                left_s = _ARRIVING_S
            rows = self._now(limit, min(left_s, _SERVED_S))
        return rows

    def ends(self, places: Iterable[Place], *, committed: bool) -> dict[Place, int]:
        """The next offset of each place, with what open transactions have written or before it."""
        real = [(self._connection.prefix + topic, part) for topic, part in places]
        found = self._connection.ends(real, committed=committed)
        return {(self._names[topic], part): end for (topic, part), end in found.items()}

    def behind(self, ends: dict[Place, int]) -> bool:
        """Whether some of these ends have not been reached."""
        return any(self._reached.get(place, 0) < end for place, end in ends.items())

    def _now(self, limit: int, wait_s: float) -> list[Stored]:
        """What librdkafka has, at most; waits so long for anything to come."""
        if self._failed is not None:
            error, self._failed = self._failed, None
            raise self._connection.failure(KafkaException(error), "reading")
        try:
            messages = self._consumer.consume(limit, 0.0)
            if not messages and wait_s > 0:
                first = self._consumer.poll(wait_s)  # consume() would wait for all of them
                if first is not None:
                    messages = [first, *(self._consumer.consume(limit - 1, 0.0) if limit > 1 else ())]
        except KafkaException as error:
            raise self._connection.failure(error, "reading") from error
        except RuntimeError as error:  # closed
            raise LogUnavailableError("This reader is closed. Take a new one from the log.") from error
        return self._stored(messages) if messages else []

    def _stored(self, messages: list[Message]) -> list[Stored]:
        names, reached = self._names, self._reached
        rows = [
            Stored(
                names[message.topic()],  # type: ignore[index]  # a message has a place, and nothing decodes its bytes
                message.partition(),  # type: ignore[arg-type]  # the same
                message.offset(),  # type: ignore[arg-type]  # the same
                message.key() or b"",
                message.value(),
                message.timestamp()[1] * 1000,
            )
            for message in messages
            if message.error() is None
        ]
        reached.update(after(rows))
        if len(rows) < len(messages):
            self._told([message for message in messages if message.error() is not None])
        return rows

    def _told(self, messages: list[Message]) -> None:
        """What librdkafka says in between: the end of a partition, or a failure, which is raised at the next call."""
        for message in messages:
            error, name = message.error(), self._names.get(message.topic() or "")
            if error is None:
                continue
            if error.code() == _END and name is not None:
                place = name, message.partition() or 0
                self._reached[place] = max(self._reached.get(place, 0), message.offset() or 0)
            elif error.code() != _EXPELLED and (error.fatal() or not error.retriable()):
                self._failed = error
