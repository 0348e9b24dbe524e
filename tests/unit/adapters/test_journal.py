"""What only the journal promises: it outlives its process, shares commits, knows names, and says what is wrong."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from threading import Barrier, Thread
from typing import TYPE_CHECKING

import pytest

from plugcast.adapters.clock import SystemClock
from plugcast.adapters.journal import Bounds, JournalLog
from plugcast.adapters.memory import ManualClock
from plugcast.errors import ConfigError, LogFencedError, LogFullError, LogUnavailableError
from plugcast.ports import Entry, TopicSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TOPIC = TopicSpec(name="t", partitions=3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def log(path: Path) -> Iterator[JournalLog]:
    with closing(JournalLog(path, clock=ManualClock(NOW))) as log:
        log.ensure([TOPIC])
        yield log


def values(log: JournalLog, topic: str = "t") -> list[bytes | None]:
    return [row.value for row in log.reader(topic).read(1_000_000)]


def test_everything_is_there_after_closing_and_opening(path: Path) -> None:
    clock = ManualClock(NOW)
    with closing(JournalLog(path, clock=clock)) as log:
        log.ensure([TOPIC])
        log.writer().append("t", [Entry(b"k", b"1"), Entry(b"k", b"2"), Entry(b"k", b"3")])
        worker = log.worker("g", ["t"])
        rows = worker.poll(2)
        worker.commit({}, {("t", rows[-1].partition): rows[-1].offset + 1})
        worker.close()
    with closing(JournalLog(path, clock=clock)) as log:
        assert values(log) == [b"1", b"2", b"3"]
        assert [row.value for row in log.worker("g", ["t"]).poll(10)] == [b"3"]
        assert log.writer().append("t", [Entry(b"k", b"4")])[0][1] == 3


def test_two_openings_of_one_file_see_each_other(path: Path, log: JournalLog) -> None:
    with closing(JournalLog(path, clock=ManualClock(NOW))) as other:
        other.writer().append("t", [Entry(b"k", b"1")])
        assert values(log) == [b"1"]
        mine, theirs = log.worker("g", ["t"]), other.worker("g", ["t"])
        assert len(mine.poll(10)) == 1
        assert theirs.poll(10) == []


def test_writers_that_wait_together_share_one_commit(log: JournalLog) -> None:
    said: list[str] = []
    errors: list[BaseException] = []
    log._store.connection.set_trace_callback(said.append)

    def append(number: int) -> None:
        try:
            topic = "t" if number else "nowhere"
            log.writer().append(topic, [Entry(b"k", str(number).encode())])
        except ConfigError as error:
            errors.append(error)

    threads = [Thread(target=append, args=(number,)) for number in range(20)]
    with log._store.lock:
        for thread in threads:
            thread.start()
        while len(log._waiting) < len(threads):
            pass
    for thread in threads:
        thread.join()
    log._store.connection.set_trace_callback(None)
    assert said.count("COMMIT") == 1
    assert len(errors) == 1  # one caller's mistake is its own
    assert sorted(values(log), key=lambda value: int(value or b"")) == [str(n).encode() for n in range(1, 20)]


def test_many_threads_append_without_loss_and_in_their_own_order(log: JournalLog) -> None:
    barrier = Barrier(4)

    def append(name: int) -> None:
        writer = log.writer()
        barrier.wait()
        for number in range(25):
            writer.append("t", [Entry(b"k", f"{name}-{number}".encode())])

    threads = [Thread(target=append, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [(value or b"").decode() for value in values(log)]
    assert len(found) == 100
    for name in range(4):
        assert [each for each in found if each.startswith(f"{name}-")] == [f"{name}-{number}" for number in range(25)]


def test_a_unique_name_makes_a_retry_harmless(log: JournalLog) -> None:
    writer = log.writer()
    entries = [Entry(b"k", b"1"), Entry(b"k", b"2")]
    first = writer.append("t", entries, unique=["a", "b"])
    assert writer.append("t", entries, unique=["a", "b"]) == first
    third = writer.append("t", [*entries, Entry(b"k", b"3"), Entry(b"k", b"3")], unique=["a", "b", "c", "c"])
    assert third[:2] == first
    assert third[2] == third[3]
    assert values(log) == [b"1", b"2", b"3"]
    with pytest.raises(ValueError, match="each of 2 entries, found 1"):
        writer.append("t", entries, unique=["a"])


def test_a_name_is_forgotten_with_its_entry(path: Path) -> None:
    clock = ManualClock(NOW)
    with closing(JournalLog(path, clock=clock)) as log:
        log.ensure([TopicSpec(name="t", partitions=1, keep_days=1.0)])
        log.writer().append("t", [Entry(b"k", b"1")], unique=["a"])
        clock.advance(2 * 86_400.0)
        assert log.tidy() == 1
        assert log.writer().append("t", [Entry(b"k", b"1")], unique=["a"]) == [(0, 1)]


def test_bytes_are_bounded_too_and_counted_again_after_opening(path: Path) -> None:
    for fresh in (True, False):
        with closing(JournalLog(path, clock=ManualClock(NOW), bounds=Bounds(max_bytes=10_000))) as log:
            log.ensure([TOPIC])
            if fresh:
                log.writer().append("t", [Entry(b"k", b"x" * 9_000)])
            with pytest.raises(LogFullError, match="raise the bounds"):
                log.writer().append("t", [Entry(b"k", b"x" * 1_000)])
            assert len(values(log)) == 1


def test_a_full_disk_is_told_apart_and_costs_nothing_acknowledged(log: JournalLog) -> None:
    writer = log.writer()
    pages = log._store.connection.execute("PRAGMA page_count").fetchone()[0]
    log._store.connection.execute(f"PRAGMA max_page_count={pages + 20}")  # SQLite reports it as it does a full disk
    kept: list[int] = []

    def fill() -> None:
        while True:
            kept.extend(offset for _, offset in writer.append("t", [Entry(b"k", b"x" * 3_000)]))

    with pytest.raises(LogFullError, match="disk is full"):
        fill()
    assert kept
    assert len(values(log)) == len(kept)
    log._store.connection.execute(f"PRAGMA max_page_count={pages + 200}")
    writer.append("t", [Entry(b"k", b"x")])
    assert len(values(log)) == len(kept) + 1


def test_a_takeover_that_could_not_be_written_leaves_nobody_unfenced(path: Path, log: JournalLog) -> None:
    unlucky = log.worker("g", ["t"])
    take = unlucky._take

    def take_and_fail() -> None:
        take()
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unlucky, "_take", take_and_fail)  # as where the commit itself fails
        with pytest.raises(LogUnavailableError, match="disk I/O error"):
            unlucky.poll(1)
    with closing(JournalLog(path, clock=ManualClock(NOW))) as other:
        taker = other.worker("g", ["t"])
        taker.poll(1)
        with pytest.raises(LogFencedError):
            unlucky.commit({}, {})
        taker.commit({}, {})


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    (tmp_path / "text").write_text("not a database, but long enough to look like a file with something in it" * 20)
    with pytest.raises(LogUnavailableError, match="not a database"):
        JournalLog(tmp_path / "text", clock=clock)
    with pytest.raises(LogUnavailableError, match="unable to open"):
        JournalLog(tmp_path / "missing" / "journal.db", clock=clock)
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(LogUnavailableError, match="but no journal"):
        JournalLog(tmp_path / "other.db", clock=clock)
    with closing(JournalLog(tmp_path / "new.db", clock=clock)) as log:
        log._store.connection.execute("PRAGMA user_version=99")
    with pytest.raises(LogUnavailableError, match="found 99"):
        JournalLog(tmp_path / "new.db", clock=clock)


def test_a_closed_journal_says_so(path: Path) -> None:
    log = JournalLog(path, clock=ManualClock(NOW))
    log.ensure([TOPIC])
    log.close()
    with pytest.raises(LogUnavailableError, match="closed database"):
        log.writer().append("t", [Entry(b"k", b"v")])


def test_each_commit_waits_for_the_disk(log: JournalLog) -> None:
    connection = log._store.connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


WRITING = """
import sys
from plugcast.adapters.clock import SystemClock
from plugcast.adapters.journal import JournalLog
from plugcast.ports import Entry

