"""The optimal plan: the linear programme on HiGHS, in this process, on one thread, with a heuristic behind it.

Reaches only numpy, msgspec, highspy and the domain, so that an edge box can run it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.domain.plan import PlanStatus
from plugcast.schedule import crash
from plugcast.schedule.arrays import POWER_TOL_KW
from plugcast.schedule.cuts import instant_limits
from plugcast.schedule.engine import Engine
from plugcast.schedule.heuristics import earliest_departure_first
from plugcast.schedule.matrix import to_matrix
from plugcast.schedule.options import gives_power
from plugcast.schedule.outcome import plan_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plugcast.domain.plan import ChargingPlan
    from plugcast.schedule.arrays import FloatArray
    from plugcast.schedule.cuts import Instant
    from plugcast.schedule.matrix import LpMatrix, Places
    from plugcast.schedule.problem import PlanProblem

EARLY_SLOPES: Final = (1e-5, 1e-7)
"""What an hour of delay adds to a kWh's price, as a share of the dearest kWh: large enough for the simplex method to
see, and a help to it, for equal prices are what makes it wander. Each is checked against the true cost, and the next
one taken where it has changed it."""
SAME_COST: Final = 1e-8
"""Relative difference of true cost up to which the tie-break is accepted."""
CUT_ROUNDS: Final = 40
AFTER_S: Final = 1e-6
"""Seconds a column that a plan by departure takes where the solver gives none."""
GUARD_COLUMNS: Final = 50_000
"""Programmes above this size run on a thread that can be left behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Powers and how they came about."""

    power_kw: FloatArray
    """[V, T] mean power of each slot; negative where a car gives power back."""
    status: PlanStatus
    """OPTIMAL or FALLBACK; whether needs were met is the plan's to say."""
    note: str = ""
    objective: float = float("nan")
    """Of the solution, all soft goals and what shortfall costs included, in the tariff's currency."""
    bound: float = float("nan")
    """No plan has a lower objective."""
    battery_kw: FloatArray | None = None
    """[T] mean power into the site's battery; negative where it gives."""

    @property
    def gap(self) -> float:
        """How far at most the objective is from the best, as a share of it."""
        return max(self.objective - self.bound, 0.0) / max(abs(self.bound), 1e-9)


@dataclass(slots=True, kw_only=True)
class Relaxed:
    """A solved programme that is still in the solver: what other methods go on from."""

    matrix: LpMatrix
    engine: Engine
    instant: Instant
    columns: FloatArray
    objective: float
    """In units of the matrix."""
    cuts: int = 0
    allowed_s: float = np.inf
    """What all runs of the solver may take together: the limit less the time that went by around them."""

    def solution(self, *, bound: float | None = None) -> Solution:
        """As powers; ``bound`` in units of the matrix."""
        return as_solution(self.matrix, self.instant, self.columns, objective=self.objective, bound=bound)


def plan(problem: PlanProblem, site_id: str, issued_at: datetime, *, time_limit_s: float = 5.0) -> ChargingPlan:
    """The cheapest plan inside the limits, each car explained; never empty, never silent about a shortfall.

    Equal costs charge early. The bill is computed from the plan's powers, not from the solver's objective.
    """
    solution = solve(problem, time_limit_s=time_limit_s)
    return plan_of(
        problem,
        solution.power_kw,
        site_id=site_id,
        issued_at=issued_at,
        status=solution.status,
        notes=(solution.note,) if solution.note else (),
        battery_kw=solution.battery_kw,
    )


def solve(problem: PlanProblem, *, time_limit_s: float = 5.0) -> Solution:
    """Optimal powers, or those of earliest departure first where the solver gives no answer in time."""
    if nothing_to_decide(problem):
        return idle(problem)
    relaxed = relax(problem, time_limit_s=time_limit_s)
    return fallback(problem, relaxed) if isinstance(relaxed, str) else relaxed.solution()


def nothing_to_decide(problem: PlanProblem) -> bool:
    """No car has a slot, and no battery could do anything."""
    return problem.window.battery is None and not np.any(problem.last_slot > problem.first_slot)


