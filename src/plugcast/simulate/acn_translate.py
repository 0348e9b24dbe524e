"""Between acnportal's words and ours: amperes and period numbers there, kilowatts and instants here.

Nothing of acnportal is imported: what is read of its objects stands here as protocols.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from plugcast.schedule.mpc import PresentCar
from plugcast.schedule.network import Network

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from plugcast.schedule.arrays import FloatArray

FULL_KWH: Final = 1e-3
"""What acnportal itself counts as nothing left to charge."""
_PILOT_TOL_A: Final = 1e-3
_LEAST_A: Final = 1e-6


class Infrastructure(Protocol):
    """What is read of ``acnportal.acnsim.interface.InfrastructureInfo``: N stations, K limits."""

    station_ids: list[str]
    constraint_matrix: npt.NDArray[np.float64] | None
    constraint_limits: npt.NDArray[np.float64]
    constraint_ids: list[str]
    phases: npt.NDArray[np.float64]
    voltages: npt.NDArray[np.float64]
    max_pilot: npt.NDArray[np.float64]
    min_pilot: npt.NDArray[np.float64]
    allowable_pilots: Sequence[npt.NDArray[np.float64] | None]
    is_continuous: npt.NDArray[np.bool_]


class SessionInfo(Protocol):
    """What is read of ``acnportal.acnsim.interface.SessionInfo``."""

    station_id: str
    session_id: str
    requested_energy: float
    energy_delivered: float
    arrival: int
    estimated_departure: int
    max_rates: npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AcnSite:
    """A charging network of acnportal in our terms; it does not change while a simulation runs."""

    station_ids: tuple[str, ...]
    place: Mapping[str, int]
    voltage_v: FloatArray
    """[N]"""
    network: Network | None
    most_kw: FloatArray
    """[N]"""
    least_kw: FloatArray
    """[N] the least above zero; 0 where any power is possible."""
    pilots_a: tuple[FloatArray | None, ...]
    """[N] the finite sets, zero included; None where pilots are continuous."""

    @property
    def finite(self) -> bool:
        """Whether any station offers only certain currents."""
        return any(pilots is not None for pilots in self.pilots_a) or bool(np.any(self.least_kw > 0))


def site_of(infrastructure: Infrastructure) -> AcnSite:
    """Limits as currents: a kW at a station adds ``1000 / V`` amperes at the station's phase angle."""
    ids = tuple(infrastructure.station_ids)
    voltage = np.asarray(infrastructure.voltages, dtype=np.float64)
    network = None
    if infrastructure.constraint_matrix is not None and len(infrastructure.constraint_limits):
        turned = np.exp(1j * np.deg2rad(infrastructure.phases)) * 1000.0 / voltage
        network = Network(
            names=tuple(infrastructure.constraint_ids),
            units=("A",) * len(infrastructure.constraint_ids),
            station_ids=ids,
            weight=np.asarray(infrastructure.constraint_matrix * turned, dtype=np.complex128),
            limit=np.asarray(infrastructure.constraint_limits, dtype=np.float64),
        )
    kw = voltage / 1000.0
    pilots = tuple(
        None if continuous or allowed is None else np.unique(np.append(np.asarray(allowed, dtype=np.float64), 0.0))
        for continuous, allowed in zip(infrastructure.is_continuous, infrastructure.allowable_pilots, strict=True)
    )
    return AcnSite(
        station_ids=ids,
        place={station: index for index, station in enumerate(ids)},
        voltage_v=voltage,
        network=network,
        most_kw=np.asarray(infrastructure.max_pilot, dtype=np.float64) * kw,
        least_kw=np.asarray(infrastructure.min_pilot, dtype=np.float64) * kw,
        pilots_a=pilots,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Period numbers as instants."""

    start_at: datetime
    period_min: float

    def at(self, period: int) -> datetime:
        """When a period begins."""
        return self.start_at.astimezone(UTC) + timedelta(minutes=self.period_min * period)


def car_of(session: SessionInfo, site: AcnSite, clock: Clock, *, value_per_kwh: float | None = None) -> PresentCar:
    """A session at its plug, with the departure that acnportal gives out (``estimated_departure``)."""
    place = site.place[session.station_id]
    kw = float(site.voltage_v[place]) / 1000.0
    asked = float(session.max_rates[0]) * kw if len(session.max_rates) else np.inf
    pilots = site.pilots_a[place]
    return PresentCar(
        session_id=session.session_id,
        station_id=session.station_id,
        arrival_at=clock.at(session.arrival),
        departure_expected_at=clock.at(session.estimated_departure),
        energy_expected_kwh=session.requested_energy,
        energy_delivered_kwh=session.energy_delivered,
        max_power_kw=min(asked, float(site.most_kw[place])),
        done=session.requested_energy - session.energy_delivered <= FULL_KWH,
        value_per_kwh=value_per_kwh,
        min_power_kw=float(site.least_kw[place]),
        pilots_kw=() if pilots is None else tuple((pilots[pilots > 0] * kw).tolist()),
    )


def pilots_of(site: AcnSite, station_ids: Sequence[str], power_kw: FloatArray) -> FloatArray:
    """[V, T] currents in A that offer powers [V, T] while the cars are there.

    Where only some currents exist it is the lowest that offers the power: a car that can take less than a current
    takes what it can.
    """
    place = np.array([site.place[station] for station in station_ids], dtype=np.int64)
    amperes: FloatArray = power_kw * (1000.0 / site.voltage_v[place])[:, None]
    amperes[amperes < _LEAST_A] = 0.0
    for row, index in enumerate(place.tolist()):
        allowed = site.pilots_a[index]
        if allowed is not None:
            above = np.searchsorted(allowed, amperes[row] - _PILOT_TOL_A)
            amperes[row] = allowed[np.minimum(above, len(allowed) - 1)]
    return amperes


def lowered(site: AcnSite, station_ids: Sequence[str], amperes: FloatArray) -> FloatArray:
    """[V] currents with as many of them one step lower as the limits ask for, the highest first.

    Only needed where currents are finite: the one above a car's own maximum loads the wires, on paper, with more.
    """
    if site.network is None:
        return amperes
    place = np.array([site.place[station] for station in station_ids], dtype=np.int64)
    weight = site.network.weight[:, place] * (site.voltage_v[place] / 1000.0)
    found = amperes.copy()
    while True:
        over = np.abs(weight @ found) - site.network.limit > _LEAST_A
        if not over.any():
            return found
        loads = np.where((np.abs(weight[over]) > 0).any(axis=0), found, -1.0)
        row = int(np.argmax(loads))
        if loads[row] <= 0:
            return found
        allowed = site.pilots_a[int(place[row])]
        below = np.zeros(1) if allowed is None else allowed[allowed < found[row]]
        found[row] = below[-1] if below.size else 0.0
