"""What one core carries of detection as a stream: CPU a message through the whole step, poll to commit.

Meter values and heartbeats are most of what stations say; sessions are what is judged. Each runs through a log in
memory, which shows the detector's own cost, and through a journal on disk; in batches, and one by one beside them.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from benches.registry import BenchSpec, Outcome, note

from plugcast.adapters.journal import JournalLog
from plugcast.adapters.memory import ManualClock
from plugcast.adapters.memory_log import MemoryLog
from plugcast.domain import topics
from plugcast.domain.messages import MeterValues
from plugcast.domain.topics import station_key
from plugcast.domain.wire import encode
from plugcast.ports import Entry
from plugcast.services.detection import train_detector
from plugcast.services.showcase import SHIPPED_ZONE, shipped
from plugcast.services.stream.detecting import Detecting
from plugcast.services.stream.engine import Engine
from plugcast.services.stream.messages_of import entries_of, messages_of
from plugcast.services.stream.topics import specs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from plugcast.anomaly.detector import Detector
    from plugcast.ports import Log

NOW: Final = datetime(2026, 11, 27, tzinfo=UTC)
SPLIT: Final = datetime(2019, 3, 12, 7, tzinfo=UTC)
STATIONS: Final = 500
MESSAGES: Final = {"small": 4_000, "full": 100_000}
BATCHES: Final = (1, 100, 1_000, 5_000)
ONE_BY_ONE: Final = 20
"""Of so many messages only one is sent one by one: that takes long enough."""
PREFILLED: Final = 10_000


def run(size: str) -> Outcome:
    """Every input, log and batch."""
    read = shipped(NOW).read
    known = pl.coalesce("available_at", "departure_at", "arrival_at")
    before, after = read.sessions.filter(known < SPLIT), read.sessions.filter(known >= SPLIT)
    detector = train_detector(before, read.user_inputs, time_zone=SHIPPED_ZONE, seed=0)
    values = list(_meter_values(MESSAGES[size]))
    sessions = list(entries_of(messages_of(after, read.user_inputs), topics.PARTITIONS))
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="plugcast-detect-") as name:
        logs: dict[str, Callable[[int], Log]] = {
            "memory": lambda _: MemoryLog(clock=ManualClock(NOW), max_entries=10_000_000),
            "journal": partial(_journal, Path(name)),
        }
        for what, entries in (("meter values", values), ("sessions and heartbeats", sessions)):
            for place, make in logs.items():
                for batch in BATCHES:
                    some = entries if batch > 1 else entries[: max(200, len(entries) // ONE_BY_ONE)]
                    case = _case(make(len(cases)), detector, some, batch)
                    cases.append({"input": what, "log": place, "batch": batch, **case})
                    note(str(cases[-1]))
    for case in cases:
        beside = next(c for c in cases if (c["input"], c["log"], c["batch"]) == (case["input"], case["log"], 1))
        case["times_one_by_one"] = round(case["messages_per_core_s"] / beside["messages_per_core_s"], 1)
    return Outcome(
        data=f"{len(values):,} made meter values of {STATIONS} stations; the shipped month of Caltech from 12 March on",
        cases=cases,
    )


def _journal(folder: Path, number: int) -> Log:
    return JournalLog(folder / f"{number}.journal", clock=ManualClock(NOW))


def _case(log: Log, detector: Detector, entries: Sequence[Entry], batch: int) -> dict[str, Any]:
    """CPU of all steps, without writing the input."""
    log.ensure(specs())
    writer = log.writer()
    for start in range(0, len(entries), PREFILLED):
        writer.append(topics.STATION_DATA, entries[start : start + PREFILLED])
    engine = Engine(
        make_worker=lambda: log.worker("detectors", [topics.STATION_DATA]),
        make_reader=lambda: log.reader(topics.DETECTOR_STATE),
        make_processor=lambda: Detecting(detector, time_zone=SHIPPED_ZONE),
        clock=ManualClock(NOW),
        batch=batch,
        idle_s=None,
    )
    begun_s, quiet = time.process_time(), 0
    while quiet < 2:  # noqa: PLR2004 - one step without a message may only have judged
        made = engine.step()
        quiet = 0 if made.outputs or made.positions else quiet + 1
    cpu_s = time.process_time() - begun_s
    engine.close()
    count = engine.counts["messages"]
    return {
        "messages": count,
        "judged": engine.counts["judged"],
        "cpu_us_per_message": round(1e6 * cpu_s / count, 2),
        "messages_per_core_s": round(count / cpu_s),
    }


def _meter_values(count: int) -> Iterator[Entry]:
    """One reading a second, of each station in turn."""
    for number in range(count):
        station = f"station-{number % STATIONS}"
        message = MeterValues(
            v=1,
            site_id="site",
            station_id=station,
            session_id=f"session-{number % STATIONS}",
            measured_at=SPLIT + timedelta(seconds=number),
            power_kw=6.6 + number % 7 / 10,
            offered_current_a=32.0,
            measured_current_a=31.0 + number % 3 / 10,
            voltage_v=208.0,
            energy_register_kwh=1_000.0 + number / 100,
        )
        yield Entry(station_key("site", station), encode(message))


BENCH = BenchSpec(
    name="stream_detect",
    description="CPU a message of detection as a stream, by input, log and batch",
    run=run,
)