def idle(problem: PlanProblem) -> Solution:
    """The plan where there is nothing to decide."""
    return Solution(power_kw=np.zeros((problem.vehicles, problem.window.slots)), status=PlanStatus.OPTIMAL)


def fallback(problem: PlanProblem, failure: str) -> Solution:
    """Cars in order of departure, and why."""
    note = f"The solver gave no answer ({failure}); cars charge in order of departure instead."
    return Solution(power_kw=earliest_departure_first(problem), status=PlanStatus.FALLBACK, note=note)


def relax(problem: PlanProblem, *, time_limit_s: float, clock: Callable[[], float] = time.monotonic) -> Relaxed | str:
    """The programme solved, early among equals, instant limits kept; or why not.

    ``clock`` counts seconds: building a large programme takes its part of the limit.
    """
    if time_limit_s <= 0:
        return "no time was given"
    begun = clock()
    matrix = to_matrix(problem)
    slope = EARLY_SLOPES[0] * matrix.scale
    cost = matrix.lp.cost + slope * matrix.early
    engine = Engine(matrix.lp, cost=cost)
    if not matrix.at.peak_rows and not engine.refused:
        engine.start_from(crash.alone(matrix, cost))
    instant = instant_limits(problem, matrix.at, gives=gives_power(problem))
    relaxed = Relaxed(matrix=matrix, engine=engine, instant=instant, columns=np.empty(0), objective=np.nan)
    relaxed.allowed_s = time_limit_s - (clock() - begun) - AFTER_S * matrix.lp.columns
    return optimise(relaxed, relaxed.allowed_s) or relaxed


def optimise(relaxed: Relaxed, time_limit_s: float) -> str:
    """Solve with the tie-break that is in the costs, prove it or take it back; what went wrong, or nothing."""
    matrix, engine = relaxed.matrix, relaxed.engine
    deadline = engine.seconds() + time_limit_s
    failure = run_with_cuts(relaxed, deadline)
    if failure:
        return failure
    true = matrix.lp.cost
    relaxed.objective = float(true @ relaxed.columns[: len(true)])
    allowed = SAME_COST * max(_bill(matrix, relaxed.columns), POWER_TOL_KW * matrix.scale)
    if relaxed.cuts == 0 and _possible_loss(relaxed) <= allowed:
        return ""
    every = np.arange(len(true))
    for slope in (None, *EARLY_SLOPES[1:]):
        early = relaxed.columns
        if slope is not None:
            engine.set_costs(every, true + slope * matrix.scale * matrix.early)
            if run_with_cuts(relaxed, deadline):
                break
            early = relaxed.columns
        engine.set_costs(every, true)
        if run_with_cuts(relaxed, deadline):
            relaxed.columns = early  # in time for a plan, not for the proof
            break
        best = float(true @ relaxed.columns[: len(true)])
        if float(true @ early[: len(true)]) - best <= allowed:
            relaxed.columns = early
            break
    relaxed.objective = float(true @ relaxed.columns[: len(true)])
    return ""


def run_with_cuts(relaxed: Relaxed, deadline: float) -> str:
    """Solve, add what is broken at some instant, solve again; leaves the columns, gives what went wrong."""
    engine, at = relaxed.engine, relaxed.matrix.at
    guarded = engine.columns > GUARD_COLUMNS
    for _ in range(CUT_ROUNDS):
        failure = engine.run(deadline - engine.seconds(), guarded=guarded)
        if failure:
            return failure
        columns = engine.values()
        if not np.all(np.isfinite(columns)):
            return "its answer had numbers that are not finite"
        relaxed.columns = columns
        rows = relaxed.instant.broken(powers(at, columns) / at.pairs.share)
        if rows is None:
            return ""
        count = len(rows.upper)
        engine.add_rows(np.full(count, -np.inf), rows.upper, rows.start, rows.index, rows.value)
        relaxed.cuts += count
    return ""  # what is left over is shrunk away with the solver's other rounding


