"""What made meter values and every fault put into them obey."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.domain.messages import MeterValues
from plugcast.domain.session import Session
from plugcast.domain.wire import decode, encode
from plugcast.features.series import series_features
from plugcast.services.showcase import shipped
from plugcast.simulate.faults import FAULTS, OCPP_CODES
from plugcast.simulate.inject_series import KIND, Faulty, break_series, labels_of, recorded
from plugcast.simulate.meter_series import MeterSeries, Wiring, meter_series
from plugcast.simulate.series_breaks import SeriesFault

NOW = datetime(2026, 11, 27, tzinfo=UTC)
THREE = Wiring(phases=3)
"""The only kind that every fault can happen to."""


@cache
def sessions() -> tuple[Session, ...]:
    frame = shipped(NOW).read.sessions.drop("available_at").head(150)
    return tuple(Session(**row) for row in frame.iter_rows(named=True))


def made(session: Session, seed: int, wiring: Wiring = THREE) -> MeterSeries | None:
    return meter_series(session, wiring=wiring, rng=np.random.default_rng(seed))


@cache
def sound() -> tuple[tuple[Session, MeterSeries], ...]:
    return tuple((session, series) for session in sessions() if (series := made(session, 1)) is not None)


def put_in(fault: SeriesFault, seed: int, count: int = 3) -> list[Faulty]:
    rng = np.random.default_rng(seed)
    earlier = sound()[0][1]
    faulty = (break_series(fault, session, series, rng, earlier=earlier) for session, series in sound()[seed:])
    return [each for each in faulty if each is not None][:count]


@settings(max_examples=40)
@given(st.integers(0, 149), st.integers(0, 10_000), st.sampled_from([1, 3]), st.sampled_from([20.0, 60.0, 300.0]))
def test_made_series_agree_with_the_record_and_the_seed_decides(
    place: int, seed: int, phases: int, sample_s: float
) -> None:
    session = sessions()[place]
    wiring = Wiring(phases=phases, sample_s=sample_s)
    series = made(session, seed, wiring)
    if series is None:
        return
    again = made(session, seed, wiring)
    assert again is not None
    np.testing.assert_array_equal(series.power_kw, again.power_kw)
    values = series.values(session)
    told = series_features(session.session_id, values, departure_at=session.departure_at)
    energy = session.energy_delivered_kwh or 0.0
    assert abs(told.register_kwh - energy) <= 0.01 + 0.01 * energy
    assert told.peak_a <= wiring.most_a + 0.5
    assert abs(told.phases - phases) < 0.2 or told.flow_h < 0.2
    assert values[0].measured_at == session.arrival_at
    for value in values[:3]:
        assert decode(encode(value), now=NOW, source="t", row=1) == value


def test_every_fault_has_a_row_of_the_taxonomy_and_its_code() -> None:
    assert set(KIND) == set(SeriesFault)
    assert {FAULTS[kind].row for kind in KIND.values()} == {1, 2, 3, 4, 5, 6, 10, 11, 12, 13}
    assert all(FAULTS[kind].ocpp_code in OCPP_CODES for kind in KIND.values())


@pytest.mark.parametrize("fault", list(SeriesFault))
def test_each_fault_can_be_put_in_and_leaves_its_host_as_it_was(fault: SeriesFault) -> None:
    before = [series.power_kw.copy() for _, series in sound()]
    faulty = put_in(fault, seed=3)
    assert faulty
    for (_, series), power in zip(sound(), before, strict=True):
        np.testing.assert_array_equal(series.power_kw, power)
    again = put_in(fault, seed=3)
    labels = labels_of(faulty)
    assert labels["fault"].unique().to_list() == [fault.value]
    for one, two in zip(faulty, again, strict=True):
        assert one.session == two.session
        np.testing.assert_array_equal(one.series.register_kwh, two.series.register_kwh)
        assert all(isinstance(value, MeterValues) for value in one.series.values(one.session))
        assert (one.session.energy_delivered_kwh or 0.0) >= 0.0
        assert one.session.departure_at is not None
        assert one.session.departure_at > one.session.arrival_at


@pytest.mark.parametrize("fault", [SeriesFault.DERATED, SeriesFault.TRIPPED, SeriesFault.CHATTER])
def test_where_the_current_changes_power_and_register_follow(fault: SeriesFault) -> None:
    for faulty in put_in(fault, seed=5):
        told = series_features("s", faulty.series.values(faulty.session))
        assert abs(told.counted_kwh - told.integral_kwh) < 0.02 + 0.01 * told.integral_kwh
        assert abs(told.register_kwh - (faulty.session.energy_delivered_kwh or 0.0)) < 0.01


def test_the_record_follows_from_the_series() -> None:
    for session, series in sound()[:30]:
        told = recorded(session, series)
        assert abs((told.energy_delivered_kwh or 0.0) - (session.energy_delivered_kwh or 0.0)) < 0.02
        assert told.departure_at == session.departure_at
        assert told.session_id == session.session_id


def test_samples_come_in_order_but_for_a_few() -> None:
    late = [sum(two <= one for one, two in pairwise(series.at_us.tolist())) for _, series in sound()]
    assert max(late) <= 2
    assert sum(count > 0 for count in late) < 0.2 * len(late)
