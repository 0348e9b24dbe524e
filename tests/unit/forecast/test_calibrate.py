from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plugcast.forecast import scores
from plugcast.forecast.calibrate import LEAD_EDGES_MIN, Isotonic, Widening, lead_bucket


@given(st.integers(0, 2**32 - 1))
def test_isotonic_never_reverses_two_probabilities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.random(80)
    steps = Isotonic.fit(raw, (rng.random(80) < raw).astype(float))
    again = steps.apply(np.sort(rng.random(50)))
    assert (np.diff(again) >= 0).all()
    assert ((again > 0) & (again < 1)).all()
    assert msgspec.json.decode(msgspec.json.encode(steps), type=Isotonic) == steps


def test_isotonic_mends_overconfidence_on_fresh_data() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(40_000)
    outcome = (rng.random(40_000) < truth).astype(float)
    boast = truth**3 / (truth**3 + (1 - truth) ** 3)
    steps = Isotonic.fit(boast[:20_000], outcome[:20_000])
    late = slice(20_000, None)
    assert scores.ece(steps.apply(boast[late]), outcome[late]) < 0.02
    assert scores.ece(boast[late], outcome[late]) > 0.1


def test_widening_covers_fresh_outcomes_in_every_bucket_of_lead() -> None:
    rng = np.random.default_rng(2)
    lead = rng.choice([15.0, 120.0, 2_000.0], 60_000)
    outcome = rng.normal(0, 1 + lead / 500)
    low, high = -np.ones(60_000), np.ones(60_000)
    wide = Widening.fit(low[::2], high[::2], outcome[::2], lead[::2], coverage=0.8)
    for minutes in (15.0, 120.0, 2_000.0):
        fresh = np.flatnonzero(lead == minutes)[1::2]
        extra = wide.at(lead[fresh])
        assert abs(scores.coverage(low[fresh] - extra, high[fresh] + extra, outcome[fresh]) - 0.8) < 0.02


def test_a_bucket_without_calibration_rows_is_left_as_it_is() -> None:
    wide = Widening.fit(np.zeros(50), np.ones(50), np.full(50, 5.0), np.full(50, 15.0), coverage=0.8)
    assert wide.at(15.0) == 4.0
    assert wide.at(2_880.0) == 0.0


def test_buckets_cover_all_leads() -> None:
    buckets = lead_bucket(np.array([15.0, 29.9, 30.0, 2_880.0]))
    assert buckets.tolist() == [0, 0, 1, len(LEAD_EDGES_MIN) - 2]
