"""The planner against two independent answers: another formulation on another interface, and trying everything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog

from plugcast.domain.plan import PlanStatus
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
    for seed in range(400):
        problem = _tiny(seed, whole=True)
        if np.prod(np.where(problem.availability() > 0, problem.max_power_kw[:, None] + 1, 1)) > 600:
            continue
        tried += 1
        solution = solve(problem)
        wanted = _by_trying_everything(problem)
        assert _objective(problem, solution.power_kw) == pytest.approx(wanted, rel=1e-6, abs=1e-6), seed
    assert tried >= 200


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
