"""Plug states of many assets on one regular grid, asked only for what was known at an origin.

The grid knows the local clock of each step, so that "the same time on another day" survives the change of clocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl

from plugcast.domain.units import SLOT_MIN
from plugcast.errors import LeakageError
from plugcast.features.holidays import is_day_off

UNKNOWN: Final = -1
STEPS_PER_DAY: Final = 1_440 // SLOT_MIN
STEP_US: Final = SLOT_MIN * 60_000_000
WORKDAY, SATURDAY, DAY_OFF = 0, 1, 2
SMOOTHING_STEPS: Final = 2
"""Half an hour to either side."""
SURPRISE_DAYS: Final = 42
"""Days that a day is compared with."""
AHEAD_DAYS: Final = 3
"""The clock runs on beyond the last step, so that targets have a local time."""
_EPOCH: Final = date(1970, 1, 1)
_WEEKDAY_SATURDAY, _WEEKDAY_SUNDAY = 5, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalClock:
    """Local day and slot of each step of a grid, and back."""

    day: np.ndarray
    """Days since the first one; shape (steps,)."""
    slot: np.ndarray
    """Quarter of an hour of the local day, 0 .. 95; shape (steps,)."""
    step_of: np.ndarray
    """Step at which a local slot of a day begins, -1 before the grid; shape (days, 96)."""
    weekday: np.ndarray
    """Monday = 0; shape (days,)."""
    day_type: np.ndarray
    """WORKDAY, SATURDAY or DAY_OFF (Sundays and public holidays); shape (days,)."""

    @classmethod
    def of(cls, start_us: int, steps: int, time_zone: str) -> LocalClock:
        """Of a grid that begins at an instant."""
        at = pl.Series(start_us + np.arange(steps, dtype=np.int64) * STEP_US).cast(pl.Datetime("us", "UTC"))
        local = at.dt.convert_time_zone(time_zone).dt
        epoch_day = local.date().to_physical().to_numpy().astype(np.int64)
        slot = ((local.hour().cast(pl.Int64) * 60 + local.minute().cast(pl.Int64)) // SLOT_MIN).to_numpy()
        first = int(epoch_day[0])
        day = epoch_day - first
        days = int(day[-1]) + 1
        # a slot that a clock change skips takes the next one's step; one that comes twice, its first
        code = np.maximum.accumulate(day * STEPS_PER_DAY + slot)
        wanted = np.arange(days * STEPS_PER_DAY)
        step_of = np.where(wanted < code[0], -1, np.searchsorted(code, wanted)).reshape(days, STEPS_PER_DAY)
        dates = [_EPOCH + timedelta(first + number) for number in range(days)]
        weekday = np.array([each.weekday() for each in dates], np.int64)
        off = np.array([is_day_off(each, time_zone) for each in dates], bool) | (weekday == _WEEKDAY_SUNDAY)
        kind = np.where(off, DAY_OFF, np.where(weekday == _WEEKDAY_SATURDAY, SATURDAY, WORKDAY))
        return cls(day=day, slot=slot, step_of=step_of, weekday=weekday, day_type=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sojourns:
    """Completed stays in one state, ordered by asset and end."""

    code: np.ndarray
    """asset * (steps + 1) + end, increasing."""
    first: np.ndarray
    """Index of each asset's first; shape (assets + 1,)."""
    start: np.ndarray
    length: np.ndarray
    """Steps."""


