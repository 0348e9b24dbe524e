from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import highspy
import numpy as np
import pytest

from plugcast.domain.plan import PlanStatus
from plugcast.schedule import solve as module
from plugcast.schedule.cost import cost_of
from plugcast.schedule.engine import Engine
from plugcast.schedule.heuristics import earliest_departure_first, least_laxity_first, uncontrolled, violations
from plugcast.schedule.mpc import Policy, decide
from plugcast.schedule.problem import PlanProblem, VehicleNeed, build_problem, site_window
from plugcast.schedule.solve import plan, solve

START = datetime(2024, 3, 5, 6, tzinfo=UTC)


def _need(session_id: str, first: int, last: int, energy_kwh: float, power_kw: float = 4.0) -> VehicleNeed:
    return VehicleNeed(
        session_id=session_id,
        station_id="P" + session_id,
        arrival_at=START + timedelta(hours=first),
        departure_at=START + timedelta(hours=last),
        energy_needed_kwh=energy_kwh,
        max_power_kw=power_kw,
    )


def _problem(*needs: VehicleNeed, limit_kw: float = 4.0, slots: int = 4, **more: Any) -> PlanProblem:
    given: dict[str, Any] = {"price_per_kwh": [0.2] * slots, **more}
    return build_problem(needs, site_window(start_at=START, slot_min=60, limit_kw=limit_kw, **given))


def test_no_cars_are_a_plan_with_the_base_load() -> None:
    result = plan(_problem(base_load_kw=2.0), "x", START)
    assert result.status is PlanStatus.OPTIMAL
    assert result.vehicles == ()
    assert result.energy_cost == pytest.approx(4 * 2.0 * 0.2)
    assert result.peak_kw == 2.0


def test_ten_thousand_cars_are_planned() -> None:
    needs = [_need(f"{i}", i % 3, 4, 3.0) for i in range(10_000)]
    problem = _problem(*needs, limit_kw=20_000.0, price_per_kwh=[0.3, 0.1, 0.2, 0.2])
    power = solve(problem, time_limit_s=60.0).power_kw
    # the cheap hour, the whole limit of it, is used; and every need is met
    assert power[:, 1].sum() == pytest.approx(20_000.0)
    assert power.sum(axis=1) == pytest.approx(np.full(10_000, 3.0))


def test_a_refused_model_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(highspy.Highs, "passModel", lambda *_: highspy.HighsStatus.kError)
    solution = solve(_problem(_need("a", 0, 4, 4.0)))
    assert solution.status is PlanStatus.FALLBACK
    assert (
        solution.note == "The solver gave no answer (the model was refused); cars charge in order of departure instead."
    )
    assert solution.power_kw.sum() == pytest.approx(4.0)


def test_a_time_out_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = iter([0.0, 100.0])
    monkeypatch.setattr(Engine, "seconds", lambda _: next(spent))
    result = plan(_problem(_need("a", 0, 4, 4.0)), "x", START)
    assert result.status is PlanStatus.FALLBACK
    assert "its time was up" in result.notes[0]
    assert result.shortfalls == ()


def test_a_solver_that_stops_early_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(highspy.Highs, "getModelStatus", lambda _: highspy.HighsModelStatus.kTimeLimit)
    result = plan(_problem(_need("a", 0, 4, 4.0)), "x", START)
    assert result.status is PlanStatus.FALLBACK
    assert "time limit reached" in result.notes[0]


def test_a_slope_that_would_change_the_cost_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = _problem(_need("a", 0, 4, 4.0), price_per_kwh=[0.2, 0.2, 0.2, 0.199])
    monkeypatch.setattr(module, "EARLY_SLOPES", (0.5,))  # would charge at once
    assert solve(problem).power_kw[0].tolist() == pytest.approx([0.0, 0.0, 0.0, 4.0])


def test_negative_prices_are_taken_but_never_beyond_the_need() -> None:
    result = plan(_problem(_need("a", 0, 4, 6.0), price_per_kwh=[0.1, -0.3, 0.1, -0.1]), "x", START)
    assert result.vehicles[0].power_kw == pytest.approx((0.0, 4.0, 0.0, 2.0))
    assert result.energy_cost == pytest.approx(-1.4)


def test_feed_in_above_the_price_makes_no_money_from_nothing() -> None:
    problem = _problem(_need("a", 0, 4, 4.0), pv_kw=[3.0, 0, 0, 0], feed_in_per_kwh=0.5, base_load_kw=1.0)
    result = plan(problem, "x", START)
    # the surplus of 2 kWh is sold, base load and car buy 3 + 4 kWh at other hours
    assert result.vehicles[0].power_kw == pytest.approx((0.0, 3.0, 1.0, 0.0))
    assert result.energy_cost == pytest.approx(7 * 0.2 - 2 * 0.5)
    assert any("Feed-in pays more" in note for note in result.notes)


