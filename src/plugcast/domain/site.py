"""The place: station > EVSE > connector, circuits with limits, PV and the tariff."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

PHASES: Final = ("L1", "L2", "L3")
"""Conductors of a three-phase connection."""


class CurrentType(StrEnum):
    """How a station delivers energy."""

    AC = "ac"
    DC = "dc"


class Connector(msgspec.Struct, frozen=True, kw_only=True):
    """One outlet or plug of an EVSE."""

    connector_id: int
    max_power_kw: float
    min_power_kw: float = 0.0
    """The least power above zero; 1.38 kW is IEC 61851's 6 A on one 230 V phase."""
    pilots_kw: tuple[float, ...] = ()
    """The only powers above zero that it can offer; empty: any."""


class Evse(msgspec.Struct, frozen=True, kw_only=True):
    """Serves one car at a time through one of its connectors."""

    evse_id: int
    connectors: tuple[Connector, ...]


def conductors(connection: str) -> tuple[str, ...]:
    """The phases that a station hangs on; none where that is no connection there is.

    >>> conductors("l1 - l2"), conductors("L9")
    (('L1', 'L2'), ())
    """
    ends = tuple(connection.upper().replace(" ", "").split("-"))
    known = ends == PHASES or (len(ends) < len(PHASES) and len(set(ends)) == len(ends) and set(ends) <= set(PHASES))
    return ends if known else ()


class Station(msgspec.Struct, frozen=True, kw_only=True):
    """One charging station with its EVSEs."""

    station_id: str
    current_type: CurrentType = CurrentType.AC
    evses: tuple[Evse, ...] = ()
    circuit_id: str | None = None
    connection: str = "L1-L2-L3"
    """Phases that it hangs on: ``L1``, ``L1-L2`` (between two), ``L1-L2-L3``."""

    @property
    def max_power_kw(self) -> float:
        """What the station can deliver at most, all EVSEs together; 0 where none is described."""
        return sum(max((c.max_power_kw for c in evse.connectors), default=0.0) for evse in self.evses)


class Circuit(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the installation with a limit of its own; ``parent_id`` None hangs it on the grid connection."""

    circuit_id: str
    limit_kw: float
    parent_id: str | None = None


class TariffPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """Energy price from a local hour of day on, for some months and days of the week."""

    from_hour: float
    price_per_kwh: float


class TariffSeason(msgspec.Struct, frozen=True, kw_only=True):
    """The periods of a day for one season and day type; dates are ``MM-DD``, ends included, and may wrap the year."""

    name: str
    starts_on: str
    ends_on: str
    days: tuple[int, ...]
    """Days of the week, Monday = 0."""
    periods: tuple[TariffPeriod, ...]
    demand_charge_per_kw: float = 0.0
    """Price of the month's highest average power over one slot."""


class Tariff(msgspec.Struct, frozen=True, kw_only=True):
    """A time-of-use tariff with an optional demand charge, in the site's local time."""

    name: str
    time_zone: str
    seasons: tuple[TariffSeason, ...]
    currency: str = "USD"
    feed_in_per_kwh: float = 0.0


class PhaseLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the conductors of the grid connection carry."""

    limit_a: float
    voltage_v: float = 230.0
    """Phase to neutral."""
    unbalance_limit_a: float | None = None


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """A battery of the site, behind its meter."""

    capacity_kwh: float
    charge_kw: float
    discharge_kw: float
    energy_kwh: float = 0.0
    """Held now."""
    charge_efficiency: float = 0.95
    discharge_efficiency: float = 0.95
    reserve_kwh: float = 0.0
    wear_price_per_kwh: float = 0.0


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """One grid connection and what hangs on it."""

    site_id: str
    time_zone: str
    limit_kw: float
    stations: tuple[Station, ...] = ()
    circuits: tuple[Circuit, ...] = ()
    pv_peak_kw: float = 0.0
    phases: PhaseLimits | None = None
    storage: Storage | None = None
