"""A ``ports.Bus`` over RabbitMQ: a topic exchange, quorum queues, confirms, dead letters.

Only what is persistent, routed and confirmed survives a broker that is killed; so a message is published so or not at
all. A connection that breaks is replaced; messages that were not acknowledged over it come again.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from plugcast.errors import BusUnavailableError, ConfigError, MissingExtraError, UnroutableError
from plugcast.ports import BusMessage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

try:
    import aio_pika
    from aiormq.exceptions import AMQPError, ChannelInvalidStateError, DeliveryError, PublishError
except ModuleNotFoundError as error:
    raise MissingExtraError("aio_pika", "rabbitmq") from error

EXCHANGE: Final = "plugcast"
DEAD_EXCHANGE: Final = "plugcast.dead"
DELIVERY_LIMIT: Final = 5
"""A message that is given back, or whose subscriber dies, more often is a dead letter."""
WINDOW: Final = 500
"""Messages that wait for their confirms together."""
TIMEOUT_S: Final = 10.0
HEARTBEAT_S: Final = 10
FIRST_RETRY_S: Final = 0.2
LAST_RETRY_S: Final = 10.0
_GONE: Final = (AMQPError, ChannelInvalidStateError, ConnectionError, OSError, TimeoutError)
"""The connection broke, or the broker does not answer."""


class RabbitBus:
    """Publishes over one connection, opened when first needed; each subscription has one of its own.

    Args:
        url: ``amqp://user:password@host:port/vhost``, or ``amqps://`` for TLS.
        exchange: Publishers and subscribers of one name meet.

    Raises:
        ConfigError: It is no such address.
    """

    def __init__(self, url: str, *, exchange: str = EXCHANGE) -> None:
        self._url = url
        self._name = _named(url)
        """For messages: never with the password."""
        self._exchange = exchange
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._target: aio_pika.abc.AbstractExchange | None = None
        self._opening = asyncio.Lock()

    async def publish(self, messages: Sequence[BusMessage]) -> None:
        """Persistent, mandatory and confirmed, a window of them at a time."""
        unwanted: list[BusMessage] = []
        for start in range(0, len(messages), WINDOW):
            window = messages[start : start + WINDOW]
            try:
                unwanted += await self._window(window)
            except BusUnavailableError as error:
                later = [*unwanted, *messages[start + WINDOW :]]
                unsent = error.message_ids or {message.message_id for message in window}
                raise BusUnavailableError(
                    str(error), message_ids={*unsent, *(message.message_id for message in later)}
                ) from error
        if unwanted:
            raise UnroutableError(
                f"No queue wants {unwanted[0].routing_key!r}. Start what should subscribe to it.",
                message_ids=(message.message_id for message in unwanted),
            )

    async def _window(self, messages: Sequence[BusMessage]) -> list[BusMessage]:
        """Publish these together; returns those that no queue wants."""
        target = await self._open()
        sent = await asyncio.gather(*(_send(target, message) for message in messages), return_exceptions=True)
        failed = {
            message.message_id: outcome
            for message, outcome in zip(messages, sent, strict=True)
            if isinstance(outcome, BaseException)
        }
        errors = [error for error in failed.values() if not isinstance(error, PublishError)]
        if errors:
            if not all(isinstance(error, DeliveryError) for error in errors):
                await self._drop()
            for error in errors:  # aiormq cancels what a lost channel owed
                if not isinstance(error, (*_GONE, asyncio.CancelledError)):
                    raise error
            raise BusUnavailableError(
                f"RabbitMQ at {self._name} confirmed {len(sent) - len(failed)} of {len(sent)} messages: "
                f"{type(errors[0]).__name__}.",
                message_ids=failed,
            ) from errors[0]
        return [message for message in messages if message.message_id in failed]

    async def _open(self) -> aio_pika.abc.AbstractExchange:
        async with self._opening:
            if self._target is None:
                self._connection = await connect(self._url, self._name)
                try:
                    async with asyncio.timeout(TIMEOUT_S):
                        channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
                        self._target = await _exchange(channel, self._exchange)
                except _GONE as error:
                    await self._drop()
                    raise BusUnavailableError(f"RabbitMQ at {self._name}: {type(error).__name__}.") from error
            return self._target

    async def _drop(self) -> None:
        connection, self._connection, self._target = self._connection, None, None
        await _closed(connection)

    @asynccontextmanager
    async def subscribe(
        self, queue: str, *, bindings: Sequence[str], prefetch: int = 100
    ) -> AsyncIterator[RabbitSubscription]:
        """A quorum queue of that name, and ``<name>.dead`` for its dead letters."""
        subscription = RabbitSubscription(
            self._url, self._name, exchange=self._exchange, queue=queue, bindings=bindings, prefetch=prefetch
        )
        await subscription.open()
        try:
            yield subscription
        finally:
            await subscription.close()

    async def close(self) -> None:
        """Close the publisher's connection."""
        await self._drop()


