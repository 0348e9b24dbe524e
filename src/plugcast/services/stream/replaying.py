"""A file, sent to the log as its stations or vehicles would have sent it; goes on where it was stopped."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import polars as pl

from plugcast.domain import topics
from plugcast.domain.finding import Cause, Severity
from plugcast.domain.outgoing import FaultInjected, encode_outgoing
from plugcast.errors import LogError, LogFencedError, LogUnavailableError
from plugcast.ports import Entry, TopicSpec
from plugcast.services.pauses import pause_s
from plugcast.services.stream.messages_of import Timed, entries_of, messages_of, telemetry_messages
from plugcast.services.stream.senders import be_the_only_one, last_kept
from plugcast.services.stream.topics import specs
from plugcast.simulate.faults import FaultType
from plugcast.simulate.inject import COLLECTIVE_LEAST, inject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from threading import Event

    from plugcast.ports import Log, LogWorker, SessionsRead, TelemetryRead
    from plugcast.services.meter_join import Metered

REPLAYS: Final = TopicSpec(name="ev-replays", partitions=1, compacted=True)
"""How far each replay has come: written in the transaction that sends, so that nothing is sent twice."""
BATCH: Final = 1_000
PATIENCE_S: Final = 600.0
"""Since the log took something last: a broker that is restarted, or a network that is mended, is back by then."""
LONGEST_PAUSE_S: Final = 10.0
LONGEST_WAIT_S: Final = 0.5
"""Between looks at whether to stop, and a sign of life that keeps the replay's place in its group."""
FAULTY_SHARE_OF_FILE: Final = 0.3
"""Faults go into the later part, which a detector trained on the earlier 70 % has not seen."""


class _Position(msgspec.Struct, frozen=True, kw_only=True):
    sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Playing:
    """What is to be sent."""

    name: str
    """Tells replays apart: another file, time zone, other faults or another round begin at the start."""
    messages: tuple[Timed, ...]
    truth: tuple[FaultInjected, ...]
    topic: str = topics.STATION_DATA

    @classmethod
    def of(
        cls,
        read: SessionsRead,
        *,
        content: bytes,
        faults: float = 0.0,
        seed: int = 0,
        round_: str = "",
        metered: Metered | None = None,
    ) -> Playing:
        """The messages of a file's sessions.

        Args:
            read: What the file holds.
            content: Anything that tells this file from others.
            faults: Share of the later sessions that get a fault.
            seed: Of those faults.
            round_: Another word replays the same file from its start once more.
            metered: Meter values of the sessions; faults put into sessions leave them as they were.
        """
        sessions, truth = read.sessions, tuple[FaultInjected, ...]()
        if faults > 0:
            sessions, truth = _faulty(sessions, faults, seed)
        # read in another time zone it says other things
        zones = "/".join(sorted(sessions["time_zone"].drop_nulls().unique()))
        digest = hashlib.sha256(f"{faults}/{seed}/{round_}/{zones}/".encode() + content).hexdigest()[:16]
        return cls(name=digest, messages=tuple(messages_of(sessions, read.user_inputs, metered)), truth=truth)

    @classmethod
    def of_vehicles(cls, read: TelemetryRead, *, content: bytes, round_: str = "") -> Playing:
        """The samples of a file of telemetry, by vehicle; the other arguments are those of ``of``."""
        digest = hashlib.sha256(f"telemetry/{round_}/".encode() + content).hexdigest()[:16]
        return cls(name=digest, messages=tuple(telemetry_messages(read.samples)), truth=(), topic=topics.TELEMETRY)


def content_of(path: Path) -> bytes:
    """What tells a file, or a folder, from others: the digest of all it holds."""
    digest = hashlib.sha256()
    for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if each.is_file():
            with each.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
    return digest.digest()


