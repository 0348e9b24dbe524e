"""Trajectories that agree with given marginals without losing their persistence.

``forward`` carries the exact distribution of state and time in it through the horizon and finds, slot by slot, the one
shift of all log odds (towards plugged in) that gives the wanted probability. ``balance`` finds weights of drawn paths,
as even as can be, whose marginals are the wanted ones (entropy balancing, Hainmueller 2012). ``spread`` picks few paths
out of many so that they stand for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from plugcast.forecast.slots import AGES, age_class

HELD: Final = 8.0
"""Largest shift of the log odds."""
NEWTON_STEPS: Final = 8
SLACK: Final = 0.005
"""Probability that is given up for a shift of the log odds by one: a jagged course is not worth many extra changes."""
BLOCK_SLOTS: Final = 4
"""Weights agree with the marginals' means over an hour."""
RIDGE: Final = 1e-2
"""Holds weights back from chasing what few paths cannot give."""
BALANCE_STEPS: Final = 25
CLOSE: Final = 1e-9
STARTS: Final = 8
"""Places to begin sampling from; the one whose paths fit best is kept."""
CHANGES_SCALE: Final = 2.0
"""So many changes weigh as much as an hour plugged in or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The distribution of n origins' futures over t slots."""

    shift: np.ndarray
    """Added to the log odds of a change to plugged in, taken from those of the opposite. Shape (n, t)."""
    plug_probability: np.ndarray
    """At the end of each slot. Shape (n, t)."""
    changes: np.ndarray
    """Expected number of changes of state over the horizon. Shape (n,)."""


def sigmoid(log_odds: np.ndarray) -> np.ndarray:
    """The probability of some log odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def forward(
    log_odds: np.ndarray, plugged: np.ndarray, age_min: np.ndarray, wanted: np.ndarray | None, slot_min: int
) -> Course:
    """The exact course of the hazard, shifted so that it meets the wanted probabilities where there are any.

    Args:
        log_odds: Of a change in each slot. Shape (n, t, 2 states, AGES).
        plugged: State at the origin, 0 or 1. Shape (n,).
        age_min: Time in it. Shape (n,).
        wanted: Probability at the end of each slot, shape (n, t); None: leave the hazard as it is.
        slot_min: Minutes of a slot.
    """
    number, slots = log_odds.shape[:2]
    every = np.arange(number)
    entered = np.zeros((number, 2, slots + 1))  # probability of being in a state since slot e
    still = np.ones(number)  # of not having changed at all
    shift, chance, changes = np.zeros((number, slots)), np.zeros((number, slots)), np.zeros(number)
    ages = age_class(np.arange(slots + 1) * float(slot_min))
    for slot in range(slots):
        place = ages[slot::-1]
        cuts = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
        mass = np.zeros((number, 2, AGES))
        mass[:, :, place[cuts]] = np.add.reduceat(entered[:, :, : slot + 1], cuts, axis=2)
        first_age = age_class(age_min + slot * slot_min)
        mass[every, plugged, first_age] += still
        if wanted is not None:
            shift[:, slot] = _shift(mass, log_odds[:, slot], wanted[:, slot])
        change = shifted(log_odds[:, slot], shift[:, slot])
        leaving = (mass * change).sum(axis=2)
        entered[:, :, : slot + 1] *= 1 - change[:, :, place]
        still = still * (1 - change[every, plugged, first_age])
        entered[:, 1, slot + 1], entered[:, 0, slot + 1] = leaving[:, 0], leaving[:, 1]
        chance[:, slot] = mass[:, 1].sum(axis=1) - leaving[:, 1] + leaving[:, 0]
        changes += leaving.sum(axis=1)
    return Course(shift=shift, plug_probability=chance, changes=changes)


def shifted(log_odds: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Probability of a change, shape (n, 2, a), with the odds of plugging in raised and those of leaving lowered."""
    return sigmoid(log_odds + shift[:, None, None] * np.array([1.0, -1.0])[:, None])


