"""Columns and rows of what a problem may have beside cars and grid; each is added only where it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from plugcast.schedule.arrays import IntArray
    from plugcast.schedule.pairs import Pairs
    from plugcast.schedule.problem import PlanProblem
    from plugcast.schedule.sparse import Builder


BEYOND_TIMES: Final = 10.0
"""A kWh beyond the limit is so many times dearer than one that a car lacks, where something could give it instead."""


def gives_power(problem: PlanProblem) -> bool:
    """Whether anything but the sun can give power to the site."""
    return problem.window.battery is not None or any(need.discharge is not None for need in problem.needs)


def add(
    build: Builder,
    problem: PlanProblem,
    pairs: Pairs,
    *,
    unit: float,
    peak: int,
    peak_floor: float,
    balance: int,
    peak_rows: int,
) -> tuple[IntArray, int]:
    """All options.

    Returns:
        Columns of the power that each pair gives back, -1 where none, empty where no car does; and the first column of
        the battery, -1 without one.
    """
    window, goals = problem.window, problem.window.goals
    if np.any(problem.quantum_kw > 0):
        _add_stopping(build, problem)
    if window.peak_outlook and window.peak_price_per_kw > 0:
        _add_outlook(build, problem, unit, peak, peak_floor)
    if goals.rise_price_per_kw > 0 or goals.start_price > 0:
        _add_rises(build, problem, pairs, unit)
    given = np.empty(0, dtype=np.int64)
    if any(need.discharge is not None or need.taper is not None for need in problem.needs):
        given = _add_stores(build, problem, pairs, unit, balance)
    if any(need.early_departures for need in problem.needs):
        _add_early(build, problem, pairs, unit)
    battery = _add_battery(build, problem, unit, balance) if window.battery is not None else -1
    if gives_power(problem):
        _add_beyond(build, problem, unit, balance, peak_rows)
    return given, battery


def _add_stopping(build: Builder, problem: PlanProblem) -> None:
    """A car with a least power may be offered a little more than it needs: it stops by itself when it is full."""
    cars = np.flatnonzero(problem.quantum_kw > 0)
    first = build.columns(len(cars), upper=problem.quantum_kw[cars] * problem.window.slot_h)
    build.add(cars, first + np.arange(len(cars)), -1.0)


def _add_outlook(build: Builder, problem: PlanProblem, unit: float, peak: int, floor: float) -> None:
    """The peak's price by parts: below a peak that comes anyway with probability p, a kW costs 1 - p of it."""
    window = problem.window
    known = sorted((max(level, floor), probability) for level, probability in window.peak_outlook)
    edges = np.array([floor, *(level for level, _ in known), np.inf])
    reached = 1.0 - sum(probability for _, probability in known)
    paid = np.minimum(np.cumsum([reached, *(probability for _, probability in known)]), 1.0)
    first = build.columns(len(paid), cost=window.peak_price_per_kw * np.maximum(paid, 0.0) / unit, upper=np.diff(edges))
    row = build.rows(1, upper=floor)
    build.add(row, peak, 1.0)
    build.add(np.full(len(paid), row), first + np.arange(len(paid)), -1.0)


def _add_beyond(build: Builder, problem: PlanProblem, unit: float, balance: int, peak_rows: int) -> None:
    """Imports beyond the limit, up to what the base load draws: the last resort, where something can give power."""
    window = problem.window
    excess = window.base_load_kw - window.pv_kw - window.limit_kw
    slot = np.flatnonzero(excess > 0)
    dear = BEYOND_TIMES * max(float(problem.shortfall_price_per_kwh.max(initial=0.0)), unit)
    price = window.steering_price_per_kwh[slot] + dear
    first = build.columns(len(slot), cost=price * (window.slot_h / unit), upper=excess[slot])
    build.add(balance + slot, first + np.arange(len(slot)), -1.0)
    if window.peak_price_per_kw > 0:
        build.add(peak_rows + slot, first + np.arange(len(slot)), 1.0)


def _add_rises(build: Builder, problem: PlanProblem, pairs: Pairs, unit: float) -> None:
    """``rise[v,t] >= power[v,t] - power[v,t-1]``, in powers while there."""
    goals, pair, block = problem.window.goals, np.arange(pairs.count), pairs.block
    price = goals.rise_price_per_kw + goals.start_price / np.maximum(problem.max_power_kw[pairs.vehicle], 1e-3)
    first = build.columns(len(pair), cost=price / unit, upper=np.inf)
    row = build.rows(len(pair), lower=0.0)
    inverse = 1.0 / pairs.share
    build.add(row + pair, pair, -inverse)
    later = np.ones(len(pair), dtype=np.bool_)
    later[block[:-1][block[:-1] < len(pair)]] = False
    after = np.flatnonzero(later)
    build.add(row + after, after - 1, inverse[after - 1])
    build.add(row + pair, first + pair, 1.0)


