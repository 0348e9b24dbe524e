"""How long will this car stay and how much will it take, asked at plug-in: weighted quantiles of comparable visits.

Comparable are completed visits that were known by then: near in clock time of arrival, of the same day type, recent,
and above all the driver's own. This is the kernel-weighted own median that learned models have to beat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.features.clock import apart_h
from plugcast.features.stay_features import LEVELS, weighted_quantiles
from plugcast.features.stay_visits import DAY_US, SATURDAY, Visits, local, weekday

if TYPE_CHECKING:
    from plugcast.features.spec import FeatureSpec

__all__ = ["LEVELS", "StayForecast", "Visits", "expect", "weighted_quantiles"]

BANDWIDTH_H: Final = 1.0
"""Gaussian in the clock time of arrival."""
HALF_LIFE_DAYS: Final = 45.0
OTHER_DAY_TYPE_WEIGHT: Final = 0.2
OWN_WEIGHT: Final = 30.0
"""One visit of the same driver counts as many of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StayForecast:
    """Quantiles of one visit at LEVELS; NaN where nothing was known yet."""

    stay_h: np.ndarray
    energy_kwh: np.ndarray
    comparable: int
    """Visits that the forecast rests on."""


def expect(past: Visits, arrival_us: int, user: int, spec: FeatureSpec) -> StayForecast:
    """Quantiles for a car that plugs in at ``arrival_us``, from visits known strictly before.

    Args:
        past: Completed visits, ordered by when they became known; later ones are not looked at.
        arrival_us: Plug-in, microseconds since 1970.
        user: Driver code, -1 where unknown.
        spec: Gives the time zone.
    """
    until = int(np.searchsorted(past.known_us, arrival_us, side="left"))
    if until == 0:
        nothing = np.full(len(LEVELS), np.nan)
        return StayForecast(stay_h=nothing, energy_kwh=nothing, comparable=0)
    (hour,), day = local(np.array([arrival_us]), spec.time_zone)
    age_days = (arrival_us - past.arrival_us[:until]) / DAY_US
    weight = np.exp(-0.5 * (apart_h(past.hour[:until], hour) / BANDWIDTH_H) ** 2) * 0.5 ** (age_days / HALF_LIFE_DAYS)
    weight += 1e-6
    same_type = past.weekend[:until] == (weekday(day)[0] >= SATURDAY)
    weight *= np.where(same_type, 1.0, OTHER_DAY_TYPE_WEIGHT)
    if user >= 0:
        weight *= np.where(past.user[:until] == user, OWN_WEIGHT, 1.0)
    return StayForecast(
        stay_h=weighted_quantiles(past.stay_h[:until], weight),
        energy_kwh=weighted_quantiles(past.energy_kwh[:until], weight),
        comparable=until,
    )
