"""What ``plugcast plan`` says of a plan: to people and to machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from plugcast.cli.output import err, out

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugcast.adapters.series import Series
    from plugcast.domain.plan import ChargingPlan
    from plugcast.domain.site import Tariff
    from plugcast.schedule.cost import Cost
    from plugcast.schedule.needs import NeedsRead
    from plugcast.schedule.problem import PlanProblem

_SHOWN: Final = 5
"""Rejected rows that are printed; --json has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """A tariff or a series, whichever was given."""

    name: str
    currency: str
    time_zone: str
    tariff: Tariff | None = None
    series: Series | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The plan beside what would happen without one."""

    plan: ChargingPlan
    problem: PlanProblem
    uncontrolled: Cost
    uncontrolled_kwh: float
    over: tuple[int, float]
    read: NeedsRead
    left_out: int
    prices: Prices
    time_zone: str


def document(report: Report) -> dict[str, Any]:
    """The one JSON document of ``--json``."""
    plan_, free = report.plan, report.uncontrolled
    return {
        "plan": plan_,
        "currency": report.prices.currency,
        "prices": report.prices.name,
        "totals": {
            "plan": {
                "cost": plan_.energy_cost + plan_.demand_cost,
                "energy_cost": plan_.energy_cost,
                "demand_cost": plan_.demand_cost,
                "peak_kw": plan_.peak_kw,
                "energy_kwh": sum(car.energy_planned_kwh for car in plan_.vehicles),
                "shortfall_kwh": sum(one.energy_kwh for one in plan_.shortfalls),
            },
            "uncontrolled": {
                "cost": free.total,
                "energy_cost": free.energy_cost,
                "demand_cost": free.demand_cost,
                "peak_kw": free.peak_kw,
                "energy_kwh": report.uncontrolled_kwh,
                "slots_over_limit": report.over[0],
                "worst_excess_kw": report.over[1],
            },
        },
        "cars_left_out": report.left_out,
        "duplicates": report.read.duplicates,
        "rejected": list(report.read.rejected),
    }


def show(report: Report) -> None:
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


def _show_totals(report: Report, line: Callable[[str], None]) -> None:
    plan_, free, currency = report.plan, report.uncontrolled, report.prices.currency
    planned_kwh = sum(car.energy_planned_kwh for car in plan_.vehicles)
    rows = (
        (f"cost ({currency})" if currency else "cost", plan_.energy_cost + plan_.demand_cost, free.total, 2),
        ("  energy", plan_.energy_cost, free.energy_cost, 2),
        ("  demand charge", plan_.demand_cost, free.demand_cost, 2),
        ("peak (kW)", plan_.peak_kw, free.peak_kw, 1),
        ("energy to cars (kWh)", planned_kwh, report.uncontrolled_kwh, 1),
    )
    line(f"{'':22}{'plan':>12}{'on arrival':>12}")
    for name, ours, theirs, digits in rows:
        line(f"{name:22}{ours:12.{digits}f}{theirs:12.{digits}f}")
    if report.over[0]:
        slots, worst = report.over
        line(f"On arrival, charging would exceed the limit in {slots} slots, by up to {worst:.1f} kW.")


def _mention(report: Report) -> None:
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
