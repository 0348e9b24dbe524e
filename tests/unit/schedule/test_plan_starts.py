"""Where the simplex method begins changes how soon it ends, never where."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from plugcast.domain.plan import PlanStatus
from plugcast.schedule.extensive import Stages
from plugcast.schedule.live import LiveModel
from plugcast.schedule.problem import PlanProblem, VehicleNeed, build_problem, site_window
from plugcast.schedule.solve import relax, solve
from plugcast.schedule.stochastic import solve_scenarios

START = datetime(2024, 3, 5, 6, tzinfo=UTC)
SLOTS = 48


def _site(seed: int, *, demand_charge: float, step: int = 0) -> PlanProblem:
    """Forty cars that look alike to the solver; from ``step`` slots later on."""
    draw = np.random.default_rng(seed)
    price = draw.choice([0.1, 0.2, 0.3], SLOTS + 8)
    window = site_window(
        start_at=START,
        price_per_kwh=price,
        limit_kw=90.0,
        base_load_kw=20.0,
        pv_kw=draw.uniform(0, 30, len(price)),
        demand_charge_per_kw=demand_charge,
    ).part(step, SLOTS)
    needs = []
    for car in range(40):
        first = int(draw.integers(8, 40))
        needs.append(
            VehicleNeed(
                session_id=f"s{car}",
                station_id=f"P{car}",
                arrival_at=START + timedelta(minutes=15 * first),
                departure_at=START + timedelta(minutes=15 * (first + int(draw.integers(4, 30)))),
                energy_needed_kwh=float(draw.uniform(2, 12)),
                max_power_kw=7.4,
            )
        )
    return build_problem(needs, window)


@pytest.mark.parametrize("demand_charge", [0.0, 8.0])
def test_a_step_later_takes_far_fewer_pivots_than_anew_and_ends_the_same(demand_charge: float) -> None:
    live = LiveModel()
    live.solve(_site(3, demand_charge=demand_charge))
    for step in range(1, 5):
        later = _site(3, demand_charge=demand_charge, step=step)
        warm, anew = live.solve(later), relax(later, time_limit_s=20.0)
        assert not isinstance(anew, str)
        assert warm.objective == pytest.approx(solve(later).objective, rel=1e-9)
        assert warm.bound <= warm.objective
        assert live._ring is not None
        assert live._ring.engine.iterations() < 0.5 * anew.engine.iterations()
    assert live.warm_steps == 4


@pytest.mark.parametrize("demand_charge", [0.0, 8.0])
@pytest.mark.parametrize("stages", [Stages(), Stages(shared_slots=3, share_peak=True), Stages(cvar_weight=0.5)])
def test_scenarios_solved_apart_first_end_where_the_whole_does(
    demand_charge: float, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _site(4, demand_charge=demand_charge, step=8)
    draw, futures = np.random.default_rng(4), [first]
    for _ in range(4):
        needs = [
            replace(need, energy_needed_kwh=need.energy_needed_kwh * float(draw.uniform(0.8, 1.2)))
            for need in first.needs
            if need.arrival_at <= first.window.start_at or draw.random() > 0.2
        ]
        futures.append(build_problem(needs, replace(first.window, pv_kw=first.window.pv_kw * draw.uniform(0.5, 1.1))))
    whole = solve_scenarios(futures, stages=stages)
    monkeypatch.setattr("plugcast.schedule.stochastic.APART_COLUMNS", 0)
    apart = solve_scenarios(futures, stages=stages)
    mean = (1 - stages.cvar_weight) * apart.expected + stages.cvar_weight * apart.cvar
    assert mean == pytest.approx((1 - stages.cvar_weight) * whole.expected + stages.cvar_weight * whole.cvar, rel=1e-6)
    assert {one.shape for one in apart.power_kw} == {one.shape for one in whole.power_kw}


def test_scenarios_that_take_too_long_leave_the_best_plan_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    first = _site(5, demand_charge=8.0, step=8)
    monkeypatch.setattr("plugcast.schedule.stochastic._run", lambda *_: "time limit reached")
    found = solve_scenarios([first, first]).nominal
    assert found.status is PlanStatus.FALLBACK
    assert "the plan is that of the first alone" in found.note
    assert found.power_kw.tolist() == solve(first).power_kw.tolist()
