"""Plugcast as an agent of EV2Gym: a receding horizon that knows what has arrived, never what will.

EV2Gym's own predictive controllers read ``env.EVs_profiles``, where every arrival to come is written. This one reads
the cars at their chargers (with the departure that the environment tells of them), the prices of the day, and the
limits and forecasts that transformers publish. Transformers share nothing, so each is one small programme. Powers are
those of EV2Gym: what arrives in the battery, which is what it bills. Nothing of EV2Gym is imported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.schedule.mpc import Policy, decide
from plugcast.schedule.problem import VehicleNeed, build_problem, site_window

if TYPE_CHECKING:
    from plugcast.schedule.problem import FloatArray, SiteWindow

EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Stands for step 0: plans know instants, EV2Gym knows steps."""
LEAST_KWH: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Port:
    """A plug with a car: its place in the action, its charger, and what currents give."""

    place: int
    charger: Any
    car: Any

    @property
    def name(self) -> str:
        return f"port-{self.place}"

    def volts(self) -> float:
        """KW at the plug for an ampere, by EV2Gym's own formula."""
        return float(self.charger.voltage * math.sqrt(min(self.charger.phases, self.car.ev_phases)) / 1000.0)

    def currents(self) -> tuple[FloatArray, FloatArray]:
        """Currents worth commanding, A, and the power into the battery that each gives, kW; both ascending."""
        most, least = float(self.charger.max_charge_current), float(self.charger.min_charge_current)
        efficiency = self.car.charge_efficiency
        if isinstance(efficiency, dict):  # by whole amperes
            amps = np.arange(1.0, math.floor(most) + 1.0)
            share = np.array([efficiency.get(int(one), 1) / 100.0 for one in amps.tolist()])
        else:
            # beyond the car's own limit more current gives nothing
            amps = np.array([min(most, self.car.max_ac_charge_power / self.volts())])
            share = np.array([float(efficiency)])
        volts = float(self.charger.voltage * math.sqrt(self.charger.phases))
        floor = max(least, self.car.min_ac_charge_power * 1000.0 / volts)
        kept = amps >= floor - 1e-6
        amps, power = amps[kept], (share * np.minimum(amps * self.volts(), self.car.max_ac_charge_power))[kept]
        order = np.argsort(power, kind="stable")
        return amps[order], power[order]


class PlugcastAgent:
    """``get_action(env)``, as EV2Gym asks its agents; built with or without the environment.

    It charges only: power from cars (V2G) is left to other agents.
    """

    algo_name = "Plugcast MPC"

    def __init__(self, env: object = None, *, horizon: int = 192, **_: object) -> None:
        del env  # everything is read anew at each step
        self.horizon = horizon

    def get_action(self, env: Any) -> FloatArray:  # noqa: ANN401 - EV2Gym has no types
        """[ports] shares of each charger's most current, 0 to 1."""
        action = np.zeros(int(env.number_of_ports))
        ports = _ports(env)
        for transformer in env.transformers:
            there = [port for port in ports if port.charger.connected_transformer == transformer.id]
            if there:
                self._decide(env, transformer, there, action)
        return action

    def _decide(self, env: Any, transformer: Any, ports: list[_Port], action: FloatArray) -> None:  # noqa: ANN401 - the same
        window = _window(env, transformer, ports[0].charger.id, self.horizon)
        problem = build_problem([self._need(env, port, window) for port in ports], window)
        solution = decide(problem, Policy.LP, time_limit_s=5.0).solution
        row = {name: place for place, name in enumerate(problem.session_ids)}
        for port in ports:
            action[port.place] = _share(port, float(solution.power_kw[row[port.name], 0]))

    def _need(self, env: Any, port: _Port, window: SiteWindow) -> VehicleNeed:  # noqa: ANN401 - the same
        car, power = port.car, port.currents()[1]
        missing = float(car.desired_capacity - car.current_capacity)
        # it draws in the step of its departure too, and leaves at that step's end
        left = max(int(car.time_of_departure) - int(env.current_step) + 1, 1)
        return VehicleNeed(
            session_id=port.name,
            station_id=port.name,
            arrival_at=window.start_at,
            departure_at=window.start_at + timedelta(minutes=window.slot_min * left),
            energy_needed_kwh=missing if missing > LEAST_KWH else 0.0,
            max_power_kw=float(power[-1]) if power.size else 0.0,
        )


def _share(port: _Port, power_kw: float) -> float:
    """Of the charger's most current, what gives this power or the next below."""
    amps, power = port.currents()
    if power_kw <= LEAST_KWH or not power.size:
        return 0.0
    most = float(port.charger.max_charge_current)
    if not isinstance(port.car.charge_efficiency, dict):
        return min(float(power_kw / power[-1] * amps[-1]) / most, 1.0)
    below = np.flatnonzero(power <= power_kw + LEAST_KWH)
    return float(amps[below[-1]]) / most if below.size else 0.0


def _ports(env: Any) -> list[_Port]:  # noqa: ANN401 - the same
    places = [(charger, port) for charger in env.charging_stations for port in range(charger.n_ports)]
    return [
        _Port(place=place, charger=charger, car=charger.evs_connected[port])
        for place, (charger, port) in enumerate(places)
        if charger.evs_connected[port] is not None
    ]


def _window(env: Any, transformer: Any, charger: int, horizon: int) -> SiteWindow:  # noqa: ANN401 - the same
    """What one transformer leaves to its cars over the steps that the episode still has, and the prices there."""
    step, minutes = int(env.current_step), int(env.timescale)
    count = max(min(horizon, int(env.simulation_length) - step), 1)
    limit: FloatArray = np.asarray(transformer.get_power_limits(step, count), dtype=np.float64)[:count].copy()
    # forecasts as the transformer publishes them; the present step is measured
    load = _row(transformer.inflexible_load_forecast, step, count)
    sun = _row(transformer.pv_generation_forecast, step, count)
    load[0] = float(transformer.inflexible_load[step])
    sun[0] = float(transformer.solar_power[step])
    limit[0] = float(transformer.max_power[step])
    price = -np.asarray(env.charge_prices[charger, step : step + count], dtype=np.float64)
    return site_window(
        start_at=EPOCH + timedelta(minutes=minutes * step),
        price_per_kwh=price,
        limit_kw=np.maximum(limit - load - sun, 0.0),  # the sun counts negative there
        slot_min=minutes,
    )


def _row(values: Any, step: int, count: int) -> FloatArray:  # noqa: ANN401 - the same
    row = np.zeros(count)
    known = np.asarray(values, dtype=np.float64)[step : step + count]
    row[: len(known)] = known
    return row