log = JournalLog(sys.argv[1], clock=SystemClock())
writer, hasty, waiting = log.writer(), sys.argv[2] == "hasty", []
for number in range(10_000_000):
    waiting.append(Entry(b"k", str(number).encode()))
    if hasty:
        print(number, flush=True)  # the control: acknowledges what only its own memory has
    if len(waiting) == 20:
        if hasty and number > 100:
            sys.stdin.read()
        writer.append("t", waiting)
        if not hasty:
            print(*range(number - 19, number + 1), sep="\\n", flush=True)
        waiting = []
"""


def killed_while_writing(path: Path, how: str) -> tuple[set[int], set[int]]:
    """The numbers that a process acknowledged before ``kill -9``, and those that the journal has afterwards."""
    with closing(JournalLog(path, clock=SystemClock())) as log:
        log.ensure([TOPIC])
    child = subprocess.Popen(
        [sys.executable, "-c", WRITING, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    acknowledged = {int(child.stdout.readline()) for _ in range(110)}
    assert child.poll() is None, "the writer must be at work when it is killed"
    os.kill(child.pid, signal.SIGKILL)
    acknowledged |= {int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")}
    assert child.wait() == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)
    child.stdin.close()
    child.stdout.close()
    with closing(JournalLog(path, clock=SystemClock())) as log:
        assert log._store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = [int(value or b"") for value in values(log)]
        assert found == list(range(len(found)))  # whole batches, in order, none twice
        assert len(found) % 20 == 0
        assert log.writer().append("t", [Entry(b"k", b"after")])[0][1] == len(found)
    return acknowledged, set(found)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
@pytest.mark.parametrize("_round", range(3))
def test_every_acknowledged_row_outlives_kill_9(path: Path, _round: int) -> None:
    acknowledged, found = killed_while_writing(path, "durable")
    assert len(acknowledged) >= 110
    assert acknowledged <= found


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_the_harness_sees_a_loss_where_there_is_one(path: Path) -> None:
    acknowledged, found = killed_while_writing(path, "hasty")
    assert acknowledged - found


WORKING = """
import sys
from plugcast.adapters.clock import SystemClock
from plugcast.adapters.journal import JournalLog
from plugcast.ports import Entry

