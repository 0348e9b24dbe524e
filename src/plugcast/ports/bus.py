"""Messages out to whoever wants to know: published to a bus, subscribed to by queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

MAX_NAME_BYTES: Final = 255
"""Of a message's id or routing key in UTF-8: what AMQP can carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusMessage:
    """What is published."""

    message_id: str
    """The same message published twice has the same id: subscribers tell repeats by it."""
    routing_key: str
    """Words with dots between, e.g. ``finding.critical.meter_fault.site``; queues choose by them."""
    body: bytes

    def __post_init__(self) -> None:
        """Refuse what no broker would carry."""
        for name in (self.message_id, self.routing_key):
            if len(name.encode()) > MAX_NAME_BYTES:
                raise ValueError(f"wanted an id and a routing key of at most {MAX_NAME_BYTES} bytes, found {name!r}")


@runtime_checkable
class Delivery(Protocol):
    """A message in a subscriber's hands: it comes again unless it is acknowledged."""

    @property
    def message(self) -> BusMessage:
        """What was published."""
        ...

    async def ack(self) -> None:
        """Done with: its effects are durable. It may come again all the same, where the broker never heard this."""
        ...

    async def reject(self) -> None:
        """Can never be done with: it goes to the queue of dead letters."""
        ...

    async def give_back(self) -> None:
        """Could not be done with now: it comes again, after others perhaps, and a bounded number of times."""
        ...


@runtime_checkable
class Subscription(Protocol):
    """A queue's messages, at most ``prefetch`` of them not acknowledged at a time."""

    async def take(self, *, wait_s: float) -> Delivery | None:
        """The next message; None if none came in time.

        Raises BusUnavailableError while the broker cannot be reached.
        """
        ...


@runtime_checkable
class Bus(Protocol):
    """Publish and subscribe: at least once, each queue getting every message that its bindings match."""

    async def publish(self, messages: Sequence[BusMessage]) -> None:
        """Hand over messages; returns once every one is durable in every queue that wants it.

        Raises BusUnavailableError (its ``message_ids`` are not known to be there: publish those again) or
        UnroutableError (no queue wants its ``message_ids``: nobody would ever hear of them; all others are durable).
        """
        ...

    def subscribe(
        self, queue: str, *, bindings: Sequence[str], prefetch: int = 100
    ) -> AbstractAsyncContextManager[Subscription]:
        """A durable queue, made if missing, of all messages whose routing key matches a binding.

        ``*`` stands for one word, ``#`` for any number. Several subscribers of one queue share its messages.
        """
        ...

    async def close(self) -> None:
        """Let go of the broker."""
        ...
