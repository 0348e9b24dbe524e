"""What travels on a topic: versioned messages, each with its ``type`` and ``v``, and a bound on every number.

They stand apart from the domain's own values on purpose: those may change with the code, these are read by other
programs and by what was written last year. A change that an old reader could misread is a new ``v``.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from msgspec import Meta, Struct, structs

from plugcast.domain.session import Session, UserInput
from plugcast.domain.telemetry import Sample
from plugcast.domain.units import MAX_CAPACITY_KWH, MAX_POWER_KW, MAX_SESSION_ENERGY_KWH, SOC_RANGE_PCT

MAX_ID_CHARS: Final = 128
MAX_CURRENT_A: Final = 4_000.0
"""A megawatt connector's 3,000 A and a margin for what meters say."""
MAX_VOLTAGE_V: Final = 2_000.0
MAX_REGISTER_KWH: Final = 1e9
MAX_METER_JUMP_KWH: Final = 1e6
"""A register of six digits that goes once round."""
MAX_MINUTES: Final = 366 * 1440.0
MAX_MILES: Final = 10_000.0
MAX_WH_PER_MILE: Final = 10_000.0

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Instant = Annotated[datetime, Meta(tz=True)]
Version = Literal[1]
Power = Annotated[float, Meta(ge=-MAX_POWER_KW, le=MAX_POWER_KW)]
Current = Annotated[float, Meta(ge=-MAX_CURRENT_A, le=MAX_CURRENT_A)]
OfferedCurrent = Annotated[float, Meta(ge=0.0, le=MAX_CURRENT_A)]
Voltage = Annotated[float, Meta(ge=0.0, le=MAX_VOLTAGE_V)]
Register = Annotated[float, Meta(ge=0.0, le=MAX_REGISTER_KWH)]
SessionEnergy = Annotated[float, Meta(ge=0.0, le=MAX_SESSION_ENERGY_KWH)]
MeteredEnergy = Annotated[float, Meta(ge=-MAX_METER_JUMP_KWH, le=MAX_METER_JUMP_KWH)]
"""As a session's meter has it: a register that was reset or jumped is a fault to find, not a message to refuse."""
Minutes = Annotated[float, Meta(ge=0.0, le=MAX_MINUTES)]
Miles = Annotated[float, Meta(ge=0.0, le=MAX_MILES)]
WhPerMile = Annotated[float, Meta(ge=0.0, le=MAX_WH_PER_MILE)]
Soc = Annotated[float, Meta(ge=SOC_RANGE_PCT[0], le=SOC_RANGE_PCT[1])]
Capacity = Annotated[float, Meta(ge=1.0, le=MAX_CAPACITY_KWH)]


class SessionStarted(Struct, frozen=True, kw_only=True, tag_field="type", tag="session_started"):
    """A car was plugged in."""

    v: Version
    session_id: Id
    site_id: Id
    station_id: Id
    arrival_at: Instant
    time_zone: Id
    cluster_id: Id | None = None
    space_id: Id | None = None
    user_id: Id | None = None
    native_session_id: Id | None = None

    @classmethod
    def of(cls, session: Session) -> Self:
        """What is known of a session at its plug-in."""
        return cls(
            v=1,
            session_id=session.session_id,
            site_id=session.site_id,
            station_id=session.station_id,
            arrival_at=session.arrival_at,
            time_zone=session.time_zone,
            cluster_id=session.cluster_id,
            space_id=session.space_id,
            user_id=session.user_id,
            native_session_id=session.native_session_id,
        )


class SessionUpdated(Struct, frozen=True, kw_only=True, tag_field="type", tag="session_updated"):
    """A driver declared something about a running session; a later declaration never overwrites an earlier one."""

    v: Version
    session_id: Id
    available_at: Instant
    energy_requested_kwh: SessionEnergy | None = None
    declared_departure_at: Instant | None = None
    minutes_available: Minutes | None = None
    miles_requested: Miles | None = None
    wh_per_mile: WhPerMile | None = None
    payment_required: bool | None = None
    user_id: Id | None = None

    @classmethod
    def of(cls, declared: UserInput) -> Self:
        """A declaration as a message."""
        return cls(v=1, **structs.asdict(declared))

    def user_input(self) -> UserInput:
        """The declaration in it."""
        return UserInput(
            session_id=self.session_id,
            available_at=self.available_at,
            energy_requested_kwh=self.energy_requested_kwh,
            declared_departure_at=self.declared_departure_at,
            minutes_available=self.minutes_available,
            miles_requested=self.miles_requested,
            wh_per_mile=self.wh_per_mile,
            payment_required=self.payment_required,
            user_id=self.user_id,
        )


