from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf, nan

import numpy as np
import pytest

from plugcast.errors import PlanInputError
from plugcast.schedule.matrix import to_matrix
from plugcast.schedule.problem import VehicleNeed, build_problem, must_serve_price, site_window

START = datetime(2024, 3, 5, 6, tzinfo=UTC)
WINDOW = site_window(start_at=START, price_per_kwh=[0.1, 0.2, 0.3, 0.4], limit_kw=10.0)


def _need(first_min: float, last_min: float, session_id: str = "a") -> VehicleNeed:
    return VehicleNeed(
        session_id=session_id,
        station_id="P",
        arrival_at=START + timedelta(minutes=first_min),
        departure_at=START + timedelta(minutes=last_min),
        energy_needed_kwh=2.0,
        max_power_kw=7.0,
    )


@pytest.mark.parametrize(
    ("first_min", "last_min", "shares"),
    [
        (0, 60, [1, 1, 1, 1]),
        (15, 45, [0, 1, 1, 0]),
        (5, 40, [10 / 15, 1, 10 / 15, 0]),
        (18, 24, [0, 6 / 15, 0, 0]),
        (-90, 20, [1, 5 / 15, 0, 0]),
        (50, 600, [0, 0, 0, 10 / 15]),
        (-90, 0, [0, 0, 0, 0]),
        (60, 90, [0, 0, 0, 0]),
        (15.0001, 29.9999, [0, 1, 0, 0]),
    ],
)
def test_a_stay_has_its_share_of_each_slot(first_min: float, last_min: float, shares: list[float]) -> None:
    problem = build_problem([_need(first_min, last_min)], WINDOW)
    assert problem.availability()[0].tolist() == pytest.approx(shares)
    assert problem.stay_limit_kwh()[0] == pytest.approx(7.0 * 0.25 * sum(shares))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("price_per_kwh", [0.1, nan], "price_per_kwh is nan"),
        ("limit_kw", -1.0, "limit_kw is -1.0"),
        ("limit_kw", [10.0, nan], "limit_kw is nan"),
        ("pv_kw", -0.1, "pv_kw is -0.1"),
        ("pv_kw", [1.0, 2.0, 3.0], "pv_kw has shape"),
        ("base_load_kw", inf, "base_load_kw is inf"),
        ("feed_in_per_kwh", nan, "feed_in_per_kwh is nan"),
        ("demand_charge_per_kw", -1.0, "demand_charge_per_kw is -1.0"),
        ("peak_so_far_kw", nan, "peak_so_far_kw is nan"),
        ("waiting_price_per_kwh_h", -0.1, "waiting_price_per_kwh_h is -0.1"),
        ("slot_min", 0, "Slots of 0 minutes"),
        ("price_per_kwh", [], "has no slots"),
        ("time_zone", "Mars/Base", "'Mars/Base' is not a time zone"),
        ("start_at", datetime(2024, 3, 5, 6), "has no time zone"),  # noqa: DTZ001 - the point of the case
    ],
)
def test_a_window_without_sense_is_refused_by_name(field: str, value: object, words: str) -> None:
    given: dict[str, object] = {"start_at": START, "price_per_kwh": [0.1, 0.2], "limit_kw": 10.0, field: value}
    with pytest.raises(PlanInputError, match=words):
        site_window(**given)  # type: ignore[arg-type]


def test_the_message_names_the_slot_of_a_missing_price() -> None:
    with pytest.raises(PlanInputError, match="price_per_kwh is nan in the slot of 2024-03-05T06:15:00"):
        site_window(start_at=START, price_per_kwh=[0.1, nan], limit_kw=1.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("energy_needed_kwh", -1.0),
        ("energy_needed_kwh", nan),
        ("energy_needed_kwh", inf),
        ("max_power_kw", -7.0),
        ("max_power_kw", nan),
        ("value_per_kwh", nan),
        ("departure_at", START),
        ("departure_at", START - timedelta(hours=1)),
        ("arrival_at", datetime(2024, 3, 5, 6)),  # noqa: DTZ001 - the point of the case
    ],
)
def test_a_need_without_sense_is_refused_with_its_session(field: str, value: object) -> None:
    need = replace(_need(0, 60, "car-9"), **{field: value})  # type: ignore[arg-type]
    with pytest.raises(PlanInputError, match="car-9"):
        build_problem([need], WINDOW)


def test_a_session_twice_is_refused() -> None:
    with pytest.raises(PlanInputError, match="'a' appears twice"):
        build_problem([_need(0, 60), _need(0, 30)], WINDOW)


def test_a_part_of_a_window_is_the_window_from_there_on() -> None:
    part = WINDOW.part(1, 2)
    assert part.price_per_kwh.tolist() == [0.2, 0.3]
    assert part.start_at == START + timedelta(minutes=15)
    assert WINDOW.part(3, 99).slots == 1


def test_a_base_load_beyond_the_limit_is_noted_and_leaves_no_headroom() -> None:
    window = site_window(start_at=START, price_per_kwh=[0.1] * 3, limit_kw=5.0, base_load_kw=[4.0, 9.0, 2.0])
    assert window.headroom_kw.tolist() == [1.0, 0.0, 3.0]
    assert "1 of 3 slots, by up to 4.0 kW" in build_problem([], window).notes[0]


def test_no_tariff_outbids_a_need_that_must_be_met() -> None:
    window = site_window(start_at=START, price_per_kwh=[0.1, -0.4], limit_kw=5.0, demand_charge_per_kw=15.0)
    assert must_serve_price(window) == pytest.approx(10 * (0.4 + 15.0 * 4))


def test_the_matrix_is_well_formed_whatever_the_stays() -> None:
    draw = np.random.default_rng(3)
    needs = [_need(float(a), float(a + d), f"c{i}") for i, (a, d) in enumerate(draw.uniform(1, 55, (20, 2)))]
    window = replace(WINDOW, pv_kw=np.array([0.0, 20.0, 0.0, 3.0]), demand_charge_per_kw=2.0)
    matrix = to_matrix(build_problem(needs, window)).lp
    columns, rows = len(matrix.cost), len(matrix.row_lower)
    assert matrix.start[0] == 0
    assert matrix.start[-1] == len(matrix.index) == len(matrix.value)
    assert np.all(np.diff(matrix.start) >= 0)
    assert len(matrix.start) == columns + 1
    assert matrix.index.min() >= 0
    assert matrix.index.max() == rows - 1
    assert len(np.unique(np.repeat(np.arange(columns), np.diff(matrix.start)) * rows + matrix.index)) == len(
        matrix.index
    )
    assert np.all(matrix.lower <= matrix.upper)
    assert np.all(matrix.row_lower <= matrix.row_upper)
