"""Intervals: wide where rows are alike, calibrated where the truth is known, and the same in every run."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.forecast.bootstrap import DAY_US, Blocks, combined_interval, mean_interval, skill_interval

ASSETS, WEEKS, EACH = 20, 10, 5


def _grid(rng: np.random.Generator, asset_spread: float, week_spread: float) -> tuple[np.ndarray, Blocks]:
    """Errors with effects of asset and week, around 0."""
    asset = np.repeat(np.arange(ASSETS), WEEKS * EACH)
    week = np.tile(np.repeat(np.arange(WEEKS), EACH), ASSETS)
    value = rng.normal(size=len(asset))
    value += asset_spread * rng.normal(size=ASSETS)[asset] + week_spread * rng.normal(size=WEEKS)[week]
    return value, Blocks.of(asset, week * 7 * DAY_US)


@pytest.mark.parametrize(("asset_spread", "week_spread"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_the_truth_lies_inside_about_as_often_as_stated(asset_spread: float, week_spread: float) -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(100):
        value, blocks = _grid(rng, asset_spread, week_spread)
        found = mean_interval(value, blocks, resamples=200)
        inside += found.low <= 0 <= found.high
    assert inside >= 85  # 95 wanted; ten weeks are few, and drawing rows one by one would give about 20


def test_blocks_are_drawn_whole() -> None:
    rng = np.random.default_rng(2)
    value, blocks = _grid(rng, 1.0, 1.0)
    alone = Blocks(asset=np.arange(len(value)), time=np.zeros(len(value), np.int64), days=7)
    together, one_by_one = mean_interval(value, blocks), mean_interval(value, alone)
    assert together.value == one_by_one.value == pytest.approx(value.mean())
    assert together.high - together.low > 4 * (one_by_one.high - one_by_one.low)


@given(st.integers(0, 2**32 - 1))
def test_the_figure_lies_in_its_interval_and_comes_again(seed: int) -> None:
    value, blocks = _grid(np.random.default_rng(seed), 0.5, 0.5)
    found = mean_interval(value, blocks, resamples=200, seed=3)
    assert found.low <= found.value <= found.high
    assert found == mean_interval(value, blocks, resamples=200, seed=3)


def test_skill_is_sure_where_both_share_their_ups_and_downs() -> None:
    theirs, blocks = _grid(np.random.default_rng(4), 3.0, 3.0)
    theirs = np.exp(theirs / 3)
    found = skill_interval(0.8 * theirs, theirs, blocks)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.2, 0.2))


def test_one_block_tells_nothing_of_the_spread() -> None:
    blocks = Blocks.of(np.zeros(5, int), np.zeros(5, np.int64))
    found = mean_interval(np.arange(5.0), blocks)
    assert found.value == 2
    assert isnan(found.low)
    assert isnan(found.high)


def test_cells_without_rows_do_no_harm() -> None:
    asset = np.array([0, 0, 1, 2])
    blocks = Blocks.of(asset, np.array([0, 1, 1, 2]) * DAY_US)
    found = combined_interval([np.array([1.0, 1.0, 1.0, 1.0])], lambda means: means[0], blocks)
    assert (found.low, found.high) == (1, 1)


def test_few_weeks_are_drawn_by_the_day() -> None:
    days = np.arange(10, dtype=np.int64) * DAY_US
    assert Blocks.of(np.zeros(10, int), days).days == 1
    assert Blocks.of(np.zeros(50, int), np.arange(50, dtype=np.int64) * DAY_US).days == 7


def test_a_reference_without_error_in_some_draws_leaves_a_finite_interval() -> None:
    blocks = Blocks.of(np.repeat(np.arange(6), 4), np.tile(np.arange(4), 6) * DAY_US)
    theirs = np.zeros(24)
    theirs[0] = 1.0  # of many draws this one row is absent
    found = skill_interval(np.full(24, 0.01), theirs, blocks)
    assert np.isfinite([found.low, found.high]).all()
    assert isnan(skill_interval(np.ones(24), np.zeros(24), blocks).low)
