"""How odd is too odd? An alarm budget and held-out scores decide, never a guess of how many anomalies there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ALARMS_PER_STATION_WEEK: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Threshold:
    """Scores of a later part of the training period that the model never saw, and the budget spent on them.

    The p-value of a score s is (1 + held-out scores >= s) / (n + 1) (conformal; Vovk, Gammerman and Shafer 2005): among
    sessions like the held-out ones a p-value of at most a comes up with probability of at most a. Drift breaks that
    promise, so report the alarms per station and week that really come.

    >>> import numpy as np
    >>> t = Threshold(held_out=np.arange(1.0, 100.0) / 100, station_weeks=100.0, alarms_per_station_week=0.05)
    >>> t.alpha, t.p_values(np.array([0.5, 0.999])).tolist()
    (0.050505050505050504, [0.51, 0.01])
    """

    held_out: Floats
    """(n,) ascending."""
    station_weeks: float
    """Stations in use times weeks, over the held-out part."""
    alarms_per_station_week: float

    @property
    def alpha(self) -> float:
        """A p-value of at most this is an alarm: budget x station-weeks alarms among n sessions; at most 1."""
        n = len(self.held_out)
        return min(1.0, self.alarms_per_station_week * self.station_weeks / n) if n else 0.0

    @property
    def smallest_p(self) -> float:
        """No score gives less; where alpha is below it, the held-out part is too small for any alarm."""
        return 1.0 / (len(self.held_out) + 1)

    def p_values(self, scores: Floats) -> Floats:
        """Conformal p-values, in (0, 1]; lower is odder."""
        n = len(self.held_out)
        at_least = n - np.searchsorted(self.held_out, scores, side="left")
        return np.asarray((1.0 + at_least) / (n + 1.0), dtype=np.float64)


def calibrate(scores: Floats, *, station_weeks: float, alarms_per_station_week: float) -> Threshold:
    """A threshold from held-out scores."""
    return Threshold(
        held_out=np.sort(scores), station_weeks=station_weeks, alarms_per_station_week=alarms_per_station_week
    )
