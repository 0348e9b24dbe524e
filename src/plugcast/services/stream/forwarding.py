"""Carries a journal's messages to Kafka: the edge's way through hours without a network, in order and without doubles.

Stations write to the journal, which never waits for anybody. What has been sent and how far that is go to Kafka in one
transaction, so that neither a lost answer nor a killed process sends anything twice. While Kafka is away the journal
fills up to a bound; beyond it the oldest messages are shed, counted, and the count is told to Kafka afterwards.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from plugcast.errors import LogError, LogFencedError
from plugcast.ports import Entry, TopicSpec, after
from plugcast.services.pauses import pause_s
from plugcast.services.stream.senders import be_the_only_one, last_kept

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from plugcast.ports import Log, LogWorker, Stored
    from plugcast.services.stream.metrics import EngineMetrics

FORWARDED: Final = TopicSpec(name="ev-forwarded", partitions=1, compacted=True)
"""How far each edge has sent its journal, and what it had to shed."""
BATCH: Final = 1_000
WAIT_S: Final = 0.25
LONGEST_PAUSE_S: Final = 5.0
"""Short: what is shed while waiting is lost."""
STAY_S: Final = 30.0


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What Kafka knows of one edge."""

    positions: dict[str, int]
    """The next offset to send of each ``topic/partition`` of the journal."""
    sent: int = 0
    shed: int = 0
    """Messages of the journal that were given up for newer ones, since its beginning."""


