"""Poll, process, commit: one member of a group, whose state is the fold of a changelog topic.

Nothing is in flight when partitions change hands, since one thread does all three in turn. Whatever goes wrong, the
state in memory is dropped and folded anew from what was committed.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from plugcast.errors import LogError, LogFencedError
from plugcast.services.pauses import pause_s

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime
    from threading import Event

    from plugcast.ports import Clock, LogReader, LogWorker, Stored
    from plugcast.services.stream.metrics import EngineMetrics
    from plugcast.services.stream.steps import Step

READ_AT_ONCE: Final = 5_000
WAIT_S: Final = 0.25
"""How long a poll waits for a first message: also how soon the changes of other members are seen."""
LONGEST_PAUSE_S: Final = 30.0


class Processor(Protocol):
    """What is done with messages; everything it knows comes from the changelog."""

    @property
    def follows(self) -> bool:
        """Whether it needs the changelog of all partitions as it grows, or that of each partition when it gets it."""
        ...

    def hold(self, parts: Collection[int]) -> None:
        """Other partitions are held from now on; the changelog comes next where some of them are new."""
        ...

    def apply(self, stored: Stored) -> None:
        """Fold one entry of the changelog."""
        ...

    def settle(self) -> None:
        """The changelog has been read to its present end."""
        ...

    def step(
        self, entries: Sequence[Stored], *, held: Collection[int], now: datetime, idle: Collection[int] = ()
    ) -> Step:
        """Process a batch."""
        ...


class Engine:
    """One member; not to be shared between threads.

    Args:
        make_worker: Joins the group.
        make_reader: Reads the changelog from its start.
        make_processor: A processor that knows nothing yet.
        clock: What time it is.
        batch: Most messages in one transaction.
        idle_s: A held partition that is read to its end and silent for so long does not keep the others waiting; None
            lets it keep them waiting for ever.
        metrics: Told of each step.
    """

    def __init__(
        self,
        *,
        make_worker: Callable[[], LogWorker],
        make_reader: Callable[[], LogReader],
        make_processor: Callable[[], Processor],
        clock: Clock,
        batch: int = 1_000,
        idle_s: float | None = 30.0,
        metrics: EngineMetrics | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """Since the start; only of what was committed."""
        self.lag: dict[tuple[str, int], int] = {}
        self._make_worker = make_worker
        self._make_reader = make_reader
        self._make_processor = make_processor
        self._clock = clock
        self._batch = batch
        self._idle_s = idle_s
        self._metrics = metrics
        self._worker: LogWorker | None = None
        self._reader: LogReader | None = None
        self._processor: Processor | None = None
        self._held: frozenset[int] = frozenset()
        self._heard: dict[int, float] = {}
        self._more = False
        self._waiting = 0

    def run(self, stop: Event) -> None:
        """Work until told to stop; what is being processed is committed first.

        An unreachable or full log is tried again, with growing pauses; so is whatever else fails, since nothing of a
        failed step counts.
        """
        failures = 0
        while not stop.is_set():
            try:
                self.step(wait_s=WAIT_S)
                failures = 0
            except LogFencedError as error:
                self._failed("fenced", error)
            except LogError as error:
                failures += 1
                self._failed("log_errors", error)
                stop.wait(pause_s(failures, most_s=LONGEST_PAUSE_S))
            except Exception as error:  # noqa: BLE001 - the supervisor: a fault of ours must not end the service
                failures += 1
                self._failed("failures", error)
                stop.wait(pause_s(failures, most_s=LONGEST_PAUSE_S))
        self.close()

    def step(self, *, wait_s: float = 0.0) -> Step:
        """One batch: read, process, commit.

        Raises:
            LogError: Nothing of the batch counts; :meth:`forget` before the next step.
        """
        begun_s = time.perf_counter()
        worker, processor = self._joined()
        # a backlog is judged day by day; what waits for its day is not let grow while there is a day to judge
        full = self._more and self._waiting >= self._batch
        entries = [] if full else worker.poll(self._batch, wait_s=0.0 if self._more else wait_s)
        lag = worker.lag()
        # after the poll: partitions may have come with it, and the former holder's last commit is there by now
        held = frozenset(part for _, part in lag)
        self._sync(processor, held)
        self._held, self.lag = held, lag
        made = processor.step(entries, held=held, now=self._clock.now(), idle=self._idle(entries))
        if made.outputs or made.positions:
            worker.commit(made.outputs, made.positions)
        self.counts.update(made.counts)
        if self._metrics is not None:
            self._metrics.stepped(made.counts, lag, time.perf_counter() - begun_s)
        self._more, self._waiting = made.more, made.waiting
        return made

    def forget(self) -> None:
        """Leave the group and drop all state; the next step joins and folds anew."""
        for part in (self._worker, self._reader):
            if part is not None:
                with suppress(LogError):  # it may be gone already
                    part.close()
        self._worker = self._reader = self._processor = None
        self._held, self._heard, self._more, self._waiting, self.lag = frozenset(), {}, False, 0, {}

    def close(self) -> None:
        """Leave the group, so that another need not wait for the lease to run out."""
        self.forget()

    @property
    def ready(self) -> bool:
        """Whether it works, with partitions of its own or standing by for some."""
        return self._processor is not None

    def _failed(self, name: str, error: Exception) -> None:
        known = isinstance(error, LogError)
        logging.getLogger(__name__).warning("%s: %s", name, error, exc_info=None if known else error)
        self.counts[name] += 1
        if self._metrics is not None:
            self._metrics.count(name)
        self.forget()

    def _joined(self) -> tuple[LogWorker, Processor]:
        if self._processor is None:
            self._processor = self._make_processor()
        if self._worker is None:
            self._worker = self._make_worker()
        return self._worker, self._processor

    def _sync(self, processor: Processor, held: frozenset[int]) -> None:
        """Fold all that is in the changelog now, and is not folded yet."""
        if held != self._held:
            processor.hold(held)
        elif not processor.follows:
            return
        if self._reader is None:
            self._reader = self._make_reader()
        reader = self._reader
        reader.look_again()
        while True:
            for stored in reader.read(READ_AT_ONCE, wait_s=0.0):
                processor.apply(stored)
            if reader.caught_up():
                break
        processor.settle()
        if not processor.follows:  # what comes next is one's own, or another's business
            reader.close()
            self._reader = None

    def _idle(self, entries: Sequence[Stored]) -> list[int]:
        now_s = time.monotonic()
        for part in self._held:
            self._heard.setdefault(part, now_s)
        for stored in entries:
            self._heard[stored.partition] = now_s
        self._heard = {part: at for part, at in self._heard.items() if part in self._held}
        if self._idle_s is None:
            return []
        behind = {part for (_, part), count in self.lag.items() if count}
        return [part for part, at_s in self._heard.items() if part not in behind and now_s - at_s >= self._idle_s]
