"""One contract for the bus; memory and RabbitMQ inherit it."""

from __future__ import annotations

import asyncio
import traceback
import uuid
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.adapters.memory_bus import MemoryBus, matches
from plugcast.adapters.rabbitmq import RabbitBus, connect
from plugcast.errors import BusUnavailableError, ConfigError, UnroutableError
from plugcast.ports import Bus, BusMessage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from plugcast.ports import Delivery, Subscription

WAIT_S = 5.0


def finding(number: int, key: str = "finding.warning.derating.site") -> BusMessage:
    return BusMessage(message_id=f"id-{number}", routing_key=key, body=f"body {number}".encode())


async def took(subscription: Subscription, count: int) -> list[Delivery]:
    taken = []
    for _ in range(count):
        delivery = await subscription.take(wait_s=WAIT_S)
        assert delivery is not None
        taken.append(delivery)
    return taken


async def acked(subscription: Subscription, count: int) -> list[BusMessage]:
    taken = await took(subscription, count)
    for delivery in taken:
        await delivery.ack()
    return [delivery.message for delivery in taken]


@asynccontextmanager
async def publishing(bus: Bus, messages: Sequence[BusMessage]) -> AsyncIterator[None]:
    """In the background: a bus in memory is done publishing when its subscribers are done."""
    task = asyncio.create_task(bus.publish(messages))
    try:
        yield
        async with asyncio.timeout(WAIT_S):
            await task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, BusUnavailableError, UnroutableError):
            await task


class BusContract(ABC):
    """Each test has a bus and names of its own."""

    @abstractmethod
    def run(self, test: Callable[[Bus, str], Coroutine[None, None, None]]) -> None:
        """Run a test with an open bus and the name of a new queue."""

    @abstractmethod
    async def dead(self, bus: Bus, queue: str, count: int) -> list[bytes]:
        """Bodies of a queue's dead letters."""

    def test_each_queue_gets_what_its_bindings_match_in_order(self) -> None:
        async def test(bus: Bus, queue: str) -> None:
            messages = [finding(n, ["finding.warning.a.x", "finding.critical.b.x"][n % 2]) for n in range(20)]
            async with (
                bus.subscribe(queue, bindings=["finding.#"]) as everything,
                bus.subscribe(f"{queue}-bad", bindings=["finding.critical.*.*"]) as bad,
                publishing(bus, messages),
            ):
                assert await acked(everything, 20) == messages
                assert await acked(bad, 10) == messages[1::2]
                assert await bad.take(wait_s=0.05) is None

        self.run(test)

    def test_what_nobody_wants_is_an_error(self) -> None:
        async def test(bus: Bus, queue: str) -> None:
            wanted = "finding.critical.a.x"
            async with bus.subscribe(queue, bindings=["finding.critical.#"]) as subscription:
                messages = [finding(1, wanted), finding(2, "finding.info.a.x"), finding(3, wanted)]
                publishing = asyncio.create_task(bus.publish(messages))
                assert await acked(subscription, 2) == [messages[0], messages[2]]
                with pytest.raises(UnroutableError, match=r"finding\.info") as refused:
                    await publishing
                assert refused.value.message_ids == {"id-2"}

        self.run(test)

    def test_what_is_not_settled_comes_again(self) -> None:
        async def test(bus: Bus, queue: str) -> None:
            async with publishing_to(bus, queue, [finding(n) for n in range(4)]):
                async with bus.subscribe(queue, bindings=["finding.#"]) as first:
                    taken = await took(first, 3)
                    await taken[0].ack()
                async with bus.subscribe(queue, bindings=["finding.#"]) as second:
                    assert {m.message_id for m in await acked(second, 3)} == {"id-1", "id-2", "id-3"}
                    assert await second.take(wait_s=0.05) is None

        self.run(test)

    def test_what_is_rejected_is_a_dead_letter_at_once(self) -> None:
        async def test(bus: Bus, queue: str) -> None:
            async with (
                bus.subscribe(queue, bindings=["finding.#"]) as subscription,
                publishing(bus, [finding(1), finding(2)]),
            ):
                first, second = await took(subscription, 2)
                await first.reject()
                await second.ack()
                assert await subscription.take(wait_s=0.05) is None
                assert await self.dead(bus, queue, 1) == [b"body 1"]

        self.run(test)

    def test_what_is_given_back_comes_again_until_it_is_a_dead_letter(self) -> None:
        async def test(bus: Bus, queue: str) -> None:
            async with bus.subscribe(queue, bindings=["finding.#"]) as subscription, publishing(bus, [finding(1)]):
                times = 0
                while (delivery := await subscription.take(wait_s=WAIT_S if times == 0 else 1.0)) is not None:
                    times += 1
                    await delivery.give_back()
                assert 2 <= times <= 10
                assert await self.dead(bus, queue, 1) == [b"body 1"]

        self.run(test)

    def test_no_more_than_the_prefetch_is_in_hand(self) -> None:
        async def test(bus: Bus, queue: str) -> None:
            async with (
                bus.subscribe(queue, bindings=["finding.#"], prefetch=2) as subscription,
                publishing(bus, [finding(n) for n in range(3)]),
            ):
                first, second = await took(subscription, 2)
                assert await subscription.take(wait_s=0.1) is None
                await first.ack()
                await first.ack()  # twice does no harm
                (third,) = await took(subscription, 1)
                await second.ack()
                await third.ack()

        self.run(test)

    def test_subscribers_of_one_queue_share_it(self) -> None:
        async def test(bus: Bus, queue: str) -> None:
            async with (
                bus.subscribe(queue, bindings=["finding.#"], prefetch=5) as one,
                bus.subscribe(queue, bindings=["finding.#"], prefetch=5) as other,
                publishing(bus, [finding(n) for n in range(10)]),
            ):
                shared = await acked(one, 5) + await acked(other, 5)
                assert {message.message_id for message in shared} == {f"id-{n}" for n in range(10)}

        self.run(test)

    def test_it_is_a_bus(self) -> None:
        async def test(bus: Bus, queue: str) -> None:
            assert isinstance(bus, Bus)
            assert queue

        self.run(test)


