"""The site over a span of equal slots: prices, limits, sun, battery, wires, and what each soft goal is worth."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from plugcast.domain.units import MAX_SITE_VALUE, SLOT_MIN
from plugcast.errors import PlanInputError
from plugcast.schedule.arrays import POWER_TOL_KW

if TYPE_CHECKING:
    import numpy.typing as npt

    from plugcast.schedule.arrays import BoolArray, FloatArray
    from plugcast.schedule.network import Network

LONGEST_SLOT_MIN: Final = 1440
YEARS: Final = (1900, 2200)
"""In which plans start: wider than those of records, for simulations begin at an epoch of their own."""
ROWS: Final = ("price_per_kwh", "feed_in_per_kwh", "limit_kw", "base_load_kw", "pv_kw", "carbon_kg_per_kwh")
"""The fields of a window with one number a slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """Soft goals, each with its price in the tariff's currency; 0 leaves it out. They steer a plan, never its bill."""

    rise_price_per_kw: float = 0.0
    """Of each kW by which a car's power rises from one slot to the next: smooth power has few rises."""
    start_price: float = 0.0
    """Of each time that a car begins to charge. The LP weighs it by the height of the rise; whole starts are counted
    by the exact method of ``integral``."""
    fairness_price_per_kwh: float = 0.0
    """By which a car's last missing kWh is dearer than its first: what is short is then shared."""
    carbon_price_per_kg: float = 0.0
    """Of CO2 of the energy bought."""
    peak_price_per_kw: float | None = None
    """What the plan weighs a kW of peak with; None: the demand charge, which is a month's and heavy for a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteBattery:
    """A battery of the site, behind its meter."""

    capacity_kwh: float
    energy_kwh: float
    """Held at the window's start."""
    charge_kw: float
    discharge_kw: float
    charge_efficiency: float = 0.95
    discharge_efficiency: float = 0.95
    reserve_kwh: float = 0.0
    """Never drawn below this; where it holds less at the start, it need not rise."""
    wear_price_per_kwh: float = 0.0
    """Of each kWh drawn from it."""
    end_value_per_kwh: float | None = None
    """What a kWh left at the end is worth; None: the cheapest kWh of the window, so that it is neither sold out nor
    filled for nothing."""


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
    carbon_kg_per_kwh: FloatArray
    demand_charge_per_kw: float = 0.0
    """Price of the highest slot mean, of this plan and ``peak_so_far_kw`` together."""
    peak_so_far_kw: float = 0.0
    peak_outlook: tuple[tuple[float, float], ...] = ()
    """Peaks that the rest of the month may bring anyway, ``(peak_kw, probability)``; a kW below one that comes costs
    nothing. What the probabilities lack of 1 is a month without a further peak."""
    waiting_price_per_kwh_h: float = 0.0
    """Appetite for risk: what charging an hour earlier is worth. Steers the plan, is never part of its cost."""
    goals: Goals = field(default_factory=Goals)
    battery: SiteBattery | None = None
    network: Network | None = None
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

    @property
    def steering_price_per_kwh(self) -> FloatArray:
        """[T] What a kWh bought weighs in the plan: its price and that of its CO2."""
        if not self.goals.carbon_price_per_kg:
            return self.price_per_kwh
        return self.price_per_kwh + self.goals.carbon_price_per_kg * self.carbon_kg_per_kwh

    @property
    def peak_price_per_kw(self) -> float:
        """What a kW of peak weighs in the plan."""
        chosen = self.goals.peak_price_per_kw
        return self.demand_charge_per_kw if chosen is None else chosen

    def part(self, first: int, slots: int) -> SiteWindow:
        """Slots ``[first, first + slots)`` as a window of their own, cut at this window's end."""
        cut = slice(first, min(first + slots, self.slots))
        rows = {name: getattr(self, name)[cut] for name in ROWS}
        return replace(self, start_at=self.start_at + timedelta(minutes=self.slot_min * first), **rows)


def site_window(
    *,
    start_at: datetime,
    price_per_kwh: npt.ArrayLike,
    limit_kw: npt.ArrayLike,
    slot_min: int = SLOT_MIN,
    base_load_kw: npt.ArrayLike = 0.0,
    pv_kw: npt.ArrayLike = 0.0,
    feed_in_per_kwh: npt.ArrayLike = 0.0,
    carbon_kg_per_kwh: npt.ArrayLike = 0.0,
    demand_charge_per_kw: float = 0.0,
    peak_so_far_kw: float = 0.0,
    peak_outlook: tuple[tuple[float, float], ...] = (),
    waiting_price_per_kwh_h: float = 0.0,
    goals: Goals | None = None,
    battery: SiteBattery | None = None,
    network: Network | None = None,
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
        carbon_kg_per_kwh=_row(carbon_kg_per_kwh, price.size, "carbon_kg_per_kwh"),
        demand_charge_per_kw=float(demand_charge_per_kw),
        peak_so_far_kw=float(peak_so_far_kw),
        peak_outlook=peak_outlook,
        waiting_price_per_kwh_h=float(waiting_price_per_kwh_h),
        goals=goals or Goals(),
        battery=battery,
        network=network,
        time_zone=time_zone,
    )


