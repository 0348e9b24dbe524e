"""Quantiles of one positive quantity as small boosted ensembles: the median by several of them, each tail by its own.

The median is the mean of models of the absolute error in the quantity and in its logarithm: the first is what is
scored, the second hears the short stays, and their mean beats either. Tails are quantile models of the logarithm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import lightgbm as lgb
import numpy as np

from plugcast.forecast.boosting import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugcast.forecast.boosting import Trees

QUANTILES: Final = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
MEDIAN: Final = QUANTILES.index(0.5)
TAILS: Final = tuple(level for level in QUANTILES if level != QUANTILES[MEDIAN])
LEAST: Final = 0.02
"""Hours or kWh below which nothing is forecast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleSpec:
    """Size of the ensembles; the defaults were chosen on Caltech and JPL before September 2019."""

    rounds: int = 220
    tail_rounds: int = 120
    seeds: int = 2
    """Median models of either kind."""
    leaves: int = 15
    learning_rate: float = 0.055
    tail_learning_rate: float = 0.08
    min_leaf_rows: int = 20
    column_share: float = 0.3
    row_share: float = 0.7
    half_life_days: float = 120.0
    """A session this old weighs half as much; none weighs less than a twentieth."""
    seed: int = 10
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Models of one quantity over named columns."""

    plain: tuple[Trees, ...]
    logarithmic: tuple[Trees, ...]
    tails: tuple[Trees, ...]
    """Of the logarithm, one for each of TAILS; may be empty."""

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Quantiles at QUANTILES, never crossing, shape (n, 7); without tails all seven are the median."""
        middle = self.median(matrix)
        found = np.repeat(middle[:, None], len(QUANTILES), axis=1)
        for level, model in zip(TAILS, self.tails, strict=False):
            found[:, QUANTILES.index(level)] = np.exp(_predict(model, matrix))
        found[:, :MEDIAN] = np.minimum.accumulate(found[:, MEDIAN::-1], axis=1)[:, :0:-1]
        found[:, MEDIAN:] = np.maximum.accumulate(found[:, MEDIAN:], axis=1)
        return found

    def median(self, matrix: np.ndarray) -> np.ndarray:
        """Mean of the median models, at least LEAST."""
        if not len(matrix):
            return np.zeros(0)
        members = [_predict(model, matrix) for model in self.plain]
        members += [np.exp(_predict(model, matrix)) for model in self.logarithmic]
        return np.asarray(np.maximum(np.mean(members, axis=0), LEAST))

    @property
    def members(self) -> dict[str, Trees]:
        """Every model by a name that tells its part."""
        named = {f"plain{place}": model for place, model in enumerate(self.plain)}
        named |= {f"log{place}": model for place, model in enumerate(self.logarithmic)}
        return named | {f"q{level * 1000:03.0f}": model for level, model in zip(TAILS, self.tails, strict=False)}

    @classmethod
    def of_members(cls, named: dict[str, Trees]) -> Ensemble:
        """The inverse of ``members``."""
        return cls(
            plain=tuple(named[name] for name in sorted(named) if name.startswith("plain")),
            logarithmic=tuple(named[name] for name in sorted(named) if name.startswith("log")),
            tails=tuple(named[name] for name in sorted(named) if name.startswith("q")),
        )


def fit(
    matrix: np.ndarray,
    target: np.ndarray,
    age_days: np.ndarray,
    columns: Sequence[str],
    spec: EnsembleSpec,
    *,
    tails: bool = True,
) -> Ensemble:
    """Train on rows with a positive target.

    Args:
        matrix: float32, shape (n, len(columns)); NaN = not known.
        target: Hours or kWh, shape (n,).
        age_days: How long ago each row was, shape (n,).
        columns: Names of the columns.
        spec: Size.
        tails: False leaves the tails out: medians alone cost a third.
    """
    weight = np.maximum(0.5 ** (age_days / spec.half_life_days), 0.05)
    floored = np.maximum(target, LEAST)
    logarithm = np.log(floored)

    def booster(values: np.ndarray, number: int, **more: Any) -> Trees:  # noqa: ANN401 - LightGBM's parameters
        data = lgb.Dataset(matrix, values, weight=weight, feature_name=list(columns))
        rounds = spec.tail_rounds if "alpha" in more else spec.rounds
        return pack(lgb.train(_parameters(spec, len(values), number) | more, data, num_boost_round=rounds), columns)

    seeds = range(spec.seeds)
    tail = {"objective": "quantile", "learning_rate": spec.tail_learning_rate}
    return Ensemble(
        plain=tuple(booster(floored, number) for number in seeds),
        logarithmic=tuple(booster(logarithm, 100 + number) for number in seeds),
        tails=tuple(booster(logarithm, 200, alpha=level, **tail) for level in TAILS) if tails else (),
    )


def _parameters(spec: EnsembleSpec, rows: int, number: int) -> dict[str, Any]:
    return {
        "objective": "regression_l1",
        "num_leaves": spec.leaves,
        "learning_rate": spec.learning_rate,
        "min_data_in_leaf": min(spec.min_leaf_rows, max(1, rows // 20)),
        "feature_fraction": spec.column_share,
        "bagging_fraction": spec.row_share,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "max_bin": 127,
        "seed": spec.seed + number,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": spec.threads,
        "verbosity": -1,
    }


def _predict(model: Trees, matrix: np.ndarray) -> np.ndarray:
    if not len(matrix):
        return np.zeros(0)
    return np.asarray(model.predict(matrix, num_threads=1), np.float64)
