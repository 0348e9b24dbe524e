"""Which car may charge in which slot, as flat arrays: the first columns of every programme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from plugcast.schedule.arrays import FloatArray, IntArray
    from plugcast.schedule.problem import PlanProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """K pairs of car and slot, car by car, slots ascending."""

    vehicle: IntArray
    slot: IntArray
    share: FloatArray
    """Of the slot, that in which the car is there."""
    block: IntArray
    """[V + 1] where each car's pairs begin."""

    def of(self, car: int) -> IntArray:
        """The pairs of one car."""
        return np.arange(int(self.block[car]), int(self.block[car + 1]))

    @property
    def count(self) -> int:
        """K."""
        return len(self.slot)


def pairs_of(problem: PlanProblem) -> Pairs:
    """The pairs of a problem."""
    lengths = problem.last_slot - problem.first_slot
    block = np.zeros(problem.vehicles + 1, dtype=np.int64)
    np.cumsum(lengths, out=block[1:])
    share = np.ones(int(block[-1]))
    here = lengths > 0
    share[block[:-1][here]] = problem.first_share[here]
    share[block[1:][here] - 1] = problem.last_share[here]
    return Pairs(
        vehicle=np.repeat(np.arange(problem.vehicles), lengths),
        slot=np.arange(int(block[-1])) + np.repeat(problem.first_slot - block[:-1], lengths),
        share=share,
        block=block,
    )
