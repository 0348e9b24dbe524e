from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.simulate import battery

RATES = st.floats(0.01, 3.0)
KNEES = st.floats(50.0, 90.0)
LEVELS = st.floats(0.0, 100.0)


def _after(minutes: float, *, start: float, rate: float, knee: float, limit: float = 100.0) -> float:
    column = [np.array([value]) for value in (minutes, start, rate, knee, limit)]
    names = ("start_pct", "rate", "knee", "limit_pct")
    return float(battery.soc_after(column[0], **dict(zip(names, column[1:], strict=True)))[0])


@given(start=LEVELS, target=LEVELS, rate=RATES, knee=KNEES)
def test_time_to_a_level_and_level_after_a_time_are_inverse(
    start: float, target: float, rate: float, knee: float
) -> None:
    minutes = battery.minutes_to(target, start_pct=start, rate=rate, knee=knee)
    assert minutes >= 0
    assert _after(minutes, start=start, rate=rate, knee=knee) == pytest.approx(max(start, target), abs=1e-6)


@given(start=LEVELS, rate=RATES, knee=KNEES, limit=st.floats(50.0, 100.0), capacity=st.floats(20.0, 100.0))
def test_the_closed_form_is_what_small_steps_of_its_own_power_give(
    start: float, rate: float, knee: float, limit: float, capacity: float
) -> None:
    power_kw = rate * 60 / 100 * capacity  # efficiency 1
    soc, step_min = start, 0.25
    for _ in range(480):
        args = [np.array([value]) for value in (soc, power_kw, knee, limit)]
        power = battery.power_after(args[0], power_kw=args[1], knee=args[2], limit_pct=args[3])[0]
        soc = min(soc + float(power) / capacity * 100 * step_min / 60, max(limit, start))
    assert _after(120.0, start=start, rate=rate, knee=knee, limit=limit) == pytest.approx(soc, abs=0.6)


def test_a_battery_above_its_limit_takes_nothing() -> None:
    assert _after(600.0, start=90.0, rate=1.0, knee=80.0, limit=80.0) == 90.0


def test_a_harder_charge_tapers_earlier() -> None:
    knees = [battery.knee_pct(power, capacity_kwh=60.0) for power in (2.3, 11.0, 50.0, 150.0)]
    assert knees == sorted(knees, reverse=True)
    assert knees[0] > 80 > knees[2]
