"""Each rule fires on its fault, not on its neighbour, and never on what is not known."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.anomaly.rules import RULES, check
from plugcast.domain.finding import Cause
from plugcast.features.sessions import SessionFeatures

NUMBERS = SessionFeatures.__struct_fields__[6:]
ORDINARY = {
    "mean_kw": 3.0,
    "kw_conn": 1.5,
    "energy_kwh": 12.0,
    "duration_h": 8.0,
    "charging_h": 4.0,
    "idle_h": 4.0,
    "idle_frac": 0.5,
    "done_missing": 0.0,
    "overstay_h": 0.5,
    "done_after_departure_min": -240.0,
    "done_after_arrival_min": 240.0,
    "rating_kw": 6.6,
    "station_visits": 300.0,
    "station_done_share": 1.0,
    "station_recent_short": 0.0,
    "user_visits": 40.0,
    "user_done_share": 1.0,
    "user_energy_kwh_median": 11.0,
}


def row(**changes: Any) -> SessionFeatures:
    values: dict[str, Any] = dict.fromkeys(NUMBERS, math.nan) | ORDINARY | {"current_type": "ac"} | changes
    return SessionFeatures(
        session_id="s", site_id="i", station_id="t", user_id="u", observed_at=datetime(2019, 1, 1, tzinfo=UTC), **values
    )


FAULTS = [
    ("failed_start", Cause.FAILED_START, {"energy_kwh": 0.0, "mean_kw": 0.0, "kw_conn": 0.0}),
    ("negative_energy", Cause.METER_FAULT, {"energy_kwh": -3.0}),
    ("impossible_energy", Cause.METER_FAULT, {"energy_kwh": 70.0, "kw_conn": 8.75, "mean_kw": 17.5}),
    ("over_rating", Cause.OVER_RATING, {"mean_kw": 7.7, "energy_kwh": 30.8, "kw_conn": 3.9}),
    (
        "stuck_on",
        Cause.STUCK_ON,
        {"done_missing": 1.0, "kw_conn": 6.4, "mean_kw": 6.4, "energy_kwh": 51.2, "user_done_share": 0.5},
    ),
    ("clock_fault", Cause.CLOCK_FAULT, {"done_after_departure_min": 6.0}),
    ("clock_fault", Cause.CLOCK_FAULT, {"done_after_arrival_min": 0.0}),
    ("ghost_session", Cause.GHOST_SESSION, {"duration_h": 0.03, "energy_kwh": 0.05}),
    ("ghost_session", Cause.GHOST_SESSION, {"duration_h": 0.1, "station_recent_short": 2.0, "energy_kwh": 0.3}),
    ("overstay", Cause.OVERSTAY, {"overstay_h": 9.0, "idle_h": 8.5}),
    ("overstay", Cause.OVERSTAY, {"duration_h": 25.0}),
    ("never_done", Cause.NEVER_DONE, {"done_missing": 1.0, "done_surprise": 0.99, "charging_h": math.nan}),
    ("replay", Cause.REPLAY, {"station_repeats": 1.0}),
]


def test_an_ordinary_session_breaks_no_rule() -> None:
    assert check(row()) == ()


@pytest.mark.parametrize(("rule", "cause", "changes"), FAULTS)
def test_a_rule_finds_its_fault_alone(rule: str, cause: Cause, changes: dict[str, Any]) -> None:
    (broken,) = check(row(**changes))
    assert (broken.rule, broken.cause) == (rule, cause)
    assert any(character.isdigit() for character in broken.text)


@pytest.mark.parametrize(
    "changes",
    [
        {"energy_kwh": 0.0, "duration_h": 4.0 / 60, "mean_kw": 0.0},  # too short to have failed
        {"done_after_departure_min": 1.0},  # 58 to 60 s late is ordinary in ACN data
        {"mean_kw": 7.5, "kw_conn": 3.0},  # within the rating's 15 %
        {"energy_kwh": 0.6, "duration_h": 0.05, "kw_conn": 12.0, "mean_kw": 6.0},  # minutes are rounded
        {"done_missing": 1.0, "current_type": "dc"},  # never reported on direct current
        {"done_missing": 1.0, "station_done_share": 0.0},
        {"done_missing": 1.0, "user_visits": 3.0},
        {"overstay_h": 11.0, "idle_h": math.nan},  # gone late, but perhaps charging to the end
        {"overstay_h": 11.0, "idle_h": 1.0},
        {"rating_kw": math.nan, "mean_kw": 400.0, "energy_kwh": 70.0},  # nothing to compare with
    ],
)
def test_what_is_not_a_fault(changes: dict[str, Any]) -> None:
    assert check(row(**changes)) == ()


number = st.just(math.nan) | st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=40, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(NUMBERS, number)), st.sampled_from(["ac", "dc"]))
def test_rules_answer_whatever_the_numbers(values: dict[str, float], kind: str) -> None:
    wild = row(**values, current_type=kind)
    before = msgspec.structs.asdict(wild)
    check(wild)
    after = msgspec.structs.asdict(wild)
    assert all(after[name] == value or value != value for name, value in before.items())  # noqa: PLR0124 - NaN


@pytest.mark.parametrize("changes", [changes for _, _, changes in FAULTS])
def test_a_number_that_is_not_known_is_never_quoted(changes: dict[str, Any]) -> None:
    for name in NUMBERS:
        for broken in check(row(**(changes | {name: math.nan}))):
            assert "nan" not in broken.text
            assert math.isfinite(broken.value)


def test_nothing_known_breaks_nothing() -> None:
    assert check(row(**dict.fromkeys(NUMBERS, math.nan))) == ()
    assert len({rule.__name__ for rule in RULES}) == len(RULES)
