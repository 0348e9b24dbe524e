"""What any forecast has to beat: nothing changes, and what usually happens at this hour of the week."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.features.spec import HOUR_BINS
from plugcast.forecast.panel import local_clock

if TYPE_CHECKING:
    from plugcast.forecast.panel import Panel

PRIOR_SAMPLES: Final = 24.0
"""Weight of the pooled profile against an asset's own samples: about two hours of reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Probability of being plugged in, and energy to full in %."""

    plug_probability: np.ndarray
    energy_to_full_pct: np.ndarray


def persistence(panel: Panel, row: np.ndarray) -> Baseline:
    """Nothing changes."""
    return Baseline(plug_probability=panel.is_plugged_in[row].astype(float), energy_to_full_pct=100.0 - panel.soc[row])


@dataclass(frozen=True, slots=True, kw_only=True)
class Climatology:
    """Hour-of-week profile pooled over the training rows; an asset's own past shrinks towards it."""

    plug_rate: np.ndarray
    """Shape (168,)."""
    energy_to_full_pct: np.ndarray
    """Shape (168,)."""

    @classmethod
    def fit(cls, panel: Panel, row: np.ndarray) -> Climatology:
        """Pool the given rows; an hour without samples takes the mean of all."""
        hour = panel.hour_of_week[row]
        soc = panel.soc[row]
        known = ~np.isnan(soc)
        return cls(
            plug_rate=_profile(hour, panel.is_plugged_in[row].astype(float)),
            energy_to_full_pct=_profile(hour[known], 100.0 - soc[known]),
        )

    def at(self, panel: Panel, row: np.ndarray, lead_min: np.ndarray | float) -> Baseline:
        """The usual state at origin + lead, from the asset's samples before the origin and the pooled profile."""
        lead_us = np.rint(np.broadcast_to(np.asarray(lead_min, np.float64), row.shape) * 60_000_000).astype(np.int64)
        clock, day = local_clock(panel.timestamp_us[row] + lead_us, panel.spec.time_zone)
        hour = day * 24 + np.floor(clock).astype(np.int64)
        own = panel.history.before(panel.asset[row], row, hour)
        own_energy = 100.0 * own.with_soc - own.soc_milli / 1000
        return Baseline(
            plug_probability=(own.plugged + PRIOR_SAMPLES * self.plug_rate[hour]) / (own.samples + PRIOR_SAMPLES),
            energy_to_full_pct=(own_energy + PRIOR_SAMPLES * self.energy_to_full_pct[hour])
            / (own.with_soc + PRIOR_SAMPLES),
        )


def _profile(hour: np.ndarray, value: np.ndarray) -> np.ndarray:
    count = np.bincount(hour, minlength=HOUR_BINS)
    total = np.bincount(hour, weights=value, minlength=HOUR_BINS)
    mean = float(value.mean()) if len(value) else float("nan")
    return np.where(count > 0, total / np.maximum(count, 1), mean)
