"""Currents that chargers can really offer: nothing or at least 6 A, whole pilots, runs that last.

``repair`` is the default: the linear plan is rounded where it lies between the powers that exist, a few cars at a time,
and what they lose is planned anew by the warm solver. ``exact`` searches (branch and bound) from that plan on, within
its time. Both say how far from the best they can be at most.

A car with a least power may be offered a little more than it needs, for it stops by itself: the last slot of its plan
then shows what it draws on average.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import highspy
import numpy as np

from plugcast.schedule import present
from plugcast.schedule.arrays import POWER_TOL_KW
from plugcast.schedule.engine import Engine
from plugcast.schedule.levels import LEVEL_TOL, Grid, grid_of
from plugcast.schedule.matrix import to_matrix
from plugcast.schedule.runs import Runs, add_runs, short_runs
from plugcast.schedule.solve import (
    Relaxed,
    Solution,
    fallback,
    idle,
    nothing_to_decide,
    relax,
    run_with_cuts,
)

if TYPE_CHECKING:
    from plugcast.schedule.arrays import BoolArray, FloatArray, IntArray
    from plugcast.schedule.pairs import Pairs
    from plugcast.schedule.problem import PlanProblem

ROUNDS: Final = 60
"""Of many powers at once; where roundings up do not fit together, they are tried one by one, in their own time."""
REPAIR_SHARE: Final = 0.5
"""Of the time of a search, when its first plan must be there."""
BATCH: Final = 0.34
"""Share of the powers in between that one round settles; the solver then has its say about the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """How the search goes."""

    time_limit_s: float = 30.0
    gap: float = 1e-4
    """Stop at this relative distance from the bound."""


def repair(
    problem: PlanProblem, *, time_limit_s: float = 5.0, slots: int | None = None, min_run_slots: int = 1
) -> Solution:
    """The linear plan with powers that exist; ``slots`` settles only the first ones, those about to be commanded.

    Those never lift the peak above the linear plan's (``present``); with ``min_run_slots`` all are settled.

    ``Solution.gap`` compares it with the linear bound, which no plan can beat.
    """
    if nothing_to_decide(problem):
        return idle(problem)
    relaxed = relax(problem, time_limit_s=time_limit_s)
    if isinstance(relaxed, str):
        return fallback(problem, relaxed)
    bound = relaxed.objective
    deadline = relaxed.allowed_s
    if slots is None or min_run_slots > 1:
        failure = _settle(relaxed, deadline, min_run_slots=min_run_slots)
    else:
        failure = present.settle(relaxed, deadline, min(slots, problem.window.slots))
    solution = relaxed.solution(bound=bound)
    return replace(solution, note=failure) if failure else solution


def exact(problem: PlanProblem, how: Exact | None = None, *, min_run_slots: int = 1) -> Solution:
    """The best plan with powers that exist, or the best found in time; it begins with the repaired one.

    Starts are counted whole here, and ``min_run_slots`` holds for every run but one that the stay cuts short.
    """
    chosen = how or Exact()
    if nothing_to_decide(problem):
        return idle(problem)
    relaxed = relax(problem, time_limit_s=chosen.time_limit_s)
    if isinstance(relaxed, str):
        return fallback(problem, relaxed)
    first = Relaxed(**{name: getattr(relaxed, name) for name in Relaxed.__slots__})  # the engine goes on, this stays
    allowed = relaxed.allowed_s
    failure = _settle(first, allowed * REPAIR_SHARE, min_run_slots=min_run_slots)
    left = replace(chosen, time_limit_s=allowed - first.engine.seconds())
    searched = _search(problem, first, left, bound=relaxed.objective, min_run_slots=min_run_slots)
    if searched is None:
        note = "The search found nothing in time; this is the linear plan, repaired."
        return replace(first.solution(bound=relaxed.objective), note=failure or note)
    # starts are no part of the repaired plan's objective: with them the two cannot be compared
    if not (problem.window.goals.start_price or min_run_slots > 1):
        repaired = first.solution(bound=relaxed.objective)
        if repaired.objective < searched.objective:
            note = "The search found nothing better in time; this is the linear plan, repaired."
            return replace(repaired, bound=max(repaired.bound, searched.bound), note=note)
    return searched


