"""The optimal plan: the linear programme on HiGHS, in this process, on one thread, with a heuristic behind it.

Reaches only numpy, msgspec, highspy and the domain, so that an edge box can run it.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import highspy
import numpy as np

from plugcast.domain.plan import PlanStatus
from plugcast.schedule.heuristics import earliest_departure_first
from plugcast.schedule.matrix import to_matrix
from plugcast.schedule.outcome import plan_of
from plugcast.schedule.problem import POWER_TOL_KW

if TYPE_CHECKING:
    from datetime import datetime

    from plugcast.domain.plan import ChargingPlan
    from plugcast.schedule.matrix import LpMatrix
    from plugcast.schedule.problem import FloatArray, PlanProblem

EARLY_SLOPES: Final = (1e-4, 1e-6)
"""What a slot of delay adds to a kWh's price, as a share of the dearest kWh: large enough for the simplex method to
see. Each is checked against the true cost after the solve, and the next one taken where it has changed it."""
SAME_COST: Final = 1e-8
"""Relative difference of true cost up to which the tie-break is accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Powers and how they came about."""

    power_kw: FloatArray
    """[V, T] mean power of each slot."""
    status: PlanStatus
    """OPTIMAL or FALLBACK; whether needs were met is the plan's to say."""
    note: str = ""


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
    )


def solve(problem: PlanProblem, *, time_limit_s: float = 5.0) -> Solution:
    """Optimal powers, or those of earliest departure first where the solver gives no answer in time."""
    if not problem.vehicles or not np.any(problem.last_slot > problem.first_slot):
        return Solution(power_kw=np.zeros((problem.vehicles, problem.window.slots)), status=PlanStatus.OPTIMAL)
    matrix = to_matrix(problem)
    columns, failure = _solve_lp(matrix, time_limit_s) if time_limit_s > 0 else (None, "no time was given")
    if columns is None:
        note = f"The solver gave no answer ({failure}); cars charge in order of departure instead."
        return Solution(power_kw=earliest_departure_first(problem), status=PlanStatus.FALLBACK, note=note)
    power = np.zeros((problem.vehicles, problem.window.slots))
    pairs = len(matrix.pair_slot)
    power[matrix.pair_vehicle, matrix.pair_slot] = columns[:pairs]
    return Solution(power_kw=_inside(problem, power), status=PlanStatus.OPTIMAL)


def _solve_lp(matrix: LpMatrix, time_limit_s: float) -> tuple[FloatArray | None, str]:
    """Columns of an optimal solution that charges early, or None and why not.

    The slope is part of the cost of the first solve only. Restoring the true cost and running again from the same
    basis proves that the solution is optimal without it (no iteration is needed then), or finds the true optimum.
    """
    deadline = monotonic() + time_limit_s
    solver = _load(matrix)
    if solver is None:
        return None, "the model was refused"
    every = np.arange(len(matrix.cost), dtype=np.int32)
    best: FloatArray | None = None
    for slope in EARLY_SLOPES:
        solver.changeColsCost(len(every), every, matrix.cost + slope * matrix.early)
        early, failure = _run(solver, deadline)
        if early is None:
            return best, failure
        solver.changeColsCost(len(every), every, matrix.cost)
        best, failure = _run(solver, deadline)
        if best is None:
            return None, failure
        lost = float(matrix.cost @ (early - best))
        if lost <= SAME_COST * max(_bill(matrix, best), POWER_TOL_KW):
            return early, ""
    return best, ""


def _bill(matrix: LpMatrix, columns: FloatArray) -> float:
    """The size of the true cost without the price of shortfall, which would hide everything else."""
    vehicles = int(matrix.pair_vehicle[-1]) + 1
    return abs(float(matrix.cost[:-vehicles] @ columns[:-vehicles]))


def _load(matrix: LpMatrix) -> Any | None:  # noqa: ANN401 - highspy ships no types
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("random_seed", 0)
    # the simplex method alone is faster on this matrix at every size measured (10 to 1,000 cars)
    solver.setOptionValue("solver", "simplex")
    solver.setOptionValue("presolve", "off")
    lp = highspy.HighsLp()
    lp.num_col_ = len(matrix.cost)
    lp.num_row_ = len(matrix.row_lower)
    lp.col_cost_ = matrix.cost
    lp.col_lower_ = matrix.lower
    lp.col_upper_ = matrix.upper
    lp.row_lower_ = matrix.row_lower
    lp.row_upper_ = matrix.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = matrix.start
    lp.a_matrix_.index_ = matrix.index
    lp.a_matrix_.value_ = matrix.value
    return solver if solver.passModel(lp) != highspy.HighsStatus.kError else None


def _run(solver: Any, deadline: float) -> tuple[FloatArray | None, str]:  # noqa: ANN401 - highspy ships no types
    left = deadline - monotonic()
    if left <= 0:
        return None, "its time was up"
    solver.setOptionValue("time_limit", solver.getRunTime() + left)  # HiGHS counts all runs of one object together
    solver.run()
    status = solver.getModelStatus()
    if status != highspy.HighsModelStatus.kOptimal:
        return None, f"it stopped with: {solver.modelStatusToString(status).lower()}"
    columns = np.array(solver.getSolution().col_value, dtype=np.float64)
    return (columns, "") if np.all(np.isfinite(columns)) else (None, "its answer had numbers that are not finite")


def _inside(problem: PlanProblem, power_while_there: FloatArray) -> FloatArray:
    """Slot means with the solver's rounding taken out: no limit, rating or need is exceeded even by a hair."""
    power = np.clip(power_while_there, 0.0, problem.max_power_kw[:, None])
    power[power < POWER_TOL_KW] = 0.0
    headroom = problem.window.headroom_kw
    together = power.sum(axis=0)
    power *= np.where(together > headroom, headroom / np.maximum(together, POWER_TOL_KW), 1.0)
    return _no_more_than_needed(problem, power * problem.availability())


def _no_more_than_needed(problem: PlanProblem, power: FloatArray) -> FloatArray:
    energy = power.sum(axis=1) * problem.window.slot_h
    factor = np.where(energy > problem.energy_needed_kwh, problem.energy_needed_kwh / np.maximum(energy, 1e-12), 1.0)
    trimmed: FloatArray = power * factor[:, None]
    return trimmed