def _possible_loss(relaxed: Relaxed) -> float:
    """By how much the solution can be dearer than the best without the tie-break: weak duality, no second solve."""
    lp, columns = relaxed.matrix.lp, relaxed.columns
    price = relaxed.engine.row_prices(lp.cost)
    reduced = lp.cost - np.bincount(lp.column_of_entry(), weights=lp.value * price[lp.index], minlength=lp.columns)
    worth = np.concatenate([reduced, price])
    worth[np.abs(worth) < 1e-9 * relaxed.matrix.scale] = 0.0  # rounding of the inverse
    here = np.concatenate([columns, lp.times(columns)])
    least = np.where(worth > 0, np.concatenate([lp.lower, lp.row_lower]), np.concatenate([lp.upper, lp.row_upper]))
    used = worth != 0
    loss = worth[used] * (here[used] - least[used])
    return float(loss.sum()) if np.all(np.isfinite(loss)) else np.inf


def _bill(matrix: LpMatrix, columns: FloatArray) -> float:
    """The size of the true cost without the price of shortfall, which would hide everything else."""
    at, cost = matrix.at, matrix.lp.cost
    short = slice(at.first_short, at.first_short + at.vehicles * at.short_steps)
    return abs(float(cost @ columns[: len(cost)] - cost[short] @ columns[short]))


def powers(at: Places, columns: FloatArray) -> FloatArray:
    """[K] net mean power of each pair."""
    net = columns[: at.pairs.count].copy()
    if len(at.given):
        gives = at.given >= 0
        net[gives] -= columns[at.given[gives]]
    return net


def as_solution(
    matrix: LpMatrix, instant: Instant, columns: FloatArray, *, objective: float, bound: float | None = None
) -> Solution:
    """Powers with the solver's rounding taken out; ``bound`` in units of the matrix, by default the objective."""
    at, battery = matrix.at, None
    if at.battery >= 0:
        charge = columns[at.battery : at.battery + at.slots]
        battery = charge - columns[at.battery + at.slots : at.battery + 2 * at.slots]
    return Solution(
        power_kw=_inside(matrix.problem, at, instant, powers(at, columns), battery),
        status=PlanStatus.OPTIMAL,
        objective=objective * matrix.unit,
        bound=(objective if bound is None else bound) * matrix.unit,
        battery_kw=battery,
    )


def _inside(
    problem: PlanProblem, at: Places, instant: Instant, net: FloatArray, battery: FloatArray | None
) -> FloatArray:
    """[V, T] Slot means: no limit, rating or need is exceeded even by a hair."""
    power = np.minimum(net, problem.max_power_kw[at.pairs.vehicle] * at.pairs.share)
    power[np.abs(power) < POWER_TOL_KW] = 0.0
    if not len(at.given):
        np.maximum(power, 0.0, out=power)
    if battery is None and not len(at.given):
        together = np.bincount(at.pairs.slot, weights=power, minlength=at.slots)
        headroom = problem.window.headroom_kw
        shrink = np.where(together > headroom, headroom / np.maximum(together, POWER_TOL_KW), 1.0)
        power *= shrink[at.pairs.slot]
    power *= instant.factor(power / at.pairs.share)[at.pairs.slot]
    dense = np.zeros((problem.vehicles, at.slots))
    dense[at.pairs.vehicle, at.pairs.slot] = power
    return _no_more_than_needed(problem, dense)


def _no_more_than_needed(problem: PlanProblem, power: FloatArray) -> FloatArray:
    """A car that has what it needs stops, however much longer it was offered power."""
    slot_h, need = problem.window.slot_h, problem.energy_needed_kwh
    over = np.flatnonzero(power.sum(axis=1) * slot_h > need)
    over = np.array([car for car in over.tolist() if problem.needs[car].discharge is None], dtype=np.int64)
    held = np.minimum(np.cumsum(power[over], axis=1) * slot_h, need[over, None])
    power[over] = np.diff(held, axis=1, prepend=0.0) / slot_h
    return power
