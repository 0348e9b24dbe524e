"""Currents that chargers can offer, runs that last, futures, and a controller that learns."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.domain.plan import PlanStatus
from plugcast.errors import PlanInputError
from plugcast.schedule import integral
from plugcast.schedule.controller import Controller
from plugcast.schedule.extensive import Stages
from plugcast.schedule.heuristics import violations
from plugcast.schedule.integral import Exact, exact, repair
from plugcast.schedule.live import LiveModel
from plugcast.schedule.mpc import Future, HorizonState, Policy, PresentCar, RecedingHorizon, decide
from plugcast.schedule.network import three_phase
from plugcast.schedule.peaks import outlook, rest_of_month
from plugcast.schedule.problem import PlanProblem, VehicleNeed, build_problem, site_window
from plugcast.schedule.response import Response
from plugcast.schedule.runs import starts
from plugcast.schedule.solve import plan, solve
from plugcast.schedule.stochastic import solve_scenarios
from plugcast.schedule.window import Goals

START = datetime(2024, 3, 5, 6, tzinfo=UTC)
PILOTS = (1.5, 3.0, 4.5, 6.0)


def _need(name: str, first: float, last: float, energy_kwh: float, power_kw: float = 4.0, **more: Any) -> VehicleNeed:
    return VehicleNeed(
        session_id=name,
        station_id="P" + name,
        arrival_at=START + timedelta(hours=first),
        departure_at=START + timedelta(hours=last),
        energy_needed_kwh=energy_kwh,
        max_power_kw=power_kw,
        **more,
    )


def _problem(*needs: VehicleNeed, slots: int = 4, limit_kw: float = 100.0, **more: Any) -> PlanProblem:
    given_: dict[str, Any] = {"price_per_kwh": [0.2] * slots, **more}
    return build_problem(needs, site_window(start_at=START, slot_min=60, limit_kw=limit_kw, **given_))


@st.composite
def coarse_sites(draw: st.DrawFn) -> PlanProblem:
    needs = []
    for car in range(draw(st.integers(1, 5))):
        first = draw(st.integers(0, 6))
        kind: dict[str, Any] = draw(st.sampled_from([{"min_power_kw": 1.4}, {"pilots_kw": PILOTS}, {}]))
        last = first + draw(st.integers(1, 8))
        needs.append(_need(str(car), first, last, draw(st.floats(0, 20)), draw(st.sampled_from([3.0, 6.0])), **kind))
    price = draw(st.lists(st.sampled_from([0.1, 0.15, 0.3]), min_size=10, max_size=10))
    charge = draw(st.sampled_from([0.0, 1.0]))
    return _problem(*needs, price_per_kwh=price, demand_charge_per_kw=charge, limit_kw=draw(st.floats(1, 15)))


def _exists(problem: PlanProblem, power: np.ndarray) -> None:
    """Every power is one that the charger can offer; the last of a car may be the end of one."""
    for car, need in enumerate(problem.needs):
        drawn = power[car][power[car] > 1e-5]
        inner = drawn[:-1]
        if need.pilots_kw:
            levels = np.minimum(np.array(need.pilots_kw), need.max_power_kw)
            assert all(np.abs(levels - one).min() < 1e-4 for one in inner), (drawn, levels)
        elif need.min_power_kw:
            assert np.all(inner >= need.min_power_kw - 1e-4), drawn


@settings(max_examples=40, deadline=None)
@given(problem=coarse_sites())
def test_repaired_powers_exist_keep_limits_and_know_their_distance(problem: PlanProblem) -> None:
    solution = repair(problem)
    _exists(problem, solution.power_kw)
    assert violations(problem, solution.power_kw) == (0, 0.0)
    assert np.all(solution.power_kw.sum(axis=1) <= problem.energy_needed_kwh + 1e-6)
    assert solution.objective >= solution.bound - 1e-6 * abs(solution.bound)
    assert solution.bound == pytest.approx(solve(problem).objective, rel=1e-6, abs=1e-6)


@settings(max_examples=12, deadline=None)
@given(problem=coarse_sites())
def test_the_search_is_never_worse_than_the_repair(problem: PlanProblem) -> None:
    found, repaired = exact(problem, Exact(time_limit_s=10)), repair(problem)
    _exists(problem, found.power_kw)
    assert found.objective <= repaired.objective * (1 + 1e-4) + 1e-4


@settings(max_examples=40, deadline=None)
@given(problem=coarse_sites())
def test_the_commanded_slot_exists_and_lifts_no_peak(problem: PlanProblem) -> None:
    priced = replace(problem, window=replace(problem.window, demand_charge_per_kw=1.0))
    linear, found = solve(priced), repair(priced, slots=1)
    now = found.power_kw[:, 0]
    for need, drawn in zip(priced.needs, now.tolist(), strict=True):
        levels = [min(level, need.max_power_kw) for level in need.pilots_kw] or [max(drawn, need.min_power_kw)]
        last_of_it = abs(drawn - need.energy_needed_kwh) < 1e-4  # slots are hours
        assert drawn < 1e-5 or last_of_it or min(abs(drawn - level) for level in levels) < 1e-4
    assert now.sum() <= linear.power_kw.sum(axis=0).max(initial=0.0) + 1e-4
    assert violations(priced, found.power_kw) == (0, 0.0)
    offered = decide(priced, Policy.WHOLE, whole_slots=1).offered_kw()[:, 0]
    assert np.all(offered >= now - 1e-6)
    assert np.all((offered < 1e-5) | (offered >= priced.quantum_kw - 1e-4))


def test_six_amperes_at_least_needs_a_slot_at_the_minimum() -> None:
    problem = _problem(_need("a", 0, 4, 5.0, min_power_kw=1.4), price_per_kwh=[0.1, 0.2, 0.3, 0.3])
    assert solve(problem).power_kw[0] == pytest.approx([4, 1, 0, 0])
    for solution in (repair(problem), exact(problem)):
        assert solution.power_kw[0] == pytest.approx([3.6, 1.4, 0, 0], abs=1e-4)
        assert solution.objective == pytest.approx(3.6 * 0.1 + 1.4 * 0.2, abs=1e-6)
    assert repair(problem).gap == pytest.approx(0.64 / 0.6 - 1)  # beside the linear bound
    assert exact(problem).gap == pytest.approx(0.0, abs=1e-6)


def test_runs_last_and_starts_are_counted() -> None:
    prices: dict[str, Any] = {"price_per_kwh": [0.1, 0.11, 0.1, 0.3, 0.1, 0.3]}
    need = _need("a", 0, 6, 8.0, min_power_kw=1.4)
    problem = _problem(need, **prices)
    flickering = exact(problem)
    lasting = exact(problem, min_run_slots=2)
    assert starts(flickering.power_kw).tolist() == [2]
    assert starts(lasting.power_kw).tolist() == [1]
    rare = _problem(need, goals=Goals(start_price=1.0), **prices)
    assert starts(exact(rare).power_kw).tolist() == [1]
    assert starts(repair(problem, min_run_slots=2).power_kw).tolist() == [1]


def test_a_search_without_time_is_a_flagged_plan() -> None:
    solution = exact(_problem(_need("a", 0, 4, 5.0, min_power_kw=1.4)), Exact(time_limit_s=0))
    assert solution.status is PlanStatus.FALLBACK


def test_what_a_coarse_charger_leaves_is_explained() -> None:
    needs = [_need(name, 0, 1, 1.0, pilots_kw=(2.0,)) for name in "ab"]
    decision = decide(_problem(*needs, slots=1, limit_kw=3.0), Policy.WHOLE)
    result = decision.as_plan("x", START)
    assert result.status is PlanStatus.BEST_EFFORT
    assert len(result.shortfalls) == 1
    assert "less is missing than a slot at its least power gives (2.00 kWh)" in result.shortfalls[0].reason


def test_a_full_phase_is_the_reason_that_is_named() -> None:
    feeder = three_phase({"Pa": "L1", "Pb": "L1"}, limit_a=10, voltage_v=200)
    result = plan(_problem(_need("a", 0, 4, 8.0), _need("b", 0, 4, 8.0), network=feeder), "x", START)
    assert sum(one.energy_kwh for one in result.shortfalls) == pytest.approx(8.0)
    assert all("phase L1 (10 A) binds" in one.reason for one in result.shortfalls)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_live_model_gives_what_a_new_one_gives(seed: int) -> None:
    draw = np.random.default_rng(seed)
    slots, live = 12, LiveModel()
    price, sun = draw.choice([0.1, 0.12, 0.3], 40), draw.uniform(0, 4, 40)
    feeder = three_phase({f"Pc{i}": f"L{i % 3 + 1}" for i in range(30)}, limit_a=20) if draw.random() < 0.5 else None
    whole = site_window(
        start_at=START,
        slot_min=60,
        price_per_kwh=price,
        limit_kw=15.0,
        pv_kw=sun,
        feed_in_per_kwh=0.05,
        network=feeder,
        demand_charge_per_kw=float(draw.choice([0.0, 2.0])),
    )
    cars = []
    for car in range(30):
        first = float(draw.uniform(0, 25))
        cars.append(_need(f"c{car}", first, first + float(draw.uniform(0.5, 15)), float(draw.uniform(0, 20))))
    for step in range(10):
        window = whole.part(step, slots)
        window = replace(window, pv_kw=window.pv_kw * draw.uniform(0.9, 1.1))
        here = [need for need in cars if need.departure_at > window.start_at and need.arrival_at < window.end_at]
        problem = build_problem(here, window)
        warm, cold = live.solve(problem), solve(problem)
        assert warm.objective == pytest.approx(cold.objective, rel=1e-6, abs=1e-6)
        assert warm.bound <= cold.objective + 1e-6
        assert violations(problem, warm.power_kw) == (0, 0.0)
        assert np.all(warm.power_kw.sum(axis=1) <= problem.energy_needed_kwh + 1e-6)
    assert live.warm_steps >= 8


def test_a_live_model_starts_anew_where_it_must() -> None:
    live = LiveModel()
    one = _problem(_need("a", 0, 4, 4.0))
    assert live.solve(one).power_kw == pytest.approx(solve(one).power_kw)
    longer = _problem(_need("a", 0, 4, 4.0), slots=6)
    assert live.solve(longer).power_kw == pytest.approx(solve(longer).power_kw)
    assert (live.cold_steps, live.warm_steps) == (2, 0)
    assert live.solve(longer, time_limit_s=0).status is PlanStatus.FALLBACK


def test_one_scenario_is_the_plain_problem_and_equal_ones_change_nothing() -> None:
    problem = _problem(_need("a", 0, 4, 4.0), _need("b", 1, 3, 6.0), price_per_kwh=[0.3, 0.1, 0.2, 0.1], limit_kw=5)
    plain = solve(problem)
    for count in (1, 3):
        many = solve_scenarios([problem] * count)
        assert many.nominal.power_kw == pytest.approx(plain.power_kw)
        assert many.expected == pytest.approx(plain.objective)
        assert many.cvar == pytest.approx(plain.objective)


def test_a_future_in_which_the_car_leaves_early_is_charged_for_now() -> None:
    late = _problem(_need("a", 0, 4, 4.0), price_per_kwh=[0.3, 0.1, 0.1, 0.1])
    early = _problem(_need("a", 0, 1, 4.0), price_per_kwh=[0.3, 0.1, 0.1, 0.1])
    assert solve(late).power_kw[0, 0] == pytest.approx(0.0)
    many = solve_scenarios([late, early], [0.7, 0.3])
    assert many.nominal.power_kw[0, 0] == pytest.approx(4.0)
    assert many.power_kw[1][0, 0] == pytest.approx(4.0)


@pytest.mark.parametrize("price", [0.1, -0.1])
def test_a_future_that_wants_little_does_not_cap_what_all_are_offered(price: float) -> None:
    little, much = (
        _problem(_need("a", 0, 4, energy), price_per_kwh=[price, price, 0.5, 0.5]) for energy in (4.0, 12.0)
    )
    many = solve_scenarios([much, little], [0.5, 0.5], Stages(shared_slots=4))
    assert many.nominal.power_kw[0] == pytest.approx([4.0, 4.0, 4.0, 0.0])
    assert many.power_kw[1][0].sum() == pytest.approx(4.0)  # it is full, and stops


def test_risk_aversion_never_lowers_the_mean_nor_raises_the_worst() -> None:
    draw = np.random.default_rng(1)
    problems = []
    for _ in range(6):
        needs = [
            _need(str(i), 0, int(draw.integers(1, 5)), float(draw.uniform(1, 9)), value_per_kwh=0.5) for i in "abc"
        ]
        problems.append(_problem(*needs, price_per_kwh=draw.uniform(0.1, 0.5, 4), limit_kw=7, demand_charge_per_kw=0.3))
    calm, wary = (
        solve_scenarios(problems, stages=Stages(shared_slots=2, cvar_weight=w, cvar_level=0.6)) for w in (0.0, 0.9)
    )
    assert wary.expected >= calm.expected - 1e-4
    assert wary.cvar <= calm.cvar + 1e-4


def test_a_committed_peak_is_the_same_in_all_futures() -> None:
    problems = [
        _problem(_need("a", 0, 4, energy), demand_charge_per_kw=1.0, price_per_kwh=[0.1, 0.2, 0.3, 0.4])
        for energy in (4.0, 12.0)
    ]
    free = solve_scenarios(problems, stages=Stages())
    committed = solve_scenarios(problems, stages=Stages(share_peak=True))
    assert free.power_kw[0].max() < 3.0 - 1e-6
    assert committed.power_kw[0].max() == pytest.approx(3.0)  # paid for already


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: solve_scenarios([]), "No scenario"),
        (lambda p: solve_scenarios([p], [0.4]), "add up to 0.4"),
        (lambda p: solve_scenarios([p, _problem(slots=6)]), "2 different spans"),
        (lambda _: Stages(shared_slots=0), "0 shared slots"),
        (lambda _: Stages(cvar_level=1.0), "CVaR"),
    ],
)
def test_futures_that_make_no_sense_are_refused(make: Any, words: str) -> None:
    with pytest.raises(PlanInputError, match=words):
        make(_problem(_need("a", 0, 4, 1.0)))


def _car(name: str = "a", **more: Any) -> PresentCar:
    given_: dict[str, Any] = {
        "session_id": name,
        "station_id": "P" + name,
        "arrival_at": START,
        "departure_expected_at": START + timedelta(hours=4),
        "energy_expected_kwh": 8.0,
        "energy_delivered_kwh": 0.0,
        "max_power_kw": 7.4,
        **more,
    }
    return PresentCar(**given_)


WINDOW = site_window(start_at=START, price_per_kwh=[0.3] * 4 + [0.1] * 12, limit_kw=20.0)


def test_the_rest_of_a_slot_is_planned_and_what_was_drawn_counts_for_the_peak() -> None:
    now = START + timedelta(minutes=5)
    car = _car(departure_expected_at=START + timedelta(minutes=15), energy_expected_kwh=20.0)
    decision = RecedingHorizon().decide(HorizonState(), now, [car], WINDOW)
    (command,) = decision.setpoints()
    assert command.power_kw == pytest.approx(7.4)
    assert decision.solution.power_kw[0, 0] == pytest.approx(7.4 * 10 / 15)
    charged = replace(WINDOW, demand_charge_per_kw=5.0, limit_kw=np.full(16, 6.0))
    tight = RecedingHorizon().decide(HorizonState(), now, [car], charged, drawn_kw=2.0)
    assert float(tight.solution.power_kw[0, 0]) + 2.0 <= 6.0 + 1e-6


def test_a_controller_is_due_by_time_and_by_events_and_learns_what_a_car_takes() -> None:
    control = Controller(RecedingHorizon(horizon_slots=16))
    assert control.due(START, [_car()], WINDOW) == "nothing is planned yet"
    first = control.decide(START, [_car()], WINDOW)
    assert first.problem.max_power_kw.tolist() == [7.4]
    soon = START + timedelta(minutes=3)
    assert control.due(soon, [_car()], WINDOW) == ""
    assert control.due(soon, [_car(), _car("b")], WINDOW) == "b has come"
    assert control.due(soon, [], WINDOW) == "a has left"
    assert "leave at another time" in control.due(
        soon, [_car(departure_expected_at=START + timedelta(hours=2))], WINDOW
    )
    assert "the limit is 5 kW" in control.due(soon, [_car()], replace(WINDOW, limit_kw=np.full(16, 5.0)))
    assert "15 minutes" in control.due(START + timedelta(minutes=15), [_car()], WINDOW)
    control.responded("a", offered_kw=7.4, drawn_kw=3.6, delivered_kwh=0.2)
    assert control.due(soon, [_car()], WINDOW) == "a takes no more than 3.6 kW"
    again = control.decide(soon, [_car(energy_delivered_kwh=0.2)], WINDOW)
    assert again.problem.max_power_kw.tolist() == [3.6]


def test_a_controller_warms_up_and_carries_the_peak() -> None:
    control = Controller(RecedingHorizon(horizon_slots=12))
    control.seen(START, 9.0, "UTC")
    for step in range(3):
        now = START + timedelta(minutes=15 * step)
        decision = control.decide(now, [_car(energy_expected_kwh=9.0)], WINDOW.part(step, 12))
        assert decision.problem.window.peak_so_far_kw == 9.0
    assert (control.live.cold_steps, control.live.warm_steps) == (1, 2)


def test_futures_reach_the_decision() -> None:
    leaves = Future(probability=0.4, departure_at={"a": START + timedelta(hours=1)})
    blind = RecedingHorizon().decide(HorizonState(), START, [_car(energy_expected_kwh=7.0)], WINDOW)
    told = RecedingHorizon().decide(HorizonState(), START, [_car(energy_expected_kwh=7.0)], WINDOW, futures=[leaves])
    assert blind.solution.power_kw[0, 0] == pytest.approx(0.0)
    assert told.solution.power_kw[0, 0] > 5.0
    assert told.futures is not None
    assert len(told.futures.costs) == 2


def test_a_car_that_takes_all_it_is_offered_teaches_nothing_but_its_highest() -> None:
    seen = Response().saw(offered_kw=5.0, drawn_kw=4.95, delivered_kwh=1.0)
    assert seen.most_kw(7.4) == 7.4
    assert seen.taper(1.0) is None


def test_a_steady_low_draw_is_a_maximum_and_no_taper() -> None:
    seen = Response()
    for step in range(5):
        seen = seen.saw(offered_kw=7.4, drawn_kw=3.6, delivered_kwh=float(step))
    assert seen.most_kw(7.4) == 3.6
    assert seen.taper(5.0) is None


def test_an_outlook_is_a_distribution_and_longer_months_are_higher() -> None:
    short, long = (rest_of_month(np.arange(10.0, 20.0), days) for days in (1, 10))
    for one in (short, long):
        assert sum(p for _, p in one) == pytest.approx(1.0)
    mean = [sum(kw * p for kw, p in one) for one in (short, long)]
    assert mean[1] > mean[0]
    assert rest_of_month([], 3) == ()
    with pytest.raises(PlanInputError, match="not finite"):
        outlook([np.nan])


def test_a_search_that_finds_worse_than_the_repaired_plan_gives_that(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = _problem(_need("a", 0, 4, 5.0, min_power_kw=1.4), price_per_kwh=[0.1, 0.2, 0.3, 0.3])
    repaired = repair(problem)
    worse = replace(repaired, objective=repaired.objective + 1.0, power_kw=np.zeros_like(repaired.power_kw))
    monkeypatch.setattr(integral, "_search", lambda *_, **__: worse)
    best = exact(problem, Exact())
    assert best.objective == repaired.objective
    np.testing.assert_array_equal(best.power_kw, repaired.power_kw)
    assert "nothing better" in best.note


def test_readings_that_are_no_numbers_teach_nothing_and_are_counted() -> None:
    controller = Controller()
    for readings in ((7.0, float("nan"), 1.0), (float("inf"), 7.0, 1.0), (7.0, 7.0, 1e300)):
        offered, drawn, delivered = readings
        controller.responded("a", offered_kw=offered, drawn_kw=drawn, delivered_kwh=delivered)
    controller.seen(START, float("nan"), "UTC")
    assert controller.rejected_readings == 4
    assert controller.response("a") == Response()
    assert controller.state == HorizonState()


@pytest.mark.parametrize("name", ["energy_expected_kwh", "energy_delivered_kwh", "max_power_kw"])
@pytest.mark.parametrize("value", [float("nan"), -5.0, float("inf")])
def test_a_car_of_no_numbers_is_refused(name: str, value: float) -> None:
    given_: dict[str, Any] = {"energy_expected_kwh": 5.0, "energy_delivered_kwh": 0.0, "max_power_kw": 7.0, name: value}
    with pytest.raises(PlanInputError, match=name):
        PresentCar(session_id="a", station_id="P", arrival_at=START, departure_expected_at=START, **given_)
