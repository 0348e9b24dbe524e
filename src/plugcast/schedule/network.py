"""The wires behind the stations: circuits inside circuits, three phases, and how evenly those are loaded.

All of them are one thing here: a weighted sum of the stations' powers whose magnitude has a limit. A circuit weighs
each of its stations with 1 kW per kW; a phase conductor weighs it with the complex current that it carries, so that
currents of different phases add up as they do in copper (Lee et al., arXiv 2012.02636, section V); an unbalance weighs
one phase with plus and another with minus. The solver meets them as linear rows, added where a solution breaks them.
"""

from __future__ import annotations

from cmath import exp, pi
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.domain.site import PHASES, conductors
from plugcast.errors import PlanInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugcast.domain.site import Circuit
    from plugcast.schedule.arrays import ComplexArray, FloatArray

_ANGLE: Final = {"L1": 0.0, "L2": -2 * pi / 3, "L3": 2 * pi / 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """``|weight[k] . power| <= limit[k]`` at every instant, for each of K limits over S stations.

    >>> house = Network(names=("garage",), units=("kW",), station_ids=("A", "B"), weight=[[1, 1]], limit=[7.0])
    >>> house.load(("B", "A", "elsewhere"), np.array([2.0, 3.0, 9.0])).tolist()
    [5.0]
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    """In which each limit is given: kW or A."""
    station_ids: tuple[str, ...]
    weight: ComplexArray
    """[K, S] what a kW drawn at a station adds to the limited quantity."""
    limit: FloatArray
    """[K]"""

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit and limits that are none."""
        weight, limit = np.array(self.weight, dtype=np.complex128), np.array(self.limit, dtype=np.float64)
        shape = (len(self.names), len(self.station_ids))
        if weight.shape != shape or limit.shape != shape[:1] or len(self.units) != shape[0]:
            raise PlanInputError(
                f"Weights of shape {weight.shape} and limits of shape {limit.shape}; wanted {shape} and {shape[:1]}."
            )
        for name, value in zip(self.names, limit.tolist(), strict=True):
            if not value >= 0:
                raise PlanInputError(f"The limit of {name} is {value}; wanted a number that is not negative.")
        if not np.all(np.isfinite(weight)):
            raise PlanInputError("A station's weight in the network is not finite.")
        weight.setflags(write=False)
        limit.setflags(write=False)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "limit", limit)

    def of(self, station_ids: Sequence[str]) -> ComplexArray:
        """[K, len(station_ids)] weights; a station that the network does not know loads nothing."""
        place = {station: column for column, station in enumerate(self.station_ids)}
        known = np.array([place.get(station, -1) for station in station_ids], dtype=np.int64)
        padded = np.concatenate([self.weight, np.zeros((len(self.names), 1))], axis=1)
        chosen: ComplexArray = padded[:, known]
        return chosen

    def load(self, station_ids: Sequence[str], power_kw: FloatArray) -> FloatArray:
        """[K] or [K, T] magnitudes under powers [V] or [V, T]."""
        magnitude: FloatArray = np.abs(self.of(station_ids) @ power_kw)
        return magnitude


def together(*networks: Network) -> Network:
    """One network with the limits of all."""
    stations = tuple(dict.fromkeys(station for one in networks for station in one.station_ids))
    return Network(
        names=tuple(name for one in networks for name in one.names),
        units=tuple(unit for one in networks for unit in one.units),
        station_ids=stations,
        weight=np.concatenate([one.of(stations) for one in networks]),
        limit=np.concatenate([one.limit for one in networks]),
    )


