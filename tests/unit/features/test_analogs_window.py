from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.errors import LeakageError
from plugcast.features import analogs, past_days
from plugcast.features.grid import DAY_OFF, STEP_US, STEPS_PER_DAY, UNKNOWN, StateGrid, Window
from plugcast.features.grid_sources import from_samples, from_stays
from plugcast.features.holidays import is_day_off

if TYPE_CHECKING:
    from collections.abc import Callable

START_US = 1_551_398_400_000_000  # 2019-03-01 00:00 UTC; the clocks change within the weeks that follow
ZONE = "Europe/Oslo"


def random_grid(seed: int, *, assets: int = 3, days: int = 40, zone: str = ZONE) -> StateGrid:
    rng = np.random.default_rng(seed)
    steps = days * STEPS_PER_DAY
    state = np.zeros((assets, steps), np.int8)
    for row in state:
        turns = np.sort(rng.integers(0, steps, days * 2))
        row[:] = np.searchsorted(turns, np.arange(steps), side="right") % 2
        gap = rng.integers(0, steps - 200)
        row[gap : gap + rng.integers(0, 200)] = UNKNOWN
        row[: rng.integers(0, 10 * STEPS_PER_DAY)] = UNKNOWN
    return StateGrid(start_us=START_US, time_zone=zone, state=state)


def origins_of(grid: StateGrid, seed: int, number: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    asset, step = np.nonzero(grid.state != UNKNOWN)
    chosen = rng.choice(len(asset), number)
    return asset[chosen], step[chosen], step[chosen] + rng.integers(1, 193, number)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), later=st.integers(0, 2**32 - 1))
def test_another_future_moves_no_figure(seed: int, later: int) -> None:
    grid = random_grid(seed)
    asset, step, target = origins_of(grid, seed, number=8)
    origin = int(np.median(step))
    known = step <= origin
    state = grid.state.copy()
    state[:, origin + 1 :] = np.random.default_rng(later).integers(-1, 2, state[:, origin + 1 :].shape)
    other = StateGrid(start_us=grid.start_us, time_zone=grid.time_zone, state=state)
    np.testing.assert_array_equal(
        analogs.features(grid, asset[known], step[known], target[known]),
        analogs.features(other, asset[known], step[known], target[known]),
    )


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_one_origin_alone_gives_what_it_gives_in_a_batch(seed: int) -> None:
    grid = random_grid(seed)
    asset, step, target = origins_of(grid, seed, number=6)
    together = analogs.features(grid, asset, step, target)
    alone = np.vstack([analogs.features(grid, asset[i : i + 1], step[i : i + 1], target[i : i + 1]) for i in range(6)])
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)
    chances = together[:, : len(analogs.CHANCES)]
    assert ((chances >= 0) & (chances <= 1)).all()


def test_asking_past_the_origin_is_refused() -> None:
    grid = random_grid(1)
    origin_us = START_US + 20 * STEPS_PER_DAY * STEP_US
    window = grid.until(origin_us)
    now = window.step
    assert (window.state(now) == grid.state[:, 20 * STEPS_PER_DAY]).all()
    questions: list[Callable[[np.ndarray], np.ndarray]] = [
        window.state,
        window.age,
        window.site,
        window.site_surprise_24h,
        lambda step: window.share(step - 4, step),
    ]
    for ask in questions:
        ask(now)
        with pytest.raises(LeakageError, match="15 min past it"):
            ask(now + 1)
    for smoothed in (window.smooth, window.site_smooth):
        smoothed(now - 2)
        with pytest.raises(LeakageError):
            smoothed(now - 1)  # half an hour to either side would cross the origin
    with pytest.raises(LeakageError):
        window.moved(now[:, None] - 3, np.full(len(now), 4), np.ones(len(now), np.int64))


def test_an_unfinished_stay_is_not_yet_known_to_end() -> None:
    state = np.zeros((1, 400), np.int8)
    state[0, 100:200] = 1
    grid = StateGrid(start_us=START_US, time_zone="UTC", state=state)
    seen = [
        Window(grid=grid, asset=np.array([0]), step=np.array([step])).sojourns(1, 1)[1].item()
        for step in (150, 199, 200)
    ]
    assert seen == [-1, -1, 100]


def test_the_same_local_time_survives_the_change_of_clocks() -> None:
    grid = random_grid(3)
    clock = grid.clock
    step = np.array([35 * STEPS_PER_DAY + 11])
    before = past_days.same_slot_before(clock, step, np.arange(1, 31))[0]
    assert (clock.slot[before] == clock.slot[step]).all()
    assert (clock.day[step] - clock.day[before] == np.arange(1, 31)).all()
    assert len(set(np.diff(before))) == 2  # one of the days had 23 hours


