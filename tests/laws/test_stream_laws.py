"""However a stream is cut, shared, killed and taken over, it comes to what the batch comes to, bit for bit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.streams import die, drain, require_the_batch, said

from plugcast.adapters.memory import ManualClock
from plugcast.adapters.memory_log import MemoryLog, MemoryWorker
from plugcast.anomaly.detector import Detector
from plugcast.domain import topics
from plugcast.domain.outgoing import DeadLetter
from plugcast.ports import Entry
from plugcast.services.detection import watch_closely
from plugcast.services.showcase import SHIPPED_ZONE, shipped
from plugcast.services.stream.detecting import Detecting
from plugcast.services.stream.engine import Engine
from plugcast.services.stream.messages_of import Timed, entries_of, messages_of
from plugcast.services.stream.topics import specs
from plugcast.simulate.inject import inject

NOW = datetime(2026, 11, 27, tzinfo=UTC)
BEGIN = datetime(2019, 3, 20, 7, tzinfo=UTC)
OUTAGE_DAY = date(2019, 3, 26)
PARTITIONS = 3
SEEDS = st.integers(0, 2**32).map(Random)


class Case:
    """A detector of the shipped month's first part; the month's messages with every fault, and the batch's outcome."""

    def __init__(self) -> None:
        read = shipped(NOW).read
        known = pl.coalesce("available_at", "departure_at", "arrival_at")
        hosts = read.sessions.filter(known >= BEGIN)["session_id"]
        sessions = inject(_with_outage(read.sessions), seed=3, per_type=1, hosts=hosts).sessions
        self.detector = Detector.fit(
            read.sessions.filter(known < BEGIN),
            read.user_inputs,
            time_zone=SHIPPED_ZONE,
            alarms_per_station_week=0.5,
            seed=1,
        )
        features = self.detector.features(sessions, read.user_inputs)
        features = features.filter(pl.col("observed_at") > self.detector.trained_until_at)
        self.findings, self.judgements, _ = watch_closely(self.detector, features, time_zone=SHIPPED_ZONE)
        self.messages = list(messages_of(sessions, read.user_inputs))


def _with_outage(sessions: pl.DataFrame) -> pl.DataFrame:
    """On one day no car gets more than a twentieth of its energy, and each stays for two days more."""
    day = pl.col("departure_at").dt.convert_time_zone(SHIPPED_ZONE).dt.date() == OUTAGE_DAY
    return sessions.with_columns(
        energy_delivered_kwh=pl.when(day).then(pl.col("energy_delivered_kwh") / 20).otherwise("energy_delivered_kwh"),
        arrival_at=pl.when(day).then(pl.col("arrival_at") - pl.duration(days=2)).otherwise("arrival_at"),
    )


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


class Site:
    """A log in memory and engines over it, each holding some of the partitions."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.clock = ManualClock(NOW)
        self.log = MemoryLog(clock=self.clock)
        self.log.ensure(specs(PARTITIONS))
        self.writer = self.log.writer()

    def engine(self, *parts: int, batch: int = 1_000) -> list[Engine]:
        """One engine to a partition, each in a group of its own: that is how a group shares partitions."""
        return [self._engine(part, batch) for part in parts or range(PARTITIONS)]

    def _engine(self, part: int, batch: int) -> Engine:
        return Engine(
            make_worker=lambda: MemoryWorker(self.log, f"detect-{part}", [(topics.STATION_DATA, part)]),
            make_reader=lambda: self.log.reader(topics.DETECTOR_STATE),
            make_processor=lambda: Detecting(self.case.detector, time_zone=SHIPPED_ZONE, partitions=PARTITIONS),
            clock=self.clock,
            batch=batch,
            idle_s=None,
        )

    def send(self, messages: list[Timed]) -> None:
        self.writer.append(topics.STATION_DATA, list(entries_of(messages, PARTITIONS)))


def test_a_month_replayed_is_the_batch(case: Case) -> None:
    site = Site(case)
    site.send(case.messages)
    total = drain(site.engine())
    require_the_batch(site.log, case.findings, case.judgements)
    assert {finding.by.split(":")[0] for finding in case.findings} == {"rule", "model", "site"}
    assert total["trained"] + total["judged"] == sum(
        t.message.__class__.__name__ == "SessionEnded" for t in case.messages
    )
    assert not total["late"]
    assert not said(site.log, topics.DEAD_LETTERS)


@settings(max_examples=8, deadline=None)
@given(rng=SEEDS)
def test_any_batches_crashes_and_take_overs_come_to_the_batch(case: Case, rng: Random) -> None:
    """Engines die between poll and commit, or leave; others go on from the changelog with other batch sizes."""
    site = Site(case)
    later = [timed for timed in case.messages if timed.at >= BEGIN - timedelta(days=1)]
    first = [timed for timed in case.messages if timed.at < BEGIN - timedelta(days=1)]
    site.send(first)
    drain(site.engine())
    site.clock.advance(11.0)  # leases of engines that nobody closed run out
    engines = site.engine(batch=rng.choice([7, 50, 400]))
    while later:
        count = rng.choice([1, 20, 300, 1_000])
        site.send(later[:count])
        del later[:count]
        for _ in range(rng.randrange(6)):
            place = rng.randrange(PARTITIONS)
            match rng.randrange(6):
                case 0:
                    die(engines[place])
                    site.clock.advance(11.0)
                    engines[place] = site.engine(place, batch=rng.choice([3, 50, 1_000]))[0]
                case 1:
                    engines[place].close()
                case _:
                    engines[place].step()
    drain(engines)
    require_the_batch(site.log, case.findings, case.judgements)


def test_what_comes_twice_counts_once(case: Case) -> None:
    site = Site(case)
    messages = [timed for timed in case.messages if timed.at >= BEGIN + timedelta(days=8)]
    site.send(messages)
    site.send(messages)
    engines = site.engine()
    drain(engines)
    once = Site(case)
    once.send(messages)
    drain(once.engine())
    assert said(site.log, topics.SCORES) == said(once.log, topics.SCORES)
    assert said(site.log, topics.FINDINGS) == said(once.log, topics.FINDINGS)
    assert sum(engine.counts["duplicates"] for engine in engines) > 0


@settings(max_examples=10, deadline=None)
@given(rubbish=st.lists(st.tuples(st.integers(0, PARTITIONS - 1), st.binary(max_size=200)), max_size=30), rng=SEEDS)
def test_rubbish_is_kept_with_its_reason_and_changes_nothing(
    case: Case, rubbish: list[tuple[int, bytes]], rng: Random
) -> None:
    messages = [timed for timed in case.messages if timed.at >= BEGIN + timedelta(days=9)]
    clean = Site(case)
    clean.send(messages)
    drain(clean.engine())
    site = Site(case)
    cuts = sorted(rng.randrange(len(messages)) for _ in rubbish)
    last = 0
    for cut, (part, content) in zip(cuts, rubbish, strict=True):
        site.send(messages[last:cut])
        site.writer.append(topics.STATION_DATA, [Entry(b"rubbish", content, part)])
        last = cut
    site.send(messages[last:])
    drain(site.engine())
    assert said(site.log, topics.SCORES) == said(clean.log, topics.SCORES)
    letters = [said for said in said(site.log, topics.DEAD_LETTERS) if isinstance(said, DeadLetter)]
    assert sorted(letter.raw for letter in letters) == sorted(content for _, content in rubbish)
    assert all(letter.detail for letter in letters)
