"""A visit of a car to a station, from plug-in to plug-out."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class ControlPilotState(StrEnum):
    """IEC 61851-1 states of the control pilot line."""

    A = "A"
    """No vehicle."""
    B = "B"
    """Vehicle connected, not ready."""
    C = "C"
    """Charging."""
    D = "D"
    """Charging with ventilation."""
    E = "E"
    """Station error: no supply."""
    F = "F"
    """Station not available."""


class UserInput(msgspec.Struct, frozen=True, kw_only=True):
    """What the driver declared, and when it became known. A later amendment never overwrites an earlier one."""

    session_id: str
    available_at: datetime
    energy_requested_kwh: float | None = None
    declared_departure_at: datetime | None = None
    minutes_available: float | None = None
    miles_requested: float | None = None
    wh_per_mile: float | None = None
    payment_required: bool | None = None
    user_id: str | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Plug-in to plug-out, ``[arrival_at, departure_at)``, all instants UTC.

    ``done_charging_at`` missing means that the car never reported the end of charging: information, not a defect.
    ``departure_at`` missing means that the car is still there.
    """

    session_id: str
    site_id: str
    station_id: str
    arrival_at: datetime
    departure_at: datetime | None
    done_charging_at: datetime | None
    energy_delivered_kwh: float | None
    time_zone: str
    cluster_id: str | None = None
    space_id: str | None = None
    user_id: str | None = None
    native_session_id: str | None = None
    """The source's own readable session name, where it has one beside the key."""


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """OCPP's transaction: the authorised energy transfer inside a session."""

    transaction_id: str
    session_id: str
    started_at: datetime
    ended_at: datetime | None = None
    stop_reason: str | None = None
