"""``plugcast plan``: when each car charges, why, and what that saves beside charging on arrival."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from plugcast.cli.inputs import JsonOption  # noqa: TC001 - typer reads it at run time
from plugcast.cli.output import emit_json, err
from plugcast.cli.plan_report import Prices, Report, document, show
from plugcast.errors import NoUsableRowsError
from plugcast.handwritten import read_csv_rows

if TYPE_CHECKING:
    from plugcast.adapters.series import Series
    from plugcast.adapters.site_file import SiteFile
    from plugcast.domain.plan import ChargingPlan
    from plugcast.schedule.needs import NeedsRead
    from plugcast.schedule.problem import FloatArray, SiteWindow, VehicleNeed

LONGEST_H: Final = 168.0
"""Hours of a plan at most: a week."""


class PolicyName(StrEnum):
    """The choices of ``--policy``."""

    LP = "lp"
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
    start: Annotated[str | None, typer.Option(help="ISO 8601. [default: the first arrival]")] = None,
    hours: Annotated[
        float | None, typer.Option(min=0.25, max=LONGEST_H, help="Length. [default: to the last departure]")
    ] = None,
    pv: Annotated[Path | None, typer.Option(help="CSV of expected PV: timestamp,pv_kw.")] = None,
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
    wish = _Wish(
        site=site,
        tariff=tariff,
        limit_kw=limit,
        hours=hours,
        pv=pv,
        fill=fill,
        time_zone=time_zone,
        start=start,
        max_power_kw=max_power,
        time_limit_s=time_limit,
    )
    report = _run(sessions, wish, policy.value)
    if target is not None:
        _write(report.plan, target)
    if as_json:
        emit_json(document(report))
    else:
        show(report)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What was asked for."""

    site: Path | None
    tariff: Path | None
    limit_kw: float | None
    hours: float | None
    pv: Path | None
    fill: bool
    time_zone: str | None
    start: str | None
    max_power_kw: float | None
    time_limit_s: float


def _run(sessions: Path, wish: _Wish, policy: str) -> Report:
    import msgspec

    from plugcast.adapters.site_file import read_site
    from plugcast.schedule.heuristics import uncontrolled, violations
    from plugcast.schedule.mpc import Policy, decide
    from plugcast.schedule.outcome import bill_of
    from plugcast.schedule.problem import build_problem

    where = read_site(wish.site) if wish.site is not None else None
    prices = _prices(wish, where)
    zone = wish.time_zone or (where.site.time_zone if where else prices.time_zone)
    stations = {station.station_id: station.max_power_kw for station in where.site.stations} if where else {}
    read = _read_needs(sessions, _known_zone(zone), wish.max_power_kw, stations)
    begin, slots = _span(read.needs, wish, zone)
    window, notes = _window(begin, slots, prices=prices, wish=wish, where=where, zone=zone)
    cars = [need for need in read.needs if need.arrival_at < window.end_at and need.departure_at > begin]
    if not cars:
        raise NoUsableRowsError(
            f"{sessions}: none of its {len(read.needs)} cars is there between {begin.isoformat()} and "
            f"{window.end_at.isoformat()}. Give another --start or --hours."
        )
    problem = build_problem(cars, window)
    decision = decide(problem, Policy(policy), time_limit_s=wish.time_limit_s)
    plan_ = decision.as_plan(where.site.site_id if where else "site", begin)
    free = uncontrolled(problem)
    return Report(
        plan=msgspec.structs.replace(plan_, notes=(*plan_.notes, *notes)),
        problem=problem,
        uncontrolled=bill_of(problem, free),
        uncontrolled_kwh=float(free.sum()) * window.slot_h,
        over=violations(problem, free),
        read=read,
        left_out=len(read.needs) - len(cars),
        prices=prices,
        time_zone=zone,
    )


def _prices(wish: _Wish, where: SiteFile | None) -> Prices:
    import msgspec

    from plugcast.adapters.prices import JsonTariff, builtin_tariff
    from plugcast.adapters.series import read_series

    zone = wish.time_zone or (where.site.time_zone if where else None)
    path = wish.tariff or (where.tariff_path if where else None)
    if path is None:
        example = builtin_tariff()
        # the example's hours are meant as local ones, wherever the site is
        example = msgspec.structs.replace(example, time_zone=zone or example.time_zone)
        return Prices(
            name=f"{example.name}, the built-in example",
            currency=example.currency,
            time_zone=example.time_zone,
            tariff=example,
        )
    if path.suffix.lower() == ".json":
        sheet = JsonTariff(path=path, time_zone=zone or "UTC").tariff()
        return Prices(name=sheet.name, currency=sheet.currency, time_zone=sheet.time_zone, tariff=sheet)
    series = read_series(path, time_zone=zone)
    return Prices(name=path.name, currency="", time_zone=zone or "UTC", series=series)


