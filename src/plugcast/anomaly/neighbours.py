"""Local density: how far is a session from the ordinary sessions most like it?

The distance to the k-th nearest of a sample of past sessions (Ramaswamy, Rastogi and Shim, SIGMOD 2000) on one robust
scale. It finds what isolation forests miss: a session that is ordinary in every feature, and odd in their combination.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.anomaly.scale import RobustScale
from plugcast.errors import NoUsableRowsError, SpecMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

REFERENCES: Final = 1024
NEIGHBOURS: Final = 5
CHUNK_ROWS: Final = 256
"""A block of 256 x 1024 distances stays in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neighbours:
    """Past sessions to compare with. A row's score depends on that row alone, bit for bit."""

    scale: RobustScale
    points: NDArray[np.float32]
    """(features, references), scaled."""
    k: int

    @property
    def names(self) -> tuple[str, ...]:
        """The features, sorted."""
        return self.scale.names

    def score(self, matrix: Floats, names: Sequence[str]) -> Floats:
        """Distance to the k-th nearest reference, in robust standard deviations; HIGHER is odder."""
        rows = self.scale.apply(matrix, names).astype(np.float32)
        made = np.empty(len(rows))
        for start in range(0, len(rows), CHUNK_ROWS):
            chunk = rows[start : start + CHUNK_ROWS]
            total = np.zeros((len(chunk), self.points.shape[1]), np.float32)
            for place, column in enumerate(self.points):
                gap = chunk[:, place, None] - column
                gap *= gap
                total += gap
            near = np.partition(total, self.k - 1, axis=1)[:, self.k - 1]
            made[start : start + CHUNK_ROWS] = np.sqrt(near.astype(np.float64))
        return made

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything but names and k, for an npz file."""
        return {"median": self.scale.median, "spread": self.scale.spread, "points": self.points}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], *, names: Sequence[str], k: int) -> Neighbours:
        """Restore and check; raises SpecMismatchError where the arrays do not fit together."""
        points = arrays["points"]
        sizes = (len(arrays["median"]), len(arrays["spread"]), len(points))
        if set(sizes) != {len(names)} or points.ndim != 2 or not 1 <= k <= points.shape[1]:  # noqa: PLR2004 - a matrix
            raise SpecMismatchError(
                f"Wanted neighbours over {len(names)} features; found arrays of {sizes}. Train the detector again."
            )
        scale = RobustScale(names=tuple(names), median=arrays["median"], spread=arrays["spread"])
        return cls(scale=scale, points=points, k=k)


def fit_neighbours(
    matrix: Floats, names: Sequence[str], *, seed: int, references: int = REFERENCES, k: int = NEIGHBOURS
) -> Neighbours:
    """Draw the references from (rows, columns) of mostly ordinary rows; the same seed draws the same.

    Raises:
        NoUsableRowsError: No rows.
    """
    if not len(matrix):
        raise NoUsableRowsError("Wanted at least one row to compare with; found none. Give more.")
    scale = RobustScale.fit(matrix, names)
    drawn = np.random.default_rng(seed).choice(len(matrix), min(references, len(matrix)), replace=False)
    points = scale.apply(matrix[np.sort(drawn)], names).astype(np.float32)
    return Neighbours(scale=scale, points=np.ascontiguousarray(points.T), k=min(k, len(drawn)))
