"""The distribution of one positive quantity as boosted odds: will it have ended below this threshold?

One classifier answers for any threshold: the threshold is an input, told as its distance from each value that the
driver's habits, the site and the declaration suggest. Every session is learnt at several thresholds drawn around those
values; the odds along a row's own grid of thresholds give all its quantiles. A driver who stays either two hours or
nine is seen as that, which a model of the absolute error cannot: 2 to 4 % less error before September 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import lightgbm as lgb
import numpy as np

from plugcast.features.stay_features import LEVELS
from plugcast.forecast.boosting import pack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugcast.forecast.boosting import Trees

Quantity = Literal["stay", "energy"]
QUANTILES: Final = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
MEDIAN: Final = QUANTILES.index(0.5)
LEAST: Final = 0.02
"""Hours or kWh below which nothing is forecast."""
FLOOR: Final = 0.05
"""What suggests less counts as this much: logarithms end somewhere."""
LADDERS: Final[Mapping[Quantity, tuple[str, ...]]] = {
    "stay": ("stay_near", "stay_day_type", "pool_stay"),
    "energy": ("energy_near", "energy_day_type", "pool_energy"),
}
"""Families of quantiles that thresholds are drawn around, the driver's own first."""
SUGGESTED: Final[Mapping[Quantity, tuple[str, ...]]] = {
    "stay": (
        *("declared_h", "declared_h_mended", "last_stay_h", "last2_stay_h", "last3_stay_h"),
        *("near_stay_mean", "stay_by_hour", "leave_near", "leave_day_type", "leave_all", "pool_stay_all"),
    ),
    "energy": (
        *("declared_kwh", "declared_kwh_mended", "last_energy_kwh", "last2_energy_kwh", "last3_energy_kwh"),
        *("near_energy_mean", "kwh_since_last", "kwh_by_gap", "full_energy_kwh", "own_max_kwh", "own_p90_kwh"),
        "pool_energy_all",
    ),
}
UNKNOWN_LADDER: Final = (0.5, 2.0, 5.0, 9.0, 14.0)
"""Where nothing is known yet, in hours as in kWh."""
DRAWN_AROUND: Final = (0, 1, 0, 2)
"""Which ladder each draw takes, over and over."""
NEAR_SPREAD, WIDE_SPREAD, WIDE_EVERY = 0.2, 0.7, 6
"""Of the logarithm; some draws go wide, for the tails."""
GRID: Final = 32
BEYOND: Final = (0.1, 1.7)
"""The grid spans from a tenth of the lowest rung to 1.7 times the highest."""
CHUNK_ROWS: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleSpec:
    """Size of the models; the defaults were chosen on Caltech and JPL before September 2019."""

    rounds: int = 200
    seeds: int = 2
    """Classifiers whose odds are averaged, each with thresholds of its own."""
    thresholds: int = 10
    """Drawn for each session."""
    leaves: int = 31
    learning_rate: float = 0.06
    min_leaf_rows: int = 100
    column_share: float = 0.3
    row_share: float = 0.7
    half_life_days: float = 180.0
    """A session this old weighs half as much; none weighs less than a twentieth."""
    seed: int = 10
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """How thresholds are told for one quantity over named columns."""

    quantity: Quantity
    columns: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Inputs of the classifier: the threshold's, then the columns."""
        clock = ("at_clock",) if self.quantity == "stay" else ()
        over = (f"over_{name}" for name in self._anchors)
        return (*clock, "at", *over, *(f"above_{name}" for name in LADDERS[self.quantity]), *self.columns)

    @property
    def _anchors(self) -> list[str]:
        """Columns in the quantity's own unit."""
        own = [name for name in self.columns if name.startswith(tuple(f"{rung}_" for rung in LADDERS[self.quantity]))]
        medians = [name for name in self.columns if name.startswith(f"{self.quantity}_") and name.endswith("_q50")]
        told = [name for name in SUGGESTED[self.quantity] if name in self.columns]
        return list(dict.fromkeys((*own, *medians, *told)))

    def anchors(self, matrix: np.ndarray) -> np.ndarray:
        """Logarithm of every value that suggests something, from the instant asked for; NaN = not known."""
        values = np.asarray(matrix[:, [self.columns.index(name) for name in self._anchors]], np.float64)
        if self.quantity == "stay":
            values = values - matrix[:, [self.columns.index("elapsed_h")]]
        return np.asarray(np.log(np.maximum(values, FLOOR)))

    def ladders(self, anchors: np.ndarray) -> np.ndarray:
        """Shape (3, n, 5), without NaN: a family that is not known stands where the next one does."""
        names, found = self._anchors, np.log(np.tile(UNKNOWN_LADDER, (len(anchors), 1)))
        made = []
        for family in reversed(LADDERS[self.quantity]):
            rungs = [f"{family}_q{round(level * 100):02d}" for level in LEVELS]
            if rungs[0] in names:
                told = anchors[:, [names.index(rung) for rung in rungs]]
                found = np.where(np.isnan(told), found, told)
            made.append(found)
        return np.stack(made[::-1])

    def inputs(self, matrix: np.ndarray, anchors: np.ndarray, ladders: np.ndarray, at: np.ndarray) -> np.ndarray:
        """One row a threshold ``at`` (logarithm), float32, in the order of ``names``."""
        above = (ladders < at[None, :, None]).sum(axis=2).T
        parts = [at[:, None], at[:, None] - anchors, above, matrix]
        if self.quantity == "stay":
            hour, elapsed = (matrix[:, [self.columns.index(name)]] for name in ("hour", "elapsed_h"))
            parts.insert(0, hour + elapsed + np.exp(at)[:, None])
        return np.asarray(np.hstack([np.asarray(part, np.float32) for part in parts]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Trained classifiers of one quantity."""

    frame: Frame
    boosters: tuple[Trees, ...]

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Quantiles at QUANTILES, never crossing, shape (n, 7)."""
        parts = [self._quantiles(matrix[at : at + CHUNK_ROWS]) for at in range(0, len(matrix), CHUNK_ROWS)]
        return np.asarray(np.maximum(np.vstack([np.zeros((0, len(QUANTILES))), *parts]), LEAST))

    def median(self, matrix: np.ndarray) -> np.ndarray:
        """Shape (n,)."""
        return np.asarray(self.predict(matrix)[:, MEDIAN])

    def _quantiles(self, matrix: np.ndarray) -> np.ndarray:
        anchors = self.frame.anchors(matrix)
        ladders = self.frame.ladders(anchors)
        grid = _grid(ladders)
        rows = np.repeat(np.arange(len(matrix)), grid.shape[1])
        asked = self.frame.inputs(matrix[rows], anchors[rows], ladders[:, rows], grid.ravel())
        odds = np.mean([np.asarray(model.predict(asked, num_threads=1)) for model in self.boosters], axis=0)
        return np.asarray(np.exp(_crossings(np.maximum.accumulate(odds.reshape(grid.shape), axis=1), grid)))

    @property
    def members(self) -> dict[str, Trees]:
        """Every classifier by name."""
        return {f"odds{place}": model for place, model in enumerate(self.boosters)}

    @classmethod
    def of_members(cls, frame: Frame, named: Mapping[str, Trees]) -> Ensemble:
        """The inverse of ``members``."""
        return cls(frame=frame, boosters=tuple(named[name] for name in sorted(named)))


def fit(matrix: np.ndarray, target: np.ndarray, age_days: np.ndarray, frame: Frame, spec: EnsembleSpec) -> Ensemble:
    """Train on rows with a positive target.

    Args:
        matrix: float32, in the frame's columns; NaN = not known.
        target: Hours from the instant asked for, or kWh; shape (n,).
        age_days: How long ago each row was, shape (n,).
        frame: Which quantity the target is, and the names of the columns.
        spec: Size.
    """
    anchors = frame.anchors(matrix)
    ladders = frame.ladders(anchors)
    logarithm = np.log(np.maximum(target, LEAST))
    weight = np.tile(np.maximum(0.5 ** (age_days / spec.half_life_days), 0.05), spec.thresholds)

    def booster(seed: int) -> Trees:
        thresholds = _draws(ladders, spec.thresholds, seed)
        asked = np.vstack([frame.inputs(matrix, anchors, ladders, at) for at in thresholds])
        ended = (logarithm[None, :] <= thresholds).astype(np.float32).ravel()
        data = lgb.Dataset(asked, ended, weight=weight, feature_name=list(frame.names))
        trained = lgb.train(_parameters(spec, len(matrix), seed), data, num_boost_round=spec.rounds)
        return pack(trained, frame.names)

    return Ensemble(frame=frame, boosters=tuple(booster(spec.seed + number) for number in range(spec.seeds)))


def _draws(ladders: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Logarithms of thresholds, shape (count, n): rungs, moved at random."""
    rng = np.random.default_rng(seed)
    rows, rungs = ladders.shape[1:]
    made = []
    for number in range(count):
        ladder = ladders[DRAWN_AROUND[number % len(DRAWN_AROUND)]]
        spread = WIDE_SPREAD if number % WIDE_EVERY == WIDE_EVERY - 1 else NEAR_SPREAD
        made.append(ladder[np.arange(rows), rng.integers(0, rungs, rows)] + rng.normal(0, spread, rows))
    return np.stack(made)


def _grid(ladders: np.ndarray) -> np.ndarray:
    """Thresholds to ask at, ascending by row: every rung, and an even grid over all of them and beyond."""
    rungs = np.concatenate(list(ladders), axis=1)
    low, high = rungs.min(axis=1) + np.log(BEYOND[0]), rungs.max(axis=1) + np.log(BEYOND[1])
    even = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, GRID)
    return np.sort(np.concatenate([rungs, even], axis=1), axis=1)


def _crossings(odds: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Where rising odds reach each of QUANTILES, by straight lines between the thresholds; shape (n, 7)."""
    rows, last = np.arange(len(grid)), grid.shape[1] - 1
    found = []
    for level in QUANTILES:
        after = np.clip((odds < level).sum(axis=1), 1, last)
        low, high = odds[rows, after - 1], odds[rows, after]
        share = np.clip((level - low) / np.maximum(high - low, 1e-9), 0.0, 1.0)
        found.append(grid[rows, after - 1] + share * (grid[rows, after] - grid[rows, after - 1]))
    return np.stack(found, axis=1)


def _parameters(spec: EnsembleSpec, rows: int, seed: int) -> dict[str, Any]:
    return {
        "objective": "binary",
        "num_leaves": spec.leaves,
        "learning_rate": spec.learning_rate,
        "min_data_in_leaf": min(spec.min_leaf_rows, max(1, rows // 20)),
        "feature_fraction": spec.column_share,
        "bagging_fraction": spec.row_share,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "max_bin": 127,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": spec.threads,
        "verbosity": -1,
    }
