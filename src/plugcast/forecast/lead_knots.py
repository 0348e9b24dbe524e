"""Which of many leads trees are asked at, and what stands in between: a forecast changes little from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

KNOTS_MIN: Final = ((120.0, 15.0), (360.0, 30.0), (np.inf, 60.0))
"""Up to each lead, trees are asked at its multiples of so many minutes."""


def knots(lead_min: np.ndarray) -> np.ndarray:
    """Places of the increasing leads that trees are asked at, the outermost among them.

    >>> knots(np.arange(1, 193) * 15.0).size
    58
    """
    step = np.full(len(lead_min), KNOTS_MIN[-1][1])
    for until, every in reversed(KNOTS_MIN):
        step[lead_min <= until] = every
    asked = lead_min % step == 0
    asked[[0, -1]] = True
    return np.flatnonzero(asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """Linear interpolation from some leads to others, for many origins at once."""

    left: np.ndarray
    weight: np.ndarray
    """Of the right neighbour."""
    knots: int

    @classmethod
    def of(cls, known: np.ndarray, wanted: np.ndarray) -> Between:
        """From increasing known leads to wanted ones."""
        left = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, max(len(known) - 2, 0))
        right = np.minimum(left + 1, len(known) - 1)
        span = np.where(right > left, known[right] - known[left], 1.0)
        return cls(left=left, weight=np.clip((wanted - known[left]) / span, 0.0, 1.0), knots=len(known))

    def apply(self, value: np.ndarray) -> np.ndarray:
        """Values at the known leads, origin by origin, to values at the wanted ones; both flat."""
        table = value.reshape(-1, self.knots)
        right = np.minimum(self.left + 1, self.knots - 1)
        mixed = table[:, self.left] * (1.0 - self.weight) + table[:, right] * self.weight
        return np.asarray(mixed.reshape(-1))
