"""What ``plugcast plan`` says of a plan: to people and to machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from plugcast.cli.output import err, out

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugcast.domain.plan import ChargingPlan
    from plugcast.services.planning import PlanReport

_SHOWN: Final = 5
"""Rejected rows that are printed; --json has all."""


def document(report: PlanReport) -> dict[str, Any]:
    """The one JSON document of ``--json``."""
    plan_, free = report.plan, report.uncontrolled
    return {
        "plan": plan_,
        "currency": report.prices.currency,
        "prices": report.prices.name,
        "totals": {
            "plan": _totals(plan_),
            "uncontrolled": {
                "cost": free.total,
                "energy_cost": free.energy_cost,
                "demand_cost": free.demand_cost,
                "peak_kw": free.peak_kw,
                "energy_kwh": report.uncontrolled_kwh,
                "slots_over_limit": report.over[0],
                "worst_excess_kw": report.over[1],
            },
            "as_it_is": _totals(report.as_it_is) if report.as_it_is is not None else None,
        },
        "what_if": report.what_if,
        "cars_left_out": report.left_out,
        "duplicates": report.read.duplicates,
        "rejected": list(report.read.rejected),
    }


def _totals(plan_: ChargingPlan) -> dict[str, float]:
    return {
        "cost": plan_.energy_cost + plan_.demand_cost,
        "energy_cost": plan_.energy_cost,
        "demand_cost": plan_.demand_cost,
        "peak_kw": plan_.peak_kw,
        "energy_kwh": sum(car.energy_planned_kwh for car in plan_.vehicles),
        "shortfall_kwh": sum(one.energy_kwh for one in plan_.shortfalls),
    }


def show(report: PlanReport) -> None:
    """Each car with its window and reason, the totals, and what is worth a note."""
    plan_, console = report.plan, out()
    zone = ZoneInfo(report.time_zone)

    def line(text: str = "") -> None:
        console.print(text, markup=False, highlight=False)

    begin = plan_.start_at.astimezone(zone)
    end = report.problem.window.end_at.astimezone(zone)
    form = "%a %Y-%m-%d %H:%M"
    line(f"Plan for {len(plan_.vehicles)} cars, {begin:{form}} to {end:{form}} ({report.time_zone})")
    line(f"Status: {plan_.status.value.replace('_', ' ')}")
    line()
    arrivals = dict(zip(report.problem.session_ids, report.problem.arrival_at, strict=True))
    for car in plan_.vehicles:
        stay = f"{arrivals[car.session_id].astimezone(zone):%a %H:%M}-{car.departure_at.astimezone(zone):%a %H:%M}"
        energy = f"{car.energy_planned_kwh:.1f} of {car.energy_needed_kwh:.1f} kWh"
        line(f"{car.session_id} at {car.station_id}, {stay}: {energy}")
        line(f"    {car.explanation}")
    line()
    _show_totals(report, line)
    for note in plan_.notes:
        line(f"Note: {note}")
    _mention(report)


def _show_totals(report: PlanReport, line: Callable[[str], None]) -> None:
    plan_, free, currency = report.plan, report.uncontrolled, report.prices.currency
    energy = {"cost": free.total, "energy_cost": free.energy_cost, "demand_cost": free.demand_cost}
    columns = [("plan", _totals(plan_))]
    if report.as_it_is is not None:
        columns.append(("as it is", _totals(report.as_it_is)))
        line(f"What if: {report.what_if}.")
    columns.append(("on arrival", {**energy, "peak_kw": free.peak_kw, "energy_kwh": report.uncontrolled_kwh}))
    rows = (
        (f"cost ({currency})" if currency else "cost", "cost", 2),
        ("  energy", "energy_cost", 2),
        ("  demand charge", "demand_cost", 2),
        ("peak (kW)", "peak_kw", 1),
        ("energy to cars (kWh)", "energy_kwh", 1),
    )
    line(f"{'':22}" + "".join(f"{name:>12}" for name, _ in columns))
    for name, key, digits in rows:
        line(f"{name:22}" + "".join(f"{totals[key]:12.{digits}f}" for _, totals in columns))
    if report.over[0]:
        slots, worst = report.over
        line(f"On arrival, charging would exceed the limit in {slots} slots, by up to {worst:.1f} kW.")


def _mention(report: PlanReport) -> None:
    """What was not planned, on stderr."""
    console = err()
    if report.left_out:
        console.print(f"Cars left out, not there in these hours: {report.left_out}.", highlight=False)
    if report.read.duplicates:
        console.print(f"Rows that repeat an earlier one: {report.read.duplicates}.", highlight=False)
    for one in report.read.rejected[:_SHOWN]:
        console.print(f"Rejected row {one.row}: {one.detail}.", markup=False, highlight=False)
    if len(report.read.rejected) > _SHOWN:
        console.print(f"... and {len(report.read.rejected) - _SHOWN} more; --json has all.", highlight=False)
