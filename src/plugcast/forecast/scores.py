"""Proper scores and friends; lower is better for all but AUC. Inputs are arrays of equal length, NaN-free."""

from __future__ import annotations

from dataclasses import dataclass
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


def smape(forecast: np.ndarray, outcome: np.ndarray) -> tuple[float, float]:
    """Both definitions of the symmetric mean absolute percentage error, in %; the second is twice the first.

    Mean of ``|e| / (|y| + |p|)`` (at most 100 %), and of ``|e| / ((|y| + |p|) / 2)`` (at most 200 %, Makridakis 1993).
    Published figures often do not say which one they are. A pair of zeros is no error.

    >>> smape(np.array([3.0, 0.0]), np.array([1.0, 0.0]))
    (25.0, 50.0)
    """
    size = np.abs(forecast) + np.abs(outcome)
    share = np.divide(np.abs(forecast - outcome), size, out=np.zeros_like(size, dtype=float), where=size > 0)
    mean = 100.0 * float(np.mean(share))
    return mean, 2.0 * mean


def interval_score(low: np.ndarray, high: np.ndarray, outcome: np.ndarray, level: float) -> float:
    """Width plus ``2 / (1 - level)`` times what the central interval missed (Gneiting and Raftery 2007), in units.

    >>> round(interval_score(np.array([1.0]), np.array([3.0]), np.array([4.0]), 0.8), 9)
    12.0
    """
    missed = np.maximum(low - outcome, 0.0) + np.maximum(outcome - high, 0.0)
    return float(np.mean(high - low + 2.0 / (1.0 - level) * missed))


def crps_quantiles(quantiles: np.ndarray, levels: tuple[float, ...], outcome: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of each row from its quantiles, in the outcome's unit.

    Twice the quantile loss, integrated over the levels by the midpoint rule: each level stands for those nearest to
    it. One level of 0.5 gives the absolute error; many give the score of the distribution.

    Args:
        quantiles: Shape (m, len(levels)), non-decreasing along the row.
        levels: Increasing, within (0, 1).
        outcome: Shape (m,).

    >>> crps_quantiles(np.array([[2.0]]), (0.5,), np.array([5.0])).tolist()
    [3.0]
    """
    at = np.array(levels)
    edges = np.concatenate([[0.0], (at[1:] + at[:-1]) / 2, [1.0]])
    error = outcome[:, None] - quantiles
    return np.asarray(2.0 * np.maximum(at * error, (at - 1.0) * error) @ np.diff(edges))


def crps_ensemble(members: np.ndarray, outcome: np.ndarray, *, fair: bool = True) -> np.ndarray:
    """Continuous ranked probability score of each row from its ensemble, in the outcome's unit.

    ``E|X - y| - E|X - X'| / 2``. ``fair`` (Ferro 2014) does not punish an ensemble for being small: it is what the
    distribution behind the members would score on average. Cost: O(k log k) a row.

    Args:
        members: Shape (m, k), in any order; k > 1 where fair.
        outcome: Shape (m,).
        fair: False: the score of the members themselves as a distribution.

    >>> crps_ensemble(np.array([[0.0, 2.0]]), np.array([1.0]), fair=False).tolist()
    [0.5]
    """
    count = members.shape[1]
    rank = 2.0 * np.arange(1, count + 1) - count - 1.0
    spread = np.sort(members, axis=1) @ rank / (count * (count - 1 if fair else count))
    return np.asarray(np.mean(np.abs(members - outcome[:, None]), axis=1) - spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """What was said and what came, in bins of equal width; empty bins are left out. Shapes (bins,)."""

    forecast: np.ndarray
    """Mean probability said."""
    observed: np.ndarray
    """Share that came true."""
    count: np.ndarray


def reliability(probability: np.ndarray, outcome: np.ndarray, *, bins: int = 10) -> Reliability:
    """The points of a reliability diagram (Murphy and Winkler 1977).

    >>> reliability(np.array([0.1, 0.1, 0.9]), np.array([0, 1, 1]), bins=2).observed.tolist()
    [0.5, 1.0]
    """
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    there = count > 0
    said = np.bincount(place, weights=probability, minlength=bins)[there] / count[there]
    came = np.bincount(place, weights=outcome.astype(float), minlength=bins)[there] / count[there]
    return Reliability(forecast=said, observed=came, count=count[there])
