"""However telemetry is cut, shared, killed and taken over, its forecasts are the batch's, bit for bit, each once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.streams import die, drain, said

from plugcast.adapters.files import LocalArtifacts
from plugcast.adapters.journal import JournalLog
from plugcast.adapters.memory import ManualClock
from plugcast.adapters.memory_log import MemoryLog, MemoryWorker
from plugcast.config import Settings
from plugcast.domain import topics
from plugcast.domain.messages import Telemetry
from plugcast.domain.outgoing import DeadLetter, ForecastIssued
from plugcast.domain.rejected import RejectReason
from plugcast.domain.wire import MAX_MESSAGE_BYTES, encode
from plugcast.features.online import micros
from plugcast.forecast.panel import panel
from plugcast.ports import Entry, TelemetryRead
from plugcast.schemas import TELEMETRY
from plugcast.services import training
from plugcast.services.live_models import load_live
from plugcast.services.stream.engine import Engine
from plugcast.services.stream.forecasting import Forecasting
from plugcast.services.stream.messages_of import Timed, telemetry_messages
from plugcast.services.stream.replaying import Playing, Replay
from plugcast.services.stream.topics import specs
from plugcast.simulate.telemetry import GeneratorSpec, generate

if TYPE_CHECKING:
    from pathlib import Path


NOW = datetime(2026, 11, 27, tzinfo=UTC)
ZONE = "America/Los_Angeles"
PARTITIONS = 3
SEEDS = st.integers(0, 2**32).map(Random)


class Case:
    """Trained models, telemetry that they have not seen, and what the batch says of each of its samples."""

    def __init__(self, folder: Path) -> None:
        store = LocalArtifacts(folder)
        samples = generate(GeneratorSpec(vehicles=10, days=11, seed=7, time_zone=ZONE)).select(list(TELEMETRY))
        cut = datetime(2026, 1, 15, tzinfo=UTC)
        training.train(
            TelemetryRead(samples=samples.filter(pl.col("timestamp") < cut)),
            store,
            Settings.model_validate({"site": {"time_zone": ZONE}}),
            source="generated",
            now=NOW,
            threads=1,
            with_horizon=False,
        )
        later = samples.filter(pl.col("timestamp") >= cut)
        unknown = pl.int_range(pl.len()) % 17 == 0  # now and then a vehicle does not know its charge
        self.read = TelemetryRead(samples=later.with_columns(soc=pl.when(unknown).then(None).otherwise("soc")))
        self.store = store
        self.models = load_live(store)
        self.messages = list(telemetry_messages(self.read.samples))
        self.expected = self._batch()

    def _batch(self) -> dict[tuple[str, datetime], tuple[float, float | None, float]]:
        known = panel(self.read.samples, self.models.spec)
        row = np.arange(known.rows)
        chance, energy = self.models.short.predict(known, row)
        assert self.models.unlike is not None
        names = self.models.unlike.forest.names
        order = [known.columns.index(name) for name in names]
        odd = self.models.unlike.predict(known.matrix(row, self.models.short.lead_min)[:, order])
        at = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us) for us in known.timestamp_us.tolist()]
        return {
            (known.asset_ids[code], when): (plug, None if np.isnan(need) else need, unlike)
            for code, when, plug, need, unlike in zip(
                known.asset.tolist(), at, chance.tolist(), energy.tolist(), odd.tolist(), strict=True
            )
        }


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("models"))


class Fleet:
    """A log in memory and engines over it, each holding one of the partitions."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.clock = ManualClock(NOW)
        self.log = MemoryLog(clock=self.clock)
        self.log.ensure(specs(PARTITIONS))
        self.writer = self.log.writer()

    def engine(self, part: int, batch: int = 1_000) -> Engine:
        return Engine(
            make_worker=lambda: MemoryWorker(self.log, f"forecast-{part}", [(topics.TELEMETRY, part)]),
            make_reader=lambda: self.log.reader(topics.FORECASTER_STATE),
            make_processor=lambda: Forecasting(self.case.models),
            clock=self.clock,
            batch=batch,
        )

    def engines(self, batch: int = 1_000) -> list[Engine]:
        return [self.engine(part, batch) for part in range(PARTITIONS)]

    def send(self, messages: list[Timed]) -> None:
        self.writer.append(topics.TELEMETRY, [Entry(timed.key or b"", encode(timed.message)) for timed in messages])

    def forecasts(self) -> dict[tuple[str, datetime], tuple[float, float | None, float | None]]:
        told = [one for one in said(self.log, topics.FORECASTS) if isinstance(one, ForecastIssued)]
        found = {(f.asset_id, f.issued_at): (f.plug_probability, f.energy_to_full_pct, f.unlike) for f in told}
        assert len(found) == len(told)
        assert all(one.valid_at - one.issued_at == timedelta(minutes=15) for one in told)
        return found


