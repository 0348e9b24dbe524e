from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.schedule.mpc import Policy, RecedingHorizon
from plugcast.schedule.problem import site_window
from plugcast.simulate.cars import Batteries, Car, CarBattery, Expectation, PlugIn, offered, pilots
from plugcast.simulate.site import Command, Moment, run_closed_loop

if TYPE_CHECKING:
    from plugcast.schedule.problem import SiteWindow

START = datetime(2024, 3, 5, 6, tzinfo=UTC)
WINDOW = site_window(start_at=START, price_per_kwh=[0.3] * 8 + [0.1] * 40, limit_kw=20.0, slot_min=15)
CAR = Car(
    session_id="a",
    station_id="A",
    arrival_at=START,
    departure_at=START + timedelta(hours=10),
    energy_kwh=20.0,
    max_power_kw=11.0,
    battery=CarBattery.filled_by(20.0, capacity_kwh=50.0),
)


def _true(cars: list[Car]) -> dict[str, Expectation]:
    return {car.session_id: Expectation(departure_at=car.departure_at, energy_kwh=car.energy_kwh) for car in cars}


class _Always:
    """Asks for the same power always, and remembers what it was shown."""

    def __init__(self, power_kw: float) -> None:
        self.power_kw = power_kw
        self.moments: list[Moment] = []

    def command(self, moment: Moment) -> Command:
        self.moments.append(moment)
        return Command(power_kw={car.session_id: self.power_kw for car in moment.cars})


def _drive(cars: list[Car], controller: _Always | RecedingHorizon, window: SiteWindow = WINDOW) -> np.ndarray:
    truth = _true(cars)
    return run_closed_loop(cars, lambda car, _now: truth[car.session_id], window, controller, slots=40).power_kw


@given(st.floats(0.5, 11.0), st.integers(1, 30))
def test_a_taper_in_one_step_is_the_taper_in_many(offer_kw: float, steps: int) -> None:
    batteries, which = Batteries([CAR]), np.array([0])
    whole = batteries.drawn_kw(which, np.array([offer_kw]), np.zeros(1), 2.5)[0] * 2.5
    delivered = np.zeros(1)
    for _ in range(steps):
        hours = 2.5 / steps
        delivered = delivered + batteries.drawn_kw(which, np.array([offer_kw]), delivered, hours) * hours
    assert delivered[0] == pytest.approx(whole, rel=1e-6)


@given(st.floats(0.0, 20.0), st.floats(0.0, 12.0), st.floats(0.0, 12.0))
def test_a_car_never_takes_more_than_offered_and_more_offer_never_gives_less(
    had_kwh: float, low_kw: float, more_kw: float
) -> None:
    batteries, which = Batteries([CAR]), np.array([0])
    low, high = (
        batteries.drawn_kw(which, np.array([offer]), np.array([had_kwh]), 0.25)[0]
        for offer in (low_kw, low_kw + more_kw)
    )
    assert 0 <= low <= low_kw + 1e-12
    assert high >= low - 1e-9


def test_a_tapering_car_needs_longer_than_an_ideal_one_and_gets_all() -> None:
    tapered, ideal = (_drive([car], _Always(11.0))[0] for car in (CAR, replace(CAR, battery=None)))
    assert tapered.sum() == pytest.approx(ideal.sum()) == pytest.approx(80.0)
    assert np.count_nonzero(tapered) > np.count_nonzero(ideal)
    drawing = tapered[tapered > 0]
    assert np.all(np.diff(drawing) <= 1e-9)


def test_a_station_offers_the_step_below_and_nothing_under_its_least() -> None:
    steps = pilots((8, 16, 32))
    car = replace(CAR, battery=None, pilots_kw=steps, min_power_kw=steps[0])
    assert _drive([car], _Always(5.0))[0, 0] == pytest.approx(steps[1])
    assert not _drive([car], _Always(1.5)).any()


@given(st.floats(0, 12))
def test_an_offer_is_one_of_the_steps_and_never_more_than_asked(asked_kw: float) -> None:
    steps = pilots((6, 10, 16), phases=3)
    given_kw = offered(replace(CAR, pilots_kw=steps, min_power_kw=steps[0]), asked_kw)
    assert given_kw in {0.0, *steps}
    assert given_kw <= asked_kw + 1e-3


def test_whole_currents_are_planned_where_the_station_has_steps() -> None:
    steps = pilots((8, 16, 24, 32))
    cars = [replace(CAR, session_id=str(one), pilots_kw=steps, min_power_kw=steps[0], battery=None) for one in range(3)]
    power = _drive(cars, RecedingHorizon(policy=Policy.WHOLE))
    assert power.sum(axis=0).max() <= 20.0 + 1e-3
    assert power.sum(axis=1) * 0.25 == pytest.approx(20.0)  # the last slot's mean is the rest of the need
    assert set(np.round(power[:, :8], 3).ravel()) <= {0.0, *(round(step, 3) for step in steps)}


def test_the_last_fifth_of_a_kwh_is_offered_the_least_there_is() -> None:
    car = replace(CAR, battery=None, energy_kwh=0.2, min_power_kw=1.38, max_power_kw=7.4)
    assert _drive([car], RecedingHorizon(policy=Policy.WHOLE)).sum() * 0.25 == pytest.approx(0.2)


def test_the_loop_teaches_the_controller_how_a_car_slows() -> None:
    watch = _Always(11.0)
    _drive([CAR], watch)
    learnt = watch.moments[-1].cars[0].response
    assert learnt.taper(watch.moments[-1].cars[0].energy_delivered_kwh) is not None


def test_a_controller_sees_only_what_is_known_and_only_cars_that_have_come() -> None:
    later = replace(CAR, session_id="b", arrival_at=START + timedelta(hours=2))
    watch, truth = _Always(1.0), _true([CAR, later])

    def hide(_now: datetime, window: SiteWindow) -> SiteWindow:
        price = window.price_per_kwh.copy()
        price[1:] = 7.0
        return replace(window, price_per_kwh=price)

    def told(plug_in: PlugIn, now: datetime) -> Expectation:
        return replace(
            truth[plug_in.session_id], departures=((START + timedelta(hours=3), 1.0 if now >= START else 0.0),)
        )

    result = run_closed_loop([CAR, later], told, WINDOW, watch, slots=40, known=hide)
    assert all(moment.window.price_per_kwh[1:].min(initial=7.0) == 7.0 for moment in watch.moments)
    assert all(len(moment.cars) == 1 for moment in watch.moments if moment.now < later.arrival_at)
    assert watch.moments[0].expected["a"].departures == ((START + timedelta(hours=3), 1.0),)
    assert result.starts.tolist() == [1, 1]
    # the bill goes by the true prices
    assert result.cost.energy_cost < 7.0
