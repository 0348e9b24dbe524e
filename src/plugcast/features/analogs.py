"""What happened on past days from the same state at the same clock time, and kindred questions, per origin and lead.

Every figure is read through a ``Window``, so nothing after the origin can enter it. An analog is the same local slot of
a past day with the same state as now; its outcome counts only where it was resolved before the origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.features.grid import Window
from plugcast.features.past_days import (
    BACK,
    BY_FORTNIGHT,
    BY_WEEK,
    DAYS,
    FORTNIGHT,
    MIDDLE,
    PRIOR_DAYS,
    QUICK,
    SLOW,
    WEEK,
    Origin,
    PastDays,
    Pooled,
    distinct,
    hour_of_week,
)

if TYPE_CHECKING:
    from plugcast.features.grid import StateGrid

CHUNK: Final = 20_000

CHANCES: Final = (
    "own_hour_of_week",
    "site_type",
    "site_weekday",
    "site_fortnight",
    "site_same_state",
    "own_all",
    "own_type",
    "own_weekday",
    "own_fortnight",
    "own_recent",
    "same_state",
    "same_state_recent",
    "same_state_type",
    "same_state_weekday",
    "same_state_age",
    "same_state_day",
    "stay_goes_on",
    "stay_goes_on_clock",
)
"""Estimates of the chance to be plugged in at the target, in (0, 1); the linear model takes their log-odds."""
CONTEXT: Final = (
    "same_state_days",
    "same_state_type_days",
    "stays",
    "stay_rank",
    "state",
    "log_steps_in_state",
    "hours_of_lead",
    "slot",
    "target_slot",
    "target_weekday",
    "target_day_type",
    "plugged_6h",
    "plugged_24h",
    "plugged_3d",
    "plugged_7d",
    "plugged_28d",
    "one_day_before_target",
    "two_days_before_target",
    "week_before_target",
    "fortnight_before_target",
    "week_before_now",
    "site_now",
    "site_surprise",
    "site_surprise_24h",
    "site_week_before_target",
    "site_fortnight_before_target",
    "days_known",
)
COLUMNS: Final = (*CHANCES, *CONTEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """The state at origins that lie between two steps of the grid, where it is known better than from the step."""

    state: np.ndarray
    """1 or 0; shape (m,)."""
    steps_in_state: np.ndarray
    """Whole steps since it began; shape (m,)."""


def features(
    grid: StateGrid, asset: np.ndarray, step: np.ndarray, target: np.ndarray, *, now: Now | None = None
) -> np.ndarray:
    """Figures for origins and targets.

    What hangs on the origin alone is worked out once for all its targets, if they stand together; what all assets tell,
    once for each pair of origin step and target.

    Args:
        grid: States; those after an origin are not read.
        asset: Row of the grid. Shape (m,).
        step: Origins, at which the state is known. Shape (m,).
        target: Steps after the origins, no further than the grid's clock. Shape (m,).
        now: The state now, if not that of the step.

    Returns:
        float32, shape (m, len(COLUMNS)); NaN where there is nothing to say.
    """
    result = np.empty((len(asset), len(COLUMNS)), np.float32)
    for low in range(0, len(asset), CHUNK):
        part = slice(low, low + CHUNK)
        window = Window(grid=grid, asset=asset[part], step=step[part])
        if now is None:
            state, age = window.state(window.step), window.age(window.step)
        else:
            state, age = now.state[part], now.steps_in_state[part]
        result[part] = _features(window, target[part], state, np.minimum(age, window.step))
    return result


def _features(window: Window, target: np.ndarray, now: np.ndarray, age: np.ndarray) -> np.ndarray:
    clock = window.grid.clock
    # no figure looks back beyond the first day of the grid
    back = BACK[: min(DAYS, max(FORTNIGHT, int(clock.day[target].max(initial=0))))]
    first, place = distinct(window.asset, window.step, now, age)
    origin = Origin.of(window.of(first), now[first], age[first], back)
    past = PastDays.of(window, target, origin, place, back)
    pooled = Pooled.of(window, target, now, back)
    chances, counts = _chances(past, pooled)
    going_on, stays, rank = _stays(window, target, origin, place)
    day = clock.day[target]
    context = [
        *counts,
        stays,
        rank,
        now,
        np.log1p(age),
        (target - window.step) / 4.0,
        clock.slot[window.step],
        clock.slot[target],
        clock.weekday[day],
        clock.day_type[day],
        *origin.plugged[:, place],
        *[_or_nan(past.outcome[:, days - 1], past.resolved[:, days - 1]) for days in (1, 2, WEEK, FORTNIGHT)],
        origin.week_before[place],
        origin.site[place],
        origin.site_surprise[place],
        origin.site_surprise_24h[place],
        *pooled.weeks_before,
        origin.days_known[place],
    ]
    own = hour_of_week(window, target, pooled.hour_of_week)
    return np.column_stack([own, *chances, *going_on, *context]).astype(np.float32)


def _chances(past: PastDays, pooled: Pooled) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Shrunken weighted means, each towards a plainer one, and the weight behind two of them."""
    site = pooled.typed
    seen = past.totals(past.resolved)
    alike = past.totals(past.resolved * past.target_alike)
    same = past.totals(past.same)
    typed = past.totals(past.same_type)
    aged = past.totals(past.same_type * past.age_alike)
    daylike = past.totals(past.same_type * past.day_alike)
    own_all = _mean(seen, MIDDLE, site, PRIOR_DAYS)
    own_type = _mean(alike, MIDDLE, site, PRIOR_DAYS)
    own_weekday = _mean(seen, BY_WEEK, own_type, 1.0)
    any_day = _mean(same, MIDDLE, _combined(own_type, pooled.same_state, site), PRIOR_DAYS)
    same_type = _mean(typed, MIDDLE, any_day, 1.0)
    return [
        site,
        pooled.weekday,
        pooled.fortnight,
        pooled.same_state,
        own_all,
        own_type,
        own_weekday,
        _mean(seen, BY_FORTNIGHT, own_weekday, 1.0),
        _mean(alike, QUICK, own_type, 1.0),
        any_day,
        _mean(same, QUICK, any_day, 1.0),
        same_type,
        _mean(same, BY_WEEK, same_type, 1.0),
        _mean(aged, SLOW, same_type, 1.0),
        _mean(daylike, SLOW, same_type, 1.0),
    ], [same[1][:, MIDDLE], typed[1][:, MIDDLE]]


