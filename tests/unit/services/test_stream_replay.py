"""A replay sends each message once, whatever interrupts it, and goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING

import polars as pl
import pytest

from plugcast.adapters.memory import ManualClock
from plugcast.adapters.memory_log import MemoryLog
from plugcast.domain import topics
from plugcast.domain.messages import MeterValues
from plugcast.domain.outgoing import FaultInjected, decode_outgoing
from plugcast.domain.partitions import partition_of
from plugcast.domain.wire import decode
from plugcast.errors import LogFencedError, LogFullError, LogUnavailableError
from plugcast.schemas import METER_VALUES
from plugcast.services.meter_join import join_meter
from plugcast.services.showcase import shipped
from plugcast.services.stream import replaying
from plugcast.services.stream.replaying import Playing, Replay

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugcast.adapters.memory_log import MemoryWorker
    from plugcast.ports import Entry, SessionsRead, Stored

NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.fixture(scope="module")
def read() -> SessionsRead:
    return shipped(NOW).read


def stored(log: MemoryLog, topic: str) -> list[Stored]:
    reader, found = log.reader(topic), []
    while not reader.caught_up():
        found += reader.read(10_000)
    return found


def test_a_stopped_replay_goes_on_and_nothing_is_sent_twice(read: SessionsRead) -> None:
    playing = Playing.of(read, content=b"march")
    whole, parts = (MemoryLog(clock=ManualClock(NOW)) for _ in range(2))
    assert Replay(whole, playing).run(speed=None, told=lambda _: None, stop=Event())
    stop = Event()
    assert not Replay(parts, playing).run(speed=None, told=lambda _: stop.set(), stop=stop)
    later = Replay(parts, playing)
    assert 0 < later.sent < later.total
    assert later.run(speed=None, told=lambda _: None, stop=Event())
    values = [[entry.value for entry in stored(log, topics.STATION_DATA)] for log in (whole, parts)]
    assert values[0] == values[1]
    once_more = Replay(parts, playing)
    assert once_more.run(speed=None, told=lambda _: None, stop=Event())
    assert [entry.value for entry in stored(parts, topics.STATION_DATA)] == values[0]
    again = Replay(parts, Playing.of(read, content=b"march", round_="again"))
    assert again.run(speed=None, told=lambda _: None, stop=Event())
    assert len(stored(parts, topics.STATION_DATA)) == 2 * len(values[0])


def test_what_does_not_fit_is_not_counted_as_sent(read: SessionsRead) -> None:
    log = MemoryLog(clock=ManualClock(NOW), max_entries=2_500)
    replay = Replay(log, Playing.of(read, content=b"march"))
    with pytest.raises(LogFullError):
        replay.run(speed=None, told=lambda _: None, stop=Event())
    heartbeats = sum(entry.key == b"heartbeat" for entry in stored(log, topics.STATION_DATA))
    assert (
        len(stored(log, topics.STATION_DATA)) - heartbeats * 2 // 3
        == Replay(log, Playing.of(read, content=b"march")).sent
    )


class FlakyLog(MemoryLog):
    """Goes away at every third commit, before or after it counts; and hands a place on once."""

    def __init__(self, *, away_from: int = 3) -> None:
        super().__init__(clock=ManualClock(NOW))
        self.commits, self.away_from = 0, away_from

    def worker(self, group: str, topics: Sequence[str]) -> MemoryWorker:
        worker = super().worker(group, topics)
        commit = worker.commit

        def flaky(outputs: Mapping[str, Sequence[Entry]], positions: Mapping[tuple[str, int], int]) -> None:
            self.commits += 1
            if self.commits % self.away_from == 0 and self.commits % 2:
                raise LogUnavailableError("gone before")
            commit(outputs, positions)
            if self.commits == 2 * self.away_from:
                raise LogFencedError("gone after")

        worker.commit = flaky  # type: ignore[method-assign]
        return worker


def test_a_log_that_goes_away_is_waited_for_and_nothing_is_sent_twice(
    read: SessionsRead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "pause_s", lambda *_, **__: 0.0)
    monkeypatch.setattr(replaying, "BATCH", 100)
    playing = Playing.of(read, content=b"march")
    steady, flaky, why = MemoryLog(clock=ManualClock(NOW)), FlakyLog(), list[str]()
    assert Replay(steady, playing).run(speed=None, told=lambda _: None, stop=Event())
    assert Replay(flaky, playing).run(speed=None, told=lambda _: None, stop=Event(), waits=why.append)
    assert set(why) == {"gone before", "gone after"}
    sent = [[entry.value for entry in stored(log, topics.STATION_DATA)] for log in (steady, flaky)]
    assert sent[0] == sent[1]


def test_a_log_that_stays_away_ends_the_replay_when_patience_does_and_a_stop_at_once(read: SessionsRead) -> None:
    replay = Replay(FlakyLog(away_from=1), Playing.of(read, content=b"march"))
    with pytest.raises(LogUnavailableError, match="gone before"):
        replay.run(speed=None, told=lambda _: None, stop=Event(), patience_s=0.0)
    stop = Event()
    assert not replay.run(speed=None, told=lambda _: None, stop=stop, waits=lambda _: stop.set())


def test_each_station_keeps_to_its_partition_and_heartbeats_reach_all(read: SessionsRead) -> None:
    log = MemoryLog(clock=ManualClock(NOW))
    Replay(log, Playing.of(read, content=b"march")).run(speed=None, told=lambda _: None, stop=Event())
    entries = stored(log, topics.STATION_DATA)
    assert {entry.partition for entry in entries if entry.key == b"heartbeat"} == {0, 1, 2}
    for entry in entries:
        if entry.key != b"heartbeat":
            assert entry.partition == partition_of(entry.key, 3)


def test_faults_are_told_on_a_topic_of_their_own(read: SessionsRead) -> None:
    log = MemoryLog(clock=ManualClock(NOW))
    playing = Playing.of(read, content=b"march", faults=0.1, seed=5)
    Replay(log, playing).run(speed=None, told=lambda _: None, stop=Event())
    told = [decode_outgoing(entry.value or b"") for entry in stored(log, topics.TRUTH)]
    assert told == list(playing.truth)
    assert len({fault.fault for fault in told if isinstance(fault, FaultInjected)}) > 10
    assert playing == Playing.of(read, content=b"march", faults=0.1, seed=5)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
def test_as_many_faults_as_the_share_asks_for(read: SessionsRead, share: float) -> None:
    """Of the later 286 sessions; a few hosts are unfit for what falls to them, a few faults add a short session."""
    made = len(Playing.of(read, content=b"march", faults=share).truth)
    assert made == pytest.approx(286 * share, rel=0.15, abs=1)


def test_read_in_another_time_zone_it_is_another_replay(read: SessionsRead) -> None:
    elsewhere = replace(read, sessions=read.sessions.with_columns(time_zone=pl.lit("Europe/Oslo")))
    assert Playing.of(elsewhere, content=b"march").name != Playing.of(read, content=b"march").name


def test_at_a_speed_messages_wait_for_their_time(read: SessionsRead) -> None:
    log = MemoryLog(clock=ManualClock(NOW))
    stop = Event()
    replay = Replay(log, Playing.of(read, content=b"march"))
    replay.run(speed=0.01, told=lambda _: stop.set(), stop=stop)
    assert replay.sent == sum(t.at == replay._playing.messages[0].at for t in replay._playing.messages)


def test_meter_values_are_sent_by_their_station_in_the_order_in_which_they_came(read: SessionsRead) -> None:
    ended = read.sessions.filter(pl.col("departure_at").is_not_null()).head(3)
    rows = []
    for session_id, arrival in ended.select("session_id", "arrival_at").iter_rows():
        rows += [(session_id, arrival + timedelta(minutes=minutes)) for minutes in (1, 9, 5, 90 * 24 * 60)]
    values = pl.DataFrame(rows, schema=["session_id", "measured_at"], orient="row")
    given = {name: kind for name, kind in METER_VALUES.items() if name not in values.columns}
    frame = values.with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in given.items())
    metered = join_meter(read.sessions, frame.cast(dict(METER_VALUES)).select(list(METER_VALUES)))  # type: ignore[arg-type]
    log = MemoryLog(clock=ManualClock(NOW))
    playing = Playing.of(read, content=b"march", metered=metered)
    assert Replay(log, playing).run(speed=None, told=lambda _: None, stop=Event())
    sent = [
        (entry, decode(entry.value or b"", now=NOW, source="x", row=1)) for entry in stored(log, topics.STATION_DATA)
    ]
    for session_id, station, arrival in ended.select("session_id", "station_id", "arrival_at").iter_rows():
        own = [(entry, said) for entry, said in sent if getattr(said, "session_id", None) == session_id]
        assert [type(said).__name__ for _, said in own] == [
            "SessionStarted",
            "MeterValues",
            "MeterValues",
            "MeterValues",
            "SessionEnded",
            "MeterValues",
        ]
        measured = [said.measured_at - arrival for _, said in own if isinstance(said, MeterValues)]
        assert measured == [timedelta(minutes=minutes) for minutes in (1, 9, 5, 90 * 24 * 60)]
        assert {entry.partition for entry, _ in own} == {partition_of(own[0][0].key, topics.PARTITIONS)}
        assert all(entry.key.endswith(station.encode()) for entry, _ in own)
