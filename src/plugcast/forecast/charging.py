"""What happens to the charge along a trajectory.

A stay charges at the pace of one of the asset's past stays, slower as the battery fills, up to that stay's ceiling. On
the road each quarter of an hour drains as much as one at that clock and that far into a trip did for all assets, times
how thirsty this one is. An asset with a short past borrows from those of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from plugcast.domain.units import SLOT_MIN
from plugcast.forecast.panel import local_clock
from plugcast.forecast.slots import SOC_CLASSES, US_IN_MIN, run_start_us, runs, soc_class

if TYPE_CHECKING:
    from plugcast.forecast.panel import Panel

OWN: Final = 24
"""Most past stays of an asset that its trajectories draw from."""
BORROWED: Final = 8
LONGEST_STEP_MIN: Final = 60.0
"""A rise between samples further apart says little about the pace."""
FULL_PCT: Final = 100.0
FEWEST_RISES: Final = 20
THIRST_PRIOR_PCT: Final = 10.0
"""Weight of the usual drain against an asset's own, in % driven."""
TRIP_EDGES_MIN: Final = (45.0, 180.0)
"""Just left, out, away for long."""
DRAIN_LEVELS: Final = 20
USUAL_PACE_PCT: Final = 2.0
"""Gain in a quarter of an hour where nothing was ever seen: 7 kW into 90 kWh."""


class Charging(msgspec.Struct, frozen=True, kw_only=True):
    """What all assets' stays and trips were like; BORROWED evenly spaced ones of each."""

    taper: tuple[float, ...]
    """Pace at each class of charge beside that of all; SOC_CLASSES."""
    stay_pace_pct: tuple[float, ...]
    """Gain in % a slot before the taper; of the same stays as the ceilings."""
    stay_ceiling_pct: tuple[float, ...]
    drain_pct: tuple[tuple[float, ...], ...]
    """Quantiles of the loss in a slot, for each ``trip_class``; 3 x 24 rows of DRAIN_LEVELS."""

    @classmethod
    def fit(cls, panel: Panel, until_us: int) -> Charging:
        """Learn from the samples before an instant; without any charge the usual pace to full."""
        taper = _taper(panel, until_us)
        drain = _drains(panel, until_us)
        past = Past.of(panel, np.array(taper), np.array(drain))
        pace, ceiling = past.stay_pace[past.stay_end_us < until_us], past.stay_ceiling[past.stay_end_us < until_us]
        ceiling = ceiling[~np.isnan(pace)]
        pace = pace[~np.isnan(pace)]
        order = np.argsort(pace, kind="stable")
        return cls(
            taper=taper,
            stay_pace_pct=_spread(pace[order], USUAL_PACE_PCT),
            stay_ceiling_pct=_spread(ceiling[order], FULL_PCT),
            drain_pct=drain,
        )


def _spread(ordered: np.ndarray, otherwise: float) -> tuple[float, ...]:
    if len(ordered) == 0:
        return (otherwise,) * BORROWED
    place = ((np.arange(BORROWED) + 0.5) / BORROWED * len(ordered)).astype(np.int64)
    return tuple(map(float, ordered[place]))


