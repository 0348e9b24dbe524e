from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from plugcast.schedule.mpc import HorizonState, PresentCar, RecedingHorizon
from plugcast.schedule.problem import site_window

NOW = datetime(2024, 3, 31, 20, tzinfo=UTC)
WINDOW = site_window(
    start_at=NOW,
    price_per_kwh=[0.3] * 8 + [0.1] * 88,
    limit_kw=20.0,
    demand_charge_per_kw=10.0,
    time_zone="Europe/Oslo",
)


def _car(**more: object) -> PresentCar:
    given: dict[str, object] = {
        "session_id": "a",
        "station_id": "P",
        "arrival_at": NOW - timedelta(hours=1),
        "departure_expected_at": NOW + timedelta(hours=6),
        "energy_expected_kwh": 10.0,
        "energy_delivered_kwh": 4.0,
        "max_power_kw": 6.0,
        **more,
    }
    return PresentCar(**given)  # type: ignore[arg-type]


def test_only_what_is_missing_is_planned_up_to_the_last_departure() -> None:
    plan = RecedingHorizon().step(HorizonState(), NOW, [_car()], WINDOW)
    assert plan.vehicles[0].energy_planned_kwh == pytest.approx(6.0)
    assert len(plan.grid_import_kw) == 24
    assert plan.issued_at == NOW


def test_a_car_that_outstays_its_forecast_gets_more_time() -> None:
    (need,) = RecedingHorizon(overstay_min=90).needs(NOW, [_car(departure_expected_at=NOW - timedelta(hours=2))])
    assert need.departure_at == NOW + timedelta(minutes=90)


@pytest.mark.parametrize(("delivered", "wanted"), [(10.0, 2.5), (2.0, 8.0), (0.5, 9.5), (9.9995, 2.499875)])
def test_a_car_that_still_draws_after_its_forecast_energy_gets_more(delivered: float, wanted: float) -> None:
    (need,) = RecedingHorizon().needs(NOW, [_car(energy_delivered_kwh=delivered)])
    assert need.energy_needed_kwh == pytest.approx(wanted)


def test_a_car_that_is_done_gets_nothing() -> None:
    plan = RecedingHorizon().step(HorizonState(), NOW, [_car(done=True)], WINDOW)
    assert sum(plan.vehicles[0].power_kw) == 0
    assert plan.vehicles[0].explanation == "Needs no energy."
    assert plan.shortfalls == ()


def test_the_peak_is_carried_through_the_month_and_dropped_at_its_end_in_local_time() -> None:
    state = HorizonState().seen(NOW, 12.0, "Europe/Oslo").seen(NOW, 5.0, "Europe/Oslo")
    assert (state.month, state.peak_kw) == ("2024-03", 12.0)
    assert state.seen(NOW + timedelta(hours=2), 3.0, "Europe/Oslo") == HorizonState(month="2024-04", peak_kw=3.0)
    march = RecedingHorizon().decide(state, NOW, [_car()], WINDOW)
    assert march.problem.window.peak_so_far_kw == 12.0
    later = WINDOW.part(8, 88)
    april = RecedingHorizon().decide(state, later.start_at, [_car()], later)
    assert april.problem.window.peak_so_far_kw == 0.0


def test_no_cars_is_a_decision_too() -> None:
    plan = RecedingHorizon().step(HorizonState(), NOW, [], WINDOW)
    assert plan.vehicles == ()
    assert len(plan.grid_import_kw) == 1


def test_the_horizon_is_cut() -> None:
    plan = RecedingHorizon(horizon_slots=4).step(HorizonState(), NOW, [_car()], WINDOW)
    assert len(plan.grid_import_kw) == 4