class RabbitSubscription:
    """A consumer that comes back by itself after its connection broke."""

    def __init__(
        self, url: str, name: str, *, exchange: str, queue: str, bindings: Sequence[str], prefetch: int
    ) -> None:
        self._url, self._name = url, name
        self._exchange, self._queue, self._bindings, self._prefetch = exchange, queue, tuple(bindings), prefetch
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._arrived: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage | None] = asyncio.Queue()
        self._failures = 0

    async def open(self) -> None:
        """Connect, make the queue, begin to consume.

        Raises:
            BusUnavailableError: The broker cannot be reached.
        """
        self._connection = await connect(self._url, self._name)
        arrived: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage | None] = asyncio.Queue()
        self._arrived = arrived  # what came over an earlier connection comes again
        try:
            async with asyncio.timeout(TIMEOUT_S):
                channel = await self._connection.channel()
                await channel.set_qos(prefetch_count=self._prefetch)
                source = await self._declare(channel)
                channel.close_callbacks.add(lambda *_: arrived.put_nowait(None))
                await source.consume(arrived.put)
        except _GONE as error:
            await self.close()
            raise BusUnavailableError(f"RabbitMQ at {self._name}: {type(error).__name__}: {error}") from error

    async def _declare(self, channel: aio_pika.abc.AbstractChannel) -> aio_pika.abc.AbstractQueue:
        dead = await channel.declare_exchange(DEAD_EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True)
        buried = await channel.declare_queue(f"{self._queue}.dead", durable=True, arguments={"x-queue-type": "quorum"})
        await buried.bind(dead, routing_key=self._queue)
        source = await channel.declare_queue(
            self._queue,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": DELIVERY_LIMIT,
                "x-dead-letter-exchange": DEAD_EXCHANGE,
                "x-dead-letter-routing-key": self._queue,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        )
        exchange = await _exchange(channel, self._exchange)
        for binding in self._bindings:
            await source.bind(exchange, routing_key=binding)
        return source

    async def take(self, *, wait_s: float) -> RabbitDelivery | None:
        """The next message; reconnects first where the connection is gone."""
        if self._connection is None:
            pause_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2**self._failures) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            await asyncio.sleep(min(wait_s, pause_s) if self._failures else 0.0)
            self._failures = min(self._failures + 1, 10)
            await self.open()
            self._failures = 0
        try:
            message = await asyncio.wait_for(self._arrived.get(), wait_s)
        except TimeoutError:
            return None
        if message is None:  # the channel is closed; the next call opens another
            await self.close()
            return None
        return RabbitDelivery(message)

    async def close(self) -> None:
        """Leave; what is not settled goes back to the queue."""
        connection, self._connection = self._connection, None
        await _closed(connection)


class RabbitDelivery:
    """A message in hand. What the broker does not hear of it comes again, as the port says."""

    def __init__(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        self._message = message

    @property
    def message(self) -> BusMessage:
        """What was published."""
        found = self._message
        return BusMessage(message_id=found.message_id or "", routing_key=found.routing_key or "", body=found.body)

    async def ack(self) -> None:
        """Done with."""
        with suppress(*_GONE):
            await self._message.ack()

    async def reject(self) -> None:
        """A dead letter."""
        with suppress(*_GONE):
            await self._message.reject(requeue=False)

    async def give_back(self) -> None:
        """Not now."""
        with suppress(*_GONE):
            await self._message.reject(requeue=True)


def _named(url: str) -> str:
    """host:port of an address; says nothing of what else is in it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 5672
    except ValueError:
        parts, host, port = None, None, 0
    if parts is None or parts.scheme not in {"amqp", "amqps"} or not host:
        raise ConfigError(
            "RabbitMQ: wanted an address like amqp://user:password@host:5672/, with %2F for a / in the password."
        )
    return f"{host}:{port}"


async def connect(url: str, name: str) -> aio_pika.abc.AbstractConnection:
    """A connection.

    Raises:
        BusUnavailableError: There is none to be had.
    """
    try:
        return await aio_pika.connect(url, timeout=TIMEOUT_S, heartbeat=HEARTBEAT_S)
    except _GONE as error:
        raise BusUnavailableError(f"RabbitMQ at {name} cannot be reached: {type(error).__name__}.") from error


async def _exchange(channel: aio_pika.abc.AbstractChannel, name: str) -> aio_pika.abc.AbstractExchange:
    return await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)


async def _send(target: aio_pika.abc.AbstractExchange, message: BusMessage) -> Any:  # noqa: ANN401 - a frame of aiormq
    wire = aio_pika.Message(
        message.body,
        message_id=message.message_id,
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
    return await target.publish(wire, message.routing_key, mandatory=True, timeout=TIMEOUT_S)


async def _closed(connection: aio_pika.abc.AbstractConnection | None) -> None:
    if connection is not None:
        with suppress(*_GONE):
            await asyncio.wait_for(connection.close(), TIMEOUT_S)


__all__ = ["DELIVERY_LIMIT", "RabbitBus", "connect"]
