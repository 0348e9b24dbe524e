"""Findings from the log to the bus, at least once: committed when the bus has confirmed them, never before.

A finding's id is its message id, so that a subscriber can tell a repeat (``adapters.subscriber.seen_ids``). While the
bus is away, what was read is held and nothing more is: the log keeps the rest.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec

from plugcast.domain import topics
from plugcast.domain.outgoing import FindingRaised, decode_outgoing
from plugcast.domain.rejected import Rejected, RejectReason
from plugcast.errors import BusError, BusUnavailableError, LogError, LogFencedError, UnroutableError
from plugcast.ports import BusMessage, after
from plugcast.ports.bus import MAX_NAME_BYTES
from plugcast.services.pauses import pause_s, rest
from plugcast.services.stream.refusing import dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from plugcast.ports import Bus, LogWorker, Place, Stored
    from plugcast.services.stream.metrics import EngineMetrics

GROUP: Final = "publishers"
WAIT_S: Final = 0.25
DRAIN_S: Final = 10.0
"""How long a publisher that is told to stop waits for the confirms of what it has sent."""
LONGEST_PAUSE_S: Final = 10.0

_T = TypeVar("_T")


class Publisher:
    """One member of the group that carries a log's findings to a bus.

    Args:
        make_worker: Joins the group.
        bus: Where to; it stays the caller's to close.
        batch: Most findings in hand.
        unroutable: What to do with a finding that no queue wants: ``wait`` until one does, which holds up those after
            it, or ``drop`` it and count it.
        metrics: Told of each step.
    """

    def __init__(
        self,
        make_worker: Callable[[], LogWorker],
        bus: Bus,
        *,
        batch: int = 500,
        unroutable: Literal["wait", "drop"] = "wait",
        metrics: EngineMetrics | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """``messages``, ``published``, ``unroutable``, ``rejected_<reason>``; ``bus_errors``, ``log_errors``, ..."""
        self.lag: dict[Place, int] = {}
        self._make_worker = make_worker
        self._bus = bus
        self._batch = batch
        self._unroutable = unroutable
        self._metrics = metrics
        self._worker: LogWorker | None = None
        self._failing = False
        # the log's calls block: one thread of their own, so that a worker is never in two at once
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="publisher")

    @property
    def ready(self) -> bool:
        """Whether it works, and the bus takes what it is given."""
        return self._worker is not None and not self._failing

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; what is confirmed by then is committed. Whatever fails is tried again, for ever."""
        failures = 0
        try:
            while not stop.is_set():
                try:
                    await self.step(stop, wait_s=WAIT_S)
                    failures = 0
                except LogFencedError as error:
                    await self._failed("fenced", error)
                except LogError as error:
                    failures += 1
                    await self._failed("log_errors", error)
                    await rest(stop, pause_s(failures, most_s=LONGEST_PAUSE_S))
                except Exception as error:  # noqa: BLE001 - the supervisor: a fault of ours must not end the service
                    failures += 1
                    await self._failed("failures", error)
                    await rest(stop, pause_s(failures, most_s=LONGEST_PAUSE_S))
        finally:
            await self.close()

    async def step(self, stop: asyncio.Event, *, wait_s: float = 0.0) -> int:
        """One batch: read, publish, commit. Returns how many messages were read.

        Raises:
            LogError: The batch is read again by whoever comes next.
        """
        if self._worker is None:
            self._worker = await self._in_thread(self._make_worker)
        worker, begun_s = self._worker, time.perf_counter()
        stored = await self._in_thread(lambda: worker.poll(self._batch, wait_s=wait_s))
        messages, refused = _sorted_out(stored)
        made = Counter({"messages": len(stored)}) if stored else Counter[str]()
        if await self._hand_over(messages, made, stop) and stored:
            letters = [dead_letter(entry, rejected) for entry, rejected in refused]
            made.update(f"rejected_{rejected.reason}" for _, rejected in refused)
            outputs = {topics.DEAD_LETTERS: letters} if letters else {}
            await self._in_thread(lambda: worker.commit(outputs, after(stored)))
        self.lag = await self._in_thread(worker.lag)
        self.counts.update(made)
        if self._metrics is not None:
            self._metrics.stepped(made, self.lag, time.perf_counter() - begun_s)
        return len(stored)

    async def _hand_over(self, messages: Sequence[BusMessage], made: Counter[str], stop: asyncio.Event) -> bool:
        """Publish until each is confirmed, or may be dropped; False where a stop came first."""
        left, failures = list(messages), 0
        while left:
            missing = await self._publish(left, stop)
            if missing is None:
                return False
            made["published"] += len(left) - len(missing)
            left = missing
            if left:
                failures += 1
                await rest(stop, pause_s(failures, most_s=LONGEST_PAUSE_S))
                if stop.is_set():
                    return False
        self._failing = False
        return True

    async def _publish(self, messages: list[BusMessage], stop: asyncio.Event) -> list[BusMessage] | None:
        """Those that have to be published again; None where a stop came and the bus did not answer in time."""
        try:
            if not await _unless_stopped(self._bus.publish(messages), stop):
                return None
        except UnroutableError as error:
            unwanted = [message for message in messages if message.message_id in error.message_ids]
            self._count("unroutable", error, len(unwanted))
            return [] if self._unroutable == "drop" else unwanted
        except BusUnavailableError as error:
            self._failing = True
            self._count("bus_errors", error)
            return [message for message in messages if message.message_id in error.message_ids] or messages
        return []

    def _count(self, name: str, error: Exception, count: int = 1) -> None:
        known = isinstance(error, LogError | BusError)
        logging.getLogger(__name__).warning("%s: %s", name, error, exc_info=None if known else error)
        self.counts[name] += count
        if self._metrics is not None:
            self._metrics.count(name, count)

    async def _failed(self, name: str, error: Exception) -> None:
        self._failing = True
        self._count(name, error)
        await self._leave()

    async def _leave(self) -> None:
        worker, self._worker, self.lag = self._worker, None, {}
        if worker is not None:
            with suppress(LogError):
                await self._in_thread(worker.close)

    async def close(self) -> None:
        """Leave the group; nothing that was not confirmed counts."""
        await self._leave()
        self._thread.shutdown(wait=False)

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


