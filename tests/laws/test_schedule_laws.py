"""What must hold for every plan, whatever the cars, prices and limits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from plugcast.domain.plan import ChargingPlan, PlanStatus
from plugcast.schedule.heuristics import uncontrolled, violations
from plugcast.schedule.mpc import Policy, decide
from plugcast.schedule.outcome import bill_of
from plugcast.schedule.problem import PlanProblem, SiteWindow, VehicleNeed, build_problem, site_window
from plugcast.schedule.solve import plan, solve

START = datetime(2024, 3, 5, 6, tzinfo=UTC)
FEW = settings(max_examples=30)


@st.composite
def windows(draw: st.DrawFn) -> SiteWindow:
    slots = draw(st.integers(1, 24))

    def row(low: float, high: float) -> list[float]:
        return draw(st.lists(st.floats(low, high).map(lambda x: round(x, 3)), min_size=slots, max_size=slots))

    return site_window(
        start_at=START,
        price_per_kwh=row(0.01, 0.6),
        limit_kw=row(0.0, 30.0),
        base_load_kw=row(0.0, 8.0) if draw(st.booleans()) else 0.0,
        pv_kw=row(0.0, 12.0) if draw(st.booleans()) else 0.0,
        demand_charge_per_kw=draw(st.sampled_from([0.0, 1.0, 15.51])),
        peak_so_far_kw=draw(st.sampled_from([0.0, 5.0])),
    )


@st.composite
def needs(draw: st.DrawFn) -> VehicleNeed:
    first = draw(st.floats(-120, 300))
    stay = draw(st.floats(1, 400))
    return VehicleNeed(
        session_id=draw(st.uuids()).hex,
        station_id="P",
        arrival_at=START + timedelta(minutes=first),
        departure_at=START + timedelta(minutes=first + stay),
        energy_needed_kwh=draw(st.floats(0, 40)),
        max_power_kw=draw(st.sampled_from([0.0, 1.4, 3.7, 7.4, 11.0, 22.0])),
    )


cars = st.lists(needs(), max_size=6, unique_by=lambda need: need.session_id)


def _total(result: ChargingPlan) -> float:
    return result.energy_cost + result.demand_cost


def _energy(result: ChargingPlan) -> float:
    return sum(car.energy_planned_kwh for car in result.vehicles)


def _missing(result: ChargingPlan) -> float:
    return sum(car.energy_needed_kwh - car.energy_planned_kwh for car in result.vehicles)


@FEW
@given(window=windows(), wanted=cars, policy=st.sampled_from([Policy.LP, Policy.EDF, Policy.LLF]))
def test_no_plan_exceeds_a_limit_a_rating_a_need_or_a_stay(
    window: SiteWindow, wanted: list[VehicleNeed], policy: Policy
) -> None:
    problem = build_problem(wanted, window)
    power = decide(problem, policy).solution.power_kw
    share = problem.availability()
    assert power.shape == share.shape
    assert np.all(power >= 0)
    assert np.all(power <= problem.max_power_kw[:, None] * share + 1e-9)
    assert np.all(power.sum(axis=1) * window.slot_h <= problem.energy_needed_kwh + 1e-9)
    assert violations(problem, power) == (0, 0.0)
    # at every instant, not only on average: powers while there add up to no more than what the limit leaves
    together = np.divide(power, share, out=np.zeros_like(power), where=share > 0).sum(axis=0)
    assert np.all(together <= window.headroom_kw + 1e-6)


@FEW
@given(window=windows(), wanted=cars)
def test_every_car_is_in_the_plan_and_every_shortfall_is_named(window: SiteWindow, wanted: list[VehicleNeed]) -> None:
    result = plan(build_problem(wanted, window), "x", START)
    assert {car.session_id for car in result.vehicles} == {need.session_id for need in wanted}
    named = {one.session_id: one.energy_kwh for one in result.shortfalls}
    for car in result.vehicles:
        missing = car.energy_needed_kwh - car.energy_planned_kwh
        assert len(car.power_kw) == window.slots
        assert car.explanation.endswith(".")
        assert named.get(car.session_id, 0.0) == pytest.approx(missing, abs=1.1e-3)
    assert all(one.reason for one in result.shortfalls)
    assert result.status is (PlanStatus.BEST_EFFORT if result.shortfalls else PlanStatus.OPTIMAL)


@FEW
@given(window=windows(), wanted=cars, seed=st.randoms(use_true_random=False))
def test_the_order_of_cars_is_irrelevant(window: SiteWindow, wanted: list[VehicleNeed], seed: object) -> None:
    shuffled = list(wanted)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan(build_problem(wanted, window), "x", START) == plan(build_problem(shuffled, window), "x", START)


@FEW
@given(window=windows(), wanted=cars, more=st.floats(0, 20))
def test_more_limit_never_leaves_more_undone_and_never_costs_more(
    window: SiteWindow, wanted: list[VehicleNeed], more: float
) -> None:
    wider = replace(window, limit_kw=window.limit_kw + more)
    tight, loose = (plan(build_problem(wanted, one), "x", START) for one in (window, wider))
    assert _missing(loose) <= _missing(tight) + 1e-6
    if _missing(loose) > _missing(tight) - 1e-6:  # the same energy: then the bill can be compared
        assert _total(loose) <= _total(tight) + 1e-5


@FEW
@given(window=windows(), wanted=cars, more=st.floats(0, 5))
def test_adding_a_constant_to_all_prices_adds_it_to_every_kwh(
    window: SiteWindow, wanted: list[VehicleNeed], more: float
) -> None:
    bare = replace(window, base_load_kw=np.zeros(window.slots), pv_kw=np.zeros(window.slots))
    dearer = replace(bare, price_per_kwh=bare.price_per_kwh + more)
    # a kWh must be worth as much more: what it takes to make room for one may cost other cars dear hours
    worth = [(bare, 100.0), (dearer, 100.0 + more)]
    before, after = (
        plan(build_problem([replace(car, value_per_kwh=value) for car in wanted], one), "x", START)
        for one, value in worth
    )
    assert _energy(after) == pytest.approx(_energy(before), abs=1e-6)
    assert _total(after) == pytest.approx(_total(before) + more * _energy(before), rel=1e-6, abs=1e-5)


@FEW
@given(window=windows(), wanted=cars, factor=st.sampled_from([1e-3, 0.1, 7.0, 1e4]))
def test_scaling_all_prices_scales_the_cost(window: SiteWindow, wanted: list[VehicleNeed], factor: float) -> None:
    scaled = replace(
        window,
        price_per_kwh=window.price_per_kwh * factor,
        demand_charge_per_kw=window.demand_charge_per_kw * factor,
    )
    before, after = (plan(build_problem(wanted, one), "x", START) for one in (window, scaled))
    assert _total(after) == pytest.approx(_total(before) * factor, rel=1e-6, abs=1e-6 * factor)


@FEW
@given(window=windows(), wanted=cars)
def test_charging_on_arrival_never_costs_less_for_the_same_energy(
    window: SiteWindow, wanted: list[VehicleNeed]
) -> None:
    free = replace(window, limit_kw=np.full(window.slots, np.inf))
    problem = build_problem(wanted, free)
    on_arrival = uncontrolled(problem)
    best = solve(problem).power_kw
    assert best.sum() == pytest.approx(on_arrival.sum(), abs=1e-5)
    assert bill_of(problem, best).total <= bill_of(problem, on_arrival).total * (1 + 1e-7) + 1e-7


@FEW
@given(window=windows(), wanted=cars)
def test_a_heuristic_never_beats_the_plan(window: SiteWindow, wanted: list[VehicleNeed]) -> None:
    problem = build_problem(wanted, window)
    best, edf = solve(problem).power_kw, decide(problem, Policy.EDF).solution.power_kw
    assert best.sum() >= edf.sum() - 1e-5
    if best.sum() <= edf.sum() + 1e-5:
        assert bill_of(problem, best).total <= bill_of(problem, edf).total + 1e-5


@FEW
@given(window=windows(), wanted=cars)
def test_the_tie_break_never_costs_anything(window: SiteWindow, wanted: list[VehicleNeed]) -> None:
    """Charging early is chosen among equals: the bill stays that of the programme without any slope."""
    problem = build_problem(wanted, window)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plugcast.schedule.solve.EARLY_SLOPES", (0.0,))
        plain = solve(problem).power_kw
    early = solve(problem).power_kw
    assert early.sum() == pytest.approx(plain.sum(), abs=1e-5)
    assert bill_of(problem, early).total == pytest.approx(bill_of(problem, plain).total, rel=1e-6, abs=1e-6)


@FEW
@given(window=windows(), wanted=cars)
def test_where_the_solver_fails_every_car_is_still_served_inside_the_limits(
    window: SiteWindow, wanted: list[VehicleNeed]
) -> None:
    problem = build_problem(wanted, window)
    assume(np.any(problem.last_slot > problem.first_slot))
    result = plan(problem, "x", START, time_limit_s=0.0)
    edf = decide(problem, Policy.EDF).solution.power_kw
    assert result.status is PlanStatus.FALLBACK
    assert np.array([car.power_kw for car in result.vehicles]).tolist() == edf.tolist()


def _problem_with(slot_price: float) -> PlanProblem:
    need = VehicleNeed(
        session_id="a",
        station_id="P",
        arrival_at=START,
        departure_at=START + timedelta(hours=4),
        energy_needed_kwh=3.5,
        max_power_kw=7.0,
    )
    return build_problem([need], site_window(start_at=START, price_per_kwh=[slot_price] * 16, limit_kw=50.0))


@pytest.mark.parametrize("price", [0.0, 1e-4, 0.2, 300.0])
def test_equal_prices_charge_at_once(price: float) -> None:
    power = solve(_problem_with(price)).power_kw[0]
    assert power.tolist() == pytest.approx([7.0, 7.0] + [0.0] * 14)
