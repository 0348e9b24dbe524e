"""The planner against two independent answers: another formulation on another interface, and trying everything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from plugcast.domain.plan import PlanStatus
from plugcast.schedule.integral import Exact, exact, repair
from plugcast.schedule.outcome import bill_of
from plugcast.schedule.problem import FloatArray, PlanProblem, VehicleNeed, build_problem, must_serve_price, site_window
from plugcast.schedule.solve import plan, solve

START = datetime(2024, 3, 5, 6, tzinfo=UTC)


def _tiny(seed: int, *, whole: bool) -> PlanProblem:
    """A few cars over a few slots; ``whole`` keeps to whole hours and kilowatts, without a demand charge or PV."""
    draw = np.random.default_rng(seed)
    slots, cars, slot_min = int(draw.integers(2, 5 if whole else 9)), int(draw.integers(1, 4)), 60 if whole else 15
    window = site_window(
        start_at=START,
        slot_min=slot_min,
        price_per_kwh=draw.choice([-0.05, 0.0, 0.06, 0.06, 0.09, 0.3], slots),
        limit_kw=draw.integers(0, 8, slots).astype(float),
        base_load_kw=0.0 if whole else draw.choice([0.0, 1.0, 5.0], slots),
        pv_kw=0.0 if whole else draw.choice([0.0, 0.0, 4.0], slots),
        feed_in_per_kwh=0.0 if whole else -0.05,
        demand_charge_per_kw=0.0 if whole else float(draw.choice([0.0, 0.2, 15.5])),
        peak_so_far_kw=0.0 if whole else float(draw.choice([0.0, 3.0])),
    )
    needs = []
    for car in range(cars):
        first = int(draw.integers(0, slots))
        last = int(draw.integers(first + 1, slots + 1))
        cut = draw.uniform(0.05, 0.45, 2) if not whole and draw.random() < 0.5 else np.zeros(2)
        needs.append(
            VehicleNeed(
                session_id=f"s{car}",
                station_id=f"P{car}",
                arrival_at=START + timedelta(minutes=slot_min * (first + float(cut[0]))),
                departure_at=START + timedelta(minutes=slot_min * (last - float(cut[1]))),
                energy_needed_kwh=float(draw.integers(0, 5)) if whole else float(draw.uniform(0, 6)),
                max_power_kw=float(draw.integers(1, 4)) if whole else float(draw.choice([3.7, 7.4, 11.0])),
                value_per_kwh=None if draw.random() < 0.7 else 0.07,
            )
        )
    return build_problem(needs, window)


def _objective(problem: PlanProblem, power: FloatArray) -> float:
    missing = problem.energy_needed_kwh - power.sum(axis=1) * problem.window.slot_h
    return bill_of(problem, power).total + float(missing @ problem.shortfall_price_per_kwh)


def _by_linprog(problem: PlanProblem) -> float:
    """The optimum from a dense programme in energies, written down again from the words of the problem."""
    window, share = problem.window, problem.availability()
    cars, slots = share.shape
    headroom = window.headroom_kw
    energy = {(v, t): i for i, (v, t) in enumerate(product(range(cars), range(slots)))}
    bought, sold, peak = cars * slots, cars * slots + slots, cars * slots + 2 * slots
    cost = np.zeros(peak + 1)
    bounds: list[tuple[float, float | None]] = [(0.0, None)] * (peak + 1)
    upper_rows, upper, equal_rows, equal = [], [], [], []
    for (v, t), i in energy.items():
        cost[i] = -problem.shortfall_price_per_kwh[v]
        bounds[i] = (0.0, problem.max_power_kw[v] * share[v, t] * window.slot_h)
    for v in range(cars):
        row = np.zeros(peak + 1)
        row[[energy[v, t] for t in range(slots)]] = 1.0
        upper_rows.append(row)
        upper.append(problem.energy_needed_kwh[v])
    for t in range(slots):
        base = (window.base_load_kw[t] - window.pv_kw[t]) * window.slot_h
        row = np.zeros(peak + 1)
        row[[energy[v, t] for v in range(cars)]] = 1.0
        row[bought + t], row[sold + t] = -1.0, 1.0
        equal_rows.append(row)
        equal.append(-base)
        cost[bought + t], cost[sold + t] = window.price_per_kwh[t], -window.feed_in_per_kwh[t]
        bounds[sold + t] = (0.0, max(-base, 0.0))
        crowd = np.zeros(peak + 1)
        for v in range(cars):
            if share[v, t] > 0:
                crowd[energy[v, t]] = 1.0 / (share[v, t] * window.slot_h)
        upper_rows.append(crowd)
        upper.append(headroom[t])
        high = np.zeros(peak + 1)
        high[bought + t], high[peak] = 1.0 / window.slot_h, -1.0
        upper_rows.append(high)
        upper.append(0.0)
    cost[peak] = window.demand_charge_per_kw
    bounds[peak] = (window.peak_so_far_kw, None)
    found = linprog(
        cost,
        A_ub=np.array(upper_rows),
        b_ub=upper,
        A_eq=np.array(equal_rows),
        b_eq=equal,
        bounds=bounds,
        method="highs",
    )
    assert found.status == 0
    return float(found.fun + problem.energy_needed_kwh @ problem.shortfall_price_per_kwh)


@pytest.mark.parametrize("block", range(8))
def test_agrees_with_an_independent_linear_programme(block: int) -> None:
    for seed in range(30 * block, 30 * block + 30):
        problem = _tiny(seed, whole=False)
        solution = solve(problem)
        assert solution.status is PlanStatus.OPTIMAL
        wanted = _by_linprog(problem)
        assert _objective(problem, solution.power_kw) == pytest.approx(wanted, rel=1e-6, abs=1e-6), seed


def _by_trying_everything(problem: PlanProblem) -> float:
    """Every whole-kilowatt plan: exact, because with whole numbers and no peak price some optimum is whole."""
    window, share = problem.window, problem.availability()
    cars, slots = share.shape
    choices = [
        range(int(problem.max_power_kw[v]) + 1) if share[v, t] > 0 else (0,)
        for v, t in product(range(cars), range(slots))
    ]
    best = np.inf
    for flat in product(*choices):
        power = np.array(flat, dtype=float).reshape(cars, slots)
        if np.all(power.sum(axis=0) <= window.headroom_kw) and np.all(power.sum(axis=1) <= problem.energy_needed_kwh):
            bill = float(power.sum(axis=0) @ window.price_per_kwh)
            missing = problem.energy_needed_kwh - power.sum(axis=1)
            best = min(best, bill + float(missing @ problem.shortfall_price_per_kwh))
    return best


def test_agrees_with_trying_everything() -> None:
    tried = 0
    for seed in range(900):
        problem = _tiny(seed, whole=True)
        if np.prod(np.where(problem.availability() > 0, problem.max_power_kw[:, None] + 1, 1)) > 600:
            continue
        tried += 1
        solution = solve(problem)
        wanted = _by_trying_everything(problem)
        assert _objective(problem, solution.power_kw) == pytest.approx(wanted, rel=1e-6, abs=1e-6), seed
    assert tried >= 500


def test_the_least_shortfall_is_left_whatever_energy_costs() -> None:
    """Without a stated value a need is met wherever it can be: the missing energy equals that of a pure flow."""
    compared = 0
    for seed in range(60):
        problem = _tiny(seed, whole=False)
        if np.any(problem.shortfall_price_per_kwh < must_serve_price(problem.window)):
            continue
        share, window = problem.availability(), problem.window
        cars, slots = share.shape
        rows = [np.repeat(np.eye(cars), slots, axis=1)]
        crowd = np.zeros((slots, cars * slots))
        for v, t in product(range(cars), range(slots)):
            if share[v, t] > 0:
                crowd[t, v * slots + t] = 1.0 / (share[v, t] * window.slot_h)
        most = (problem.max_power_kw[:, None] * share * window.slot_h).ravel()
        flow = linprog(
            -np.ones(cars * slots),
            A_ub=np.vstack([*rows, crowd]),
            b_ub=np.concatenate([problem.energy_needed_kwh, window.headroom_kw]),
            bounds=[(0.0, m) for m in most],
        )
        planned = sum(car.energy_planned_kwh for car in plan(problem, "x", START).vehicles)
        assert planned == pytest.approx(-flow.fun, abs=1e-5), seed
        compared += 1
    assert compared >= 15


def _coarse(seed: int, *, pilots: bool) -> PlanProblem:
    """A few cars with whole pilots, or with a least power, over a few hours."""
    draw = np.random.default_rng(10_000 + seed)
    slots, cars = int(draw.integers(2, 4)), int(draw.integers(1, 3))
    window = site_window(
        start_at=START,
        slot_min=60,
        price_per_kwh=draw.choice([0.06, 0.06, 0.09, 0.3], slots),
        limit_kw=draw.integers(2, 8, slots).astype(float),
        base_load_kw=draw.choice([0.0, 1.0], slots),
        demand_charge_per_kw=float(draw.choice([0.0, 0.05])),
    )
    needs = []
    for car in range(cars):
        first = int(draw.integers(0, slots))
        kind: dict[str, Any] = {"pilots_kw": (2.0, 3.0, 4.5)} if pilots else {"min_power_kw": 1.4}
        needs.append(
            VehicleNeed(
                session_id=f"s{car}",
                station_id=f"P{car}",
                arrival_at=START + timedelta(hours=first),
                departure_at=START + timedelta(hours=int(draw.integers(first + 1, slots + 1))),
                energy_needed_kwh=float(draw.uniform(0, 9)),
                max_power_kw=float(draw.choice([3.0, 5.0])),
                **kind,
            )
        )
    return build_problem(needs, window)


def _offered_objective(problem: PlanProblem, power: FloatArray) -> float:
    """Bill of what is offered, a stopping car's last slot in full, and the price of what is missing."""
    missing = np.maximum(problem.energy_needed_kwh - power.sum(axis=1) * problem.window.slot_h, 0.0)
    return bill_of(problem, power).total + float(missing @ problem.shortfall_price_per_kwh)