@asynccontextmanager
async def publishing_to(bus: Bus, queue: str, messages: Sequence[BusMessage]) -> AsyncIterator[None]:
    """As ``publishing``, to a queue that nobody reads yet."""
    async with bus.subscribe(queue, bindings=["finding.#"]):
        pass
    async with publishing(bus, messages):
        yield


class TestMemoryBus(BusContract):
    def run(self, test: Callable[[Bus, str], Coroutine[None, None, None]]) -> None:
        asyncio.run(test(MemoryBus(), "alerts"))

    async def dead(self, bus: Bus, queue: str, count: int) -> list[bytes]:
        assert isinstance(bus, MemoryBus)
        assert len(bus.dead(queue)) == count
        return [message.body for message in bus.dead(queue)]

    def test_publishing_waits_for_the_subscribers_since_nothing_here_is_durable(self) -> None:
        async def test(bus: Bus, queue: str) -> None:
            async with bus.subscribe(queue, bindings=["#"]) as subscription:
                task = asyncio.create_task(bus.publish([finding(1)]))
                (delivery,) = await took(subscription, 1)
                assert not task.done()
                await delivery.ack()
                await task

        self.run(test)

    def test_closing_tells_whoever_waits(self) -> None:
        async def test(bus: Bus, queue: str) -> None:
            async with bus.subscribe(queue, bindings=["#"]):
                task = asyncio.create_task(bus.publish([finding(1)]))
                await asyncio.sleep(0)
                await bus.close()
                with pytest.raises(BusUnavailableError) as refused:
                    await task
                assert refused.value.message_ids == {"id-1"}

        self.run(test)


@pytest.mark.connected
class TestRabbitBus(BusContract):
    @pytest.fixture(autouse=True)
    def _server(self, rabbitmq_url: str) -> None:
        self.url = rabbitmq_url

    def run(self, test: Callable[[Bus, str], Coroutine[None, None, None]]) -> None:
        name = f"test-{uuid.uuid4().hex[:12]}"

        async def within() -> None:
            bus = RabbitBus(self.url, exchange=name)
            try:
                await test(bus, name)
            finally:
                await bus.close()
                connection = await connect(self.url, "test")
                channel = await connection.channel()
                for queue in (name, f"{name}-bad"):
                    await channel.queue_delete(queue)
                    await channel.queue_delete(f"{queue}.dead")
                await channel.exchange_delete(name)
                await connection.close()

        asyncio.run(within())

    async def dead(self, bus: Bus, queue: str, count: int) -> list[bytes]:
        del bus
        connection = await connect(self.url, "test")
        channel = await connection.channel()
        buried = await channel.get_queue(f"{queue}.dead")
        found: list[bytes] = []
        async with asyncio.timeout(WAIT_S):
            while len(found) < count:
                if (message := await buried.get(fail=False)) is not None:
                    await message.ack()
                    found.append(message.body)
        await connection.close()
        return found


def test_an_address_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError) as refused:
        RabbitBus("http://user:secret@host")
    assert "secret" not in str(refused.value)


def test_nobody_there_is_said_without_the_password() -> None:
    bus = RabbitBus("amqp://user:secret@127.0.0.1:1/")
    with pytest.raises(BusUnavailableError) as refused:
        asyncio.run(bus.publish([finding(n) for n in range(1_001)]))
    assert refused.value.message_ids == {f"id-{n}" for n in range(1_001)}
    assert "127.0.0.1:1" in str(refused.value)
    assert "secret" not in str(refused.value)


WORDS = st.lists(st.sampled_from("ab"), min_size=1, max_size=4)


@given(words=WORDS)
def test_wild_cards_match_as_a_topic_exchange_does(words: list[str]) -> None:
    key = ".".join(words)
    assert matches(key, key)
    assert matches("#", key)
    assert matches("*." * (len(words) - 1) + "*", key)
    assert matches(f"#.{words[-1]}", key)
    assert not matches(key + ".c", key)
    assert matches(key + ".#", key)


@pytest.mark.parametrize("rest", ["bob:s3c/ret@127.0.0.1:5672/", "bob:s3cret@127.0.0.1:99999/", "bob:s3cret@[::1/"])
def test_an_address_that_cannot_be_is_refused_without_its_password(rest: str) -> None:
    with pytest.raises(ConfigError) as refused:
        RabbitBus(f"amqp://{rest}")
    assert "s3c" not in "".join(traceback.format_exception(refused.value))
