"""From the topic of findings to the bus: at least once, each with the id by which subscribers tell repeats."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import msgspec

from plugcast.domain.outgoing import FindingRaised, decode_outgoing
from plugcast.domain.topics import finding_key
from plugcast.errors import BusError, LogError
from plugcast.ports import BusMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plugcast.ports import Bus, LogWorker, Place, Stored
    from plugcast.services.stream.metrics import EngineMetrics

BATCH: Final = 500
WAIT_S: Final = 0.25
FIRST_RETRY_S: Final = 0.2
LAST_RETRY_S: Final = 15.0


class Publisher:
    """Reads findings, publishes them, and commits once every queue has them.

    Args:
        make_worker: Joins the publishers' group on the topic of findings.
        bus: Where to.
        metrics: Told of each batch.
    """

    def __init__(self, make_worker: Callable[[], LogWorker], bus: Bus, *, metrics: EngineMetrics | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.ready = False
        self._make_worker = make_worker
        self._bus = bus
        self._metrics = metrics
        self._worker: LogWorker | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; an unreachable log or bus is tried again, with growing pauses."""
        failures = 0
        with ThreadPoolExecutor(1, thread_name_prefix="publisher") as thread:
            while not stop.is_set():
                try:
                    await self._batch(thread)
                    failures = 0
                except (LogError, BusError) as error:
                    self._failed(error)
                    await self._leave(thread)
                    failures += 1
                    pause_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(failures, 10))
                    pause_s *= random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
                    try:
                        await asyncio.wait_for(stop.wait(), pause_s)
                    except TimeoutError:
                        continue
            await self._leave(thread)

    async def _batch(self, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        if self._worker is None:
            self._worker = await loop.run_in_executor(thread, self._make_worker)
        worker = self._worker
        entries = await loop.run_in_executor(thread, lambda: worker.poll(BATCH, wait_s=WAIT_S))
        self.ready = True
        if not entries:
            return
        messages = self._messages(entries)
        await self._bus.publish(messages)
        positions: dict[Place, int] = {(row.topic, row.partition): row.offset + 1 for row in entries}
        await loop.run_in_executor(thread, worker.commit, {}, positions)
        self.counts["published"] += len(messages)
        if self._metrics is not None:
            self._metrics.count("published", len(messages))

    def _messages(self, entries: Sequence[Stored]) -> list[BusMessage]:
        made = []
        for stored in entries:
            try:
                message = decode_outgoing(stored.value or b"")
            except msgspec.MsgspecError:
                message = None
            if isinstance(message, FindingRaised):
                made.append(bus_message(message, stored.value or b""))
            else:  # only our own detectors write here, so this is a version that we do not know
                self.counts["unreadable"] += 1
                logging.getLogger(__name__).error(
                    "%s %s/%s is no finding that this version knows; it is left out.",
                    stored.topic,
                    stored.partition,
                    stored.offset,
                )
        return made

    def _failed(self, error: Exception) -> None:
        self.ready = False
        self.counts["failures"] += 1
        if self._metrics is not None:
            self._metrics.count("failures")
        logging.getLogger(__name__).warning("%s", error)

    async def _leave(self, thread: ThreadPoolExecutor) -> None:
        """What was read and not committed is read again by whoever comes next."""
        worker, self._worker = self._worker, None
        if worker is not None:
            try:
                await asyncio.get_running_loop().run_in_executor(thread, worker.close)
            except LogError:
                return


def bus_message(message: FindingRaised, body: bytes) -> BusMessage:
    """A finding on the bus; its id is the finding's."""
    return BusMessage(
        message_id=message.finding_id,
        routing_key=finding_key(message.severity, message.cause, message.site_id),
        body=body,
    )
