"""The problem as one linear programme: arrays ready to be passed in one call, and where in them each thing stands.

Columns: ``power[v,t]`` mean power of each car in each slot of its stay, ``import[t]``, ``export[t]``, ``peak``,
``shortfall[v]``; then those of the options that the problem uses. Rows: energy of each car, balance of each slot, peak
of each slot. What holds at every instant (the limit in slots that cars enter or leave midway, circuits, phases) is not
in here: ``cuts`` adds the few rows of it that a solution breaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.schedule import options
from plugcast.schedule.pairs import Pairs, pairs_of
from plugcast.schedule.sparse import Builder, Programme

if TYPE_CHECKING:
    from plugcast.schedule.arrays import FloatArray, IntArray
    from plugcast.schedule.problem import PlanProblem

COST_SCALE: Final = 100.0
FAIR_STEPS: Final = 4
"""Steps by which the price of a car's shortfall rises where fairness has a price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things stand among the columns and rows; K pairs of car and slot, T slots, V cars."""

    pairs: Pairs
    slots: int
    vehicles: int
    first_import: int
    first_export: int
    peak: int
    """Meaningless where no peak has a price."""
    first_short: int
    short_steps: int
    """Shortfall columns a car, step by step for all cars."""
    first_balance: int
    """Row; the energy rows are the first V."""
    first_peak_row: int
    peak_rows: int
    given: IntArray
    """[K'] column of the power that car and slot give back, -1 where none; empty where no car gives."""
    battery: int
    """First of the T columns of battery charge, then discharge, then energy; -1 without a battery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LpMatrix:
    """The programme of a problem, its costs in units of ``unit``: tolerances then mean the same in any currency.

    A hundredth of the dearest kWh is one unit, so that the solver's tolerances are finer than the tie-break.
    """

    lp: Programme
    at: Places
    early: FloatArray
    """What an hour of delay adds where its price is 1; the tie-break, no part of the true cost."""
    unit: float
    scale: float
    """The dearest kWh in units."""
    problem: PlanProblem


def to_matrix(problem: PlanProblem) -> LpMatrix:
    """Build the programme; time and memory grow with the pairs of car and slot.

    Feed-in above the price of energy in the same slot would make buying and selling at once pay. Where there is PV to
    sell both are weighed as one price in between (the convex envelope); ``cost.cost_of`` counts each in full.
    """
    window, unit = problem.window, cost_unit(problem) / COST_SCALE
    slot_h, slots, vehicles = window.slot_h, window.slots, problem.vehicles
    pairs = pairs_of(problem)
    vehicle, slot = pairs.vehicle, pairs.slot
    pair, every = np.arange(pairs.count), np.arange(slots)
    base = window.base_load_kw - window.pv_kw
    gives = options.gives_power(problem)
    # what gives power can lift cars above the headroom; the import's own limit holds all the same
    most = problem.max_power_kw[vehicle]
    most = most if gives else np.minimum(most, window.headroom_kw[slot])
    build = Builder()
    build.columns(
        len(slot),
        cost=slot.astype(np.float64) * (window.waiting_price_per_kwh_h * slot_h**2 / unit),
        upper=most * pairs.share,
    )
    bought, sold = _convex_prices(problem, pairs, gives=gives)
    # a base load beyond the limit is drawn all the same; cars have no headroom then, and what gives power avoids it
    ceiling = window.limit_kw if gives else np.maximum(window.limit_kw, base)
    first_import = build.columns(slots, cost=bought * (slot_h / unit), upper=ceiling)
    sellable = np.full(slots, np.inf) if gives else np.maximum(-base, 0.0)
    first_export = build.columns(slots, cost=sold * (-slot_h / unit), upper=sellable)
    has_peak = window.peak_price_per_kw > 0
    least = window.peak_so_far_kw if gives else max(window.peak_so_far_kw, float(base.max()))
    peak = build.columns(
        1,
        cost=0.0 if window.peak_outlook else window.peak_price_per_kw / unit,
        lower=least if has_peak else 0.0,
        upper=np.inf,
    )
    steps = FAIR_STEPS if window.goals.fairness_price_per_kwh > 0 else 1
    first_short = build.columns(
        vehicles * steps, cost=_shortfall_prices(problem, steps) / unit, upper=_shortfall_limits(problem, steps)
    )
    energy = build.rows(vehicles, lower=problem.energy_needed_kwh, upper=problem.energy_needed_kwh)
    balance = build.rows(slots, lower=-base, upper=-base)
    build.add(energy + vehicle, pair, slot_h)
    build.add(balance + slot, pair, 1.0)
    build.add(balance + every, first_import + every, -1.0)
    build.add(balance + every, first_export + every, 1.0)
    peak_rows = build.row_count
    if has_peak:
        build.rows(slots, upper=0.0)
        build.add(peak_rows + every, first_import + every, 1.0)
        build.add(peak_rows + every, peak, -1.0)
    build.add(np.tile(np.arange(vehicles), steps), first_short + np.arange(vehicles * steps), 1.0)
    given, battery = options.add(
        build, problem, pairs, unit=unit, peak=peak, peak_floor=least, balance=balance, peak_rows=peak_rows
    )
    early = np.zeros(build.count)
    early[: len(slot)] = slot * slot_h**2
    return LpMatrix(
        lp=build.finish(),
        at=Places(
            pairs=pairs,
            slots=slots,
            vehicles=vehicles,
            first_import=first_import,
            first_export=first_export,
            peak=peak,
            first_short=first_short,
            short_steps=steps,
            first_balance=balance,
            first_peak_row=peak_rows,
            peak_rows=slots if has_peak else 0,
            given=given,
            battery=battery,
        ),
        early=early,
        unit=unit,
        scale=COST_SCALE,
        problem=problem,
    )


def _shortfall_prices(problem: PlanProblem, steps: int) -> FloatArray:
    """[V * steps] Certain departures carry what early ones leave of the price; later steps are dearer by fairness."""
    sure = np.array([1.0 - sum(p for _, p in need.early_departures) for need in problem.needs])
    price: FloatArray = problem.shortfall_price_per_kwh * np.maximum(sure, 0.0)
    if steps == 1:
        return price
    extra = problem.window.goals.fairness_price_per_kwh * np.arange(steps) / (steps - 1)
    return (price + extra[:, None]).ravel()


def _shortfall_limits(problem: PlanProblem, steps: int) -> FloatArray | float:
    if steps == 1:
        return np.inf
    limits = np.tile(problem.energy_needed_kwh / steps, (steps, 1))
    limits[-1] = np.inf
    return limits.ravel()


def _convex_prices(problem: PlanProblem, pairs: Pairs, *, gives: bool) -> tuple[FloatArray, FloatArray]:
    """[T] Prices of energy and of feed-in; one price for both, the chord, where feed-in pays more with PV to sell.

    The chord joins the cost of selling all surplus with that of the most that the cars there could buy. Where cars or
    a battery can give power the lower price holds for both.
    """
    window = problem.window
    price, feed_in = window.steering_price_per_kwh, window.feed_in_per_kwh
    surplus = np.maximum(window.pv_kw - window.base_load_kw, 0.0)
    crossed = feed_in > price
    if not crossed.any():
        return price, feed_in
    if gives:
        return price, np.minimum(price, feed_in)
    power = np.minimum(problem.max_power_kw[pairs.vehicle], window.headroom_kw[pairs.slot]) * pairs.share
    most = np.bincount(pairs.slot, weights=power, minlength=window.slots) - surplus
    most = np.clip(most, 0.0, window.limit_kw)
    crossed &= surplus > 0
    span = np.where(crossed, most + surplus, 1.0)
    chord = (most * price + surplus * feed_in) / span
    # without a surplus nothing can be sold: the price of that is without effect, and kept below that of energy
    return np.where(crossed, chord, price), np.where(crossed, chord, np.minimum(feed_in, price))


def cost_unit(problem: PlanProblem) -> float:
    """What the programme's costs are measured in: the dearest kWh of the window."""
    window = problem.window
    dearest = float(max(np.abs(window.steering_price_per_kwh).max(), np.abs(window.feed_in_per_kwh).max()))
    if dearest > 0:
        return dearest
    return window.peak_price_per_kw / 100.0 or float(problem.shortfall_price_per_kwh.max(initial=0.0)) or 1.0