def test_a_new_asset_gets_what_all_do() -> None:
    state = np.ones((5, 30 * STEPS_PER_DAY), np.int8)
    state[4, :-1] = UNKNOWN
    grid = StateGrid(start_us=START_US, time_zone="UTC", state=state)
    last = state.shape[1] - 1
    figures = analogs.features(grid, np.array([4]), np.array([last]), np.array([last + 40]))[0]
    named = dict(zip(analogs.COLUMNS, figures, strict=True))
    assert named["own_type"] == pytest.approx(named["site_type"])
    assert named["site_type"] > 0.95
    assert named["days_known"] == 0


def test_stays_and_samples_make_the_same_grid() -> None:
    hour = 3_600_000_000
    stays = pl.DataFrame(
        {
            "asset": ["a", "a", "b"],
            "arrival": [START_US + hour, START_US + 30 * hour, START_US + 2 * hour],
            "departure": [START_US + 5 * hour, None, START_US + 9 * hour],
        }
    ).with_columns(pl.col("arrival", "departure").cast(pl.Datetime("us", "UTC")))
    grid, names = from_stays(
        stays["asset"],
        stays["arrival"],
        stays["departure"],
        start_us=START_US,
        end_us=START_US + 40 * hour,
        time_zone="UTC",
    )
    assert names == ("a", "b")
    assert grid.state[0].tolist() == [UNKNOWN] * 4 + [1] * 16 + [0] * 100 + [UNKNOWN] * 40  # no end: nobody knows
    asset, step = np.nonzero(grid.state != UNKNOWN)
    again = from_samples(
        asset,
        START_US + step * STEP_US,
        START_US + step * STEP_US,
        grid.state[asset, step] == 1,
        assets=2,
        gap_limit_min=0.0,
        time_zone="UTC",
    )
    # the second grid begins and ends with its first and last sample
    np.testing.assert_array_equal(again.state, grid.state[:, 4:160])


def test_an_old_sample_tells_no_state() -> None:
    at_us = START_US + np.array([60, 12 * 3_600]) * 1_000_000
    grid = from_samples(
        np.zeros(2, np.int64),
        at_us,
        at_us,
        np.array([True, False]),
        assets=1,
        gap_limit_min=60.0,
        time_zone="UTC",
    )
    assert grid.state[0, :7].tolist() == [UNKNOWN, 1, 1, 1, 1, UNKNOWN, UNKNOWN]
    assert grid.state[0, -1] == 0


def test_a_sample_that_came_late_tells_the_state_from_when_it_was_known() -> None:
    taken_us = START_US + np.array([0, 3_600]) * 1_000_000
    grid = from_samples(
        np.zeros(2, np.int64),
        taken_us,
        taken_us + np.array([0, 1_800]) * 1_000_000,
        np.array([True, False]),
        assets=1,
        gap_limit_min=60.0,
        time_zone="UTC",
    )
    assert grid.state[0].tolist() == [1, 1, 1, 1, 1, UNKNOWN, 0]


@pytest.mark.parametrize(
    ("day", "zone", "off"),
    [
        (date(2019, 11, 28), "America/Los_Angeles", True),
        (date(2019, 12, 25), "America/Los_Angeles", True),
        (date(2021, 12, 24), "America/Los_Angeles", True),  # Christmas fell on a Saturday
        (date(2019, 7, 5), "America/Los_Angeles", False),
        (date(2019, 10, 14), "America/Los_Angeles", False),  # most people work on Columbus Day
        (date(2019, 12, 24), "America/Chicago", True),
        (date(2019, 9, 2), "America/New_York", True),
        (date(2019, 5, 27), "America/New_York", True),
        (date(2019, 5, 17), "Europe/Oslo", True),
        (date(2019, 4, 18), "Europe/Oslo", True),
        (date(2019, 6, 10), "Europe/Oslo", True),
        (date(2019, 12, 25), "UTC", False),
    ],
)
def test_public_holidays(day: date, zone: str, *, off: bool) -> None:
    assert is_day_off(day, zone) is off


def test_a_holiday_counts_as_a_sunday() -> None:
    grid = random_grid(5, days=60)
    day = (date(2019, 4, 18) - date(2019, 3, 1)).days
    assert grid.clock.day_type[day] == DAY_OFF
    assert grid.clock.weekday[day] == 3