def _mean(totals: tuple[np.ndarray, np.ndarray], decay: int, towards: np.ndarray, prior: float) -> np.ndarray:
    """Weighted mean under a decay, shrunk towards another chance by ``prior`` days."""
    return np.asarray((totals[0][:, decay] + prior * towards) / (totals[1][:, decay] + prior))


def _combined(own: np.ndarray, moved: np.ndarray, site: np.ndarray) -> np.ndarray:
    """The own chance, its odds changed as those of all assets are by the state that holds now."""
    odds = _odds(own) * _odds(moved) / _odds(site)
    return np.asarray(odds / (1.0 + odds))


def _odds(chance: np.ndarray) -> np.ndarray:
    held = np.clip(chance, 0.002, 0.998)
    return np.asarray(held / (1.0 - held))


def _stays(
    window: Window, target: np.ndarray, origin: Origin, place: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Of past stays in this state that lasted as long as this one already has, which share outlasted the target.

    Returns:
        Two chances of being plugged in (all stays; those begun at a like hour of the day), the number of stays that
        lasted as long, and the share that did not.
    """
    needed = origin.age[place] + (target - window.step)
    outlasted = (origin.stay_steps[place] > needed[:, None]).astype(np.float32)
    plugged = origin.now[place] == 1
    chances, towards = [], np.full(len(place), 0.5)
    for weight in (np.ones_like(origin.stay_near), origin.stay_near):
        count = (origin.stay_lasted * weight).sum(axis=1)[place]
        towards = (np.einsum("ij,ij->i", outlasted, weight[place]) + towards) / (count + 1.0)
        chances.append(np.where(plugged, towards, 1.0 - towards))
    number, known = origin.stay_lasted.sum(axis=1), (origin.stay_steps >= 0).sum(axis=1)
    rank = np.where(known > 0, 1.0 - number / np.maximum(known, 1), np.nan)
    return chances, number[place], rank[place]


def _or_nan(value: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.where(known > 0, value, np.nan)