def _settle(relaxed: Relaxed, deadline: float, *, min_run_slots: int) -> str:
    """Round, solve the rest, look again, until every power exists; what went wrong, or nothing.

    ``deadline`` counts all of the model's runs, that of the relaxation included.
    """
    problem, pairs, engine = relaxed.matrix.problem, relaxed.matrix.at.pairs, relaxed.engine
    bounds = _Bounds(
        lower=np.zeros(pairs.count),
        upper=relaxed.matrix.lp.upper[: pairs.count].copy(),
        lowered=np.zeros(problem.vehicles, dtype=np.bool_),
    )
    turn, single = 0, False
    while True:
        turn += 1
        power = relaxed.columns[: pairs.count]
        grid = grid_of(problem, pairs, power)
        if turn > (pairs.count if single else ROUNDS):
            return _round_down(relaxed, grid, power, "")
        off = np.flatnonzero(grid.between(power))
        before = bounds.lower.copy(), bounds.upper.copy()
        if off.size:
            changed = _round(relaxed, power, grid, off, bounds, share=0.0 if single else BATCH)
        elif min_run_slots > 1:
            changed = short_runs(pairs, power, min_run_slots)
            bounds.upper[changed] = bounds.lower[changed] = 0.0
        else:
            changed = off
        if not changed.size:
            break
        engine.set_bounds(changed, bounds.lower[changed], bounds.upper[changed])
        failure = run_with_cuts(relaxed, deadline)
        if failure:  # the roundings up did not fit together
            bounds.lower[changed], bounds.upper[changed] = before[0][changed], before[1][changed]
            if single:
                bounds.upper[changed] = np.minimum(bounds.upper[changed], grid.below[changed])
            engine.set_bounds(changed, bounds.lower[changed], bounds.upper[changed])
            failure = run_with_cuts(relaxed, deadline)
            single = True
        if failure:
            return _round_down(relaxed, grid, power, failure)
    cost = relaxed.matrix.lp.cost
    relaxed.objective = float(cost @ relaxed.columns[: len(cost)])
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    """What the rounds have settled so far; the arrays are changed in place."""

    lower: FloatArray
    """[K]"""
    upper: FloatArray
    """[K]"""
    lowered: BoolArray
    """[V] a power of this car was rounded down before: what is left of it would only wander on."""


def _round(
    relaxed: Relaxed, power: FloatArray, grid: Grid, off: IntArray, bounds: _Bounds, *, share: float
) -> IntArray:
    """Settle those nearest to a power that exists; gives the pairs whose bounds have changed.

    Rounding up takes the energy from the car's dearest slots, which can spare it; rounding down leaves a rest that
    has to go somewhere. So the first choice is up wherever half of it is there, and always the second time.
    """
    problem, pairs = relaxed.matrix.problem, relaxed.matrix.at.pairs
    slot_h = problem.window.slot_h
    part = (power[off] - grid.below[off]) / (grid.above[off] - grid.below[off])
    nearest = np.argsort(np.minimum(part, 1 - part), kind="stable")
    chosen = off[nearest[: max(1, int(np.ceil(len(off) * share)))]]
    room = problem.window.headroom_kw - np.bincount(pairs.slot, weights=bounds.lower, minlength=problem.window.slots)
    fixed = np.bincount(pairs.vehicle, weights=bounds.lower, minlength=problem.vehicles) * slot_h
    most = problem.energy_needed_kwh + problem.quantum_kw * slot_h
    alone = np.bincount(pairs.vehicle[off], minlength=problem.vehicles) == 1
    changed = [chosen]
    for pair in chosen.tolist():
        car, slot = int(pairs.vehicle[pair]), int(pairs.slot[pair])
        if alone[car] and problem.needs[car].pilots_kw:
            mine = pairs.of(car)  # only the rest is left over: all else stays, and the car stops by itself
            bounds.lower[mine] = bounds.upper[mine] = power[mine]
            changed.append(mine)
            fixed[car] = (power[mine].sum() - power[pair]) * slot_h
            bounds.lower[pair] = 0.0
        more = grid.above[pair] - bounds.lower[pair]
        wants = 2 * power[pair] >= grid.above[pair] + grid.below[pair] or bounds.lowered[car] or alone[car]
        fits = more <= room[slot] + LEVEL_TOL and fixed[car] + more * slot_h <= most[car] + LEVEL_TOL
        if wants and fits:
            bounds.lower[pair] = grid.above[pair]
            bounds.upper[pair] = max(bounds.upper[pair], grid.above[pair])
            room[slot] -= more
            fixed[car] += more * slot_h
        else:
            bounds.upper[pair] = max(grid.below[pair], bounds.lower[pair])
            bounds.lowered[car] = True
    return np.unique(np.concatenate(changed))


def _round_down(relaxed: Relaxed, grid: Grid, power: FloatArray, failure: str) -> str:
    """The last resort: every power that does not exist becomes the one below; costs energy, breaks nothing."""
    pairs, lp = relaxed.matrix.at.pairs, relaxed.matrix.lp
    columns = relaxed.columns.copy() if len(relaxed.columns) == len(lp.cost) else np.zeros(lp.columns)
    low = np.where(grid.between(power[: pairs.count]), grid.below, power[: pairs.count])
    lost = np.bincount(pairs.vehicle, weights=columns[: pairs.count] - low, minlength=relaxed.matrix.problem.vehicles)
    columns[: pairs.count] = low
    first = relaxed.matrix.at.first_short
    columns[first : first + len(lost)] += np.maximum(lost, 0.0) * relaxed.matrix.problem.window.slot_h
    relaxed.columns = columns
    relaxed.objective = float(lp.cost @ columns)
    return f"Not all powers could be planned anew after rounding{f' ({failure})' if failure else ''}."


