"""A basis to start from: each car alone in its cheapest slots.

Without shared limits that is the optimum of a linear price (a fractional knapsack for each car), found by one sort.
With them it is still dual feasible: the dual simplex method only has to repair the slots in which the limit, the peak
or the sun makes itself felt, instead of finding every car's plan from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from plugcast.schedule.arrays import FloatArray
    from plugcast.schedule.matrix import LpMatrix

LOWER, BASIC, UPPER = 0, 1, 2
"""Of a column or row, as HiGHS numbers them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Status of every column and row."""

    columns: npt.NDArray[np.int8]
    rows: npt.NDArray[np.int8]


def alone(matrix: LpMatrix, cost: FloatArray) -> Basis:
    """Each car in its cheapest slots under ``cost`` (of the columns), imports follow; rows of options stay slack."""
    lp, at = matrix.lp, matrix.at
    slot_h, need = matrix.problem.window.slot_h, matrix.problem.energy_needed_kwh
    count = at.pairs.count
    columns = np.zeros(lp.columns, dtype=np.int8)
    rows = np.full(lp.rows, BASIC, dtype=np.int8)
    price = cost[:count] + cost[at.first_import + at.pairs.slot]
    order = np.lexsort((price, at.pairs.vehicle))
    room = lp.upper[order] * slot_h
    before = np.cumsum(room) - room
    begin = at.pairs.block[:-1]
    offset = np.zeros(at.vehicles)
    there = begin < at.pairs.block[1:]
    offset[there] = before[begin[there]]
    left = need[at.pairs.vehicle] - (before - offset[at.pairs.vehicle])
    columns[order[left >= room]] = UPPER
    last = order[(left > 0) & (left < room)]  # at most one a car: where its need ends
    columns[last] = BASIC
    marginal = np.zeros(at.vehicles, dtype=np.bool_)
    marginal[at.pairs.vehicle[last]] = True
    columns[at.first_short + np.flatnonzero(~marginal)] = BASIC
    columns[at.first_import : at.first_import + at.slots] = BASIC
    rows[: at.vehicles] = LOWER
    rows[at.first_balance : at.first_balance + at.slots] = LOWER
    return Basis(columns=columns, rows=rows)
