"""Cars at their plugs as they really are: when they come and go, what they take, and how they answer an offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from plugcast.schedule.problem import POWER_TOL_KW
from plugcast.simulate.battery import CEILING_PCT, knee_pct, rate_pct_per_min, soc_after

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from plugcast.schedule.problem import FloatArray

SINGLE_PHASE_V: Final = 230.0
_LEAST_KW: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class CarBattery:
    """What makes a car slow down at the end: constant power up to a knee, then ever less (``simulate.battery``)."""

    capacity_kwh: float
    start_pct: float
    """State of charge at plug-in."""
    efficiency: float = 0.9
    """Of what is drawn at the plug, this share arrives in the battery."""

    @classmethod
    def filled_by(cls, energy_kwh: float, *, capacity_kwh: float = 60.0, efficiency: float = 0.9) -> CarBattery:
        """The battery that is full once ``energy_kwh`` have been drawn; a larger one if it could not hold as much.

        >>> CarBattery.filled_by(20.0, capacity_kwh=60.0).start_pct
        70.0
        """
        capacity = max(capacity_kwh, energy_kwh * efficiency)
        return cls(
            capacity_kwh=capacity, start_pct=100.0 - energy_kwh * efficiency / capacity * 100.0, efficiency=efficiency
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Car:
    """What really happened at one plug; arrival and departure are taken to the nearest slot, at least one apart."""

    session_id: str
    station_id: str
    arrival_at: datetime
    departure_at: datetime
    energy_kwh: float
    """What it takes before it is done."""
    max_power_kw: float
    battery: CarBattery | None = None
    """None: it takes its full power to the end."""
    min_power_kw: float = 0.0
    """The least that its station can offer above zero (6 A)."""
    pilots_kw: tuple[float, ...] = ()
    """The only powers above zero that its station can offer; empty: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugIn:
    """All that is known of a car when it plugs in; its future is not in here."""

    session_id: str
    station_id: str
    arrival_at: datetime
    max_power_kw: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What was expected of a car when it plugged in."""

    departure_at: datetime
    energy_kwh: float
    departures: tuple[tuple[datetime, float], ...] = ()
    """The same in doubt: instants with their probabilities, for controllers that weigh them."""
    energies: tuple[tuple[float, float], ...] = ()
    """kWh with their probabilities."""


class Forecaster(Protocol):
    """Asked once a car, in the slot of its plug-in."""

    def __call__(self, plug_in: PlugIn, now: datetime) -> Expectation:
        """Expected departure and energy."""
        ...


def pilots(
    steps_a: Sequence[float] = (8.0, 16.0, 24.0, 32.0), *, voltage_v: float = SINGLE_PHASE_V, phases: int = 1
) -> tuple[float, ...]:
    """Powers of a charger that knows only some currents, kW.

    >>> pilots((6.0, 10.0, 16.0), phases=3)
    (4.14, 6.9, 11.04)
    """
    return tuple(round(amps * voltage_v * phases / 1000.0, 6) for amps in steps_a)


def offered(car: Car, asked_kw: float) -> float:
    """What the station offers if ``asked_kw`` are commanded: the next step below, so that no limit is broken.

    >>> from datetime import UTC, datetime
    >>> noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    >>> car = Car(session_id="a", station_id="A", arrival_at=noon, departure_at=noon, energy_kwh=9.0,
    ...           max_power_kw=7.4, min_power_kw=1.38, pilots_kw=(1.84, 3.68, 7.36))
    >>> [offered(car, kw) for kw in (1.0, 1.84, 5.0, 7.4)]
    [0.0, 1.84, 3.68, 7.36]
    """
    if asked_kw < car.min_power_kw - POWER_TOL_KW:
        return 0.0
    if not car.pilots_kw:
        return asked_kw
    return max((level for level in car.pilots_kw if level <= asked_kw + POWER_TOL_KW), default=0.0)


class Batteries:
    """How N cars take what they are offered, all at once."""

    def __init__(self, cars: Sequence[Car]) -> None:
        self.wants = np.array([car.energy_kwh for car in cars], dtype=np.float64)
        self.rating = np.array([car.max_power_kw for car in cars], dtype=np.float64)
        held = [car.battery for car in cars]
        self.tapers = np.array([one is not None for one in held], dtype=np.bool_)
        pairs = list(zip(cars, held, strict=True))
        self.start = np.array([one.start_pct if one else 0.0 for one in held], dtype=np.float64)
        self.pct_per_kwh = np.array(
            [100.0 * one.efficiency / one.capacity_kwh if one else 1.0 for one in held], dtype=np.float64
        )
        self.rate = np.array(
            [
                rate_pct_per_min(car.max_power_kw, capacity_kwh=one.capacity_kwh, efficiency=one.efficiency)
                if one
                else 1.0
                for car, one in pairs
            ],
            dtype=np.float64,
        )
        self.knee = np.array(
            [knee_pct(car.max_power_kw, capacity_kwh=one.capacity_kwh) if one else CEILING_PCT for car, one in pairs],
            dtype=np.float64,
        )

    def drawn_kw(self, which: FloatArray, offer_kw: FloatArray, delivered_kwh: FloatArray, hours: float) -> FloatArray:
        """[n] Mean power that cars ``which`` draw from an offer over some hours, having had ``delivered_kwh``.

        An offer below what the car would take moves its knee up: it follows the offer until its own taper is lower.
        """
        room = np.maximum(self.wants[which] - delivered_kwh, 0.0) / hours
        drawn: FloatArray = np.minimum(np.minimum(offer_kw, self.rating[which]), room)
        slow = np.flatnonzero(self.tapers[which] & (drawn > _LEAST_KW))
        if not slow.size:
            return drawn
        cars = which[slow]
        part = np.minimum(offer_kw[slow] / self.rating[cars], 1.0)
        soc = self.start[cars] + delivered_kwh[slow] * self.pct_per_kwh[cars]
        after = soc_after(
            np.full(len(cars), hours * 60.0),
            start_pct=soc,
            rate=self.rate[cars] * part,
            knee=CEILING_PCT - (CEILING_PCT - self.knee[cars]) * part,
            limit_pct=np.full(len(cars), 100.0),
        )
        drawn[slow] = np.minimum(drawn[slow], (after - soc) / self.pct_per_kwh[cars] / hours)
        return drawn
