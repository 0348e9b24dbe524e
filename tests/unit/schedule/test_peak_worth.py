"""What a kW of peak is worth: curves of days, outlooks from them, and the plan that follows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.errors import PlanInputError
from plugcast.schedule.peak_worth import RestOfMonth, cost_of_levels, outlook_of_costs
from plugcast.schedule.problem import PlanProblem, VehicleNeed, build_problem, site_window

START_AT = datetime(2024, 3, 4, 8, tzinfo=UTC)
LEVELS = np.array([2.0, 4.0, 6.0, 8.0, 12.0])


def _day(cars: int) -> PlanProblem:
    window = site_window(start_at=START_AT, price_per_kwh=np.linspace(0.1, 0.2, 8), limit_kw=20.0, slot_min=60)
    needs = [
        VehicleNeed(
            session_id=str(car),
            station_id=str(car),
            arrival_at=START_AT,
            departure_at=START_AT + timedelta(hours=4),
            energy_needed_kwh=8.0,
            max_power_kw=4.0,
            value_per_kwh=0.5,
        )
        for car in range(cars)
    ]
    return build_problem(needs, window)


def test_a_higher_level_never_costs_more_and_saves_less_and_less() -> None:
    cost = cost_of_levels(_day(3), LEVELS)
    slope = np.diff(cost) / np.diff(LEVELS)
    assert np.all(slope <= 1e-9)
    assert np.all(np.diff(slope) >= -1e-6)
    # 24 kWh in 4 h need 6 kW on average; below that every kW saves 4 kWh at their value less their price
    assert slope[0] == pytest.approx(-(4 * 0.5 - np.linspace(0.1, 0.2, 8)[:4].sum()), rel=1e-4)


@given(
    st.lists(st.lists(st.floats(0, 100), min_size=5, max_size=5), min_size=1, max_size=6),
    st.floats(0.1, 50),
)
def test_an_outlook_is_a_distribution(rises: list[list[float]], price: float) -> None:
    costs = -np.cumsum(np.sort(np.array(rises), axis=1)[:, ::-1], axis=1)
    found = outlook_of_costs(LEVELS, costs, price)
    assert sum(probability for _, probability in found) <= 1 + 1e-9
    assert all(probability > 0 for _, probability in found)
    assert [level for level, _ in found] == sorted(level for level, _ in found)


def test_more_days_to_come_make_a_kilowatt_cheaper() -> None:
    curves = {date(2024, 2, day): cost_of_levels(_day(day % 4), LEVELS) for day in range(1, 29)}
    rest = RestOfMonth(LEVELS, curves, 15.0)

    def paid(day: int, at_kw: float) -> float:
        outlook = rest.outlook(date(2024, 3, day))
        return 1.0 - sum(probability for level, probability in outlook if level > at_kw)

    assert paid(4, 5.0) < paid(20, 5.0) < paid(30, 5.0)
    assert paid(4, 3.0) <= paid(4, 5.0) <= paid(4, 9.0)
    assert rest.outlook(date(2024, 3, 4)) == rest.outlook(date(2024, 3, 4))


def test_what_cannot_be_an_outlook_is_refused() -> None:
    with pytest.raises(PlanInputError, match="rising levels"):
        outlook_of_costs([3.0, 2.0], [[1.0, 0.0]], 1.0)
    with pytest.raises(PlanInputError, match="weekend"):
        RestOfMonth(LEVELS, {date(2024, 2, 5): np.zeros(5)}, 1.0)
