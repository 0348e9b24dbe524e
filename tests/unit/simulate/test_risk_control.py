from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.errors import PlanInputError
from plugcast.schedule.mpc import Policy, RecedingHorizon
from plugcast.schedule.problem import site_window
from plugcast.simulate.cars import Car, Expectation, PlugIn
from plugcast.simulate.risk import InDoubt, masses, quantile, spread, still
from plugcast.simulate.site import LoopResult, SiteController, run_closed_loop
from plugcast.simulate.verdict import perfect_foresight, verdict

START = datetime(2024, 3, 5, 6, tzinfo=UTC)
WINDOW = site_window(start_at=START, price_per_kwh=[0.3] * 16 + [0.1] * 200, limit_kw=20.0, slot_min=15)


def _at(slot: float) -> datetime:
    return START + timedelta(minutes=15 * slot)


def _car(name: str, last: int, energy_kwh: float = 4.0, first: int = 0) -> Car:
    return Car(
        session_id=name,
        station_id=name,
        arrival_at=_at(first),
        departure_at=_at(last),
        energy_kwh=energy_kwh,
        max_power_kw=4.0,
    )


def _doubtful(plug_in: PlugIn, now: datetime) -> Expectation:
    """Half leave at the twelfth slot, before the cheap hours."""
    assert now <= plug_in.arrival_at
    return Expectation(
        departure_at=_at(40),
        energy_kwh=4.0,
        departures=((_at(12), 0.5), (_at(40), 0.5)),
        energies=((4.0, 0.5), (6.0, 0.5)),
    )


def _drive(controller: RecedingHorizon | SiteController, cars: list[Car]) -> LoopResult:
    return run_closed_loop(cars, _doubtful, WINDOW, controller, slots=60)


def test_a_controller_in_doubt_charges_before_the_car_may_leave_and_one_that_trusts_does_not() -> None:
    cars = [_car("a", 12)]
    trusting, doubting = _drive(RecedingHorizon(), cars), _drive(InDoubt(value_per_kwh=2.0), cars)
    assert trusting.unmet_kwh.sum() == pytest.approx(4.0)
    assert doubting.unmet_kwh.sum() == pytest.approx(0.0, abs=1e-3)


def test_doubt_is_not_worth_more_than_the_kwh() -> None:
    # a kWh now costs 0.2 more than one later; missed with probability one half it is worth that if it is worth 0.4
    cars = [_car("a", 50)]
    for value, early in ((0.3, False), (0.6, True)):
        power = _drive(InDoubt(value_per_kwh=value, energy_level=0.5), cars).power_kw[0]
        assert bool(power[:12].sum() > 0) is early


def test_a_car_that_outlasts_its_early_departure_waits_for_the_cheap_hours() -> None:
    cars = [_car("a", 50, first=13)]
    assert _drive(InDoubt(value_per_kwh=2.0), cars).power_kw[0, :16].sum() == 0


@pytest.mark.parametrize("scenarios", [4, 8])
def test_scenarios_see_the_early_departure_too(scenarios: int) -> None:
    assert _drive(InDoubt(value_per_kwh=2.0, scenarios=scenarios), [_car("a", 12)]).unmet_kwh.sum() < 1.0


def test_without_a_distribution_the_expectation_holds() -> None:
    cars = [_car("a", 50), _car("b", 30, 9.0, 3)]
    truth = {car.session_id: Expectation(departure_at=car.departure_at, energy_kwh=car.energy_kwh) for car in cars}
    doubting, plain = (
        run_closed_loop(cars, lambda plug_in, now: truth[plug_in.session_id], WINDOW, controller, slots=60)  # noqa: ARG005 - the protocol's names
        for controller in (InDoubt(), RecedingHorizon())
    )
    assert np.allclose(doubting.power_kw, plain.power_kw)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 1)), min_size=1, max_size=9), st.floats(0, 60))
def test_what_is_left_of_a_distribution_is_one(points: list[tuple[float, float]], beyond: float) -> None:
    total = sum(chance for _, chance in points)
    left = still(tuple((value, chance / total) for value, chance in points), beyond)
    assert all(value > beyond for value, _ in left)
    assert not left or sum(chance for _, chance in left) == pytest.approx(1.0)
    assert not left or beyond < quantile(left, 0.5) <= quantile(left, 1.0) == max(value for value, _ in left)


def test_masses_of_quantiles_are_a_distribution_with_that_median() -> None:
    points = masses((0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975), (1, 2, 3, 4, 5, 6, 7))
    assert sum(chance for _, chance in points) == pytest.approx(1.0)
    assert quantile(points, 0.5) == 4


def test_a_spread_leaves_no_gap_and_keeps_the_quantiles() -> None:
    levels, values = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975), (3.0, 8.0, 9.0, 9.5, 10.0, 10.5, 11.0)
    points = spread(levels, values, 200)
    assert sum(chance for _, chance in points) == pytest.approx(1.0)
    for level, value in zip(levels, values, strict=True):
        assert quantile(points, level) == pytest.approx(value, abs=0.4)
    assert any(3.5 < value < 7.5 for value, _ in points)  # between the lowest two, where points would have nobody leave
    assert all(value > 0 for value, _ in points)


@pytest.mark.parametrize("wrong", [{"stay_level": 0.0}, {"energy_level": 1.1}, {"scenarios": -1}])
def test_levels_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(PlanInputError, match="wanted shares"):
        InDoubt(**wrong)  # type: ignore[arg-type] # as wrong as it is meant


def test_nobody_beats_perfect_foresight_and_the_perfectly_told_come_close() -> None:
    rng = np.random.default_rng(3)
    cars = [
        _car(str(one), first + int(rng.integers(6, 40)), float(rng.uniform(1, 12)), first)
        for one, first in enumerate(rng.integers(0, 30, 12).tolist())
    ]
    truth = {car.session_id: Expectation(departure_at=car.departure_at, energy_kwh=car.energy_kwh) for car in cars}
    best = perfect_foresight(cars, WINDOW, 80)
    on_arrival, told = (
        run_closed_loop(cars, lambda plug_in, now: truth[plug_in.session_id], WINDOW, horizon, slots=80)  # noqa: ARG005 - the protocol's names
        for horizon in (RecedingHorizon(policy=Policy.UNCONTROLLED), RecedingHorizon())
    )
    assert best.energy_kwh == pytest.approx(told.delivered_kwh.sum(), rel=1e-3)
    found = verdict(told, WINDOW, on_arrival=on_arrival, optimum=best)
    free = verdict(on_arrival, WINDOW, on_arrival=on_arrival, optimum=best)
    assert -0.1 < found.regret_per_kwh_pct < free.regret_per_kwh_pct
    assert free.unmet_kwh == 0.0
    assert found.fallbacks == found.violation_slots == 0


def test_a_verdict_counts_what_was_missed_and_the_worst_of_it() -> None:
    cars = [_car(str(one), 12) for one in range(12)]
    found = verdict(_drive(RecedingHorizon(), cars), WINDOW)
    assert found.unmet_kwh == pytest.approx(48.0)
    assert found.cars_short == 12
    assert found.unmet_cvar_kwh == pytest.approx(4.0)
    assert found.unmet_share == 0.0
