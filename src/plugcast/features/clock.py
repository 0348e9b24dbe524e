"""Hours of the day lie on a circle: distances, middle and spread of clock times."""

from __future__ import annotations

import math
from typing import Final, overload

import numpy as np

from plugcast.features.order import Sample

DAY_H: Final = 24.0
_TURN: Final = 2 * math.pi / DAY_H
_NIGHT: Final = 1e-9
"""Sum of cosines above which hours point to midnight rather than to noon; hours that cancel out point nowhere."""


@overload
def clock_gap(hour: float, other: float) -> float: ...
@overload
def clock_gap(hour: np.ndarray, other: float) -> np.ndarray: ...
def clock_gap(hour: float | np.ndarray, other: float) -> float | np.ndarray:
    """Hours from ``other`` to ``hour`` the short way round, -12 to 12.

    >>> clock_gap(0.5, 23.5)
    1.0
    """
    return (hour - other + DAY_H / 2) % DAY_H - DAY_H / 2


def apart_h(hour: np.ndarray, other: float) -> np.ndarray:
    """Distance of clock times, at most 12 h."""
    return np.asarray(np.abs(clock_gap(hour, other)))


def usual_hour(hour: np.ndarray) -> tuple[float, float]:
    """Median and median absolute deviation of clock times, the day cut where the hours point away from.

    >>> usual_hour(np.array([23.5, 0.5]))
    (0.0, 0.5)
    """
    cut = DAY_H / 2 if float(np.cos(hour * _TURN).sum()) > _NIGHT else 0.0
    moved = (hour + cut) % DAY_H
    middle = float(np.median(moved))
    return (middle - cut) % DAY_H, float(np.median(np.abs(moved - middle)))


class ClockSample:
    """Hours of the day: 23:30 and 0:30 have their middle at midnight, not at noon.

    Two samples cut the circle at midnight and at noon; where the hours point to the night, the second one is asked.
    Exact for hours within a quarter of a day, wherever it lies.

    >>> sample = ClockSample()
    >>> for hour in (23.5, 0.5):
    ...     sample.add(hour)
    >>> sample.median, sample.mad
    (0.0, 0.5)
    """

    __slots__ = ("_from_midnight", "_from_noon", "_towards_night")

    def __init__(self) -> None:
        self._from_midnight = Sample()
        self._from_noon = Sample()
        self._towards_night = 0.0

    def __len__(self) -> int:
        return len(self._from_midnight)

    def add(self, value: float) -> None:
        """Take an hour, unless it is NaN or infinite."""
        if not math.isfinite(value):
            return
        self._from_midnight.add(value % DAY_H)
        self._from_noon.add((value + DAY_H / 2) % DAY_H)
        self._towards_night += math.cos(value * _TURN)

    @property
    def median(self) -> float:
        """0 to 24; NaN while empty."""
        if self._towards_night > _NIGHT:
            return (self._from_noon.median + DAY_H / 2) % DAY_H
        return self._from_midnight.median

    @property
    def mad(self) -> float:
        """Median absolute deviation from the median, hours, not scaled; NaN while empty."""
        return (self._from_noon if self._towards_night > _NIGHT else self._from_midnight).mad