class Replay:
    """Sends messages to their topic; one member of a group of its own, so that nobody else sends the same.

    Args:
        log: Where to; its topics are made if missing.
        playing: What.
        partitions: Of the topic.
    """

    def __init__(self, log: Log, playing: Playing, *, partitions: int = topics.PARTITIONS) -> None:
        self._log = log
        self._playing = playing
        self._partitions = partitions
        log.ensure((*specs(partitions), REPLAYS))
        self.sent = self._position()

    @property
    def total(self) -> int:
        """Messages in all."""
        return len(self._playing.messages)

    def run(
        self,
        *,
        speed: float | None,
        told: Callable[[int], None],
        stop: Event,
        waits: Callable[[str], None] = lambda _: None,
        patience_s: float = PATIENCE_S,
    ) -> bool:
        """Send what was not sent yet; says whether that was all.

        Args:
            speed: Times real time; None for as fast as the log takes them. After an outage it catches up.
            told: Told how many have been sent, after each batch.
            stop: Ends it early; a later run goes on.
            waits: Told why nothing can be sent, each time before it is tried again.
            patience_s: How long a log that cannot be reached is tried again.

        Raises:
            LogFencedError: Another process sends the same replay.
            LogError: The log takes no more.
        """
        pace = _Pace(self._playing.messages, self.sent, speed)
        failures, since_s = 0, time.monotonic()
        while True:
            before = self.sent
            try:
                self._join_and_send(pace, told, stop)
            except LogUnavailableError as error:
                if self.sent > before:
                    failures, since_s = 0, time.monotonic()
                failures += 1
                pause = pause_s(failures, most_s=LONGEST_PAUSE_S)
                if time.monotonic() + pause - since_s > patience_s:
                    raise
                waits(str(error))
                if not stop.wait(pause):
                    continue
            return self.sent >= self.total

    def _join_and_send(self, pace: _Pace, told: Callable[[int], None], stop: Event) -> None:
        worker = self._log.worker(f"replay-{self._playing.name}", [REPLAYS.name])
        try:
            be_the_only_one(
                worker,
                taken="Another process is sending this replay. Stop it, or wait until it has finished.",
                stopped=stop.is_set,
            )
            self.sent = self._position()
            self._send_all(worker, pace, told, stop)
        finally:
            with suppress(LogError):  # it may be gone already
                worker.close()

    def _send_all(self, worker: LogWorker, pace: _Pace, told: Callable[[int], None], stop: Event) -> None:
        try:
            while self.sent < self.total and not stop.is_set():
                due = pace.due(self.sent)
                if due == self.sent:
                    stop.wait(min(LONGEST_WAIT_S, pace.wait_s(self.sent)))
                    worker.poll(1)
                    continue
                self._send(worker, self._playing.messages[self.sent : due])
                self.sent = due
                told(self.sent)
        except LogFencedError as error:
            # a place lost to an outage is taken again; if somebody else has it, joining says so
            raise LogUnavailableError(str(error)) from error

    def _send(self, worker: LogWorker, messages: Sequence[Timed]) -> None:
        outputs = {self._playing.topic: list(entries_of(messages, self._partitions))}
        if self.sent == 0 and self._playing.truth:
            outputs[topics.TRUTH] = [
                Entry(topics.session_key(told.site_id, told.session_id), encode_outgoing(told))
                for told in self._playing.truth
            ]
        position = _Position(sent=self.sent + len(messages))
        outputs[REPLAYS.name] = [Entry(self._playing.name.encode(), msgspec.json.encode(position))]
        worker.commit(outputs, {})

    def _position(self) -> int:
        kept = last_kept(self._log, REPLAYS.name, self._playing.name.encode())
        return 0 if kept is None else msgspec.json.decode(kept, type=_Position).sent


class _Pace:
    """When each message is due."""

    def __init__(self, messages: Sequence[Timed], first: int, speed: float | None) -> None:
        self._messages = messages
        self._speed = speed
        self._from_at = messages[first].at if first < len(messages) else None
        self._from_s = time.monotonic()

    def due(self, sent: int) -> int:
        """How many are to be sent by now, at most a batch more than have been."""
        last = min(sent + BATCH, len(self._messages))
        if self._speed is None:
            return last
        count = sent
        while count < last and self.wait_s(count) <= 0:
            count += 1
        return count

    def wait_s(self, place: int) -> float:
        """Until a message is due."""
        if self._speed is None or self._from_at is None:
            return 0.0
        event_s = (self._messages[place].at - self._from_at).total_seconds()
        return event_s / self._speed - (time.monotonic() - self._from_s)


def _faulty(sessions: pl.DataFrame, share: float, seed: int) -> tuple[pl.DataFrame, tuple[FaultInjected, ...]]:
    known = pl.coalesce("available_at", "departure_at", "arrival_at")
    later = sessions.sort(known).tail(round(sessions.height * FAULTY_SHARE_OF_FILE))["session_id"]
    made = inject(sessions, seed=seed, per_type=_spread(round(share * len(later)), seed), hosts=later)
    rows = made.faulty.join(made.labels, on="session_id").with_columns(known_at=known).sort("known_at", "session_id")
    truth = tuple(
        FaultInjected(
            v=1,
            session_id=row["session_id"],
            site_id=row["site_id"],
            station_id=row["station_id"],
            known_at=row["known_at"],
            fault=row["fault"],
            cause=Cause(row["cause"]),
            severity=Severity(row["severity"]),
            ocpp_code=row["ocpp_code"],
        )
        for row in rows.iter_rows(named=True)
    )
    return made.sessions, truth


def _spread(faults: int, seed: int) -> dict[FaultType, int]:
    """So many faults over the types, as evenly as it goes; what befalls a whole day's sessions only among many."""
    types = sorted(FaultType)
    if faults < COLLECTIVE_LEAST * len(types):
        types.remove(FaultType.COLLECTIVE)
    order = np.random.default_rng(seed).permutation(len(types))
    each, over = divmod(faults, len(types))
    return {types[kind]: each + (place < over) for place, kind in enumerate(order.tolist())}
