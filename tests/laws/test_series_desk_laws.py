"""A stream of meter values through desks, in pieces and over partitions, comes to what their file comes to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.anomaly import series_desk
from plugcast.anomaly.series_desk import AFTER, SeriesDesk
from plugcast.domain.messages import MeterValues
from plugcast.domain.session import Session
from plugcast.features.sessions import SessionFeatures, SessionHistory, rows_of, session_features
from plugcast.schemas import METER_VALUES, SESSIONS
from plugcast.services.meter_join import join_meter
from plugcast.services.showcase import SHIPPED_ZONE, shipped
from plugcast.simulate.inject_series import break_series
from plugcast.simulate.meter_series import Wiring, meter_series
from plugcast.simulate.series_breaks import SeriesFault

if TYPE_CHECKING:
    from plugcast.domain.finding import Finding

NOW = datetime(2026, 11, 27, tzinfo=UTC)
SEEDS = st.integers(0, 2**32).map(Random)
Told = tuple[datetime, int, MeterValues]


class Case:
    """Sessions of the shipped month with meter values, some faulty, and what their file comes to."""

    def __init__(self) -> None:
        read = shipped(NOW).read
        frame = read.sessions.head(45)
        rng, faults = np.random.default_rng(8), list(SeriesFault)
        self.sessions: dict[str, Session] = {}
        told: list[Told] = []
        for row in frame.drop("available_at").iter_rows(named=True):
            session = Session(**row)
            series = meter_series(session, wiring=Wiring(sample_s=120.0, phases=3), rng=rng)
            if series is None:
                continue
            faulty = break_series(faults[len(self.sessions) % len(faults)], session, series, rng)
            if faulty is not None and len(self.sessions) % 2:
                session, series = faulty.session, faulty.series
            self.sessions[session.session_id] = session
            newest = session.arrival_at  # a sample is sent when it is measured, or with the one before
            for number, value in enumerate(series.values(session)):
                newest = max(newest, value.measured_at)
                told.append((newest, number, value))
        self.told = sorted(told, key=lambda item: (item[0], item[2].session_id or "", item[1]))
        rows = [msgspec.structs.asdict(s) | {"available_at": s.departure_at} for s in self.sessions.values()]
        table = pl.DataFrame(rows, schema=dict(SESSIONS), orient="row")
        features = session_features(table, read.user_inputs, history=SessionHistory(time_zone=SHIPPED_ZONE))
        self.rows = sorted(rows_of(features), key=lambda row: (row.observed_at, row.site_id, row.session_id))
        values = [tuple(getattr(value, name) for name in METER_VALUES) for _, _, value in self.told]
        joined = join_meter(table, pl.DataFrame(values, schema=dict(METER_VALUES), orient="row"))
        found = joined.findings(self.rows, reported=set(self.sessions))
        self.wanted = {_bare(finding) for finding in found}


@cache
def case() -> Case:
    return Case()


def _bare(finding: Finding) -> Finding:
    return msgspec.structs.replace(finding, episode_id=None)


def streamed(partitions: int, rng: Random, *, named: bool) -> tuple[set[Finding], int]:
    """Plug-ins, samples, plug-outs and judgements in the order of time, the desks stored now and then."""
    known = case()
    events: list[tuple[datetime, int, str, object]] = []
    for session in known.sessions.values():
        events.append((session.arrival_at, 0, session.session_id, session))
        events.append((session.departure_at or NOW, 2, session.session_id, session.departure_at))
    events += [(row.observed_at + AFTER + timedelta(seconds=1), 4, row.session_id, row) for row in known.rows]
    events += [
        (
            at,
            1 if at <= (known.sessions[str(value.session_id)].departure_at or NOW) else 3,
            str(value.session_id),
            value,
        )
        for at, _, value in known.told
    ]
    desks = [SeriesDesk() for _ in range(partitions)]
    found: set[Finding] = set()
    for _, _, name, event in sorted(events, key=lambda item: item[:3]):
        session = known.sessions[name]
        place = sum(session.station_id.encode()) % partitions
        desk = desks[place]
        if isinstance(event, Session):
            desk.begin(name, site_id=event.site_id, station_id=event.station_id, arrival_at=event.arrival_at)
        elif isinstance(event, MeterValues):
            desk.take(event if named else msgspec.structs.replace(event, session_id=None))
        elif isinstance(event, SessionFeatures):
            found |= {_bare(finding) for finding in desk.judge(event)}
        elif isinstance(event, datetime):
            desk.end(name, event)
        if rng.random() < 0.01:
            desks[place] = SeriesDesk.from_bytes(desk.to_bytes())
    return found, sum(desk.unmatched for desk in desks)


@settings(max_examples=5)
@given(st.integers(1, 4), SEEDS)
def test_a_stream_in_pieces_over_partitions_comes_to_what_the_file_comes_to(partitions: int, rng: Random) -> None:
    found, unmatched = streamed(partitions, rng, named=True)
    assert len(case().wanted) > 10
    assert found == case().wanted
    assert unmatched == 0


def test_values_that_name_no_session_belong_to_who_stands_there() -> None:
    found, _ = streamed(2, Random(1), named=False)  # noqa: S311 - no secret
    causes = {(finding.session_id, finding.cause) for finding in found}
    wanted = {(finding.session_id, finding.cause) for finding in case().wanted}
    assert len(causes & wanted) >= 0.8 * len(wanted)


def test_the_desk_is_bounded_and_counts_what_it_lets_go() -> None:
    desk = SeriesDesk()
    for number in range(series_desk.MOST_OPEN + 5):
        desk.begin(f"v{number}", site_id="i", station_id=f"t{number}", arrival_at=NOW)
    assert desk.dropped == 5
    desk.take(MeterValues(v=1, site_id="i", station_id="t0", measured_at=NOW, measured_current_a=1.0))
    assert desk.unmatched == 1
