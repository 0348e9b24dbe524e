from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from plugcast.adapters.prices import builtin_tariff
from plugcast.errors import PlanInputError
from plugcast.schedule.mpc import Policy, RecedingHorizon
from plugcast.schedule.problem import site_window
from plugcast.schedule.tariff import prices_for
from plugcast.simulate.site import Car, Expectation, PlugIn, run_closed_loop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = datetime(2024, 3, 5, 6, tzinfo=UTC)
WINDOW = site_window(start_at=START, price_per_kwh=[0.3] * 8 + [0.1] * 32, limit_kw=8.0, slot_min=15)


def _car(session_id: str, first: int, last: int, energy_kwh: float, power_kw: float = 4.0) -> Car:
    return Car(
        session_id=session_id,
        station_id="P" + session_id,
        arrival_at=START + timedelta(minutes=15 * first),
        departure_at=START + timedelta(minutes=15 * last),
        energy_kwh=energy_kwh,
        max_power_kw=power_kw,
    )


class _Told:
    """A forecaster that says what it was told, and remembers when it was asked."""

    def __init__(self, cars: list[Car], *, more_min: float = 0.0, factor: float = 1.0) -> None:
        self.cars, self.more, self.factor = {car.session_id: car for car in cars}, timedelta(minutes=more_min), factor
        self.asked: list[tuple[str, datetime]] = []

    def __call__(self, plug_in: PlugIn, now: datetime) -> Expectation:
        self.asked.append((plug_in.session_id, now))
        car = self.cars[plug_in.session_id]
        return Expectation(departure_at=car.departure_at + self.more, energy_kwh=car.energy_kwh * self.factor)


def test_with_true_forecasts_every_need_is_met_in_the_cheap_hours() -> None:
    cars = [_car("a", 0, 20, 6.0), _car("b", 4, 30, 5.0)]
    told = _Told(cars)
    result = run_closed_loop(cars, told, WINDOW, RecedingHorizon())
    assert result.delivered_kwh.tolist() == pytest.approx([6.0, 5.0])
    assert result.power_kw[:, :8].sum() == 0
    assert result.cost.energy_cost == pytest.approx(1.1)
    assert told.asked == [("a", START), ("b", START + timedelta(hours=1))]
    assert (result.violation_slots, result.fallbacks) == (0, 0)


def test_a_car_that_leaves_before_its_forecast_has_unmet_energy_and_the_books_say_so() -> None:
    cars = [_car("a", 0, 8, 4.0)]
    result = run_closed_loop(cars, _Told(cars, more_min=120), WINDOW, RecedingHorizon())
    assert result.unmet_kwh.tolist() == pytest.approx([4.0])
    assert result.unavoidable_kwh.tolist() == [0.0]


def test_a_car_that_stays_and_draws_longer_than_forecast_is_served_on() -> None:
    cars = [_car("a", 0, 40, 20.0)]
    result = run_closed_loop(cars, _Told(cars, more_min=-500, factor=0.2), WINDOW, RecedingHorizon())
    assert result.delivered_kwh.tolist() == pytest.approx([20.0])


def test_a_car_that_is_full_stops_and_is_seen_as_done() -> None:
    cars = [_car("a", 0, 20, 2.0)]
    result = run_closed_loop(cars, _Told(cars, factor=5.0), WINDOW, RecedingHorizon())
    assert result.delivered_kwh.tolist() == pytest.approx([2.0])
    full_from = int(np.flatnonzero(result.done[0])[0])
    assert result.power_kw[0, full_from:].sum() == 0
    assert not result.done[0, 20:].any()


def test_what_no_plan_could_deliver_is_told_apart() -> None:
    cars = [_car("a", 0, 4, 10.0)]
    result = run_closed_loop(cars, _Told(cars), WINDOW, RecedingHorizon())
    assert result.unmet_kwh.tolist() == pytest.approx([6.0])
    assert result.unavoidable_kwh.tolist() == pytest.approx([6.0])


def test_charging_on_arrival_breaks_the_limit_and_the_plan_does_not() -> None:
    cars = [_car(str(i), 0, 30, 4.0) for i in range(4)]
    free, planned = (
        run_closed_loop(cars, _Told(cars), WINDOW, RecedingHorizon(policy=policy))
        for policy in (Policy.UNCONTROLLED, Policy.LP)
    )
    assert (free.violation_slots, free.violation_kw) == (4, 8.0)
    assert planned.violation_slots == 0
    assert planned.delivered_kwh.sum() == pytest.approx(free.delivered_kwh.sum())
    assert planned.cost.total < free.cost.total


