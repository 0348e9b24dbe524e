"""Extended isolation forest: sloping cuts on one robust scale, each tree on a bounded sample.

Hariri, Carrasco Kind and Brunner (2019). Without the scale the widest feature decides every cut; with all rows in each
tree odd ones hide one another. Trees are kept and walked by ``trees.packed``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.anomaly.scale import RobustScale
from plugcast.errors import SpecMismatchError
from plugcast.trees.packed.extended import fit_extended
from plugcast.trees.packed.predictor import Packed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TERMS: Final = 2
TREES: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExtendedForest:
    """Trees over scaled features."""

    scale: RobustScale
    packed: Packed

    @property
    def names(self) -> tuple[str, ...]:
        """The features, sorted."""
        return self.scale.names

    def score(self, matrix: Floats, names: Sequence[str]) -> Floats:
        """Isolation scores in (0, 1]; HIGHER is odder, 0.5 is ordinary."""
        return self.packed.predict(self.scale.apply(matrix, names))

    def contributions(self, matrix: Floats, names: Sequence[str]) -> Floats:
        """(rows, features) change of the expected path length along each row's path; negative makes it odder."""
        return self.packed.contributions(self.scale.apply(matrix, names))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything but names, for an npz file."""
        content = np.frombuffer(self.packed.to_bytes(), np.uint8)
        return {"median": self.scale.median, "spread": self.scale.spread, "trees": content}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], *, names: Sequence[str]) -> ExtendedForest:
        """Restore and check; raises ModelError or SpecMismatchError where the arrays are no forest of these names."""
        packed = Packed.from_bytes(arrays["trees"].tobytes(), tuple(names))
        if {len(arrays["median"]), len(arrays["spread"])} != {len(names)}:
            raise SpecMismatchError("The extended forest's scale is of other features. Train the detector again.")
        scale = RobustScale(names=tuple(names), median=arrays["median"], spread=arrays["spread"])
        return cls(scale=scale, packed=packed)


def fit_extended_forest(
    matrix: Floats, names: Sequence[str], *, seed: int, terms: int = TERMS, trees: int = TREES
) -> ExtendedForest:
    """Fit on (rows, columns) of mostly ordinary rows; the order of columns does not matter.

    Raises:
        NoUsableRowsError: Fewer than two rows.
    """
    scale = RobustScale.fit(matrix, names)
    forest = fit_extended(scale.apply(matrix, names), scale.names, seed=seed, terms=terms, trees=trees)
    return ExtendedForest(scale=scale, packed=Packed(forest))