def _read_needs(path: Path, zone: str, max_power: float | None, stations: dict[str, float]) -> NeedsRead:
    from plugcast.schedule.needs import needs_from_rows

    rows = read_csv_rows(path, what="Needs")
    read = needs_from_rows(
        rows[0], rows[1:], source=path.name, time_zone=zone, max_power_kw=max_power, station_kw=stations
    )
    if not read.needs:
        first = f" The first: row {read.rejected[0].row}: {read.rejected[0].detail}." if read.rejected else ""
        raise NoUsableRowsError(f"{path} has no usable car; {len(read.rejected)} rows were rejected.{first}")
    return read


def _span(needs: tuple[VehicleNeed, ...], wish: _Wish, zone: str) -> tuple[datetime, int]:
    """The start, at a quarter of an hour unless given, and the number of slots."""
    from plugcast.domain.units import SLOT_MIN

    start, hours = wish.start, wish.hours
    if start is None:
        first = min(need.arrival_at for need in needs)
        begin = first - timedelta(minutes=first.minute % SLOT_MIN, seconds=first.second, microseconds=first.microsecond)
    else:
        try:
            begin = datetime.fromisoformat(start)
        except ValueError as error:
            raise typer.BadParameter(
                f"wanted a time like 2019-03-04T06:00, found {start!r}", param_hint="--start"
            ) from error
        begin = (begin if begin.tzinfo is not None else begin.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    if hours is None:
        last = max(need.departure_at for need in needs)
        hours = min(max((last - begin).total_seconds() / 3600.0, 0.25), LONGEST_H)
    return begin, math.ceil(hours * 60.0 / SLOT_MIN - 1e-9)


def _window(
    begin: datetime, slots: int, *, prices: Prices, wish: _Wish, where: SiteFile | None, zone: str
) -> tuple[SiteWindow, tuple[str, ...]]:
    """The site over the slots, and what there is to say about it."""
    from plugcast.adapters.series import POWER_COLUMNS, read_series
    from plugcast.domain.units import SLOT_MIN
    from plugcast.schedule.problem import site_window
    from plugcast.schedule.tariff import prices_for

    notes: list[str] = []
    charge, feed_in = 0.0, 0.0
    price: FloatArray
    if prices.tariff is not None:
        price, charge = prices_for(prices.tariff, begin, slots, SLOT_MIN)
        feed_in = prices.tariff.feed_in_per_kwh
        if wish.tariff is None and (where is None or where.tariff_path is None):
            notes.append(f"Prices: {prices.name}. Give your own with --tariff FILE.")
    else:
        assert prices.series is not None  # noqa: S101 - one of the two is always given
        price, gaps = prices.series.over(begin, slots, SLOT_MIN, fill=wish.fill)
        notes += gaps
        notes += _refused(prices.series)
    pv: FloatArray | float = 0.0
    if wish.pv is not None:
        sun = read_series(wish.pv, columns=POWER_COLUMNS, time_zone=zone)
        pv, gaps = sun.over(begin, slots, SLOT_MIN, fill=wish.fill)
        notes += gaps
        notes += _refused(sun)
    limit_kw = wish.limit_kw if wish.limit_kw is not None else (where.site.limit_kw if where else math.inf)
    if math.isinf(limit_kw):
        notes.append("No limit was given: the site may draw any power. Give one with --limit KW or --site FILE.")
    if where is not None and where.feed_in_per_kwh is not None:
        feed_in = where.feed_in_per_kwh
    window = site_window(
        start_at=begin,
        price_per_kwh=price,
        limit_kw=limit_kw,
        base_load_kw=where.base_load_kw if where else 0.0,
        pv_kw=pv,
        feed_in_per_kwh=feed_in,
        demand_charge_per_kw=charge,
        time_zone=zone,
    )
    return window, tuple(notes)


def _refused(series: Series) -> list[str]:
    if not series.rejected:
        return []
    first = series.rejected[0]
    return [f"{series.source}: {len(series.rejected)} rows were rejected; row {first.row}: {first.detail}."]


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
