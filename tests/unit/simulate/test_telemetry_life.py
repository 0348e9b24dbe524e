from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.simulate import telemetry
from plugcast.simulate.habits import Leg, Place, draw_vehicle, plan_legs
from plugcast.simulate.life import Stretch, live, observe

MIDNIGHTS = np.arange(-10, 40, dtype=np.float64) * np.float64(1440.0)


def _life(seed: int) -> list[Stretch]:
    rng = np.random.default_rng(seed)
    vehicle = draw_vehicle("ev", rng)
    legs = plan_legs(vehicle, rng, first_weekday=0, first_day=0, days=28)
    return live(vehicle, legs, rng, start_min=-1440.0, end_min=30 * 1440.0, midnight_min=MIDNIGHTS)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30)
def test_a_life_has_no_hole_and_no_jump(seed: int) -> None:
    life = _life(seed)
    for before, after in pairwise(life):
        assert after.start_min >= before.start_min
        ends_at = observe([before], np.array([after.start_min])).soc_pct[0]
        assert abs(ends_at - after.soc_pct) < 1e-6


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_nothing_is_too_short_to_be_seen(seed: int) -> None:
    # the longest step between two samples is ten minutes
    switches = [stretch for before, stretch in pairwise(_life(seed)) if stretch.plugged != before.plugged]
    for before, after in pairwise(switches):
        assert after.start_min - before.start_min > 10.0


@given(seed=st.integers(0, 2**32), first_weekday=st.integers(0, 6))
@settings(max_examples=30)
def test_a_plan_is_in_order_and_comes_home(seed: int, first_weekday: int) -> None:
    rng = np.random.default_rng(seed)
    vehicle = draw_vehicle("ev", rng)
    legs = plan_legs(vehicle, rng, first_weekday=first_weekday, first_day=0, days=21)
    starts = [leg.start_min for leg in legs]
    assert starts == sorted(starts)
    assert all(leg.use_kwh > 0 for leg in legs)
    out, back = legs[::2], legs[1::2]
    assert [leg.outing for leg in out] == [leg.outing for leg in back]
    assert {leg.place for leg in back} <= {Place.HOME, Place.DEPOT}


def test_an_outing_that_would_begin_in_a_still_silence_is_left_out_whole() -> None:
    legs = [Leg(float(at), 10.0, 1.0, Place.HOME, at // 200) for at in (0, 100, 200, 300, 400, 500)]
    kept = telemetry._without(legs, [(150.0, 250.0), (290.0, 310.0), (490.0, 510.0)])
    assert [leg.start_min for leg in kept] == [0.0, 100.0, 400.0, 500.0]


def test_two_in_five_silences_stand_still() -> None:
    at_s = np.arange(0, 40_000, 10)
    gap_flag = np.zeros(len(at_s), dtype=np.bool_)
    gap_flag[1::2] = True
    still = telemetry._still_times(np.random.default_rng(3), at_s, gap_flag)
    assert 0.35 < len(still) / gap_flag.sum() < 0.45
    assert all(abs(end - begin - 10 / 60) < 1e-9 for begin, end in still)