def test_a_car_already_there_is_met_and_one_gone_before_is_not() -> None:
    cars = [_car("a", -10, 6, 2.0), _car("b", -20, -10, 2.0)]
    told = _Told(cars)
    result = run_closed_loop(cars, told, WINDOW, RecedingHorizon())
    assert [session_id for session_id, _ in told.asked] == ["a"]
    assert result.delivered_kwh.tolist() == pytest.approx([2.0, 0.0])
    assert result.unmet_kwh.tolist() == pytest.approx([0.0, 0.0])
    assert result.present.sum(axis=1).tolist() == [6, 0]


def test_a_car_still_there_at_the_end_is_not_unmet() -> None:
    cars = [_car("a", 0, 30, 8.0)]
    result = run_closed_loop(cars, _Told(cars), WINDOW, RecedingHorizon(), slots=8)
    assert result.power_kw.shape == (1, 8)
    assert result.unmet_kwh.tolist() == [0.0]


def test_the_controller_keeps_later_cars_under_the_peak_it_has_paid() -> None:
    priced = replace(WINDOW, demand_charge_per_kw=15.0)
    cars = [_car("a", 0, 2, 2.0), _car("b", 4, 12, 4.0)]
    result = run_closed_loop(cars, _Told(cars), priced, RecedingHorizon())
    assert result.cost.peak_kw == pytest.approx(4.0)
    # 4 kW are paid for: b may take them all at the cheap time rather than spread them
    assert result.power_kw[1, 8:12].tolist() == pytest.approx([4.0] * 4)


def test_cpu_time_comes_from_the_given_clock() -> None:
    ticks: Iterator[float] = iter(float(i) for i in range(1000))
    cars = [_car("a", 2, 6, 2.0)]
    result = run_closed_loop(cars, _Told(cars), WINDOW, RecedingHorizon(), slots=8, cpu_clock=lambda: next(ticks))
    assert set(result.cpu_s.tolist()) == {0.0, 1.0}


def test_what_cannot_be_driven_is_refused() -> None:
    cars = [_car("a", 0, 4, 1.0)]
    with pytest.raises(PlanInputError, match="99 slots"):
        run_closed_loop(cars, _Told(cars), WINDOW, RecedingHorizon(), slots=99)
    with pytest.raises(PlanInputError, match="twice"):
        run_closed_loop(cars * 2, _Told(cars), WINDOW, RecedingHorizon())


@pytest.mark.data
def test_a_week_of_real_sessions_costs_half_and_serves_all_but_a_trace(data_dir: Path) -> None:
    zone_start = datetime(2019, 3, 4, 8, tzinfo=UTC)  # Monday 00:00 in Los Angeles
    with (data_dir / "shippable" / "caltech_2019_03_sessions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cars = [
        Car(
            session_id=row["session_id"],
            station_id=row["station_id"],
            arrival_at=datetime.fromisoformat(row["connection_time"]),
            departure_at=datetime.fromisoformat(row["disconnect_time"]),
            energy_kwh=float(row["kwh_delivered"]),
            max_power_kw=6.6,
        )
        for row in rows
    ]
    cars = [car for car in cars if zone_start <= car.arrival_at < zone_start + timedelta(days=7)]
    price, charge = prices_for(builtin_tariff(), zone_start, 672 + 192, 15)
    window = site_window(
        start_at=zone_start,
        price_per_kwh=price,
        limit_kw=60.0,
        demand_charge_per_kw=charge,
        time_zone="America/Los_Angeles",
    )
    planned, free = (
        run_closed_loop(cars, _Told(cars), window, RecedingHorizon(policy=policy), slots=672)
        for policy in (Policy.LP, Policy.UNCONTROLLED)
    )
    assert len(cars) > 200
    assert planned.violation_slots == planned.fallbacks == 0
    assert free.violation_slots > 0
    assert planned.cost.total < 0.6 * free.cost.total
    assert planned.unmet_kwh.sum() - free.unmet_kwh.sum() < 0.005 * free.delivered_kwh.sum()