def nested_circuits(circuits: Sequence[Circuit], circuit_of: Mapping[str, str | None]) -> Network:
    """Limits in kW of circuits that hang below one another; ``circuit_of`` names the innermost one of each station.

    Raises:
        PlanInputError: A circuit is unknown, named twice, or hangs below itself.
    """
    parent = {circuit.circuit_id: circuit.parent_id for circuit in circuits}
    if len(parent) < len(circuits):
        raise PlanInputError("A circuit stands there twice. Give each its own circuit_id.")
    row = {circuit.circuit_id: index for index, circuit in enumerate(circuits)}
    weight = np.zeros((len(circuits), len(circuit_of)))
    for column, (station, innermost) in enumerate(circuit_of.items()):
        above, passed = innermost, set[str]()
        while above is not None:
            if above not in parent:
                raise PlanInputError(f"{station!r} hangs on circuit {above!r}, which is not described.")
            if above in passed:
                raise PlanInputError(f"Circuit {above!r} hangs below itself. Give one of them no parent.")
            passed.add(above)
            weight[row[above], column] = 1.0
            above = parent[above]
    return Network(
        names=tuple(f"circuit {circuit.circuit_id}" for circuit in circuits),
        units=("kW",) * len(circuits),
        station_ids=tuple(circuit_of),
        weight=weight.astype(np.complex128),
        limit=np.array([circuit.limit_kw for circuit in circuits], dtype=np.float64),
    )


def three_phase(
    connection_of: Mapping[str, str],
    *,
    limit_a: float | Sequence[float],
    voltage_v: float = 230.0,
    unbalance_limit_a: float | None = None,
) -> Network:
    """Currents in the conductors L1, L2, L3 of one feeder, in A; ``voltage_v`` is that of a phase to neutral.

    A station is connected to one phase (``L1``), between two (``L1-L2``, as in North America), or to all (``L1-L2-L3``,
    drawing the same from each). ``unbalance_limit_a`` bounds the difference of any two phases' currents, which is
    defined for stations between a phase and neutral and for those on all three.

    >>> feeder = three_phase({"A": "L1", "B": "L2", "C": "L1-L2-L3"}, limit_a=32)
    >>> feeder.load(("A", "C"), np.array([2.3, 6.9])).round(6).tolist()
    [20.0, 10.0, 10.0]

    Raises:
        PlanInputError: A connection is none of those, or the voltage is not positive.
    """
    if not (isfinite(voltage_v) and voltage_v > 0):
        raise PlanInputError(f"A voltage of {voltage_v} V; wanted a positive number.")
    weight = np.stack(
        [_currents(station, connection, voltage_v) for station, connection in connection_of.items()], axis=1
    )
    names = [f"phase {phase}" for phase in PHASES]
    limits = np.broadcast_to(np.asarray(limit_a, dtype=np.float64), (3,))
    if unbalance_limit_a is not None:
        between = [station for station, connection in connection_of.items() if connection.count("-") == 1]
        if between:
            raise PlanInputError(f"Unbalance is not defined for {between[0]!r}, which hangs between two phases.")
        size = np.abs(weight)
        weight = np.concatenate([weight, size - np.roll(size, -1, axis=0)])
        names += ["unbalance L1/L2", "unbalance L2/L3", "unbalance L3/L1"]
        limits = np.concatenate([limits, np.full(3, unbalance_limit_a)])
    return Network(
        names=tuple(names),
        units=("A",) * len(names),
        station_ids=tuple(connection_of),
        weight=weight,
        limit=limits,
    )


def _currents(station: str, connection: str, voltage_v: float) -> ComplexArray:
    """[3] A per kW in each conductor, at unity power factor."""
    ends = conductors(connection)
    found = np.zeros(3, dtype=np.complex128)
    if not ends:
        raise PlanInputError(f"{station!r} is connected to {connection!r}; wanted L1, L1-L2 or L1-L2-L3.")
    if ends == PHASES:
        for row, phase in enumerate(PHASES):
            found[row] = 1000.0 / (3.0 * voltage_v) * exp(1j * _ANGLE[phase])
    elif len(ends) == 1:
        found[PHASES.index(ends[0])] = 1000.0 / voltage_v * exp(1j * _ANGLE[ends[0]])
    else:
        across = exp(1j * _ANGLE[ends[0]]) - exp(1j * _ANGLE[ends[1]])
        current = 1000.0 / (voltage_v * sqrt(3.0)) * across / abs(across)
        found[PHASES.index(ends[0])], found[PHASES.index(ends[1])] = current, -current
    return found
