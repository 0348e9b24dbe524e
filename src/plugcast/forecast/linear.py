"""Logistic regression as JSON: a ridge on standardised inputs, fitted by Newton's method in NumPy."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

LARGEST: Final = 40.0
"""Log-odds are held within; beyond, a probability is 0 or 1 in double precision."""
MOST_STEPS: Final = 25
SMALL: Final = 1e-6


def log_odds(chance: np.ndarray, *, floor: float = 0.002) -> np.ndarray:
    """Of probabilities, held ``floor`` away from 0 and 1.

    >>> float(log_odds(np.array([0.5]))[0])
    0.0
    """
    held = np.clip(chance, floor, 1.0 - floor)
    return np.asarray(np.log(held / (1.0 - held)))


def probability(odds: np.ndarray) -> np.ndarray:
    """Inverse of ``log_odds``."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -LARGEST, LARGEST))))


class Linear(msgspec.Struct, frozen=True, kw_only=True):
    """Log-odds as a weighted sum of inputs; an unknown input counts as its mean."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]
    """One for each input, and the constant last."""

    @classmethod
    def fit(
        cls,
        matrix: np.ndarray,
        outcome: np.ndarray,
        *,
        ridge: float,
        row_weight: np.ndarray | None = None,
        start: Linear | None = None,
    ) -> Linear:
        """Minimise the log loss plus ``ridge / 2`` times the squared weights of standardised inputs.

        Args:
            matrix: Shape (n, k); NaN = unknown.
            outcome: 0 or 1; shape (n,).
            ridge: Strength; the constant is free.
            row_weight: Shape (n,); all 1 by default.
            start: A fit to like rows, to begin from.
        """
        known = ~np.isnan(matrix)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, matrix, 0.0).sum(axis=0) / count
        scale = np.sqrt((np.where(known, matrix - mean, 0.0) ** 2).mean(axis=0)) + SMALL
        inputs = _standard(matrix, mean, scale)
        rows = np.ones(len(outcome)) if row_weight is None else row_weight
        penalty = np.full(inputs.shape[1], ridge)
        penalty[-1] = SMALL
        weight = np.zeros(inputs.shape[1]) if start is None else np.array(start.weight)
        for _ in range(MOST_STEPS):
            chance = probability(inputs @ weight)
            slope = inputs.T @ (rows * (chance - outcome)) + penalty * weight
            bend = np.maximum(rows * chance * (1.0 - chance), SMALL)
            root = inputs * np.sqrt(bend)[:, None]
            step = np.linalg.solve(root.T @ root + np.diag(penalty), slope)
            largest = float(np.abs(step).max())
            weight = weight - step * min(1.0, 3.0 / max(largest, SMALL))  # bounded: separable data would overshoot
            if largest < 1e-4:  # noqa: PLR2004 - far below what moves a probability
                break
        return cls(mean=tuple(map(float, mean)), scale=tuple(map(float, scale)), weight=tuple(map(float, weight)))

    def odds(self, matrix: np.ndarray) -> np.ndarray:
        """Log-odds; shape (n,)."""
        return np.asarray(_standard(matrix, np.array(self.mean), np.array(self.scale)) @ np.array(self.weight))


def _standard(matrix: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    inputs = np.empty((len(matrix), matrix.shape[1] + 1))
    inputs[:, -1] = 1.0
    inputs[:, :-1] = (matrix - mean) / scale
    inputs[np.isnan(inputs)] = 0.0
    return inputs
