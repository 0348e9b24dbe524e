"""A panel on slots of 15 minutes, and the classes of time in a state and of charge that trajectories are counted in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.domain.units import SLOT_MIN

if TYPE_CHECKING:
    from plugcast.forecast.panel import Panel

US_IN_MIN: Final = 60_000_000
SLOT_US: Final = SLOT_MIN * US_IN_MIN
AGE_EDGES_MIN: Final = (15, 30, 60, 120, 180, 240, 360, 480, 600, 720, 840, 1020, 1440, 2160, 4320)
"""Classes of time in a state: below the first, between two, above the last."""
AGES: Final = len(AGE_EDGES_MIN) + 1
SOC_EDGES_PCT: Final = (20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0)
SOC_CLASSES: Final = len(SOC_EDGES_PCT) + 2
"""The last is for an unknown state of charge."""


def age_class(minutes: np.ndarray) -> np.ndarray:
    """Class of a time in a state, 0 to AGES - 1.

    >>> age_class(np.array([0.0, 15.0, 90.0, 1e6])).tolist()
    [0, 1, 3, 15]
    """
    return np.asarray(np.searchsorted(np.array(AGE_EDGES_MIN, np.float64), minutes, side="right"))


def soc_class(soc: np.ndarray) -> np.ndarray:
    """Class of a state of charge in %, 0 to SOC_CLASSES - 1.

    >>> soc_class(np.array([5.0, 50.0, 100.0, float("nan")])).tolist()
    [0, 4, 9, 10]
    """
    return np.asarray(np.where(np.isnan(soc), SOC_CLASSES - 1, np.searchsorted(SOC_EDGES_PCT, soc, side="right")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """What was known of each asset at each slot: its newest sample's word, never carried across a silence.

    One entry a slot, ordered by asset and time.
    """

    row: np.ndarray
    """The panel's row that the slot's state is from."""
    asset: np.ndarray
    at_us: np.ndarray
    is_plugged_in: np.ndarray
    age_min: np.ndarray
    """Minutes since the state was first seen, not further back than the last silence."""
    soc: np.ndarray
    resolved: np.ndarray
    """The next entry is the same asset's next slot: whether the state changed is known."""
    switched: np.ndarray
    """State at the next slot differs; False where not resolved."""

    @classmethod
    def of(cls, panel: Panel) -> Slots:
        """Lay out a panel. Cost: O(rows + slots)."""
        first = -(-panel.timestamp_us // SLOT_US)
        follows = np.zeros(panel.rows, bool)
        follows[:-1] = (panel.asset[1:] == panel.asset[:-1]) & (panel.segment[1:] == panel.segment[:-1])
        until = np.where(follows, np.r_[first[1:], 0][: panel.rows], first + 1)
        count = np.maximum(until - first, 0)
        row = np.repeat(np.arange(panel.rows), count)
        slot = first[row] + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        plugged, asset = panel.is_plugged_in[row].astype(bool), panel.asset[row]
        resolved, switched = np.zeros(len(row), bool), np.zeros(len(row), bool)
        resolved[:-1] = (asset[1:] == asset[:-1]) & (slot[1:] == slot[:-1] + 1)
        switched[:-1] = resolved[:-1] & (plugged[1:] != plugged[:-1])
        return cls(
            row=row,
            asset=asset,
            at_us=slot * SLOT_US,
            is_plugged_in=plugged,
            age_min=(slot * SLOT_US - run_start_us(panel)[row]) / US_IN_MIN,
            soc=panel.soc[row],
            resolved=resolved,
            switched=switched,
        )

    def known_at(self, row: np.ndarray) -> np.ndarray:
        """Entries that stand on each panel row or earlier ones, counted from the first entry of all.

        Whether the state changes after the newest of them is not known yet.
        """
        return np.asarray(np.searchsorted(self.row, row, side="right"))

    @property
    def first_of_asset(self) -> np.ndarray:
        """For each entry the number of its asset's first one."""
        new = np.r_[True, self.asset[1:] != self.asset[:-1]][: len(self.asset)]
        return np.asarray(np.flatnonzero(new)[np.cumsum(new) - 1])


def runs(panel: Panel) -> np.ndarray:
    """For each row the number of its run of equal plug states; a silence begins a new run."""
    turned = np.zeros(panel.rows, bool)
    turned[1:] = (
        (panel.asset[1:] != panel.asset[:-1])
        | (panel.segment[1:] != panel.segment[:-1])
        | (panel.is_plugged_in[1:] != panel.is_plugged_in[:-1])
    )
    return np.cumsum(turned)


def run_start_us(panel: Panel) -> np.ndarray:
    """For each row the time of the first sample of its run."""
    run = runs(panel)
    first = np.searchsorted(run, run, side="left")
    return np.asarray(panel.timestamp_us[first])
