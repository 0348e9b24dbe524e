"""What charging does when: our commands and what they cost."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class Setpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Our command to one station over ``[start_at, end_at)``; OCPP calls the sequence of them a ChargingProfile."""

    session_id: str
    station_id: str
    start_at: datetime
    end_at: datetime
    power_kw: float


class PlanStatus(StrEnum):
    """How a plan came about."""

    OPTIMAL = "optimal"
    BEST_EFFORT = "best_effort"
    """Some need could not be met inside the limits; each is named with its reason."""
    HEURISTIC = "heuristic"
    """By a rule that was asked for; nothing was optimised."""
    FALLBACK = "fallback"
    """The solver gave no answer in time; a heuristic did."""


class Shortfall(msgspec.Struct, frozen=True, kw_only=True):
    """A need that the plan does not meet, and what stands in the way."""

    session_id: str
    energy_kwh: float
    reason: str


class VehiclePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One car's part of the plan."""

    session_id: str
    station_id: str
    energy_needed_kwh: float
    energy_planned_kwh: float
    departure_at: datetime
    power_kw: tuple[float, ...]
    """Mean power of each slot of the plan."""
    explanation: str
    """Why the car charges when it does, in one sentence with numbers."""


class ChargingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of a site over equal slots from ``start_at`` on."""

    site_id: str
    issued_at: datetime
    start_at: datetime
    slot_min: int
    status: PlanStatus
    vehicles: tuple[VehiclePlan, ...]
    shortfalls: tuple[Shortfall, ...]
    grid_import_kw: tuple[float, ...]
    price_per_kwh: tuple[float, ...]
    limit_kw: tuple[float, ...]
    energy_cost: float
    """Energy bought less energy fed in, in the tariff's currency, base load included."""
    demand_cost: float
    """Demand charge on the peak of this plan together with the peak so far."""
    peak_kw: float
    notes: tuple[str, ...] = ()
    battery_kw: tuple[float, ...] = ()
    """Mean power into the site's battery, negative where it gives; empty without one."""
