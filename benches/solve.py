"""Charging plans beside the solver itself and beside modelling layers, on the same programmes.

48 hours in quarters of an hour; a third of the cars is plugged in now, the others come; 3.7, 7.4 or 11 kW; energy with
a priced shortfall, prices by time of use with a day's noise, PV with feed-in, a base load and a site limit; without and
with a demand charge. The pure solve is HiGHS with its default settings on our matrix: passing, solving, reading the
solution, nothing else. Every variant's total is CPU time from needs that are laid out to powers that can be commanded.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from benches import solve_peers
from benches.registry import Bar, BenchSpec, Outcome, interleave, note

from plugcast.schedule.engine import Engine
from plugcast.schedule.extensive import Stages, extensive
from plugcast.schedule.integral import Exact, exact, repair
from plugcast.schedule.live import LiveModel
from plugcast.schedule.matrix import to_matrix
from plugcast.schedule.problem import PlanProblem, VehicleNeed, build_problem, site_window
from plugcast.schedule.solve import solve
from plugcast.schedule.stochastic import solve_scenarios

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugcast.schedule.sparse import Programme

START = datetime(2024, 3, 5, 6, tzinfo=UTC)
SLOTS = 192
STEPS = 8
SEED = 7
DEMAND_CHARGE = 10.0
SIX_AMPERES_KW = 1.38
LONG_S = 120.0
PURE_S = 3600.0
NIGHT, NOON = (23, 8), (12, 18)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    cars: tuple[int, ...]
    scenarios: tuple[tuple[int, int], ...]
    whole: tuple[int, ...]
    peers: tuple[int, ...]
    repeats: int


SIZES = {
    "small": _Size(cars=(10, 50), scenarios=((10, 5),), whole=(10,), peers=(10,), repeats=3),
    "full": _Size(
        cars=(10, 100, 1000),
        scenarios=((10, 10), (10, 30), (100, 10), (100, 30)),
        whole=(10, 100),
        peers=(10, 100, 1000),
        repeats=5,
    ),
    # minutes of pure HiGHS
    "large": _Size(cars=(), scenarios=((1000, 10),), whole=(), peers=(), repeats=1),
}


def make(cars: int, *, slots: int = SLOTS, demand_charge: float = 0.0) -> PlanProblem:
    """The problem of the notes above."""
    draw = np.random.default_rng(SEED)
    hour = (6 + np.arange(slots) / 4.0) % 24
    price = np.select(
        [hour < NIGHT[1], hour < NOON[0], hour < NOON[1], hour < NIGHT[0]], [0.12, 0.22, 0.32, 0.22], 0.12
    )
    window = site_window(
        start_at=START,
        price_per_kwh=price + draw.normal(0, 0.01, slots).round(3),
        limit_kw=8.0 + 1.6 * cars,
        pv_kw=0.5 * cars * np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None),
        base_load_kw=0.5 * cars * (1 + 0.3 * np.sin(hour / 12 * np.pi)),
        feed_in_per_kwh=0.06,
        demand_charge_per_kw=demand_charge,
    )
    needs = []
    for car in range(cars):
        first = 0 if draw.random() < 1 / 3 else int(draw.integers(0, slots - 12))
        last = min(slots, first + int(draw.integers(12, 70)))
        power = float(draw.choice([3.7, 7.4, 11.0]))
        needs.append(
            VehicleNeed(
                session_id=f"s{car}",
                station_id=f"P{car}",
                arrival_at=START + timedelta(minutes=15 * first),
                departure_at=START + timedelta(minutes=15 * last),
                energy_needed_kwh=float(min(draw.uniform(4, 40), 0.9 * power * (last - first) / 4)),
                max_power_kw=power,
            )
        )
    return build_problem(needs, window)


def run(size: str) -> Outcome:
    """All comparisons of one size."""
    chosen = SIZES[size]
    cases: list[dict[str, Any]] = []
    for cars in chosen.cars:
        for charge in (0.0, DEMAND_CHARGE):
            note(f"LP, {cars} cars, demand charge {charge:g}")
            cases += [_cold(cars, charge, chosen.repeats), _warm(cars, charge)]
    for cars in chosen.whole:
        for charge in (0.0, DEMAND_CHARGE):
            note(f"whole currents, {cars} cars, demand charge {charge:g}")
            cases.append(_whole(cars, charge))
    for cars, count in chosen.scenarios:
        for charge in (0.0, DEMAND_CHARGE) if cars <= 100 else (0.0,):  # noqa: PLR2004 - minutes each beyond
            note(f"{count} scenarios, {cars} cars, demand charge {charge:g}")
            cases.append(_scenarios(cars, count, charge))
    with solve_peers.quiet():
        for cars in chosen.peers:
            cases += _peers(cars, repeats=min(chosen.repeats, 3))
    return Outcome(data=f"generated, seed {SEED}, {SLOTS} slots of 15 min", cases=cases, bars=_bars(cases, chosen))


def pure(lp: Programme) -> float:
    """HiGHS with its default settings; the objective."""
    engine = Engine(lp)
    for option in ("solver", "presolve"):
        engine.solver.setOptionValue(option, "choose")
    failure = engine.run(PURE_S)
    if failure:
        raise RuntimeError(failure)
    engine.values()
    return float(engine.solver.getInfo().objective_function_value)


def _cold(cars: int, charge: float, repeats: int) -> dict[str, Any]:
    problem = make(cars, demand_charge=charge)
    matrix = to_matrix(problem)
    timing = interleave({"ours": lambda: solve(problem), "pure": lambda: pure(matrix.lp)}, repeats=repeats)
    ours, alone = timing["ours"].median_s, timing["pure"].median_s
    return {
        "case": "LP cold",
        "cars": cars,
        "demand_charge": charge,
        "columns": matrix.lp.columns,
        "nonzeros": len(matrix.lp.value),
        "cpu_ms": ours * 1e3,
        "pure_highs_cpu_ms": alone * 1e3,
        "ratio": ours / alone,
        "objective": solve(problem).objective,
        "pure_objective": pure(matrix.lp) * matrix.unit,
    }


def _warm(cars: int, charge: float) -> dict[str, Any]:
    """One slot passes, PV moves by up to 5 %, 3 % of the energies are revised, what was planned is charged."""
    whole = make(cars, slots=SLOTS + STEPS + 1, demand_charge=charge)
    draw, live = np.random.default_rng(SEED), LiveModel()
    needs, apart = list(whole.needs), 0.0
    spent: dict[str, list[float]] = {"warm": [], "cold": [], "pure": []}
    for step in range(STEPS + 1):
        window = whole.window.part(step, SLOTS)
        window = replace(window, pv_kw=window.pv_kw * draw.uniform(0.95, 1.05))
        here = [need for need in needs if need.departure_at > window.start_at and need.arrival_at < window.end_at]
        here = [
            replace(need, energy_needed_kwh=need.energy_needed_kwh * float(draw.uniform(0.8, 1.2)))
            if draw.random() < 0.03  # noqa: PLR2004 - the share of the notes
            else need
            for need in here
        ]
        problem = build_problem(here, window)
        lp = to_matrix(problem).lp
        warm = _timed(lambda: live.solve(problem, time_limit_s=LONG_S), spent["warm"])  # noqa: B023 - called at once
        cold = _timed(lambda: solve(problem, time_limit_s=LONG_S), spent["cold"])  # noqa: B023 - the same
        _timed(lambda: pure(lp), spent["pure"])  # noqa: B023 - the same
        apart = max(apart, abs(warm.objective - cold.objective) / abs(cold.objective))
        drawn = dict(zip(problem.session_ids, warm.power_kw[:, 0] * window.slot_h, strict=True))
        later = [need for need in needs if need.arrival_at >= window.end_at]
        needs = [
            replace(need, energy_needed_kwh=max(need.energy_needed_kwh - drawn[need.session_id], 0.0)) for need in here
        ] + later
    warm_s, cold_s, pure_s = (float(np.median(spent[name][1:])) for name in ("warm", "cold", "pure"))
    return {
        "case": "LP warm",
        "cars": cars,
        "demand_charge": charge,
        "cpu_ms": warm_s * 1e3,
        "own_cold_cpu_ms": cold_s * 1e3,
        "pure_highs_cold_cpu_ms": pure_s * 1e3,
        "faster_than_own_cold": cold_s / warm_s,
        "faster_than_pure_cold": pure_s / warm_s,
        "largest_relative_difference": apart,
        "warm_steps": live.warm_steps,
    }


def _whole(cars: int, charge: float) -> dict[str, Any]:
    """6 A at least: the linear plan repaired, beside the search to a gap of 0.01 %."""
    plain = make(cars, demand_charge=charge)
    problem = build_problem([replace(need, min_power_kw=SIX_AMPERES_KW) for need in plain.needs], plain.window)
    spent: list[float] = []
    repaired = _timed(lambda: repair(problem, time_limit_s=LONG_S), spent)
    for _ in range(2):
        _timed(lambda: repair(problem, time_limit_s=LONG_S), spent)
    searching: list[float] = []
    found = _timed(lambda: exact(problem, Exact(time_limit_s=LONG_S)), searching)
    return {
        "case": "whole currents",
        "cars": cars,
        "demand_charge": charge,
        "repair_cpu_ms": float(np.median(spent)) * 1e3,
        "search_cpu_ms": searching[0] * 1e3,
        "ratio": searching[0] / float(np.median(spent)),
        "repair_above_search_bound": (repaired.objective - found.bound) / abs(found.bound),
        "search_gap": found.gap,
        "note": found.note,
    }


def _scenarios(cars: int, count: int, charge: float) -> dict[str, Any]:
    """Departures, energies, arrivals, PV and prices differ; the first slot is alike in all."""
    problems = futures(make(cars, demand_charge=charge), count)
    weight = np.full(count, 1.0 / count)
    building: list[float] = []
    form = _timed(lambda: extensive(problems, weight, Stages()), building)
    ours: list[float] = []
    alone: list[float] = []
    many = None
    for _ in range(3 if form.lp.columns < 50_000 else 1):  # noqa: PLR2004 - the larger take long enough to be steady
        many = _timed(lambda: solve_scenarios(problems, time_limit_s=LONG_S), ours)
        reference = _timed(lambda: pure(form.lp), alone)
    assert many is not None  # noqa: S101 - the loop ran
    return {
        "case": "scenarios",
        "cars": cars,
        "scenarios": count,
        "demand_charge": charge,
        "columns": form.lp.columns,
        "cpu_ms": float(np.median(ours)) * 1e3,
        "building_cpu_ms": building[0] * 1e3,
        "pure_highs_cpu_ms": float(np.median(alone)) * 1e3,
        "ratio": float(np.median(ours) / np.median(alone)),
        "objective": many.expected,
        "pure_objective": reference * form.matrices[0].unit,
    }


def futures(problem: PlanProblem, count: int) -> list[PlanProblem]:
    """The problem and ``count - 1`` others that might come instead."""
    draw, found, window = np.random.default_rng(SEED), [problem], problem.window
    for _ in range(count - 1):
        needs = []
        for need in problem.needs:
            there = need.arrival_at <= window.start_at
            if not there and draw.random() < 0.15:  # noqa: PLR2004 - of those to come, some do not
                continue
            least = max(need.arrival_at, window.start_at) + timedelta(minutes=15)
            leaves = max(need.departure_at + timedelta(minutes=15 * int(draw.normal(0, 4))), least)
            energy = need.energy_needed_kwh * float(draw.uniform(0.8, 1.2))
            needs.append(replace(need, departure_at=leaves, energy_needed_kwh=energy))
        sun = window.pv_kw * float(draw.uniform(0.5, 1.1))
        price = window.price_per_kwh + draw.normal(0, 0.01, window.slots)
        found.append(build_problem(needs, replace(window, pv_kw=sun, price_per_kwh=price)))
    return found


def _peers(cars: int, *, repeats: int) -> list[dict[str, Any]]:
    """The same LP written in modelling layers, vectorised as their manuals advise, HiGHS below all of them."""
    problem = make(cars)
    ours = solve(problem).objective
    cases = []
    for name, model in solve_peers.available().items():
        note(f"{name}, {cars} cars")
        variants: dict[str, Callable[[], object]] = {"ours": partial(solve, problem), name: partial(model, problem)}
        timing = interleave(variants, repeats=repeats)
        cases.append(
            {
                "case": "modelling layer",
                "peer": name,
                "cars": cars,
                "cpu_ms": timing["ours"].median_s * 1e3,
                "peer_cpu_ms": timing[name].median_s * 1e3,
                "peer_over_ours": timing[name].median_s / timing["ours"].median_s,
                "relative_difference": abs(model(problem) - ours) / abs(ours),
            }
        )
    if not cases:
        note("no modelling layer is installed; scripts/setup bench brings them")
    return cases


def _timed(work: Callable[[], Any], into: list[float]) -> Any:  # noqa: ANN401 - passes on what the work gives
    began = time.process_time()
    found = work()
    into.append(time.process_time() - began)
    return found


def _bars(cases: list[dict[str, Any]], size: _Size) -> list[Bar]:
    bars = []
    for case in cases:
        what = f"{case['case']}, {case['cars']} cars, demand charge {case.get('demand_charge', 0):g}"
        if case["case"] in {"LP cold", "scenarios"}:
            count = f", {case['scenarios']} scenarios" if "scenarios" in case else ""
            bars.append(_at_most(f"{what}{count}: CPU over pure HiGHS", case["ratio"], 1.15))
        elif case["case"] == "LP warm" and case["cars"] == max(size.cars):
            bars.append(_at_least(f"{what}: faster than pure HiGHS cold", case["faster_than_pure_cold"], 4.0))
            bars.append(_at_least(f"{what}: faster than our own cold", case["faster_than_own_cold"], 4.0))
        elif case["case"] == "whole currents" and case["cars"] == max(size.whole):
            bars.append(_at_most(f"{what}: repair above the bound", case["repair_above_search_bound"], 0.001))
            bars.append(_at_least(f"{what}: search over repair, CPU", case["ratio"], 50.0))
    return bars


def _at_most(name: str, value: float, limit: float) -> Bar:
    return Bar(name=name, value=value, limit=limit, sense="at_most")


def _at_least(name: str, value: float, limit: float) -> Bar:
    return Bar(name=name, value=value, limit=limit, sense="at_least")


BENCH = BenchSpec(
    name="solve",
    description="plans beside the solver alone and beside modelling layers",
    run=run,
    sizes=("small", "full", "large"),
)
