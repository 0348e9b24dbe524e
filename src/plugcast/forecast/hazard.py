"""How likely the plug state changes within the next quarter of an hour: a hazard that knows how long it has lasted.

A small LightGBM learns from the slots of a panel whether the state changes until the next one, from the state, the
time spent in it, the local clock and what the asset itself did at such times before; the effect of the state of charge
is added to its log odds. Since the time in a state enters in classes, all that can happen to an asset is one table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from plugcast.domain.units import HORIZON_SLOTS
from plugcast.errors import NoUsableRowsError
from plugcast.forecast.boosting import Boosting, Trees
from plugcast.forecast.panel import local_clock
from plugcast.forecast.slots import AGES, SOC_CLASSES, age_class, soc_class

if TYPE_CHECKING:
    from plugcast.forecast.slots import Slots

CLOCKS: Final = 48
"""Local hours of the day on working days, then on the weekend."""
SATURDAY: Final = 5
COLUMNS: Final = (
    "is_plugged_in",
    "age_class",
    "half_hour",
    "day_of_week",
    "own_plug_rate",
    "own_change_rate_clock",
    "own_change_rate_age",
    "own_change_rate",
    "recent_plug_rate",
    "recent_changes_per_day",
)
PRIOR_SLOTS: Final = 60.0
"""Weight of the pooled rates against an asset's own slots of the same kind."""
POOLED_PRIOR_SLOTS: Final = 10.0
DAY_SLOTS: Final = 96
RECENT_SLOTS: Final = 7 * DAY_SLOTS
FEWEST_CHANGES: Final = 20
SOC_PRIOR_CHANGES: Final = 10.0

Counts = tuple[np.ndarray, np.ndarray]
"""Slots spent somewhere, and changes of state out of them."""


def clock_bin(hour: np.ndarray, day: np.ndarray) -> np.ndarray:
    """0 to 23 on working days, 24 to 47 on Saturday and Sunday."""
    return np.asarray(np.floor(hour).astype(np.int64) + np.where(day >= SATURDAY, 24, 0))


