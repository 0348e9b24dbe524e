"""What every injected fault obeys."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.laws.test_detector_laws import made_sessions

from plugcast.domain.finding import Cause, Severity
from plugcast.schemas import SESSIONS
from plugcast.simulate.faults import FAULTS, OCPP_CODES, FaultType
from plugcast.simulate.inject import inject

HOSTS = made_sessions(5, days=40)


def test_all_fourteen_rows_have_a_type_a_cause_and_a_code_of_the_standard() -> None:
    assert {fault.row for fault in FAULTS.values()} == set(range(1, 15))
    assert set(FAULTS) == set(FaultType)
    assert all(f.ocpp_code in OCPP_CODES and f.cause in Cause and f.severity in Severity for f in FAULTS.values())


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.integers(0, 4))
def test_only_labelled_sessions_change_and_the_seed_decides(seed: int, count: int) -> None:
    first, again = (inject(HOSTS, seed=seed, per_type=count) for _ in range(2))
    assert_frame_equal(first.sessions, again.sessions)
    assert_frame_equal(first.labels, again.labels)
    assert first.labels["session_id"].is_unique().all()
    rest = [
        frame.join(first.labels, on="session_id", how="anti").sort("session_id") for frame in (first.sessions, HOSTS)
    ]
    assert_frame_equal(rest[0], rest[1].select(rest[0].columns))
    assert first.sessions.schema == pl.Schema(SESSIONS)
    assert first.faulty.height == first.labels.height


@pytest.mark.parametrize("fault", list(FaultType))
def test_each_type_can_be_put_in_alone_and_left_out(fault: FaultType) -> None:
    alone = inject(HOSTS, seed=1, per_type=3, types=[fault])
    assert set(alone.labels["fault"]) == {fault.value}
    others = inject(HOSTS, seed=1, per_type=1, types=[kind for kind in FaultType if kind != fault])
    assert fault.value not in set(others.labels["fault"])
    before = HOSTS.join(alone.labels, on="session_id", how="semi").sort("session_id")
    after = alone.sessions.join(before.select("session_id"), on="session_id", how="semi").sort("session_id")
    assert not after.equals(before)
    assert (after["departure_at"] > after["arrival_at"]).all()


def test_only_allowed_hosts_change() -> None:
    allowed = HOSTS["session_id"].tail(100)
    put_in = inject(HOSTS, seed=2, per_type=2, hosts=allowed)
    hosts = put_in.labels.filter(~pl.col("session_id").str.contains("bounce"))
    assert set(hosts["session_id"]) <= set(allowed)
