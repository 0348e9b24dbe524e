"""One scale for all features, so that no wide one decides every distance and every plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.anomaly.forests import align

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

REACH: Final = 8.0
"""No feature is ever further from its median than this: one absurd number is odd, but not all that is odd."""
IQR_TO_SIGMA: Final = 1.349


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RobustScale:
    """Distances to the median in robust standard deviations, drawn in smoothly: z / (1 + abs(z) / 8).

    Only sums, products and quotients, which round the same for one row and for many. Missing is the median.
    """

    names: tuple[str, ...]
    median: Floats
    spread: Floats

    @classmethod
    def fit(cls, matrix: Floats, names: Sequence[str]) -> RobustScale:
        """Of (rows, columns); columns are sorted by name, a constant one has the spread 1."""
        ordered = tuple(sorted(names))
        values = align(matrix, names, ordered)
        median, spread = np.zeros(len(ordered)), np.ones(len(ordered))
        for place, column in enumerate(values.T):
            known = column[np.isfinite(column)]
            if not len(known):
                continue
            low, median[place], high = np.quantile(known, [0.25, 0.5, 0.75])
            wide = (high - low) / IQR_TO_SIGMA
            spread[place] = wide if wide > 0 else (known.std() or 1.0)
        return cls(names=ordered, median=median, spread=spread)

    def apply(self, matrix: Floats, names: Sequence[str]) -> Floats:
        """(rows, features), C-contiguous; the matrix itself stays as it is."""
        values = align(matrix, names, self.names)
        gap = np.where(np.isfinite(values), (values - self.median) / self.spread, 0.0)
        return np.ascontiguousarray(gap / (1.0 + np.abs(gap) / REACH))
