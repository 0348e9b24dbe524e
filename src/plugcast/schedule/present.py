"""The slot that is about to be commanded, in powers that exist, without a higher peak than the plan's.

A receding horizon needs whole currents only now: what is rounded away is planned again at the next look. Rounding each
car to its nearest current would lift the sum by half a step a car at times, and a month's demand charge never forgets
that. So all are rounded down, and the sum that the plan gives the slot is filled up again: first by those that lost
most, then by cars that would charge later anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.schedule.levels import LEVEL_TOL, grid_of, next_above
from plugcast.schedule.solve import run_with_cuts

if TYPE_CHECKING:
    from plugcast.schedule.arrays import FloatArray, IntArray
    from plugcast.schedule.solve import Relaxed

_LIMIT_TOL: Final = 1e-7


def settle(relaxed: Relaxed, deadline: float, slots: int) -> str:
    """Fix the first slots one after the other, the rest planned anew after each; what went wrong, or nothing.

    ``deadline`` counts all runs of the model.
    """
    pairs = relaxed.matrix.at.pairs
    for slot in range(slots):
        mine = np.flatnonzero(pairs.slot == slot)
        chosen = _filled(relaxed, mine, slot)
        if np.all(np.abs(chosen - relaxed.columns[mine]) <= LEVEL_TOL):
            continue
        before = relaxed.columns.copy()
        relaxed.engine.set_bounds(mine, chosen, chosen)
        failure = run_with_cuts(relaxed, deadline)
        if failure:
            relaxed.columns = before
            relaxed.columns[mine] = chosen
            return f"The rest could not be planned anew after rounding ({failure})."
    cost = relaxed.matrix.lp.cost
    relaxed.objective = float(cost @ relaxed.columns[: len(cost)])
    return ""


def _filled(relaxed: Relaxed, mine: IntArray, slot: int) -> FloatArray:
    """Powers of one slot's pairs: what exists below the plan, filled up."""
    problem, at = relaxed.matrix.problem, relaxed.matrix.at
    pairs, columns = at.pairs, relaxed.columns
    power = columns[: pairs.count]
    grid = grid_of(problem, pairs, power)
    off = grid.between(power)[mine]
    chosen = np.where(off, grid.below[mine], power[mine])
    if not off.any():
        return chosen
    room = _Room(relaxed, mine, slot)
    part = (power[mine] - grid.below[mine]) / np.maximum(grid.above[mine] - grid.below[mine], LEVEL_TOL)
    for index in np.argsort(-part, kind="stable").tolist():
        if off[index] and room.allows(chosen, index, float(grid.above[mine[index]])):
            chosen[index] = grid.above[mine[index]]
    if at.peak_rows:
        _fill(relaxed, mine, chosen, room)
    return chosen


def _fill(relaxed: Relaxed, mine: IntArray, chosen: FloatArray, room: _Room) -> None:
    """Give what rounding left of the slot's sum to cars that would draw it later; changes ``chosen``."""
    problem, pairs = relaxed.matrix.problem, relaxed.matrix.at.pairs
    power = relaxed.columns[: pairs.count]
    planned = np.bincount(pairs.vehicle, weights=power, minlength=problem.vehicles)[pairs.vehicle[mine]]
    while True:
        gap = float(power[mine].sum() - chosen.sum())
        later = planned - chosen
        for index in np.argsort(-later, kind="stable").tolist():
            car, share = int(pairs.vehicle[mine[index]]), float(pairs.share[mine[index]])
            raised = next_above(problem, car, float(chosen[index]) / share) * share
            step = raised - chosen[index]
            if LEVEL_TOL < step <= min(gap, later[index]) and room.allows(chosen, index, raised):
                chosen[index] = raised
                break
        else:
            return


class _Room:
    """What one slot has room for."""

    def __init__(self, relaxed: Relaxed, mine: IntArray, slot: int) -> None:
        problem, at, columns = relaxed.matrix.problem, relaxed.matrix.at, relaxed.columns
        pairs = at.pairs
        self.share = pairs.share[mine]
        self.most = float(problem.window.headroom_kw[slot])
        if at.peak_rows:  # the plan's own peak is what the month will pay for anyway
            slack = max(float(columns[at.peak] - columns[at.first_import + slot]), 0.0)
            self.most = min(self.most, float(columns[mine].sum()) + slack)
        self.weight = relaxed.instant.weight[:, pairs.vehicle[mine]]
        self.limit = relaxed.instant.limit
        slot_h = problem.window.slot_h
        # a car with a least power may be offered a little more than it needs
        self.each = (problem.energy_needed_kwh + problem.quantum_kw * slot_h)[pairs.vehicle[mine]] / slot_h

    def allows(self, chosen: FloatArray, index: int, raised: float) -> bool:
        """Whether one power may be raised with all limits kept, the plan's peak among them."""
        if raised > self.each[index] + LEVEL_TOL or chosen.sum() - chosen[index] + raised > self.most + LEVEL_TOL:
            return False
        tried = chosen.copy()
        tried[index] = raised
        load = np.abs(self.weight @ (tried / self.share))
        return bool(np.all(load <= self.limit * (1 + _LIMIT_TOL)))