def bus_message(finding: FindingRaised, body: bytes) -> BusMessage:
    """A finding as it travels: its id is the message's, its severity, cause and site are the words of its key.

    Args:
        finding: What it says.
        body: Its bytes, as the topic holds them.
    """
    name = finding.finding_id
    if len(name.encode()) > MAX_NAME_BYTES:
        name = hashlib.sha256(name.encode()).hexdigest()
    return BusMessage(
        message_id=name,
        routing_key=topics.finding_key(finding.severity, finding.cause, finding.site_id),
        body=body,
    )


def _sorted_out(stored: Sequence[Stored]) -> tuple[list[BusMessage], list[tuple[Stored, Rejected]]]:
    """Messages for the bus, and what is none."""
    messages: list[BusMessage] = []
    refused: list[tuple[Stored, Rejected]] = []
    for entry in stored:
        if entry.value is None:
            continue  # a key that is no more: nothing to tell
        try:
            finding = decode_outgoing(entry.value)
            said = f"found a message of type {type(finding).__name__}"
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            finding, said = None, f"found: {str(error)[:200]}"
        if isinstance(finding, FindingRaised):
            messages.append(bus_message(finding, entry.value))
        else:
            rejected = Rejected(
                source=f"{entry.topic} {entry.partition}",
                row=entry.offset + 1,
                reason=RejectReason.UNDECODABLE,
                detail=f"wanted a finding of version 1, {said}.",
            )
            refused.append((entry, rejected))
    return messages, refused


async def _unless_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Do it; once a stop comes it has a few seconds left. Whether it was done."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=DRAIN_S)
        if not task.done():
            return False
        task.result()
        return True
    finally:
        for each in (task, stopping):
            if not each.done():
                each.cancel()
                with suppress(asyncio.CancelledError, BusError):
                    await each
