"""How sure is a mean error? Resample whole assets and whole weeks, for rows of one car or one week are alike.

The pigeonhole bootstrap (Owen 2007): assets are drawn with replacement, time blocks are drawn with replacement, and a
row counts as often as its asset times as often as its block. It errs on the wide side, which a claim should.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

RESAMPLES: Final = 1_000
LEVEL: Final = 0.95
DAY_US: Final = 86_400_000_000
WEEK_DAYS: Final = 7
FEWEST_WEEKS: Final = 4
"""Of fewer than this many weeks, days are drawn instead."""


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its central bootstrap interval; NaN bounds where there is one block only."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Which asset and which stretch of time each row belongs to, as codes from 0. Shapes (m,)."""

    asset: np.ndarray
    time: np.ndarray
    days: int
    """Length of a stretch."""

    @classmethod
    def of(cls, asset: np.ndarray, timestamp_us: np.ndarray, *, days: int | None = None) -> Blocks:
        """Assets by weeks; by days where the rows span fewer than four weeks.

        Args:
            asset: Any integer codes. Shape (m,).
            timestamp_us: Microseconds since 1970. Shape (m,).
            days: Length of a stretch of time, if it is to be another.
        """
        if days is None:
            span = int(np.ptp(timestamp_us)) // DAY_US if len(timestamp_us) else 0
            days = WEEK_DAYS if span >= FEWEST_WEEKS * WEEK_DAYS else 1
        _, asset_code = np.unique(asset, return_inverse=True)
        _, time_code = np.unique(timestamp_us // (days * DAY_US), return_inverse=True)
        return cls(asset=asset_code, time=time_code, days=days)

    def sums(self, value: np.ndarray) -> np.ndarray:
        """Sum of the values in each cell. Shape (assets, stretches)."""
        shape = (int(self.asset.max()) + 1, int(self.time.max()) + 1)
        flat = np.bincount(self.asset * shape[1] + self.time, weights=value, minlength=shape[0] * shape[1])
        return flat.reshape(shape)


def mean_interval(value: np.ndarray, blocks: Blocks, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The mean of some rows' errors with its interval.

    Args:
        value: Error or loss of each row, NaN-free. Shape (m,).
        blocks: Of the same rows.
        resamples: How many draws.
        seed: Of the draws.
    """
    return combined_interval([value], lambda means: means[0], blocks, resamples=resamples, seed=seed)


def skill_interval(
    ours: np.ndarray, theirs: np.ndarray, blocks: Blocks, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """``1 - mean(ours) / mean(theirs)``: how far a loss lies below a reference, both drawn together."""
    return combined_interval(
        [ours, theirs], lambda means: 1.0 - means[0] / means[1], blocks, resamples=resamples, seed=seed
    )


def combined_interval(
    values: list[np.ndarray],
    combine: Callable[[np.ndarray], np.ndarray],
    blocks: Blocks,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Any function of several means over the same rows, such as their ratio, with its interval.

    Args:
        values: Losses of each row. k arrays of shape (m,).
        combine: From means of shape (k, draws) to shape (draws,), elementwise.
        blocks: Of the same rows.
        resamples: How many draws.
        seed: Of the draws.
    """
    stacked = np.array([np.mean(value) for value in values])[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(combine(stacked)[0])
    counts = blocks.sums(np.ones(len(blocks.asset)))
    if counts.size == 1:
        return Interval(value=value, low=float("nan"), high=float("nan"))
    rng = np.random.default_rng(seed)
    assets, stretches = _weights(counts.shape[0], resamples, rng), _weights(counts.shape[1], resamples, rng)

    def weighed(cells: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("ra,at,rt->r", assets, cells, stretches, optimize=True))

    rows = weighed(counts)
    drawn = rows > 0  # a draw may miss every cell that has rows
    means = np.array([weighed(blocks.sums(each))[drawn] / rows[drawn] for each in values])
    tail = (1.0 - LEVEL) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn_values = combine(means)
    finite = drawn_values[np.isfinite(drawn_values)]  # a ratio to a mean of 0 says nothing
    if len(finite) == 0:
        return Interval(value=value, low=float("nan"), high=float("nan"))
    low, high = np.quantile(finite, (tail, 1.0 - tail))
    return Interval(value=value, low=float(low), high=float(high))


def _weights(blocks: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each block is drawn. Shape (resamples, blocks); one block alone is always drawn once."""
    return rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), size=resamples).astype(float)
