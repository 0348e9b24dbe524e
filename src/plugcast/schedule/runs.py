"""How often a car starts and how long it then keeps on: what wears relays and batteries, and what drivers notice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import highspy
import numpy as np

from plugcast.schedule.arrays import POWER_TOL_KW

if TYPE_CHECKING:
    from plugcast.schedule.arrays import FloatArray, IntArray
    from plugcast.schedule.engine import Engine
    from plugcast.schedule.pairs import Pairs
    from plugcast.schedule.problem import PlanProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """What is asked of runs."""

    min_slots: int = 1
    start_price: float = 0.0
    """In units of the matrix."""

    @property
    def counted(self) -> bool:
        """Whether on and off need columns of their own."""
        return self.min_slots > 1 or self.start_price > 0


def starts(power_kw: FloatArray) -> IntArray:
    """[V] how often each car begins to charge under powers [V, T]."""
    on = power_kw > POWER_TOL_KW
    began = on & ~np.concatenate([np.zeros((len(on), 1), dtype=np.bool_), on[:, :-1]], axis=1)
    counted: IntArray = began.sum(axis=1)
    return counted


def short_runs(pairs: Pairs, power: FloatArray, min_slots: int) -> IntArray:
    """Pairs of the shortest run of each car that is too short; one that its stay cuts off may be."""
    found = []
    for car in range(len(pairs.block) - 1):
        mine = pairs.of(car)
        on = power[mine] > POWER_TOL_KW
        edges = np.flatnonzero(np.diff(np.concatenate([[False], on, [False]]).astype(np.int8)))
        first, last = edges[::2], edges[1::2]
        short = (last - first < min_slots) & (last < len(mine))
        if short.any():
            least = int(np.flatnonzero(short)[np.argmin((last - first)[short])])
            found.append(mine[first[least] : last[least]])
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def add_runs(engine: Engine, problem: PlanProblem, pairs: Pairs, runs: Runs) -> None:
    """Binaries ``on[v,t]`` and ``start[v,t] >= on[v,t] - on[v,t-1]``; a start keeps the next slots on.

    Rows: least x on <= power <= most x on (Carrion and Arroyo 2006 for the runs).
    """
    count = pairs.count
    each, nothing = np.arange(count), np.empty(0, dtype=np.int64)
    least, most = problem.quantum_kw[pairs.vehicle], problem.max_power_kw[pairs.vehicle]
    rows = engine.rows
    zeros, infinite = np.zeros(count), np.full(count, np.inf)
    inverse = 1.0 / pairs.share
    engine.add_rows(zeros, infinite, each, each, inverse)  # power - least on >= 0
    engine.add_rows(-infinite, zeros, each, each, inverse)  # power - most on <= 0
    engine.add_rows(zeros, infinite, np.zeros(count, dtype=np.int64), nothing, np.empty(0))  # start - on + before >= 0
    on = engine.columns
    begun = rows + 2 * count
    later = np.ones(count + 1, dtype=np.bool_)
    later[pairs.block] = False
    goes_on = later[1:]  # whether the next pair is the same car's
    index = np.stack([rows + each, rows + count + each, begun + each, begun + each + 1], axis=1)
    value = np.stack([-least, -most, -np.ones(count), np.ones(count)], axis=1)
    keep = np.ones((count, 4), dtype=np.bool_)
    keep[:, 3] = goes_on
    start = np.concatenate([[0], np.cumsum(keep.sum(axis=1))[:-1]])
    engine.add_columns(zeros, np.ones(count), start, index[keep], value[keep])
    begin = engine.columns
    engine.add_columns(np.full(count, runs.start_price), np.ones(count), each, begun + each, np.ones(count))
    for ahead in range(1, runs.min_slots):  # on[t + ahead] >= start[t], inside the stay
        there = each[:-ahead][pairs.vehicle[:-ahead] == pairs.vehicle[ahead:]] if count > ahead else nothing
        pair = np.stack([on + there + ahead, begin + there], axis=1).ravel()
        ones = np.tile([1.0, -1.0], len(there))
        engine.add_rows(np.zeros(len(there)), np.full(len(there), np.inf), 2 * np.arange(len(there)), pair, ones)
    whole = np.arange(on, on + count)
    engine.set_kinds(whole, [int(highspy.HighsVarType.kInteger)] * count)
