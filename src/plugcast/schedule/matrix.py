"""The problem as one linear programme: a sparse column-wise matrix of plain arrays, ready to be passed in one call.

Columns: ``q[v,t]`` power of a car while it is there, ``import[t]``, ``export[t]`` (slots with PV surplus), ``peak``,
``shortfall[v]``. Rows: energy of each car, balance of each slot, peak of each slot, and, in slots that cars enter or
leave midway, the limit on all of them at once, so that it holds at every instant and not only on average.
Slots without cars are constants and have no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from plugcast.schedule.problem import FloatArray, IntArray, PlanProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class LpMatrix:
    """minimise cost.x subject to row_lower <= A x <= row_upper, lower <= x <= upper; A by columns."""

    start: npt.NDArray[np.int32]
    index: npt.NDArray[np.int32]
    value: FloatArray
    cost: FloatArray
    """In units of ``unit``: solvers' tolerances then mean the same in cents and in crowns."""
    early: FloatArray
    """Slope that makes an earlier slot cheaper, per unit of ``cost``; the tie-break, no part of the true cost."""
    lower: FloatArray
    upper: FloatArray
    row_lower: FloatArray
    row_upper: FloatArray
    unit: float
    pair_vehicle: IntArray
    """Car of each of the first K columns."""
    pair_slot: IntArray
    pair_share: FloatArray


