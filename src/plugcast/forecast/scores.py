"""Proper scores and friends; lower is better for all but AUC. Inputs are arrays of equal length, NaN-free."""

from __future__ import annotations

from typing import Final

import numpy as np

ECE_BINS: Final = 15


def brier(probability: np.ndarray, outcome: np.ndarray) -> float:
    """Mean squared error of a probability (Brier 1950).

    >>> brier(np.array([0.8, 0.4]), np.array([1, 0]))
    0.1
    """
    return float(np.round(np.mean((probability - outcome) ** 2), 12))


def auc(score: np.ndarray, outcome: np.ndarray) -> float:
    """Area under the ROC curve by ranks, ties counted half (Hanley and McNeil 1982); NaN if one class is absent.

    >>> auc(np.array([0.1, 0.5, 0.5, 0.9]), np.array([0, 0, 1, 1]))
    0.875
    """
    positives = int(outcome.sum())
    negatives = len(outcome) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    mid_rank = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(mid_rank[inverse][outcome.astype(bool)].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def mae(forecast: np.ndarray, outcome: np.ndarray) -> float:
    """Mean absolute error, in the outcome's unit."""
    return float(np.mean(np.abs(forecast - outcome)))


def log_loss(probability: np.ndarray, outcome: np.ndarray, *, floor: float = 1e-6) -> float:
    """Mean negative log likelihood; probabilities are held ``floor`` away from 0 and 1."""
    held = np.clip(probability, floor, 1 - floor)
    return float(-np.mean(np.where(outcome.astype(bool), np.log(held), np.log(1 - held))))


def ece(probability: np.ndarray, outcome: np.ndarray) -> float:
    """Expected calibration error over equally filled bins: mean distance of forecast from observed frequency."""
    if len(probability) == 0:
        return float("nan")
    parts = np.array_split(np.argsort(probability, kind="stable"), min(ECE_BINS, len(probability)))
    gaps = [abs(float(probability[part].mean()) - float(outcome[part].mean())) * len(part) for part in parts]
    return sum(gaps) / len(probability)


def pinball(quantile: np.ndarray, outcome: np.ndarray, level: float) -> float:
    """Mean quantile loss at ``level`` (Koenker and Bassett 1978)."""
    error = outcome - quantile
    return float(np.mean(np.maximum(level * error, (level - 1) * error)))


def coverage(low: np.ndarray, high: np.ndarray, outcome: np.ndarray) -> float:
    """Share of outcomes inside ``[low, high]``."""
    return float(np.mean((outcome >= low) & (outcome <= high)))
