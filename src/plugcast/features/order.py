"""Order statistics of a growing sample: median, spread and quantiles without a pass over the values."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from typing import Final

MAD_TO_SIGMA: Final = 1.4826
"""A normal distribution's standard deviation is this many median absolute deviations."""


class Sample:
    """Values kept sorted; adding costs a shift of memory, asking costs O(log n) once, then nothing until it grows.

    Non-finite values are not taken: a session without an energy reading says nothing about energy. With a limit only
    the newest so many are kept: drivers change cars.

    >>> sample = Sample()
    >>> for value in (3.0, 1.0, 2.0, 100.0):
    ...     sample.add(value)
    >>> sample.median, sample.mad
    (2.5, 1.0)
    """

    __slots__ = ("_centre", "_limit", "_order", "_values")

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._order: deque[float] | None = deque() if limit is not None else None
        self._values: list[float] = []
        self._centre: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: float) -> None:
        """Take one value, unless it is NaN or infinite."""
        if not math.isfinite(value):
            return
        insort(self._values, value)
        self._centre = None
        if self._order is not None:
            self._order.append(value)
            if len(self._order) > (self._limit or 0):
                del self._values[bisect_left(self._values, self._order.popleft())]

    @property
    def median(self) -> float:
        """The middle value, or the mean of the two; NaN while empty."""
        return self._centred()[0]

    @property
    def mad(self) -> float:
        """Median absolute deviation from the median, not scaled; NaN while empty."""
        return self._centred()[1]

    def quantile(self, share: float) -> float:
        """Linear interpolation between the neighbours (NumPy's default); NaN while empty."""
        if not self._values:
            return math.nan
        place = share * (len(self._values) - 1)
        low = math.floor(place)
        high = min(low + 1, len(self._values) - 1)
        return self._values[low] + (place - low) * (self._values[high] - self._values[low])

    def _centred(self) -> tuple[float, float]:
        if self._centre is None:
            self._centre = self._measure()
        return self._centre

    def _measure(self) -> tuple[float, float]:
        values = self._values
        n = len(values)
        if n == 0:
            return math.nan, math.nan
        half = n // 2
        if n % 2:
            median = values[half]
            return median, _nearest(values, median, half + 1)
        median = (values[half - 1] + values[half]) / 2
        return median, (_nearest(values, median, half) + _nearest(values, median, half + 1)) / 2


def _nearest(values: list[float], centre: float, k: int) -> float:
    """The k-th smallest distance to ``centre`` in sorted values, by bisection over windows of k neighbours.

    The k nearest values are a window; its reach is the larger of the distances of its two ends, the left one falling
    and the right one rising as the window moves: the best window stands where they cross.
    """
    low, high = 0, len(values) - k
    while low < high:
        middle = (low + high) // 2
        if centre - values[middle] > values[middle + k - 1] - centre:
            low = middle + 1
        else:
            high = middle
    reach = max(centre - values[low], values[low + k - 1] - centre)
    if low:
        reach = min(reach, max(centre - values[low - 1], values[low + k - 2] - centre))
    return reach
