"""One decision now, many futures: two-stage planning over scenarios, with a price on the worst of them.

Here and now, alike in all scenarios: the powers of the first slots and, where it is committed, the site's peak. Later
powers are each scenario's own: what a car would miss by leaving earlier weighs in the first command. ``cvar_weight``
counts the mean of the worst scenarios beside the mean of all (Rockafellar and Uryasev 2000).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.domain.plan import PlanStatus
from plugcast.errors import PlanInputError
from plugcast.schedule import crash
from plugcast.schedule.cuts import instant_limits
from plugcast.schedule.engine import Engine
from plugcast.schedule.extensive import Extensive, Stages, extensive
from plugcast.schedule.options import gives_power
from plugcast.schedule.solve import (
    CUT_ROUNDS,
    EARLY_SLOPES,
    GUARD_COLUMNS,
    Solution,
    as_solution,
    fallback,
    idle,
    nothing_to_decide,
    powers,
    solve,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plugcast.schedule.arrays import FloatArray, IntArray
    from plugcast.schedule.matrix import LpMatrix
    from plugcast.schedule.problem import PlanProblem

_SUM_TOL: Final = 1e-6
APART_COLUMNS: Final = 50_000
"""Programmes above this size begin where each scenario's own optimum is, solved before apart: many small programmes
take less than the pivots that they save in the large one."""
SPARE: Final = 0.2
"""Share of the time that is kept for the first scenario alone, should all together not be solved in the rest."""
NUDGE: Final = 0.1
"""Largest step, as a share of the tie-break's from slot to slot, by which costs stand apart there: with ties the whole
would leave for another of many equal plans."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyFutures:
    """The solution over S scenarios."""

    nominal: Solution
    """Of the first scenario, whose first slots are those of all."""
    power_kw: tuple[FloatArray, ...]
    """[S] of [V, T]: what each would do."""
    costs: FloatArray
    """[S] objective of each, in the tariff's currency."""
    expected: float
    cvar: float
    """Mean cost of the worst; NaN after a fallback."""


def solve_scenarios(
    scenarios: Sequence[PlanProblem],
    probability: Sequence[float] | None = None,
    stages: Stages | None = None,
    *,
    time_limit_s: float = 20.0,
) -> ManyFutures:
    """The best first step for all scenarios together; they must cover the same slots.

    Cars are matched by session; one that a scenario lacks does not come in it. The first scenario is the one whose
    plan is shown; without a solution in time it is planned alone, and failing that in order of departure.

    Raises:
        PlanInputError: There is no scenario, probabilities do not add up to 1, or windows differ in their slots.
    """
    chosen = stages or Stages()
    weight = _weights(scenarios, probability)
    nominal = scenarios[0]
    if all(nothing_to_decide(one) for one in scenarios):
        blank = tuple(np.zeros((one.vehicles, one.window.slots)) for one in scenarios)
        zero = np.zeros(len(scenarios))
        return ManyFutures(nominal=idle(nominal), power_kw=blank, costs=zero, expected=0.0, cvar=0.0)
    form = extensive(scenarios, weight, chosen)
    columns = _run(form, time_limit_s * (1.0 - SPARE))
    if isinstance(columns, str):
        failed = _first_alone(nominal, columns, time_limit_s * SPARE)
        nothing = np.full(len(scenarios), np.nan)
        return ManyFutures(nominal=failed, power_kw=(failed.power_kw,), costs=nothing, expected=np.nan, cvar=np.nan)
    solutions = [_solution(form, scenario, columns) for scenario in range(len(scenarios))]
    costs = np.array([one.objective for one in solutions])
    return ManyFutures(
        nominal=solutions[0],
        power_kw=tuple(one.power_kw for one in solutions),
        costs=costs,
        expected=float(weight @ costs),
        cvar=cvar(costs, weight, chosen.cvar_level),
    )


def _first_alone(nominal: PlanProblem, failure: str, time_limit_s: float) -> Solution:
    """The best plan of the first scenario, flagged as what it is."""
    alone = solve(nominal, time_limit_s=time_limit_s)
    if alone.status is PlanStatus.FALLBACK:
        return fallback(nominal, failure)
    note = f"The scenarios together gave no answer ({failure}); the plan is that of the first alone."
    return replace(alone, status=PlanStatus.FALLBACK, note=note)


def cvar(costs: FloatArray, probability: FloatArray, level: float) -> float:
    """Mean of the worst share ``1 - level`` of costs.

    >>> cvar(np.array([1.0, 2.0, 9.0, 3.0]), np.full(4, 0.25), 0.5)
    6.0
    """
    order = np.argsort(-costs, kind="stable")
    worst, left = costs[order], 1.0 - level
    before = np.cumsum(probability[order]) - probability[order]
    taken = np.clip(left - before, 0.0, probability[order])
    return float(taken @ worst / left)