def test_a_file_replayed_is_the_batch(case: Case) -> None:
    fleet = Fleet(case)
    fleet.send(case.messages)
    engines = fleet.engines()
    drain(engines)
    assert fleet.forecasts() == case.expected
    assert sum(engine.counts["forecasts"] for engine in engines) == len(case.expected) > 1_000
    newest = training.predict(case.read, case.store)
    for row in newest.iter_rows(named=True):
        chance, energy, _ = fleet.forecasts()[row["asset_id"], row["timestamp"]]
        assert (chance, energy) == (row["plug_probability"], row["predicted_energy_to_full"])


@settings(max_examples=6, deadline=None)
@given(rng=SEEDS)
def test_any_batches_crashes_and_take_overs_come_to_the_batch(case: Case, rng: Random) -> None:
    """Engines die between poll and commit, or leave; what is sent twice or late is counted and forecast once."""
    fleet = Fleet(case)
    left = list(case.messages)
    engines = fleet.engines(rng.choice([7, 50, 400]))
    while left:
        count = rng.choice([1, 20, 300, 1_000])
        fleet.send(left[:count])
        if rng.random() < 0.2:
            fleet.send(left[: min(count, 10)])
        del left[:count]
        for _ in range(rng.randrange(6)):
            place = rng.randrange(PARTITIONS)
            match rng.randrange(6):
                case 0:
                    die(engines[place])
                    fleet.clock.advance(11.0)
                    engines[place] = fleet.engine(place, rng.choice([3, 50, 1_000]))
                case 1:
                    engines[place].close()
                case _:
                    engines[place].step()
        if rng.random() < 0.1:
            fleet.log.tidy()
    drain(engines)
    assert fleet.forecasts() == case.expected


def test_partitions_that_move_take_their_vehicles_with_them(case: Case) -> None:
    """Each of two processors holds one partition, then both, then the other one."""
    fleet = Fleet(case)
    half = len(case.messages) // 2
    fleet.send(case.messages[:half])
    drain(fleet.engines())
    fleet.clock.advance(11.0)
    fleet.send(case.messages[half:])
    whole = Engine(
        make_worker=lambda: MemoryWorker(fleet.log, "all", [(topics.TELEMETRY, part) for part in range(PARTITIONS)]),
        make_reader=lambda: fleet.log.reader(topics.FORECASTER_STATE),
        make_processor=lambda: Forecasting(case.models),
        clock=fleet.clock,
    )
    drain([whole])  # from the start once more: what was forecast is late by now
    assert whole.counts["late"] == half
    assert fleet.forecasts() == case.expected


