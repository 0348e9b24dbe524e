"""The features of many assets, batch by batch: the columnar twin of ``features.online``, to the same bits.

A batch goes through the C kernel where it was built. Without it, it is taken in rounds, the k-th sample of every asset
in round k, so that a round is a handful of array operations however many assets it has: the same bits, more slowly.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.features.asset_slots import COUNTS, DAYS, HOURS, AssetSlots
from plugcast.features.history import MILLI, STRIDE, Past, same_day_type
from plugcast.features.spec import HOUR_BINS
from plugcast.features.zone_clock import ZoneClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from plugcast.features.spec import FeatureSpec

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

_US_IN_MINUTE: Final = 60_000_000
_ALIKE: Final = same_day_type(np.arange(HOUR_BINS))
"""(168, 5): the hours of the week that count as alike; 168 is the hour that no sample has."""


def _built() -> Any:  # noqa: ANN401 - a C function, there or not
    """The kernel; None where no compiler was at installation, or where it is switched off."""
    if os.environ.get("PLUGCAST_NO_KERNEL"):
        return None
    try:
        return import_module("plugcast.features._fold").fold
    except ImportError:
        return None


KERNEL: Final = _built()
KERNEL_ORDER: Final = (
    "soc",
    "soc_delta",
    "soc_lag_1",
    "soc_lag_2",
    "soc_lag_3",
    "minutes_since_previous",
    "is_plugged_in",
    "minutes_in_state",
    "hour",
    "day_of_week",
    "power_kw",
    "capacity_kwh",
)
"""The features as the kernel numbers them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """A batch of samples in order of arrival; every array has shape (n,)."""

    slot: Ints
    at_us: Ints
    soc: Floats
    """%, NaN where unknown."""
    is_plugged_in: Bools
    power_kw: Floats
    capacity_kwh: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """What a batch comes to."""

    taken: Bools
    """(n,) False where a sample was late: not newer than the newest taken of its asset."""
    rows: NDArray[np.float32]
    """(n, features) in the spec's order; undefined where not taken."""
    same_hour: Past
    """Strictly before each sample, at the hour of the week that was asked for."""
    same_type: Past
    """The same at that clock hour on all days of the same type."""
    ended_pages: Ints
    """(m,) slot * 7 + day of the week of the pages of counts that have an hour that is over now, each once."""


