"""What a site may have beside cars and a limit: wires, a battery, cars that give back, doubt, and soft goals."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.domain.plan import PlanStatus
from plugcast.domain.site import Circuit
from plugcast.errors import PlanInputError
from plugcast.schedule.heuristics import earliest_departure_first, overloads
from plugcast.schedule.network import Network, nested_circuits, three_phase, together
from plugcast.schedule.outcome import bill_of
from plugcast.schedule.problem import Discharge, PlanProblem, Taper, VehicleNeed, build_problem, site_window
from plugcast.schedule.solve import plan, solve
from plugcast.schedule.window import Goals, SiteBattery

START = datetime(2024, 3, 5, 6, tzinfo=UTC)


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


def test_nested_circuits_hold_and_the_inner_one_binds_first() -> None:
    wires = nested_circuits(
        (Circuit(circuit_id="hall", limit_kw=6.0), Circuit(circuit_id="row", limit_kw=4.0, parent_id="hall")),
        {"Pa": "row", "Pb": "row", "Pc": "hall"},
    )
    problem = _problem(*(_need(name, 0, 4, 16.0) for name in "abc"), network=wires)
    power = solve(problem).power_kw
    assert power[:2].sum(axis=0) == pytest.approx([4.0] * 4)
    assert power.sum(axis=0) == pytest.approx([6.0] * 4)
    assert overloads(problem, power) == {}


def test_a_circuit_below_itself_or_unknown_is_refused() -> None:
    loop = (Circuit(circuit_id="a", limit_kw=1, parent_id="b"), Circuit(circuit_id="b", limit_kw=1, parent_id="a"))
    with pytest.raises(PlanInputError, match="hangs below itself"):
        nested_circuits(loop, {"P": "a"})
    with pytest.raises(PlanInputError, match="not described"):
        nested_circuits((), {"P": "a"})


def test_currents_of_two_phases_add_up_as_phasors() -> None:
    # between L1 and L2 with 10 A, and between L1 and L3 with 10 A: L1 carries 10 * sqrt(3), the others 10 each
    feeder = three_phase({"A": "L1-L2", "B": "L1-L3"}, limit_a=100, voltage_v=1000 / np.sqrt(3))
    assert feeder.load(("A", "B"), np.array([10.0, 10.0])) == pytest.approx([10 * np.sqrt(3), 10, 10])


def test_balanced_load_cancels_in_no_conductor_and_leaves_no_unbalance() -> None:
    feeder = three_phase({"A": "L1", "B": "L2", "C": "L3"}, limit_a=20, unbalance_limit_a=5)
    assert feeder.load(("A", "B", "C"), np.full(3, 2.3)) == pytest.approx([10, 10, 10, 0, 0, 0], abs=1e-9)


def test_unbalance_makes_one_phase_wait_for_the_others() -> None:
    feeder = three_phase({"Pa": "L1", "Pb": "L2", "Pc": "L3"}, limit_a=100, voltage_v=250, unbalance_limit_a=8)
    alone = solve(_problem(_need("a", 0, 2, 8.0), network=feeder)).power_kw
    assert alone.max() == pytest.approx(2.0)  # 8 A at 250 V
    three = solve(_problem(*(_need(name, 0, 2, 8.0) for name in "abc"), network=feeder)).power_kw
    assert three.sum() == pytest.approx(24.0)


@st.composite
def wired_sites(draw: st.DrawFn) -> PlanProblem:
    cars = draw(st.integers(1, 7))
    kinds = st.sampled_from(["L1", "L2", "L3", "L1-L2", "L2-L3", "L3-L1", "L1-L2-L3"])
    wires = {f"P{i}": draw(kinds) for i in range(cars)}
    feeder = three_phase(wires, limit_a=draw(st.sampled_from([0.0, 10.0, 32.0])))
    hall = nested_circuits((Circuit(circuit_id="h", limit_kw=draw(st.floats(0, 20))),), dict.fromkeys(wires, "h"))
    needs = []
    for car in range(cars):
        first = draw(st.floats(0, 5))
        needs.append(
            _need(str(car), first, first + draw(st.floats(0.2, 6)), draw(st.floats(0, 30)), draw(st.floats(1, 11)))
        )
    return _problem(*needs, slots=8, limit_kw=draw(st.floats(0, 30)), network=together(feeder, hall))


@settings(max_examples=40)
@given(problem=wired_sites())
def test_no_plan_overloads_a_wire_and_edf_never_beats_it(problem: PlanProblem) -> None:
    solution = solve(problem)
    edf = earliest_departure_first(problem)
    assert solution.status is PlanStatus.OPTIMAL
    assert overloads(problem, solution.power_kw) == {}
    assert overloads(problem, edf) == {}
    assert solution.power_kw.sum() >= edf.sum() - 1e-4


def test_a_station_that_the_network_does_not_know_is_not_limited() -> None:
    wires = Network(
        names=("x",),
        units=("kW",),
        station_ids=("Pa",),
        weight=np.ones((1, 1), dtype=np.complex128),
        limit=np.array([1.0]),
    )
    power = solve(_problem(_need("a", 0, 4, 16), _need("b", 0, 4, 16), network=wires)).power_kw
    assert power.sum(axis=1) == pytest.approx([4.0, 16.0])


BATTERY = SiteBattery(
    capacity_kwh=10, energy_kwh=0, charge_kw=5, discharge_kw=5, charge_efficiency=1, discharge_efficiency=0.5
)


def test_a_battery_carries_cheap_energy_to_a_dear_hour_and_over_the_limit() -> None:
    problem = _problem(_need("a", 2, 3, 4.0), price_per_kwh=[0.1, 0.1, 0.9, 0.9], battery=BATTERY, limit_kw=4.0)
    result = plan(problem, "x", START)
    assert result.shortfalls == ()
    assert sum(result.battery_kw) == pytest.approx(8.0 - 4.0)
    assert result.energy_cost == pytest.approx(0.8)
    narrow = _problem(_need("a", 2, 3, 8.0, 8.0), price_per_kwh=[0.1, 0.1, 0.9, 0.9], battery=BATTERY, limit_kw=4.0)
    assert plan(narrow, "x", START).shortfalls == ()
    assert max(plan(narrow, "x", START).grid_import_kw) <= 4.0 + 1e-6


def test_a_battery_serves_the_limit_before_the_cars_where_the_base_load_is_above_it() -> None:
    full = replace(BATTERY, energy_kwh=6, discharge_efficiency=1)
    made = plan(_problem(_need("a", 0, 4, 8.0), limit_kw=2.0, base_load_kw=3.0, battery=full), "x", START)
    assert made.grid_import_kw == pytest.approx([2.0] * 4)
    assert made.vehicles[0].energy_planned_kwh == pytest.approx(6.0 - 4.0)
    empty = replace(BATTERY, energy_kwh=1, discharge_efficiency=1)
    made = plan(_problem(_need("a", 0, 4, 8.0), limit_kw=2.0, base_load_kw=3.0, battery=empty), "x", START)
    assert sum(made.grid_import_kw) == pytest.approx(4 * 3.0 - 1.0)  # what it cannot cover is drawn all the same
    assert max(made.grid_import_kw) <= 3.0 + 1e-6
    assert made.vehicles[0].energy_planned_kwh == pytest.approx(0.0, abs=1e-6)


def test_a_battery_holds_what_it_holds_where_nothing_is_gained() -> None:
    full = SiteBattery(capacity_kwh=10, energy_kwh=6, charge_kw=5, discharge_kw=5)
    battery = solve(_problem(price_per_kwh=[0.2] * 4, battery=full)).battery_kw
    assert battery == pytest.approx(np.zeros(4), abs=1e-6)


def test_a_car_gives_back_in_a_dear_hour_and_leaves_with_what_it_needs() -> None:
    back = Discharge(max_power_kw=4, available_kwh=8, efficiency=1.0, wear_price_per_kwh=0.05)
    prices: dict[str, Any] = {"price_per_kwh": [0.9, 0.1, 0.1, 0.1], "base_load_kw": 3.0}
    problem = _problem(_need("a", 0, 4, 4.0, discharge=back), **prices)
    power = solve(problem).power_kw[0]
    assert power[0] == pytest.approx(-3.0)  # what the site takes; feeding in pays nothing
    assert power.sum() == pytest.approx(4.0)
    plain = solve(_problem(_need("a", 0, 4, 4.0), **prices)).power_kw
    assert bill_of(problem, power[None]).total < bill_of(problem, plain).total - 1.0


def test_a_taper_slows_the_end() -> None:
    slow = Taper(full_kwh=8.0, time_h=2.0)
    power = solve(_problem(_need("a", 0, 8, 8.0, taper=slow), slots=8)).power_kw[0]
    left = 8.0 - np.concatenate([[0.0], np.cumsum(power)[:-1]])
    assert np.all(power <= left * (1 - np.exp(-0.5)) + 1e-6)
    assert power.sum() > 6.9


def test_a_possible_early_departure_is_worth_charging_before_it() -> None:
    late_is_cheap: dict[str, Any] = {"price_per_kwh": [0.3, 0.3, 0.1, 0.1]}
    early = ((START + timedelta(hours=2), 0.3),)
    sure = solve(_problem(_need("a", 0, 4, 4.0), **late_is_cheap)).power_kw[0]
    wary = solve(_problem(_need("a", 0, 4, 4.0, early_departures=early), **late_is_cheap)).power_kw[0]
    assert sure[:2].sum() == pytest.approx(0.0)
    assert wary[:2].sum() == pytest.approx(4.0)
    cheap_to_miss = _need("a", 0, 4, 4.0, early_departures=early, value_per_kwh=0.5)  # 0.3 x 0.5 < 0.3 - 0.1
    assert solve(_problem(cheap_to_miss, **late_is_cheap)).power_kw[0, :2].sum() == pytest.approx(0.0)


def test_a_peak_that_comes_anyway_is_used() -> None:
    prices: dict[str, Any] = {"price_per_kwh": [0.1, 0.2, 0.2, 0.2], "demand_charge_per_kw": 1.0}
    blind = solve(_problem(_need("a", 0, 4, 4.0), **prices)).power_kw[0]
    told = solve(_problem(_need("a", 0, 4, 4.0), peak_outlook=((3.0, 1.0),), **prices)).power_kw[0]
    maybe = solve(_problem(_need("a", 0, 4, 4.0), peak_outlook=((3.0, 0.95), (9.0, 0.05)), **prices)).power_kw[0]
    assert blind.max() == pytest.approx(1.0)
    assert told[0] == pytest.approx(3.0)
    assert maybe[0] == pytest.approx(3.0)  # a kW above 3 costs 0.95 and saves 0.1


def test_carbon_has_its_price_and_is_not_billed() -> None:
    problem = _problem(
        _need("a", 0, 4, 4.0), carbon_kg_per_kwh=[0.5, 0.5, 0.1, 0.5], goals=Goals(carbon_price_per_kg=1.0)
    )
    result = plan(problem, "x", START)
    assert result.vehicles[0].power_kw == pytest.approx((0, 0, 4, 0))
    assert result.energy_cost == pytest.approx(0.8)


def test_a_price_of_rises_makes_one_run_of_a_flickering_plan() -> None:
    prices: dict[str, Any] = {"price_per_kwh": [0.1, 0.11, 0.1, 0.11]}
    flicker = solve(_problem(_need("a", 0, 4, 8.0), **prices)).power_kw[0]
    smooth = solve(_problem(_need("a", 0, 4, 8.0), goals=Goals(rise_price_per_kw=0.05), **prices)).power_kw[0]
    assert flicker == pytest.approx([4, 0, 4, 0])
    assert np.maximum(np.diff(smooth, prepend=0.0), 0).sum() < 4.0 + 1e-6


def test_fairness_shares_what_is_short() -> None:
    needs = (_need("a", 0, 4, 8.0), _need("b", 0, 4, 8.0))
    even = solve(_problem(*needs, limit_kw=2.0, goals=Goals(fairness_price_per_kwh=1.0))).power_kw.sum(axis=1)
    assert even.sum() == pytest.approx(8.0)
    assert abs(even[0] - even[1]) <= 8.0 / 4 + 1e-6


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"goals": Goals(start_price=-1.0)}, "start_price is -1.0"),
        ({"battery": SiteBattery(capacity_kwh=1, energy_kwh=2, charge_kw=1, discharge_kw=1)}, "more than its capacity"),
        ({"peak_outlook": ((5.0, 0.7), (6.0, 0.7))}, "more than 1"),
        ({"carbon_kg_per_kwh": np.nan}, "carbon_kg_per_kwh is nan"),
    ],
)
def test_site_numbers_that_make_no_sense_are_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanInputError, match=words):
        _problem(**more)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"min_power_kw": -1.0}, "min_power_kw is -1.0"),
        ({"pilots_kw": (1.0, float("nan"))}, "pilots_kw"),
        ({"early_departures": ((START, 1.5),)}, "add up to 1.5"),
        ({"discharge": Discharge(max_power_kw=1, available_kwh=1, efficiency=0)}, "efficiency is 0"),
        ({"taper": Taper(full_kwh=1, time_h=0)}, "wanted a positive time"),
    ],
)
def test_needs_that_make_no_sense_are_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanInputError, match=words):
        _problem(_need("a", 0, 4, 1.0, **more))
