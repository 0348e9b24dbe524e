"""One contract for each port; the memory double and every real adapter inherit it."""

from __future__ import annotations

import asyncio
import gc
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from plugcast.adapters.acn.files import AcnFile
from plugcast.adapters.clock import SystemClock
from plugcast.adapters.files import LocalArtifacts, RejectFile
from plugcast.adapters.memory import (
    InProcessTopic,
    ManualClock,
    MemoryArtifactStore,
    MemoryPriceSource,
    MemoryRejectStore,
    MemorySessionSource,
    MemoryTelemetrySource,
    RecordingSetpointSink,
)
from plugcast.adapters.tables import SessionsFile, TelemetryFile
from plugcast.domain.rejected import Rejected, RejectReason
from plugcast.domain.site import Tariff
from plugcast.errors import ModelNotFoundError
from plugcast.ports import (
    ArtifactStore,
    Clock,
    PriceSource,
    RejectStore,
    SessionSource,
    SetpointSink,
    TelemetrySource,
    Topic,
)
from plugcast.schemas import SESSIONS, TELEMETRY, USER_INPUTS

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def _rejected(row: int) -> Rejected:
    return Rejected(source="x", row=row, reason=RejectReason.BAD_TIME, detail="wanted a time, found none", raw='æ"\n')


class ClockContract(ABC):
    @abstractmethod
    def make(self) -> Clock: ...

    @abstractmethod
    def pass_time(self, clock: Clock, seconds: float) -> None: ...

    def test_it_is_a_clock_in_utc_that_never_goes_back(self) -> None:
        clock = self.make()
        assert isinstance(clock, Clock)
        seen = [clock.now() for _ in range(50)]
        assert seen == sorted(seen)
        assert clock.now().utcoffset() == timedelta(0)

    @pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.01])
    def test_a_sleep_lasts_at_least_as_long_as_asked(self, seconds: float) -> None:
        clock = self.make()

        async def nap() -> timedelta:
            start = clock.now()
            task = asyncio.create_task(clock.sleep(seconds))
            await asyncio.sleep(0)
            self.pass_time(clock, seconds)
            await task
            return clock.now() - start

        assert asyncio.run(nap()) >= timedelta(seconds=max(0.0, seconds * 0.9))


class TestSystemClock(ClockContract):
    def make(self) -> Clock:
        return SystemClock()

    def pass_time(self, clock: Clock, seconds: float) -> None:
        assert isinstance(clock, SystemClock), seconds  # real time passes by itself


class TestManualClock(ClockContract):
    def make(self) -> Clock:
        return ManualClock(NOW)

    def pass_time(self, clock: Clock, seconds: float) -> None:
        assert isinstance(clock, ManualClock)
        clock.advance(max(0.0, seconds))

    def test_sleepers_wake_in_order_and_only_when_due(self) -> None:
        async def run() -> list[str]:
            clock, woken = ManualClock(NOW), []

            async def sleeper(name: str, seconds: float) -> None:
                await clock.sleep(seconds)
                woken.append(name)

            tasks = [asyncio.create_task(sleeper(str(seconds), seconds)) for seconds in (30.0, 10.0, 20.0, 99.0)]
            await asyncio.sleep(0)
            clock.advance(5.0)
            await asyncio.sleep(0)
            assert woken == []
            clock.advance(25.0)
            await asyncio.sleep(0)
            tasks[3].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return woken

        assert asyncio.run(run()) == ["10.0", "20.0", "30.0"]

    def test_it_refuses_to_go_back_and_to_have_no_zone(self) -> None:
        with pytest.raises(ValueError, match="backwards"):
            ManualClock(NOW).advance(-1.0)
        with pytest.raises(ValueError, match="time zone"):
            ManualClock(NOW.replace(tzinfo=None))


class SessionSourceContract(ABC):
    """Three rows: two sessions, and one that is refused."""

    @abstractmethod
    def make(self, folder: Path) -> SessionSource: ...

    def test_it_gives_each_session_once_in_order_with_what_was_refused(self, tmp_path: Path) -> None:
        source = self.make(tmp_path)
        assert isinstance(source, SessionSource)
        read = source.read()
        assert dict(read.sessions.schema) == dict(SESSIONS)
        assert dict(read.user_inputs.schema) == dict(USER_INPUTS)
        assert read.sessions["session_id"].is_unique().all()
        assert_frame_equal(read.sessions, read.sessions.sort("arrival_at", "session_id"))
        assert (read.counts.accepted, read.counts.rejected) == (2, 1)
        assert read.sessions["available_at"].null_count() == 0

    def test_reading_twice_gives_the_same(self, tmp_path: Path) -> None:
        source = self.make(tmp_path)
        first, second = source.read(), source.read()
        assert_frame_equal(first.sessions, second.sessions)
        assert_frame_equal(first.user_inputs, second.user_inputs)
        assert first.rejected == second.rejected


