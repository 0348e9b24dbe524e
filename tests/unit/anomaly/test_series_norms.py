"""A station's past: replays and meters whose scale has changed, whatever partition judges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.anomaly.test_rules import row

from plugcast.anomaly.series_findings import series_findings
from plugcast.anomaly.series_norms import DIGESTS, SCALES, SeriesNorms
from plugcast.domain.finding import Cause
from plugcast.domain.session import Session
from plugcast.features.series import series_features
from plugcast.features.series_watch import Stretch
from plugcast.services.meter_join import Metered
from plugcast.simulate.meter_series import Wiring, meter_series

if TYPE_CHECKING:
    from plugcast.features.series_values import SeriesFeatures
    from plugcast.features.sessions import SessionFeatures

BEGIN = datetime(2026, 3, 2, 7, tzinfo=UTC)
BARE = Wiring(voltage_v=208.0, tells=frozenset())
"""Current and pilot alone, as ACN-Data's service gives them."""


@cache
def visits(count: int = 24) -> tuple[tuple[SessionFeatures, SeriesFeatures], ...]:
    """Sound sessions of two stations, one after the other."""
    rng, made = np.random.default_rng(2), []
    for number in range(count):
        begin = BEGIN + timedelta(days=number)
        session = Session(
            session_id=f"v{number}",
            site_id="i",
            station_id=f"t{number % 2}",
            arrival_at=begin,
            departure_at=begin + timedelta(hours=7),
            done_charging_at=begin + timedelta(hours=3),
            energy_delivered_kwh=9.0 + number % 5,
            time_zone="UTC",
        )
        series = meter_series(session, wiring=BARE, rng=rng)
        assert series is not None
        told = series_features(session.session_id, series.values(session), departure_at=session.departure_at)
        own = row(energy_kwh=session.energy_delivered_kwh, duration_h=7.0, early_stop=0.0)
        own = msgspec.structs.replace(
            own, session_id=session.session_id, station_id=session.station_id, observed_at=begin
        )
        made.append((own, told))
    return tuple(made)


def test_sound_visits_break_nothing_and_a_replay_is_told() -> None:
    norms = SeriesNorms()
    for own, told in visits():
        assert series_findings(own, told, norms) == ()
    own, told = visits()[-1]
    (found,) = series_findings(msgspec.structs.replace(own, session_id="again"), told, norms)
    assert (found.cause, found.by) == (Cause.REPLAY, "rule:replayed")
    assert "1 session before" in found.reasons[0].text
    other = msgspec.structs.replace(own, station_id="elsewhere")
    assert series_findings(other, told, norms) == ()  # another station's meter is no evidence


def test_a_meter_whose_scale_has_changed_is_told_and_teaches_nothing() -> None:
    norms = SeriesNorms()
    for own, told in visits():
        norms.judge(told, own)
    own, told = visits()[-2]
    fresh = msgspec.structs.replace(told, digest="0")
    high = msgspec.structs.replace(own, energy_kwh=own.energy_kwh * 1.2)
    for _ in range(40):
        (found,) = series_findings(high, fresh, norms)
        assert (found.cause, found.by) == (Cause.METER_FAULT, "rule:meter_rescaled")
        fresh = msgspec.structs.replace(fresh, digest=fresh.digest + "0")
    near = msgspec.structs.replace(own, energy_kwh=own.energy_kwh * 1.03)
    assert series_findings(near, msgspec.structs.replace(told, digest="x"), norms) == ()


@settings(max_examples=30)
@given(st.integers(0, 23), st.booleans())
def test_any_partitioning_and_a_stored_state_come_to_the_same(cut: int, apart: bool) -> None:  # noqa: FBT001 - drawn
    whole = SeriesNorms()
    wanted = [series_findings(own, told, whole) for own, told in (*visits(), *visits()[-2:])]
    parts = {name: SeriesNorms() for name in ("t0", "t1")} if apart else dict.fromkeys(("t0", "t1"), SeriesNorms())
    got = []
    for place, (own, told) in enumerate((*visits(), *visits()[-2:])):
        if place == cut and apart:
            parts = {name: SeriesNorms.from_bytes(norms.to_bytes()) for name, norms in parts.items()}
        got.append(series_findings(own, told, parts[own.station_id]))
    assert got == wanted


def test_the_past_is_bounded() -> None:
    norms = SeriesNorms()
    own, told = visits()[0]
    for number in range(3 * DIGESTS):
        norms.judge(msgspec.structs.replace(told, digest=str(number)), own)
    (past,) = norms.stations.values()
    assert (len(past.digests), len(past.wh_per_ah)) == (DIGESTS, SCALES)


def test_a_fault_that_stays_is_one_episode_and_the_past_is_only_learnt_from() -> None:
    told = [
        msgspec.structs.replace(series, fall=Stretch(start_us=0, end_us=1, value=9.0, beside=1.0))
        for _, series in visits()
    ]
    rows = [own for own, _ in visits()]
    features = dict(zip([own.session_id for own in rows], told, strict=True))
    metered = Metered(
        frame=pl.DataFrame(), places=dict.fromkeys(features, ()), stays={}, unmatched=0, features=features
    )
    later = {own.session_id for own in rows[10:]}
    found = metered.findings(rows, reported=later)
    assert {finding.session_id for finding in found} == later
    assert len({finding.episode_id for finding in found}) == 2  # one at each of the two stations