def _search(problem: PlanProblem, first: Relaxed, how: Exact, *, bound: float, min_run_slots: int) -> Solution | None:
    """Branch and bound over the linear programme with the cuts found so far."""
    begun = time.monotonic()
    matrix = to_matrix(problem)
    pairs = matrix.at.pairs
    engine = Engine(matrix.lp)
    found = Relaxed(matrix=matrix, engine=engine, instant=first.instant, columns=np.empty(0), objective=np.nan)
    for option, value in (("presolve", "choose"), ("mip_rel_gap", how.gap), ("solver", "choose")):
        engine.solver.setOptionValue(option, value)
    runs = Runs(min_slots=min_run_slots, start_price=problem.window.goals.start_price / matrix.unit)
    levels = _make_whole(engine, problem, pairs, runs)
    whole = first.columns[: pairs.count] if len(first.columns) else np.zeros(pairs.count)
    if not runs.counted:
        _offer(engine, problem, pairs, whole, levels)
    deadline = engine.seconds() + how.time_limit_s - (time.monotonic() - begun)
    while True:
        failure = engine.run(deadline - engine.seconds(), guarded=True)
        if engine.wedged or not engine.has_solution():
            return None
        found.columns = engine.values()
        rows = found.instant.broken(found.columns[: pairs.count] / pairs.share)
        if rows is None:
            break
        if failure:
            return None
        engine.add_rows(np.full(len(rows.upper), -np.inf), rows.upper, rows.start, rows.index, rows.value)
    found.objective = float(engine.solver.getInfo().objective_function_value)
    solution = found.solution(bound=max(bound, engine.mip_bound()) if np.isfinite(engine.mip_bound()) else bound)
    return replace(solution, note=f"The search ended before its gap was closed: {failure}.") if failure else solution


def _offer(engine: Engine, problem: PlanProblem, pairs: Pairs, power: FloatArray, levels: list[_Level]) -> None:
    """The repaired plan as the first incumbent: what is on, and at which level; the solver works out the rest."""
    columns, values = [], []
    for one in levels:
        columns.append(one.first + np.arange(len(one.pairs)))
        there = power[one.pairs] / pairs.share[one.pairs]
        values.append((np.abs(there - one.level_kw) <= 2 * LEVEL_TOL).astype(np.float64))
    if not columns:
        least = problem.quantum_kw[pairs.vehicle] * pairs.share
        mine = np.flatnonzero(least > 0)
        columns.append(mine)
        values.append(np.where(power[mine] < least[mine] / 2, 0.0, np.maximum(power[mine], least[mine])))
    index = np.concatenate(columns)
    engine.solver.setSolution(len(index), index.astype(np.int32), np.concatenate(values))


def _make_whole(engine: Engine, problem: PlanProblem, pairs: Pairs, runs: Runs) -> list[_Level]:
    """Semi-continuous powers, whole pilots; on and off as columns of their own only where starts or runs count."""
    grouped = np.zeros(problem.vehicles, dtype=np.bool_)
    chosen: list[_Level] = []
    for levels, cars in problem.levels_kw.items():
        grouped[cars] = True
        chosen += _add_levels(engine, pairs, np.flatnonzero(np.isin(pairs.vehicle, cars)), levels)
    least = problem.quantum_kw[pairs.vehicle]
    if runs.counted:
        add_runs(engine, problem, pairs, runs)
        return chosen
    semi = np.flatnonzero((least > 0) & ~grouped[pairs.vehicle])
    if semi.size:
        most = np.minimum(problem.max_power_kw[pairs.vehicle[semi]], problem.window.headroom_kw[pairs.slot[semi]])
        closed = most < least[semi] - POWER_TOL_KW
        engine.set_bounds(semi[closed], np.zeros(int(closed.sum())), np.zeros(int(closed.sum())))
        semi, most = semi[~closed], most[~closed]
        share = pairs.share[semi]
        engine.set_bounds(semi, np.minimum(least[semi], most) * share, most * share)
        engine.set_kinds(semi, [_kind(highspy.HighsVarType.kSemiContinuous)] * len(semi))
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """Binary columns that choose one level."""

    first: int
    pairs: IntArray
    level_kw: float


def _add_levels(engine: Engine, pairs: Pairs, mine: IntArray, levels: tuple[float, ...]) -> list[_Level]:
    """``power = sum of level x chosen``, at most one chosen: binaries a pair and level."""
    if not mine.size:
        return []
    count, sums = len(mine), engine.rows
    zeros, each = np.zeros(count), np.arange(count)
    engine.add_rows(zeros, zeros, each, mine, -1.0 / pairs.share[mine])
    engine.add_rows(zeros, np.ones(count), np.zeros(count, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    rows = np.stack([sums + each, sums + count + each], axis=1).ravel()
    added = []
    for level in levels:
        added.append(_Level(first=engine.columns, pairs=mine, level_kw=level))
        engine.add_columns(zeros, np.ones(count), 2 * each, rows, np.tile([level, 1.0], count))
    chosen = np.arange(added[0].first, engine.columns)
    engine.set_kinds(chosen, [_kind(highspy.HighsVarType.kInteger)] * len(chosen))
    return added


def _kind(kind: Any) -> int:  # noqa: ANN401 - highspy ships no types
    return int(kind)
