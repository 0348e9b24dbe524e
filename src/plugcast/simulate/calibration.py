"""Small numbers fitted on real charging records, from which personal habits are drawn.

A table holds quantiles at ``LEVELS``; a person's value is drawn by its inverse. Sources:

- *Trondheim*: 3,918 sessions of private charging points of apartment houses in Norway, 2018-12 to 2019-12
  (Sorensen et al., Data in Brief 2021).
- *ACN-Data*: Caltech and JPL, 2018-04 to 2020-02, before the pandemic (Lee, Li, Low, ACM e-Energy 2019).
- *DC posts*: 2,590 sessions of SAP Labs France, 2017-2020, and 1,430 of the EPFL station, 2022-2023 (capacities: EPFL).

Quantiles "of users" are taken over users with at least 12 sessions of the kind; spreads are 1.4826 x the median
absolute deviation of one user's times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVELS: Final = (0.02, 0.10, 0.25, 0.50, 0.75, 0.90, 0.98)

HOME_RETURN_H: Final = (14.90, 15.88, 16.65, 17.75, 18.48, 19.24, 20.10)
"""Trondheim users' median hour of plug-in, weekdays from noon to 22 h."""
HOME_LEAVE_H: Final = (6.52, 6.98, 7.38, 7.71, 8.06, 9.12, 9.78)
"""Trondheim users' median hour of plug-out between 5 and 10:30 h."""
HOME_LEAVE_SPREAD_H: Final = (0.11, 0.15, 0.19, 0.39, 0.72, 0.86, 1.10)
"""Trondheim users' spread of that plug-out."""
WORK_ARRIVE_H: Final = (5.62, 6.42, 6.96, 7.57, 8.59, 9.70, 10.40)
"""ACN-Data users' median hour of plug-in, weekday mornings."""
WORK_ARRIVE_SPREAD_H: Final = (0.05, 0.11, 0.19, 0.31, 0.56, 0.88, 1.51)
"""ACN-Data users' spread of that plug-in."""
WORK_LEAVE_H: Final = (12.13, 13.74, 15.68, 16.61, 17.20, 17.92, 19.20)
"""ACN-Data users' median hour of plug-out after a morning plug-in."""
WORK_LEAVE_SPREAD_H: Final = (0.07, 0.27, 0.57, 0.91, 1.61, 2.53, 3.81)
"""ACN-Data users' spread of that plug-out."""
WORK_LATE_ARRIVE_H: Final = (12.34, 12.73, 13.57, 14.72, 15.91, 18.48, 20.38)
"""ACN-Data users' median hour of plug-in from 11:30 h on."""
WORK_LATE_LEAVE_H: Final = (14.50, 16.01, 17.04, 17.72, 18.49, 19.62, 22.05)
"""ACN-Data users' median hour of plug-out after such a plug-in."""
DC_ARRIVAL_SOC_PCT: Final = (5.0, 14.0, 24.0, 39.0, 56.0, 71.0, 88.0)
"""State of charge on arrival at DC posts."""
DC_DEPARTURE_SOC_PCT: Final = (34.0, 61.0, 80.0, 91.0, 100.0, 100.0, 100.0)
"""State of charge on departure from DC posts."""
CAPACITY_KWH: Final = (27.0, 35.8, 55.6, 73.0, 80.8, 87.6, 92.0)
"""Usable capacities implied by energy and rise of state of charge at DC posts."""

AC_EFFICIENCY: Final = 0.90
"""Mean share of AC energy at the plug that reaches the battery; vehicles differ by a few hundredths."""
DC_EFFICIENCY: Final = 0.95


# The following were set so that generated sessions meet the sessions of the same sources; see simulate.realism.
HOME_RETURN_LEAD_H: Final = 0.7
"""The median plug-in is later than the usual return: errands of the evening are among the plug-ins."""
LATE_SHARE: Final = 0.30
"""Share of workplace users who come from noon on."""


def draw(table: Sequence[float], rng: np.random.Generator) -> float:
    """One value of a quantile table, linear between its levels and flat beyond its ends.

    >>> float(np.interp(0.5, LEVELS, HOME_RETURN_H))
    17.75
    """
    return float(np.interp(rng.random(), LEVELS, table))


def chance(probability: float, rng: np.random.Generator) -> bool:
    """True with a probability."""
    return bool(rng.random() < probability)