class SessionEnded(Struct, frozen=True, kw_only=True, tag_field="type", tag="session_ended"):
    """A car was unplugged: the whole record of the visit, so that it can be judged without what came before it."""

    v: Version
    session_id: Id
    site_id: Id
    station_id: Id
    arrival_at: Instant
    departure_at: Instant
    done_charging_at: Instant | None = None
    energy_delivered_kwh: MeteredEnergy | None = None
    time_zone: Id
    cluster_id: Id | None = None
    space_id: Id | None = None
    user_id: Id | None = None
    native_session_id: Id | None = None
    available_at: Instant | None = None
    """When the record became known, where that was after the plug-out."""

    @classmethod
    def of(cls, session: Session, *, available_at: datetime | None = None) -> Self:
        """A finished session as a message.

        Raises:
            ValueError: The car is still there.
        """
        if session.departure_at is None:
            raise ValueError(f"wanted a session that has ended; {session.session_id!r} has no departure_at")
        later = available_at if available_at is not None and available_at > session.departure_at else None
        return cls(v=1, **structs.asdict(session), available_at=later)

    @property
    def known_at(self) -> datetime:
        """When the record became known, at the earliest at the plug-out."""
        return self.departure_at if self.available_at is None else max(self.departure_at, self.available_at)

    def session(self) -> Session:
        """The record in it."""
        return Session(
            session_id=self.session_id,
            site_id=self.site_id,
            station_id=self.station_id,
            arrival_at=self.arrival_at,
            departure_at=self.departure_at,
            done_charging_at=self.done_charging_at,
            energy_delivered_kwh=self.energy_delivered_kwh,
            time_zone=self.time_zone,
            cluster_id=self.cluster_id,
            space_id=self.space_id,
            user_id=self.user_id,
            native_session_id=self.native_session_id,
        )


class MeterValues(Struct, frozen=True, kw_only=True, tag_field="type", tag="meter_values"):
    """What a station measured at one instant; what it does not measure is missing."""

    v: Version
    site_id: Id
    station_id: Id
    measured_at: Instant
    session_id: Id | None = None
    power_kw: Power | None = None
    """Positive into the car."""
    offered_current_a: OfferedCurrent | None = None
    """What the control pilot lets the car draw, each phase."""
    measured_current_a: Current | None = None
    voltage_v: Voltage | None = None
    energy_register_kwh: Register | None = None
    """The meter's running total, never reset by a session."""


class Heartbeat(Struct, frozen=True, kw_only=True, tag_field="type", tag="heartbeat"):
    """Nothing happened until now: moves event time where a station is quiet."""

    v: Version
    site_id: Id
    station_id: Id
    sent_at: Instant


class Telemetry(Struct, frozen=True, kw_only=True, gc=False, tag_field="type", tag="telemetry"):
    """One report of one vehicle; a missing number is one that the vehicle did not report."""

    v: Version
    asset_id: Id
    timestamp: Instant
    soc: Soc | None = None
    """State of charge, % of usable capacity."""
    is_plugged_in: bool
    power_kw: Power | None = None
    capacity_kwh: Capacity | None = None

    @classmethod
    def of(cls, sample: Sample) -> Self:
        """A sample as a message: its NaN become missing, which JSON can say."""
        return cls(
            v=1,
            asset_id=sample.asset_id,
            timestamp=sample.timestamp,
            soc=None if math.isnan(sample.soc) else sample.soc,
            is_plugged_in=sample.is_plugged_in,
            power_kw=None if math.isnan(sample.power_kw) else sample.power_kw,
            capacity_kwh=None if math.isnan(sample.capacity_kwh) else sample.capacity_kwh,
        )

    def sample(self) -> Sample:
        """The sample in it."""
        return Sample(
            asset_id=self.asset_id,
            timestamp=self.timestamp,
            soc=math.nan if self.soc is None else self.soc,
            is_plugged_in=self.is_plugged_in,
            power_kw=math.nan if self.power_kw is None else self.power_kw,
            capacity_kwh=math.nan if self.capacity_kwh is None else self.capacity_kwh,
        )


Message = SessionStarted | SessionUpdated | SessionEnded | MeterValues | Heartbeat | Telemetry
"""Everything that a topic of stations or vehicles carries."""