class TestSessionsFile(SessionSourceContract):
    def make(self, folder: Path) -> SessionSource:
        path = folder / "s.csv"
        path.write_text(
            "id,station_id,start,end,kwh\n"
            "b,A,2024-01-02 10:00,2024-01-02 11:00,5\n"
            "a,A,2024-01-01 10:00,2024-01-01 11:00,5\n"
            "c,A,2024-01-03 10:00,2024-01-03 09:00,5\n",
            encoding="utf-8",
        )
        return SessionsFile(path, now=NOW)


class TestMemorySessions(SessionSourceContract):
    def make(self, folder: Path) -> SessionSource:
        return MemorySessionSource(TestSessionsFile().make(folder).read())


class TestAcnFile(SessionSourceContract):
    def make(self, folder: Path) -> SessionSource:
        record = (
            '{{"_id":"{key}","clusterID":"0039","connectionTime":"Wed, {day} Apr 2018 11:08:04 GMT",'
            '"disconnectTime":"Wed, {end} Apr 2018 13:20:10 GMT","doneChargingTime":null,"kWhDelivered":7.9,'
            '"sessionID":"{key}","siteID":"0002","spaceID":"CA-496","stationID":"2-39-78-362",'
            '"timezone":"America/Los_Angeles","userID":null,"userInputs":null}}\n'
        )
        path = folder / "s.jsonl"
        days = (("b", "25", "25"), ("a", "18", "18"), ("c", "11", "04"))
        path.write_text("".join(record.format(key=key, day=day, end=end) for key, day, end in days), encoding="utf-8")
        return AcnFile(path, now=NOW)


class TelemetrySourceContract(ABC):
    """Three rows: two samples, and one that is refused."""

    @abstractmethod
    def make(self, folder: Path) -> TelemetrySource: ...

    def test_it_gives_samples_in_order_with_what_was_refused(self, tmp_path: Path) -> None:
        source = self.make(tmp_path)
        assert isinstance(source, TelemetrySource)
        read = source.read()
        assert dict(list(read.samples.schema.items())[: len(TELEMETRY)]) == dict(TELEMETRY)
        assert_frame_equal(read.samples, read.samples.sort("asset_id", "available_at", "timestamp"))
        assert (read.counts.accepted, read.counts.rejected) == (2, 1)
        required = read.samples.select("asset_id", "timestamp", "soc", "is_plugged_in", "available_at")
        assert required.null_count().sum_horizontal().item() == 0
        assert required.filter(pl.col("available_at") < pl.col("timestamp")).is_empty()

    def test_reading_twice_gives_the_same(self, tmp_path: Path) -> None:
        source = self.make(tmp_path)
        first, second = source.read(), source.read()
        assert_frame_equal(first.samples, second.samples)
        assert first.rejected == second.rejected


class TestTelemetryFile(TelemetrySourceContract):
    def make(self, folder: Path) -> TelemetrySource:
        path = folder / "t.csv"
        path.write_text(
            "vehicle_id,time,soc,plugged\n"
            "ev,2024-01-02 10:00,5,1\n"
            "ev,2024-01-01 10:00,5,0\n"
            "ev,2024-01-01 10:00,500,1\n",
            encoding="utf-8",
        )
        return TelemetryFile(path, now=NOW)


class TestMemoryTelemetry(TelemetrySourceContract):
    def make(self, folder: Path) -> TelemetrySource:
        return MemoryTelemetrySource(TestTelemetryFile().make(folder).read())


class PriceSourceContract(ABC):
    @abstractmethod
    def make(self) -> PriceSource: ...

    def test_the_tariff_is_the_same_every_time(self) -> None:
        source = self.make()
        assert isinstance(source, PriceSource)
        assert isinstance(source.tariff(), Tariff)
        assert source.tariff() == source.tariff()


class TestMemoryPrices(PriceSourceContract):
    def make(self) -> PriceSource:
        return MemoryPriceSource(Tariff(name="flat", time_zone="UTC", seasons=()))