def window_notes(window: SiteWindow) -> tuple[str, ...]:
    """What a reader of the plan should know of its window."""
    notes = []
    over = np.flatnonzero(window.base_load_kw - window.pv_kw > window.limit_kw + POWER_TOL_KW)
    if over.size:
        worst = float((window.base_load_kw - window.pv_kw - window.limit_kw)[over].max())
        then = "no car charges then" if window.battery is None else "the battery covers what it can of that"
        notes.append(
            f"The base load alone exceeds the limit in {over.size} of {window.slots} slots, by up to {worst:.1f} kW; "
            f"{then}."
        )
    surplus = window.pv_kw > window.base_load_kw
    if np.any(surplus & (window.feed_in_per_kwh > window.price_per_kwh)):
        notes.append(
            "Feed-in pays more than energy costs in some slots; there the plan weighs both as one price in between, "
            "which may miss the very best plan. Its cost counts each in full."
        )
    return tuple(notes)


def _row(value: npt.ArrayLike, slots: int, name: str) -> FloatArray:
    found = np.asarray(value, dtype=np.float64)
    if found.ndim > 1 or (found.ndim == 1 and found.size not in (1, slots)):
        raise PlanInputError(f"{name} has shape {found.shape}; wanted one number or {slots}, one for each price.")
    row = np.empty(slots)
    row[:] = found
    row.setflags(write=False)
    return row


def _check_window(window: SiteWindow) -> None:
    if window.start_at.tzinfo is None:
        raise PlanInputError("The plan's start has no time zone. Give an instant like 2019-03-04T06:00:00-08:00.")
    if window.slots == 0:
        raise PlanInputError("The plan has no slots: give a price for at least one.")
    if window.slot_min not in range(1, LONGEST_SLOT_MIN + 1):  # nor NaN, nor a part of a minute
        raise PlanInputError(f"Slots of {window.slot_min} minutes; wanted a whole number from 1 to {LONGEST_SLOT_MIN}.")
    if not YEARS[0] <= window.start_at.year <= YEARS[1]:
        raise PlanInputError(f"The plan starts in {window.start_at.year}; wanted {YEARS[0]} to {YEARS[1]}.")
    try:
        ZoneInfo(window.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise PlanInputError(f"{window.time_zone!r} is not a time zone; write one like 'Europe/Oslo'.") from error
    for name in ("price_per_kwh", "feed_in_per_kwh", "base_load_kw", "pv_kw", "carbon_kg_per_kwh"):
        inside = np.abs(getattr(window, name)) <= MAX_SITE_VALUE  # NaN is not
        _check_row(window, name, inside, f"a number of at most {MAX_SITE_VALUE:g}")
    _check_row(window, "limit_kw", window.limit_kw >= 0, "a number that is not negative")  # NaN >= 0 is false
    _check_row(window, "pv_kw", window.pv_kw >= 0, "a number that is not negative")
    for name in ("demand_charge_per_kw", "peak_so_far_kw", "waiting_price_per_kwh_h"):
        _check_number(name, getattr(window, name))
    _check_goals(window)
    if window.battery is not None:
        _check_battery(window.battery)


def _check_goals(window: SiteWindow) -> None:
    for goal in fields(Goals):
        value = getattr(window.goals, goal.name)
        if value is not None:
            _check_number(goal.name, value)
    for peak, probability in window.peak_outlook:
        _check_number("A peak of the outlook", peak)
        _check_number("A probability of the outlook", probability)
    if sum(probability for _, probability in window.peak_outlook) > 1 + POWER_TOL_KW:
        raise PlanInputError("The probabilities of the peak outlook add up to more than 1.")


def _check_battery(battery: SiteBattery) -> None:
    for one in fields(SiteBattery):
        value = getattr(battery, one.name)
        if value is not None:
            _check_number(f"The battery's {one.name}", value)
    if battery.energy_kwh > battery.capacity_kwh:
        raise PlanInputError(
            f"The battery holds {battery.energy_kwh} kWh, more than its capacity of {battery.capacity_kwh} kWh."
        )
    for name in ("charge_efficiency", "discharge_efficiency"):
        value = getattr(battery, name)
        if not 0 < value <= 1:
            raise PlanInputError(f"The battery's {name} is {value}; wanted a share above 0 and up to 1.")


def _check_number(name: str, value: float) -> None:
    if not 0 <= value <= MAX_SITE_VALUE:  # NaN is not
        raise PlanInputError(f"{name} is {value}; wanted a number from 0 to {MAX_SITE_VALUE:g}.")


def _check_row(window: SiteWindow, name: str, good: BoolArray, wanted: str) -> None:
    row: FloatArray = getattr(window, name)
    if row.shape != (window.slots,):
        raise PlanInputError(f"{name} has shape {row.shape}; wanted ({window.slots},), one for each price.")
    if good.all():
        return
    bad = np.flatnonzero(~good)
    at = window.start_at + timedelta(minutes=window.slot_min * int(bad[0]))
    raise PlanInputError(
        f"{name} is {row[bad[0]]} in the slot of {at.isoformat()} ({bad.size} of {window.slots} slots); "
        f"wanted {wanted}. Fill the gap or plan a window that has none."
    )
