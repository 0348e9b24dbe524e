"""Powers that exist: what a charger can really offer, next to what a plan would like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from plugcast.schedule.arrays import BoolArray, FloatArray
    from plugcast.schedule.pairs import Pairs
    from plugcast.schedule.problem import PlanProblem

LEVEL_TOL: Final = 1e-5
"""kW within which a power counts as one that the charger can offer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The powers that exist, pair by pair, as slot means."""

    below: FloatArray
    """[K] highest possible power at or below the planned one."""
    above: FloatArray
    """[K] lowest at or above."""

    def between(self, power: FloatArray) -> BoolArray:
        """Pairs whose power does not exist."""
        off: BoolArray = (power - self.below > LEVEL_TOL) & (self.above - power > LEVEL_TOL)
        return off


def grid_of(problem: PlanProblem, pairs: Pairs, power: FloatArray) -> Grid:
    """Neighbours of each power [K]; a continuous one is its own."""
    there = power / pairs.share
    below, above = there.copy(), there.copy()
    least = problem.quantum_kw[pairs.vehicle]
    small = there < least - LEVEL_TOL
    below[small], above[small] = 0.0, least[small]
    for levels, cars in problem.levels_kw.items():
        mine = np.flatnonzero(np.isin(pairs.vehicle, cars))
        steps = np.array([0.0, *levels])
        up = np.clip(np.searchsorted(steps, there[mine] - LEVEL_TOL), 0, len(steps) - 1)
        above[mine] = steps[up]
        exactly = np.abs(steps[up] - there[mine]) <= LEVEL_TOL
        below[mine] = np.where(exactly, steps[up], steps[np.maximum(up - 1, 0)])
    return Grid(below=below * pairs.share, above=above * pairs.share)


def next_above(problem: PlanProblem, car: int, power_kw: float) -> float:
    """The next power above one that exists, in powers while there; itself where there is none.

    A power that may be anything above its least has no next one.
    """
    need = problem.needs[car]
    if power_kw < problem.quantum_kw[car] - LEVEL_TOL:
        return float(problem.quantum_kw[car])
    known = (min(level, need.max_power_kw) for level in need.pilots_kw)
    return min((level for level in known if level > power_kw + LEVEL_TOL), default=power_kw)


def offers(problem: PlanProblem, power_kw: FloatArray) -> FloatArray:
    """[V, S] Lowest powers that exist at or above those of a settled plan [V, S], while the cars are there.

    Only the end of a charge differs: a plan shows there what the car will draw on average until it is full.
    """
    found = power_kw.copy()
    for car, slot in np.argwhere(power_kw > LEVEL_TOL).tolist():
        power = float(power_kw[car, slot])
        below = max((level for level in problem.needs[car].pilots_kw if level < power - LEVEL_TOL), default=0.0)
        if power < problem.quantum_kw[car] - LEVEL_TOL or problem.needs[car].pilots_kw:
            found[car, slot] = max(next_above(problem, car, below), power)
    return found
