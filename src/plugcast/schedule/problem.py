"""A planning problem: the site's slots and the cars' needs as plain arrays, checked before anything is computed.

Every method (linear, whole currents, scenarios) reads the same arrays; none of them changes what a need is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from plugcast.domain.units import MAX_SITE_VALUE
from plugcast.errors import PlanInputError
from plugcast.schedule.arrays import ENERGY_TOL_KWH, POWER_TOL_KW, SLIVER, FloatArray, IntArray
from plugcast.schedule.window import Goals, SiteBattery, SiteWindow, site_window, window_notes

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ENERGY_TOL_KWH",
    "POWER_TOL_KW",
    "SLIVER",
    "Discharge",
    "FloatArray",
    "Goals",
    "IntArray",
    "PlanProblem",
    "SiteBattery",
    "SiteWindow",
    "Taper",
    "VehicleNeed",
    "build_problem",
    "must_serve_price",
    "site_window",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Discharge:
    """What a car gives back (V2G): an option of its owner, with its price."""

    max_power_kw: float
    available_kwh: float
    """May be taken below the charge that it has now; it must be back by departure."""
    efficiency: float = 0.9
    """Of what leaves the battery, this share arrives at the site."""
    wear_price_per_kwh: float = 0.05
    """Of each kWh given."""
    room_kwh: float | None = None
    """Until the battery is full; None: what is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taper:
    """How a filling battery slows: power falls in proportion to the energy still missing to ``full_kwh``."""

    full_kwh: float
    """Delivered from now on until nothing more goes in."""
    time_h: float
    """Missing energy over power: the time constant of the exponential end."""

    def most_kw(self, hours: float) -> float:
        """The highest mean power over the next ``hours``."""
        return float(self.full_kwh * -np.expm1(-hours / self.time_h) / hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleNeed:
    """What one car wants: ``energy_needed_kwh`` at the plug within ``[arrival_at, departure_at)``.

    ``value_per_kwh`` is what a kWh is worth to its owner: the plan leaves out what costs more. None, the usual case,
    means that the need is met wherever power, stay and limits allow, at any price.
    """

    session_id: str
    station_id: str
    arrival_at: datetime
    departure_at: datetime
    energy_needed_kwh: float
    max_power_kw: float
    value_per_kwh: float | None = None
    min_power_kw: float = 0.0
    """The least power above zero (6 A of IEC 61851); the methods of ``integral`` keep to it."""
    pilots_kw: tuple[float, ...] = ()
    """The only powers above zero that the EVSE can offer; empty: any up to the maximum."""
    early_departures: tuple[tuple[datetime, float], ...] = ()
    """When it may leave before ``departure_at``, and how probable each is; energy missing then is priced by it."""
    discharge: Discharge | None = None
    taper: Taper | None = None


@dataclass(frozen=True, kw_only=True)
class PlanProblem:
    """V cars over a window of T slots; arrays have shape [V], ordered by arrival, then session.

    A car may charge in slots ``[first_slot, last_slot)``; it is there for ``first_share`` of the first of them and
    ``last_share`` of the last (the same number where both are one slot), and for the whole of those between.
    """

    window: SiteWindow
    needs: tuple[VehicleNeed, ...]
    session_ids: tuple[str, ...]
    first_slot: IntArray
    last_slot: IntArray
    first_share: FloatArray
    last_share: FloatArray
    energy_needed_kwh: FloatArray
    max_power_kw: FloatArray
    shortfall_price_per_kwh: FloatArray
    """What a kWh not delivered costs the objective (never the bill)."""
    quantum_kw: FloatArray
    """The least power above zero; 0 where any is possible."""
    notes: tuple[str, ...] = ()

    @property
    def vehicles(self) -> int:
        """V."""
        return len(self.session_ids)

    @cached_property
    def station_ids(self) -> tuple[str, ...]:
        """[V] where each car is."""
        return tuple(need.station_id for need in self.needs)

    @cached_property
    def arrival_at(self) -> tuple[datetime, ...]:
        """[V] in UTC."""
        return tuple(need.arrival_at.astimezone(UTC) for need in self.needs)

    @cached_property
    def departure_at(self) -> tuple[datetime, ...]:
        """[V] in UTC."""
        return tuple(need.departure_at.astimezone(UTC) for need in self.needs)

    @cached_property
    def levels_kw(self) -> dict[tuple[float, ...], IntArray]:
        """Cars by the finite sets of powers that they can draw; those without such a set are in none."""
        groups: dict[tuple[float, ...], list[int]] = {}
        for car, need in enumerate(self.needs):
            if need.pilots_kw:
                # a car offered more than it can take takes what it can
                levels = sorted({min(level, need.max_power_kw) for level in need.pilots_kw} - {0.0})
                groups.setdefault(tuple(levels), []).append(car)
        return {levels: np.array(cars, dtype=np.int64) for levels, cars in groups.items()}

    def availability(self) -> FloatArray:
        """[V, T] The share of each slot in which each car is there, 0 to 1."""
        slot = np.arange(self.window.slots)
        share = ((slot >= self.first_slot[:, None]) & (slot < self.last_slot[:, None])).astype(np.float64)
        here = np.flatnonzero(self.last_slot > self.first_slot)
        share[here, self.first_slot[here]] = self.first_share[here]
        share[here, self.last_slot[here] - 1] = self.last_share[here]
        return share

    def stay_limit_kwh(self) -> FloatArray:
        """[V] What each car could take in its stay at full power if nothing else were there."""
        slots = self.last_slot - self.first_slot
        whole = np.maximum(slots - 2, 0)
        ends = np.where(slots > 1, self.first_share + self.last_share, np.where(slots == 1, self.first_share, 0.0))
        most: FloatArray = self.max_power_kw * (whole + ends) * self.window.slot_h
        return most

    def position(self, at: datetime) -> float:
        """An instant in slots since the start, cut to the window."""
        window = self.window
        return float(_snap(np.array((at - window.start_at).total_seconds() / 60.0 / window.slot_min), window.slots))


def build_problem(needs: Sequence[VehicleNeed], window: SiteWindow) -> PlanProblem:
    """Lay the needs over the window's slots; the order of ``needs`` has no influence.

    A car outside the window or without time to charge is kept: its shortfall is named by the plan.

    Raises:
        PlanInputError: A need has a NaN, a negative number, a naive instant or a departure before its arrival,
            or a session appears twice.
    """
    for need in needs:
        _check_need(need)
    ordered = tuple(sorted(needs, key=lambda need: (need.arrival_at, need.session_id)))
    ids = tuple(need.session_id for need in ordered)
    if len(set(ids)) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise PlanInputError(f"Session {twice!r} appears twice among the needs. Give each car one need.")
    slot_s = window.slot_min * 60.0
    origin = window.start_at.timestamp()
    # in slots since the start, cut to the window and snapped to the slot's border within a sliver
    begin = _snap(_floats([(need.arrival_at.timestamp() - origin) / slot_s for need in ordered]), window.slots)
    end = _snap(_floats([(need.departure_at.timestamp() - origin) / slot_s for need in ordered]), window.slots)
    end = np.maximum(begin, end)
    first = np.minimum(np.floor(begin), window.slots).astype(np.int64)
    last = np.where(end > begin, np.ceil(end), first).astype(np.int64)
    price = must_serve_price(window)
    return PlanProblem(
        window=window,
        needs=ordered,
        session_ids=ids,
        first_slot=first,
        last_slot=last,
        first_share=np.minimum(first + 1, end) - begin,
        last_share=end - np.maximum(last - 1, begin),
        energy_needed_kwh=_floats([need.energy_needed_kwh for need in ordered]),
        max_power_kw=_floats([_most_kw(need) for need in ordered]),
        shortfall_price_per_kwh=_floats(
            [price if need.value_per_kwh is None else need.value_per_kwh for need in ordered]
        ),
        quantum_kw=_floats([_least_kw(need) for need in ordered]),
        notes=window_notes(window),
    )


def must_serve_price(window: SiteWindow) -> float:
    """A price of shortfall that no tariff outbids: ten times the dearest kWh, its whole demand charge included.

    One kWh more in one slot raises the peak by at most ``1 / slot_h`` kW.
    """
    dearest = float(max(np.abs(window.steering_price_per_kwh).max(), np.abs(window.feed_in_per_kwh).max()))
    hours = window.slot_h * window.slots
    goals = window.goals
    dearest += max(window.demand_charge_per_kw, window.peak_price_per_kw) / window.slot_h
    dearest += window.waiting_price_per_kwh_h * hours + goals.rise_price_per_kw / window.slot_h + goals.start_price
    return 10.0 * dearest if dearest > 0 else 1.0


def _floats(values: list[float]) -> FloatArray:
    return np.array(values, dtype=np.float64)


def _most_kw(need: VehicleNeed) -> float:
    return min(need.max_power_kw, max(need.pilots_kw)) if need.pilots_kw else need.max_power_kw


def _least_kw(need: VehicleNeed) -> float:
    least = min((level for level in need.pilots_kw if level > 0), default=need.min_power_kw)
    return min(least, need.max_power_kw)


def _snap(position: FloatArray, slots: int) -> FloatArray:
    near = np.round(position)
    snapped = np.where(np.abs(position - near) < SLIVER, near, position)
    return np.clip(snapped, 0.0, float(slots))


def _check_need(need: VehicleNeed) -> None:
    if need.arrival_at.tzinfo is None or need.departure_at.tzinfo is None:
        raise PlanInputError(f"{_where(need)}: arrival and departure need a time zone, like 2019-03-04T08:30:00-08:00.")
    if need.departure_at <= need.arrival_at:
        raise PlanInputError(
            f"{_where(need)} departs at {need.departure_at.isoformat()}, not after its arrival at "
            f"{need.arrival_at.isoformat()}. Correct one of them."
        )
    _check_numbers(need, ("energy_needed_kwh", "max_power_kw", "value_per_kwh", "min_power_kw"))
    if need.energy_needed_kwh > MAX_SITE_VALUE:
        raise PlanInputError(
            f"{_where(need)}: energy_needed_kwh is {need.energy_needed_kwh:g}; wanted at most {MAX_SITE_VALUE:g}."
        )
    if need.pilots_kw and not all(isfinite(level) and level >= 0 for level in need.pilots_kw):
        raise PlanInputError(f"{_where(need)}: pilots_kw {need.pilots_kw}; wanted finite numbers, none negative.")
    if need.early_departures:
        _check_early(need)
    for extra in (need.discharge, need.taper):
        if extra is not None:
            _check_numbers(extra, tuple(one.name for one in fields(extra)), _where(need))
    if need.discharge is not None and not 0 < need.discharge.efficiency <= 1:
        raise PlanInputError(f"{_where(need)}: efficiency is {need.discharge.efficiency}; wanted above 0, up to 1.")
    if need.taper is not None and need.taper.time_h <= 0:
        raise PlanInputError(f"{_where(need)}: a taper of {need.taper.time_h} h; wanted a positive time.")


def _check_early(need: VehicleNeed) -> None:
    if any(at.tzinfo is None for at, _ in need.early_departures):
        raise PlanInputError(f"{_where(need)}: early departures need a time zone, like 2019-03-04T08:30:00-08:00.")
    total = sum(probability for _, probability in need.early_departures)
    if not (all(probability >= 0 for _, probability in need.early_departures) and total <= 1 + POWER_TOL_KW):
        raise PlanInputError(
            f"{_where(need)}: the probabilities of early departures add up to {total:g}; wanted 0 to 1."
        )


def _where(need: VehicleNeed) -> str:
    return f"Session {need.session_id!r}"


def _check_numbers(of: object, names: tuple[str, ...], where: str = "") -> None:
    for name in names:
        value = getattr(of, name)
        if value is not None and not (isfinite(value) and value >= 0):
            said = where or _where(of)  # type: ignore[arg-type]
            raise PlanInputError(f"{said}: {name} is {value}; wanted a finite number that is not negative.")