log = JournalLog(sys.argv[1], clock=SystemClock(), lease_s=0.2)
worker = log.worker("g", ["t"])
rows = worker.poll(4)
worker.commit({"out": [Entry(row.key, row.value) for row in rows]}, {("t", 0): rows[-1].offset + 1})
print(*[row.value.decode() for row in worker.poll(3)], flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_what_a_killed_worker_had_read_goes_to_the_next_and_what_it_committed_does_not(path: Path) -> None:
    with closing(JournalLog(path, clock=SystemClock(), lease_s=0.2)) as log:
        log.ensure([TopicSpec(name="t", partitions=1), TopicSpec(name="out", partitions=1)])
        log.writer().append("t", [Entry(b"k", str(number).encode()) for number in range(10)])
        child = subprocess.Popen(
            [sys.executable, "-c", WORKING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline().split() == ["4", "5", "6"]
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        child.stdin.close()
        child.stdout.close()
        worker = log.worker("g", ["t"])
        rows = worker.poll(100, wait_s=60.0)
        assert [row.value for row in rows] == [b"4", b"5", b"6", b"7", b"8", b"9"]
        worker.commit({"out": [Entry(row.key, row.value) for row in rows]}, {("t", 0): 10})
        assert values(log, "out") == [str(number).encode() for number in range(10)]
