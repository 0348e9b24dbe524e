"""A plan from files: needs, site, prices and sun read, laid over slots, solved, and set beside charging on arrival."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from plugcast.adapters.prices import JsonTariff, builtin_tariff
from plugcast.adapters.series import POWER_COLUMNS, read_series
from plugcast.adapters.site_file import read_site
from plugcast.domain.units import SLOT_MIN
from plugcast.domain.zones import meanings
from plugcast.errors import NoUsableRowsError, PlanInputError
from plugcast.handwritten import read_csv_rows
from plugcast.schedule.heuristics import uncontrolled, violations
from plugcast.schedule.mpc import Policy, decide
from plugcast.schedule.needs import NeedsRead, needs_from_rows
from plugcast.schedule.network import nested_circuits, three_phase, together
from plugcast.schedule.outcome import bill_of
from plugcast.schedule.problem import PlanProblem, SiteWindow, VehicleNeed, build_problem, site_window
from plugcast.schedule.tariff import prices_for
from plugcast.schedule.window import SiteBattery
from plugcast.simulate.pv import clear_sky_kw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plugcast.adapters.series import Series
    from plugcast.adapters.site_file import SiteFile
    from plugcast.domain.plan import ChargingPlan
    from plugcast.domain.site import Site, Tariff
    from plugcast.schedule.arrays import FloatArray
    from plugcast.schedule.cost import Cost
    from plugcast.schedule.network import Network

LONGEST_H: Final = 168.0
"""Hours of a plan at most: a week."""
FIRST_YEAR, LAST_YEAR = 2005, 2100
"""Of plans, as of the times of rows."""
MOST_NAMED: Final = 5
"""Stations that a note names before it counts the others."""
LATITUDE, LONGITUDE = 34.1, -118.1
"""Of the modelled sun, as in the demo."""
HALF_ZONE_DEG: Final = 7.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChange:
    """What if energy cost otherwise: the price times ``factor`` plus ``extra_per_kwh``."""

    factor: float = 1.0
    extra_per_kwh: float = 0.0

    def of(self, price: FloatArray) -> FloatArray:
        """[T] changed."""
        return price * self.factor + self.extra_per_kwh


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What is to be planned; None takes the site's, or a default."""

    sessions: Path
    site: Path | None = None
    tariff: Path | None = None
    limit_kw: float | None = None
    price: PriceChange | None = None
    start_at: datetime | None = None
    """Without a zone: local."""
    hours: float | None = None
    pv: Path | None = None
    pv_kw: float = 0.0
    """Of a modelled array under a clear sky, beside or instead of ``pv``."""
    fill: bool = False
    time_zone: str | None = None
    max_power_kw: float | None = None
    policy: Policy = Policy.LP
    time_limit_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """A tariff or a series, whichever was given."""

    name: str
    currency: str
    time_zone: str
    tariff: Tariff | None = None
    series: Series | None = None
    example: bool = False
    """The built-in one: nobody gave any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """The plan beside what would happen without one, and beside the site as it is where a what-if was asked."""

    plan: ChargingPlan
    problem: PlanProblem
    uncontrolled: Cost
    uncontrolled_kwh: float
    over: tuple[int, float]
    read: NeedsRead
    left_out: int
    prices: Prices
    time_zone: str
    as_it_is: ChargingPlan | None = None
    what_if: str = ""


def make_plan(request: PlanRequest) -> PlanReport:
    """Read, plan and compare.

    Raises:
        NoUsableRowsError: No car can be planned in these hours.
        PlanInputError: Numbers that no plan can be made from.
    """
    where = read_site(request.site) if request.site is not None else None
    prices = _prices(request, where)
    zone = request.time_zone or (where.site.time_zone if where else prices.time_zone)
    read = _read_needs(request, zone, where.site if where else None)
    begin, slots = _span(read.needs, request, zone)
    window, notes = _window(begin, slots, prices=prices, request=request, where=where, zone=zone)
    cars = [need for need in read.needs if need.arrival_at < window.end_at and need.departure_at > begin]
    if not cars:
        raise NoUsableRowsError(
            f"{request.sessions}: none of its {len(read.needs)} cars is there between {begin.isoformat()} and "
            f"{window.end_at.isoformat()}. Give another --start or --hours."
        )
    notes += _of_cars(cars, window, where.site if where else None)
    site_id = where.site.site_id if where else "site"
    problem = build_problem(cars, window)
    made = decide(problem, request.policy, time_limit_s=request.time_limit_s).as_plan(site_id, begin)
    free = uncontrolled(problem)
    what_if, plain = _as_it_is(request, where, prices, begin, slots, zone=zone)
    beside = None
    if plain is not None:
        beside = decide(build_problem(cars, plain), Policy.LP, time_limit_s=request.time_limit_s)
    return PlanReport(
        plan=msgspec.structs.replace(made, notes=(*made.notes, *notes)),
        problem=problem,
        uncontrolled=bill_of(problem, free),
        uncontrolled_kwh=float(free.sum()) * window.slot_h,
        over=violations(problem, free),
        read=read,
        left_out=len(read.needs) - len(cars),
        prices=prices,
        time_zone=zone,
        as_it_is=beside.as_plan(site_id, begin) if beside is not None else None,
        what_if=what_if,
    )


def _as_it_is(
    request: PlanRequest, where: SiteFile | None, prices: Prices, begin: datetime, slots: int, *, zone: str
) -> tuple[str, SiteWindow | None]:
    """What is asked otherwise than the site has it, in words, and the window without it."""
    asked = []
    if request.limit_kw is not None and where is not None:
        asked.append(f"a limit of {request.limit_kw:g} kW instead of {where.site.limit_kw:g}")
    if request.price is not None:
        change = request.price
        words = [f"{change.factor:g} times the price"] if change.factor not in {0.0, 1.0} else []
        words += [f"{change.extra_per_kwh:+g} a kWh"] if change.extra_per_kwh and change.factor else []
        asked.append(" ".join(words) or f"a price of {change.extra_per_kwh:g} a kWh")
    if request.policy not in {Policy.LP, Policy.WHOLE, Policy.EXACT}:
        asked.append(f"charging by {request.policy.value}")
    if not asked:
        return "", None
    limit = None if where is not None else request.limit_kw
    plain = replace(request, limit_kw=limit, price=None)
    return ", ".join(asked), _window(begin, slots, prices=prices, request=plain, where=where, zone=zone)[0]


def _prices(request: PlanRequest, where: SiteFile | None) -> Prices:
    zone = request.time_zone or (where.site.time_zone if where else None)
    path = request.tariff or (where.tariff_path if where else None)
    if path is None:
        example = builtin_tariff()
        # the example's hours are meant as local ones, wherever the site is
        example = msgspec.structs.replace(example, time_zone=zone or example.time_zone)
        return Prices(
            name=f"{example.name}, the built-in example",
            currency=example.currency,
            time_zone=example.time_zone,
            tariff=example,
            example=True,
        )
    if path.suffix.lower() == ".json":
        sheet = JsonTariff(path=path, time_zone=zone or "UTC").tariff()
        return Prices(name=sheet.name, currency=sheet.currency, time_zone=sheet.time_zone, tariff=sheet)
    series = read_series(path, time_zone=zone)
    return Prices(name=path.name, currency="", time_zone=zone or "UTC", series=series)


def _read_needs(request: PlanRequest, zone: str, site: Site | None) -> NeedsRead:
    path = request.sessions
    rows = read_csv_rows(path, what="Needs")
    stations = {station.station_id: station for station in site.stations} if site else {}
    read = needs_from_rows(
        rows[0],
        rows[1:],
        source=path.name,
        time_zone=zone,
        max_power_kw=request.max_power_kw,
        station_kw={name: station.max_power_kw for name, station in stations.items()},
    )
    if not read.needs:
        first = f" The first: row {read.rejected[0].row}: {read.rejected[0].detail}." if read.rejected else ""
        why = f"{len(read.rejected)} rows were rejected." if read.rejected else "it holds no row below its header."
        raise NoUsableRowsError(f"{path} has no usable car; {why}{first}")
    offers = {
        name: connector
        for name, station in stations.items()
        for evse in station.evses
        for connector in evse.connectors
        if connector.min_power_kw > 0 or connector.pilots_kw
    }
    equipped = tuple(
        replace(need, min_power_kw=offer.min_power_kw, pilots_kw=offer.pilots_kw)
        if (offer := offers.get(need.station_id))
        else need
        for need in read.needs
    )
    return replace(read, needs=equipped)


def _span(needs: tuple[VehicleNeed, ...], request: PlanRequest, zone: str) -> tuple[datetime, int]:
    """The start, at a quarter of an hour unless given, and the number of slots."""
    start, hours = request.start_at, request.hours
    if start is None:
        first = min(need.arrival_at for need in needs)
        begin = first - timedelta(minutes=first.minute % SLOT_MIN, seconds=first.second, microseconds=first.microsecond)
    else:
        if not FIRST_YEAR <= start.year <= LAST_YEAR:
            raise PlanInputError(f"--start {start.isoformat()}: wanted a time from {FIRST_YEAR} to {LAST_YEAR}.")
        begin = start.astimezone(UTC) if start.tzinfo is not None else _local_start(start, zone)
    if hours is None:
        last = max(need.departure_at for need in needs)
        hours = min(max((last - begin).total_seconds() / 3600.0, 0.25), LONGEST_H)
    return begin, math.ceil(hours * 60.0 / SLOT_MIN - 1e-9)


def _local_start(start: datetime, zone: str) -> datetime:
    meant = meanings(start, ZoneInfo(zone))
    if len(meant) == 1:
        return meant[0]
    why = "comes twice" if meant else "does not exist, for the clock skips it"
    raise PlanInputError(
        f"--start {start.isoformat()} {why} in {zone}. Write its offset, like {start.isoformat()}+01:00."
    )


def _window(
    begin: datetime, slots: int, *, prices: Prices, request: PlanRequest, where: SiteFile | None, zone: str
) -> tuple[SiteWindow, tuple[str, ...]]:
    """The site over the slots, and what there is to say about it."""
    notes: list[str] = []
    price, charge, feed_in = _energy_price(begin, slots, prices, fill=request.fill, notes=notes)
    if prices.example:
        notes.insert(0, f"Prices: {prices.name}. Give your own with --tariff FILE.")
    limit_kw = request.limit_kw if request.limit_kw is not None else (where.site.limit_kw if where else math.inf)
    if math.isinf(limit_kw):
        notes.append("No limit was given: the site may draw any power. Give one with --limit KW or --site FILE.")
    if where is not None and where.feed_in_per_kwh is not None:
        feed_in = where.feed_in_per_kwh
    window = site_window(
        start_at=begin,
        price_per_kwh=price if request.price is None else request.price.of(price),
        limit_kw=limit_kw,
        base_load_kw=where.base_load_kw if where else 0.0,
        pv_kw=_sun(begin, slots, request, zone, notes),
        feed_in_per_kwh=feed_in,
        demand_charge_per_kw=charge,
        battery=_battery(where.site) if where else None,
        network=_network(where.site) if where else None,
        time_zone=zone,
    )
    return window, tuple(notes)


def _energy_price(
    begin: datetime, slots: int, prices: Prices, *, fill: bool, notes: list[str]
) -> tuple[FloatArray, float, float]:
    """Price of each slot, demand charge and feed-in; adds to the notes."""
    if prices.tariff is not None:
        price, charge = prices_for(prices.tariff, begin, slots, SLOT_MIN)
        return price, charge, prices.tariff.feed_in_per_kwh
    if prices.series is None:
        raise PlanInputError("There is neither a tariff nor a price series. Give one with --tariff FILE.")
    price, gaps = prices.series.over(begin, slots, SLOT_MIN, fill=fill)
    notes += [*gaps, *_refused(prices.series)]
    return price, 0.0, 0.0


def _sun(begin: datetime, slots: int, request: PlanRequest, zone: str, notes: list[str]) -> FloatArray | float:
    pv: FloatArray | float = 0.0
    if request.pv is not None:
        sun = read_series(request.pv, columns=POWER_COLUMNS, time_zone=zone)
        pv, gaps = sun.over(begin, slots, SLOT_MIN, fill=request.fill)
        notes += [*gaps, *_refused(sun)]
    if request.pv_kw > 0:
        at_us = int(begin.timestamp()) * 1_000_000 + np.arange(slots) * SLOT_MIN * 60_000_000
        east = _longitude(begin, zone)
        pv = pv + clear_sky_kw(at_us, peak_kw=request.pv_kw, latitude=LATITUDE, longitude=east)
        notes.append(
            f"PV: {request.pv_kw:g} kW under a modelled clear sky at latitude {LATITUDE:g}, longitude {east:g} by the "
            "time zone."
        )
    return pv


def _longitude(at: datetime, zone: str) -> float:
    """Degrees east of the meridian that the zone's standard time goes by, so that noon is at noon."""
    local = at.astimezone(ZoneInfo(zone))
    ahead = (local.utcoffset() or timedelta()) - (local.dst() or timedelta())
    meridian = 15.0 * ahead.total_seconds() / 3600.0
    return LONGITUDE if abs(meridian - LONGITUDE) < HALF_ZONE_DEG else meridian


