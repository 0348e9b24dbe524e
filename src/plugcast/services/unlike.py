"""How unlike anything in training a forecast's input is: an isolation forest over the short pair's inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.anomaly.forests import fit_forest
from plugcast.forecast.split import thin

if TYPE_CHECKING:
    from plugcast.forecast.panel import Panel
    from plugcast.trees.packed.predictor import Packed

TREES: Final = 100
MOST_ROWS: Final = 20_000
"""Each tree sees 256 of them."""
SEED: Final = 42
LEVELS: Final = (0.5, 0.9, 0.99, 0.999)


def fit(known: Panel, lead_min: float) -> tuple[Packed, dict[str, float]]:
    """The forest, and levels of its score over training rows: what is ordinary, and what one row in a thousand has.

    Its score lies in (0, 1]; 0.5 is ordinary, HIGHER is less like anything that the models were trained on, and a
    forecast from it less worth.
    """
    row = thin(np.arange(known.rows), MOST_ROWS)
    matrix = known.matrix(row, lead_min)
    packed = fit_forest(matrix.astype(np.float64), known.columns, seed=SEED, trees=TREES).packed
    order = [known.columns.index(name) for name in packed.forest.names]
    score = packed.predict(matrix[:, order])
    return packed, {f"{level:g}": float(value) for level, value in zip(LEVELS, np.quantile(score, LEVELS), strict=True)}
