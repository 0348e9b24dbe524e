"""``plugcast plan``: when each car charges, why, and what that saves beside charging on arrival."""

from __future__ import annotations

import math
import re
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from plugcast.cli.inputs import JsonOption  # noqa: TC001 - typer reads it at run time
from plugcast.cli.output import emit_json, err
from plugcast.cli.plan_report import document, show
from plugcast.domain.units import MAX_SITE_VALUE

if TYPE_CHECKING:
    from plugcast.domain.plan import ChargingPlan
    from plugcast.services.planning import PlanReport, PriceChange

LONGEST_H: Final = 168.0
"""Hours of a plan at most: a week."""
_PRICE: Final = re.compile(r"(?P<how>[x*+-]?)(?P<number>\d*\.?\d+(?:e-?\d+)?)")


class PolicyName(StrEnum):
    """The choices of ``--policy``."""

    LP = "lp"
    WHOLE = "whole"
    EXACT = "exact"
    EDF = "edf"
    LLF = "llf"
    UNCONTROLLED = "uncontrolled"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("plan")(plan)


def plan(
    *,
    sessions: Annotated[
        Path | None,
        typer.Option(help="CSV: session_id,station_id,arrival,departure,energy_kwh,max_power_kw.", show_default=False),
    ] = None,
    site: Annotated[Path | None, typer.Option(help="site.toml: limit, time zone, base load, tariff.")] = None,
    tariff: Annotated[
        Path | None, typer.Option(help="Tariff (.json) or price series (.csv, .parquet). [default: a built-in example]")
    ] = None,
    limit: Annotated[
        float | None, typer.Option(help="kW that may be drawn from the grid. [default: the site's]")
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(help="What if energy cost 0.30 (flat), +0.05 more, or x1.5 as much?", show_default=False),
    ] = None,
    start: Annotated[str | None, typer.Option(help="ISO 8601. [default: the first arrival]")] = None,
    hours: Annotated[
        float | None, typer.Option(min=0.25, max=LONGEST_H, help="Length. [default: to the last departure]")
    ] = None,
    pv: Annotated[Path | None, typer.Option(help="CSV of expected PV: timestamp,pv_kw.")] = None,
    pv_kw: Annotated[
        float, typer.Option("--pv-kw", min=0, help="PV array under a modelled clear sky, kW, where there is no file.")
    ] = 0.0,
    policy: Annotated[PolicyName, typer.Option(help="How powers are found.")] = PolicyName.LP,
    max_power: Annotated[
        float | None, typer.Option(min=0, help="kW of each car, where the file has no max_power_kw.")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Of times without an offset. [default: the site's, or the tariff's]")
    ] = None,
    time_limit: Annotated[float, typer.Option(min=0, help="Seconds for the solver.")] = 5.0,
    fill: Annotated[
        bool, typer.Option("--fill", help="Fill gaps of series from the same hour of an earlier day.")
    ] = False,
    target: Annotated[Path | None, typer.Option("--out", help="Also write the plan as JSON to this file.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw it as PNG: cars over time, site power, limit, price, PV.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Plan when each car charges: cheapest inside the limits, explained, beside charging on arrival."""
    if sessions is None:
        from plugcast.schedule.needs import EXAMPLE

        raise typer.BadParameter(
            f"wanted a CSV file of cars; its first lines look like:\n{EXAMPLE}", param_hint="--sessions"
        )
    if limit is not None and not limit >= 0:  # NaN too
        raise typer.BadParameter(f"wanted kW that are not negative, found {limit}", param_hint="--limit")
    if not math.isfinite(pv_kw):
        raise typer.BadParameter(f"wanted kW of PV, found {pv_kw}", param_hint="--pv-kw")
    if pv is not None and pv_kw > 0:
        raise typer.BadParameter("wanted --pv FILE or --pv-kw KW, found both", param_hint="--pv-kw")
    from plugcast.schedule.mpc import Policy
    from plugcast.services.planning import PlanRequest, make_plan

    report = make_plan(
        PlanRequest(
            sessions=sessions,
            site=site,
            tariff=tariff,
            limit_kw=limit,
            price=_price_change(price),
            start_at=_start(start),
            hours=hours,
            pv=pv,
            pv_kw=pv_kw,
            fill=fill,
            time_zone=_known_zone(time_zone) if time_zone is not None else None,
            max_power_kw=max_power,
            policy=Policy(policy.value),
            time_limit_s=time_limit,
        )
    )
    if target is not None:
        _write(report.plan, target)
    if picture is not None:
        _draw(report, picture)
    if as_json:
        emit_json(document(report))
    else:
        show(report)


def _start(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"wanted a time like 2019-03-04T06:00, found {text!r}", param_hint="--start"
        ) from error


def _price_change(text: str | None) -> PriceChange | None:
    """``0.3`` is a flat price, ``+0.05`` and ``-0.05`` change it, ``x1.5`` scales it."""
    from plugcast.services.planning import PriceChange

    if text is None:
        return None
    found = _PRICE.fullmatch(text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"wanted 0.30, +0.05 or x1.5, found {text!r}", param_hint="--price")
    number = float(found["number"])
    if number > MAX_SITE_VALUE:
        raise typer.BadParameter(f"wanted at most {MAX_SITE_VALUE:g}, found {text!r}", param_hint="--price")
    if found["how"] in {"x", "*"}:
        return PriceChange(factor=number)
    if found["how"]:
        return PriceChange(extra_per_kwh=number if found["how"] == "+" else -number)
    return PriceChange(factor=0.0, extra_per_kwh=number)


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise typer.BadParameter(
            f"{name!r} is no time zone; write one like 'Europe/Oslo'", param_hint="--time-zone"
        ) from error
    return name


def _write(plan_: ChargingPlan, target: Path) -> None:
    import msgspec

    from plugcast.adapters.files import write_atomic

    write_atomic(target, msgspec.json.format(msgspec.json.encode(plan_), indent=2) + b"\n")
    err().print(f"Wrote the plan of {len(plan_.vehicles)} cars to {target}.", highlight=False, markup=False)


def _draw(report: PlanReport, target: Path) -> None:
    from plugcast.adapters.files import write_atomic
    from plugcast.services.plan_picture import picture_of

    write_atomic(target, picture_of(report.plan, report.problem, currency=report.prices.currency))
    err().print(f"Drew the plan to {target}.", highlight=False, markup=False)
