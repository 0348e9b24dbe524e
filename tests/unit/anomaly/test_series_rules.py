"""Each rule on meter values fires on its fault and on nothing that sound stations and cars do."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from tests.oracle.test_series_slow_reference import SEEDS, random_series
from tests.unit.anomaly.test_rules import row

from plugcast.anomaly.series_findings import series_findings, with_series
from plugcast.anomaly.series_rules import SERIES_RULES, check_series
from plugcast.domain.finding import Cause, Severity
from plugcast.domain.messages import MeterValues
from plugcast.features.series import series_features
from plugcast.features.sessions import SessionFeatures

if TYPE_CHECKING:
    from random import Random

BEGIN = datetime(2026, 3, 2, 7, tzinfo=UTC)
NUMBERS = SessionFeatures.__struct_fields__[6:]


def series(
    *parts: tuple[float, float, float],
    step_s: float = 30.0,
    phases: int = 1,
    register: float = 100.0,
    **changes: Any,
) -> list[MeterValues]:
    """Parts of (minutes, pilot, current) as samples that agree with one another; voltage moves as it does."""
    made = []
    at = BEGIN
    for minutes, pilot, current in parts:
        for number in range(round(minutes * 60 / step_s)):
            voltage = 230.0 + 0.1 * (number % 7)
            power = current * voltage * phases / 1000
            register += power * step_s / 3600
            made.append(
                MeterValues(
                    v=1,
                    site_id="i",
                    station_id="t",
                    session_id="s",
                    measured_at=at,
                    offered_current_a=pilot,
                    measured_current_a=current,
                    voltage_v=voltage,
                    power_kw=power,
                    energy_register_kwh=register,
                )
            )
            at += timedelta(seconds=step_s)
    return [msgspec.structs.replace(value, **changes) for value in made]


def changed(values: list[MeterValues], first: int, **factors: float) -> list[MeterValues]:
    """From one sample on, values multiplied."""
    return [
        msgspec.structs.replace(value, **{name: getattr(value, name) * factor for name, factor in factors.items()})
        if place >= first
        else value
        for place, value in enumerate(values)
    ]


def broken(values: list[MeterValues], *, leaves: datetime | None = None, **changes: Any) -> list[str]:
    features = series_features("s", values, departure_at=leaves)
    record = {"energy_kwh": features.register_kwh, "duration_h": features.span_h, "early_stop": 0.0}
    return [found.rule for found in check_series(features, row(**(record | changes)))]


TAPER = [(2.0, 32.0, 30.0 * 0.93**k) for k in range(30)]
SOUND = {
    "a full charge with a taper": series((2, 32, 0), (60, 32, 30.2), *TAPER, (120, 32, 0.3)),
    "a limit of the driver's, at full current": series((45, 16, 15.9), (180, 16, 0)),
    "a station that is steered": series((20, 32, 30), (20, 12, 12.3), (30, 0, 0), (20, 24, 24.1), (60, 16, 0)),
    "a car that takes half of the offer": series((90, 32, 15.6), (60, 32, 0)),
    "a timer that waits for night": series((180, 16, 0), (60, 16, 15.8), (30, 16, 0)),
    "three phases": series((60, 16, 15.8), (60, 16, 0), phases=3),
    "a current that follows the pilot late": series((20, 32, 31), (0.5, 12, 31), (20, 12, 12)),
    "a battery kept warm after it is full": series((40, 16, 15), *[(3, 16, 4.0), (25, 16, 0.0)] * 4),
    "samples a quarter of an hour apart": series((60, 16, 15), (45, 16, 0), step_s=900),
    "a car that feeds back": series((60, 16, -8), (60, 16, 0), energy_register_kwh=None),
    "nothing but current": series((60, 16, 15), (60, 16, 0), power_kw=None, voltage_v=None, energy_register_kwh=None),
}


@pytest.mark.parametrize("name", list(SOUND))
def test_sound_charging_breaks_no_rule(name: str) -> None:
    assert broken(SOUND[name]) == []


def stuck_register() -> list[MeterValues]:
    values = series((60, 16, 15.9))
    still = values[40].energy_register_kwh
    return [msgspec.structs.replace(v, energy_register_kwh=still) if 40 <= n < 90 else v for n, v in enumerate(values)]


def frozen() -> list[MeterValues]:
    values = series((120, 16, 15.9))
    held = values[20]
    return [
        msgspec.structs.replace(
            v, voltage_v=held.voltage_v, power_kw=held.power_kw, measured_current_a=held.measured_current_a
        )
        if n > 20
        else v
        for n, v in enumerate(values)
    ]


def clock_back() -> list[MeterValues]:
    values = series((60, 16, 15.9))
    back = timedelta(minutes=10)
    return [
        msgspec.structs.replace(v, measured_at=v.measured_at - back) if 40 <= n < 50 else v
        for n, v in enumerate(values)
    ]


FAULTS: dict[str, tuple[Cause, list[MeterValues]]] = {
    "never_drew": (Cause.FAILED_START, series((12, 16, 0.2))),
    "current_unoffered": (Cause.STUCK_ON, series((30, 16, 15), (10, 0, 15))),
    "current_over_pilot": (Cause.OVER_RATING, series((10, 16, 15), (5, 16, 22))),
    "register_backwards": (Cause.METER_FAULT, changed(series((30, 16, 15)), 20, energy_register_kwh=0.5)),
    "register_jumps": (Cause.METER_FAULT, changed(series((30, 16, 15)), 20, energy_register_kwh=1.2)),
    "register_stands": (Cause.METER_FAULT, stuck_register()),
    "meter_off": (Cause.METER_FAULT, changed(series((60, 16, 15)), 0, power_kw=0.8)),
    "phase_lost": (Cause.PHASE_LOSS, changed(series((60, 16, 15), phases=3), 30, power_kw=2 / 3)),
    "chatters": (Cause.CHATTER, series(*[(3, 16, 15.0), (2, 16, 0.0)] * 9)),
    "derated": (Cause.DERATING, series((20, 32, 30), (40, 32, 12))),
    "readings_frozen": (Cause.METER_FAULT, frozen()),
    "out_of_order": (Cause.CLOCK_FAULT, clock_back()),
}


@pytest.mark.parametrize("rule", list(FAULTS))
def test_each_fault_breaks_its_rule(rule: str) -> None:
    cause, values = FAULTS[rule]
    assert rule in broken(values)
    features = series_features("s", values)
    own = row(energy_kwh=features.register_kwh, duration_h=features.span_h)
    told = series_findings(own, features)
    assert len({found.cause for found in told}) == len(told)
    (one,) = [found for found in told if found.cause == cause]
    sentence = next(found.text for found in check_series(features, own) if found.rule == rule)
    assert sentence in [reason.text for reason in one.reasons]
    assert any(character.isdigit() for character in sentence)


def test_a_swinging_current_is_chatter_as_well() -> None:
    assert broken(series(*[(1, 16, 15.0), (1, 16, 8.0)] * 15)) == ["chatters"]


def test_a_record_that_says_another_energy() -> None:
    values = series((60, 16, 15), (60, 16, 0))
    assert broken(values, energy_kwh=6.0) == ["record_off"]
    assert broken(values[:100], energy_kwh=6.0, duration_h=2.0) == []  # half of the stay proves nothing


def test_power_after_the_plug_out() -> None:
    values = series((30, 16, 15), (10, 0, 0), (10, 0, 12))
    assert broken(values, leaves=BEGIN + timedelta(minutes=35)) == ["flow_after_unplug"]
    assert "flow_after_unplug" not in broken(values)


def test_a_trip_needs_the_drivers_usual_energy() -> None:
    values = series((10, 16, 15.8), (200, 16, 0))
    assert broken(values, early_stop=0.7, user_energy_kwh_median=11.0) == ["tripped"]
    assert broken(values, early_stop=0.1, user_energy_kwh_median=3.0) == []


@settings(max_examples=100)
@given(SEEDS)
def test_what_is_not_known_breaks_no_rule_and_nothing_ever_raises(rng: Random) -> None:
    values = random_series(rng)
    features = series_features("s", values)
    assert all(found.rule for found in check_series(features, row(**dict.fromkeys(NUMBERS, math.nan))))
    blind = [
        msgspec.structs.replace(
            value,
            offered_current_a=None,
            measured_current_a=None,
            power_kw=None,
            voltage_v=None,
            energy_register_kwh=None,
        )
        for value in values
    ]
    unknown = row(**dict.fromkeys(NUMBERS, math.nan))
    assert [found.rule for found in check_series(series_features("s", blind), unknown)] in ([], ["out_of_order"])
    assert len({rule.__name__ for rule in SERIES_RULES}) == len(SERIES_RULES)


def test_one_fault_is_told_once() -> None:
    cause, values = FAULTS["never_drew"]
    features = series_features("s", values)
    own = row(energy_kwh=0.0, duration_h=0.2)
    proved = series_findings(own, features)
    (record,) = [
        msgspec.structs.replace(found, finding_id="x", by="rule:failed_start", severity=Severity.CRITICAL)
        for found in proved
        if found.cause == cause
    ]
    other = msgspec.structs.replace(record, cause=Cause.OVERSTAY, finding_id="y")
    merged = with_series([record, other], proved)
    assert {found.cause for found in merged} == {cause, Cause.OVERSTAY}
    (one,) = [found for found in merged if found.cause == cause]
    assert one.severity == Severity.CRITICAL
    assert len(one.reasons) == 2
