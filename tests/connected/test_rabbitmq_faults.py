"""RabbitMQ killed or stopped under load: nothing that was confirmed is lost; without confirms it is."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import aio_pika
import pytest
from scripts.own_server import OwnServer, state_of

from plugcast.adapters.rabbitmq import RabbitBus, connect
from plugcast.errors import BusError
from plugcast.ports import BusMessage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUNDS = int(os.environ.get("PLUGCAST_FAULT_ROUNDS", "3"))
BURST = 200
STOPPED_S = 30.0
"""Longer than RabbitMQ's heartbeats and our own time limits."""
pytestmark = [pytest.mark.connected, pytest.mark.slow]


@pytest.fixture
def broker(tmp_path: Path, rabbitmq_url: str) -> Iterator[OwnServer]:
    assert rabbitmq_url  # the machine has RabbitMQ
    with OwnServer("rabbitmq", tmp_path / "services") as made:
        yield made


def message(number: int) -> BusMessage:
    return BusMessage(message_id=f"id-{number}", routing_key="finding.warning.derating.x", body=str(number).encode())


async def _load(url: str, first: int, confirmed: list[str]) -> None:
    """Publish until the broker dies; what ``publish`` returned for is confirmed."""
    bus = RabbitBus(url)
    number = first
    while True:
        burst = [message(number + place) for place in range(BURST)]
        try:
            await bus.publish(burst)
        except BusError:
            await bus.close()
            return
        confirmed.extend(each.message_id for each in burst)
        number += BURST


async def _drained(url: str) -> list[str]:
    """All that is in the queue; a broker that has just come back may need a while for its queues."""
    end, taken = time.monotonic() + 90, list[str]()
    while True:
        try:
            await _take_all(url, taken)
        except BusError:
            assert time.monotonic() < end
        else:
            return taken


async def _take_all(url: str, taken: list[str]) -> None:
    async with RabbitBus(url).subscribe("alerts", bindings=["finding.#"], prefetch=1_000) as subscription:
        while (delivery := await subscription.take(wait_s=2.0)) is not None:
            taken.append(delivery.message.message_id)
            await delivery.ack()


def _make_queue(broker: OwnServer) -> None:
    """A queue that has seen a stop: RabbitMQ 3.10 may not know one again that was made a moment before a kill."""

    async def made() -> None:
        async with RabbitBus(broker.address).subscribe("alerts", bindings=["finding.#"]):
            pass

    asyncio.run(made())
    broker.down()
    broker.up()


def test_nothing_confirmed_is_lost_when_the_broker_is_killed_under_load(broker: OwnServer) -> None:
    _make_queue(broker)
    for round_ in range(ROUNDS):
        confirmed: list[str] = []

        async def under_load(first: int, confirmed: list[str]) -> int:
            task = asyncio.create_task(_load(broker.address, first, confirmed))
            while len(confirmed) < 5 * BURST:  # noqa: ASYNC110 - the list is the load's own account
                await asyncio.sleep(0.01)
            dead = await asyncio.to_thread(broker.kill)
            await task
            return dead

        dead = asyncio.run(under_load(round_ * 1_000_000, confirmed))
        broker.up()
        assert broker.pid != dead
        found = asyncio.run(_drained(broker.address))
        assert set(confirmed) <= set(found)


def test_nothing_confirmed_is_lost_or_doubled_when_the_broker_stands_still_under_load(broker: OwnServer) -> None:
    _make_queue(broker)
    confirmed: list[str] = []

    async def under_load() -> None:
        task = asyncio.create_task(_load(broker.address, 0, confirmed))
        while len(confirmed) < 5 * BURST:  # noqa: ASYNC110 - the list is the load's own account
            await asyncio.sleep(0.01)
        os.kill(broker.pid, signal.SIGSTOP)
        await asyncio.sleep(STOPPED_S)
        assert state_of(broker.pid) == "T"
        os.kill(broker.pid, signal.SIGCONT)
        await asyncio.wait_for(task, 60)  # it ends with the first failure: the broker was silent for too long

    asyncio.run(under_load())
    found = asyncio.run(_drained(broker.address))
    assert set(confirmed) <= set(found)
    assert len(found) == len(set(found))


async def _careless(url: str, count: int) -> None:
    """Published and believed: transient, and nobody waits for a confirm."""
    connection = await connect(url, "test")
    channel = await connection.channel(publisher_confirms=False)
    exchange = await channel.get_exchange("plugcast")
    for number in range(count):
        transient = aio_pika.Message(
            b"x", message_id=f"id-{number}", delivery_mode=aio_pika.DeliveryMode.NOT_PERSISTENT
        )
        await exchange.publish(transient, "finding.careless")
    await asyncio.sleep(0.5)
    with suppress(Exception):
        await connection.close()


async def _classic_queue(url: str) -> None:
    connection = await connect(url, "test")
    channel = await connection.channel()
    exchange = await channel.declare_exchange("plugcast", aio_pika.ExchangeType.TOPIC, durable=True)
    queue = await channel.declare_queue("careless", durable=True)
    await queue.bind(exchange, routing_key="finding.careless")
    await connection.close()


async def _left(url: str) -> int:
    connection = await connect(url, "test")
    channel = await connection.channel()
    queue, count = await channel.get_queue("careless"), 0
    while (found := await queue.get(fail=False)) is not None:
        await found.ack()
        count += 1
    await connection.close()
    return count


def test_the_same_fault_does_lose_what_is_published_carelessly(broker: OwnServer) -> None:
    asyncio.run(_classic_queue(broker.address))
    asyncio.run(_careless(broker.address, 1_000))
    dead = broker.kill()
    broker.up()
    assert broker.pid != dead
    assert asyncio.run(_left(broker.address)) < 1_000