def _by_all_levels(problem: PlanProblem) -> float:
    cars, slots = problem.availability().shape
    there = problem.availability() > 0
    levels = [sorted({min(level, need.max_power_kw) for level in need.pilots_kw}) for need in problem.needs]
    choices = [(0.0, *levels[v]) if there[v, t] else (0.0,) for v, t in product(range(cars), range(slots))]
    most = problem.energy_needed_kwh + problem.quantum_kw
    best = np.inf
    for flat in product(*choices):
        power = np.array(flat).reshape(cars, slots)
        if np.all(power.sum(axis=0) <= problem.window.headroom_kw + 1e-9) and np.all(power.sum(axis=1) <= most + 1e-9):
            best = min(best, _offered_objective(problem, power))
    return best


def _by_all_patterns(problem: PlanProblem) -> float:
    """Each pattern of on and off is a linear programme of its own."""
    share, window = problem.availability(), problem.window
    cars, slots = share.shape
    pairs = [(v, t) for v, t in product(range(cars), range(slots)) if share[v, t] > 0]
    count, peak = len(pairs), len(pairs) + cars
    cost = np.zeros(peak + 1)
    rows, upper = [], []
    for i, (_, t) in enumerate(pairs):
        cost[i] = window.price_per_kwh[t]
    cost[count : count + cars] = problem.shortfall_price_per_kwh
    cost[peak] = window.demand_charge_per_kw
    for v in range(cars):
        mine = np.array([float(car == v) for car, _ in pairs])
        rows += [np.concatenate([-mine, -np.eye(cars)[v], [0.0]]), np.concatenate([mine, np.zeros(cars + 1)])]
        upper += [-problem.energy_needed_kwh[v], problem.energy_needed_kwh[v] + problem.quantum_kw[v]]
    for t in range(slots):
        mine = np.array([float(slot == t) for _, slot in pairs])
        rows += [np.concatenate([mine, np.zeros(cars + 1)]), np.concatenate([mine, np.zeros(cars), [-1.0]])]
        upper += [window.headroom_kw[t], -window.base_load_kw[t]]
    best = np.inf
    for on in product((False, True), repeat=count):
        powers = [
            (problem.quantum_kw[v], problem.max_power_kw[v]) if chosen else (0.0, 0.0)
            for chosen, (v, _) in zip(on, pairs, strict=True)
        ]
        found = linprog(cost, A_ub=np.array(rows), b_ub=upper, bounds=[*powers, *[(0.0, None)] * (cars + 1)])
        best = min(best, float(found.fun)) if found.status == 0 else best
    return best + float(window.base_load_kw @ window.price_per_kwh)


def _compare_with_search(seeds: range, *, pilots: bool) -> None:
    for seed in seeds:
        problem = _coarse(seed, pilots=pilots)
        wanted = _by_all_levels(problem) if pilots else _by_all_patterns(problem)
        found, repaired = exact(problem, Exact(gap=0.0)), repair(problem)
        if not np.any(problem.last_slot > problem.first_slot):
            continue
        assert found.objective == pytest.approx(wanted, rel=1e-4, abs=1e-4), seed
        assert repaired.objective >= wanted - 1e-4, seed
        assert repaired.bound <= wanted + 1e-4, seed


@pytest.mark.parametrize("pilots", [True, False])
def test_whole_currents_agree_with_trying_all(pilots: bool) -> None:  # noqa: FBT001 - a parameter of the test
    _compare_with_search(range(20), pilots=pilots)


@pytest.mark.slow
@pytest.mark.parametrize("pilots", [True, False])
@pytest.mark.parametrize("block", range(5))
def test_whole_currents_agree_with_trying_all_on_many(block: int, pilots: bool) -> None:  # noqa: FBT001 - the same
    _compare_with_search(range(20 + 50 * block, 70 + 50 * block), pilots=pilots)
