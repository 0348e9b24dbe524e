"""Plain ways to draw trajectories from probabilities alone, which scenarios must beat, and proper scores of both.

Each quarter of an hour by itself, or tied to the one before by a Gaussian copula of first order, in which one number
says how persistent the state is.
"""

from __future__ import annotations

from typing import Final

import numpy as np

TAIL: Final = 1e-6
"""Probabilities are held so far away from 0 and 1."""


def independent(marginals: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Every quarter of an hour for itself. Bool, shape (n, count, t), from marginals of shape (n, t)."""
    return np.asarray(rng.random((len(marginals), count, marginals.shape[1]), np.float32) < marginals[:, None])


def gaussian_copula(marginals: np.ndarray, count: int, phi: float, rng: np.random.Generator) -> np.ndarray:
    """Plugged in where an AR(1) process of unit variance lies below the marginal's normal quantile.

    Args:
        marginals: Shape (n, t).
        count: Paths of each origin.
        phi: Correlation of neighbouring slots, below 1.
        rng: Source of the process.

    Returns:
        Bool, shape (n, count, t).
    """
    from scipy.special import ndtri  # noqa: PLC0415 - slow to import

    bound = ndtri(np.clip(marginals, TAIL, 1 - TAIL))
    paths = np.empty((len(marginals), count, marginals.shape[1]), bool)
    level = rng.standard_normal(paths.shape[:2])
    for slot in range(paths.shape[2]):
        if slot:
            level = phi * level + np.sqrt(1 - phi * phi) * rng.standard_normal(level.shape)
        paths[:, :, slot] = level < bound[:, slot, None]
    return paths


def crps_weighted(members: np.ndarray, weight: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of weighted members as a distribution, each row's, in the outcome's unit.

    ``E|X - y| - E|X - X'| / 2``; with equal weights ``scores.crps_ensemble(..., fair=False)``.

    Args:
        members: Shape (n, s), NaN-free.
        weight: Shape (n, s), each row's sum 1.
        outcome: Shape (n,).

    >>> crps_weighted(np.array([[0.0, 2.0]]), np.array([[0.5, 0.5]]), np.array([1.0])).tolist()
    [0.5]
    """
    order = np.argsort(members, axis=1)
    ordered = np.take_along_axis(members, order, axis=1).astype(np.float64)
    share = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)[:, :-1]
    spread = (np.diff(ordered, axis=1) * share * (1 - share)).sum(axis=1)
    return np.asarray((weight * np.abs(members - outcome[:, None])).sum(axis=1) - spread)


def energy_score(paths: np.ndarray, weight: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Energy score of whole trajectories (Gneiting and Raftery 2007), Euclidean in plug states; lower is better.

    Args:
        paths: Bool. Shape (n, s, t).
        weight: Shape (n, s), each row's sum 1.
        outcome: Bool. Shape (n, t).

    >>> energy_score(np.array([[[True, True]]]), np.array([[1.0]]), np.array([[True, False]])).tolist()
    [1.0]
    """
    miss = np.sqrt((paths != outcome[:, None]).sum(axis=2))
    flat = paths.astype(np.float32)
    size = flat.sum(axis=2)
    shared = flat @ flat.transpose(0, 2, 1)
    apart = np.sqrt(np.maximum(size[:, :, None] + size[:, None] - 2 * shared, 0))
    return np.asarray((weight * miss).sum(axis=1) - 0.5 * np.einsum("ni,nij,nj->n", weight, apart, weight))


def changes(paths: np.ndarray, plugged: np.ndarray) -> np.ndarray:
    """Changes of state along each trajectory, the step from the origin's state included.

    Args:
        paths: Bool. Shape (n, ..., t).
        plugged: State at the origin, bool. Shape (n,).
    """
    turned: np.ndarray = np.diff(_from_origin(paths, plugged), axis=-1).sum(axis=-1)
    return turned


def first_change(paths: np.ndarray, plugged: np.ndarray) -> np.ndarray:
    """Slots until the state first differs from the origin's; t where it never does."""
    return _first(np.diff(_from_origin(paths, plugged), axis=-1))


def first_arrival(paths: np.ndarray, plugged: np.ndarray) -> np.ndarray:
    """Slots until a car first plugs in after the origin; t where it never does."""
    full = _from_origin(paths, plugged)
    return _first(full[..., 1:] & ~full[..., :-1])


def _from_origin(paths: np.ndarray, plugged: np.ndarray) -> np.ndarray:
    start = plugged.astype(bool).reshape(-1, *[1] * (paths.ndim - 1))
    return np.concatenate([np.broadcast_to(start, (*paths.shape[:-1], 1)), paths], axis=-1)


def _first(event: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(event.any(axis=-1), event.argmax(axis=-1), event.shape[-1]))
