"""How long will this car stay and how much will it take, asked at plug-in: weighted quantiles of comparable visits.

Comparable are completed visits that were known by then: near in clock time of arrival, of the same day type, recent,
and above all the driver's own. This is the kernel-weighted own median that learned models have to beat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.forecast.panel import local_clock

if TYPE_CHECKING:
    import polars as pl

    from plugcast.features.spec import FeatureSpec

BANDWIDTH_H: Final = 1.0
"""Gaussian in the clock time of arrival."""
HALF_LIFE_DAYS: Final = 45.0
OTHER_DAY_TYPE_WEIGHT: Final = 0.2
OWN_WEIGHT: Final = 30.0
"""One visit of the same driver counts as many of others."""
SATURDAY: Final = 5
LEVELS: Final = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Completed visits as arrays ordered by ``known_us``: what a forecaster may look back on."""

    known_us: np.ndarray
    arrival_us: np.ndarray
    hour: np.ndarray
    weekend: np.ndarray
    user: np.ndarray
    """Code of the driver; -1 = unknown."""
    stay_h: np.ndarray
    energy_kwh: np.ndarray

    @classmethod
    def of(cls, sessions: pl.DataFrame, time_zone: str, users: dict[str, int]) -> Visits:
        """Completed sessions with an energy (``schemas.SESSIONS``).

        Args:
            sessions: Rows without a plug-out or an energy are left out.
            time_zone: Local zone of the clock.
            users: Codes of drivers; new ones are added.
        """
        done = sessions.drop_nulls(["departure_at", "energy_delivered_kwh"]).sort("available_at", "session_id")
        arrival = done["arrival_at"].to_physical().to_numpy()
        hour, day = local_clock(arrival, time_zone)
        user = [-1 if name is None else users.setdefault(name, len(users)) for name in done["user_id"].to_list()]
        return cls(
            known_us=done["available_at"].to_physical().to_numpy(),
            arrival_us=arrival,
            hour=hour,
            weekend=day >= SATURDAY,
            user=np.array(user, np.int64),
            stay_h=(done["departure_at"] - done["arrival_at"]).dt.total_microseconds().to_numpy() / 3.6e9,
            energy_kwh=done["energy_delivered_kwh"].to_numpy(),
        )


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
    (hour,), (day,) = local_clock(np.array([arrival_us]), spec.time_zone)
    apart_h = np.abs(past.hour[:until] - hour)
    apart_h = np.minimum(apart_h, 24 - apart_h)
    age_days = (arrival_us - past.arrival_us[:until]) / 8.64e10
    weight = np.exp(-0.5 * (apart_h / BANDWIDTH_H) ** 2) * 0.5 ** (age_days / HALF_LIFE_DAYS) + 1e-6
    weight *= np.where(past.weekend[:until] == (day >= SATURDAY), 1.0, OTHER_DAY_TYPE_WEIGHT)
    if user >= 0:
        weight *= np.where(past.user[:until] == user, OWN_WEIGHT, 1.0)
    return StayForecast(
        stay_h=weighted_quantiles(past.stay_h[:until], weight),
        energy_kwh=weighted_quantiles(past.energy_kwh[:until], weight),
        comparable=until,
    )


def weighted_quantiles(value: np.ndarray, weight: np.ndarray, levels: tuple[float, ...] = LEVELS) -> np.ndarray:
    """Quantiles of a weighted sample: the smallest value whose share of the weight reaches the level.

    >>> weighted_quantiles(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 8.0]), (0.1, 0.5, 0.95)).tolist()
    [1.0, 2.0, 3.0]
    """
    order = np.argsort(value, kind="stable")
    share = np.cumsum(weight[order])
    place = np.searchsorted(share, np.array(levels) * share[-1] * (1 - 1e-12), side="left")
    return np.asarray(value[order][np.minimum(place, len(value) - 1)])
