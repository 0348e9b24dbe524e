"""Findings go from the log to the bus at least once, whatever fails in between, each with its id."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from plugcast.adapters.memory import ManualClock
from plugcast.adapters.memory_bus import MemoryBus
from plugcast.adapters.memory_log import MemoryLog
from plugcast.domain import topics
from plugcast.domain.finding import Cause, Severity
from plugcast.domain.outgoing import FindingRaised, ReasonGiven, encode_outgoing
from plugcast.errors import BusUnavailableError
from plugcast.ports import Entry
from plugcast.services.stream.publishing import Publisher
from plugcast.services.stream.topics import specs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugcast.ports import BusMessage

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def finding(number: int) -> FindingRaised:
    return FindingRaised(
        v=1,
        finding_id=f"f{number}",
        session_id=f"s{number}",
        site_id="depot 1",
        station_id=f"post-{number % 7}",
        user_id=None,
        observed_at=NOW,
        score=0.9,
        p_value=None,
        cause=Cause.METER_FAULT,
        severity=Severity.CRITICAL,
        by="rule:meter",
        reasons=(ReasonGiven(feature="meter", text="the meter ran backwards", contribution=1.0),),
    )


class Shaky(MemoryBus):
    """Hands on what it is given, and now and then says that it did not."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    async def publish(self, messages: Sequence[BusMessage]) -> None:
        self.calls += 1
        if self.calls % 3 == 1:
            raise BusUnavailableError("not now")
        await super().publish(messages)
        if self.calls % 3 == 2:
            raise BusUnavailableError("confirmed by nobody")


def filled(count: int) -> MemoryLog:
    log = MemoryLog(clock=ManualClock(NOW))
    log.ensure(specs())
    entries = [
        Entry(topics.station_key(f.site_id, f.station_id), encode_outgoing(f)) for f in map(finding, range(count))
    ]
    log.writer().append(topics.FINDINGS, entries)
    return log


async def heard(log: MemoryLog, bus: MemoryBus, wanted: set[str]) -> list[BusMessage]:
    """All that arrives until everything wanted has, and the publisher has committed all of it."""
    stop = asyncio.Event()
    publisher = Publisher(lambda: log.worker("publishers", [topics.FINDINGS]), bus)
    async with bus.subscribe("alerts", bindings=["finding.#"]) as subscription:
        task = asyncio.create_task(publisher.run(stop))
        taken: list[BusMessage] = []
        async with asyncio.timeout(30):
            while {message.message_id for message in taken} < wanted or publisher.counts["published"] < len(wanted):
                if (delivery := await subscription.take(wait_s=0.1)) is not None:
                    taken.append(delivery.message)
                    await delivery.ack()
        stop.set()
        await task
    return taken


def test_each_finding_arrives_once_with_its_id_and_its_words() -> None:
    taken = asyncio.run(heard(filled(40), MemoryBus(), {f"f{n}" for n in range(40)}))
    assert len(taken) == 40
    assert {message.routing_key for message in taken} == {"finding.critical.meter_fault.depot_1"}
    assert {message.body for message in taken} == {encode_outgoing(finding(n)) for n in range(40)}


def test_a_bus_that_fails_before_or_after_costs_repeats_and_no_finding() -> None:
    taken = asyncio.run(heard(filled(40), Shaky(), {f"f{n}" for n in range(40)}))
    assert {message.message_id for message in taken} == {f"f{n}" for n in range(40)}
    assert len(taken) > 40


def test_what_is_no_finding_holds_nothing_up() -> None:
    log = filled(3)
    log.writer().append(topics.FINDINGS, [Entry(b"x", b"rubbish", part) for part in range(3)])
    taken = asyncio.run(heard(log, MemoryBus(), {"f0", "f1", "f2"}))
    assert len(taken) == 3