def test_a_file_of_vehicles_replayed_over_a_journal_is_the_batch(case: Case, tmp_path: Path) -> None:
    log = JournalLog(tmp_path / "a.journal", clock=ManualClock(NOW))
    playing = Playing.of_vehicles(case.read, content=b"this file")
    assert Replay(log, playing).run(speed=None, told=lambda _: None, stop=Event())
    assert Replay(log, playing).sent == len(case.messages)
    engine = Engine(
        make_worker=lambda: log.worker("forecasters", [topics.TELEMETRY]),
        make_reader=lambda: log.reader(topics.FORECASTER_STATE),
        make_processor=lambda: Forecasting(case.models),
        clock=ManualClock(NOW),
    )
    drain([engine])
    engine.close()
    fleet = Fleet(case)
    fleet.log = log  # type: ignore[assignment]  # another log of the same port
    assert fleet.forecasts() == case.expected


RUBBISH = (
    (b"", RejectReason.UNDECODABLE),
    (b"\xff\x00", RejectReason.UNDECODABLE),
    (b"{}", RejectReason.MISSING_VALUE),
    (b" " * (MAX_MESSAGE_BYTES + 1), RejectReason.TOO_LONG),
    (b'{"type":"telemetry","v":2,"asset_id":"a"}', RejectReason.WRONG_VERSION),
    (b'{"type":"telemetry","v":1,"asset_id":"a","timestamp":"2026-01-20T00:00:00","is_plugged_in":true}', "bad_time"),
    (
        b'{"type":"telemetry","v":1,"asset_id":"a","timestamp":"1970-01-01T00:00:00Z","is_plugged_in":true}',
        RejectReason.TIME_OUT_OF_RANGE,
    ),
    (
        b'{"type":"telemetry","v":1,"asset_id":"a","timestamp":"2100-01-01T00:00:00Z","is_plugged_in":true}',
        RejectReason.TIME_OUT_OF_RANGE,
    ),
    (
        b'{"type":"telemetry","v":1,"asset_id":"a","timestamp":"0001-01-01T00:00:00+14:00","is_plugged_in":true}',
        RejectReason.TIME_OUT_OF_RANGE,
    ),
    (
        b'{"type":"telemetry","v":1,"asset_id":"a","timestamp":"2026-01-20T00:00:00Z","is_plugged_in":true,"soc":1e9}',
        RejectReason.OUT_OF_RANGE,
    ),
    (
        b'{"type":"heartbeat","v":1,"site_id":"a","station_id":"b","sent_at":"2026-01-20T00:00:00Z"}',
        RejectReason.UNDECODABLE,
    ),
)


def test_rubbish_is_kept_with_its_reason_and_changes_nothing(case: Case) -> None:
    fleet = Fleet(case)
    for number, timed in enumerate(case.messages):
        fleet.send([timed])
        if number % 100 == 0:
            content = RUBBISH[number // 100 % len(RUBBISH)][0]
            fleet.writer.append(topics.TELEMETRY, [Entry(b"rubbish", content, number % PARTITIONS)])
    drain(fleet.engines(batch=200))
    assert fleet.forecasts() == case.expected
    letters = [said for said in said(fleet.log, topics.DEAD_LETTERS) if isinstance(said, DeadLetter)]
    assert len(letters) == (len(case.messages) + 99) // 100 > len(RUBBISH)
    reasons = {content[:1_024]: reason for content, reason in RUBBISH}
    assert all(letter.reason == reasons[letter.raw] for letter in letters)


def test_instants_of_other_zones_are_forecast_as_in_utc(case: Case) -> None:
    fleet = Fleet(case)
    at = datetime(2026, 1, 20, 9, 30, 0, 123_457, tzinfo=UTC)
    message = Telemetry(v=1, asset_id="x/now", timestamp=at, soc=50.0, is_plugged_in=True)
    content = encode(message).replace(b"09:30:00.123457Z", b"11:30:00.123457+02:00")
    fleet.writer.append(topics.TELEMETRY, [Entry(b"x/now", content)])
    drain(fleet.engines())
    ((key, _),) = fleet.forecasts().items()
    assert key == ("x/now", at)
    assert micros(key[1]) == micros(at)
    assert b"+02:00" in content
