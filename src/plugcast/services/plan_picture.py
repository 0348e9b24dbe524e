"""A plan as a picture: each car's stay and charge over time, the site's power below its limit, and the price.

Colours are Okabe and Ito's, told apart by all eyes. matplotlib is only imported when something is drawn.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from plugcast.schedule.arrays import POWER_TOL_KW

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from plugcast.domain.plan import ChargingPlan
    from plugcast.schedule.arrays import FloatArray
    from plugcast.schedule.problem import PlanProblem

INK, MUTED, GRID = "#1b1f24", "#59636e", "#d8dee4"
STAY, CHARGE, GIVES, MISSED = "#e6eaef", "#0072B2", "#CC79A7", "#D55E00"
PRICE, SUN, LIMIT, SITE = "#8a5a83", "#E69F00", "#D55E00", "#0072B2"
MOST_NAMES: Final = 60
"""Cars beyond this are drawn without their names."""


def picture_of(plan: ChargingPlan, problem: PlanProblem, *, currency: str = "", dpi: int = 130) -> bytes:
    """PNG with three panels over one local time axis."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415 - only drawing needs it
    from matplotlib.figure import Figure  # noqa: PLC0415 - the same

    cars = max(len(plan.vehicles), 1)
    height = min(max(0.26 * cars, 1.6), 14.0)
    drawn = Figure(figsize=(11, height + 4.2), layout="constrained", facecolor="white")
    chart, power, price = drawn.subplots(3, 1, sharex=True, height_ratios=[height, 2.2, 1.2])
    zone = ZoneInfo(problem.window.time_zone)
    edges = _edges(problem)
    _gantt(chart, plan, problem, edges)
    _site(power, plan, problem, edges)
    price.stairs(plan.price_per_kwh, edges, color=PRICE, linewidth=1.8, baseline=None)
    _dress(price, f"{currency or 'price'} / kWh")
    chart.set_title(_title(plan), loc="left", fontsize=12, color=INK)
    locator: Any = AutoDateLocator(tz=zone)  # type: ignore[no-untyped-call]
    price.xaxis.set_major_locator(locator)
    price.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))  # type: ignore[no-untyped-call]
    price.set_xlim(edges[0], edges[-1])
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=dpi, metadata={"Software": "plugcast"})
    return buffer.getvalue()


def _edges(problem: PlanProblem) -> FloatArray:
    """[T + 1] borders of slots in days since 1970, matplotlib's own unit."""
    window = problem.window
    days: FloatArray = window.start_at.timestamp() / 86_400 + np.arange(window.slots + 1) * window.slot_min / 1_440
    return days


def _title(plan: ChargingPlan) -> str:
    short = sum(one.energy_kwh for one in plan.shortfalls)
    energy = sum(car.energy_planned_kwh for car in plan.vehicles)
    who = "1 car" if len(plan.shortfalls) == 1 else f"{len(plan.shortfalls)} cars"
    missed = f", {short:.1f} kWh of {who} cannot be met" if plan.shortfalls else ", every need met"
    return f"{len(plan.vehicles)} cars, {energy:.0f} kWh{missed}; peak {plan.peak_kw:.1f} kW"


def _gantt(axes: Axes, plan: ChargingPlan, problem: PlanProblem, edges: FloatArray) -> None:
    from matplotlib.collections import PolyCollection  # noqa: PLC0415 - only drawing needs it

    missing = {one.session_id for one in plan.shortfalls}
    ends: list[tuple[float, int]] = []
    part = problem.availability()
    # [N, 4] left, right, top and bottom, drawn together: one by one, a thousand cars would take a minute
    bars: dict[str, list[FloatArray]] = {STAY: [], CHARGE: [], GIVES: []}
    for row, car in enumerate(plan.vehicles):
        stay = [max(problem.arrival_at[row].timestamp() / 86_400, edges[0])]
        stay.append(min(problem.departure_at[row].timestamp() / 86_400, edges[-1]))
        bars[STAY].append(np.array([[stay[0], max(stay), row - 0.36, row + 0.36]]))
        power = np.array(car.power_kw)
        most = max(float(problem.max_power_kw[row]), 1e-9)
        there = np.maximum(part[row], 1e-9)
        for sign, colour in ((1.0, CHARGE), (-1.0, GIVES)):
            on = np.flatnonzero(sign * power > POWER_TOL_KW)
            share = np.minimum(np.abs(power[on]) / most / there[on], 1.0) * 0.72
            # a slot that the car shares with its absence is drawn as far as it is there
            left, right = np.maximum(edges[on], stay[0]), np.minimum(edges[on + 1], stay[1])
            foot = np.full(len(on), row + 0.36)
            bars[colour].append(np.stack([left, right, foot - share, foot], axis=1))
        if car.session_id in missing:
            ends.append((stay[1], row))
    for colour, found in bars.items():
        if found:
            corners = np.concatenate(found)[:, [0, 2, 1, 2, 1, 3, 0, 3]].reshape(-1, 4, 2)
            axes.add_collection(PolyCollection(list(corners), facecolors=colour, linewidths=0))
    if ends:
        axes.plot(*zip(*ends, strict=True), linestyle="", marker="X", color=MISSED, markersize=6, clip_on=False)
    axes.set_ylim(len(plan.vehicles) - 0.4, -0.6)
    axes.set_yticks(range(len(plan.vehicles)) if len(plan.vehicles) <= MOST_NAMES else [])
    if len(plan.vehicles) <= MOST_NAMES:
        axes.set_yticklabels([car.session_id for car in plan.vehicles], fontsize=8)
    _dress(axes, "")


def _site(axes: Axes, plan: ChargingPlan, problem: PlanProblem, edges: FloatArray) -> None:
    window = problem.window
    grid = np.array(plan.grid_import_kw)
    axes.stairs(grid, edges, fill=True, color=SITE, alpha=0.25, baseline=0)
    axes.stairs(grid, edges, color=SITE, linewidth=1.6, label="site", baseline=None)
    if np.any(window.pv_kw > 0):
        axes.stairs(window.pv_kw, edges, color=SUN, linewidth=1.4, label="PV", baseline=None)
    if np.any(window.base_load_kw > 0):
        axes.stairs(window.base_load_kw, edges, color=MUTED, linewidth=1.0, label="base load", baseline=None)
    if plan.battery_kw:
        axes.stairs(plan.battery_kw, edges, color="#009E73", linewidth=1.2, label="into battery", baseline=None)
    if np.all(np.isfinite(window.limit_kw)):
        axes.stairs(window.limit_kw, edges, color=LIMIT, linewidth=1.4, linestyle="--", label="limit", baseline=None)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper right", ncols=5)
    axes.margins(y=0.18)
    _dress(axes, "kW from the grid")


def _dress(axes: Axes, label: str) -> None:
    axes.set_ylabel(label, fontsize=9, color=MUTED)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
