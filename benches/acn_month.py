"""The month of the acn bench: real sessions at Caltech in acnportal, what a run of it gave, and perfect foresight."""

from __future__ import annotations

import csv
import gzip
import json
import time
import warnings
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from benches.data_folder import needed

from plugcast.schedule.problem import VehicleNeed, build_problem, site_window
from plugcast.schedule.solve import solve
from plugcast.simulate.acn_translate import site_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugcast.schedule.network import Network

Algorithm: TypeAlias = Any
"""What acnportal takes as one: it ships no types."""
PERIOD_MIN: Final = 5
VOLTAGE_V: Final = 208
REVENUE_PER_KWH: Final = 0.30
MAX_STAY: Final = 144
START_AT: Final = datetime(2019, 3, 1, tzinfo=timezone(timedelta(hours=-8)))
"""Midnight in Los Angeles. acnportal counts in fixed steps from here: its March has no summer time."""
BEFORE: Final = datetime(2019, 2, 1, tzinfo=START_AT.tzinfo)
"""The month on which settings are chosen; its tariff is the same."""
TARIFF: Final = "sce_tou_ev_4_march_2019"
IDEAL_KW: Final = 6.6
PILOT_KW: Final = 6.656


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """One session; periods count from the month's start."""

    session_id: str
    station_id: str
    arrival: int
    departure: int
    energy_kwh: float

    def feasible(self, car_kw: float) -> Stay:
        """The stay cut to 144 periods and the request to what the car can take in them."""
        departure = min(self.departure, self.arrival + MAX_STAY)
        most = car_kw * (departure - self.arrival) * PERIOD_MIN / 60
        return replace(self, departure=departure, energy_kwh=min(self.energy_kwh, most))