def _add_stores(build: Builder, problem: PlanProblem, pairs: Pairs, unit: float, balance: int) -> IntArray:
    """Energy over time in cars that give power back or taper; ``held[t]`` is what came in up to the end of slot t."""
    slot_h, slot, share = problem.window.slot_h, pairs.slot, pairs.share
    given = np.full(len(slot), -1, dtype=np.int64)
    for car, need in enumerate(problem.needs):
        mine = pairs.of(car)
        count = len(mine)
        if not count or (need.discharge is None and need.taper is None):
            continue
        back, full = need.discharge, problem.energy_needed_kwh[car] + problem.quantum_kw[car] * slot_h
        room = full if back is None or back.room_kwh is None else max(back.room_kwh, full)
        held = build.columns(count, lower=-back.available_kwh if back else 0.0, upper=room)
        row = build.rows(count, lower=0.0, upper=0.0)
        build.add(row + np.arange(count), mine, -slot_h)
        build.add(row + np.arange(count), held + np.arange(count), 1.0)
        build.add(row + np.arange(1, count), held + np.arange(count - 1), -1.0)
        if back is not None:
            price = back.wear_price_per_kwh * slot_h / unit
            out = build.columns(count, cost=price, upper=back.max_power_kw * share[mine])
            given[mine] = out + np.arange(count)
            build.add(row + np.arange(count), given[mine], slot_h / back.efficiency)
            build.add(np.full(count, car), given[mine], -slot_h / back.efficiency)
            build.add(balance + slot[mine], given[mine], -1.0)
        if need.taper is not None:
            # mean power over a slot of an exponential that starts with the energy still missing
            pull = (1.0 - np.exp(-slot_h / need.taper.time_h)) / slot_h
            limit = build.rows(count, upper=pull * need.taper.full_kwh)
            build.add(limit + np.arange(count), mine, 1.0)
            build.add(limit + np.arange(1, count), held + np.arange(count - 1), pull)
    return given


def _add_early(build: Builder, problem: PlanProblem, pairs: Pairs, unit: float) -> None:
    """What would be missing if a car left early, each at its probability: one row a car and possible departure.

    What is missing at one departure is at least that at the departure before less what the slots between bring, so
    that a car with many departures does not repeat all its slots in each.
    """
    slot_h, slot, share = problem.window.slot_h, pairs.slot, pairs.share
    for car, need in enumerate(problem.needs):
        known = sorted((at, chance) for at, chance in need.early_departures if chance > 0 and at < need.departure_at)
        if not known:
            continue
        mine, count = pairs.of(car), len(known)
        until = np.array([problem.position(at) for at, _ in known])
        # of a slot that it leaves midway, the part before; share is what of the slot the car is there at all
        part = np.diff(np.clip((until[:, None] - slot[mine]) / share[mine], 0.0, 1.0), axis=0, prepend=0.0)
        departure, pair = np.nonzero(part)
        chance = np.array([chance for _, chance in known])
        short = build.columns(count, cost=chance * problem.shortfall_price_per_kwh[car] / unit, upper=np.inf)
        least = np.zeros(count)
        least[0] = problem.energy_needed_kwh[car]
        row = build.rows(count, lower=least)
        build.add(row + departure, mine[pair], part[departure, pair] * slot_h)
        build.add(row + np.arange(count), short + np.arange(count), 1.0)
        build.add(row + np.arange(1, count), short + np.arange(count - 1), -1.0)


def _add_battery(build: Builder, problem: PlanProblem, unit: float, balance: int) -> int:
    """Charge, discharge and energy of the site's battery in every slot."""
    window, battery = problem.window, problem.window.battery
    assert battery is not None  # noqa: S101 - the caller looked
    slots, slot_h, every = window.slots, window.slot_h, np.arange(window.slots)
    charge = build.columns(slots, upper=battery.charge_kw)
    out = build.columns(slots, cost=battery.wear_price_per_kwh * slot_h / unit, upper=battery.discharge_kw)
    value = battery.end_value_per_kwh
    worth = np.zeros(slots)
    worth[-1] = -(float(window.steering_price_per_kwh.min()) if value is None else value) / unit
    least = min(battery.reserve_kwh, battery.energy_kwh)
    held = build.columns(slots, cost=worth, lower=least, upper=battery.capacity_kwh)
    start = np.zeros(slots)
    start[0] = battery.energy_kwh
    row = build.rows(slots, lower=start, upper=start)
    build.add(row + every, charge + every, -slot_h * battery.charge_efficiency)
    build.add(row + every, out + every, slot_h / battery.discharge_efficiency)
    build.add(row + every, held + every, 1.0)
    build.add(row + every[1:], held + every[:-1], -1.0)
    build.add(balance + every, charge + every, 1.0)
    build.add(balance + every, out + every, -1.0)
    return charge
