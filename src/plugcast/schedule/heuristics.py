"""Charging without optimisation: at once, earliest departure first, least laxity first.

All take a problem and return the same array as the solver: mean power of each car and slot, [V, T] kW.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from plugcast.schedule.problem import POWER_TOL_KW

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugcast.schedule.arrays import ComplexArray, FloatArray
    from plugcast.schedule.problem import PlanProblem

_EPS_KWH = 1e-12


def uncontrolled(problem: PlanProblem, *, capped: bool = False) -> FloatArray:
    """Full power from arrival until the need is met: what happens where nobody plans.

    Without ``capped`` the limit is ignored, as plain sockets do (``violations`` counts the breaches);
    with it cars are served in the order of their arrival as far as the limit goes.
    """
    if capped:
        return _serve(problem, lambda _slot, _remaining: np.arange(problem.vehicles, dtype=np.float64))
    most = problem.max_power_kw[:, None] * problem.availability() * problem.window.slot_h
    before = np.cumsum(most, axis=1) - most
    energy: FloatArray = np.clip(problem.energy_needed_kwh[:, None] - before, 0.0, most)
    return energy / problem.window.slot_h


def earliest_departure_first(problem: PlanProblem) -> FloatArray:
    """In each slot the car that leaves first gets all it can take, then the next, up to the limit.

    EDF, optimal for one machine (Liu and Layland 1973): it ignores prices.
    """
    leaves = np.array([instant.timestamp() for instant in problem.departure_at], dtype=np.float64)
    return _serve(problem, lambda _slot, _remaining: leaves)


def least_laxity_first(problem: PlanProblem) -> FloatArray:
    """In each slot the car with the least time to spare (time left less time needed at full power) goes first."""
    window = problem.window
    left_until = np.array(
        [(instant - window.start_at).total_seconds() / 3600.0 for instant in problem.departure_at], dtype=np.float64
    )
    speed = np.maximum(problem.max_power_kw, 1e-9)
    return _serve(problem, lambda slot, remaining: left_until - slot * window.slot_h - remaining / speed)


def violations(problem: PlanProblem, power_kw: FloatArray, battery_kw: FloatArray | None = None) -> tuple[int, float]:
    """Slots in which the cars exceed what the limit leaves them, and the worst excess in kW."""
    together = power_kw.sum(axis=0) if battery_kw is None else power_kw.sum(axis=0) + battery_kw
    excess = together - problem.window.headroom_kw
    over = (excess > POWER_TOL_KW) & (together > POWER_TOL_KW)
    return int(over.sum()), float(excess[over].max(initial=0.0))


def overloads(problem: PlanProblem, power_kw: FloatArray) -> dict[str, float]:
    """Limits of the network that powers [V, T] exceed at some instant, and by how much at worst, in their own units."""
    network = problem.window.network
    if network is None:
        return {}
    share = problem.availability()
    while_there = np.divide(power_kw, share, out=np.zeros_like(power_kw), where=share > 0)
    excess = network.load(problem.station_ids, while_there).max(axis=1) - network.limit
    tolerance = POWER_TOL_KW + 1e-6 * network.limit
    return {name: float(by) for name, by, most in zip(network.names, excess, tolerance, strict=True) if by > most}


def _serve(problem: PlanProblem, rank: Callable[[int, FloatArray], FloatArray]) -> FloatArray:
    """Slot by slot, cars in ascending rank take what they can; the limit holds at every instant of a slot."""
    window = problem.window
    power = np.zeros((problem.vehicles, window.slots))
    share = problem.availability()
    remaining = problem.energy_needed_kwh.astype(np.float64, copy=True)
    headroom = window.headroom_kw
    network = window.network
    weight, limit = (network.of(problem.station_ids), network.limit) if network is not None else (None, None)
    for slot in np.flatnonzero(share.any(axis=0)):
        here = np.flatnonzero((share[:, slot] > 0) & (remaining > _EPS_KWH))
        if not here.size:
            continue
        order = here[np.argsort(rank(int(slot), remaining)[here], kind="stable")]
        hours = share[order, slot] * window.slot_h
        wanted = np.minimum(problem.max_power_kw[order], remaining[order] / hours)
        given = np.clip(headroom[slot] - (np.cumsum(wanted) - wanted), 0.0, wanted)
        if weight is not None and limit is not None:
            given = _through(weight[:, order], limit, given)
        power[order, slot] = given * share[order, slot]
        remaining[order] -= given * hours
    return power


def _through(weight: ComplexArray, limit: FloatArray, wanted: FloatArray) -> FloatArray:
    """What the network lets through, car by car in their order; weight [K, n], wanted [n]."""
    if np.all(np.abs(weight @ wanted) <= limit):
        return wanted
    given, load = np.zeros_like(wanted), np.zeros(len(limit), dtype=np.complex128)
    for car in range(len(wanted)):
        mine = weight[:, car]
        wired = np.flatnonzero(mine)
        # |load + mine x| = limit: the larger root, for load is inside
        square = np.abs(mine[wired]) ** 2
        half = np.real(np.conj(load[wired]) * mine[wired])
        rest = np.maximum(limit[wired] ** 2 - np.abs(load[wired]) ** 2, 0.0)
        reach = (np.sqrt(half**2 + square * rest) - half) / square
        given[car] = max(min(float(wanted[car]), float(reach.min(initial=np.inf))), 0.0)
        load += mine * given[car]
    return given
