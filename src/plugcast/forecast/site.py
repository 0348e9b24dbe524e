"""How many cars will be plugged in at the site: the sum of its stations, with a band learnt from its own errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.forecast.calibrate import LEAD_EDGES_MIN, lead_bucket

if TYPE_CHECKING:
    from plugcast.forecast.horizon import HorizonModel
    from plugcast.forecast.panel import Panel

COVERAGE: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteForecast:
    """Cars plugged in, from one issue time on. Arrays over leads."""

    issued_us: int
    lead_min: np.ndarray
    expected: np.ndarray
    station_probability: np.ndarray
    """Shape (stations known at issue, leads)."""
    station: np.ndarray
    """Asset codes of those stations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Conformal offsets of the count, below and above the expectation, for each bucket of lead."""

    below: tuple[float, ...]
    above: tuple[float, ...]

    @classmethod
    def fit(cls, error: np.ndarray, lead_min: np.ndarray, *, coverage: float = COVERAGE) -> Band:
        """From past errors (actual less expected); stations move together, so their variances do not simply add."""
        bucket, tail = lead_bucket(lead_min), (1 - coverage) / 2
        below, above = [], []
        for number in range(len(LEAD_EDGES_MIN) - 1):
            mine = error[bucket == number]
            below.append(float(np.quantile(mine, tail)) if len(mine) else 0.0)
            above.append(float(np.quantile(mine, 1 - tail)) if len(mine) else 0.0)
        return cls(below=tuple(below), above=tuple(above))

    def around(self, forecast: SiteForecast) -> tuple[np.ndarray, np.ndarray]:
        """Low and high count for each lead, never below zero nor above the number of stations."""
        bucket, most = lead_bucket(forecast.lead_min), len(forecast.station)
        low = np.clip(forecast.expected + np.minimum(np.array(self.below)[bucket], 0), 0, most)
        high = np.clip(forecast.expected + np.maximum(np.array(self.above)[bucket], 0), 0, most)
        return low, high


def forecast_site(panel: Panel, model: HorizonModel, issued_us: np.ndarray, lead_min: np.ndarray) -> list[SiteForecast]:
    """Forecasts of all stations for some issue times, in one batch.

    Args:
        panel: Plug states of the site's stations on a common grid (``features.occupancy``).
        model: Trained on what was known before the first issue time.
        issued_us: Instants of the grid, increasing. Shape (k,).
        lead_min: Leads. Shape (l,).
    """
    row = np.flatnonzero(np.isin(panel.timestamp_us, issued_us))
    row = row[np.argsort(panel.timestamp_us[row], kind="stable")]
    leads = len(lead_min)
    chance = model.expect_paths(panel, row, lead_min).plug_probability.reshape(len(row), leads)
    at = panel.timestamp_us[row]
    cuts = np.searchsorted(at, issued_us)
    return [
        SiteForecast(
            issued_us=int(issued),
            lead_min=lead_min,
            expected=chance[low:high].sum(axis=0),
            station_probability=chance[low:high],
            station=panel.asset[row[low:high]],
        )
        for issued, low, high in zip(issued_us, cuts, np.append(cuts[1:], len(row)), strict=True)
    ]


def count_at(panel: Panel, instant_us: np.ndarray) -> np.ndarray:
    """Cars plugged in at instants of the grid; NaN outside it."""
    grid, place = np.unique(panel.timestamp_us, return_inverse=True)
    counts = np.bincount(place, weights=panel.is_plugged_in, minlength=len(grid))
    found = np.searchsorted(grid, instant_us)
    inside = (found < len(grid)) & (grid[np.minimum(found, len(grid) - 1)] == instant_us)
    return np.where(inside, counts[np.minimum(found, len(grid) - 1)], np.nan)
