"""A member of a Kafka group: reads its share, and commits outputs and positions in one transaction.

Everything happens in the caller's thread. Fencing is the group's:
positions go into the transaction with the member's generation, which Kafka refuses once it has given the partitions to
others (KIP-447).
"""

from __future__ import annotations

import os
import socket
import time
import uuid
import weakref
from threading import Thread
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, Producer, TopicPartition

from plugcast.adapters.kafka.failures import KafkaError, KafkaException, is_fenced, kafka_error
from plugcast.adapters.kafka.feed import Feed
from plugcast.adapters.kafka.holding import Holding
from plugcast.adapters.kafka.outgoing import PRODUCER, check, put_all
from plugcast.errors import ConfigError, LogFencedError, LogRefusedError
from plugcast.ports import after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plugcast.adapters.kafka.connection import Connection
    from plugcast.ports import Entry, Place, Stored

POLL_WAIT_MS: Final = 50
"""How long a broker may sit on a member's request where nothing is new."""
_AGAIN_S: Final = 0.05
_HANGS_S: Final = 1.0
"""So long after its time a call counts as hanging."""
_SETTLING: Final = frozenset({KafkaError.REBALANCE_IN_PROGRESS, KafkaError.CONCURRENT_TRANSACTIONS})


class KafkaWorker:
    """One member; not to be shared between threads.

    A commit without outputs is a plain commit of positions; one with outputs is a transaction. A commit that failed
    ends the membership: what it wrote is decided by where the group stands afterwards.
    """

    def __init__(self, connection: Connection, group: str, topics: tuple[str, ...]) -> None:
        self._connection = connection
        self._group = group
        self._topics = topics
        self._holding = holding = Holding(connection.prefix)
        self._consumer = Consumer(self._settings())
        self._leave = weakref.finalize(self, self._consumer.close)  # unclosed, it could not be freed
        self._feed = Feed(connection, self._consumer, topics, reached=holding.reached, patient=False)
        self._producer: Producer | None = None
        real = [connection.prefix + topic for topic in topics]
        self._consumer.subscribe(real, on_assign=holding.given, on_revoke=holding.revoked, on_lost=holding.lost)

    def _settings(self) -> dict[str, object]:
        times = self._connection.times
        return self._connection.settings(
            group_id=self._connection.prefix + self._group,
            partition_assignment_strategy="cooperative-sticky",
            session_timeout_ms=round(times.session_s * 1000),
            heartbeat_interval_ms=round(times.session_s * 1000 / 4),
            max_poll_interval_ms=round(max(times.processing_s, times.session_s) * 1000),
            isolation_level="read_committed",
            enable_auto_commit=False,
            enable_auto_offset_store=False,
            enable_partition_eof=True,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            fetch_wait_max_ms=POLL_WAIT_MS,
            queued_max_messages_kbytes=16_384,
        )

    # --- reading

    def poll(self, limit: int, *, wait_s: float = 0.0) -> list[Stored]:
        """The next entries of the partitions held; comes back at once when others come or go, so that ``lag`` tells."""
        self._check()
        self._holding.gone.clear()
        self._holding.moved = False
        rows: list[Stored] = []
        if not self._holding.joined:
            rows = self._take(limit, max(wait_s, self._connection.times.join_s))
            self._holding.moved = not self._holding.joined
        rows = rows or self._take(limit, wait_s)
        if self._holding.gone:
            self._check()
            rows = [row for row in rows if (row.topic, row.partition) in self._holding.places]
        self._holding.taken.update(after(rows))
        return rows

    def _take(self, limit: int, wait_s: float) -> list[Stored]:
        return self._feed.take(
            limit, wait_s, places=lambda: tuple(self._holding.places), stop=lambda: self._holding.moved
        )

    def lag(self) -> dict[Place, int]:
        """What the group has not committed, for each partition held; marks of transactions at an end do not count."""
        if self._holding.over or not self._holding.places:
            return {}
        unknown = [place for place in self._holding.places if place not in self._holding.committed]
        if unknown:
            self._holding.committed.update(self._asked_positions(unknown))
        return {place: max(0, self._end(place) - self._settled(place)) for place in sorted(self._holding.places)}

    def _settled(self, place: Place) -> int:
        """The committed position, moved over what can hold no entry."""
        committed = self._holding.committed[place]
        return (
            max(committed, self._holding.reached.get(place, 0))
            if committed >= self._holding.taken.get(place, 0)
            else committed
        )

    def _end(self, place: Place) -> int:
        there = TopicPartition(self._connection.prefix + place[0], place[1])
        known = self._consumer.get_watermark_offsets(there, cached=True)
        if known[1] < 0:
            return self._feed.ends([place], committed=True)[place]
        return int(known[1])

    def _asked_positions(self, places: list[Place]) -> dict[Place, int]:
        """Where the group stands; at the start of what is there, if it never was anywhere."""
        wanted = [TopicPartition(self._connection.prefix + topic, part) for topic, part in places]
        times = self._connection.times
        try:
            answers = self._consumer.committed(wanted, timeout=times.answer_s)
            return {
                place: answer.offset if answer.offset >= 0 else self._start(answer)
                for place, answer in zip(places, answers, strict=True)
            }
        except KafkaException as error:
            raise self._connection.failure(error, f"group {self._group}: asking for its positions") from error

    def _start(self, there: TopicPartition) -> int:
        return int(self._consumer.get_watermark_offsets(there, timeout=self._connection.times.answer_s)[0])

    # --- committing

    def commit(self, outputs: Mapping[str, Sequence[Entry]], positions: Mapping[Place, int]) -> None:
        """Outputs and positions, all or none."""
        self._check()
        if not self._holding.places:
            raise LogFencedError(f"group {self._group}: this member holds no partitions, so it commits nothing.")
        check(self._connection, outputs)
        self._check_positions(positions)
        try:
            if any(outputs.values()):
                self._transact(outputs, positions or self._standing())
            elif positions:
                self._consumer.commit(offsets=self._offsets(positions), asynchronous=False)
        except KafkaException as error:
            failure = self._connection.failure(error, f"group {self._group}: committing")
            if not isinstance(failure, LogRefusedError):
                self._holding.over = self._holding.over or "a commit failed, and another may have taken over"
            raise failure from error
        self._holding.committed.update(positions)

    def _standing(self) -> dict[Place, int]:
        """A position that changes nothing, so that a transaction without positions is fenced like the others."""
        place = min(self._holding.places)
        return {
            place: self._holding.committed[place]
            if place in self._holding.committed
            else self._asked_positions([place])[place]
        }

    def _check_positions(self, positions: Mapping[Place, int]) -> None:
        for place, offset in positions.items():
            topic, part = place
            if topic not in self._topics or not 0 <= part < self._connection.partitions(topic):
                raise ConfigError(f"group {self._group} does not read partition {part} of {topic!r}.")
            if place not in self._holding.places:
                raise LogFencedError(f"group {self._group}: {topic} {part} has been taken over by another member.")
            if offset > self._end(place) or offset < 0:
                end = self._feed.ends([place], committed=False)[place]
                if not 0 <= offset <= end:
                    raise ConfigError(f"{topic} {part}: wanted a position from 0 to the end {end}, found {offset}.")

    def _offsets(self, positions: Mapping[Place, int]) -> list[TopicPartition]:
        prefix = self._connection.prefix
        return [TopicPartition(prefix + topic, part, offset) for (topic, part), offset in positions.items()]

    def _transact(self, outputs: Mapping[str, Sequence[Entry]], positions: Mapping[Place, int]) -> None:
        times = self._connection.times
        producer = self._transactional(time.monotonic() + times.answer_s)
        until_s = time.monotonic() + min(times.answer_s, times.transaction_s)  # then the broker aborts it anyway
        while True:
            try:
                self._attempt(producer, outputs, positions, until_s)
            except KafkaException as raised:
                error = kafka_error(raised)
                if is_fenced(error) or error.fatal() or not error.txn_requires_abort():
                    raise
                _insisting(producer.abort_transaction, until_s)
                if error.code() not in _SETTLING or time.monotonic() > until_s:
                    raise
                time.sleep(_AGAIN_S)
            else:
                return

    def _attempt(
        self,
        producer: Producer,
        outputs: Mapping[str, Sequence[Entry]],
        positions: Mapping[Place, int],
        until_s: float,
    ) -> None:
        producer.begin_transaction()
        for topic, entries in outputs.items():
            put_all(self._connection, producer, self._connection.prefix + topic, entries)
        offsets, member = self._offsets(positions), self._consumer.consumer_group_metadata()
        _insisting(_watched(lambda wait_s: producer.send_offsets_to_transaction(offsets, member, wait_s)), until_s)
        _insisting(producer.commit_transaction, until_s)

    def _transactional(self, until_s: float) -> Producer:
        if self._producer is None:
            name = (
                f"{self._connection.prefix}{self._group}-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
            )
            limit_ms = round(self._connection.times.transaction_s * 1000)
            settings = self._connection.settings(
                **PRODUCER,
                transactional_id=name,
                transaction_timeout_ms=limit_ms,
                message_timeout_ms=limit_ms,
                delivery_report_only_error=True,
            )
            producer = Producer(settings)
            _insisting(producer.init_transactions, until_s)
            self._producer = producer
        return self._producer

    # --- leaving

    def _check(self) -> None:
        if self._holding.over:
            raise LogFencedError(
                f"group {self._group}: {self._holding.over}. Drop what was read, close, and join again."
            )

    def close(self) -> None:
        """Leave the group."""
        self._holding.over = "this member has left"
        self._leave()
        self._producer = None


def _watched(ask: Callable[[float], None]) -> Callable[[float], None]:
    """The same in a thread of its own, which is left behind where librdkafka does not come back in time.

    Sending offsets knows no time limit (librdkafka issue 5456), and never ends where the coordinator of the group was
    lost from the cluster's list and came back (5511). What hangs keeps its producer until it is answered, if it is.
    """

    def asked(wait_s: float) -> None:
        raised: list[BaseException] = []

        def work() -> None:
            try:
                ask(wait_s)
            except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
                raised.append(error)

        thread = Thread(target=work, name="plugcast-kafka-offsets", daemon=True)
        thread.start()
        thread.join(wait_s + _HANGS_S)
        if thread.is_alive():
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the group's coordinator does not answer"))  # noqa: SLF001 - its own
        if raised:
            raise raised[0]

    return asked


def _insisting(ask: Callable[[float], None], until_s: float) -> None:
    """A step of a transaction, again as long as librdkafka says that it may be; each names a time for itself."""
    while True:
        left_s = max(0.1, until_s - time.monotonic())
        try:
            ask(left_s)
        except KafkaException as raised:
            if not kafka_error(raised).retriable() or time.monotonic() >= until_s:
                raise
        else:
            return