class Habits:
    """How often assets were in a state and left it, by clock and by time in the state; strictly the past.

    Args:
        slots: All slots of a panel.
        time_zone: Local zone of the clock.

    Cost: O(n log n) to build, O(log n) a query. ``known`` in all queries is ``Slots.known_at`` of the origin, and
    arguments broadcast.
    """

    def __init__(self, slots: Slots, time_zone: str) -> None:
        hour, day = local_clock(slots.at_us, time_zone)
        self._entries = max(len(slots.asset), 1)
        state = slots.is_plugged_in.astype(np.int64)
        self._clock = self._index(slots, clock_bin(hour, day) * 2 + state, CLOCKS * 2)
        self._age = self._index(slots, age_class(slots.age_min) * 2 + state, AGES * 2)
        self._plugged = np.r_[0, np.cumsum(state)]
        self._changed = np.r_[0, np.cumsum(slots.switched)]
        self._first = np.full(int(slots.asset.max(initial=0)) + 1, len(slots.asset), np.int64)
        self._first[slots.asset] = slots.first_of_asset

    def _index(self, slots: Slots, key: np.ndarray, keys: int) -> tuple[np.ndarray, np.ndarray, int]:
        code = (slots.asset * keys + key) * self._entries + np.arange(len(slots.asset))
        code, changed = code[slots.resolved], slots.switched[slots.resolved]
        order = np.argsort(code, kind="stable")
        return code[order], np.r_[0, np.cumsum(changed[order])], keys

    def _count(
        self, index: tuple[np.ndarray, np.ndarray, int], asset: np.ndarray, known: np.ndarray, key: np.ndarray
    ) -> Counts:
        code, sums, keys = index
        first = (asset * keys + key) * self._entries
        low = np.searchsorted(code, first)
        high = np.searchsorted(code, first + np.maximum(known - 1, 0))  # the newest entry's future is not known
        return high - low, sums[high] - sums[low]

    def by_clock(self, asset: np.ndarray, known: np.ndarray, clock: np.ndarray, state: int) -> Counts:
        """In a state around a clock hour; the hours beside it count half."""
        spent, changed = np.zeros(1), np.zeros(1)
        for shift, weight in ((-1, 0.5), (0, 1.0), (1, 0.5)):
            beside = clock // 24 * 24 + (clock + shift) % 24
            more = self._count(self._clock, asset, known, beside * 2 + state)
            spent, changed = spent + weight * more[0], changed + weight * more[1]
        return spent, changed

    def by_age(self, asset: np.ndarray, known: np.ndarray, age: np.ndarray, state: np.ndarray) -> Counts:
        """In a state, at a class of time spent in it."""
        return self._count(self._age, asset, known, age * 2 + state)

    def lately(self, asset: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Share plugged in, and changes a day, over the last seven days."""
        first = np.minimum(self._first[asset], known)
        low = np.maximum(first, known - RECENT_SLOTS)
        slots = np.maximum(known - low, 1)
        rate = (self._plugged[known] - self._plugged[low]) / slots
        changed = self._changed[np.maximum(known - 1, low)] - self._changed[low]
        return rate, changed * DAY_SLOTS / np.maximum(slots, DAY_SLOTS)


class PooledRates(msgspec.Struct, frozen=True, kw_only=True):
    """Rates of all training slots, flattened: what an asset's own shrink to."""

    by_clock: tuple[float, ...]
    """Changes a slot; CLOCKS x 2 states."""
    by_age: tuple[float, ...]
    """Changes a slot; AGES x 2 states."""
    plugged: tuple[float, ...]
    """Share plugged in; CLOCKS."""

    @classmethod
    def fit(cls, slots: Slots, entry: np.ndarray, time_zone: str) -> PooledRates:
        """Pool some entries, all of them resolved."""
        hour, day = local_clock(slots.at_us[entry], time_zone)
        state, clock = slots.is_plugged_in[entry].astype(np.int64), clock_bin(hour, day)
        changed = slots.switched[entry].astype(float)
        return cls(
            by_clock=_rates(clock * 2 + state, changed, CLOCKS * 2),
            by_age=_rates(age_class(slots.age_min[entry]) * 2 + state, changed, AGES * 2),
            plugged=_rates(clock, state.astype(float), CLOCKS),
        )


def _rates(key: np.ndarray, hit: np.ndarray, keys: int) -> tuple[float, ...]:
    prior = POOLED_PRIOR_SLOTS
    rate = (np.bincount(key, hit, keys) + prior * float(hit.mean())) / (np.bincount(key, minlength=keys) + prior)
    return tuple(map(float, rate))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Origins, and what is asked about them; all arrays broadcast to one shape."""

    asset: np.ndarray
    known: np.ndarray
    hour: np.ndarray
    day: np.ndarray
    state: np.ndarray
    age: np.ndarray
    clock_counts: tuple[Counts, Counts]
    """Unplugged and plugged in, around the hour asked about."""
    age_counts: Counts


def features(habits: Habits, pooled: PooledRates, moment: Moment) -> np.ndarray:
    """Inputs of the hazard, float32, with a last axis of len(COLUMNS)."""
    state, age, clock = moment.state, moment.age, clock_bin(moment.hour, moment.day)
    away, home = moment.clock_counts
    spent, changed = (np.where(state == 1, home[part], away[part]) for part in (0, 1))
    both, usual = away[0] + home[0], np.array(pooled.by_clock)[clock * 2 + state]
    rate, changes = habits.lately(moment.asset, moment.known)
    columns = np.broadcast_arrays(
        state,
        age,
        np.floor(moment.hour * 2) / 2,
        moment.day,
        _shrunk((both, home[0]), np.array(pooled.plugged)[clock]),
        _shrunk((spent, changed), usual),
        _shrunk(moment.age_counts, np.array(pooled.by_age)[age * 2 + state]),
        _shrunk((both, away[1] + home[1]), usual),
        rate,
        changes,
    )
    return np.stack([column.astype(np.float32) for column in columns], axis=-1)


def _shrunk(counts: Counts, usual: np.ndarray) -> np.ndarray:
    return np.asarray((counts[1] + PRIOR_SLOTS * usual) / (counts[0] + PRIOR_SLOTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class HazardSpec:
    """What to train."""

    max_rows: int = 300_000
    seed: int = 42
    boosting: Boosting = field(
        default_factory=lambda: Boosting(rounds=50, leaves=15, learning_rate=0.08, min_leaf_rows=600)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazard:
    """Log odds of a change until the next slot."""

    booster: Trees
    pooled: PooledRates
    soc_shift: np.ndarray
    """Added to the log odds. Shape (2 states, SOC_CLASSES)."""
    rarity: float
    """Log of the share of slots without a change that training kept."""

    @classmethod
    def fit(cls, slots: Slots, entry: np.ndarray, time_zone: str, spec: HazardSpec) -> Hazard:
        """Learn from some resolved entries; habits are taken as old as they will be in use, up to 48 h.

        Raises:
            NoUsableRowsError: Hardly any state changes.
        """
        changes = int(slots.switched[entry].sum())
        if changes < FEWEST_CHANGES:
            raise NoUsableRowsError(
                f"Wanted at least {FEWEST_CHANGES} changes of plug state to learn trajectories from; found {changes}. "
                "Give a longer or denser telemetry file."
            )
        habits, pooled = Habits(slots, time_zone), PooledRates.fit(slots, entry, time_zone)
        still = entry[~slots.switched[entry]]
        step = max(1, -(-len(still) // max(spec.max_rows - changes, changes)))
        kept = np.sort(np.r_[entry[slots.switched[entry]], still[::step]])
        ago = np.exp(np.random.default_rng(spec.seed).uniform(0, np.log(HORIZON_SLOTS), len(kept)))
        known = np.maximum(kept + 2 - ago.astype(np.int64), slots.first_of_asset[kept])
        matrix = features(habits, pooled, _moment_of(slots, kept, known, habits, time_zone))
        target = slots.switched[kept].astype(float)
        booster = spec.boosting.fit(matrix, target, COLUMNS, objective="binary")
        raw = np.asarray(booster.predict(matrix, raw_score=True, num_threads=1))
        state = slots.is_plugged_in[kept].astype(np.int64)
        shift = _soc_shift(raw, target, state, slots.soc[kept])
        return cls(booster=booster, pooled=pooled, soc_shift=shift, rarity=-float(np.log(step)))

    def table(
        self, habits: Habits, asset: np.ndarray, known: np.ndarray, at_us: np.ndarray, time_zone: str
    ) -> np.ndarray:
        """Log odds over the horizons of some origins, without the effect of the state of charge.

        Args:
            habits: Of the panel at hand.
            asset: Asset codes. Shape (n,).
            known: ``Slots.known_at`` each origin. Shape (n,).
            at_us: Instants asked about. Shape (n, t).
            time_zone: Local zone.

        Returns:
            Shape (n, t, 2, AGES).
        """
        hour, day = (part.reshape(at_us.shape) for part in local_clock(at_us.ravel(), time_zone))
        place = clock_bin(hour, day)
        whose, when = asset[:, None], known[:, None]
        by_clock = [habits.by_clock(whose, when, np.arange(CLOCKS), state) for state in (0, 1)]
        wide = [tuple(np.take_along_axis(part, place, axis=1)[:, :, None, None] for part in one) for one in by_clock]
        state, age = np.arange(2)[:, None], np.arange(AGES)
        by_age = habits.by_age(asset[:, None, None], known[:, None, None], age, state)
        moment = Moment(
            asset=asset[:, None, None, None],
            known=known[:, None, None, None],
            hour=hour[:, :, None, None],
            day=day[:, :, None, None],
            state=state,
            age=age,
            clock_counts=((wide[0][0], wide[0][1]), (wide[1][0], wide[1][1])),
            age_counts=(by_age[0][:, None], by_age[1][:, None]),
        )
        matrix = features(habits, self.pooled, moment)
        raw = np.asarray(self.booster.predict(matrix.reshape(-1, len(COLUMNS)), raw_score=True, num_threads=1))
        return np.asarray((raw + self.rarity).reshape(*at_us.shape, 2, AGES))


def _moment_of(slots: Slots, entry: np.ndarray, known: np.ndarray, habits: Habits, time_zone: str) -> Moment:
    hour, day = local_clock(slots.at_us[entry], time_zone)
    asset, state = slots.asset[entry], slots.is_plugged_in[entry].astype(np.int64)
    age, clock = age_class(slots.age_min[entry]), clock_bin(hour, day)
    return Moment(
        asset=asset,
        known=known,
        hour=hour,
        day=day,
        state=state,
        age=age,
        clock_counts=(habits.by_clock(asset, known, clock, 0), habits.by_clock(asset, known, clock, 1)),
        age_counts=habits.by_age(asset, known, age, state),
    )


def _soc_shift(raw: np.ndarray, target: np.ndarray, state: np.ndarray, soc: np.ndarray) -> np.ndarray:
    """An offset for each state and class of charge by Newton's method, held back as by ten changes; unknown: none."""
    shift = np.zeros((2, SOC_CLASSES))
    place = soc_class(soc)
    for which in (0, 1):
        for number in range(SOC_CLASSES - 1):
            mine = (state == which) & (place == number)
            for _ in range(8 if mine.any() else 0):
                chance = 1 / (1 + np.exp(-(raw[mine] + shift[which, number])))
                slope = float((target[mine] - chance).sum()) - SOC_PRIOR_CHANGES * shift[which, number]
                bend = float((chance * (1 - chance)).sum()) + SOC_PRIOR_CHANGES
                shift[which, number] += np.clip(slope / bend, -1, 1)
    return shift
