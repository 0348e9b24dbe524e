"""Entries on their way into Kafka: what is checked before anything is written, and how they are handed over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from plugcast.adapters.kafka.connection import MAX_MESSAGE_BYTES
from plugcast.errors import ConfigError, LogRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from confluent_kafka import Producer

    from plugcast.adapters.kafka.connection import Connection
    from plugcast.ports import Entry

PRODUCER: Final[dict[str, Any]] = {
    "enable_idempotence": True,
    "acks": "all",
    "partitioner": "murmur2",  # as domain.partitions
    "linger_ms": 5,
    "retry_backoff_ms": 5,  # a transaction begun while the last one's marks are written waits so long, not 100 ms
    "compression_type": "lz4",
    "queue_buffering_max_messages": 200_000,
    "queue_buffering_max_kbytes": 262_144,
    "message_max_bytes": MAX_MESSAGE_BYTES,
}
_ANY: Final = -1
_MOST_BYTES: Final = MAX_MESSAGE_BYTES - 1_000
"""Of an entry without what surrounds it."""


def check(connection: Connection, outputs: Mapping[str, Sequence[Entry]]) -> None:
    """Raise where an entry could not be written, before any is."""
    for topic, entries in outputs.items():
        partitions = connection.partitions(topic)
        largest = max([len(entry.key) + len(entry.value or b"") for entry in entries], default=0)
        if largest <= _MOST_BYTES and {entry.partition for entry in entries} <= {None, *range(partitions)}:
            continue
        for entry in entries:
            if entry.partition is not None and not 0 <= entry.partition < partitions:
                raise ConfigError(f"{topic}: wanted a partition below {partitions}, found {entry.partition}.")
            size = len(entry.key) + len(entry.value or b"")
            if size > _MOST_BYTES:
                raise LogRefusedError(f"{topic}: wanted entries of at most {_MOST_BYTES:,} bytes, found {size:,}.")


def put_all(connection: Connection, producer: Producer, real: str, entries: Sequence[Entry]) -> None:
    """Queue entries in order, as ``put`` does, without a call for each."""
    produce = producer.produce
    for entry in entries:
        try:
            produce(real, entry.value, entry.key, _ANY if entry.partition is None else entry.partition)
        except BufferError:
            put(connection, producer, real, entry)


def put(
    connection: Connection,
    producer: Producer,
    real: str,
    entry: Entry,
    told: Callable[..., None] | None = None,
) -> None:
    """Queue an entry; waits where the queue is full, for as long as an answer may take."""
    until_s = 0.0
    partition = _ANY if entry.partition is None else entry.partition
    while True:
        try:
            if told is None:
                producer.produce(real, entry.value, entry.key, partition)
            else:
                producer.produce(real, entry.value, entry.key, partition, told)
        except BufferError:
            now_s = time.monotonic()
            until_s = until_s or now_s + connection.times.answer_s
            if now_s > until_s:
                raise connection.silence(f"appending to {real}") from None
            producer.poll(0.05)
        else:
            return
