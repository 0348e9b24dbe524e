from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plugcast.features.clock import ClockSample, apart_h, clock_gap, usual_hour
from plugcast.features.order import Sample

evening = st.lists(st.floats(-3, 3), min_size=1, max_size=30)
hours = st.floats(0, 24, exclude_max=True)


def sample_of(values: list[float]) -> ClockSample:
    sample = ClockSample()
    for value in values:
        sample.add(value)
    return sample


@given(hours, hours)
def test_the_short_way_round_leads_there(hour: float, other: float) -> None:
    gap = clock_gap(hour, other)
    assert -12 <= gap <= 12
    assert apart_h(np.array([other + gap]), hour)[0] == pytest.approx(0, abs=1e-9)


@given(evening, st.floats(0, 24))
def test_turning_the_clock_turns_the_middle_and_leaves_the_spread(values: list[float], turn: float) -> None:
    """Hours within a quarter of a day: wherever it lies, their middle is that of the plain line."""
    plain = Sample()
    for value in values:
        plain.add(value)
    sample = sample_of([(value + turn) % 24 for value in values])
    assert clock_gap(sample.median, plain.median + turn) == pytest.approx(0, abs=1e-6)
    assert sample.mad == pytest.approx(plain.mad, abs=1e-6)


@given(st.lists(hours, min_size=1, max_size=30))
def test_a_growing_sample_says_what_all_hours_at_once_say(values: list[float]) -> None:
    assume(abs(np.cos(np.array(values) * np.pi / 12).sum()) > 1e-6)
    sample = sample_of(values)
    middle, spread = usual_hour(np.array(values))
    assert (sample.median, sample.mad) == pytest.approx((middle, spread), abs=1e-9)
    assert len(sample) == len(values)
