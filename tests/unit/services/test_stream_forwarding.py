from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.laws.log_contract import everything

from plugcast.adapters.journal import Bounds, JournalLog
from plugcast.adapters.memory import ManualClock
from plugcast.adapters.memory_log import MemoryLog
from plugcast.errors import LogUnavailableError
from plugcast.ports import Entry, TopicSpec
from plugcast.services.stream.forwarding import FORWARDED, Forwarder, Sent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DATA = TopicSpec(name="ev-station-data", partitions=3)
KEEP = 300


class Away:
    """A log that can be cut off, before a commit or behind it, where the answer is lost."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.cut = ""

    def __getattr__(self, name: str) -> Any:
        if self.cut == "before":
            raise LogUnavailableError("cut off")
        return getattr(self.log, name)

    def worker(self, group: str, topics: Sequence[str]) -> Any:
        worker = self.__getattr__("worker")(group, topics)
        commit = worker.commit

        def may_be_cut(outputs: Any, positions: Any) -> None:
            if self.cut == "before":
                raise LogUnavailableError("cut off")
            commit(outputs, positions)
            if self.cut == "behind":
                self.cut = ""
                raise LogUnavailableError("the answer was lost")

        worker.commit = may_be_cut
        return worker


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def journal(tmp_path: Path, clock: ManualClock) -> Iterator[JournalLog]:
    log = JournalLog(tmp_path / "edge.journal", clock=clock, bounds=Bounds(max_entries=2 * KEEP))
    log.ensure([DATA])
    yield log
    log.close()


@pytest.fixture
def target() -> Away:
    return Away(MemoryLog(clock=ManualClock(NOW)))


def forwarder(journal: JournalLog, target: Away, **more: Any) -> Forwarder:
    return Forwarder(journal, target, topics=[DATA], edge="depot", **{"keep_entries": KEEP, **more})


def written(journal: JournalLog, first: int, count: int) -> None:
    entries = [
        Entry(f"site/station-{number % 7}".encode(), str(number).encode()) for number in range(first, first + count)
    ]
    journal.writer().append("ev-station-data", entries)


def arrived(target: Away) -> list[int]:
    """Numbers by station, each station's in the order of their offsets."""
    rows = sorted(everything(target.log, "ev-station-data"), key=lambda row: (row.key, row.offset))
    return [int(row.value or b"") for row in rows]


def in_order(numbers: list[int]) -> bool:
    return all(
        mine == sorted(mine) for station in range(7) if (mine := [each for each in numbers if each % 7 == station])
    )


def told(target: Away) -> Sent:
    return msgspec.json.decode(everything(target.log, FORWARDED.name)[-1].value or b"", type=Sent)


def emptied(carrier: Forwarder) -> None:
    while carrier.step():
        pass


def test_all_arrives_once_and_in_order(journal: JournalLog, target: Away) -> None:
    written(journal, 0, 200)
    carrier = forwarder(journal, target)
    emptied(carrier)
    written(journal, 200, 50)
    emptied(carrier)
    numbers = arrived(target)
    assert sorted(numbers) == list(range(250))
    assert in_order(numbers)
    assert (told(target).sent, told(target).shed, carrier.waiting) == (250, 0, 0)


@pytest.mark.parametrize("cut", ["before", "behind"])
def test_a_cut_at_a_commit_neither_loses_nor_doubles(journal: JournalLog, target: Away, cut: str) -> None:
    written(journal, 0, 100)
    carrier = forwarder(journal, target)
    emptied(carrier)
    written(journal, 100, 100)
    target.cut = cut
    with pytest.raises(LogUnavailableError):
        carrier.step()
    target.cut = ""
    emptied(carrier)
    assert sorted(arrived(target)) == list(range(200))
    assert told(target).sent == 200


def test_a_new_process_goes_on_where_the_dead_one_was(journal: JournalLog, target: Away) -> None:
    written(journal, 0, 100)
    dead = forwarder(journal, target)
    target.cut = "behind"
    with pytest.raises(LogUnavailableError):
        dead.step()  # Kafka has them, the journal does not know
    dead.close()
    emptied(forwarder(journal, target))
    assert sorted(arrived(target)) == list(range(100))


def test_beyond_its_bound_the_oldest_go_with_a_count_and_the_journal_is_never_full(
    journal: JournalLog, target: Away, clock: ManualClock
) -> None:
    carrier = forwarder(journal, target)
    target.cut = "before"
    for first in range(0, 1_000, 50):  # more than three times what it keeps
        written(journal, first, 50)
        clock.advance(60.0)
        with pytest.raises(LogUnavailableError):
            carrier.step()
        assert carrier.waiting <= KEEP
    shed = carrier.counts["shed"]
    assert shed == 1_000 - KEEP
    target.cut = ""
    emptied(carrier)
    numbers = arrived(target)
    assert len(numbers) == KEEP
    assert max(Counter(numbers).values()) == 1
    assert in_order(numbers)
    assert (told(target).sent, told(target).shed) == (KEEP, shed)
    for station in range(7):  # the newest of each station are those that are kept
        mine = [number for number in numbers if number % 7 == station]
        assert not mine or mine == [n for n in range(1_000) if n % 7 == station][-len(mine) :]


def test_bytes_are_a_bound_too(journal: JournalLog, target: Away) -> None:
    written(journal, 0, 200)
    carrier = forwarder(journal, target, keep_bytes=1_000)  # some 60 messages
    target.cut = "before"
    with pytest.raises(LogUnavailableError):
        carrier.step()
    assert 30 < carrier.waiting < 90
    assert carrier.counts["shed"] == 200 - carrier.waiting
