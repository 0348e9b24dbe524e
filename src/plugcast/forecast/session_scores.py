"""Scores of session forecasts: point, interval and distribution, beside the baselines on the same rows."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from plugcast.features.stay_features import column
from plugcast.forecast import scores
from plugcast.forecast.bootstrap import Blocks, Interval, skill_interval
from plugcast.forecast.sessions_fit import MEDIAN, QUANTILES, Quantity

BASELINES: Final[dict[Quantity, dict[str, str]]] = {
    "stay": {
        "pooled_median": "pool_stay_all",
        "own_median": "stay_all_q50",
        "declared": "declared_h",
        "kernel_own_median": "stay_near_q50",
    },
    "energy": {
        "pooled_median": "pool_energy_all",
        "own_median": "energy_all_q50",
        "declared": "declared_kwh",
        "kernel_own_median": "energy_near_q50",
    },
}
"""Which feature each baseline is."""
BLOCK: Final = 150
"""Sessions a block of coverage holds."""
Q10, Q90, Q025, Q975 = (QUANTILES.index(level) for level in (0.1, 0.9, 0.025, 0.975))


def baselines(matrix: np.ndarray, quantity: Quantity) -> dict[str, np.ndarray]:
    """The baselines' forecasts for rows of features, by name; NaN where one has nothing to say."""
    return {name: column(matrix, feature) for name, feature in BASELINES[quantity].items()}


def sm1(forecast: np.ndarray, outcome: np.ndarray) -> float:
    """Mean of |error| / (|outcome| + |forecast|), in percent; the other SMAPE in use is twice that."""
    return float(100 * np.mean(np.abs(forecast - outcome) / (np.abs(outcome) + np.abs(forecast))))


def crps(quantiles: np.ndarray, outcome: np.ndarray) -> float:
    """Twice the pinball loss integrated over the levels; each level stands for the levels nearest to it."""
    levels = np.array(QUANTILES)
    edges = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
    losses = [scores.pinball(quantiles[:, place], outcome, level) for place, level in enumerate(QUANTILES)]
    return float(2 * np.dot(np.diff(edges), losses))


def table(
    quantiles: np.ndarray,
    outcome: np.ndarray,
    baselines: dict[str, np.ndarray],
    *,
    driver: np.ndarray,
    arrival_us: np.ndarray,
) -> dict[str, Any]:
    """Every figure of a group of sessions, model and baselines on the same rows; empty for no rows.

    Intervals draw whole drivers and whole weeks: a driver's visits are alike, and so are a week's.
    """
    if not len(outcome):
        return {"sessions": 0}
    middle = quantiles[:, MEDIAN]
    row: dict[str, Any] = {"sessions": len(outcome), "model": _point(middle, outcome)}
    for name, forecast in baselines.items():
        asked = ~np.isnan(forecast)
        if not asked.any():
            continue
        row[name] = _point(forecast[asked], outcome[asked]) | {"sessions": int(asked.sum())}
        if len(outcome) >= BLOCK:
            blocks = Blocks.of(driver[asked], arrival_us[asked])
            row[f"mae_below_{name}"] = below(middle[asked], forecast[asked], outcome[asked], blocks)
    row["pinball"] = {f"{q:g}": scores.pinball(quantiles[:, QUANTILES.index(q)], outcome, q) for q in (0.1, 0.5, 0.9)}
    row["crps"] = crps(quantiles, outcome)
    return row | {
        "interval_80": interval(quantiles, outcome, Q10, Q90),
        "interval_95": interval(quantiles, outcome, Q025, Q975),
    }


def _point(forecast: np.ndarray, outcome: np.ndarray) -> dict[str, float]:
    ratio = sm1(forecast, outcome)
    return {"mae": scores.mae(forecast, outcome), "sm1_pct": ratio, "smape_pct": 2 * ratio}


def below(model: np.ndarray, baseline: np.ndarray, outcome: np.ndarray, blocks: Blocks) -> dict[str, float]:
    """Share by which the model's MAE lies below the baseline's, with its 95 % interval over resampled blocks."""
    found: Interval = skill_interval(np.abs(model - outcome), np.abs(baseline - outcome), blocks)
    return {"share": found.value, "low_95": found.low, "high_95": found.high}


def interval(quantiles: np.ndarray, outcome: np.ndarray, low: int, high: int) -> dict[str, Any]:
    """Coverage overall and by block of 150 sessions in order, and widths."""
    inside = (outcome >= quantiles[:, low]) & (outcome <= quantiles[:, high])
    width = quantiles[:, high] - quantiles[:, low]
    blocks = [float(inside[start : start + BLOCK].mean()) for start in range(0, len(inside) - BLOCK + 1, BLOCK)]
    return {
        "coverage": float(inside.mean()),
        "width_mean": float(width.mean()),
        "width_median": float(np.median(width)),
        "blocks": blocks,
    }
