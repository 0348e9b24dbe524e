"""Many futures as one programme: a block a scenario, and columns that stand in several blocks at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plugcast.errors import PlanInputError
from plugcast.schedule.arrays import ENERGY_TOL_KWH
from plugcast.schedule.matrix import to_matrix
from plugcast.schedule.sparse import Builder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugcast.schedule.arrays import FloatArray, IntArray
    from plugcast.schedule.matrix import LpMatrix
    from plugcast.schedule.problem import PlanProblem
    from plugcast.schedule.sparse import Programme


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """What is decided here and now, and how risk weighs."""

    shared_slots: int = 1
    """Slots whose powers are alike in all scenarios where a car is there."""
    share_peak: bool = False
    """One peak for all scenarios: a capacity that is committed beforehand."""
    cvar_weight: float = 0.0
    """0 weighs the mean of all scenarios alone, 1 only that of the worst."""
    cvar_level: float = 0.9
    """The worst are the scenarios beyond this quantile of cost."""

    def __post_init__(self) -> None:
        """Refuse weights that are none."""
        if self.shared_slots < 1:
            raise PlanInputError(f"{self.shared_slots} shared slots; wanted at least 1, that of the command.")
        if not (0 <= self.cvar_weight <= 1 and 0 <= self.cvar_level < 1):
            raise PlanInputError(
                f"A CVaR weight of {self.cvar_weight} at level {self.cvar_level}; wanted shares from 0 to 1."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensive:
    """All scenarios in one programme."""

    lp: Programme
    matrices: tuple[LpMatrix, ...]
    columns: tuple[IntArray, ...]
    """[S] where each scenario's columns stand."""
    rows: tuple[int, ...]
    """[S] where each scenario's rows begin."""
    shared: IntArray
    """Columns that more than one scenario uses."""
    early: FloatArray
    risk: int
    """First of the columns that measure risk; all before it belong to scenarios."""


def extensive(scenarios: Sequence[PlanProblem], weight: FloatArray, stages: Stages) -> Extensive:
    """One block a scenario; the columns decided here and now stand in all blocks at once."""
    matrices = tuple(to_matrix(problem) for problem in scenarios)
    unit = matrices[0].unit
    place: dict[tuple[str, int], int] = {}
    maps: list[IntArray] = []
    total = 0
    for matrix in matrices:
        mapped = np.full(matrix.lp.columns, -1, dtype=np.int64)
        for column, key in _shared_keys(matrix, stages):
            mapped[column] = place.get(key, -1)
        fresh = np.flatnonzero(mapped < 0)
        mapped[fresh] = total + np.arange(len(fresh))
        total += len(fresh)
        for column, key in _shared_keys(matrix, stages):
            place.setdefault(key, int(mapped[column]))
        maps.append(mapped)
    cost, early, seen = np.zeros(total), np.zeros(total), np.zeros(total, dtype=np.int64)
    lower, upper = np.full(total, -np.inf), np.full(total, np.inf)
    mean_share = 1.0 - stages.cvar_weight
    for matrix, mapped, share in zip(matrices, maps, weight.tolist(), strict=True):
        cost[mapped] += share * mean_share * matrix.lp.cost * (matrix.unit / unit)
        early[mapped] += share * matrix.early
        lower[mapped] = np.maximum(lower[mapped], matrix.lp.lower)
        upper[mapped] = np.minimum(upper[mapped], matrix.lp.upper)
        seen[mapped] += 1
    build = Builder()
    build.columns(total, cost=cost, lower=lower, upper=upper)
    rows = []
    for matrix, mapped in zip(matrices, maps, strict=True):
        first = build.rows(matrix.lp.rows, lower=matrix.lp.row_lower, upper=matrix.lp.row_upper)
        build.add(first + matrix.lp.index.astype(np.int64), mapped[matrix.lp.column_of_entry()], matrix.lp.value)
        rows.append(first)
    spare = _add_spare(build, matrices, weight, rows, stages)
    early, total = np.concatenate([early, np.zeros(spare)]), total + spare
    if stages.cvar_weight > 0:
        _add_cvar(build, matrices, maps, weight, stages)
    return Extensive(
        lp=build.finish(),
        matrices=matrices,
        columns=tuple(maps),
        rows=tuple(rows),
        shared=np.flatnonzero(seen > 1),
        early=early,
        risk=total,
    )


def _shared_keys(matrix: LpMatrix, stages: Stages) -> list[tuple[int, tuple[str, int]]]:
    """Columns decided here and now, and by what they are known in other scenarios."""
    pairs, at, problem = matrix.at.pairs, matrix.at, matrix.problem
    early = np.flatnonzero(pairs.slot < stages.shared_slots)
    named = [
        (column, (problem.session_ids[int(pairs.vehicle[column])], int(pairs.slot[column])))
        for column in early.tolist()
    ]
    if len(at.given):
        back = [(int(at.given[column]), (f"{key[0]}/back", key[1])) for column, key in named if at.given[column] >= 0]
        named += back
    if stages.share_peak and at.peak_rows:
        named.append((at.peak, ("", -1)))
    return named


def _add_spare(
    build: Builder, matrices: Sequence[LpMatrix], weight: FloatArray, rows: Sequence[int], stages: Stages
) -> int:
    """Columns by which a power that scenarios share may exceed what a car wants in those in which it wants less.

    A car that is full stops by itself; without them the scenario of least energy would cap what all may offer. Their
    energy is paid for and refunded at the lowest price, so that nothing is gained by it. Gives how many were added.
    """
    most: dict[str, float] = {}
    for matrix in matrices:
        for session, need in zip(matrix.problem.session_ids, matrix.problem.energy_needed_kwh.tolist(), strict=True):
            most[session] = max(most.get(session, 0.0), need)
    added, unit = 0, matrices[0].unit
    for matrix, first, share in zip(matrices, rows, weight.tolist(), strict=True):
        problem, window = matrix.problem, matrix.problem.window
        room = np.array([most[session] for session in problem.session_ids]) - problem.energy_needed_kwh
        cars = np.flatnonzero((room > ENERGY_TOL_KWH) & (problem.first_slot < stages.shared_slots))
        sold = window.feed_in_per_kwh if np.any(window.pv_kw > 0) else window.steering_price_per_kwh
        refund = min(float(window.steering_price_per_kwh.min()), float(sold.min()))
        column = build.columns(len(cars), cost=-refund * share * (1.0 - stages.cvar_weight) / unit, upper=room[cars])
        build.add(first + cars, column + np.arange(len(cars)), -1.0)
        added += len(cars)
    return added


def _add_cvar(
    build: Builder, matrices: Sequence[LpMatrix], maps: Sequence[IntArray], weight: FloatArray, stages: Stages
) -> None:
    """``threshold + sum of p x excess / (1 - level)``, excess of each scenario's cost over the threshold."""
    share = stages.cvar_weight
    threshold = build.columns(1, cost=share, lower=-np.inf, upper=np.inf)
    excess = build.columns(len(matrices), cost=share * weight / (1.0 - stages.cvar_level), upper=np.inf)
    unit = matrices[0].unit
    for scenario, (matrix, mapped) in enumerate(zip(matrices, maps, strict=True)):
        row = build.rows(1, upper=0.0)
        priced = np.flatnonzero(matrix.lp.cost)
        build.add(np.full(len(priced), row), mapped[priced], matrix.lp.cost[priced] * (matrix.unit / unit))
        build.add(row, threshold, -1.0)
        build.add(row, excess + scenario, -1.0)
