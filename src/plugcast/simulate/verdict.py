"""What a closed loop was worth: cost, energy, what drivers missed, and the distance to perfect foresight."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.schedule.cost import cost_of
from plugcast.schedule.problem import VehicleNeed, build_problem
from plugcast.schedule.solve import solve
from plugcast.simulate.site import stays_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugcast.schedule.cost import Cost
    from plugcast.schedule.problem import FloatArray, SiteWindow
    from plugcast.simulate.cars import Car
    from plugcast.simulate.site import LoopResult

WORST_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """What one programme that knows every car, price and hour of sun beforehand would do."""

    power_kw: FloatArray
    """[N, S]"""
    cost: Cost
    energy_kwh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One drive in figures; money in the tariff's currency."""

    cost: float
    """The bill less that of the site without cars."""
    energy_kwh: float
    cost_per_kwh: float
    peak_kw: float
    unmet_kwh: float
    """Missed at departure that a charge at full power on arrival would have delivered."""
    unmet_share: float
    """Of what drivers could have had."""
    cars_short: int
    """That missed more than half a kWh."""
    unmet_cvar_kwh: float
    """Mean of what the worst twentieth of cars missed."""
    regret_per_kwh_pct: float
    """Cost of a kWh above that of perfect foresight."""
    starts_per_car: float
    violation_slots: int
    fallbacks: int
    cpu_ms_median: float
    """Of steps that had a car to decide on."""
    cpu_ms_p95: float


def perfect_foresight(cars: Sequence[Car], window: SiteWindow, slots: int, *, time_limit_s: float = 600.0) -> Optimum:
    """The cheapest way to meet every need that can be met, whatever comes, over the first ``slots`` slots.

    Batteries fill at full power to the end and any power can be offered: a bound that no controller reaches.
    """
    cut, (first, last) = window.part(0, slots), stays_in(cars, window)
    step = timedelta(minutes=window.slot_min)
    needs = [
        VehicleNeed(
            session_id=car.session_id,
            station_id=car.station_id,
            arrival_at=window.start_at + begin * step,
            departure_at=window.start_at + max(end, begin) * step,
            energy_needed_kwh=car.energy_kwh,
            max_power_kw=car.max_power_kw,
        )
        for car, begin, end in zip(cars, first.tolist(), last.tolist(), strict=True)
    ]
    problem = build_problem(needs, cut)
    found = solve(problem, time_limit_s=time_limit_s).power_kw
    row = {session_id: place for place, session_id in enumerate(problem.session_ids)}
    power = found[[row[car.session_id] for car in cars]]
    return Optimum(power_kw=power, cost=bill(power.sum(axis=0), cut), energy_kwh=float(power.sum()) * cut.slot_h)


def bill(power_kw: FloatArray, window: SiteWindow) -> Cost:
    """The window's bill if the cars draw ``power_kw`` [T]."""
    return cost_of(
        power_kw,
        window.price_per_kwh,
        window.demand_charge_per_kw,
        slot_min=window.slot_min,
        base_load_kw=window.base_load_kw,
        pv_kw=window.pv_kw,
        feed_in_per_kwh=window.feed_in_per_kwh,
        peak_so_far_kw=window.peak_so_far_kw,
    )


def verdict(
    run: LoopResult, window: SiteWindow, *, on_arrival: LoopResult | None = None, optimum: Optimum | None = None
) -> Verdict:
    """Sum a drive up.

    Args:
        run: The drive.
        window: Its site; slots beyond the drive are left aside.
        on_arrival: The same cars charged at full power on arrival: what could have been had. By default what stay and
            rating allow.
        optimum: Perfect foresight, for the regret.
    """
    slots = run.power_kw.shape[1]
    cut = window.part(0, slots)
    idle = bill(np.zeros(slots), cut).total
    energy = float(run.delivered_kwh.sum())
    cost = run.cost.total - idle
    free = run.unavoidable_kwh if on_arrival is None else on_arrival.unmet_kwh
    missed = np.maximum(run.unmet_kwh - free, 0.0)
    worst = np.sort(missed)[::-1][: max(1, round(WORST_SHARE * len(missed)))]
    busy = run.cpu_s[run.cpu_s > 0] * 1000.0
    per_kwh = cost / energy if energy > 0 else np.nan
    best = (optimum.cost.total - idle) / optimum.energy_kwh if optimum is not None else np.nan
    return Verdict(
        cost=cost,
        energy_kwh=energy,
        cost_per_kwh=per_kwh,
        peak_kw=run.cost.peak_kw,
        unmet_kwh=float(missed.sum()),
        unmet_share=float(missed.sum() / (energy + missed.sum())) if energy > 0 else 0.0,
        cars_short=int((missed > 0.5).sum()),  # noqa: PLR2004 - half a kWh: two miles
        unmet_cvar_kwh=float(worst.mean()) if missed.size else 0.0,
        regret_per_kwh_pct=float((per_kwh / best - 1.0) * 100.0),
        starts_per_car=float(run.starts.mean()) if run.starts.size else 0.0,
        violation_slots=run.violation_slots,
        fallbacks=run.fallbacks,
        cpu_ms_median=float(np.median(busy)) if busy.size else 0.0,
        cpu_ms_p95=float(np.quantile(busy, 0.95)) if busy.size else 0.0,
    )
