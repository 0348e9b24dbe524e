"""The usual session detectors, re-implemented: three raw features, 500 isolation trees, extended trees on raw features.

Kinder than the method that they follow: sessions with a missing feature are scored with the median in its place, where
the method drops them. Extended trees see 2,048 rows each instead of all, or growing them would take an hour.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.ensemble import IsolationForest

from plugcast.anomaly.forests import average_path_length

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

COLUMNS = ("energy_kwh", "requested_kwh", "charging_h")
EXTENDED_ROWS, EXTENDED_TREES = 2048, 60


def reference_matrix(features: pl.DataFrame, like: Floats | None = None) -> Floats:
    """Energy, energy requested and whole hours of charging, medians where missing."""
    rows = features.select(COLUMNS).to_numpy().astype(np.float64)
    rows[:, 2] = np.floor(rows[:, 2])
    known = rows if like is None else like
    median = [np.nanmedian(column) if np.isfinite(column).any() else 0.0 for column in known.T]
    return np.where(np.isfinite(rows), rows, median)


def reference_forest(train: Floats, seed: int) -> IsolationForest:
    """500 trees with bootstrap."""
    return IsolationForest(n_estimators=500, bootstrap=True, random_state=seed).fit(train)


def reference_extended(train: Floats, test: Floats, seed: int) -> Floats:
    """Scores of test rows by extended trees on unscaled features; grown and walked at once."""
    rng = np.random.default_rng(seed)
    size = min(EXTENDED_ROWS, len(train))
    depth = np.zeros(len(test))
    for _ in range(EXTENDED_TREES):
        rows = train[rng.choice(len(train), size, replace=False)]
        _walk(rows, test, np.arange(len(test)), depth, 0, math.ceil(math.log2(size)), rng)
    scores: Floats = 2.0 ** (-depth / EXTENDED_TREES / average_path_length(size))
    return scores


def _walk(  # noqa: PLR0917 - one recursion, called often
    rows: Floats, test: Floats, here: NDArray[Any], depth: Floats, level: int, limit: int, rng: np.random.Generator
) -> None:
    if level >= limit or len(rows) <= 1 or not len(here):
        depth[here] += level + average_path_length(len(rows))
        return
    normal = rng.normal(size=rows.shape[1])
    point = rng.uniform(rows.min(axis=0), rows.max(axis=0))
    left = (rows - point) @ normal <= 0
    goes = (test[here] - point) @ normal <= 0
    _walk(rows[left], test, here[goes], depth, level + 1, limit, rng)
    _walk(rows[~left], test, here[~goes], depth, level + 1, limit, rng)


def per_message(model: IsolationForest, rows: Floats) -> None:
    """A prediction for each message, as the method serves; it also makes a data frame of each, which is left out."""
    for row in rows:
        model.predict(row[None])