class ArtifactStoreContract(ABC):
    @abstractmethod
    def make(self, folder: Path) -> ArtifactStore: ...

    def test_what_is_put_is_got_and_listed(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        assert isinstance(store, ArtifactStore)
        assert store.names() == []
        contents = {"b.txt": b"", "models/a.bin": bytes(range(256)) * 100, "a": b"1"}
        for name, content in contents.items():
            store.put(name, content)
        assert store.names() == sorted(contents)
        assert {name: store.get(name) for name in contents} == contents

    def test_the_same_name_again_replaces(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        store.put("x", b"a longer old content")
        store.put("x", b"new")
        store.put("x", b"new")
        assert (store.get("x"), store.names()) == (b"new", ["x"])

    def test_there_is_nothing_under_another_name(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        store.put("here", b"1")
        with pytest.raises(ModelNotFoundError, match=r"there.*here"):
            store.get("there")


class TestMemoryArtifacts(ArtifactStoreContract):
    def make(self, folder: Path) -> ArtifactStore:
        assert folder.is_dir()
        return MemoryArtifactStore()


class TestLocalArtifacts(ArtifactStoreContract):
    def make(self, folder: Path) -> ArtifactStore:
        return LocalArtifacts(folder / "store")


class RejectStoreContract(ABC):
    @abstractmethod
    def make(self, folder: Path) -> RejectStore: ...

    def test_rows_are_kept_in_order_of_arrival_repeats_included(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        assert isinstance(store, RejectStore)
        assert store.kept() == []
        assert store.keep([]) == 0
        assert store.keep(_rejected(row) for row in (2, 1)) == 2
        assert store.keep([_rejected(2)]) == 1
        assert [item.row for item in store.kept()] == [2, 1, 2]
        assert store.kept()[0] == _rejected(2)

    def test_what_it_gives_out_is_the_callers_own(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        store.keep([_rejected(1)])
        store.kept().clear()
        assert len(store.kept()) == 1


class TestMemoryRejects(RejectStoreContract):
    def make(self, folder: Path) -> RejectStore:
        assert folder.is_dir()
        return MemoryRejectStore()


class TestRejectFile(RejectStoreContract):
    def make(self, folder: Path) -> RejectStore:
        return RejectFile(folder / "deep" / "rejects.jsonl")


class TopicContract(ABC):
    @abstractmethod
    def make(self, capacity: int) -> Topic: ...

    def test_every_subscriber_gets_messages_from_now_on_in_order(self) -> None:
        async def run() -> None:
            topic = self.make(10)
            assert isinstance(topic, Topic)
            topic.publish(b"before")
            first = topic.subscribe()
            topic.publish(b"1")
            second = topic.subscribe()
            topic.publish(b"2")
            assert [await anext(first), await anext(first), await anext(second)] == [b"1", b"2", b"2"]
            waiting = asyncio.ensure_future(anext(first))
            await asyncio.sleep(0)
            assert not waiting.done()
            topic.publish(b"3")
            assert await asyncio.wait_for(waiting, timeout=5) == b"3"

        asyncio.run(run())

    def test_a_slow_subscriber_loses_the_oldest_and_holds_nobody_up(self) -> None:
        async def run() -> None:
            topic = self.make(3)
            slow, quick = topic.subscribe(), topic.subscribe()
            got = []
            for number in range(10):
                topic.publish(str(number).encode())
                got.append(await anext(quick))
            assert got == [str(number).encode() for number in range(10)]
            assert [await anext(slow) for _ in range(3)] == [b"7", b"8", b"9"]

        asyncio.run(run())


class TestInProcessTopic(TopicContract):
    def make(self, capacity: int) -> Topic:
        return InProcessTopic(capacity)

    def test_a_closed_subscription_ends_and_an_abandoned_one_is_forgotten(self) -> None:
        async def run() -> None:
            topic = InProcessTopic(2)
            closed = topic.subscribe()
            for message in (b"1", b"2", b"3"):
                topic.publish(message)
            assert closed.dropped == 1
            await closed.aclose()
            topic.publish(b"4")
            assert [message async for message in closed] == [b"2", b"3"]
            del closed
            gc.collect()
            assert len(topic._subscriptions) == 0

        asyncio.run(run())

    def test_it_needs_room_for_one(self) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            InProcessTopic(0)


class SetpointSinkContract(ABC):
    @abstractmethod
    def make(self) -> SetpointSink: ...

    @abstractmethod
    def in_force(self, sink: SetpointSink) -> list[tuple[str, float, datetime]]: ...

    def test_the_last_command_for_a_station_and_time_wins(self) -> None:
        sink, later = self.make(), NOW + timedelta(minutes=15)
        assert isinstance(sink, SetpointSink)
        sink.send("B", 7.0, until=NOW)
        sink.send("A", 11.0, until=NOW)
        sink.send("A", 3.0, until=later)
        sink.send("A", 0.0, until=NOW)
        wanted = [("A", 0.0, NOW), ("A", 3.0, later), ("B", 7.0, NOW)]
        assert self.in_force(sink) == wanted
        sink.send("A", 0.0, until=NOW)
        assert self.in_force(sink) == wanted


class TestRecordingSetpoints(SetpointSinkContract):
    def make(self) -> SetpointSink:
        return RecordingSetpointSink()

    def in_force(self, sink: SetpointSink) -> list[tuple[str, float, datetime]]:
        assert isinstance(sink, RecordingSetpointSink)
        return [(command.station_id, command.power_kw, command.until) for command in sink.in_force()]

    def test_it_remembers_everything_and_wants_a_zone(self) -> None:
        sink = RecordingSetpointSink()
        sink.send("A", 1.0, until=NOW)
        sink.send("A", 1.0, until=NOW)
        assert len(sink.sent) == 2
        with pytest.raises(ValueError, match="time zone"):
            sink.send("A", 1.0, until=NOW.replace(tzinfo=None))
