"""How far from full will a car be when it leaves, asked at plug-in where the station reads the state of charge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.features.clock import apart_h
from plugcast.features.stay_features import weighted_quantiles
from plugcast.features.stay_visits import DAY_US, local, weekday
from plugcast.forecast.boosting import Boosting

if TYPE_CHECKING:
    from plugcast.forecast.boosting import Trees

COLUMNS: Final = ("start_soc", "hour", "day_of_week", "station", "capacity_kwh", "like_start", "like_hour", "lately")
SIZE: Final = Boosting(rounds=120, leaves=7, learning_rate=0.05, min_leaf_rows=30)
LIKE_PCT: Final = 8.0
"""Past visits that came with about the same charge count."""
HALF_LIFE_DAYS: Final = 90.0
LATELY: Final = 30
FEWEST: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeVisits:
    """Completed visits with the state of charge at both ends, in order of arrival."""

    arrival_us: np.ndarray
    known_us: np.ndarray
    station: np.ndarray
    """Code."""
    start_soc: np.ndarray
    end_soc: np.ndarray
    capacity_kwh: np.ndarray
    """As the car told the station; NaN = not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyToFull:
    """Forecasts of 100 - SoC at departure, %."""

    model: Trees

    @classmethod
    def fit(cls, visits: ChargeVisits, matrix: np.ndarray, cut_us: int) -> EnergyToFull:
        """Train on visits complete before the cut; ``matrix`` comes from :func:`charge_features`."""
        known = (visits.known_us < cut_us) & ~np.isnan(matrix[:, COLUMNS.index("lately")])
        need = 100.0 - visits.end_soc[known]
        return cls(model=SIZE.fit(matrix[known], need, COLUMNS, objective="regression_l1"))

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """%, between 0 (full) and what was missing at plug-in."""
        need = np.asarray(self.model.predict(matrix, num_threads=1))
        return np.asarray(np.clip(need, 0.0, 100.0 - matrix[:, COLUMNS.index("start_soc")]))


def charge_features(visits: ChargeVisits, time_zone: str) -> np.ndarray:
    """One row a visit, float32, from visits known strictly before its plug-in; NaN while there are fewer than 30."""
    hour, day = local(visits.arrival_us, time_zone)
    made = np.full((len(hour), len(COLUMNS)), np.nan)
    made[:, :5] = np.column_stack([visits.start_soc, hour, weekday(day), visits.station, visits.capacity_kwh])
    order = np.argsort(visits.known_us, kind="stable")
    until = np.searchsorted(visits.known_us[order], visits.arrival_us, side="left")
    for row, count in enumerate(until.tolist()):
        if count < FEWEST:
            continue
        past = order[:count]
        fading = 0.5 ** ((visits.arrival_us[row] - visits.arrival_us[past]) / DAY_US / HALF_LIFE_DAYS) + 1e-9
        like = np.exp(-0.5 * ((visits.start_soc[past] - visits.start_soc[row]) / LIKE_PCT) ** 2)
        same_hour = np.exp(-0.5 * (apart_h(hour[past], hour[row]) / 2) ** 2)
        end = visits.end_soc[past]
        made[row, 5] = weighted_quantiles(end, fading * (like + 1e-6), (0.5,))[0]
        made[row, 6] = weighted_quantiles(end, fading * (same_hour + 1e-6), (0.5,))[0]
        made[row, 7] = np.median(end[-LATELY:])
    return made.astype(np.float32)


def climatology(visits: ChargeVisits) -> np.ndarray:
    """100 less the median SoC at departure of all visits known before each plug-in; NaN for the first."""
    order = np.argsort(visits.known_us, kind="stable")
    until = np.searchsorted(visits.known_us[order], visits.arrival_us, side="left")
    end = visits.end_soc[order]
    return np.array([100.0 - float(np.median(end[:count])) if count else np.nan for count in until.tolist()])
