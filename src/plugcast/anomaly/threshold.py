"""How odd is too odd? An alarm budget and held-out scores decide, never a guess of how many anomalies there are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ALARMS_PER_STATION_WEEK: Final = 0.1
TAIL_SHARE: Final = 0.03
LEAST_TAIL: Final = 15
"""Fewer scores than this have no tail that could be fitted."""
SMALLEST_P: Final = 1e-6
STEEPEST, HEAVIEST = -0.4, 0.4
"""Bounds of the tail's shape: beyond them a few dozen excesses say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tail:
    """p-values of scores: conformal ranks, and an extreme-value tail where ranks end.

    Up to the 97 % quantile the p-value of a score s is (1 + held-out scores >= s) / (n + 1) (Vovk, Gammerman and Shafer
    2005). Above it the excesses follow a generalised Pareto distribution (Pickands 1975; fitted by moments, Hosking and
    Wallis 1987), so that a p-value can be smaller than 1 / n. Each p-value depends on its own score alone.

    >>> import numpy as np
    >>> t = Tail(held_out=np.arange(1.0, 100.0) / 100)
    >>> t.p_values(np.array([0.5])).tolist()
    [0.51]
    """

    held_out: Floats
    """(n,) ascending: of a later part of the training period that the model never saw."""
    start: float = field(init=False)
    scale: float = field(init=False)
    shape: float = field(init=False)
    share: float = field(init=False)
    """Of the scores that lie in the tail; 0 where there are too few."""

    def __post_init__(self) -> None:
        """Fit the tail by moments."""
        n = len(self.held_out)
        count = max(LEAST_TAIL, round(TAIL_SHARE * n))
        start, scale, shape, share = math.inf, 1.0, 0.0, 0.0
        if n >= 2 * LEAST_TAIL:
            start = float(self.held_out[-count - 1])
            excess = self.held_out[-count:] - start
            mean, variance = float(excess.mean()), float(excess.var())
            if mean > 0 and variance > 0:
                shape = min(max(0.5 * (1.0 - mean * mean / variance), STEEPEST), HEAVIEST)
                scale, share = mean * (1.0 - shape), count / (n + 1.0)
        for name, value in (("start", start), ("scale", scale), ("shape", shape), ("share", share)):
            object.__setattr__(self, name, value)

    def p_values(self, scores: Floats) -> Floats:
        """In (0, 1]; lower is odder. NaN for NaN."""
        n = len(self.held_out)
        at_least = n - np.searchsorted(self.held_out, scores, side="left")
        made = np.asarray((1.0 + at_least) / (n + 1.0), dtype=np.float64)
        made[np.isnan(scores)] = np.nan
        if self.share > 0:
            for place in np.flatnonzero(scores > self.start):
                made[place] = self._beyond(float(scores[place]))
        return made

    def evidence(self, scores: Floats) -> Floats:
        """-log10 of the p-values: 0 is ordinary, 2 one in a hundred; at most 6."""
        p_values = self.p_values(scores).tolist()
        return np.array([-math.log10(max(p, SMALLEST_P)) if p == p else math.nan for p in p_values])  # noqa: PLR0124 - NaN

    def _beyond(self, score: float) -> float:
        excess = (score - self.start) / self.scale
        if abs(self.shape) < 1e-9:  # noqa: PLR2004 - the limit is the exponential
            left = math.exp(-excess)
        else:
            inner = 1.0 + self.shape * excess
            left = inner ** (-1.0 / self.shape) if inner > 0 else 0.0
        return max(self.share * left, SMALLEST_P)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Threshold:
    """Held-out scores, the budget, and what it comes to.

    >>> import numpy as np
    >>> t = Threshold(held_out=np.arange(1.0, 100.0) / 100, station_weeks=100.0, alarms_per_station_week=0.05)
    >>> t.alpha
    0.050505050505050504
    """

    held_out: Floats
    """(n,) ascending."""
    station_weeks: float
    """Stations in use times weeks, over the held-out part."""
    alarms_per_station_week: float
    tail: Tail = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Fit the tail."""
        object.__setattr__(self, "tail", Tail(held_out=self.held_out))

    @property
    def alpha(self) -> float:
        """A p-value of at most this is an alarm: budget x station-weeks alarms among n sessions; at most 1."""
        n = len(self.held_out)
        return min(1.0, self.alarms_per_station_week * self.station_weeks / n) if n else 0.0

    @property
    def smallest_p(self) -> float:
        """No score gives less; where alpha is below it, the held-out part is too small for any alarm."""
        return SMALLEST_P if self.tail.share > 0 else 1.0 / (len(self.held_out) + 1)

    def p_values(self, scores: Floats) -> Floats:
        """Conformal p-values with an extreme-value tail, in (0, 1]; lower is odder."""
        return self.tail.p_values(scores)


def calibrate(scores: Floats, *, station_weeks: float, alarms_per_station_week: float) -> Threshold:
    """A threshold from held-out scores."""
    return Threshold(
        held_out=np.sort(scores), station_weeks=station_weeks, alarms_per_station_week=alarms_per_station_week
    )
