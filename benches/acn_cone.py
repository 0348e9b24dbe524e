"""The adaptive charging algorithm's programme handed to its solver as it stands, without a modelling layer.

The same objective and the same limits as ``acn_asa`` writes in CVXPY, less what cannot bind: powers outside a stay,
and limits that all cars there at their maximum do not reach. A month of re-planning every five minutes is then a
matter of minutes, and the algorithm has the speed that its formulation allows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Foreign: TypeAlias = Any
"""Of acnportal and Clarabel, which ship no types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a plan is worth."""

    per_ampere: Floats
    """[N, T] worth of an ampere at a station in a slot."""
    peak_price: float
    """Of a kW; 0 where no peak counts."""
    peak_floor_kw: float
    shared: float
    """Price of a squared ampere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Currents:
    """K currents, one a session and slot of its stay."""

    owner: Ints
    station: Ints
    slot: Ints
    low: Floats
    high: Floats

    @classmethod
    def of(cls, sessions: Sequence[Foreign], site: Foreign) -> _Currents:
        spans = [np.arange(one.arrival_offset, one.arrival_offset + one.remaining_time) for one in sessions]
        length = [len(span) for span in spans]
        low, high = (
            np.concatenate(
                [np.broadcast_to(getattr(one, name), (count,)) for one, count in zip(sessions, length, strict=True)]
            )
            for name in ("min_rates", "max_rates")
        )
        return cls(
            owner=np.repeat(np.arange(len(sessions)), length),
            station=np.repeat([site.get_station_index(one.station_id) for one in sessions], length),
            slot=np.concatenate(spans),
            low=low,
            high=np.maximum(high, low),
        )

    @property
    def count(self) -> int:
        return len(self.slot)


@dataclass(slots=True)
class _Rows:
    """Rows of ``A x + s = b``, block by block."""

    count: int = 0
    index: list[Ints] = field(default_factory=list)
    column: list[Ints] = field(default_factory=list)
    value: list[Floats] = field(default_factory=list)
    right: list[Floats] = field(default_factory=list)

    def add(self, right: Floats, *entries: tuple[Ints, Ints, Floats]) -> None:
        """A block of rows and its entries: row in the block, column, value."""
        for index, column, value in entries:
            self.index.append(index + self.count)
            self.column.append(column)
            self.value.append(value)
        self.right.append(right)
        self.count += len(right)

    def matrix(self, columns: int) -> Foreign:
        entries = np.concatenate(self.value), (np.concatenate(self.index), np.concatenate(self.column))
        return sparse.csc_matrix(entries, shape=(self.count, columns))


def solve(sessions: Sequence[Foreign], site: Foreign, hours: float, aim: Aim) -> Floats:
    """[N, T] currents of all stations."""
    import clarabel  # noqa: PLC0415 - only where it is installed

    each, slots = _Currents.of(sessions, site), aim.per_ampere.shape[1]
    left = np.array([one.remaining_demand for one in sessions])
    rows = _linear(each, site, left, hours, aim)
    linear = rows.count
    discs = _discs(rows, each, site, slots)
    columns = each.count + int(aim.peak_price > 0)
    quadratic = np.zeros(columns)
    quadratic[: each.count] = 2.0 * aim.shared
    cost = np.append(-aim.per_ampere[each.station, each.slot], [aim.peak_price] * (columns - each.count))
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    cones = [clarabel.NonnegativeConeT(linear), *[clarabel.SecondOrderConeT(3)] * discs]
    found = clarabel.DefaultSolver(
        sparse.diags(quadratic, format="csc"), cost, rows.matrix(columns), np.concatenate(rows.right), cones, settings
    ).solve()
    currents = np.zeros((len(site.station_ids), slots))
    currents[each.station, each.slot] = np.asarray(found.x)[: each.count]
    clipped: Floats = np.clip(currents, 0.0, site.max_pilot[:, None])
    return clipped


def _linear(each: _Currents, site: Foreign, left: Floats, hours: float, aim: Aim) -> _Rows:
    """Energy of each session, ranges of each current, the peak."""
    rows, pair, kw = _Rows(), np.arange(each.count), site.voltages[each.station] / 1e3
    rows.add(left, (each.owner, pair, kw * hours))
    rows.add(-each.low, (pair, pair, -np.ones(each.count)))
    rows.add(each.high, (pair, pair, np.ones(each.count)))
    if aim.peak_price > 0:
        slots = aim.per_ampere.shape[1]
        peak = np.full(slots, each.count)
        rows.add(np.zeros(slots), (each.slot, pair, kw), (np.arange(slots), peak, -np.ones(slots)))
        rows.add(np.array([-aim.peak_floor_kw]), (np.zeros(1, dtype=np.int64), peak[:1], -np.ones(1)))
    return rows


def _discs(rows: _Rows, each: _Currents, site: Foreign, slots: int) -> int:
    """Each limit in each slot in which it could bind, as a cone of three rows; gives how many."""
    found = 0
    turned = site.constraint_matrix * np.exp(1j * np.deg2rad(site.phases))
    for line, limit in zip(turned, site.constraint_limits, strict=True):
        weight = line[each.station]
        most = np.bincount(each.slot, weights=np.abs(weight) * each.high, minlength=slots)
        binding = np.flatnonzero(most > limit)
        place = np.full(slots, -1)
        place[binding] = np.arange(len(binding))
        mine = np.flatnonzero((place[each.slot] >= 0) & (np.abs(weight) > 0))
        right = np.zeros(3 * len(binding))
        right[::3] = limit
        at = 3 * place[each.slot[mine]]
        rows.add(right, (at + 1, mine, -weight[mine].real), (at + 2, mine, -weight[mine].imag))
        found += len(binding)
    return found