class Forwarder:
    """The one member that sends a journal; not to be shared between threads.

    Args:
        journal: Where from. Its own bound must lie above this one's, so that stations never find it full.
        target: Where to.
        topics: Which topics, on both sides.
        edge: Names this journal among all that send to the same cluster.
        keep_entries: Most messages that wait; beyond it the oldest are shed.
        keep_bytes: The same in bytes of keys and values, as measured on those read last.
        metrics: Told of each step.
    """

    def __init__(
        self,
        journal: Log,
        target: Log,
        *,
        topics: Sequence[TopicSpec],
        edge: str,
        keep_entries: int = 10_000_000,
        keep_bytes: int = 4_000_000_000,
        metrics: EngineMetrics | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.waiting = 0
        """Messages in the journal that Kafka does not have."""
        self._journal, self._target = journal, target
        self._specs, self._names = tuple(topics), [spec.name for spec in topics]
        self._edge = edge
        self._keep_entries, self._keep_bytes = keep_entries, keep_bytes
        self._metrics = metrics
        self._source: LogWorker | None = None
        self._sink: LogWorker | None = None
        self._sent: Sent | None = None
        self._batch: list[Stored] = []
        self._entry_bytes = 1.0
        self._heard_s = time.monotonic()

    def run(self, stop: Event) -> None:
        """Send until told to stop; an unreachable Kafka is tried again and again."""
        failures = 0
        while not stop.is_set():
            try:
                self.step(wait_s=WAIT_S)
                failures = 0
            except LogError as error:
                logging.getLogger(__name__).warning("%s", error)
                self._count("fenced" if isinstance(error, LogFencedError) else "log_errors")
                failures += 1
                stop.wait(pause_s(failures, most_s=LONGEST_PAUSE_S))
        self.close()

    def step(self, *, wait_s: float = 0.0) -> int:
        """Shed what is beyond the bound, send one batch; returns how many messages were sent.

        Raises:
            LogError: Of the journal or of Kafka; the next step goes on from what Kafka has.
        """
        source = self._read(wait_s)
        if not self._batch:
            self._stay()
            return 0
        try:
            sink, sent = self._connected()
            new = [row for row in self._batch if row.offset >= sent.positions.get(_name(row), 0)]
            if new:
                self._send(sink, sent, new)
        except LogError:
            self._disconnect()
            raise
        source.commit({}, after(self._batch))
        self._batch = []
        self._tell(source)
        return len(new)

    def _read(self, wait_s: float) -> LogWorker:
        """A batch in hand, if there is anything; what is beyond the bound goes first."""
        try:
            if self._source is None:
                # what has been sent makes room
                self._journal.ensure(replace(spec, keep_days=0.0) for spec in self._specs)
                self._source = self._journal.worker(f"forward-{self._edge}", self._names)
            source = self._source
            if not self._batch:
                self._take(source, wait_s)
            self._shed(source)
        except LogError:
            left, self._source, self._batch = self._source, None, []
            if left is not None:
                with suppress(LogError):  # it may be gone already
                    left.close()
            raise
        return source

    def _take(self, source: LogWorker, wait_s: float) -> None:
        self._batch = source.poll(BATCH, wait_s=wait_s)
        if self._batch:
            size = sum(len(row.key) + len(row.value or b"") for row in self._batch)
            self._entry_bytes = size / len(self._batch)

    def _shed(self, source: LogWorker) -> None:
        """Give up the oldest until what waits is within both bounds."""
        most = min(self._keep_entries, int(self._keep_bytes / max(1.0, self._entry_bytes)))
        while self._batch and (beyond := self._tell(source) - most) > 0:
            gone = self._batch[:beyond]
            source.commit({}, after(gone))
            self._count("shed", len(gone))
            self._batch = self._batch[beyond:]
            if not self._batch:
                self._take(source, 0.0)

    def _tell(self, source: LogWorker) -> int:
        lag = source.lag()
        self.waiting = sum(lag.values())
        if self._metrics is not None:
            self._metrics.stepped({}, lag, 0.0)
        return self.waiting

    def _connected(self) -> tuple[LogWorker, Sent]:
        """The way into Kafka, and how far it says that we are."""
        if self._sink is None or self._sent is None:
            self._target.ensure((*self._specs, FORWARDED))
            self._sink = self._target.worker(f"forward-{self._edge}", [FORWARDED.name])
            taken = f"Another process forwards the journal of edge {self._edge!r}. Stop one."
            be_the_only_one(self._sink, taken=taken)
            self._sent = self._known()
        return self._sink, self._sent

    def _known(self) -> Sent:
        kept = last_kept(self._target, FORWARDED.name, self._edge.encode())
        return Sent(positions={}) if kept is None else msgspec.json.decode(kept, type=Sent)

    def _send(self, sink: LogWorker, sent: Sent, rows: Sequence[Stored]) -> None:
        outputs: dict[str, list[Entry]] = {name: [] for name in self._names}
        positions, shed = dict(sent.positions), sent.shed
        for row in rows:
            outputs[row.topic].append(Entry(row.key, row.value))
            shed += row.offset - positions.get(_name(row), 0)  # a journal's offsets leave no other gaps
            positions[_name(row)] = row.offset + 1
        now = Sent(positions=positions, sent=sent.sent + len(rows), shed=shed)
        outputs[FORWARDED.name] = [Entry(self._edge.encode(), msgspec.json.encode(now))]
        sink.commit(outputs, {})
        self._sent, self._heard_s = now, time.monotonic()
        self._count("sent", len(rows))

    def _stay(self) -> None:
        """Be heard of, so that Kafka keeps our place through quiet hours."""
        if self._sink is not None and time.monotonic() - self._heard_s > STAY_S:
            self._heard_s = time.monotonic()
            try:
                self._sink.poll(1)
            except LogError:
                self._disconnect()
                raise

    def _count(self, name: str, count: int = 1) -> None:
        self.counts[name] += count
        if self._metrics is not None:
            self._metrics.count(name, count)

    def _disconnect(self) -> None:
        sink, self._sink, self._sent = self._sink, None, None
        if sink is not None:
            with suppress(LogError):
                sink.close()

    def close(self) -> None:
        """Leave both sides."""
        self._disconnect()
        source, self._source, self._batch = self._source, None, []
        if source is not None:
            with suppress(LogError):
                source.close()


def _name(row: Stored) -> str:
    return f"{row.topic}/{row.partition}"
