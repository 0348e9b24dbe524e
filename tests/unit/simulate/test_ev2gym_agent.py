from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from plugcast.simulate.ev2gym import PlugcastAgent

STEPS = 40


def _car(**changes: Any) -> SimpleNamespace:
    told = {
        "desired_capacity": 50.0,
        "current_capacity": 45.0,
        "battery_capacity": 50.0,
        "min_battery_capacity": 5.0,
        "max_ac_charge_power": 11.0,
        "min_ac_charge_power": 0.0,
        "max_discharge_power": -11.0,
        "ev_phases": 3,
        "charge_efficiency": 1.0,
        "discharge_efficiency": 1.0,
        "time_of_departure": 30,
    }
    return SimpleNamespace(**(told | changes))


def _env(*cars: SimpleNamespace | None, limit_kw: float = 100.0, step: int = 0) -> SimpleNamespace:
    chargers = [
        SimpleNamespace(
            id=place,
            n_ports=1,
            evs_connected=[car],
            connected_transformer=0,
            voltage=400.0,
            phases=3,
            min_charge_current=0.0,
            max_charge_current=32.0,
            max_discharge_current=-32.0,
        )
        for place, car in enumerate(cars)
    ]
    transformer = SimpleNamespace(
        id=0,
        max_power=np.full(STEPS, limit_kw),
        inflexible_load=np.zeros(STEPS),
        solar_power=np.zeros(STEPS),
        inflexible_load_forecast=np.zeros(STEPS),
        pv_generation_forecast=np.zeros(STEPS),
        get_power_limits=lambda _step, count: np.full(count, limit_kw),
    )
    price = np.full((len(cars), STEPS), 0.3)
    price[:, 20:] = 0.1
    # no list of what is to come: an agent that looked for it would fail here
    return SimpleNamespace(
        number_of_ports=len(cars),
        charging_stations=chargers,
        transformers=[transformer],
        current_step=step,
        simulation_length=STEPS,
        timescale=15,
        charge_prices=-price,
    )


def test_a_car_waits_for_the_cheap_steps_if_it_stays_so_long_and_not_if_it_leaves() -> None:
    agent = PlugcastAgent()
    assert agent.get_action(_env(_car())).tolist() == [0.0]
    assert agent.get_action(_env(_car(), step=20))[0] > 0
    assert agent.get_action(_env(_car(time_of_departure=1)))[0] > 0


def test_an_empty_port_and_a_full_car_get_nothing() -> None:
    action = PlugcastAgent(None).get_action(_env(None, _car(current_capacity=50.0), step=20))
    assert action.tolist() == [0.0, 0.0]
    assert PlugcastAgent().get_action(_env(None)).tolist() == [0.0]


def test_the_cars_limit_becomes_a_share_of_the_chargers_current() -> None:
    action = PlugcastAgent().get_action(_env(_car(current_capacity=20.0, time_of_departure=25), step=20))
    amps = 11_000 / (400 * np.sqrt(3))
    assert action[0] == pytest.approx(amps / 32, rel=1e-3)


def test_the_transformer_limits_cars_together() -> None:
    cars = [_car(current_capacity=10.0, time_of_departure=39) for _ in range(4)]
    action = PlugcastAgent().get_action(_env(*cars, limit_kw=15.0, step=20))
    assert action.sum() * 32 * 400 * np.sqrt(3) / 1000 == pytest.approx(15.0, rel=1e-3)


def test_an_efficiency_by_ampere_is_met_from_below() -> None:
    table = dict.fromkeys(range(33), 90)
    car = _car(charge_efficiency=table, current_capacity=10.0, time_of_departure=39)
    env = _env(car, limit_kw=6.0, step=20)
    amps = PlugcastAgent().get_action(env)[0] * 32
    assert amps == pytest.approx(round(amps))
    assert 0 < amps * 400 * np.sqrt(3) / 1000 * 0.9 <= 6.0 + 1e-2
