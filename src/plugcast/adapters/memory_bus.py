"""A ``ports.Bus`` inside one process: for a site on one machine with nothing to install, and for tests."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from plugcast.errors import BusUnavailableError, UnroutableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from plugcast.ports import BusMessage

DELIVERY_LIMIT: Final = 5
"""A message that is given back more often is a dead letter."""


def matches(binding: str, routing_key: str) -> bool:
    """Whether a topic exchange's binding takes a routing key.

    >>> matches("finding.*.meter_fault.#", "finding.critical.meter_fault.site")
    True
    >>> matches("finding.*", "finding.critical.meter_fault")
    False
    """
    return _match(binding.split("."), routing_key.split("."))


def _match(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    head, rest = pattern[0], pattern[1:]
    if head == "#":
        return any(_match(rest, words[count:]) for count in range(len(words) + 1))
    return bool(words) and head in {"*", words[0]} and _match(rest, words[1:])


@dataclass(eq=False, slots=True)
class _Held:
    """A message in one queue."""

    message: BusMessage
    settled: asyncio.Future[None]
    given_back: int = 0


@dataclass(slots=True)
class _Queue:
    bindings: set[str] = field(default_factory=set)
    waiting: deque[_Held] = field(default_factory=deque)
    dead: list[BusMessage] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryBus:
    """Queues in memory, which do not survive the process: so ``publish`` waits until every subscriber is done.

    That makes it safe to commit what was published: nothing that was not dealt with is ever given up.
    """

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}
        self._closed = False

    async def publish(self, messages: Sequence[BusMessage]) -> None:
        """Hand over messages and wait until each queue's subscriber has settled them."""
        if self._closed:
            raise BusUnavailableError("This bus is closed.", message_ids=(m.message_id for m in messages))
        wanted = [(message, self._wanting(message.routing_key)) for message in messages]
        settled = [(m.message_id, self._put(queue, m)) for m, queues in wanted for queue in queues]
        ended = await asyncio.gather(*(future for _, future in settled), return_exceptions=True)
        if lost := {name for (name, _), outcome in zip(settled, ended, strict=True) if outcome is not None}:
            raise BusUnavailableError("The bus was closed.", message_ids=lost)
        if unwanted := [message for message, queues in wanted if not queues]:
            raise UnroutableError(
                f"No queue wants {unwanted[0].routing_key!r}. Start what should subscribe to it.",
                message_ids=(message.message_id for message in unwanted),
            )

    def _wanting(self, routing_key: str) -> list[_Queue]:
        return [q for q in self._queues.values() if any(matches(binding, routing_key) for binding in q.bindings)]

    @staticmethod
    def _put(queue: _Queue, message: BusMessage) -> asyncio.Future[None]:
        held = _Held(message, asyncio.get_running_loop().create_future())
        queue.waiting.append(held)
        queue.changed.set()
        return held.settled

    @asynccontextmanager
    async def subscribe(
        self, queue: str, *, bindings: Sequence[str], prefetch: int = 100
    ) -> AsyncIterator[MemorySubscription]:
        """Take part in a queue; what is not settled at the end goes back to it."""
        held = self._queues.setdefault(queue, _Queue())
        held.bindings |= set(bindings)
        subscription = MemorySubscription(held, prefetch)
        try:
            yield subscription
        finally:
            subscription.leave()

    def dead(self, queue: str) -> list[BusMessage]:
        """A queue's dead letters."""
        return list(self._queues[queue].dead)

    async def close(self) -> None:
        """Refuse further messages; whoever waits for one to be settled is told that it was not."""
        self._closed = True
        for queue in self._queues.values():
            for held in queue.waiting:
                if not held.settled.done():
                    held.settled.set_exception(BusUnavailableError("The bus was closed."))
            queue.waiting.clear()


class MemorySubscription:
    """One subscriber's share of a queue."""

    def __init__(self, queue: _Queue, prefetch: int) -> None:
        self._queue = queue
        self._prefetch = prefetch
        self._taken: list[_Held] = []

    async def take(self, *, wait_s: float) -> MemoryDelivery | None:
        """The next message; None if none came in time or as many as may be are in hand."""
        try:
            async with asyncio.timeout(wait_s):
                while not self._queue.waiting or len(self._taken) >= self._prefetch:
                    self._queue.changed.clear()
                    await self._queue.changed.wait()
        except TimeoutError:
            return None
        held = self._queue.waiting.popleft()
        self._taken.append(held)
        return MemoryDelivery(self, held)

    def settle(self, held: _Held, *, dead: bool = False, back: bool = False) -> None:
        """Done with, dead, or back to its queue; what was settled before stays as it was."""
        if held not in self._taken:
            return
        self._taken.remove(held)
        self._queue.changed.set()
        held.given_back += back
        if back and held.given_back <= DELIVERY_LIMIT:
            self._queue.waiting.append(held)
            return
        if dead or back:
            self._queue.dead.append(held.message)
        if not held.settled.done():
            held.settled.set_result(None)

    def leave(self) -> None:
        """What is in hand goes back, in order."""
        self._queue.waiting.extendleft(reversed(self._taken))
        self._taken.clear()
        self._queue.changed.set()


class MemoryDelivery:
    """A message in hand."""

    def __init__(self, subscription: MemorySubscription, held: _Held) -> None:
        self._subscription = subscription
        self._held = held

    @property
    def message(self) -> BusMessage:
        """What was published."""
        return self._held.message

    async def ack(self) -> None:
        """Done with."""
        self._subscription.settle(self._held)

    async def reject(self) -> None:
        """A dead letter."""
        self._subscription.settle(self._held, dead=True)

    async def give_back(self) -> None:
        """Not now."""
        self._subscription.settle(self._held, back=True)
