"""A listener hands on each finding once, whatever comes twice, fails or is none."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from plugcast.adapters.memory import ManualClock
from plugcast.adapters.memory_bus import DELIVERY_LIMIT, MemoryBus
from plugcast.adapters.subscriber.seen_ids import SeenIds
from plugcast.domain.outgoing import FindingRaised, encode_outgoing
from plugcast.ports import BusMessage
from plugcast.services.stream.asyncapi_examples import EXAMPLES
from plugcast.services.stream.listening import Listener
from plugcast.services.stream.publishing import bus_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

(EXAMPLE,) = (each for each in EXAMPLES if isinstance(each, FindingRaised))


def message(name: str) -> BusMessage:
    finding = msgspec.structs.replace(EXAMPLE, finding_id=name)
    return bus_message(finding, encode_outgoing(finding))


async def listened(
    messages: Sequence[BusMessage], handle: Callable[[FindingRaised, bytes], None], seen: SeenIds
) -> tuple[Listener, MemoryBus]:
    """The bus is done with a message when the listener is."""
    bus, stop = MemoryBus(), asyncio.Event()
    clock = ManualClock(datetime(2026, 3, 3, tzinfo=UTC))
    listener = Listener(bus, "mine", bindings=["finding.#"], handle=handle, seen=seen, clock=clock)
    task = asyncio.create_task(listener.run(stop))
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await bus.publish(messages)
    stop.set()
    await task
    return listener, bus


def test_a_repeat_is_left_out_also_after_a_new_start() -> None:
    got: list[str] = []
    seen = SeenIds.at(":memory:")
    for names in ("aba", "bcc"):
        asyncio.run(listened([message(name) for name in names], lambda f, _: got.append(f.finding_id), seen))
    assert got == ["a", "b", "c"]


def test_what_cannot_be_handled_comes_again_and_is_a_dead_letter_at_last() -> None:
    tries: list[str] = []

    def handle(finding: FindingRaised, _: bytes) -> None:
        tries.append(finding.finding_id)
        if finding.finding_id == "bad" or (finding.finding_id == "shaky" and tries.count("shaky") < 3):
            raise RuntimeError("not now")

    names = ("bad", "good", "shaky")
    listener, bus = asyncio.run(listened([message(name) for name in names], handle, SeenIds.at(":memory:")))
    assert [each.message_id for each in bus.dead("mine")] == ["bad"]
    assert tries.count("bad") == DELIVERY_LIMIT + 1
    assert (tries.count("good"), tries.count("shaky")) == (1, 3)
    assert listener.counts["handled"] == 2


def test_what_is_no_finding_is_a_dead_letter_at_once() -> None:
    rubbish = BusMessage(message_id="x", routing_key="finding.a.b.c", body=b"\xff\x00")
    got: list[str] = []
    messages = [rubbish, message("a")]
    listener, bus = asyncio.run(listened(messages, lambda f, _: got.append(f.finding_id), SeenIds.at(":memory:")))
    assert got == ["a"]
    assert bus.dead("mine") == [rubbish]
    assert listener.counts["unreadable"] == 1