class OnlineMany:
    """Folds the samples of many assets into feature rows.

    A sample costs some 0.2 us in the kernel; without it a batch costs some 0.2 ms for each round.

    >>> from plugcast.features.spec import FeatureSpec
    >>> fold = OnlineMany(FeatureSpec())
    >>> slot = np.full(2, fold.slots.take())
    >>> at = np.full(2, 1_772_436_600_000_000)  # 2 March 2026, 7:30: twice the same sample
    >>> nothing = np.full(2, np.nan)
    >>> batch = Columns(slot=slot, at_us=at, soc=nothing, is_plugged_in=np.ones(2, bool), power_kw=nothing,
    ...                 capacity_kwh=nothing)
    >>> folded = fold.push(batch, np.zeros(2, np.int64))
    >>> folded.taken.tolist(), folded.rows[0, 8:10].tolist()
    ([True, False], [7.5, 0.0])
    """

    def __init__(self, spec: FeatureSpec, *, kernel: bool = True) -> None:
        self.spec = spec
        self._kernel: Any = KERNEL if kernel else None
        self.clock = ZoneClock(spec.time_zone)
        self.slots = AssetSlots()
        self._place = {name: index for index, name in enumerate(spec.columns)}
        self._kernel_place = np.array([self._place[name] for name in KERNEL_ORDER], np.int64)

    def push(self, batch: Columns, asked_hour: Ints) -> Folded:
        """Take a batch.

        Args:
            batch: Samples of slots that were taken.
            asked_hour: Local hour of the week, 0 to 167, at which each sample's past is asked for. Shape (n,).
        """
        n = len(batch.slot)
        hour, day = self.clock.local(batch.at_us)
        work = _Work(
            batch=batch,
            hour=hour,
            day=day,
            hour_of_week=day * HOURS + hour.astype(np.int64),
            asked=asked_hour,
            taken=np.ones(n, bool),
            rows=np.empty((n, len(self._place)), np.float32),
            own=np.zeros((n, COUNTS), np.int64),
            alike=np.zeros((n, COUNTS), np.int64),
        )
        ended = self._in_kernel(work) if self._kernel else [self._round(part, work) for part in _rounds(batch.slot)]
        return Folded(
            taken=work.taken,
            rows=work.rows,
            same_hour=_past(work.own),
            same_type=_past(work.alike),
            ended_pages=np.unique(np.concatenate(ended)) if ended else np.zeros(0, np.int64),
        )

    def _in_kernel(self, work: _Work) -> list[Ints]:
        """All of the batch at once."""
        state, batch = self.slots, work.batch
        ended = np.empty(len(batch.slot), np.int64)
        count = self._kernel(
            (
                state.newest_us,
                state.run_start_us,
                state.segment,
                state.was_plugged,
                state.soc,
                state.hour,
                state.counts,
            ),
            (
                batch.slot,
                batch.at_us,
                batch.soc,
                batch.is_plugged_in,
                batch.power_kw,
                batch.capacity_kwh,
                work.hour,
                work.day,
                work.hour_of_week,
                work.asked,
            ),
            (work.taken, work.rows, work.own, work.alike, ended, self._kernel_place),
            self.spec.gap_limit_min,
        )
        return [ended[:count]]

    def _round(self, chosen: Ints, work: _Work) -> Ints:
        """At most one sample of each asset; returns the pages whose hour it ended."""
        batch, state = work.batch, self.slots
        slot, at = batch.slot[chosen], batch.at_us[chosen]
        fresh = at > state.newest_us[slot]
        if not fresh.all():
            work.taken[chosen[~fresh]] = False
            chosen, slot, at = chosen[fresh], slot[fresh], at[fresh]
        before = state.hour[slot]
        seen = before >= 0
        self._count(slot, before, seen)
        soc, plugged, now = batch.soc[chosen], batch.is_plugged_in[chosen], work.hour_of_week[chosen]
        minutes = np.where(seen, (at - state.newest_us[slot]) / _US_IN_MINUTE, np.nan)
        gap = minutes > self.spec.gap_limit_min
        lags = state.soc[:, slot]
        lags[:, gap] = np.nan
        turned = ~seen | gap | (state.was_plugged[slot] != plugged)
        run_start = np.where(turned, at, state.run_start_us[slot])
        self._write(
            work.rows,
            chosen,
            soc=soc,
            soc_delta=soc - lags[0],
            soc_lag_1=lags[0],
            soc_lag_2=lags[1],
            soc_lag_3=lags[2],
            minutes_since_previous=minutes,
            is_plugged_in=plugged,
            minutes_in_state=(at - run_start) / _US_IN_MINUTE,
            hour=work.hour[chosen],
            day_of_week=work.day[chosen],
            power_kw=batch.power_kw[chosen],
            capacity_kwh=batch.capacity_kwh[chosen],
        )
        state.newest_us[slot], state.run_start_us[slot], state.was_plugged[slot] = at, run_start, plugged
        state.soc[0, slot], state.soc[1, slot], state.soc[2, slot] = soc, lags[0], lags[1]
        state.segment[slot] += gap
        state.hour[slot] = now
        asked = work.asked[chosen]
        work.own[chosen] = state.counts[slot * STRIDE + asked]
        work.alike[chosen] = state.counts[(slot * STRIDE)[:, None] + _ALIKE[asked]].sum(axis=1)
        moved = seen & (before != now)
        return np.asarray(slot[moved] * DAYS + before[moved] // HOURS)

    def _write(self, rows: NDArray[np.float32], chosen: Ints, **columns: NDArray[np.generic]) -> None:
        for name, values in columns.items():
            rows[chosen, self._place[name]] = values

    def _count(self, slot: Ints, hour: Ints, seen: Bools) -> None:
        """The newest sample of each asset becomes part of its past."""
        state = self.slots
        soc = state.soc[0, slot]
        known = seen & ~np.isnan(soc)
        counted = np.empty((len(slot), COUNTS), np.int64)
        counted[:, 0] = seen
        counted[:, 1] = seen & state.was_plugged[slot]
        counted[:, 2] = known
        counted[:, 3] = np.rint(np.where(known, soc, 0.0) * MILLI)
        state.counts[slot * STRIDE + np.maximum(hour, 0)] += counted


@dataclass(slots=True, kw_only=True)
class _Work:
    """A batch as it is being folded."""

    batch: Columns
    hour: Floats
    day: Ints
    hour_of_week: Ints
    asked: Ints
    taken: Bools
    rows: NDArray[np.float32]
    own: Ints
    alike: Ints


def _past(counts: Ints) -> Past:
    return Past(samples=counts[:, 0], plugged=counts[:, 1], with_soc=counts[:, 2], soc_milli=counts[:, 3])


def _rounds(slot: Ints) -> Iterator[Ints]:
    """Places of the first sample of every asset, then of the second, and so on; in order of arrival within each."""
    n = len(slot)
    if not n:
        return
    order = np.argsort(slot, kind="stable")
    found = slot[order]
    first = np.r_[True, found[1:] != found[:-1]]
    if first.all():
        yield np.arange(n)
        return
    number = np.arange(n)
    rank = np.empty(n, np.int64)
    rank[order] = number - np.maximum.accumulate(np.where(first, number, 0))
    by_rank = np.argsort(rank, kind="stable")
    yield from np.split(by_rank, np.cumsum(np.bincount(rank))[:-1])