@dataclass(frozen=True, slots=True)
class _Entries:
    """Pieces of the matrix in coordinate form."""

    rows: list[IntArray]
    columns: list[IntArray]
    values: list[FloatArray]

    def add(self, rows: IntArray, columns: IntArray, values: FloatArray | float) -> None:
        self.rows.append(rows)
        self.columns.append(columns)
        self.values.append(np.broadcast_to(np.asarray(values, dtype=np.float64), rows.shape))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Which columns and rows there are; K pairs, U slots that any car may use."""

    vehicle: IntArray
    slot: IntArray
    share: FloatArray
    used: IntArray
    """[U] the slots."""
    position: IntArray
    """[K] index into ``used``."""
    sells: IntArray
    """Indices into ``used`` of slots with PV surplus."""
    partial: IntArray
    """Indices into ``used`` of slots that a car enters or leaves midway."""
    peak_rows: int
    vehicles: int

    @property
    def first_import(self) -> int:
        return len(self.slot)

    @property
    def first_export(self) -> int:
        return self.first_import + len(self.used)

    @property
    def peak(self) -> int:
        return self.first_export + len(self.sells)

    @property
    def first_short(self) -> int:
        return self.peak + 1

    @property
    def columns(self) -> int:
        return self.first_short + self.vehicles


def to_matrix(problem: PlanProblem) -> LpMatrix:
    """Build the programme; time and memory grow with the pairs of car and slot.

    Feed-in above the price of energy in the same slot would make buying and selling at once pay. Where there is PV to
    sell both are weighed as one price in between (the convex envelope); ``cost.cost_of`` counts each in full.
    """
    window = problem.window
    layout = _layout(problem)
    start, index, value = _by_column(_entries(problem, layout), layout.columns)
    unit = cost_unit(problem)
    early = np.zeros(layout.columns)
    early[: layout.first_import] = layout.slot * layout.share * window.slot_h
    lower, upper = _bounds(problem, layout)
    supply = (window.pv_kw - window.base_load_kw)[layout.used]
    crowd = window.headroom_kw[layout.used[layout.partial]]
    below = np.full(layout.peak_rows + len(crowd), -np.inf)
    return LpMatrix(
        start=start,
        index=index,
        value=value,
        cost=_costs(problem, layout) / unit,
        early=early,
        lower=lower,
        upper=upper,
        row_lower=np.concatenate([problem.energy_needed_kwh, supply, below]),
        row_upper=np.concatenate([problem.energy_needed_kwh, supply, np.zeros(layout.peak_rows), crowd]),
        unit=unit,
        pair_vehicle=layout.vehicle,
        pair_slot=layout.slot,
        pair_share=layout.share,
    )


def _layout(problem: PlanProblem) -> _Layout:
    window = problem.window
    vehicle, slot, share = pairs(problem)
    used, position = np.unique(slot, return_inverse=True)
    partial = np.unique(position[share < 1.0])
    return _Layout(
        vehicle=vehicle,
        slot=slot,
        share=share,
        used=used,
        position=position,
        sells=np.flatnonzero((window.pv_kw > window.base_load_kw)[used]),
        partial=partial[np.isfinite(window.headroom_kw[used[partial]])],
        peak_rows=len(used) if window.demand_charge_per_kw > 0 else 0,
        vehicles=problem.vehicles,
    )


def _entries(problem: PlanProblem, at: _Layout) -> _Entries:
    entries = _Entries([], [], [])
    pair, every, cars = np.arange(len(at.slot)), np.arange(len(at.used)), np.arange(at.vehicles)
    entries.add(at.vehicle, pair, at.share * problem.window.slot_h)
    entries.add(cars, at.first_short + cars, 1.0)
    balance = at.vehicles + every
    entries.add(balance[at.position], pair, at.share)
    entries.add(balance, at.first_import + every, -1.0)
    entries.add(balance[at.sells], at.first_export + np.arange(len(at.sells)), 1.0)
    if at.peak_rows:
        entries.add(balance + len(every), at.first_import + every, 1.0)
        entries.add(balance + len(every), np.full(len(every), at.peak), -1.0)
    crowded = np.flatnonzero(np.isin(at.position, at.partial))
    first_crowd = at.vehicles + len(every) + at.peak_rows
    entries.add(first_crowd + np.searchsorted(at.partial, at.position[crowded]), crowded, 1.0)
    return entries


def _costs(problem: PlanProblem, at: _Layout) -> FloatArray:
    window = problem.window
    cost = np.zeros(at.columns)
    waited_h = at.slot * window.slot_h
    cost[: at.first_import] = window.waiting_price_per_kwh_h * waited_h * at.share * window.slot_h
    bought, sold = _convex_prices(problem, at)
    cost[at.first_import : at.first_export] = bought * window.slot_h
    cost[at.first_export : at.peak] = -sold[at.sells] * window.slot_h
    cost[at.peak] = window.demand_charge_per_kw
    cost[at.first_short :] = problem.shortfall_price_per_kwh
    return cost


def _convex_prices(problem: PlanProblem, at: _Layout) -> tuple[FloatArray, FloatArray]:
    """[U] Prices of energy and of feed-in; one price for both, the chord, where feed-in pays more with PV to sell.

    The chord joins the cost of selling all surplus with that of the most that the cars there could buy.
    """
    window = problem.window
    price, feed_in = window.price_per_kwh[at.used], window.feed_in_per_kwh[at.used]
    surplus = np.maximum(window.pv_kw - window.base_load_kw, 0.0)[at.used]
    power = np.minimum(problem.max_power_kw[at.vehicle], window.headroom_kw[at.slot]) * at.share
    most = np.bincount(at.position, weights=power, minlength=len(at.used)) - surplus
    most = np.clip(most, 0.0, window.limit_kw[at.used])
    crossed = (feed_in > price) & (surplus > 0)
    span = np.where(crossed, most + surplus, 1.0)
    chord = (most * price + surplus * feed_in) / span
    return np.where(crossed, chord, price), np.where(crossed, chord, feed_in)


def _bounds(problem: PlanProblem, at: _Layout) -> tuple[FloatArray, FloatArray]:
    window = problem.window
    base = window.base_load_kw - window.pv_kw
    lower, upper = np.zeros(at.columns), np.full(at.columns, np.inf)
    lower[at.peak] = max(window.peak_so_far_kw, float(base.max()), 0.0)
    upper[: at.first_import] = np.minimum(problem.max_power_kw[at.vehicle], window.headroom_kw[at.slot])
    # a base load beyond the limit is drawn all the same; cars have no headroom then
    upper[at.first_import : at.first_export] = np.maximum(window.limit_kw, base)[at.used]
    upper[at.first_export : at.peak] = np.maximum(-base, 0.0)[at.used[at.sells]]
    return lower, upper


def pairs(problem: PlanProblem) -> tuple[IntArray, IntArray, FloatArray]:
    """Car, slot and share of every slot that a car may charge in, car by car, slots ascending."""
    lengths = problem.last_slot - problem.first_slot
    vehicle = np.repeat(np.arange(problem.vehicles), lengths)
    ends = np.cumsum(lengths)
    slot = np.arange(int(lengths.sum())) - np.repeat(ends - lengths - problem.first_slot, lengths)
    share = np.ones(len(slot))
    here = lengths > 0
    share[(ends - lengths)[here]] = problem.first_share[here]
    share[ends[here] - 1] = problem.last_share[here]
    return vehicle, slot, share


def cost_unit(problem: PlanProblem) -> float:
    """The money that one unit of the programme's cost stands for: the dearest kWh of the window."""
    window = problem.window
    dearest = float(max(np.abs(window.price_per_kwh).max(), np.abs(window.feed_in_per_kwh).max()))
    if dearest > 0:
        return dearest
    return window.demand_charge_per_kw / 100.0 or float(problem.shortfall_price_per_kwh.max(initial=0.0)) or 1.0


def _by_column(entries: _Entries, columns: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], FloatArray]:
    column = np.concatenate(entries.columns)
    row = np.concatenate(entries.rows)
    order = np.lexsort((row, column))
    start = np.zeros(columns + 1, dtype=np.int32)
    np.cumsum(np.bincount(column, minlength=columns), out=start[1:])
    return start, row[order].astype(np.int32), np.concatenate(entries.values)[order]
