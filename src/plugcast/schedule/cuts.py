"""What holds at every instant, as rows that are added only where a solution breaks them.

Two kinds: the limit of the site in slots that cars enter or leave midway, where slot means would let them overlap, and
the limits of the network. A conductor's current is a complex sum, its limit a disc; the row is the disc's tangent in
the direction of the current found. Solved again, a few tangents describe as much of the disc as matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.schedule.arrays import POWER_TOL_KW

if TYPE_CHECKING:
    from plugcast.schedule.arrays import ComplexArray, FloatArray, IntArray
    from plugcast.schedule.matrix import Places
    from plugcast.schedule.problem import PlanProblem

CUT_TOL: Final = 1e-7
"""Relative excess from which a limit counts as broken while cuts are still being added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows ``A x <= upper`` by rows, over the columns of a programme."""

    start: IntArray
    index: IntArray
    value: FloatArray
    upper: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """The limits at every instant of one problem, ready to be looked at again and again."""

    at: Places
    order: IntArray
    """Pairs by slot."""
    begin: IntArray
    """[T + 1] where each slot's pairs begin in ``order``."""
    headroom_kw: FloatArray
    """[T] infinite where slot means say all."""
    weight: ComplexArray
    """[L, V] of each limit of the network."""
    limit: FloatArray
    """[L]"""

    def broken(self, while_there: FloatArray, *, tolerance: float = CUT_TOL) -> Rows | None:
        """Tangents to all limits that powers [K] exceed, or None."""
        found: list[tuple[int, int | None]] = [(slot, None) for slot in self._crowded(while_there, tolerance)]
        found += [(slot, line) for line, slot in self._overloaded(while_there, tolerance)]
        if not found:
            return None
        index, value, upper, start = [], [], [], [0]
        for slot, line in found:
            mine, slope, most = self._tangent(slot, line, while_there)
            index.append(mine)
            value.append(slope / self.at.pairs.share[mine])
            upper.append(most)
            start.append(start[-1] + len(mine))
            back = self.at.given[mine] if len(self.at.given) else np.empty(0, dtype=np.int64)
            gives = back >= 0
            if gives.any():
                index.append(back[gives])
                value.append(-slope[gives] / self.at.pairs.share[mine[gives]])
                start[-1] += int(gives.sum())
        return Rows(
            start=np.array(start[:-1]),
            index=np.concatenate(index),
            value=np.concatenate(value),
            upper=np.array(upper, dtype=np.float64),
        )

    def factor(self, while_there: FloatArray) -> FloatArray:
        """[T] by which all powers of a slot must shrink so that no limit is exceeded; 1 where none is."""
        at = self.at
        together = np.bincount(at.pairs.slot, weights=while_there, minlength=at.slots)
        shrink = np.minimum(1.0, self.headroom_kw / np.maximum(together, POWER_TOL_KW))
        for line in range(len(self.limit)):
            load = np.abs(self._load(line, while_there))
            shrink = np.minimum(
                shrink, np.where(load > self.limit[line], self.limit[line] / np.maximum(load, 1e-12), 1)
            )
        return shrink

    def _crowded(self, while_there: FloatArray, tolerance: float) -> list[int]:
        if not np.isfinite(self.headroom_kw).any():
            return []
        together = np.bincount(self.at.pairs.slot, weights=while_there, minlength=self.at.slots)
        over = together > self.headroom_kw * (1 + tolerance) + POWER_TOL_KW
        found: list[int] = np.flatnonzero(over).tolist()
        return found

    def _overloaded(self, while_there: FloatArray, tolerance: float) -> list[tuple[int, int]]:
        found = []
        for line, limit in enumerate(self.limit.tolist()):
            over = np.abs(self._load(line, while_there)) > limit * (1 + tolerance) + POWER_TOL_KW
            found += [(line, slot) for slot in np.flatnonzero(over).tolist()]
        return found

    def _load(self, line: int, while_there: FloatArray) -> ComplexArray:
        """[T] complex sum."""
        at, weight = self.at, self.weight[line, self.at.pairs.vehicle]
        real = np.bincount(at.pairs.slot, weights=while_there * weight.real, minlength=at.slots)
        if not weight.imag.any():
            return real.astype(np.complex128)
        flow: ComplexArray = real + 1j * np.bincount(
            at.pairs.slot, weights=while_there * weight.imag, minlength=at.slots
        )
        return flow

    def _tangent(self, slot: int, line: int | None, while_there: FloatArray) -> tuple[IntArray, FloatArray, float]:
        """Pairs of a slot, the slope of the limit in each, and the limit."""
        mine = self.order[self.begin[slot] : self.begin[slot + 1]]
        if line is None:
            return mine, np.ones(len(mine)), float(self.headroom_kw[slot])
        weight = self.weight[line, self.at.pairs.vehicle[mine]]
        wired = weight != 0
        mine, weight = mine[wired], weight[wired]
        load = complex(weight @ while_there[mine])
        return mine, np.real(weight * (load.conjugate() / abs(load))), float(self.limit[line])


def instant_limits(problem: PlanProblem, at: Places, *, gives: bool) -> Instant:
    """Those of a problem; where a battery or cars give power the site's limit is left to slot means."""
    window = problem.window
    headroom = np.full(at.slots, np.inf)
    if not gives:
        midway = np.unique(at.pairs.slot[at.pairs.share < 1.0])
        headroom[midway] = window.headroom_kw[midway]
    weight, limit = np.zeros((0, problem.vehicles), dtype=np.complex128), np.zeros(0)
    if window.network is not None:
        weight, limit = window.network.of(problem.station_ids), window.network.limit
        used = np.isfinite(limit) & (np.abs(weight) @ problem.max_power_kw > limit)  # others can never bind
        weight, limit = weight[used], limit[used]
    needed = len(limit) > 0 or bool(np.isfinite(headroom).any())
    order = np.argsort(at.pairs.slot, kind="stable") if needed else np.empty(0, dtype=np.int64)
    begin = np.zeros(at.slots + 1, dtype=np.int64)
    np.cumsum(np.bincount(at.pairs.slot, minlength=at.slots), out=begin[1:])
    return Instant(at=at, order=order, begin=begin, headroom_kw=headroom, weight=weight, limit=limit)