def _battery(site: Site) -> SiteBattery | None:
    return SiteBattery(**msgspec.structs.asdict(site.storage)) if site.storage is not None else None


def _network(site: Site) -> Network | None:
    """Circuits and phases of the site file as one network."""
    parts = []
    if site.circuits:
        parts.append(nested_circuits(site.circuits, {one.station_id: one.circuit_id for one in site.stations}))
    if site.phases is not None and site.stations:
        parts.append(
            three_phase(
                {one.station_id: one.connection for one in site.stations},
                limit_a=site.phases.limit_a,
                voltage_v=site.phases.voltage_v,
                unbalance_limit_a=site.phases.unbalance_limit_a,
            )
        )
    return together(*parts) if parts else None


def _of_cars(cars: Sequence[VehicleNeed], window: SiteWindow, site: Site | None) -> tuple[str, ...]:
    """Notes on cars that circuits and phases do not hold, as the file does not list their stations, or that stay on."""
    notes = []
    wired = site is not None and bool(site.circuits or site.phases)
    known = {station.station_id for station in site.stations} if site is not None else set()
    unknown = sorted({car.station_id for car in cars} - known) if wired else []
    if unknown:
        more = len(unknown) - MOST_NAMED
        names = ", ".join(unknown[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        notes.append(
            f"Not among the site file's [[stations]], so on no circuit and no phase of it: {names}. The site's limit "
            "alone holds there; name them to hold the others too."
        )
    staying = sum(car.departure_at > window.end_at for car in cars)
    if staying:
        notes.append(
            f"The plan ends before {staying} of the cars leave; what such a car is short of then may be charged later."
        )
    return tuple(notes)


def _refused(series: Series) -> list[str]:
    if not series.rejected:
        return []
    first = series.rejected[0]
    return [f"{series.source}: {len(series.rejected)} rows were rejected; row {first.row}: {first.detail}."]
