"""What the bench of the stream sends and scores: models, telemetry as messages, and the log that carries them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from benches.registry import ROOT, note

from plugcast.adapters.clock import SystemClock
from plugcast.adapters.files import LocalArtifacts
from plugcast.adapters.memory_log import MemoryLog
from plugcast.config import Settings
from plugcast.domain import topics
from plugcast.domain.wire import encode
from plugcast.errors import ConfigError
from plugcast.forecast.panel import panel
from plugcast.forecast.split import thin
from plugcast.ports import Entry, TelemetryRead
from plugcast.schemas import TELEMETRY
from plugcast.services import training
from plugcast.services.live_models import load_live
from plugcast.services.stream.messages_of import telemetry_messages
from plugcast.services.stream.topics import specs
from plugcast.services.unlike import MOST_ROWS
from plugcast.simulate.telemetry import GeneratorSpec, generate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plugcast.ports import Log

SEED: Final = 7
SENT_AT_ONCE: Final = 50_000
UNLIKE_ROWS: Final = "unlike_rows.npy"
"""The rows that the isolation forest was trained on, for scikit-learn's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Models in a folder, and the messages that follow their training."""

    folder: Path
    messages: Sequence[tuple[bytes, bytes]]
    """Key and value, in order of time."""
    vehicles: int
    description: str


def make_case(folder: Path, *, vehicles: int, days: int) -> Case:
    """Generate telemetry, train on its first half with the product's own settings, keep the second half as messages."""
    spec = GeneratorSpec(vehicles=vehicles, days=days, seed=SEED)
    samples = generate(spec).select(list(TELEMETRY))
    cut = spec.start_at + (samples["timestamp"].max() - spec.start_at) / 2  # type: ignore[operator]  # an instant
    earlier, later = samples.filter(pl.col("timestamp") < cut), samples.filter(pl.col("timestamp") >= cut)
    note(f"  training on {earlier.height:,} samples")
    training.train(
        TelemetryRead(samples=earlier),
        LocalArtifacts(folder),
        Settings(),
        source="generated",
        now=datetime.now(UTC),
        threads=1,
        with_horizon=False,
    )
    models = load_live(LocalArtifacts(folder))
    known = panel(earlier, models.spec)
    np.save(folder / UNLIKE_ROWS, known.matrix(thin(np.arange(known.rows), MOST_ROWS), models.short.lead_min))
    messages = [(timed.key or b"", encode(timed.message)) for timed in telemetry_messages(later)]
    size = sum(len(value) for _, value in messages) / max(len(messages), 1)
    return Case(
        folder=folder,
        messages=messages,
        vehicles=vehicles,
        description=f"generated telemetry of {vehicles} vehicles (seed {SEED}), {len(messages):,} messages of "
        f"{size:.0f} bytes; two models of 200 trees of 31 leaves and an isolation forest of 100 trees over 19 columns",
    )


def kafka_servers(*, start: bool) -> str | None:
    """Where Apache Kafka listens; started by ``scripts/services`` where wanted and the environment names none."""
    named = os.environ.get("PLUGCAST_KAFKA")
    if named or not start:
        return named
    note("  starting Apache Kafka: scripts/services up --only kafka")
    subprocess.run([ROOT / "scripts" / "services", "up", "--only", "kafka"], check=True, cwd=ROOT, stdout=2)
    for line in (ROOT / ".cache" / "services" / "env").read_text(encoding="utf-8").splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        if name == "PLUGCAST_KAFKA":
            return value.strip("'\"")
    raise RuntimeError("scripts/services up did not say where Kafka is")


def open_bench_log(servers: str | None, prefix: str) -> Log:
    """A log with the stream's topics, empty; in memory where there are no servers."""
    made: Any = (
        MemoryLog(clock=SystemClock(), max_entries=10_000_000)
        if servers is None
        else import_module("plugcast.adapters.kafka").KafkaLog(servers, prefix=prefix)
    )
    for _ in range(20):
        with contextlib.suppress(ConfigError):  # a broker may not know yet what it has just made
            made.ensure(specs())
            break
        time.sleep(0.2)
    log: Log = made
    return log


def new_prefix() -> str:
    """Topics of one's own on a cluster."""
    return f"bench-{uuid.uuid4().hex[:8]}-"


def send(servers: str, prefix: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
    """Append messages to ``ev-telemetry`` of a cluster, not compressed: aiokafka reads no lz4 by itself."""
    producer = import_module("confluent_kafka").Producer(
        {"bootstrap.servers": servers, "enable.idempotence": True, "partitioner": "murmur2", "linger.ms": 20}
    )
    for number, (key, value) in enumerate(messages):
        producer.produce(prefix + topics.TELEMETRY, value, key)
        if number % SENT_AT_ONCE == 0:
            producer.flush()
    producer.flush()


def fill(log: Log, messages: Sequence[tuple[bytes, bytes]], *, at_once: int = 5_000) -> None:
    """Append messages to ``ev-telemetry`` of a log."""
    writer = log.writer()
    for start in range(0, len(messages), at_once):
        writer.append(topics.TELEMETRY, [Entry(key, value) for key, value in messages[start : start + at_once]])
    writer.close()


def drop_topics(servers: str, prefix: str) -> None:
    """Remove what a run has left on a cluster."""
    admin = import_module("confluent_kafka.admin").AdminClient({"bootstrap.servers": servers})
    mine = [name for name in admin.list_topics(timeout=30).topics if name.startswith(prefix)]
    for answer in admin.delete_topics(mine).values() if mine else ():
        answer.result()
