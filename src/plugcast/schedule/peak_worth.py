"""What a kW of this month's peak is worth today: its charge less what it will still save on the days to come.

A day that may not draw more than some level leaves energy undelivered or buys it at dearer hours. That cost by level is
a convex curve, and the curves of past days, drawn anew for the days that the month still has, say how much a higher
peak would save: the charge less those savings is the price that today's plan should see (Bellman's equation with each
drawn rest of the month known, which overrates foresight a little and so asks more for a kW, never less).
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.errors import PlanInputError
from plugcast.schedule.solve import nothing_to_decide, solve

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from plugcast.schedule.arrays import FloatArray
    from plugcast.schedule.problem import PlanProblem

DRAWS: Final = 400
_WORKDAYS: Final = 5
_LEAST: Final = 1e-4
"""Probabilities below this are left out of an outlook."""


def cost_of_levels(problem: PlanProblem, levels_kw: npt.ArrayLike) -> FloatArray:
    """[L] The least cost of a day if the site may never draw more than each level, its demand charge left out.

    What is not delivered costs its value. One linear programme a level: some milliseconds for fifty cars.
    """
    if nothing_to_decide(problem):
        return np.zeros(np.size(levels_kw))
    window = replace(problem.window, demand_charge_per_kw=0.0, peak_so_far_kw=0.0, peak_outlook=())
    costs = []
    for level in np.atleast_1d(np.asarray(levels_kw, dtype=np.float64)).tolist():
        held = replace(window, limit_kw=np.minimum(window.limit_kw, level))
        costs.append(solve(replace(problem, window=held)).objective)
    return np.array(costs)


def outlook_of_costs(
    levels_kw: npt.ArrayLike, costs: npt.ArrayLike, price_per_kw: float
) -> tuple[tuple[float, float], ...]:
    """Costs of S drawn futures [S, L] at ascending levels [L], as an outlook for ``SiteWindow.peak_outlook``.

    Below a level at which a future would raise the peak anyway, a kW is free in it; above, it costs the charge less
    what it saves there. The mean over the futures rises with the level: its steps are the outlook's probabilities.

    >>> outlook_of_costs([10, 20, 30], [[200.0, 50.0, 0.0]], 10.0)
    ((20.0, 0.5), (30.0, 0.5))

    Raises:
        PlanInputError: Shapes do not fit, levels do not rise, or the price is not positive.
    """
    level, cost = np.asarray(levels_kw, dtype=np.float64), np.atleast_2d(np.asarray(costs, dtype=np.float64))
    if level.ndim != 1 or cost.shape[1] != len(level) or np.any(np.diff(level) <= 0) or not price_per_kw > 0:
        raise PlanInputError(
            f"Costs of shape {cost.shape} at levels of shape {level.shape} with a price of {price_per_kw}; wanted one "
            "cost a future and level, rising levels and a positive price."
        )
    if not np.all(np.isfinite(cost)):
        raise PlanInputError("A cost of a level is not finite; leave that day out.")
    saved = np.diff(cost, axis=1) / np.diff(level)
    paid = np.clip(1.0 + saved / price_per_kw, 0.0, 1.0).mean(axis=0)
    paid = np.append(np.maximum.accumulate(paid), 1.0)  # a kW above all levels costs its charge
    rises = np.diff(paid)
    return tuple((float(at), float(rise)) for at, rise in zip(level[1:], rises.tolist(), strict=True) if rise > _LEAST)


class RestOfMonth:
    """Outlooks for every day of a month from the cost curves of past days; workdays and weekends are drawn apart.

    Args:
        levels_kw: [L] ascending.
        curves: Of each past day, [L] as ``cost_of_levels`` gives them.
        price_per_kw: The demand charge.
        today: The share of a day like the past ones that is still to come on the day itself.
    """

    def __init__(
        self,
        levels_kw: npt.ArrayLike,
        curves: Mapping[date, npt.ArrayLike],
        price_per_kw: float,
        *,
        today: float = 0.5,
        seed: int = 0,
    ) -> None:
        self.levels_kw = np.asarray(levels_kw, dtype=np.float64)
        self.price_per_kw, self.today, self.seed = price_per_kw, today, seed
        rows = {day: np.asarray(curve, dtype=np.float64) for day, curve in curves.items()}
        self._workdays = np.array([row for day, row in sorted(rows.items()) if day.weekday() < _WORKDAYS])
        self._weekends = np.array([row for day, row in sorted(rows.items()) if day.weekday() >= _WORKDAYS])
        if not (len(self._workdays) and len(self._weekends)):
            raise PlanInputError("Past days without a workday or without a weekend; wanted some weeks of both.")
        self._known: dict[date, tuple[tuple[float, float], ...]] = {}

    def outlook(self, day: date) -> tuple[tuple[float, float], ...]:
        """The outlook on one day of its month; the same whenever it is asked for."""
        if day not in self._known:
            draw = np.random.default_rng([self.seed, day.toordinal()])
            last = monthrange(day.year, day.month)[1]
            coming = [day + timedelta(days=ahead) for ahead in range(1, last - day.day + 1)]
            cost = self.today * self._drawn(draw, day)
            for other in coming:
                cost = cost + self._drawn(draw, other)
            self._known[day] = outlook_of_costs(self.levels_kw, cost, self.price_per_kw)
        return self._known[day]

    def _drawn(self, draw: np.random.Generator, day: date) -> FloatArray:
        """[DRAWS, L] Costs of days of the same kind."""
        pool = self._workdays if day.weekday() < _WORKDAYS else self._weekends
        chosen: FloatArray = pool[draw.integers(len(pool), size=DRAWS)]
        return chosen
