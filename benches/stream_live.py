"""The forecaster as it serves: how long a message takes from its sender to a reader of forecasts, and what it needs."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import count
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from benches.registry import ROOT, Bar, note
from benches.stream_case import Case, drop_topics, new_prefix, open_bench_log

from plugcast.domain import topics
from plugcast.domain.messages import Telemetry
from plugcast.domain.partitions import partition_of
from plugcast.domain.wire import EARLIEST_SENT_AT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plugcast.ports import LogReader

TICK_S: Final = 0.005
WARM_S: Final = 3.0
"""The first seconds do not count; before them the forecaster answers GREETINGS, so that it has joined its group."""
GREETINGS: Final = 50
BATCH: Final = 1_000
MOST_BEHIND: Final = 30_000
P99_MS: Final = 100.0
GROWTH: Final = 1.10
STUCK_S: Final = 120.0


@contextmanager
def _serving(case: Case, servers: str, prefix: str) -> Iterator[dict[str, Any]]:
    """The forecaster in a process of its own; what it came to stands in the dictionary afterwards."""
    job = {
        "way": "serve",
        "folder": str(case.folder),
        "servers": servers,
        "prefix": prefix,
        "messages": 0,
        "batch": BATCH,
    }
    found: dict[str, Any] = {}
    words = [sys.executable, "-m", "benches.stream_child", json.dumps(job)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        try:
            yield found
        finally:
            said, _ = child.communicate("")
    found.update(json.loads(said))


def _producer(servers: str) -> Any:  # noqa: ANN401 - confluent-kafka's own
    return import_module("confluent_kafka").Producer(
        {
            "bootstrap.servers": servers,
            "enable.idempotence": True,
            "partitioner": "murmur2",
            "linger.ms": 1,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )


def latency(
    case: Case, servers: str | None, *, rates: Sequence[int], seconds: float
) -> tuple[list[dict[str, Any]], list[Bar]]:
    """From the call that sends to the read of the committed forecast, at steady rates."""
    cases: list[dict[str, Any]] = []
    for rate in rates:
        found = _latency_at(case, servers or "", rate, seconds)
        note(f"  {rate:,} messages a second: p50 {found['p50_ms']:.0f} ms, p99 {found['p99_ms']:.0f} ms")
        cases.append(found)
    bars = [
        Bar(name=f"p99 ms at {rates[0]:,} messages a second", value=cases[0]["p99_ms"], limit=P99_MS, sense="at_most")
    ]
    return cases, bars


def _latency_at(case: Case, servers: str, rate: int, seconds: float) -> dict[str, Any]:
    prefix, stop = new_prefix(), Event()
    log = open_bench_log(servers, prefix)
    reader, got = log.reader(topics.FORECASTS), [list[float]() for _ in range(topics.PARTITIONS)]
    sent: list[list[float]] = [[] for _ in range(topics.PARTITIONS)]
    reading = Thread(target=_read, args=(reader, got, stop))
    with _serving(case, servers, prefix) as child:
        reading.start()
        producer, last = _producer(servers), GREETINGS + round(rate * (seconds + WARM_S))
        _send(producer, prefix, case.messages[:GREETINGS], rate, sent)
        _wait_for(sent, got)
        greeted = [len(part) for part in sent]
        _send(producer, prefix, case.messages[GREETINGS:last], rate, sent)
        _wait_for(sent, got)
    stop.set()
    reading.join()
    reader.close()
    drop_topics(servers, prefix)
    first_s = min(part[start] for part, start in zip(sent, greeted, strict=True) if len(part) > start) + WARM_S
    taken_s = [
        out - into for a, b in zip(sent, got, strict=True) for into, out in zip(a, b, strict=False) if into >= first_s
    ]
    p50, p99 = np.percentile(taken_s, [50, 99]) * 1e3
    return {
        "rate_per_s": rate,
        "messages": len(taken_s),
        "missing": sum(map(len, sent)) - sum(map(len, got)),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "engine_cpu_us_per_message": child["cpu_s"] / max(child["messages"], 1) * 1e6,
    }


def _wait_for(sent: list[list[float]], got: list[list[float]]) -> None:
    """Until all that was sent has come back, for a minute at most."""
    until_s = time.monotonic() + 60.0
    while sum(map(len, got)) < sum(map(len, sent)) and time.monotonic() < until_s:
        time.sleep(0.05)


def _read(reader: LogReader, got: list[list[float]], stop: Event) -> None:
    while not stop.is_set():
        rows = reader.read(5_000, wait_s=0.05)
        now_s = time.monotonic()
        for row in rows:
            got[row.partition].append(now_s)


def _send(
    producer: Any,  # noqa: ANN401 - confluent-kafka's own
    prefix: str,
    messages: Sequence[tuple[bytes, bytes]],
    rate: int,
    sent: list[list[float]],
) -> None:
    """At a steady rate; forecasts of a partition come in the order of its messages, so times are kept in order."""
    topic, part_of, begun_s, place = prefix + topics.TELEMETRY, {}, time.monotonic(), 0
    while place < len(messages):
        due = min(round((time.monotonic() - begun_s) * rate), len(messages))
        for key, value in messages[place:due]:
            if key not in part_of:
                part_of[key] = partition_of(key, topics.PARTITIONS)
            sent[part_of[key]].append(time.monotonic())
            producer.produce(topic, value, key, part_of[key])
        place = due
        producer.poll(0)
        time.sleep(TICK_S)
    producer.flush()


def memory(case: Case, servers: str | None, *, seconds: float) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Resident memory every second while the log is kept from running empty; vehicles' weeks follow each other."""
    prefix, chunks, sent = new_prefix(), _weeks(case.messages), 0
    open_bench_log(servers, prefix)
    producer, topic = _producer(servers or ""), prefix + topics.TELEMETRY
    held = import_module("confluent_kafka").Consumer(
        {"bootstrap.servers": servers, "group.id": f"{prefix}forecasters", "enable.auto.commit": False}
    )
    places = [import_module("confluent_kafka").TopicPartition(topic, part) for part in range(topics.PARTITIONS)]
    with _serving(case, servers or "", prefix) as child:
        until_s = 0.0
        while not until_s or time.monotonic() < until_s:
            chunk = next(chunks)
            for key, value in chunk:
                producer.produce(topic, value, key)
            sent += len(chunk)
            producer.flush()
            patience_s = time.monotonic() + STUCK_S
            while sent - (done := _committed(held, places)) > MOST_BEHIND:
                if time.monotonic() > patience_s:
                    raise RuntimeError("the forecaster does not get on")
                time.sleep(0.1)
            until_s = until_s or (time.monotonic() + seconds if done else 0.0)
    held.close()
    drop_topics(servers or "", prefix)
    seen = child["memory_mb"]
    tenth = max(1, len(seen) // 10)
    early, late = statistics.median(seen[tenth : 2 * tenth] or seen), statistics.median(seen[-tenth:])
    found = {
        "seconds": len(seen),
        "messages": child["messages"],
        "late": child["counts"].get("late", 0),
        "messages_per_s": child["messages"] / child["wall_s"],
        "cpu_us_per_message": child["cpu_s"] / max(child["messages"], 1) * 1e6,
        "memory_second_tenth_mb": early,
        "memory_last_tenth_mb": late,
        "peak_mb": max(seen),
    }
    note(f"  {found['messages']:,} messages in {found['seconds']} s: {early:.0f} MB, then {late:.0f} MB")
    return [found], [Bar(name="memory, last tenth by second tenth", value=late / early, limit=GROWTH, sense="at_most")]


def _committed(held: Any, places: list[Any]) -> int:  # noqa: ANN401 - confluent-kafka's own
    return sum(max(place.offset, 0) for place in held.committed(places, timeout=10.0))


def _weeks(messages: Sequence[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """The messages again and again, each time moved on by a whole span of themselves, in chunks of a few thousand.

    They begin as early as messages may, so that they do not reach the present.
    """
    decoder = msgspec.json.Decoder(Telemetry)
    first, last = decoder.decode(messages[0][1]).timestamp, decoder.decode(messages[-1][1]).timestamp
    span = timedelta(days=(last - first).days + 1)
    for number in count(-((first - EARLIEST_SENT_AT) // span)):
        for start in range(0, len(messages), 5_000):
            chunk = []
            for key, value in messages[start : start + 5_000]:
                message = decoder.decode(value)
                at = message.timestamp + span * number
                if at > datetime.now(UTC):
                    raise RuntimeError("the messages have caught up with the clock: take fewer seconds")
                chunk.append((key, msgspec.json.encode(msgspec.structs.replace(message, timestamp=at))))
            yield chunk