def test_the_peak_so_far_is_free_to_use_again() -> None:
    dear_early: dict[str, Any] = {"price_per_kwh": [0.2, 0.1, 0.2, 0.2], "demand_charge_per_kw": 10.0}
    fresh = plan(_problem(_need("a", 0, 4, 4.0), **dear_early), "x", START)
    used = plan(_problem(_need("a", 0, 4, 4.0), peak_so_far_kw=4.0, **dear_early), "x", START)
    assert fresh.peak_kw == pytest.approx(1.0)
    assert used.vehicles[0].power_kw == pytest.approx((0.0, 4.0, 0.0, 0.0))
    assert used.demand_cost == pytest.approx(40.0)


def test_a_price_of_waiting_charges_earlier_and_is_not_billed() -> None:
    late_is_cheap: dict[str, Any] = {"price_per_kwh": [0.2, 0.2, 0.2, 0.19]}
    patient = plan(_problem(_need("a", 0, 4, 4.0), **late_is_cheap), "x", START)
    wary = plan(_problem(_need("a", 0, 4, 4.0), waiting_price_per_kwh_h=0.05, **late_is_cheap), "x", START)
    assert patient.vehicles[0].power_kw == pytest.approx((0.0, 0.0, 0.0, 4.0))
    assert wary.vehicles[0].power_kw == pytest.approx((4.0, 0.0, 0.0, 0.0))
    assert wary.energy_cost == pytest.approx(0.8)


def test_cars_that_swap_inside_a_slot_never_exceed_the_limit_together() -> None:
    half = timedelta(minutes=30)
    going = VehicleNeed(
        session_id="a", station_id="P", arrival_at=START, departure_at=START + half, energy_needed_kwh=9, max_power_kw=9
    )
    coming = VehicleNeed(
        session_id="b",
        station_id="Q",
        arrival_at=START + timedelta(minutes=10),
        departure_at=START + timedelta(hours=1),
        energy_needed_kwh=9.0,
        max_power_kw=9.0,
    )
    problem = _problem(going, coming, limit_kw=9.0, slots=1)
    decision = decide(problem, Policy.LP)
    assert sum(one.power_kw for one in decision.setpoints()) <= 9.0 + 1e-9
    assert decision.solution.power_kw.sum() == pytest.approx(9.0 * 50 / 60)  # the longer stay is the better use of it


def test_setpoints_are_powers_while_there() -> None:
    need = VehicleNeed(
        session_id="a",
        station_id="P",
        arrival_at=START + timedelta(minutes=45),
        departure_at=START + timedelta(hours=2),
        energy_needed_kwh=4.0,
        max_power_kw=4.0,
    )
    decision = decide(_problem(need), Policy.LP)
    (first,) = decision.setpoints()
    assert decision.solution.power_kw[0, 0] == pytest.approx(1.0)
    assert first.power_kw == pytest.approx(4.0)
    assert (first.start_at, first.end_at) == (START, START + timedelta(hours=1))


def test_uncontrolled_charges_on_arrival_and_ignores_the_limit_unless_capped() -> None:
    problem = _problem(_need("a", 0, 4, 6.0), _need("b", 0, 4, 6.0))
    assert uncontrolled(problem).tolist() == [[4, 2, 0, 0], [4, 2, 0, 0]]
    assert violations(problem, uncontrolled(problem)) == (1, 4.0)
    assert uncontrolled(problem, capped=True).tolist() == [[4, 2, 0, 0], [0, 2, 4, 0]]


def test_edf_serves_the_earliest_departure_and_llf_the_least_laxity() -> None:
    # b leaves later but needs every hour from the start
    problem = _problem(_need("a", 0, 3, 4.0), _need("b", 0, 4, 16.0))
    assert earliest_departure_first(problem).tolist() == [[4, 0, 0, 0], [0, 4, 4, 4]]
    assert least_laxity_first(problem)[1].tolist() == [4, 4, 0, 4]


def test_a_bill_counts_what_is_bought_sold_and_the_higher_peak() -> None:
    bill = cost_of([2.0, 0.0], [0.3, 0.3], 5.0, slot_min=30, pv_kw=[0.0, 4.0], feed_in_per_kwh=0.1, peak_so_far_kw=3.0)
    assert (bill.energy_cost, bill.demand_cost, bill.peak_kw) == pytest.approx((0.3 - 0.2, 15.0, 2.0))
    assert bill.total == pytest.approx(15.1)
