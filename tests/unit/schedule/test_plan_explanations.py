from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from plugcast.domain.plan import ChargingPlan, PlanStatus
from plugcast.schedule.mpc import Policy, decide
from plugcast.schedule.problem import SiteWindow, VehicleNeed, build_problem, site_window
from plugcast.schedule.solve import plan

ZONE = ZoneInfo("Europe/Oslo")
START = datetime(2024, 3, 5, 18, tzinfo=ZONE)
NIGHT = [0.30] * 16 + [0.06] * 16  # 18:00 to 22:00 dear, then cheap to 02:00


def _window(limit_kw: float = 50.0, **more: object) -> SiteWindow:
    given: dict[str, object] = {"price_per_kwh": NIGHT, "time_zone": "Europe/Oslo", **more}
    return site_window(start_at=START, limit_kw=limit_kw, **given)  # type: ignore[arg-type]


def _need(session_id: str, first_h: float, last_h: float, energy_kwh: float, **more: float) -> VehicleNeed:
    return VehicleNeed(
        session_id=session_id,
        station_id="P",
        arrival_at=START + timedelta(hours=first_h),
        departure_at=START + timedelta(hours=last_h),
        energy_needed_kwh=energy_kwh,
        max_power_kw=more.get("max_power_kw", 8.0),
        value_per_kwh=more.get("value_per_kwh"),
    )


def _plan(window: SiteWindow, *needs: VehicleNeed) -> ChargingPlan:
    return plan(build_problem(needs, window), "x", START)


def _words(result: ChargingPlan, session_id: str = "a") -> str:
    return next(car.explanation for car in result.vehicles if car.session_id == session_id)


def test_a_cheap_window_is_named_in_local_time_with_both_prices() -> None:
    words = _words(_plan(_window(), _need("a", 0, 8, 16.0)))
    assert words == (
        "Charges 16.0 kWh 22:00-00:00 because a kWh costs 0.06 then and up to 0.3 at other times of the stay."
    )


def test_a_stay_too_short_for_the_rating_is_the_reason() -> None:
    result = _plan(_window(), _need("a", 0.1, 1.1, 12.0))
    assert result.status is PlanStatus.BEST_EFFORT
    assert result.shortfalls[0].energy_kwh == pytest.approx(4.0)
    assert result.shortfalls[0].reason == "1 h 0 min of stay at 8.0 kW give 8.0 kWh at most"
    assert "Charges 8.0 kWh 18:06-19:06" in _words(result)
    assert "4.0 kWh cannot be met before departure at 19:06" in _words(result)


def test_a_limit_that_two_cars_share_is_the_reason() -> None:
    result = _plan(_window(limit_kw=10.0), _need("a", 0, 1, 8.0), _need("b", 0, 1, 8.0))
    assert sum(one.energy_kwh for one in result.shortfalls) == pytest.approx(6.0)
    assert all("the 10 kW limit binds 18:00-19:00" in one.reason for one in result.shortfalls)


def test_no_power_at_all_is_no_empty_plan() -> None:
    result = _plan(_window(limit_kw=0.0), _need("a", 0, 4, 8.0))
    assert result.status is PlanStatus.BEST_EFFORT
    assert result.shortfalls[0].energy_kwh == 8.0
    assert "the 0 kW limit binds 18:00-22:00" in result.shortfalls[0].reason


def test_the_base_load_is_named_where_it_takes_the_limit() -> None:
    result = _plan(_window(limit_kw=5.0, base_load_kw=6.0), _need("a", 0, 4, 8.0))
    assert "limit with its base load binds" in result.shortfalls[0].reason
    assert "base load alone exceeds" in result.notes[0]
    assert set(result.grid_import_kw) == {6.0}


@pytest.mark.parametrize(
    ("first_h", "last_h", "reason"),
    [(-5, -1, "it departs before the plan starts"), (9, 12, "it arrives after the plan ends")],
)
def test_a_car_outside_the_plan_is_kept_and_named(first_h: float, last_h: float, reason: str) -> None:
    result = _plan(_window(), _need("a", first_h, last_h, 5.0))
    assert result.shortfalls[0].reason == reason
    assert len(result.vehicles) == 1


def test_a_plan_that_ends_before_the_car_leaves_says_so() -> None:
    result = _plan(_window(), _need("a", 7, 20, 15.0))
    assert "1 h 0 min of plan at 8.0 kW give 8.0 kWh at most" in result.shortfalls[0].reason


def test_energy_dearer_than_its_value_is_left_out_with_that_reason() -> None:
    result = _plan(_window(), _need("a", 0, 5, 12.0, value_per_kwh=0.2))
    assert result.shortfalls[0].energy_kwh == pytest.approx(4.0)
    assert "more would cost more than the 0.2 that a kWh is worth to it" in result.shortfalls[0].reason


def test_a_peak_held_down_is_explained_with_its_price() -> None:
    result = _plan(_window(demand_charge_per_kw=15.0), _need("a", 0, 8, 16.0))
    assert result.peak_kw == pytest.approx(2.0)
    assert result.demand_cost == pytest.approx(30.0)
    assert "to keep the peak at 2.0 kW (each kW more costs 15.00)" in _words(result)


def test_sun_is_the_reason_where_it_feeds_the_car() -> None:
    sunny = _window(price_per_kwh=[0.3] * 32, pv_kw=[0.0] * 8 + [8.0] * 8 + [0.0] * 16)
    result = _plan(sunny, _need("a", 0, 8, 16.0))
    assert _words(result) == "Charges 16.0 kWh 20:00-22:00 while the sun gives more than the site takes."
    assert result.energy_cost == pytest.approx(0.0)


def test_equal_prices_say_that_waiting_saves_nothing() -> None:
    words = _words(_plan(_window(price_per_kwh=[0.1] * 32), _need("a", 0, 8, 16.0)))
    assert words == "Charges 16.0 kWh 18:00-20:00 as early as it can: a kWh costs 0.1 and waiting would save nothing."


def test_a_plan_of_more_than_a_day_names_the_day() -> None:
    two_days = _window(price_per_kwh=[0.3] * 100 + [0.1] * 92)
    assert "Wed 19:00-Wed 21:00" in _words(_plan(two_days, _need("a", 0, 40, 16.0)))


@pytest.mark.parametrize("policy", [Policy.EDF, Policy.LLF, Policy.UNCONTROLLED])
def test_a_heuristic_never_claims_a_price_as_its_reason(policy: Policy) -> None:
    problem = build_problem([_need("a", 0, 8, 16.0)], _window())
    result = decide(problem, policy).as_plan("x", START)
    assert "because" not in _words(result)
    assert result.status is PlanStatus.HEURISTIC
    assert any("nothing was optimised" in note for note in result.notes)


def test_an_exceeded_limit_is_noted() -> None:
    problem = build_problem([_need("a", 0, 1, 8.0), _need("b", 0, 1, 8.0)], _window(limit_kw=10.0))
    result = decide(problem, Policy.UNCONTROLLED).as_plan("x", START)
    assert "The limit is exceeded in 4 slots, by up to 6.0 kW." in result.notes
