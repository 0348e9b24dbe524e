"""The three detectors that need no faults, fused, on any table of numbers: what the stack is without its classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.anomaly.extended import fit_extended_forest
from plugcast.anomaly.forests import fit_forest
from plugcast.anomaly.neighbours import fit_neighbours
from plugcast.anomaly.stack import Scorer, StackSpec
from plugcast.anomaly.threshold import Tail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FEW_REFERENCES: Final = 256
"""Where odd rows may be many, few references seldom hold two of them side by side."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unsupervised:
    """The three detectors that need no faults, on any table of numbers."""

    names: tuple[str, ...]
    scorers: Mapping[str, Scorer]
    tails: Mapping[str, Tail]

    def score(self, matrix: Floats, names: Sequence[str]) -> Floats:
        """Mean evidence of the parts; HIGHER is odder."""
        total = np.zeros(len(matrix))
        for name, part in self.scorers.items():
            evidence = self.tails[name].evidence(part.score(matrix, names))
            total += evidence
        return total / len(self.scorers)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All that decides its scores, but for names."""
        return {
            f"{part}.{name}": array
            for part, scorer in self.scorers.items()
            for name, array in scorer.to_arrays().items()
        } | {f"{part}-held-out": tail.held_out for part, tail in self.tails.items()}


def fit_unsupervised(matrix: Floats, names: Sequence[str], *, seed: int, spec: StackSpec | None = None) -> Unsupervised:
    """Fit on (rows, columns) of any kind, odd ones among them; ranked among themselves, not held out."""
    size = spec or StackSpec()
    scorers: dict[str, Scorer] = {
        "forest": fit_forest(matrix, names, seed=seed, trees=size.forest_trees, subsample=size.forest_subsample),
        "extended": fit_extended_forest(matrix, names, seed=seed, terms=size.extended_terms, trees=size.extended_trees),
        "neighbours": fit_neighbours(matrix, names, seed=seed, references=FEW_REFERENCES, k=size.neighbours),
    }
    tails = {name: Tail(held_out=np.sort(part.score(matrix, names))) for name, part in scorers.items()}
    return Unsupervised(names=tuple(sorted(names)), scorers=scorers, tails=tails)
