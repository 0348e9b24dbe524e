"""Findings go from the log to the bus at least once, whatever fails in between, each with its id."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.adapters.memory import ManualClock
from plugcast.adapters.memory_bus import MemoryBus
from plugcast.adapters.memory_log import MemoryLog
from plugcast.domain import topics
from plugcast.domain.finding import Cause, Severity
from plugcast.domain.outgoing import DeadLetter, FindingRaised, ReasonGiven, decode_outgoing, encode_outgoing
from plugcast.errors import BusUnavailableError, UnroutableError
from plugcast.ports import BusMessage, Entry
from plugcast.services.stream import publishing
from plugcast.services.stream.metrics import EngineMetrics
from plugcast.services.stream.publishing import GROUP, Publisher, bus_message
from plugcast.services.stream.topics import specs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plugcast.ports import LogWorker

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


def test_what_is_no_finding_is_a_dead_letter_and_holds_nothing_up() -> None:
    log = filled(3)
    log.writer().append(topics.FINDINGS, [Entry(b"x", b"rubbish", part) for part in range(3)])
    log.writer().append(topics.FINDINGS, [Entry(b"x", None), Entry(b"x", b"\x00" * 70_000)])
    taken = asyncio.run(heard(log, MemoryBus(), {"f0", "f1", "f2"}))
    assert len(taken) == 3
    letters = [decode_outgoing(stored.value or b"") for stored in log.reader(topics.DEAD_LETTERS).read(10)]
    assert len(letters) == 4
    for letter in letters:
        assert isinstance(letter, DeadLetter)
        assert letter.topic == topics.FINDINGS
        assert "wanted a finding" in letter.detail


class Told:
    """A bus that keeps what it confirmed, and does with each call what it is told to."""

    def __init__(self, does: Callable[[Sequence[BusMessage]], set[str]]) -> None:
        self.does = does
        self.confirmed: list[str] = []
        self.asked: list[list[str]] = []

    async def publish(self, messages: Sequence[BusMessage]) -> None:
        self.asked.append([message.message_id for message in messages])
        try:
            missing = self.does(messages)
        except UnroutableError as error:
            self.confirmed += [name for name in self.asked[-1] if name not in error.message_ids]
            raise
        self.confirmed += [name for name in self.asked[-1] if name not in missing]
        if missing:
            raise BusUnavailableError("some were not confirmed", message_ids=missing)

    def subscribe(self, queue: str, *, bindings: Sequence[str], prefetch: int = 100) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        return


async def until(publisher: Publisher, done: Callable[[], bool]) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(publisher.run(stop))
    async with asyncio.timeout(30):
        while not done():  # noqa: ASYNC110 - counters ring no bell
            await asyncio.sleep(0.01)
    stop.set()
    await task


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "LONGEST_PAUSE_S", 0.001)
    monkeypatch.setattr(publishing, "DRAIN_S", 0.2)
    monkeypatch.setattr(publishing, "WAIT_S", 0.01)


def worker_of(log: MemoryLog) -> Callable[[], LogWorker]:
    return lambda: log.worker(GROUP, [topics.FINDINGS])


@pytest.mark.usefixtures("hurried")
def test_only_what_was_not_confirmed_is_published_again() -> None:
    log, calls = filled(9), iter([{"f3", "f4"}, {"f4"}])
    bus = Told(lambda _: next(calls, set()))
    metrics = EngineMetrics("publish")
    publisher = Publisher(worker_of(log), bus, metrics=metrics)
    asyncio.run(until(publisher, lambda: publisher.counts["published"] == 9))
    assert sorted(bus.confirmed) == sorted(f"f{n}" for n in range(9))
    assert [sorted(asked) for asked in bus.asked[1:]] == [["f3", "f4"], ["f4"]]
    assert metrics.registry.get_sample_value("plugcast_publish_published_total") == 9
    assert metrics.registry.get_sample_value("plugcast_publish_bus_errors_total") == 2
    assert sum(log.worker(GROUP, [topics.FINDINGS]).lag().values()) == 0


def nobody_wants(name: str) -> Callable[[Sequence[BusMessage]], set[str]]:
    def does(messages: Sequence[BusMessage]) -> set[str]:
        if any(message.message_id == name for message in messages):
            raise UnroutableError(f"nobody wants {name}", message_ids=[name])
        return set()

    return does


@pytest.mark.usefixtures("hurried")
def test_what_nobody_wants_is_dropped_and_counted_where_that_is_asked() -> None:
    bus = Told(nobody_wants("f3"))
    publisher = Publisher(worker_of(filled(6)), bus, unroutable="drop")
    asyncio.run(until(publisher, lambda: publisher.counts["messages"] == 6))
    assert sorted(bus.confirmed) == ["f0", "f1", "f2", "f4", "f5"]
    assert publisher.counts["unroutable"] == 1


@pytest.mark.usefixtures("hurried")
def test_what_nobody_wants_waits_and_is_never_committed() -> None:
    log = filled(6)
    bus = Told(nobody_wants("f3"))
    publisher = Publisher(worker_of(log), bus)
    asyncio.run(until(publisher, lambda: publisher.counts["unroutable"] >= 3))
    assert sorted(bus.confirmed) == ["f0", "f1", "f2", "f4", "f5"]
    again = log.worker(GROUP, [topics.FINDINGS])
    assert len(again.poll(100)) == 6


@pytest.mark.usefixtures("hurried")
def test_a_stop_ends_a_wait_for_a_subscriber_that_never_settles() -> None:
    log, bus = filled(2), MemoryBus()

    async def test() -> None:
        publisher, stop = Publisher(worker_of(log), bus), asyncio.Event()
        async with bus.subscribe("alerts", bindings=["#"]) as subscription:
            task = asyncio.create_task(publisher.run(stop))
            assert await subscription.take(wait_s=20) is not None
            stop.set()
            async with asyncio.timeout(20):
                await task

    asyncio.run(test())
    assert len(log.worker(GROUP, [topics.FINDINGS]).poll(10)) == 2


@given(seed=st.integers(0, 2**32), batch=st.integers(1, 7))
@pytest.mark.usefixtures("hurried")
def test_whatever_fails_all_are_confirmed_before_they_are_committed(seed: int, batch: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    log = filled(20)

    def does(messages: Sequence[BusMessage]) -> set[str]:
        if chance.random() < 0.1:
            raise RuntimeError("a defect of ours")
        return {message.message_id for message in messages if chance.random() < 0.2}

    bus = Told(does)

    async def test() -> None:
        for _ in range(200):
            publisher, stop = Publisher(worker_of(log), bus, batch=batch), asyncio.Event()
            for _ in range(chance.randrange(5)):  # then it is killed, in the middle of whatever it did
                try:
                    await publisher.step(stop)
                except RuntimeError:
                    break
            behind = publisher.lag
            await publisher.close()
            if behind and not sum(behind.values()):
                return
        raise AssertionError("it never ended")

    asyncio.run(test())
    assert {f"f{n}" for n in range(20)} <= set(bus.confirmed)


def test_an_id_that_no_broker_carries_is_hashed() -> None:
    long = "\u20ac" * 100  # 300 bytes
    message = bus_message(msgspec.structs.replace(finding(1), finding_id=long, site_id=long), b"")
    assert len(message.message_id) == 64
    assert message == bus_message(msgspec.structs.replace(finding(1), finding_id=long, site_id=long), b"")
