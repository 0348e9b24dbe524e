"""One trial of the bench ``faults``: a pipeline under load, what is done to it, and what came of it."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

from benches.faults_worker import TIMES
from benches.registry import note
from scripts.own_server import OwnServer, state_of

from plugcast.adapters.kafka import KafkaLog
from plugcast.domain.partitions import partition_of
from plugcast.errors import LogError
from plugcast.ports import Entry, TopicSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
DRAIN_S: Final = 180.0
LOADED: Final = 100
WARM: Final = 3
"""So many messages are taken, and so many batches done, before a fault."""
PARTITIONS: Final = 3
LAST: Final = {partition_of(name.encode(), PARTITIONS): name for name in map("last-{}".format, range(100))}
"""A message for each partition that ends it."""


@dataclass(slots=True)
class Trial:
    """One pipeline under load."""

    cluster: OwnServer
    way: str
    prefix: str = field(default_factory=lambda: f"faults-{uuid.uuid4().hex[:8]}.")
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    refused: int = 0
    progress: dict[int, Path] = field(default_factory=dict)
    """A file of each worker's, which grows with every batch."""
    proofs: list[str] = field(default_factory=list)
    """What shows that a fault happened."""

    def start_worker(self) -> subprocess.Popen[bytes]:
        """One more."""
        told = self.cluster.folder / f"progress-{uuid.uuid4().hex[:8]}"
        told.touch()
        arguments = [self.cluster.address, self.prefix, self.way, str(told)]
        with (self.cluster.folder / "workers.log").open("ab") as errors:
            started = subprocess.Popen(
                [sys.executable, "-m", "benches.faults_worker", *arguments], cwd=ROOT, stderr=errors
            )
        self.progress[started.pid] = told
        return started

    def load(self, stop: Event) -> None:
        """Append numbered messages until told to stop; what was not acknowledged is not sent again."""
        writer, number = KafkaLog(self.cluster.address, prefix=self.prefix, times=TIMES).writer(), 0
        while not stop.wait(0.04):
            names = [f"m-{number + extra:07d}" for extra in range(20)]
            number += len(names)
            try:
                writer.append("in", [Entry(name.encode(), name.encode() + b"." * 280) for name in names])
            except LogError:
                self.refused += len(names)
            else:
                self.acknowledged += names

    def under_load(self, turn: int) -> subprocess.Popen[bytes]:
        """The worker of this turn, once it is at work and messages come in: a fault shall meet both."""
        worker = self.workers[turn % len(self.workers)]
        told, until_s = self.progress[worker.pid], time.monotonic() + DRAIN_S
        batches, messages = told.stat().st_size + WARM, len(self.acknowledged) + LOADED
        while told.stat().st_size < batches or len(self.acknowledged) < messages:
            if time.monotonic() > until_s:
                raise RuntimeError(f"worker {worker.pid} has done nothing for {DRAIN_S:g} s")
            time.sleep(0.02)
        time.sleep(random.uniform(0.0, 0.2))  # noqa: S311 - when a fault strikes
        return worker

    def end(self) -> None:
        """Append what ends each partition: a worker that has copied it is done with all that came before."""
        KafkaLog(self.cluster.address, prefix=self.prefix, times=TIMES).writer().append(
            "in", [Entry(name.encode(), b"") for name in LAST.values()]
        )

    def copied(self) -> Counter[str]:
        """What is in the copy, each as often as it can be read."""
        reader = KafkaLog(self.cluster.address, prefix=self.prefix, times=TIMES).reader("out")
        found: Counter[str] = Counter()
        try:
            while rows := reader.read(5_000):
                found.update(row.key.decode() for row in rows)
        finally:
            reader.close()
        return found


def _kill_worker(trial: Trial, turn: int, _stopped_s: float) -> None:
    old = trial.under_load(turn)
    old.send_signal(signal.SIGKILL)
    ended = old.wait()
    new = trial.workers[turn % len(trial.workers)] = trial.start_worker()
    if ended != -signal.SIGKILL or state_of(old.pid) or new.pid == old.pid:
        raise RuntimeError(f"worker {old.pid} was not killed: {ended}")
    trial.proofs.append(f"worker {old.pid} dead, {new.pid} in its place")


def _kill_broker(trial: Trial, turn: int, _stopped_s: float) -> None:
    trial.under_load(turn)
    old = trial.cluster.kill()
    trial.cluster.up()
    if trial.cluster.pid == old:
        raise RuntimeError(f"broker {old} was not killed")
    trial.proofs.append(f"broker {old} dead, {trial.cluster.pid} in its place")


def _stop_worker(trial: Trial, turn: int, stopped_s: float) -> None:
    pid = trial.under_load(turn).pid
    os.kill(pid, signal.SIGSTOP)
    time.sleep(stopped_s)
    state = state_of(pid)
    os.kill(pid, signal.SIGCONT)
    if state != "T":
        raise RuntimeError(f"worker {pid} was not stopped: {state!r}")
    trial.proofs.append(f"worker {pid} stopped for {stopped_s:g} s")


FAULTS: Final[dict[str, Callable[[Trial, int, float], None]]] = {
    "kill -9 of a worker": _kill_worker,
    "kill -9 of the broker": _kill_broker,
    "SIGSTOP of a worker": _stop_worker,
}


def tried(cluster: OwnServer, fault: str, way: str, *, rounds: int, stopped_s: float) -> dict[str, Any]:
    """One fault, so many times, under load; what came of it."""
    logging.getLogger("plugcast.kafka").setLevel(logging.CRITICAL)  # the broker is meant to be gone at times
    trial = Trial(cluster, way)
    log = KafkaLog(cluster.address, prefix=trial.prefix, times=TIMES)
    log.ensure([TopicSpec(name=name, partitions=PARTITIONS) for name in ("in", "out")])
    trial.workers = [trial.start_worker() for _ in range(2)]
    stop = Event()
    loading = Thread(target=trial.load, args=(stop,))
    loading.start()
    try:
        for turn in range(rounds):
            FAULTS[fault](trial, turn, stopped_s)
            note(f"{way}, {fault}, round {turn + 1}: {trial.proofs[-1]}; {len(trial.acknowledged):,} acknowledged")
    finally:
        stop.set()
        loading.join()
    try:
        found = _drained(trial)
    finally:
        for worker in trial.workers:
            worker.kill()
            worker.wait()
    lost = [name for name in trial.acknowledged if not found[name]]
    doubled = [name for name, count in found.items() if count > 1]
    return {
        "case": f"{fault}, {rounds} rounds",
        "way": way,
        "faults_proved": len(trial.proofs),
        "acknowledged": len(trial.acknowledged),
        "not_acknowledged": trial.refused,
        "lost": len(lost),
        "doubled": len(doubled),
    }


def _drained(trial: Trial) -> Counter[str]:
    """The copy once every partition's last message is in it, or will never be."""
    trial.end()
    until_s = time.monotonic() + DRAIN_S
    while True:
        found = trial.copied()
        ended = sum(bool(found.pop(name, 0)) for name in LAST.values())
        if ended == PARTITIONS or time.monotonic() > until_s:
            return found
        time.sleep(1.0)


@contextmanager
def own_cluster() -> Iterator[OwnServer]:
    """A Kafka of this bench alone."""
    with tempfile.TemporaryDirectory(prefix="plugcast-faults-") as folder, OwnServer("kafka", Path(folder)) as cluster:
        yield cluster
