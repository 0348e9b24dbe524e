"""What past days, past stays and all assets tell an origin, each asked through its ``Window``.

What hangs on the origin alone is worked out once for all its targets; what all assets tell, once for each pair of
origin step and target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from plugcast.features.grid import STEPS_PER_DAY, UNKNOWN, LocalClock, Window

DAYS: Final = 84
"""Days looked back on."""
STAYS: Final = 40
"""Completed stays looked back on."""
PRIOR_DAYS: Final = 2.0
"""Weight of what a figure shrinks to, in past days."""
BACK: Final = np.arange(1, DAYS + 1)
WEEK, FORTNIGHT = 7, 14
SLOW, MIDDLE, QUICK, BY_WEEK, BY_FORTNIGHT = range(5)
DECAYS: Final = np.column_stack(
    [
        0.5 ** (BACK / 60.0),
        0.5 ** (BACK / 28.0),
        0.5 ** (BACK / 5.0),
        0.5 ** (BACK / 60.0) * (BACK % WEEK == 0),
        0.5 ** (BACK / 60.0) * (BACK % FORTNIGHT == 0),
    ]
).astype(np.float32)
"""Weight of each past day: half-lives of 60, 28 and 5 days; of 60 days on the same weekday alone, of every week and of
every other one (many sites work nine days a fortnight)."""


def distinct(*key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First row of each distinct key (all parts not negative), and for each row which of them it has."""
    code = np.zeros(len(key[0]), np.int64)
    for part in key:
        code = code * (int(part.max(initial=0)) + 1) + part
    _, first, place = np.unique(code, return_index=True, return_inverse=True)
    return first, place


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What is the same for all targets of an origin; the first axis, or for ``plugged`` the last, is origins."""

    now: np.ndarray
    age: np.ndarray
    same: np.ndarray
    """1 on past days on which the state at the origin's slot was as now. float32, shape (u, days)."""
    type_alike: np.ndarray
    """How alike each past day's type is to the origin's day."""
    age_alike: np.ndarray
    """How alike the time in that state was."""
    day_alike: np.ndarray
    """How alike the share plugged in over the 24 h before was."""
    plugged: np.ndarray
    """Share of the last 6 h, 24 h, 3, 7 and 28 days plugged in; shape (5, u)."""
    week_before: np.ndarray
    site: np.ndarray
    site_surprise: np.ndarray
    site_surprise_24h: np.ndarray
    days_known: np.ndarray
    stay_steps: np.ndarray
    """Length of the latest stays in the state of now, -1 where there are fewer; shape (u, STAYS)."""
    stay_lasted: np.ndarray
    """1 where one lasted as long as this one already has."""
    stay_near: np.ndarray
    """How near the hour of the day of its beginning was to this one's."""

    @classmethod
    def of(cls, window: Window, now: np.ndarray, age: np.ndarray, back: np.ndarray) -> Origin:
        """Ask a window whose origins are distinct."""
        clock, step = window.grid.clock, window.step
        at = np.minimum(same_slot_before(clock, step, back), step[:, None])
        ratio = np.log2((window.age(at) + np.float32(1)) / (age[:, None] + np.float32(1)))
        today = window.share(step - STEPS_PER_DAY + 1, step)[:, None]
        then = step[:, None] - back * STEPS_PER_DAY
        day_alike = np.exp(-np.abs(today - window.share(then - STEPS_PER_DAY + 1, then)) / 0.15)
        site, (lasted, near, length) = window.site(step), _past_stays(window, now, age)
        return cls(
            now=now,
            age=age,
            same=(window.state(at) == now[:, None]).astype(np.float32),
            type_alike=_alike(clock, step, back),
            age_alike=np.exp(-(ratio**2)).astype(np.float32),
            day_alike=np.nan_to_num(day_alike).astype(np.float32),
            plugged=np.array([window.share(step - steps + 1, step) for steps in (24, 96, 288, 672, 2688)]),
            week_before=_or_unknown(window.state(step - WEEK * STEPS_PER_DAY)),
            site=site,
            site_surprise=site - site_profile(window, step, back)[0],
            site_surprise_24h=window.site_surprise_24h(step),
            days_known=np.maximum(step - window.grid.first_known[window.asset], 0) / STEPS_PER_DAY,
            stay_steps=length,
            stay_lasted=lasted,
            stay_near=near,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PastDays:
    """Each of the last days of each row; arrays of shape (m, days), float32."""

    outcome: np.ndarray
    """Share plugged in around the target's slot; 0 where unknown or not yet resolved."""
    resolved: np.ndarray
    """1 where ``outcome`` counts."""
    target_alike: np.ndarray
    """How alike the type of the day is to the target's."""
    same: np.ndarray
    """1 where resolved and in the same state at the origin's slot as now."""
    same_type: np.ndarray
    """``same``, less where the days' types differ from those of origin and target."""
    age_alike: np.ndarray
    day_alike: np.ndarray

    @classmethod
    def of(cls, window: Window, target: np.ndarray, origin: Origin, place: np.ndarray, back: np.ndarray) -> PastDays:
        """Days of rows whose origins stand at ``place``."""
        clock = window.grid.clock
        first, which = distinct(target)
        at = same_slot_before(clock, target[first], back)[which]
        outcome = window.smooth(np.where(at + 2 <= window.step[:, None], at, -1))
        known = ~np.isnan(outcome)
        resolved = known.astype(np.float32)
        target_alike = _alike(clock, target[first], back)[which]
        same = resolved * origin.same[place]
        return cls(
            outcome=np.where(known, outcome, np.float32(0)),
            resolved=resolved,
            target_alike=target_alike,
            same=same,
            same_type=same * target_alike * origin.type_alike[place],
            age_alike=origin.age_alike[place],
            day_alike=origin.day_alike[place],
        )

    def totals(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted sums of the outcomes and of the weights, under each of the decays; two of shape (m, 5)."""
        decays = DECAYS[: weight.shape[1]]
        return (weight * self.outcome) @ decays, weight @ decays


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """What all assets tell about each row's origin and target; arrays of shape (m,)."""

    typed: np.ndarray
    """Chance at the target's slot, from days of its type."""
    weekday: np.ndarray
    fortnight: np.ndarray
    """From every other week alone."""
    same_state: np.ndarray
    """Of all assets in this state at the origin's slot of past days: the share plugged in as long after."""
    hour_of_week: np.ndarray
    weeks_before: np.ndarray
    """Share plugged in one and two weeks before the target; shape (2, m)."""

    @classmethod
    def of(cls, window: Window, target: np.ndarray, now: np.ndarray, back: np.ndarray) -> Pooled:
        """Ask once for each distinct origin step, target and state."""
        first, place = distinct(window.step, target, now)
        asked, aim = window.of(first), target[first]
        typed, weekday, fortnight = site_profile(asked, aim, back)
        weeks = same_slot_before(window.grid.clock, aim, np.array([WEEK, FORTNIGHT]))
        before = asked.site_smooth(np.where(weeks + 2 <= asked.step[:, None], weeks, -1))
        return cls(
            typed=typed[place],
            weekday=weekday[place],
            fortnight=fortnight[place],
            same_state=_moved(asked, aim, now[first], typed, back)[place],
            hour_of_week=_pooled_hour_of_week(asked, aim)[place],
            weeks_before=before.T[:, place],
        )


def same_slot_before(clock: LocalClock, step: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Steps of the same local slot some days before; -1 before the grid. Shape (len(step), len(days))."""
    day = clock.day[step][:, None] - days
    return np.where(day < 0, -1, clock.step_of[np.maximum(day, 0), clock.slot[step][:, None]])


_OTHER_TYPE: Final = 0.15
_OTHER_DAY_OFF: Final = 0.5


def _alike(clock: LocalClock, step: np.ndarray, back: np.ndarray) -> np.ndarray:
    """1 where a past day is of the same type, a half between Saturdays and days off, little else. (m, days)."""
    day = clock.day[step]
    mine, theirs = clock.day_type[day][:, None], clock.day_type[np.maximum(day[:, None] - back, 0)]
    free = (mine > 0) & (theirs > 0)
    return np.where(mine == theirs, 1.0, np.where(free, _OTHER_DAY_OFF, _OTHER_TYPE)).astype(np.float32)


def site_profile(window: Window, target: np.ndarray, back: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pooled chance at the target's slot, from all assets on past days resolved before the origin.

    Returns:
        From days of the target's type, from its weekday (shrunk to the former) and from its weekday of every other
        week (shrunk to the latter).
    """
    at = same_slot_before(window.grid.clock, target, back)
    seen = window.site_smooth(np.where(at + 2 <= window.step[:, None], at, -1))
    known = (~np.isnan(seen)).astype(np.float32)
    seen, decays = np.nan_to_num(seen), DECAYS[: len(back)]
    alike = known * _alike(window.grid.clock, target, back)
    typed = ((alike * seen) @ decays[:, SLOW] + 0.05) / (alike @ decays[:, SLOW] + 0.1)
    total, weight = (known * seen) @ decays, known @ decays
    weekday = (total[:, BY_WEEK] + 0.3 * typed) / (weight[:, BY_WEEK] + 0.3)
    return typed, weekday, (total[:, BY_FORTNIGHT] + 0.3 * weekday) / (weight[:, BY_FORTNIGHT] + 0.3)


def _moved(window: Window, target: np.ndarray, now: np.ndarray, site: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Of all assets in this state at this slot of past days: the share plugged in as long after."""
    lead, clock, decay = target - window.step, window.grid.clock, DECAYS[: len(back), MIDDLE]
    at = same_slot_before(clock, window.step, back)
    at = np.where(at + lead[:, None] <= window.step[:, None], at, -1)
    plugged, known = window.moved(at, lead, now)
    weight = _alike(clock, target, back) * _alike(clock, window.step, back)
    return np.asarray(((plugged * weight) @ decay + PRIOR_DAYS * site) / ((known * weight) @ decay + PRIOR_DAYS))


HOUR_OF_WEEK_PRIOR: Final = 2.0


def hour_of_week(window: Window, target: np.ndarray, pooled: np.ndarray) -> np.ndarray:
    """An asset's own frequency at this quarter hour of the week (within 30 min), shrunk to the pooled one by 2 weeks.

    All weeks before the origin count alike; both frequencies read only what was resolved at the origin. This is the
    one definition of climatology on a grid.
    """
    own = window.smooth(_weeks_before(window, target))
    total = np.nan_to_num(own).sum(axis=1) + HOUR_OF_WEEK_PRIOR * pooled
    return np.asarray(total / ((~np.isnan(own)).sum(axis=1) + HOUR_OF_WEEK_PRIOR))


def _pooled_hour_of_week(window: Window, target: np.ndarray) -> np.ndarray:
    pooled = window.site_smooth(_weeks_before(window, target))
    return np.asarray((np.nan_to_num(pooled).sum(axis=1) + 0.25) / ((~np.isnan(pooled)).sum(axis=1) + 0.5))


def _weeks_before(window: Window, target: np.ndarray) -> np.ndarray:
    """Steps of the target's time of the week in all weeks before, -1 where not resolved at the origin."""
    weeks = np.arange(7, int(window.step.max(initial=0)) // STEPS_PER_DAY + 15, 7)
    at = same_slot_before(window.grid.clock, target, weeks)
    return np.where(at + 2 <= window.step[:, None], at, -1)


def _past_stays(window: Window, now: np.ndarray, age: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the latest stays in the state of now: whether they lasted as long, nearness of their start, length."""
    clock = window.grid.clock
    out_start, out_length = window.sojourns(0, STAYS)
    in_start, in_length = window.sojourns(1, STAYS)
    plugged = (now == 1)[:, None]
    start, length = np.where(plugged, in_start, out_start), np.where(plugged, in_length, out_length)
    begun = clock.slot[window.step - age][:, None]
    distance = np.abs(clock.slot[np.maximum(start, 0)] - begun)
    distance = np.minimum(distance, STEPS_PER_DAY - distance)
    near = np.exp(-0.5 * (distance / 8.0) ** 2).astype(np.float32)
    return (length > age[:, None]).astype(np.float32), near, length


def _or_unknown(state: np.ndarray) -> np.ndarray:
    return np.where(state == UNKNOWN, np.nan, state)
