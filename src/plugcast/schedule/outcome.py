"""From powers to a plan: costs, peak, shortfalls and explanations, the same for optimum and heuristics."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from plugcast.domain.plan import ChargingPlan, PlanStatus, Setpoint, VehiclePlan
from plugcast.errors import PlanInputError
from plugcast.schedule.cost import Cost, cost_of
from plugcast.schedule.explain import explain, shortfalls_of
from plugcast.schedule.heuristics import violations

if TYPE_CHECKING:
    from datetime import datetime

    from plugcast.schedule.problem import FloatArray, PlanProblem


def plan_of(
    problem: PlanProblem,
    power_kw: FloatArray,
    *,
    site_id: str,
    issued_at: datetime,
    status: PlanStatus = PlanStatus.OPTIMAL,
    notes: tuple[str, ...] = (),
    rule: str = "",
    battery_kw: FloatArray | None = None,
) -> ChargingPlan:
    """The plan that ``power_kw`` [V, T] (slot means) amounts to; ``rule`` names a heuristic in the explanations.

    OPTIMAL becomes BEST_EFFORT where a need is not met. ``grid_import_kw`` is net: negative while the site feeds in.
    """
    window = problem.window
    if power_kw.shape != (problem.vehicles, window.slots):
        raise PlanInputError(f"Powers of shape {power_kw.shape}; wanted ({problem.vehicles}, {window.slots}).")
    if status is PlanStatus.FALLBACK and not rule:
        rule = "in order of departure"
    shortfalls = shortfalls_of(problem, power_kw, rule=rule)
    sentences = explain(problem, power_kw, shortfalls, rule=rule)
    if status is PlanStatus.OPTIMAL and shortfalls:
        status = PlanStatus.BEST_EFFORT
    over, worst = violations(problem, power_kw, battery_kw)
    breach = (f"The limit is exceeded in {over} slots, by up to {worst:.1f} kW.",) if over else ()
    bill = bill_of(problem, power_kw, battery_kw)
    stored = 0.0 if battery_kw is None else battery_kw
    return ChargingPlan(
        site_id=site_id,
        issued_at=issued_at.astimezone(UTC),
        start_at=window.start_at,
        slot_min=window.slot_min,
        status=status,
        vehicles=_vehicles(problem, power_kw, sentences),
        shortfalls=tuple(shortfalls.values()),
        grid_import_kw=tuple((power_kw.sum(axis=0) + stored + window.base_load_kw - window.pv_kw).tolist()),
        price_per_kwh=tuple(window.price_per_kwh.tolist()),
        limit_kw=tuple(window.limit_kw.tolist()),
        energy_cost=bill.energy_cost,
        demand_cost=bill.demand_cost,
        peak_kw=bill.peak_kw,
        notes=(*notes, *problem.notes, *breach),
        battery_kw=() if battery_kw is None else tuple(battery_kw.tolist()),
    )


def _vehicles(problem: PlanProblem, power_kw: FloatArray, sentences: tuple[str, ...]) -> tuple[VehiclePlan, ...]:
    energy = (power_kw.sum(axis=1) * problem.window.slot_h).tolist()
    rows = power_kw.tolist()
    return tuple(
        VehiclePlan(
            session_id=session_id,
            station_id=problem.station_ids[car],
            energy_needed_kwh=float(problem.energy_needed_kwh[car]),
            energy_planned_kwh=energy[car],
            departure_at=problem.departure_at[car],
            power_kw=tuple(rows[car]),
            explanation=sentences[car],
        )
        for car, session_id in enumerate(problem.session_ids)
    )


def bill_of(problem: PlanProblem, power_kw: FloatArray, battery_kw: FloatArray | None = None) -> Cost:
    """The bill of the window if the cars draw ``power_kw`` [V, T] and the site's battery ``battery_kw`` [T]."""
    window = problem.window
    return cost_of(
        power_kw.sum(axis=0) if battery_kw is None else power_kw.sum(axis=0) + battery_kw,
        window.price_per_kwh,
        window.demand_charge_per_kw,
        slot_min=window.slot_min,
        base_load_kw=window.base_load_kw,
        pv_kw=window.pv_kw,
        feed_in_per_kwh=window.feed_in_per_kwh,
        peak_so_far_kw=window.peak_so_far_kw,
    )


def setpoints(problem: PlanProblem, power_kw: FloatArray, *, slots: int = 1) -> tuple[Setpoint, ...]:
    """Commands for the first ``slots`` slots: the power while the car is there, so a part of a slot is not diluted."""
    window = problem.window
    share = problem.availability()
    commands = []
    for slot in range(min(slots, window.slots)):
        start_at = window.start_at + timedelta(minutes=window.slot_min * slot)
        end_at = start_at + timedelta(minutes=window.slot_min)
        commands += [
            Setpoint(
                session_id=session_id,
                station_id=problem.station_ids[car],
                start_at=start_at,
                end_at=end_at,
                power_kw=float(power_kw[car, slot] / share[car, slot]),
            )
            for car, session_id in enumerate(problem.session_ids)
            if share[car, slot] > 0
        ]
    return tuple(commands)