def stays(
    *, first_day: int = 1, last_day: int = 31, car_kw: float = IDEAL_KW, start_at: datetime = START_AT
) -> list[Stay]:
    """Arrivals of the days of a month, made feasible; months other than March are read from the data folder."""
    every = _shipped() if start_at == START_AT else _stored(start_at)
    return [one.feasible(car_kw) for one in every if first_day <= one.arrival // 288 + 1 <= last_day]


def _shipped() -> list[Stay]:
    with (
        as_file(files("plugcast.adapters") / "data" / "caltech_2019_03_sessions.csv") as path,
        path.open(encoding="utf-8") as file,
    ):
        return [
            Stay(
                session_id=row["session_id"],
                station_id=row["station_id"],
                arrival=int(row["arrival_min"]) // PERIOD_MIN,
                departure=int(row["departure_min"]) // PERIOD_MIN,
                energy_kwh=float(row["kwh_delivered"]),
            )
            for row in csv.DictReader(file)
        ]


def _stored(start_at: datetime) -> list[Stay]:
    """All stays that begin in the month; one that the next at its plug overlaps in a period ends where that begins."""
    found: dict[str, list[Stay]] = {}
    with gzip.open(needed() / "acn_caltech_sessions.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            begin, end = (parsedate_to_datetime(row[key]) for key in ("connectionTime", "disconnectTime"))
            local = begin.astimezone(start_at.tzinfo)
            if (local.year, local.month) != (start_at.year, start_at.month):
                continue
            first, last = (int((at - start_at).total_seconds()) // (60 * PERIOD_MIN) for at in (begin, end))
            stay = Stay(
                session_id=row["sessionID"],
                station_id=row["spaceID"],
                arrival=first,
                departure=last,
                energy_kwh=float(row["kWhDelivered"]),
            )
            found.setdefault(row["spaceID"], []).append(stay)
    kept = []
    for mine in found.values():
        ordered = sorted(mine, key=lambda one: one.arrival)
        until = [*(one.arrival for one in ordered[1:]), ordered[-1].departure]
        kept += [
            replace(one, departure=min(one.departure, end))
            for one, end in zip(ordered, until, strict=True)
            if min(one.departure, end) > one.arrival and one.energy_kwh > 0
        ]
    return sorted(kept, key=lambda one: (one.arrival, one.session_id))


def simulate(
    algorithm: Algorithm,
    sessions: Sequence[Stay],
    *,
    cap_kw: float,
    practical: bool = False,
    tariff: bool = True,
    start_at: datetime = START_AT,
) -> dict[str, Any]:
    """One run of acnportal: shares, bill, profit, CPU a step, and whether a limit was exceeded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from acnportal import acnsim  # noqa: PLC0415 - only where it is installed
        from acnportal.acnsim import analysis  # noqa: PLC0415
        from acnportal.acnsim.models.battery import batt_cap_fn  # noqa: PLC0415
        from acnportal.signals.tariffs import TimeOfUseTariff  # noqa: PLC0415

        events = []
        for one in sessions:
            if practical:
                # it finds no battery for a request that takes every last watt-second of the stay
                asked = one.energy_kwh * (1.0 - 1e-6)
                capacity, held = batt_cap_fn(asked, one.departure - one.arrival, VOLTAGE_V, PERIOD_MIN)
                battery: Any = acnsim.Linear2StageBattery(capacity, held, PILOT_KW)
            else:
                battery = acnsim.Battery(one.energy_kwh, 0, IDEAL_KW)
            ev = acnsim.EV(one.arrival, one.departure, one.energy_kwh, one.station_id, one.session_id, battery)
            events.append(acnsim.PluginEvent(one.arrival, ev))
        network = acnsim.sites.caltech_acn(basic_evse=not practical, voltage=VOLTAGE_V, transformer_cap=cap_kw)
        prices = TimeOfUseTariff(TARIFF)
        spent = _timed(algorithm)
        sim = acnsim.Simulator(
            network,
            algorithm,
            acnsim.EventQueue(events),
            start_at,
            period=PERIOD_MIN,
            signals={"tariff": prices} if tariff else {},
            verbose=False,
        )
        sim.run()
        delivered = analysis.total_energy_delivered(sim)
        energy, demand = analysis.energy_cost(sim, prices), analysis.demand_charge(sim, prices)
        load = np.abs(network.constraint_current(sim.charging_rates)) - network.magnitudes[:, None]
        pilots = np.abs(network.constraint_current(sim.pilot_signals)) - network.magnitudes[:, None]
    steps = np.array(spent) * 1e3
    return {
        "delivered_pct": 100.0 * delivered / analysis.total_energy_requested(sim),
        "demands_met_pct": 100.0 * analysis.proportion_of_demands_met(sim),
        "peak_kw": sim.peak * VOLTAGE_V / 1000.0,
        "energy_cost": energy,
        "demand_charge": demand,
        "profit": REVENUE_PER_KWH * delivered - energy - demand,
        "over_limit_a": float(max(load.max(), pilots.max(), 0.0)),
        "cpu_ms_median": float(np.median(steps)),
        "cpu_ms_p95": float(np.percentile(steps, 95)),
        "steps": len(steps),
    }


def _timed(algorithm: Algorithm) -> list[float]:
    """CPU seconds of every call of ``schedule``, the sessions already handed over."""
    spent: list[float] = []

    def run() -> dict[str, list[float]]:
        sessions = algorithm.interface.active_sessions()
        begun = time.process_time()
        answer: dict[str, list[float]] = algorithm.schedule(sessions)
        spent.append(time.process_time() - begun)
        return answer

    algorithm.run = run
    return spent


def optimum(
    sessions: Sequence[Stay],
    *,
    cap_kw: float,
    car_kw: float = IDEAL_KW,
    most_energy: bool = False,
    start_at: datetime = START_AT,
) -> float:
    """Profit, or with ``most_energy`` the energy in kWh, of one plan with all sessions known: what nobody can beat."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from acnportal import acnsim  # noqa: PLC0415
        from acnportal.acnsim.interface import Interface  # noqa: PLC0415
        from acnportal.signals.tariffs import TimeOfUseTariff  # noqa: PLC0415

        network = acnsim.sites.caltech_acn(basic_evse=True, voltage=VOLTAGE_V, transformer_cap=cap_kw)
        sim = acnsim.Simulator(network, None, acnsim.EventQueue([]), start_at, period=5)
        site = site_of(Interface(sim).infrastructure_info())
        slots = max(one.departure for one in sessions)
        tariff = TimeOfUseTariff(TARIFF)
        price = np.array(tariff.get_tariffs(start_at, slots, PERIOD_MIN))
        charge = tariff.get_demand_charge(start_at)
    network_of: Network | None = site.network
    window = site_window(
        start_at=start_at,
        slot_min=PERIOD_MIN,
        price_per_kwh=np.zeros(slots) if most_energy else price,
        limit_kw=np.inf,
        demand_charge_per_kw=0.0 if most_energy else charge,
        network=network_of,
    )
    needs = [need_of(one, car_kw, start_at) for one in sessions]
    problem = build_problem(needs, window)
    solution = solve(problem, time_limit_s=600.0)
    kwh = solution.power_kw.sum() * PERIOD_MIN / 60
    if most_energy:
        return float(kwh)
    load = solution.power_kw.sum(axis=0)
    return float(REVENUE_PER_KWH * kwh - load @ price * PERIOD_MIN / 60 - charge * load.max())


def need_of(one: Stay, car_kw: float, start_at: datetime) -> VehicleNeed:
    """A session as it really was."""
    return VehicleNeed(
        session_id=one.session_id,
        station_id=one.station_id,
        arrival_at=start_at + timedelta(minutes=PERIOD_MIN * one.arrival),
        departure_at=start_at + timedelta(minutes=PERIOD_MIN * one.departure),
        energy_needed_kwh=one.energy_kwh,
        max_power_kw=car_kw,
        value_per_kwh=REVENUE_PER_KWH,
    )
