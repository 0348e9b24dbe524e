"""A planning problem: the site's slots and the cars' needs as plain arrays, checked before anything is computed.

Later methods (minimum currents, scenarios, three phases) read the same arrays; none of them changes what a need is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING, Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from plugcast.domain.units import SLOT_MIN
from plugcast.errors import PlanInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

SLIVER: Final = 1e-4
"""A share of a slot (0.09 s of 15 min) below which a car counts as absent: nothing can be charged in it."""
ENERGY_TOL_KWH: Final = 1e-3
"""A watt-hour: what is missing below it is rounding, not a shortfall."""
POWER_TOL_KW: Final = 1e-6


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteWindow:
    """The site over T equal slots from ``start_at`` on; every array has shape [T]. Build it with ``site_window``."""

    start_at: datetime
    slot_min: int
    price_per_kwh: FloatArray
    feed_in_per_kwh: FloatArray
    limit_kw: FloatArray
    """Most that may be drawn from the grid, cars and base load together; infinity where there is none."""
    base_load_kw: FloatArray
    pv_kw: FloatArray
    demand_charge_per_kw: float = 0.0
    """Price of the highest slot mean, of this plan and ``peak_so_far_kw`` together."""
    peak_so_far_kw: float = 0.0
    waiting_price_per_kwh_h: float = 0.0
    """Appetite for risk: what charging an hour earlier is worth. Steers the plan, is never part of its cost."""
    time_zone: str = "UTC"
    """In which explanations name times."""

    def __post_init__(self) -> None:
        """Refuse numbers that no plan can be made from."""
        _check_window(self)

    @property
    def slots(self) -> int:
        """T."""
        return len(self.price_per_kwh)

    @property
    def slot_h(self) -> float:
        """Hours of a slot: a mean power of 1 kW over one slot is this many kWh."""
        return self.slot_min / 60.0

    @property
    def end_at(self) -> datetime:
        """The end of the last slot."""
        return self.start_at + timedelta(minutes=self.slot_min * self.slots)

    @property
    def headroom_kw(self) -> FloatArray:
        """[T] Power that cars may draw together; 0 where the base load alone takes the limit."""
        return np.maximum(self.limit_kw - self.base_load_kw + self.pv_kw, 0.0)

    def part(self, first: int, slots: int) -> SiteWindow:
        """Slots ``[first, first + slots)`` as a window of their own, cut at this window's end."""
        cut = slice(first, min(first + slots, self.slots))
        return SiteWindow(
            start_at=self.start_at + timedelta(minutes=self.slot_min * first),
            slot_min=self.slot_min,
            price_per_kwh=self.price_per_kwh[cut],
            feed_in_per_kwh=self.feed_in_per_kwh[cut],
            limit_kw=self.limit_kw[cut],
            base_load_kw=self.base_load_kw[cut],
            pv_kw=self.pv_kw[cut],
            demand_charge_per_kw=self.demand_charge_per_kw,
            peak_so_far_kw=self.peak_so_far_kw,
            waiting_price_per_kwh_h=self.waiting_price_per_kwh_h,
            time_zone=self.time_zone,
        )


