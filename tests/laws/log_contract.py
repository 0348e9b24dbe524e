"""One contract for the log, which every implementation inherits, and one more for logs on one machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.adapters.journal import JournalLog
from plugcast.adapters.memory import ManualClock
from plugcast.adapters.memory_log import MemoryLog
from plugcast.domain.partitions import partition_of
from plugcast.errors import ConfigError, LogFencedError, LogFullError, LogUnavailableError
from plugcast.ports import Entry, Log, LogReader, LogWorker, LogWriter, TopicSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plugcast.ports import Place, Stored

NOW = datetime(2026, 3, 1, tzinfo=UTC)
INPUT = TopicSpec(name="ev-station-data", partitions=3)
OUTPUT = TopicSpec(name="findings", partitions=2)
STATE = TopicSpec(name="state", partitions=1, compacted=True)
LEASE_S = 10.0
LIMIT = 40

LocalLog = JournalLog | MemoryLog


def entries(count: int, *, keys: int = 7) -> list[Entry]:
    return [Entry(f"station-{number % keys}".encode(), str(number).encode()) for number in range(count)]


def after(rows: list[Stored]) -> dict[Place, int]:
    """The positions that say: these were dealt with."""
    return {(row.topic, row.partition): row.offset + 1 for row in rows}


def values(rows: list[Stored]) -> list[bytes | None]:
    return [row.value for row in rows]


def everything(log: Log, topic: str) -> list[Stored]:
    reader, found = log.reader(topic), []
    while rows := reader.read(3):
        found += rows
    assert reader.caught_up()
    reader.close()
    return found


def drained(part: LogReader | LogWorker) -> list[Stored]:
    """Everything that is there: one look may give only a part of it."""
    look, found = (part.read if isinstance(part, LogReader) else part.poll), []
    while rows := look(100):
        found += rows
    return found


class LogContract(ABC):
    """Each test starts with the three topics and an empty log."""

    EXAMPLES = 50
    """Of a property."""

    @abstractmethod
    def make(self, folder: Path, clock: ManualClock) -> Log: ...

    @abstractmethod
    def leave(self, log: Log) -> None:
        """Let go of a log that was made."""

    @abstractmethod
    def lapse(self, clock: ManualClock) -> None:
        """Let so much time pass that a silent member loses its place."""

    @abstractmethod
    def is_now(self, at_us: int, clock: ManualClock) -> bool:
        """Whether an entry's time is that of its append."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(NOW)

    @pytest.fixture
    def log(self, tmp_path: Path, clock: ManualClock) -> Iterator[Log]:
        log = self.make(tmp_path, clock)
        log.ensure([INPUT, OUTPUT, STATE])
        yield log
        self.leave(log)

    def test_it_is_a_log_of_the_protocols(self, log: Log) -> None:
        assert isinstance(log, Log)
        assert isinstance(log.writer(), LogWriter)
        assert isinstance(log.reader("state"), LogReader)
        assert isinstance(log.worker("g", ["state"]), LogWorker)

    def test_entries_go_to_their_keys_partition_in_order_with_rising_offsets(
        self, log: Log, clock: ManualClock
    ) -> None:
        given_, writer = entries(40), log.writer()
        placed = writer.append("ev-station-data", given_[:25]) + writer.append("ev-station-data", given_[25:])
        assert [part for part, _ in placed] == [partition_of(entry.key, 3) for entry in given_]
        found = everything(log, "ev-station-data")
        assert sorted((row.partition, row.offset, row.value) for row in found) == sorted(
            (part, offset, entry.value) for (part, offset), entry in zip(placed, given_, strict=True)
        )
        for part in range(3):
            rows = [row for row in found if row.partition == part]
            assert [row.offset for row in rows] == list(range(len(rows)))
            wanted = [entry.value for entry in given_ if partition_of(entry.key, 3) == part]
            assert values(rows) == wanted
        assert {self.is_now(row.at_us, clock) for row in found} == {True}
        assert {row.topic for row in found} == {"ev-station-data"}

    def test_a_partition_may_be_chosen_by_hand(self, log: Log) -> None:
        assert log.writer().append("ev-station-data", [Entry(b"k", b"v", part) for part in (2, 0, 2)]) == [
            (2, 0),
            (0, 0),
            (2, 1),
        ]

    def test_appending_nothing_is_nothing(self, log: Log) -> None:
        assert log.writer().append("findings", []) == []
        assert everything(log, "findings") == []

    def test_what_goes_in_comes_out(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        pairs = st.tuples(st.binary(max_size=9), st.none() | st.binary(max_size=40))

        @settings(max_examples=self.EXAMPLES)
        @given(st.lists(st.lists(pairs, max_size=9)))
        def round_trip(batches: list[list[tuple[bytes, bytes | None]]]) -> None:
            log = self.make(tmp_path_factory.mktemp("log"), ManualClock(NOW))
            log.ensure([INPUT])
            writer, wanted = log.writer(), set()
            for batch in batches:
                placed = writer.append("ev-station-data", [Entry(*pair) for pair in batch])
                wanted |= {(*place, *pair) for place, pair in zip(placed, batch, strict=True)}
            found = [(row.partition, row.offset, row.key, row.value) for row in everything(log, "ev-station-data")]
            assert len(found) == len(wanted) == sum(map(len, batches))
            assert set(found) == wanted
            self.leave(log)

        round_trip()

    def test_ensuring_twice_does_no_harm_and_a_changed_topic_is_refused(self, log: Log) -> None:
        log.writer().append("findings", entries(3))
        log.ensure([INPUT, OUTPUT, STATE])
        assert len(everything(log, "findings")) == 3
        for other in (TopicSpec(name="findings", partitions=3), TopicSpec(name="state", partitions=1)):
            with pytest.raises(ConfigError, match="cannot be changed"):
                log.ensure([TopicSpec(name="new", partitions=1), other])
            with pytest.raises(ConfigError, match="'new'"):
                log.writer().append("new", entries(1))  # all or none
        assert len(everything(log, "findings")) == 3

    def test_what_does_not_exist_is_named(self, log: Log) -> None:
        with pytest.raises(ConfigError, match="'nowhere'"):
            log.writer().append("nowhere", entries(1))
        with pytest.raises(ConfigError, match="'nowhere'"):
            log.reader("nowhere")
        with pytest.raises(ConfigError, match="'nowhere'"):
            log.worker("g", ["findings", "nowhere"])
        with pytest.raises(ConfigError, match="at least one topic"):
            log.worker("g", [])
        with pytest.raises(ConfigError, match="below 2, found 2"):
            log.writer().append("findings", [Entry(b"k", b"v", 0), Entry(b"k", b"v", 2)])
        assert everything(log, "findings") == []

    def test_a_closed_writer_takes_nothing(self, log: Log) -> None:
        writer = log.writer()
        writer.close()
        with pytest.raises(LogUnavailableError, match="closed"):
            writer.append("findings", entries(1))

    def test_a_reader_goes_on_and_knows_when_it_has_caught_up(self, log: Log) -> None:
        log.writer().append("ev-station-data", entries(10))
        reader = log.reader("ev-station-data")
        assert not reader.caught_up()
        first = reader.read(4)
        assert 1 <= len(first) <= 4
        assert not reader.caught_up()
        log.writer().append("ev-station-data", entries(5))
        rest = drained(reader)
        assert len(first) + len(rest) == 15
        assert reader.caught_up()
        assert reader.read(100) == []
        assert reader.read(100, wait_s=0.01) == []
        log.writer().append("ev-station-data", entries(1))
        assert values(drained(reader)) == [b"0"]
        empty = log.reader("findings")
        assert empty.caught_up()

    def test_a_reader_that_looks_again_asks_for_all_that_is_there_now(self, log: Log) -> None:
        reader = log.reader("ev-station-data")
        log.writer().append("ev-station-data", entries(5))
        assert reader.caught_up()
        reader.look_again()
        assert not reader.caught_up()
        assert len(drained(reader)) == 5
        assert reader.caught_up()

    def test_a_waiting_reader_sees_what_comes(self, log: Log) -> None:
        reader, found = log.reader("findings"), []
        thread = Thread(target=lambda: found.extend(reader.read(10, wait_s=60.0)))
        thread.start()
        log.writer().append("findings", [Entry(b"k", b"v")])
        thread.join(60.0)
        assert values(found) == [b"v"]

    def test_a_group_works_through_everything_once(self, log: Log) -> None:
        log.writer().append("ev-station-data", entries(50))
        log.writer().append("findings", entries(5))
        worker, seen = log.worker("g", ["ev-station-data", "findings"]), []
        while rows := worker.poll(8):
            assert len(rows) <= 8
            seen += rows
            worker.commit({}, after(rows))
        assert len(seen) == len({(row.topic, row.partition, row.offset) for row in seen}) == 55
        for place in {(row.topic, row.partition) for row in seen}:
            offsets = [row.offset for row in seen if (row.topic, row.partition) == place]
            assert offsets == sorted(offsets)
        assert set(worker.lag().values()) == {0}
        assert len(worker.lag()) == 5

    def test_groups_do_not_disturb_each_other(self, log: Log) -> None:
        log.writer().append("findings", entries(6))
        one, other = log.worker("one", ["findings"]), log.worker("other", ["findings"])
        rows = drained(one)
        one.commit({}, after(rows))
        assert len(drained(other)) == 6
        assert sum(one.lag().values()) == 0
        assert sum(other.lag().values()) == 6

    def test_what_was_read_and_not_committed_comes_again(self, log: Log, clock: ManualClock) -> None:
        log.writer().append("ev-station-data", entries(30))
        crashed = log.worker("g", ["ev-station-data"])
        done = crashed.poll(10)
        crashed.commit({}, after(done))
        lost = crashed.poll(10)
        assert lost
        self.lapse(clock)  # it says nothing any more
        seen = drained(log.worker("g", ["ev-station-data"]))
        places = {(row.partition, row.offset) for row in seen}
        assert len(places) == len(seen) == 30 - len(done)
        assert {(row.partition, row.offset) for row in lost} <= places
        assert not {(row.partition, row.offset) for row in done} & places

    def test_outputs_and_positions_are_written_together(self, log: Log) -> None:
        log.writer().append("ev-station-data", entries(9))
        worker = log.worker("g", ["ev-station-data"])
        rows = drained(worker)
        worker.commit({"findings": entries(2), "state": [Entry(b"k", b"s")]}, after(rows))
        assert len(everything(log, "findings")) == 2
        assert values(everything(log, "state")) == [b"s"]
        assert sum(worker.lag().values()) == 0

    def test_a_refused_commit_writes_neither_outputs_nor_positions(self, log: Log) -> None:
        log.writer().append("ev-station-data", entries(9))
        worker = log.worker("g", ["ev-station-data"])
        positions = after(drained(worker))
        bad: list[tuple[dict[str, list[Entry]], dict[Place, int]]] = [
            ({"findings": entries(1), "nowhere": entries(1)}, positions),
            ({"findings": [*entries(1), Entry(b"k", b"v", 9)]}, positions),
            ({"findings": entries(1)}, {**positions, ("findings", 0): 0}),
            ({"findings": entries(1)}, {**positions, ("ev-station-data", 0): 1_000}),
            ({"findings": entries(1)}, {**positions, ("ev-station-data", 0): -1}),
        ]
        for outputs, moved in bad:
            with pytest.raises(ConfigError):
                worker.commit(outputs, moved)
        assert everything(log, "findings") == []
        assert sum(worker.lag().values()) == 9
        worker.commit({"findings": entries(1)}, positions)
        assert len(everything(log, "findings")) == 1

    def test_a_member_that_left_is_of_no_use(self, log: Log) -> None:
        worker = log.worker("g", ["findings"])
        worker.poll(1)
        worker.close()
        worker.close()
        with pytest.raises(LogFencedError, match="has left"):
            worker.poll(1)
        with pytest.raises(LogFencedError):
            worker.commit({}, {})
        assert worker.lag() == {}


class LocalLogContract(LogContract):
    """What a log on one machine promises beside: a clock of its own, bounds, and one member at a time."""

    @abstractmethod
    def make(self, folder: Path, clock: ManualClock, *, max_entries: int = 10_000) -> LocalLog: ...

    def leave(self, log: Log) -> None:
        if isinstance(log, JournalLog):
            log.close()

    def lapse(self, clock: ManualClock) -> None:
        clock.advance(LEASE_S)

    def is_now(self, at_us: int, clock: ManualClock) -> bool:
        return at_us == int(clock.now().timestamp() * 1e6)

    def test_a_busy_partition_does_not_starve_another(self, log: Log) -> None:
        log.writer().append("ev-station-data", [Entry(b"k", b"busy", 0)] * 100 + [Entry(b"k", b"rare", 2)])
        worker = log.worker("g", ["ev-station-data"])
        assert b"rare" in values([row for _ in range(3) for row in worker.poll(2)])

    def test_one_member_at_a_time_and_the_next_begins_where_the_last_committed(self, log: Log) -> None:
        log.writer().append("findings", entries(8))
        first, second = log.worker("g", ["findings"]), log.worker("g", ["findings"])
        rows = first.poll(5)
        assert second.poll(5) == []
        assert second.lag() == {}
        with pytest.raises(LogFencedError, match="holds no partitions"):
            second.commit({"findings": entries(1)}, {})
        first.commit({}, after(rows))
        first.close()
        rest = second.poll(100)
        assert {row.value for row in rest} | {row.value for row in rows} == {entry.value for entry in entries(8)}
        assert len(rest) == 8 - len(rows)

    def test_a_member_that_was_taken_over_is_fenced_for_good(self, log: Log, clock: ManualClock) -> None:
        log.writer().append("ev-station-data", entries(4))
        stopped, taker = log.worker("g", ["ev-station-data"]), log.worker("g", ["ev-station-data"])
        rows = stopped.poll(100)
        clock.advance(LEASE_S)
        again = taker.poll(100)
        assert set(values(again)) == set(values(rows))
        with pytest.raises(LogFencedError, match="taken over"):
            stopped.commit({"findings": entries(1)}, after(rows))
        taker.commit({"findings": entries(1)}, after(again))
        assert len(everything(log, "findings")) == 1
        taker.close()
        with pytest.raises(LogFencedError, match="taken over"):
            stopped.poll(1)
        assert stopped.lag() == {}
        stopped.close()
        log.writer().append("ev-station-data", entries(1))
        assert len(log.worker("g", ["ev-station-data"]).poll(10)) == 1

    def test_a_member_that_overslept_alone_may_still_commit(self, log: Log, clock: ManualClock) -> None:
        log.writer().append("findings", entries(3))
        worker = log.worker("g", ["findings"])
        rows = worker.poll(10)
        clock.advance(10 * LEASE_S)
        worker.commit({}, after(rows))
        assert log.worker("g", ["findings"]).poll(10) == []  # the commit has renewed the lease
        assert sum(worker.lag().values()) == 0

    def test_polling_and_committing_renew_the_lease(self, log: Log, clock: ManualClock) -> None:
        log.writer().append("findings", entries(3))
        worker, other = log.worker("g", ["findings"]), log.worker("g", ["findings"])
        rows = worker.poll(10)
        for step in range(10):
            clock.advance(LEASE_S * 0.6)
            if step % 2:
                worker.poll(10)
            else:
                worker.commit({}, after(rows))
            assert other.poll(10) == []

    def test_a_full_log_refuses_whole_appends_and_commits(self, tmp_path: Path, clock: ManualClock) -> None:
        log = self.make(tmp_path, clock, max_entries=LIMIT)
        log.ensure([INPUT, OUTPUT])
        writer = log.writer()
        writer.append("ev-station-data", entries(LIMIT - 2))
        with pytest.raises(LogFullError):
            writer.append("ev-station-data", entries(3))
        worker = log.worker("g", ["ev-station-data"])
        rows = worker.poll(100)
        with pytest.raises(LogFullError):
            worker.commit({"findings": entries(3)}, after(rows))
        assert sum(worker.lag().values()) == LIMIT - 2
        worker.commit({"findings": entries(2)}, after(rows))
        assert len(everything(log, "ev-station-data")) == LIMIT - 2
        self.leave(log)

    def test_a_full_log_makes_room_by_itself_of_what_is_old_and_committed(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        log = self.make(tmp_path, clock, max_entries=LIMIT)
        log.ensure([TopicSpec(name="out", partitions=1, keep_days=1.0)])
        writer = log.writer()
        worker = log.worker("sender", ["out"])
        worker.poll(1)  # a group that is known
        writer.append("out", entries(LIMIT))
        clock.advance(2 * 86_400.0)
        with pytest.raises(LogFullError):  # old, but the group has not seen it
            writer.append("out", entries(1))
        worker.commit({}, {("out", 0): 30})
        clock.advance(60.0)
        assert writer.append("out", entries(30)) == [(0, LIMIT + number) for number in range(30)]
        assert [row.offset for row in everything(log, "out")] == list(range(30, LIMIT + 30))
        with pytest.raises(LogFullError):
            writer.append("out", entries(1))
        self.leave(log)

    def test_compaction_keeps_the_last_of_each_key_and_offsets(self, log: LocalLog, clock: ManualClock) -> None:
        writer = log.writer()
        writer.append("state", entries(20, keys=3))
        writer.append("state", [Entry(b"station-1", None)])
        assert log.tidy() == 18
        kept = everything(log, "state")
        assert [row.offset for row in kept] == [17, 18, 20]
        assert {row.key: row.value for row in kept} == {b"station-0": b"18", b"station-1": None, b"station-2": b"17"}
        clock.advance(2 * 86_400.0)
        assert log.tidy() == 1  # the mark of the deleted key
        assert log.tidy() == 0
        assert log.writer().append("state", [Entry(b"station-1", b"new")]) == [(0, 21)]
        worker = log.worker("g", ["state"])
        assert len(worker.poll(10)) == 3

    def test_compacting_at_any_time_never_changes_the_last_values(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        pairs = st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.none() | st.sampled_from([b"x", b"y", b""]))

        @given(st.lists(st.tuples(pairs, st.booleans()), max_size=30))
        def compact(changes: list[tuple[tuple[bytes, bytes | None], bool]]) -> None:
            log = self.make(tmp_path_factory.mktemp("log"), ManualClock(NOW))
            log.ensure([STATE])
            for pair, tidied in changes:
                log.writer().append("state", [Entry(*pair)])
                if tidied:
                    log.tidy()
            assert {row.key: row.value for row in everything(log, "state")} == dict(pair for pair, _ in changes)
            self.leave(log)

        compact()
