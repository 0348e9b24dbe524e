"""Processes that are killed on purpose, and the comparison of what is left with the batch; see ``stream_faults``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import polars as pl
from benches.registry import ROOT, note
from scripts.own_server import OwnServer, state_of

from plugcast.domain import topics
from plugcast.domain.outgoing import FindingRaised, SessionScored, decode_outgoing
from plugcast.errors import LogError
from plugcast.services.showcase import SHIPPED_ZONE, shipped
from plugcast.services.stream.places import open_log
from plugcast.services.stream.topics import specs
from plugcast.simulate.inject import inject

if TYPE_CHECKING:
    from plugcast.domain.outgoing import Outgoing

PLUGCAST: Final = Path(sys.executable).with_name("plugcast")
SPLIT: Final = datetime(2019, 3, 12, 7, tzinfo=UTC)
STOPPED_S: Final = 30.0
ENVIRON: Final = {**os.environ, "PLUGCAST__SITE__TIME_ZONE": SHIPPED_ZONE, "OMP_NUM_THREADS": "1"}
SETTLED_S: Final = 3.0
FOUND_SOME: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which faults, to whom."""

    name: str
    rounds: int
    detectors: int
    period_s: float = 15.0
    stops: int = 0
    """Rounds in which a detector is stopped for 30 s and goes on."""
    broker: int = 0
    """Rounds in which Kafka is killed."""
    careless: bool = False
    kafka: bool = False

    @property
    def quiet_s(self) -> float:
        """So long without a new score, after the last message, and nobody waits for more: longer than any lease."""
        return 90.0 if self.kafka else 25.0

    def fault(self, number: int) -> str:
        """What happens in a round: stops and broker kills are spread among kills of detectors; the replay is next."""
        kinds = ["stop"] * self.stops + ["broker"] * self.broker + ["replay"] * (self.rounds // 10)
        every = self.rounds / max(1, len(kinds))
        place = round(number / every)
        return kinds[place] if kinds and place < len(kinds) and round(place * every) == number else "kill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What ``plugcast detect`` says of the file."""

    file: Path
    model: Path
    findings: dict[str, Any]
    scores: dict[str, tuple[Any, ...]]
    span_s: float


def prepare(folder: Path) -> Batch:
    """A file, a detector of what came before it, and the batch's findings and scores."""
    folder.mkdir(parents=True)
    sessions = shipped(datetime.now(UTC)).read.sessions
    known = pl.coalesce("available_at", "departure_at", "arrival_at")
    hosts = sessions.filter(known >= SPLIT)["session_id"]
    sessions = inject(sessions, seed=3, per_type=2, hosts=hosts).sessions
    before, file, model = folder / "before.parquet", folder / "month.parquet", folder / "detector"
    sessions.filter(known < SPLIT).write_parquet(before)
    month = sessions.filter(known >= SPLIT)
    month.write_parquet(file)
    scores = folder / "scores.parquet"
    command: list[str | Path] = [
        PLUGCAST,
        "detect",
        file,
        "--train",
        before,
        "--model",
        model,
        "--scores",
        scores,
        "--json",
    ]
    done = subprocess.run(command, env=ENVIRON, stdout=subprocess.PIPE, check=False)
    if done.returncode not in {0, FOUND_SOME}:
        raise RuntimeError(f"plugcast detect ended with {done.returncode}")
    span = month.select((known.max() - known.min()).alias("span"))["span"][0]
    return Batch(
        file=file,
        model=model,
        findings={found["finding_id"]: found for found in json.loads(done.stdout)["findings"]},
        scores={row[0]: row[1:] for row in pl.read_parquet(scores).select(_SCORED).iter_rows()},
        span_s=span.total_seconds(),
    )


_SCORED: Final = ("session_id", "score", "p_value", "by")


@dataclass
class Trial:
    """One plan, carried out."""

    plan: Plan
    batch: Batch
    folder: Path
    kafka: OwnServer | None
    detectors: list[subprocess.Popen[bytes]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    proved: int = 0

    @property
    def place(self) -> str:
        """Of the log."""
        return f"kafka://{self.kafka.address}" if self.kafka is not None else str(self.folder / "trial.journal")

    def run(self) -> dict[str, Any]:
        """Load, faults, drain, comparison."""
        begun_s = time.monotonic()
        open_log(self.place).ensure(specs())
        replay = self._replay()
        try:
            self.detectors = [self._detector() for _ in range(self.plan.detectors)]
            time.sleep(self.plan.period_s)
            for number in range(self.plan.rounds):
                fault = self.plan.fault(number)
                next_s = time.monotonic() + self.plan.period_s
                happened, replay = self._suffer(fault, number, replay)
                self.faults[fault] += 1
                self.proved += happened
                note(f"{self.plan.name}: round {number + 1} of {self.plan.rounds}: {fault}, proved: {happened}")
                time.sleep(max(0.0, next_s - time.monotonic()))
            self._finish(replay)
            self._drain()
        finally:
            ended = self._end()
        return {
            "name": self.plan.name,
            "careless": self.plan.careless,
            "detectors": self.plan.detectors,
            "rounds": self.plan.rounds,
            "faults": dict(self.faults),
            "proved": self.proved,
            "sessions": len(self.batch.scores),
            "findings": len(self.batch.findings),
            **self._compared(),
            "detectors_that_drained_on_sigterm": ended,
            "seconds": round(time.monotonic() - begun_s),
        }

    def _detector(self) -> subprocess.Popen[bytes]:
        command: list[str | Path]
        if self.plan.careless:
            command = [sys.executable, "-m", "benches.careless", self.batch.model, self.place]
        else:
            command = [PLUGCAST, "serve", "detect", "--model", self.batch.model, "--log", self.place]
        return self._start(command)

    def _replay(self) -> subprocess.Popen[bytes]:
        speed = self.batch.span_s / ((self.plan.rounds + 1) * self.plan.period_s)
        return self._start([PLUGCAST, "replay", self.batch.file, "--log", self.place, "--speed", f"{speed:.1f}"])

    def _start(self, command: list[str | Path]) -> subprocess.Popen[bytes]:
        with (self.folder / "output").open("ab") as out:
            return subprocess.Popen(command, env=ENVIRON, cwd=ROOT, stdout=out, stderr=out)

    def _suffer(self, fault: str, number: int, replay: subprocess.Popen[bytes]) -> tuple[bool, subprocess.Popen[bytes]]:
        """A round's fault, and whether it is proved to have happened."""
        place = number % len(self.detectors)
        victim = self.detectors[place]
        if fault == "kill":
            victim.kill()
            killed = victim.wait() == -signal.SIGKILL
            self.detectors[place] = self._detector()
            return killed and self.detectors[place].pid != victim.pid, replay
        if fault == "stop":
            victim.send_signal(signal.SIGSTOP)
            time.sleep(STOPPED_S)
            stopped = state_of(victim.pid) == "T"
            victim.send_signal(signal.SIGCONT)
            return stopped, replay
        if fault == "replay":
            if replay.poll() is not None:  # it gave up while Kafka was away; the same command goes on
                replay = self._replay()
                time.sleep(SETTLED_S)
            replay.kill()
            killed = replay.wait() == -signal.SIGKILL
            return killed, self._replay()
        return self.kafka is not None and _killed(self.kafka), replay

    def _finish(self, replay: subprocess.Popen[bytes]) -> None:
        """Until all is sent; a replay that gave up while the broker was away goes on where it was."""
        until_s = time.monotonic() + 600.0
        while replay.wait() != 0:
            if time.monotonic() > until_s:
                raise RuntimeError(f"the replay does not end; see {self.folder / 'output'}")
            time.sleep(1.0)
            replay = self._replay()

    def _drain(self) -> None:
        """Until every session has a score, or nothing new has come for long."""
        seen, since_s = -1, time.monotonic()
        while time.monotonic() - since_s < self.plan.quiet_s:
            count = len(self._said(topics.SCORES))
            if count != seen:
                seen, since_s = count, time.monotonic()
            if count >= len(self.batch.scores):
                time.sleep(15.0)  # what would come twice comes now; events of the last day come last
                return
            time.sleep(2.0)

    def _end(self) -> int:
        """Ask the detectors to end; how many did so by themselves and said that all is well."""
        for detector in self.detectors:
            detector.send_signal(signal.SIGTERM)
        ended = 0
        for detector in self.detectors:
            try:
                ended += detector.wait(timeout=60.0) == 0
            except subprocess.TimeoutExpired:
                detector.kill()
        return ended

    def _said(self, topic: str) -> list[Outgoing]:
        try:
            reader = open_log(self.place).reader(topic)
            said: list[Outgoing] = []
            while not reader.caught_up():
                said += [decode_outgoing(stored.value or b"") for stored in reader.read(10_000, wait_s=0.2)]
            reader.close()
        except LogError as error:
            note(f"{topic}: {error}")
            return []
        return said

    def _compared(self) -> dict[str, int]:
        """Keys lost, doubled, different from the batch, and of no session or finding of the batch."""
        scores = [said for said in self._said(topics.SCORES) if isinstance(said, SessionScored)]
        found = [said for said in self._said(topics.FINDINGS) if isinstance(said, FindingRaised)]
        wanted: dict[tuple[str, str], Any] = {("score", key): value for key, value in self.batch.scores.items()}
        wanted |= {("finding", key): value for key, value in self.batch.findings.items()}
        got: list[tuple[tuple[str, str], Any]] = [
            (("score", one.session_id), (one.score, one.p_value, one.by)) for one in scores
        ]
        got += [(("finding", one.finding_id), _plain(one)) for one in found]
        times = Counter(key for key, _ in got)
        values = dict(got)
        return {
            "lost": sum(key not in times for key in wanted),
            "doubled": sum(count > 1 for count in times.values()),
            "different": sum(key in wanted and value != wanted[key] for key, value in values.items()),
            "unexpected": sum(key not in wanted for key in times),
        }


def _plain(message: FindingRaised) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(msgspec.json.encode(message.finding()))
    return told


def _killed(kafka: OwnServer) -> bool:
    """Kill the broker and start it again; whether there is a new one."""
    before = kafka.kill()
    kafka.up()
    return kafka.pid != before
