"""Rubbish in: a clear error or a flagged best effort within the time limit, never silence and never a crash."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from plugcast.domain.plan import PlanStatus
from plugcast.errors import PlanInputError
from plugcast.schedule.engine import Engine
from plugcast.schedule.heuristics import violations
from plugcast.schedule.integral import Exact, exact, repair
from plugcast.schedule.live import LiveModel
from plugcast.schedule.problem import Taper, VehicleNeed, build_problem, site_window
from plugcast.schedule.solve import plan, solve
from plugcast.schedule.stochastic import solve_scenarios

START = datetime(2024, 3, 5, 6, tzinfo=UTC)
WINDOW: dict[str, Any] = {"start_at": START, "price_per_kwh": [0.2, 0.1, 0.3, 0.2], "limit_kw": 10.0}
NEED: dict[str, Any] = {
    "session_id": "a",
    "station_id": "P",
    "arrival_at": START,
    "departure_at": START + timedelta(hours=1),
    "energy_needed_kwh": 4.0,
    "max_power_kw": 7.4,
}
ENDLESS, NOTHING = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"energy_needed_kwh": -1.0}, "energy_needed_kwh is -1.0"),
        ({"energy_needed_kwh": NOTHING}, "energy_needed_kwh is nan"),
        ({"energy_needed_kwh": ENDLESS}, "energy_needed_kwh is inf"),
        ({"energy_needed_kwh": 1e300}, "wanted at most"),
        ({"max_power_kw": -7.0}, "max_power_kw is -7.0"),
        ({"departure_at": START - timedelta(hours=1)}, "not after its arrival"),
        ({"arrival_at": datetime(2024, 3, 5, 6)}, "time zone"),  # noqa: DTZ001 - that is the point
    ],
)
def test_a_need_that_cannot_be_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanInputError, match=words):
        build_problem([VehicleNeed(**{**NEED, **change})], site_window(**WINDOW))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"price_per_kwh": [0.2, NOTHING, 0.3, 0.2]}, "price_per_kwh is nan in the slot of 2024-03-05T06:15"),
        ({"price_per_kwh": [0.2, 0.1, -1e300, 0.2]}, "price_per_kwh is -1e.300 .* wanted a number of at most 1e.06"),
        ({"demand_charge_per_kw": 1e300}, "demand_charge_per_kw is 1e.300"),
        ({"price_per_kwh": []}, "no slots"),
        ({"limit_kw": -1.0}, "limit_kw is -1.0"),
        ({"slot_min": NOTHING}, "Slots of nan minutes"),
        ({"slot_min": 7.5}, "wanted a whole number"),
        ({"slot_min": 10**9}, "from 1 to 1440"),
        ({"start_at": datetime.max.replace(tzinfo=UTC)}, "starts in 9999"),
        ({"limit_kw": NOTHING}, "limit_kw is nan"),
        ({"pv_kw": [1.0, 2.0]}, "pv_kw has shape"),
        ({"peak_so_far_kw": ENDLESS}, "peak_so_far_kw is inf"),
    ],
)
def test_a_window_that_cannot_be_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanInputError, match=words):
        site_window(**{**WINDOW, **change})


@pytest.mark.parametrize("method", [solve, repair, LiveModel().solve, lambda one: solve_scenarios([one, one]).nominal])
def test_a_limit_of_zero_is_a_best_effort_of_nothing(method: Any) -> None:
    problem = build_problem([VehicleNeed(**NEED)], site_window(**{**WINDOW, "limit_kw": 0.0}))
    assert method(problem).power_kw.tolist() == [[0.0] * 4]
    result = plan(problem, "x", START)
    assert result.status is PlanStatus.BEST_EFFORT
    assert "the 0 kW limit binds" in result.shortfalls[0].reason


def test_what_a_filling_battery_does_not_take_is_no_question_of_price() -> None:
    full = VehicleNeed(**{**NEED, "taper": Taper(full_kwh=2.0, time_h=0.1)})
    (missed,) = plan(build_problem([full], site_window(**WINDOW)), "x", START).shortfalls
    assert missed.energy_kwh == pytest.approx(2.0, abs=0.1)
    assert missed.reason.startswith("its battery, nearly full, takes 2.0 kWh")
    assert "worth" not in missed.reason


def test_a_departure_in_the_past_is_named_and_the_others_are_planned() -> None:
    gone = VehicleNeed(
        **{**NEED, "session_id": "gone", "arrival_at": START - timedelta(hours=3), "departure_at": START}
    )
    result = plan(build_problem([gone, VehicleNeed(**NEED)], site_window(**WINDOW)), "x", START)
    assert [(one.session_id, one.reason) for one in result.shortfalls] == [
        ("gone", "it departs before the plan starts")
    ]
    assert {car.session_id: round(car.energy_planned_kwh, 6) for car in result.vehicles} == {"gone": 0.0, "a": 4.0}


def _ten_thousand() -> list[VehicleNeed]:
    draw = np.random.default_rng(0)
    found = []
    for car in range(10_000):
        first = float(draw.uniform(0, 20))
        leaves = START + timedelta(hours=first + float(draw.uniform(1, 10)))
        more = {"arrival_at": START + timedelta(hours=first), "departure_at": leaves, "session_id": f"c{car}"}
        found.append(VehicleNeed(**{**NEED, **more, "energy_needed_kwh": float(draw.uniform(1, 20))}))
    return found


@pytest.mark.slow
def test_ten_thousand_cars_for_a_day_are_planned_or_flagged_in_time() -> None:
    draw = np.random.default_rng(1)
    window = site_window(start_at=START, price_per_kwh=draw.uniform(0.1, 0.4, 120), limit_kw=12_000.0)
    problem = build_problem(_ten_thousand(), window)
    for limit_s, status in ((60.0, PlanStatus.OPTIMAL), (0.05, PlanStatus.FALLBACK)):
        solution = solve(problem, time_limit_s=limit_s)
        assert solution.status is status
        assert violations(problem, solution.power_kw) == (0, 0.0)
        assert solution.power_kw.sum() * 0.25 > 0.9 * problem.energy_needed_kwh.sum()


def test_a_solver_that_never_comes_back_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugcast.schedule.engine.GRACE_S", 0.0)
    monkeypatch.setattr("plugcast.schedule.solve.GUARD_COLUMNS", 0)
    monkeypatch.setattr(Engine, "_solve", lambda _: __import__("time").sleep(0.3))
    problem = build_problem([VehicleNeed(**NEED)], site_window(**WINDOW))
    solution = solve(problem, time_limit_s=0.05)
    assert solution.status is PlanStatus.FALLBACK
    assert "it did not come back in time" in solution.note
    assert solution.power_kw.sum() * 0.25 == pytest.approx(4.0)


def test_prices_and_needs_of_any_size_keep_the_promises() -> None:
    for scale in (1e-6, 1e6):
        prices = [0.2 * scale, 0.1 * scale, -0.3 * scale, 0.2 * scale]
        problem = build_problem([VehicleNeed(**NEED)], site_window(**{**WINDOW, "price_per_kwh": prices}))
        power = solve(problem).power_kw
        assert power.sum() * 0.25 == pytest.approx(4.0)
        assert power[0, 2] == pytest.approx(7.4)


@pytest.mark.parametrize("searched", [False, True])
def test_all_runs_of_one_answer_share_its_time(monkeypatch: pytest.MonkeyPatch, *, searched: bool) -> None:
    """Relaxation, roundings and search together: none is given what another has spent."""
    cars = ({"session_id": str(index), "min_power_kw": 3.0, "energy_needed_kwh": 0.3 + index} for index in range(6))
    problem = build_problem(
        [VehicleNeed(**{**NEED, **car}) for car in cars], site_window(**WINDOW, demand_charge_per_kw=10.0)
    )
    spent: dict[int, float] = {}
    run = Engine.run

    def seen(engine: Engine, time_limit_s: float, *, guarded: bool = False) -> str:
        others = sum(seconds for key, seconds in spent.items() if key != id(engine))
        assert others + engine.seconds() + time_limit_s <= 5.0
        answer = run(engine, time_limit_s, guarded=guarded)
        spent[id(engine)] = engine.seconds()
        return answer

    monkeypatch.setattr(Engine, "run", seen)
    found = exact(problem, Exact(time_limit_s=5.0)) if searched else repair(problem, time_limit_s=5.0)
    assert found.status is PlanStatus.OPTIMAL
    assert spent


def test_a_process_waits_for_a_search_that_it_left_behind() -> None:
    """Ended under a running solver the interpreter is aborted, after all was answered."""
    script = """
import time
from datetime import UTC, datetime
from plugcast.schedule.engine import Engine
from plugcast.schedule.matrix import to_matrix
from plugcast.schedule.problem import build_problem, site_window

window = site_window(start_at=datetime(2024, 3, 5, tzinfo=UTC), price_per_kwh=[0.2], limit_kw=10.0)
engine = Engine(to_matrix(build_problem([], window)).lp)
engine._solve = lambda: (time.sleep(1.0), print("ended", flush=True))
print(engine.run(0.1, guarded=True), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["it did not come back in time", "ended"]
