"""One model kept alive from step to step: only what has changed is told to the solver, which goes on from its basis.

Slots stand on a ring: the row of slot s is the row of slot s + T, so that a step forward turns the ring and rewrites
one slot instead of moving all. Cars stand on lanes: a lane's columns, once made, serve the next car on it. What changes
between two steps (bounds, prices, needs) is found by comparing arrays and passed in one call of each kind.

Serves problems of cars, grid, sun, demand charge and network. One with more (battery, V2G, early departures, outlook,
least powers, smoothness, a price of waiting) has rows that a ring cannot keep; it is solved anew, which costs little.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.schedule import crash
from plugcast.schedule.cuts import instant_limits
from plugcast.schedule.engine import Engine
from plugcast.schedule.matrix import to_matrix
from plugcast.schedule.options import gives_power
from plugcast.schedule.pairs import pairs_of
from plugcast.schedule.solve import (
    AFTER_S,
    CUT_ROUNDS,
    EARLY_SLOPES,
    GUARD_COLUMNS,
    Solution,
    as_solution,
    fallback,
    idle,
    nothing_to_decide,
    solve,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugcast.schedule.arrays import FloatArray, IntArray
    from plugcast.schedule.matrix import LpMatrix
    from plugcast.schedule.problem import PlanProblem

STALE: Final = 3.0
"""Columns per column in use from which the model is built anew."""
NUDGE: Final = 0.4
"""Largest step, as a share of the tie-break's from slot to slot, by which a lane's cost of a slot stands apart from
other lanes'. Cars are exchangeable without it, and the solver's own remedy, costs perturbed afresh in every run, ends
in another of many equal plans each time: three times the pivots between two steps. These stay, so the plan stays."""
TURNS: Final = 4
"""Turns of the ring after which it is built anew: the slope of the tie-break grows with every slot."""


class LiveModel:
    """Solves one problem after another of the same site; each as ``solve`` would, only sooner.

    The tie-break stays in the costs between steps: its weight is a hundred-thousandth of the dearest price an hour,
    and the objective that is reported is the true one.
    """

    def __init__(self) -> None:
        self._ring: _Ring | None = None
        self.warm_steps = 0
        """Solved from the step before."""
        self.cold_steps = 0
        """Built anew."""

    def solve(
        self, problem: PlanProblem, *, time_limit_s: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> Solution:
        """The optimal powers, or those of earliest departure first where the solver gives no answer in time."""
        if not keeps(problem):
            return solve(problem, time_limit_s=time_limit_s)
        if nothing_to_decide(problem):
            return idle(problem)
        if time_limit_s <= 0:
            return fallback(problem, "no time was given")
        begun, ring = clock(), self._ring
        if ring is not None and ring.turn_to(problem):
            self.warm_steps += 1
        else:
            self.cold_steps += 1
            ring = self._ring = _Ring(problem)
        solution = ring.run(problem, time_limit_s - (clock() - begun) - AFTER_S * ring.engine.columns)
        if isinstance(solution, str):
            self._ring = None
            return fallback(problem, solution)
        return solution


def keeps(problem: PlanProblem) -> bool:
    """Whether a ring can hold the problem."""
    window = problem.window
    goals = window.goals
    plain = not (goals.rise_price_per_kw or goals.start_price or goals.fairness_price_per_kwh)
    plain = plain and not (window.peak_outlook or window.waiting_price_per_kwh_h or np.any(problem.quantum_kw > 0))
    crossed = np.any((window.feed_in_per_kwh > window.price_per_kwh) & (window.pv_kw > window.base_load_kw))
    special = any(need.early_departures or need.taper for need in problem.needs)
    return plain and not special and not crossed and not gives_power(problem)


class _Ring:
    """The model, and where in it each lane and slot stands."""

    def __init__(self, problem: PlanProblem) -> None:
        matrix = to_matrix(problem)
        lp, at, window = matrix.lp, matrix.at, problem.window
        self.unit, self.scale, self.at = matrix.unit, matrix.scale, at
        self.slot_min, self.slots, self.slot_h = window.slot_min, window.slots, window.slot_h
        self.start_at = window.start_at
        self.turned = 0
        self.slope = EARLY_SLOPES[0] * matrix.scale
        self.draw = np.random.default_rng(0)
        self.apart = self._drawn(problem.vehicles)
        self.cost = lp.cost + self.slope * matrix.early
        self.cost[: at.pairs.count] += self.apart[at.pairs.vehicle, at.pairs.slot]
        self.upper, self.lower = lp.upper.copy(), lp.lower.copy()
        self.row_lower, self.row_upper = lp.row_lower.copy(), lp.row_upper.copy()
        self.engine = Engine(lp, cost=self.cost)
        self.engine.keep_costs()
        if not at.peak_rows and not self.engine.refused:
            self.engine.start_from(crash.alone(matrix, self.cost))
        self.lane = {session: index for index, session in enumerate(problem.session_ids)}
        self.energy_row = np.arange(problem.vehicles)
        self.short = at.first_short + np.arange(problem.vehicles)
        self.table = np.full((problem.vehicles, window.slots), -1, dtype=np.int64)
        self.table[at.pairs.vehicle, at.pairs.slot] = np.arange(at.pairs.count)
        self.cuts = np.empty(0, dtype=np.int64)
        self.pairs, self.columns = at.pairs, np.arange(at.pairs.count)
        self.matrix: LpMatrix = matrix

    def _drawn(self, lanes: int) -> FloatArray:
        """[lanes, T] What sets a car's cost of a slot apart from other cars'."""
        return NUDGE * self.slope * self.slot_h**2 * self.draw.random((lanes, self.slots))

    def turn_to(self, problem: PlanProblem) -> bool:
        """Make the model that of the problem; False where it must be built anew."""
        window = problem.window
        moved = (window.start_at - self.start_at).total_seconds() / 60.0 / self.slot_min
        same = window.slot_min == self.slot_min and window.slots == self.slots
        if not (same and moved >= 0 and moved.is_integer() and moved < self.slots):
            return False
        if bool(window.peak_price_per_kw > 0) != bool(self.at.peak_rows):
            return False
        turned = self.turned + int(moved)
        pairs = pairs_of(problem)
        used = pairs.count + 4 * self.slots
        if turned > TURNS * self.slots or max(self.engine.columns, self.engine.rows) > STALE * used:
            return False
        self.turned, self.start_at = turned, window.start_at
        lanes = self._lanes(problem)
        ring = (pairs.slot + turned) % self.slots
        self._extend(lanes[pairs.vehicle], ring)
        self.columns = self.table[lanes[pairs.vehicle], ring]
        self.pairs = pairs
        self._rewrite(problem, lanes)
        return True

    def _lanes(self, problem: PlanProblem) -> IntArray:
        """[V] lane of each car: its own, else one that a car has left, else a new one."""
        here = set(problem.session_ids)
        self.lane = {session: lane for session, lane in self.lane.items() if session in here}
        free = sorted(set(range(len(self.short))) - set(self.lane.values()))
        fresh = [session for session in problem.session_ids if session not in self.lane]
        for session in fresh[: len(free)]:
            self.lane[session] = free.pop()
        missing = [session for session in fresh if session not in self.lane]
        if missing:
            self._add_lanes(missing)
        return np.array([self.lane[session] for session in problem.session_ids], dtype=np.int64)

    def _add_lanes(self, sessions: list[str]) -> None:
        count = len(sessions)
        zeros, first_row, first_column = np.zeros(count), self.engine.rows, self.engine.columns
        self.engine.add_rows(zeros, zeros, np.zeros(count, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
        rows = first_row + np.arange(count)
        self.engine.add_columns(zeros, np.full(count, np.inf), np.arange(count), rows, np.ones(count))
        self.row_lower, self.row_upper = np.append(self.row_lower, zeros), np.append(self.row_upper, zeros)
        self._grow(zeros, np.full(count, np.inf))
        for offset, session in enumerate(sessions):
            self.lane[session] = len(self.short) + offset
        self.energy_row = np.append(self.energy_row, rows)
        self.short = np.append(self.short, first_column + np.arange(count))
        self.table = np.concatenate([self.table, np.full((count, self.slots), -1, dtype=np.int64)])
        self.apart = np.concatenate([self.apart, self._drawn(count)])

    def _extend(self, lane: IntArray, ring: IntArray) -> None:
        """Columns for lanes and slots that had none."""
        new = np.flatnonzero(self.table[lane, ring] < 0)
        if not new.size:
            return
        count, first = len(new), self.engine.columns
        rows = np.stack([self.energy_row[lane[new]], self.at.first_balance + ring[new]], axis=1)
        # rows ascend within a column only where lanes are old; HiGHS does not mind
        values = np.tile([self.slot_h, 1.0], count)
        self.engine.add_columns(np.zeros(count), np.zeros(count), 2 * np.arange(count), rows.ravel(), values)
        self._grow(np.zeros(count), np.zeros(count))
        self.table[lane[new], ring[new]] = first + np.arange(count)

    def _grow(self, cost: FloatArray, upper: FloatArray) -> None:
        self.cost, self.upper = np.append(self.cost, cost), np.append(self.upper, upper)
        self.lower = np.append(self.lower, np.zeros(len(cost)))

    def _rewrite(self, problem: PlanProblem, lanes: IntArray) -> None:
        """All numbers of the problem, of which the solver is told those that differ."""
        window, pairs, at, turned = problem.window, self.pairs, self.at, self.turned
        cost, upper, lower = self.cost.copy(), self.upper.copy(), self.lower.copy()
        made = self.table[self.table >= 0]
        upper[made] = 0.0
        most = np.minimum(problem.max_power_kw[pairs.vehicle], window.headroom_kw[pairs.slot])
        upper[self.columns] = most * pairs.share
        own = self.apart[lanes[pairs.vehicle], (pairs.slot + turned) % self.slots]
        cost[self.columns] = self.slope * (pairs.slot + turned) * self.slot_h**2 + own
        order = (np.arange(self.slots) + turned) % self.slots
        base, hours = window.base_load_kw - window.pv_kw, self.slot_h / self.unit
        cost[at.first_import + order] = window.steering_price_per_kwh * hours
        sold = np.minimum(window.feed_in_per_kwh, window.steering_price_per_kwh)
        cost[at.first_export + order] = -sold * hours
        upper[at.first_import + order] = np.maximum(window.limit_kw, base)
        upper[at.first_export + order] = np.maximum(-base, 0.0)
        if at.peak_rows:
            cost[at.peak] = window.peak_price_per_kw / self.unit
            lower[at.peak] = max(window.peak_so_far_kw, float(base.max()))
        cost[self.short[lanes]] = problem.shortfall_price_per_kwh / self.unit
        row_lower, row_upper = self.row_lower.copy(), self.row_upper.copy()
        row_lower[at.first_balance + order] = row_upper[at.first_balance + order] = -base
        row_lower[self.energy_row] = row_upper[self.energy_row] = 0.0
        row_lower[self.energy_row[lanes]] = row_upper[self.energy_row[lanes]] = problem.energy_needed_kwh
        self._tell(cost, lower, upper, row_lower, row_upper)

    def _tell(
        self, cost: FloatArray, lower: FloatArray, upper: FloatArray, row_lower: FloatArray, row_upper: FloatArray
    ) -> None:
        engine = self.engine
        if self.cuts.size:  # of other cars and slots: those that still matter come back
            engine.set_rows(self.cuts, np.full(len(self.cuts), -np.inf), np.full(len(self.cuts), np.inf))
            self.cuts = np.empty(0, dtype=np.int64)
        dearer = np.flatnonzero(cost != self.cost)
        if dearer.size:
            engine.set_costs(dearer, cost[dearer])
        moved = np.flatnonzero((upper != self.upper) | (lower != self.lower))
        if moved.size:
            engine.set_bounds(moved, lower[moved], upper[moved])
        rows = np.flatnonzero((row_lower != self.row_lower) | (row_upper != self.row_upper))
        if rows.size:
            engine.set_rows(rows, row_lower[rows], row_upper[rows])
        self.cost, self.lower, self.upper = cost, lower, upper
        self.row_lower, self.row_upper = row_lower, row_upper

    def run(self, problem: PlanProblem, time_limit_s: float) -> Solution | str:
        """Solve what the model holds."""
        engine, pairs = self.engine, self.pairs
        places = replace(self.at, pairs=pairs, vehicles=problem.vehicles)
        instant = instant_limits(problem, places, gives=False)
        deadline, guarded = engine.seconds() + time_limit_s, engine.columns > GUARD_COLUMNS
        values = np.empty(0)
        for _ in range(CUT_ROUNDS):
            failure = engine.run(deadline - engine.seconds(), guarded=guarded)
            if failure:
                return failure
            values = engine.values()
            rows = instant.broken(values[self.columns] / pairs.share)
            if rows is None:
                break
            count = len(rows.upper)
            self.cuts = np.append(self.cuts, engine.rows + np.arange(count))
            self.row_lower = np.append(self.row_lower, np.full(count, -np.inf))
            self.row_upper = np.append(self.row_upper, rows.upper)
            engine.add_rows(np.full(count, -np.inf), rows.upper, rows.start, self.columns[rows.index], rows.value)
        own = values[self.columns]
        slope = float(self.cost[self.columns] @ own)
        true = float(self.cost @ values) - slope
        # the tie-break can have cost no more than charging everything at the very end would have added to it
        latest = self.slope * (self.turned + problem.last_slot + NUDGE) * self.slot_h
        slack = max(float(latest @ problem.energy_needed_kwh) - slope, 0.0)
        matrix = replace(self.matrix, problem=problem, at=places)
        return as_solution(matrix, instant, own, objective=true, bound=true - slack)