def _shift(mass: np.ndarray, log_odds: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Newton's method on the probability at the end of the slot, which rises with the shift."""
    shift = np.zeros(len(mass))
    plugged = mass[:, 1].sum(axis=1)
    for _ in range(NEWTON_STEPS):
        change = shifted(log_odds, shift)
        leaving = (mass * change).sum(axis=2)
        slope = (mass * change * (1 - change)).sum(axis=(1, 2)) + SLACK + 1e-9
        miss = plugged - leaving[:, 1] + leaving[:, 0] - wanted + SLACK * shift
        shift = np.clip(shift - np.clip(miss / slope, -1.5, 1.5), -HELD, HELD)
    return shift


def balance(paths: np.ndarray, wanted: np.ndarray, changes: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Weights of paths, shape (n, s), each row's sum 1.

    They maximise entropy, with a ridge, among those whose plugged share agrees with the wanted one in each hour and
    whose mean number of changes agrees too. Cost: about 0.3 ms an origin of 100 paths.

    Args:
        paths: Plug states, bool. Shape (n, s, t), t a multiple of BLOCK_SLOTS.
        wanted: Shape (n, t).
        changes: Expected number of changes. Shape (n,).
        count: Changes of each path. Shape (n, s).
    """
    given = np.concatenate([_hourly(paths), count[:, :, None] / CHANGES_SCALE], axis=2)
    goal = np.concatenate([_hourly(wanted), changes[:, None] / CHANGES_SCALE], axis=1)
    ridge = RIDGE * np.eye(goal.shape[1])
    price = np.zeros_like(goal)
    value, weight = _dual(given, goal, price)
    for _ in range(BALANCE_STEPS):
        mean = np.einsum("ns,nsk->nk", weight, given)
        gradient = mean - goal + RIDGE * price
        bend = np.matmul((given * weight[:, :, None]).transpose(0, 2, 1), given) - mean[:, :, None] * mean[:, None]
        step = -np.linalg.solve(bend + ridge, gradient[:, :, None])[:, :, 0]
        slope = (gradient * step).sum(axis=1)
        if np.abs(slope).max(initial=0.0) < CLOSE:
            break
        length = (np.abs(slope) >= CLOSE).astype(np.float64)  # one that is done waits for the others
        for _ in range(8):
            tried, weight = _dual(given, goal, price + length[:, None] * step)
            worse = tried > value + 1e-4 * length * slope + 1e-12
            if not worse.any():
                break
            length = np.where(worse, length / 2, length)
        price = price + length[:, None] * step
        value, weight = _dual(given, goal, price)
    return weight


def _hourly(states: np.ndarray) -> np.ndarray:
    return np.asarray(states.reshape(*states.shape[:-1], -1, BLOCK_SLOTS).mean(axis=-1))


def _dual(given: np.ndarray, goal: np.ndarray, price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    exponent = np.einsum("nsk,nk->ns", given, price)
    most = exponent.max(axis=1, keepdims=True)
    raised = np.exp(exponent - most)
    total = raised.sum(axis=1, keepdims=True)
    value = (most + np.log(total))[:, 0] - (goal * price).sum(axis=1) + 0.5 * RIDGE * (price * price).sum(axis=1)
    return value, raised / total


def spread(paths: np.ndarray, weight: np.ndarray, count: int, start: np.ndarray) -> np.ndarray:
    """Numbers of ``count`` paths that stand for all: systematic sampling along a tour from each path to a like one.

    Of STARTS places to begin, the one is kept whose paths come nearest to the weighted hourly shares of all.

    Args:
        paths: Shape (n, s, t).
        weight: Shape (n, s).
        count: At most s.
        start: Where sampling begins, in [0, 1). Shape (n,).

    Returns:
        Shape (n, count).
    """
    hours = _hourly(paths).astype(np.float32)
    size = (hours * hours).sum(axis=2)
    apart = size[:, :, None] + size[:, None] - 2 * hours @ hours.transpose(0, 2, 1)
    every, at = np.arange(len(paths)), hours.sum(axis=2).argmin(axis=1)
    tour, seen = np.zeros(weight.shape, np.int64), np.zeros(weight.shape, bool)
    for number in range(weight.shape[1]):
        tour[:, number] = at
        seen[every, at] = True
        at = np.where(seen, np.inf, apart[every, at]).argmin(axis=1)
    share = np.cumsum(np.take_along_axis(weight, tour, axis=1), axis=1)
    goal = np.einsum("ns,nsh->nh", weight, hours)
    best, least = np.zeros((len(paths), count), np.int64), np.full(len(paths), np.inf)
    for turn in range(STARTS):
        offset = (start + turn / STARTS) % 1.0
        position = (np.arange(count) + offset[:, None]) / count * share[:, -1:]
        place = (share[:, None, :] <= position[:, :, None]).sum(axis=2)
        kept = np.take_along_axis(tour, np.minimum(place, weight.shape[1] - 1), axis=1)
        mean = np.take_along_axis(hours, kept[:, :, None], axis=1).mean(axis=1)
        miss = ((mean - goal) ** 2).sum(axis=1)
        best = np.where((miss < least)[:, None], kept, best)
        least = np.minimum(miss, least)
    return best