def _run(form: Extensive, time_limit_s: float) -> FloatArray | str:
    """Columns of the whole, instant limits kept in every scenario; or why not."""
    if time_limit_s <= 0:
        return "no time was given"
    lp = form.lp
    cost = lp.cost.copy()
    cost[: form.risk] += EARLY_SLOPES[0] * form.matrices[0].scale * form.early
    began = _begin(form, cost, time_limit_s)
    if isinstance(began, str):
        return began
    engine, left_s = began
    deadline, guarded = engine.seconds() + left_s, lp.columns > GUARD_COLUMNS
    instants = [instant_limits(one.problem, one.at, gives=gives_power(one.problem)) for one in form.matrices]
    columns = np.empty(0)
    for _ in range(CUT_ROUNDS):
        failure = engine.run(deadline - engine.seconds(), guarded=guarded)
        if failure:
            return failure
        columns, added = engine.values(), 0
        for matrix, mapped, instant in zip(form.matrices, form.columns, instants, strict=True):
            rows = instant.broken(powers(matrix.at, columns[mapped]) / matrix.at.pairs.share)
            if rows is not None:
                count = len(rows.upper)
                engine.add_rows(np.full(count, -np.inf), rows.upper, rows.start, mapped[rows.index], rows.value)
                added += count
        if not added:
            break
    return columns


def _begin(form: Extensive, cost: FloatArray, time_limit_s: float) -> tuple[Engine, float] | str:
    """The solver at its start, and what is left of its time."""
    risky = form.lp.columns > form.risk
    if risky or form.lp.columns <= APART_COLUMNS:
        engine = Engine(form.lp, cost=cost)
        if not (risky or engine.refused):
            engine.start_from(_start(form, [crash.alone(one, cost[at]) for one, at in _blocks(form)]))
        return engine, time_limit_s
    slot_h, count = form.matrices[0].problem.window.slot_h, len(form.matrices)
    step = NUDGE * EARLY_SLOPES[0] * form.matrices[0].scale * slot_h**2 / count
    cost += step * np.random.default_rng(0).random(len(cost)) * (form.early > 0)
    engine, left_s, found = Engine(form.lp, cost=cost * count), time_limit_s, []  # as large as one scenario's
    if engine.refused:
        return engine, left_s
    for matrix, mapped in _blocks(form):
        own = cost[mapped] * count
        apart = Engine(matrix.lp, cost=own)
        apart.keep_costs()
        if not matrix.at.peak_rows:
            apart.start_from(crash.alone(matrix, own))
        failure = apart.run(left_s, guarded=apart.columns > GUARD_COLUMNS)
        if failure:
            return f"a scenario of its own: {failure}"
        left_s -= apart.seconds()
        found.append(apart.basis())
    engine.keep_costs()
    engine.start_from(_start(form, found), alien=True)
    return engine, left_s


def _blocks(form: Extensive) -> Iterator[tuple[LpMatrix, IntArray]]:
    """Each scenario's matrix and where its columns stand."""
    return zip(form.matrices, form.columns, strict=True)


def _start(form: Extensive, bases: Sequence[crash.Basis]) -> crash.Basis:
    """Each scenario's own basis, side by side; a shared column that several need is basic in the first alone."""
    columns = np.zeros(form.lp.columns, dtype=np.int8)
    rows = np.full(form.lp.rows, crash.BASIC, dtype=np.int8)
    taken = np.zeros(form.lp.columns, dtype=np.bool_)
    for matrix, mapped, first, own in zip(form.matrices, form.columns, form.rows, bases, strict=True):
        status, pairs = own.columns.copy(), matrix.at.pairs
        again = np.flatnonzero(taken[mapped[: pairs.count]])
        lost = again[status[again] == crash.BASIC]
        status[matrix.at.first_short + pairs.vehicle[lost]] = crash.BASIC
        kept = ~taken[mapped]
        columns[mapped[kept]] = status[kept]
        rows[first : first + matrix.lp.rows] = own.rows
        taken[mapped] = True
    return crash.Basis(columns=columns, rows=rows)


def _solution(form: Extensive, scenario: int, columns: FloatArray) -> Solution:
    matrix, mapped = form.matrices[scenario], form.columns[scenario]
    own = columns[mapped]
    instant = instant_limits(matrix.problem, matrix.at, gives=gives_power(matrix.problem))
    return as_solution(matrix, instant, own, objective=float(matrix.lp.cost @ own))


def _weights(scenarios: Sequence[PlanProblem], probability: Sequence[float] | None) -> FloatArray:
    if not scenarios:
        raise PlanInputError("No scenario was given; wanted at least one.")
    slots = {(one.window.start_at, one.window.slots, one.window.slot_min) for one in scenarios}
    if len(slots) > 1:
        raise PlanInputError(f"Scenarios cover {len(slots)} different spans of slots; wanted the same for all.")
    if probability is None:
        return np.full(len(scenarios), 1.0 / len(scenarios))
    weight = np.array(probability, dtype=np.float64)
    if len(weight) != len(scenarios) or not np.all(weight >= 0) or abs(weight.sum() - 1.0) > _SUM_TOL:
        raise PlanInputError(
            f"{len(weight)} probabilities that add up to {weight.sum():g} for {len(scenarios)} scenarios; wanted 1."
        )
    return weight