def site_window(
    *,
    start_at: datetime,
    price_per_kwh: npt.ArrayLike,
    limit_kw: npt.ArrayLike,
    slot_min: int = SLOT_MIN,
    base_load_kw: npt.ArrayLike = 0.0,
    pv_kw: npt.ArrayLike = 0.0,
    feed_in_per_kwh: npt.ArrayLike = 0.0,
    demand_charge_per_kw: float = 0.0,
    peak_so_far_kw: float = 0.0,
    waiting_price_per_kwh_h: float = 0.0,
    time_zone: str = "UTC",
) -> SiteWindow:
    """A window with one slot a price; single numbers hold in every slot.

    Raises:
        PlanInputError: A number is NaN or out of its range, or lengths differ; the message names it.
    """
    price = np.atleast_1d(np.asarray(price_per_kwh, dtype=np.float64))
    return SiteWindow(
        start_at=start_at.astimezone(UTC) if start_at.tzinfo is not None else start_at,
        slot_min=slot_min,
        price_per_kwh=_row(price, price.size, "price_per_kwh"),
        feed_in_per_kwh=_row(feed_in_per_kwh, price.size, "feed_in_per_kwh"),
        limit_kw=_row(limit_kw, price.size, "limit_kw"),
        base_load_kw=_row(base_load_kw, price.size, "base_load_kw"),
        pv_kw=_row(pv_kw, price.size, "pv_kw"),
        demand_charge_per_kw=float(demand_charge_per_kw),
        peak_so_far_kw=float(peak_so_far_kw),
        waiting_price_per_kwh_h=float(waiting_price_per_kwh_h),
        time_zone=time_zone,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanProblem:
    """V cars over a window of T slots; arrays have shape [V], ordered by arrival, then session.

    A car may charge in slots ``[first_slot, last_slot)``; it is there for ``first_share`` of the first of them and
    ``last_share`` of the last (the same number where both are one slot), and for the whole of those between.
    """

    window: SiteWindow
    session_ids: tuple[str, ...]
    station_ids: tuple[str, ...]
    arrival_at: tuple[datetime, ...]
    departure_at: tuple[datetime, ...]
    first_slot: IntArray
    last_slot: IntArray
    first_share: FloatArray
    last_share: FloatArray
    energy_needed_kwh: FloatArray
    max_power_kw: FloatArray
    shortfall_price_per_kwh: FloatArray
    """What a kWh not delivered costs the objective (never the bill)."""
    notes: tuple[str, ...] = ()

    @property
    def vehicles(self) -> int:
        """V."""
        return len(self.session_ids)

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


def build_problem(needs: Sequence[VehicleNeed], window: SiteWindow) -> PlanProblem:
    """Lay the needs over the window's slots; the order of ``needs`` has no influence.

    A car outside the window or without time to charge is kept: its shortfall is named by the plan.

    Raises:
        PlanInputError: A need has a NaN, a negative number, a naive instant or a departure before its arrival,
            or a session appears twice.
    """
    for need in needs:
        _check_need(need)
    ordered = sorted(needs, key=lambda need: (need.arrival_at, need.session_id))
    ids = tuple(need.session_id for need in ordered)
    if len(set(ids)) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise PlanInputError(f"Session {twice!r} appears twice among the needs. Give each car one need.")
    slot_s = window.slot_min * 60.0
    origin = window.start_at.timestamp()
    # in slots since the start, cut to the window and snapped to the slot's border within a sliver
    begin = _snap(np.array([(need.arrival_at.timestamp() - origin) / slot_s for need in ordered]), window.slots)
    end = _snap(np.array([(need.departure_at.timestamp() - origin) / slot_s for need in ordered]), window.slots)
    end = np.maximum(begin, end)
    first = np.minimum(np.floor(begin), window.slots).astype(np.int64)
    last = np.where(end > begin, np.ceil(end), first).astype(np.int64)
    price = must_serve_price(window)
    return PlanProblem(
        window=window,
        session_ids=ids,
        station_ids=tuple(need.station_id for need in ordered),
        arrival_at=tuple(need.arrival_at.astimezone(UTC) for need in ordered),
        departure_at=tuple(need.departure_at.astimezone(UTC) for need in ordered),
        first_slot=first,
        last_slot=last,
        first_share=np.minimum(first + 1, end) - begin,
        last_share=end - np.maximum(last - 1, begin),
        energy_needed_kwh=np.array([need.energy_needed_kwh for need in ordered], dtype=np.float64),
        max_power_kw=np.array([need.max_power_kw for need in ordered], dtype=np.float64),
        shortfall_price_per_kwh=np.array(
            [price if need.value_per_kwh is None else need.value_per_kwh for need in ordered], dtype=np.float64
        ),
        notes=_window_notes(window),
    )


def must_serve_price(window: SiteWindow) -> float:
    """A price of shortfall that no tariff outbids: ten times the dearest kWh, its whole demand charge included.

    One kWh more in one slot raises the peak by at most ``1 / slot_h`` kW.
    """
    dearest = float(max(np.abs(window.price_per_kwh).max(), np.abs(window.feed_in_per_kwh).max()))
    hours = window.slot_h * window.slots
    dearest += window.demand_charge_per_kw / window.slot_h + window.waiting_price_per_kwh_h * hours
    return 10.0 * dearest if dearest > 0 else 1.0


def _row(value: npt.ArrayLike, slots: int, name: str) -> FloatArray:
    found = np.asarray(value, dtype=np.float64)
    if found.ndim > 1 or (found.ndim == 1 and found.size not in (1, slots)):
        raise PlanInputError(f"{name} has shape {found.shape}; wanted one number or {slots}, one for each price.")
    row = np.broadcast_to(found, (slots,)).copy()
    row.setflags(write=False)
    return row


def _snap(position: FloatArray, slots: int) -> FloatArray:
    near = np.round(position)
    snapped = np.where(np.abs(position - near) < SLIVER, near, position)
    return np.clip(snapped, 0.0, float(slots))


def _check_window(window: SiteWindow) -> None:
    if window.start_at.tzinfo is None:
        raise PlanInputError("The plan's start has no time zone. Give an instant like 2019-03-04T06:00:00-08:00.")
    if window.slots == 0:
        raise PlanInputError("The plan has no slots: give a price for at least one.")
    if window.slot_min <= 0:
        raise PlanInputError(f"Slots of {window.slot_min} minutes; wanted a positive number.")
    try:
        ZoneInfo(window.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise PlanInputError(f"{window.time_zone!r} is not a time zone; write one like 'Europe/Oslo'.") from error
    for name in ("price_per_kwh", "feed_in_per_kwh", "base_load_kw", "pv_kw"):
        _check_row(window, name, np.isfinite(getattr(window, name)), "a finite number")
    _check_row(window, "limit_kw", window.limit_kw >= 0, "a number that is not negative")  # NaN >= 0 is false
    _check_row(window, "pv_kw", window.pv_kw >= 0, "a number that is not negative")
    for name in ("demand_charge_per_kw", "peak_so_far_kw", "waiting_price_per_kwh_h"):
        value = getattr(window, name)
        if not (isfinite(value) and value >= 0):
            raise PlanInputError(f"{name} is {value}; wanted a finite number that is not negative.")


def _check_row(window: SiteWindow, name: str, good: npt.NDArray[np.bool_], wanted: str) -> None:
    row: FloatArray = getattr(window, name)
    if row.shape != (window.slots,):
        raise PlanInputError(f"{name} has shape {row.shape}; wanted ({window.slots},), one for each price.")
    bad = np.flatnonzero(~good)
    if bad.size:
        at = window.start_at + timedelta(minutes=window.slot_min * int(bad[0]))
        raise PlanInputError(
            f"{name} is {row[bad[0]]} in the slot of {at.isoformat()} ({bad.size} of {window.slots} slots); "
            f"wanted {wanted}. Fill the gap or plan a window that has none."
        )


def _check_need(need: VehicleNeed) -> None:
    where = f"Session {need.session_id!r}"
    if need.arrival_at.tzinfo is None or need.departure_at.tzinfo is None:
        raise PlanInputError(f"{where}: arrival and departure need a time zone, like 2019-03-04T08:30:00-08:00.")
    if need.departure_at <= need.arrival_at:
        raise PlanInputError(
            f"{where} departs at {need.departure_at.isoformat()}, not after its arrival at "
            f"{need.arrival_at.isoformat()}. Correct one of them."
        )
    for name in ("energy_needed_kwh", "max_power_kw", "value_per_kwh"):
        value = getattr(need, name)
        if value is not None and not (isfinite(value) and value >= 0):
            raise PlanInputError(f"{where}: {name} is {value}; wanted a finite number that is not negative.")


def _window_notes(window: SiteWindow) -> tuple[str, ...]:
    notes = []
    over = np.flatnonzero(window.base_load_kw - window.pv_kw > window.limit_kw + POWER_TOL_KW)
    if over.size:
        worst = float((window.base_load_kw - window.pv_kw - window.limit_kw)[over].max())
        notes.append(
            f"The base load alone exceeds the limit in {over.size} of {window.slots} slots, by up to {worst:.1f} kW; "
            "no car charges then."
        )
    surplus = window.pv_kw > window.base_load_kw
    if np.any(surplus & (window.feed_in_per_kwh > window.price_per_kwh)):
        notes.append(
            "Feed-in pays more than energy costs in some slots; there the plan weighs both as one price in between, "
            "which may miss the very best plan. Its cost counts each in full."
        )
    return tuple(notes)