def _steps(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Change of charge since the row before and slots between; NaN at the start of a run and after long steps."""
    run = runs(panel)
    change, slots = np.full(panel.rows, np.nan), np.full(panel.rows, np.nan)
    change[1:] = np.where(run[1:] == run[:-1], np.diff(panel.soc), np.nan)
    slots[1:] = np.diff(panel.timestamp_us) / (US_IN_MIN * SLOT_MIN)
    return change, slots


def _rising(panel: Panel, change: np.ndarray, slots: np.ndarray) -> np.ndarray:
    return panel.is_plugged_in.astype(bool) & (change > 0) & (slots > 0) & (slots * SLOT_MIN <= LONGEST_STEP_MIN)


def _taper(panel: Panel, until_us: int) -> tuple[float, ...]:
    """Typical pace in each class of charge beside the typical one of all; 1 where hardly anything was seen."""
    change, slots = _steps(panel)
    rising = np.flatnonzero(_rising(panel, change, slots) & (panel.timestamp_us < until_us))
    pace, place = change[rising] / slots[rising], soc_class(panel.soc[rising - 1])
    usual = float(np.median(pace)) if len(pace) else 1.0
    return tuple(
        float(np.median(pace[place == number])) / usual if (place == number).sum() >= FEWEST_RISES else 1.0
        for number in range(SOC_CLASSES)
    )


def trip_class(hour: np.ndarray, away_min: np.ndarray) -> np.ndarray:
    """Row of ``drain_pct`` for a local hour and the minutes since unplugging."""
    return np.asarray(np.searchsorted(TRIP_EDGES_MIN, away_min, side="right") * 24 + np.floor(hour).astype(np.int64))


def _losses(panel: Panel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows on the road with a loss that is known, the loss in % a slot, and their ``trip_class``."""
    change, slots = _steps(panel)
    close = (slots > 0) & (slots * SLOT_MIN <= LONGEST_STEP_MIN)
    row = np.flatnonzero(~panel.is_plugged_in.astype(bool) & ~np.isnan(change) & close)
    hour, _ = local_clock(panel.timestamp_us[row - 1], panel.spec.time_zone)
    away = (panel.timestamp_us[row - 1] - run_start_us(panel)[row]) / US_IN_MIN
    return row, np.maximum(-change[row], 0.0) / slots[row], trip_class(hour, away)


def _drains(panel: Panel, until_us: int) -> tuple[tuple[float, ...], ...]:
    row, loss, place = _losses(panel)
    early = panel.timestamp_us[row] < until_us
    loss, place = loss[early], place[early]
    levels = (np.arange(DRAIN_LEVELS) + 0.5) / DRAIN_LEVELS
    usual = np.quantile(loss, levels) if len(loss) else np.zeros(DRAIN_LEVELS)
    rows = []
    for number in range((len(TRIP_EDGES_MIN) + 1) * 24):
        mine = loss[place == number]
        parts = (
            np.array([part.mean() for part in np.array_split(np.sort(mine), DRAIN_LEVELS)])
            if len(mine) >= DRAIN_LEVELS
            else usual
        )
        rows.append(tuple(map(float, parts)))
    return tuple(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Finished stays and the thirst of a panel's assets, ordered by asset and time."""

    stay_last_row: np.ndarray
    stay_end_us: np.ndarray
    stay_pace: np.ndarray
    """% a slot before the taper, NaN for a stay without charging."""
    stay_ceiling: np.ndarray
    """% at which charging ended; FULL_PCT where it had not ended."""
    lost: np.ndarray
    """% lost on the road in all rows before each; shape (rows + 1,)."""
    usual_loss: np.ndarray
    """The same for the usual drain."""
    first_row: np.ndarray
    """Of each asset."""
    idle: np.ndarray
    """Bool per panel row: the charge did not rise since the row before."""
    taper: np.ndarray
    drain: np.ndarray

    @classmethod
    def of(cls, panel: Panel, taper: np.ndarray, drain: np.ndarray) -> Past:
        """Walk a panel. Cost: O(rows)."""
        run = runs(panel)
        start = np.flatnonzero(np.r_[True, run[1:] != run[:-1]][: panel.rows])
        last = np.r_[start[1:], panel.rows][: len(start)] - 1
        change, slots = _steps(panel)
        rising = _rising(panel, change, slots)
        gain = np.where(rising, change, 0.0)
        effort = np.where(rising, slots * taper[soc_class(np.r_[np.nan, panel.soc[:-1]][: panel.rows])], 0.0)
        plugged = panel.is_plugged_in[start].astype(bool)
        with_soc = ~np.isnan(panel.soc[last]) & ~np.isnan(panel.soc[start])
        finished = np.r_[panel.asset[last[:-1]] == panel.asset[last[:-1] + 1], False][: len(start)] & with_soc
        total, tried = (np.add.reduceat(value, start) if len(start) else value for value in (gain, effort))
        pace = np.where(tried > 0, total / np.maximum(tried, 1e-9), np.nan)
        ceiling = np.where(rising[last], FULL_PCT, np.fmax.reduceat(panel.soc, start) if len(start) else 0.0)
        stay = plugged & finished
        road, loss, place = _losses(panel)
        lost, usual = np.zeros(panel.rows + 1), np.zeros(panel.rows + 1)
        lost[road + 1], usual[road + 1] = loss * slots[road], drain.mean(axis=1)[place] * slots[road]
        return cls(
            stay_last_row=last[stay],
            stay_end_us=panel.timestamp_us[last[stay]],
            stay_pace=pace[stay],
            stay_ceiling=ceiling[stay],
            lost=np.cumsum(lost),
            usual_loss=np.cumsum(usual),
            first_row=np.searchsorted(panel.asset, np.arange(len(panel.asset_ids))),
            idle=~rising & (change <= 0),
            taper=taper,
            drain=drain,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What trajectories of n origins draw from."""

    stay_pace: np.ndarray
    """Shape (n, OWN + BORROWED), as the ceilings."""
    stay_ceiling: np.ndarray
    thirst: np.ndarray
    """Own drain beside the usual one. Shape (n,)."""
    taper: np.ndarray
    drain: np.ndarray

    def stay(self, pick: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pace and ceiling for picks in [0, 1), shape (n, s)."""
        place = (pick * self.stay_pace.shape[1]).astype(np.int64)
        return np.take_along_axis(self.stay_pace, place, 1), np.take_along_axis(self.stay_ceiling, place, 1)

    def loss(self, hour: np.ndarray, away_min: np.ndarray, pick: np.ndarray) -> np.ndarray:
        """% lost in a slot on the road that begins at a local hour, shape (n,); the others have shape (n, s)."""
        level = (pick * DRAIN_LEVELS).astype(np.int64)
        return np.asarray(self.drain[trip_class(hour[:, None], away_min), level] * self.thirst[:, None])


def choices(past: Past, pooled: Charging, panel: Panel, row: np.ndarray) -> Choices:
    """Stays that were over at each origin, the newest ones, and the borrowed; and the thirst until then."""
    first = past.first_row[panel.asset[row]]
    pace, ceiling = (
        _recent(past.stay_last_row, value, first, row, np.array(usual))
        for value, usual in (
            (past.stay_pace, pooled.stay_pace_pct),
            (past.stay_ceiling, pooled.stay_ceiling_pct),
        )
    )
    known = np.where(np.isnan(pace), 0, 1)
    mean = np.nansum(pace, axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return Choices(
        stay_pace=np.where(known == 1, pace, mean),
        stay_ceiling=ceiling,
        thirst=(past.lost[row + 1] - past.lost[first] + THIRST_PRIOR_PCT)
        / (past.usual_loss[row + 1] - past.usual_loss[first] + THIRST_PRIOR_PCT),
        taper=past.taper,
        drain=past.drain,
    )


def _recent(
    last_row: np.ndarray, value: np.ndarray, first: np.ndarray, row: np.ndarray, usual: np.ndarray
) -> np.ndarray:
    """The newest OWN values of runs that ended before each origin, padded with the usual ones."""
    low, high = np.searchsorted(last_row, first), np.searchsorted(last_row, row)
    place = high[:, None] - 1 - np.arange(OWN)
    own = place >= low[:, None]
    padded = np.tile(usual, -(-OWN // len(usual)))[:OWN]
    mine = np.where(own, value[np.maximum(place, 0)] if len(value) else np.nan, padded)
    return np.hstack([mine, np.broadcast_to(usual, (len(row), len(usual)))])


@dataclass(slots=True, kw_only=True)
class Battery:
    """Charge of n x s paths, and what their present stay is like."""

    soc: np.ndarray
    gain: np.ndarray
    ceiling: np.ndarray
    choices: Choices

    @classmethod
    def of(cls, soc: np.ndarray, done: np.ndarray, choices: Choices, pick: np.ndarray) -> Battery:
        """At the origin; where charging is done, the ceiling is the charge that it has.

        Args:
            soc: %, NaN where unknown. Shape (n,).
            done: Bool. Shape (n,).
            choices: What to draw from.
            pick: Random numbers in [0, 1). Shape (n, s).
        """
        spread = np.repeat(soc[:, None], pick.shape[1], axis=1)
        gain, ceiling = choices.stay(pick)
        return cls(soc=spread, gain=gain, ceiling=np.where(done[:, None], spread, ceiling), choices=choices)

    def step(self, before: np.ndarray, after: np.ndarray, loss: np.ndarray, pick: np.ndarray) -> None:
        """One slot: charge rises only if plugged in all along, falls only if not; a new stay is like a past one.

        Args:
            before: State at the start of the slot, 0 or 1. Shape (n, s).
            after: At its end.
            loss: % lost if on the road.
            pick: Random numbers for stays that begin at the end of the slot.
        """
        gain = self.gain * self.choices.taper[soc_class(self.soc)]
        full = np.minimum(np.maximum(self.ceiling, self.soc), FULL_PCT)
        risen, fallen = np.minimum(self.soc + gain, full), np.maximum(self.soc - loss, 0.0)
        self.soc = np.where(before == 0, fallen, np.where(after == 1, risen, self.soc))
        arrived = after > before
        if arrived.any():
            gain, ceiling = self.choices.stay(pick)
            self.gain, self.ceiling = np.where(arrived, gain, self.gain), np.where(arrived, ceiling, self.ceiling)