@dataclass(frozen=True, kw_only=True)
class StateGrid:
    """States of assets at steps of a quarter of an hour; memory: about 10 bytes an asset and step."""

    start_us: int
    time_zone: str
    state: np.ndarray
    """1 plugged in, 0 not, UNKNOWN; int8, shape (assets, steps)."""

    @property
    def steps(self) -> int:
        """How many."""
        return int(self.state.shape[1])

    @cached_property
    def clock(self) -> LocalClock:
        """Local time of each step and of some days beyond the last."""
        return LocalClock.of(self.start_us, self.steps + AHEAD_DAYS * STEPS_PER_DAY, self.time_zone)

    @cached_property
    def run_start(self) -> np.ndarray:
        """Step at which the state that holds at each step began; int32, shape of ``state``."""
        turned = np.ones(self.state.shape, bool)
        turned[:, 1:] = self.state[:, 1:] != self.state[:, :-1]
        return np.asarray(np.maximum.accumulate(np.where(turned, np.arange(self.steps, dtype=np.int32), 0), axis=1))

    @cached_property
    def total(self) -> np.ndarray:
        """Plugged steps (first) and known steps (second) before each step; int32, shape (2, assets, steps + 1)."""
        sums = np.zeros((2, self.state.shape[0], self.steps + 1), np.int32)
        np.cumsum(self.state == 1, axis=1, out=sums[0, :, 1:])
        np.cumsum(self.state != UNKNOWN, axis=1, out=sums[1, :, 1:])
        return sums

    @cached_property
    def smooth(self) -> np.ndarray:
        """Share plugged in from half an hour before to half an hour after; NaN where unknown. float32."""
        return _centred(self.total[0], self.total[1], self.state)

    @cached_property
    def site(self) -> np.ndarray:
        """Share of the known assets that are plugged in, at each step; NaN where there are none. float32."""
        known = (self.state != UNKNOWN).sum(axis=0)
        return np.where(known > 0, (self.state == 1).sum(axis=0) / np.maximum(known, 1), np.nan).astype(np.float32)

    @cached_property
    def site_smooth(self) -> np.ndarray:
        """``site`` from half an hour before to half an hour after; NaN where unknown. float32."""
        known = ~np.isnan(self.site)
        plugged = np.concatenate([[0.0], np.cumsum(np.where(known, self.site, 0.0), dtype=np.float64)])
        smooth = _centred(
            plugged[None, :], np.concatenate([[0], np.cumsum(known)])[None, :], np.where(known, 0, UNKNOWN)[None, :]
        )
        return np.asarray(smooth[0])

    @cached_property
    def site_surprise_24h(self) -> np.ndarray:
        """At each step: mean over the last 24 h of how far the share plugged in lay above that of like days before.

        NaN where nothing is known. float32. A holiday or a closed site shows here when the calendar does not know it.
        """
        clock, steps = self.clock, np.arange(self.steps)
        total, weight = np.zeros(self.steps), np.zeros(self.steps)
        for back in range(1, SURPRISE_DAYS + 1):
            day = clock.day[: self.steps] - back
            at = np.where(day < 0, -1, clock.step_of[np.maximum(day, 0), clock.slot[: self.steps]])
            alike = clock.day_type[np.maximum(day, 0)] == clock.day_type[clock.day[: self.steps]]
            # its smoothing looks half an hour ahead, and a clock change may bring it nearer than a day
            usable = (at >= 0) & (at + SMOOTHING_STEPS <= steps) & alike
            share = np.where(usable, self.site_smooth[np.maximum(at, 0)], np.nan)
            known = ~np.isnan(share)
            total[known] += 0.5 ** (back / 28.0) * share[known]
            weight[known] += 0.5 ** (back / 28.0)
        above = np.where(weight > 0, self.site - total / np.maximum(weight, 1e-9), np.nan)
        known = ~np.isnan(above)
        sums = np.concatenate([[0.0], np.cumsum(np.where(known, above, 0.0))])
        number = np.concatenate([[0], np.cumsum(known)])
        low = np.maximum(steps + 1 - STEPS_PER_DAY, 0)
        seen = number[steps + 1] - number[low]
        mean = (sums[steps + 1] - sums[low]) / np.maximum(seen, 1)
        return np.where(seen > 0, mean, np.nan).astype(np.float32)

    @cached_property
    def first_known(self) -> np.ndarray:
        """Each asset's first known step; ``steps`` where there is none."""
        known = self.state != UNKNOWN
        return np.where(known.any(axis=1), known.argmax(axis=1), self.steps)

    @cached_property
    def sojourns(self) -> tuple[Sojourns, Sojourns]:
        """Completed stays unplugged and plugged in; those with an unknown end or beginning are left out."""
        asset, step = np.nonzero(np.diff(self.state, axis=1))
        step = step + 1
        begun = np.concatenate([[0], np.flatnonzero(np.diff(asset)) + 1]) if len(asset) else np.zeros(0, np.int64)
        start = np.concatenate([[0], step[:-1]])
        start[begun] = 0
        before = self.state[asset, step - 1]
        bounded = (start > 0) & (self.state[asset, step] != UNKNOWN)
        bounded &= self.state[asset, np.maximum(start - 1, 0)] != UNKNOWN
        kept = [bounded & (before == value) for value in (0, 1)]
        return self._sojourns(asset, start, step, kept[0]), self._sojourns(asset, start, step, kept[1])

    def _sojourns(self, asset: np.ndarray, start: np.ndarray, end: np.ndarray, kept: np.ndarray) -> Sojourns:
        mine = asset[kept]
        return Sojourns(
            code=mine.astype(np.int64) * (self.steps + 1) + end[kept],
            first=np.searchsorted(mine, np.arange(self.state.shape[0] + 1)),
            start=start[kept],
            length=(end - start)[kept],
        )

    def moved(self, lead: int) -> np.ndarray:
        """Of the assets free (row 0) or plugged in (row 1) at a step, the numbers plugged in and known a lead later.

        Shape (2, 2, steps), float32; 0 where the later step is beyond the grid. Kept for each lead that was asked.
        """
        if lead not in self._moved:
            counts = np.zeros((2, 2, self.steps), np.float32)
            before, after = self.state[:, : max(self.steps - lead, 0)], self.state[:, lead:]
            for value in (0, 1):
                mine = before == value
                counts[value, 0, : before.shape[1]] = (mine & (after == 1)).sum(axis=0)
                counts[value, 1, : before.shape[1]] = (mine & (after != UNKNOWN)).sum(axis=0)
            self._moved[lead] = counts
        return self._moved[lead]

    @cached_property
    def _moved(self) -> dict[int, np.ndarray]:
        return {}

    def step_at(self, instant_us: np.ndarray) -> np.ndarray:
        """The step that holds at instants: the last one that is not after them."""
        return np.asarray((np.asarray(instant_us, np.int64) - self.start_us) // STEP_US)

    def until(self, origin_us: int) -> Window:
        """What was known of every asset at one origin."""
        assets = np.arange(self.state.shape[0])
        return Window(grid=self, asset=assets, step=np.full(len(assets), int(self.step_at(np.array(origin_us)))))


def _centred(plugged: np.ndarray, known: np.ndarray, state: np.ndarray) -> np.ndarray:
    steps = state.shape[1]
    low = np.maximum(np.arange(steps) - SMOOTHING_STEPS, 0)
    high = np.minimum(np.arange(steps) + SMOOTHING_STEPS + 1, steps)
    number = known[:, high] - known[:, low]
    share = (plugged[:, high] - plugged[:, low]).astype(np.float32) / np.maximum(number, 1).astype(np.float32)
    share[state == UNKNOWN] = np.nan
    return np.asarray(share, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A grid that ends at an origin, for each of some origins; every question is checked.

    Every ``step`` argument has shape (m,) or (m, k); a negative step is before the grid: unknown.

    Raises:
        LeakageError: A step lies past its origin.
    """

    grid: StateGrid
    asset: np.ndarray
    """Shape (m,)."""
    step: np.ndarray
    """Origins; shape (m,)."""

    def of(self, row: np.ndarray) -> Window:
        """Some of the origins."""
        return Window(grid=self.grid, asset=self.asset[row], step=self.step[row])

    def _guard(self, step: np.ndarray, margin: int = 0) -> None:
        limit = self.step if step.ndim == 1 else self.step[:, None]
        if ((step >= 0) & (step + margin > limit)).any():
            late = int((step + margin - limit).max()) * SLOT_MIN
            raise LeakageError(
                f"Wanted what was known at the origin; asked for {late} min past it. Ask for earlier steps only."
            )

    def _asset(self, step: np.ndarray) -> np.ndarray:
        return self.asset if step.ndim == 1 else self.asset[:, None]

    def state(self, step: np.ndarray) -> np.ndarray:
        """1, 0 or UNKNOWN."""
        self._guard(step)
        return np.where(step < 0, np.int8(UNKNOWN), self.grid.state[self._asset(step), np.maximum(step, 0)])

    def age(self, step: np.ndarray) -> np.ndarray:
        """Steps since the state of that step began."""
        self._guard(step)
        return np.where(step < 0, 0, step - self.grid.run_start[self._asset(step), np.maximum(step, 0)])

    def smooth(self, step: np.ndarray) -> np.ndarray:
        """Share plugged in within half an hour to either side; NaN where unknown."""
        self._guard(step, SMOOTHING_STEPS)
        seen = self.grid.smooth[self._asset(step), np.maximum(step, 0)]
        return np.where(step < 0, np.float32(np.nan), seen)

    def site(self, step: np.ndarray) -> np.ndarray:
        """Share of all assets plugged in; NaN where unknown."""
        self._guard(step)
        return np.where(step < 0, np.float32(np.nan), self.grid.site[np.maximum(step, 0)])

    def site_surprise_24h(self, step: np.ndarray) -> np.ndarray:
        """How far that lay above like days before, over the 24 h up to the step."""
        self._guard(step)
        return np.where(step < 0, np.float32(np.nan), self.grid.site_surprise_24h[np.maximum(step, 0)])

    def site_smooth(self, step: np.ndarray) -> np.ndarray:
        """The same within half an hour to either side."""
        self._guard(step, SMOOTHING_STEPS)
        return np.where(step < 0, np.float32(np.nan), self.grid.site_smooth[np.maximum(step, 0)])

    def share(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Share of the known steps low .. high (inclusive) plugged in; NaN where none is known."""
        self._guard(high)
        mine = self._asset(high)
        end = np.maximum(high, -1) + 1
        begin = np.minimum(np.maximum(low, 0), end)
        plugged, known = (sums[mine, end] - sums[mine, begin] for sums in self.grid.total)
        return np.where(known > 0, plugged / np.maximum(known, 1), np.nan)

    def moved(self, step: np.ndarray, lead: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of all assets in a state at past steps: how many were plugged in a lead later, of how many known then.

        Args:
            step: Shape (m, k).
            lead: Steps, shape (m,); ``step + lead`` must not lie past the origin.
            state: 0 or 1; shape (m,).
        """
        self._guard(np.where(step < 0, -1, step + lead[:, None]))
        counts = np.zeros((2, *step.shape), np.float32)
        for each in np.unique(lead):
            mine = np.flatnonzero(lead == each)
            at = step[mine]
            counts[:, mine] = np.where(
                at < 0, 0, self.grid.moved(int(each))[state[mine][:, None], :, np.maximum(at, 0)].transpose(2, 0, 1)
            )
        return counts[0], counts[1]

    def sojourns(self, state: int, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Starts and lengths of the latest completed stays in a state, newest first; length -1 where there are fewer.

        Returns:
            Two arrays of shape (m, most).
        """
        table = self.grid.sojourns[state]
        if len(table.length) == 0:
            nothing = np.full((len(self.asset), most), -1, np.int64)
            return nothing, nothing
        high = np.searchsorted(table.code, self.asset * np.int64(self.grid.steps + 1) + self.step, side="right")
        index = high[:, None] - 1 - np.arange(most)
        missing = index < table.first[self.asset][:, None]
        index = np.maximum(index, 0)
        return np.where(missing, -1, table.start[index]), np.where(missing, -1, table.length[index])
