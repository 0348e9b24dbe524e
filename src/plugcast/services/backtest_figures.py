"""The figures of one lead: each contender beside the others on the same rows, with bootstrap intervals."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.forecast import scores
from plugcast.forecast.bootstrap import Blocks, Interval, mean_interval, skill_interval
from plugcast.forecast.contenders import BLEND, CLIMATOLOGY, PERSISTENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugcast.forecast.backtest import Forecast, Scored

LEVELS: Final = (0.1, 0.5, 0.9)
COVERAGE: Final = 0.8
FEWEST_ROWS: Final = 30
"""Rows that a fold's own figure needs."""


def figures_at(scored: Scored, fold_names: Sequence[str]) -> dict[str, Any]:
    """Everything that is reported of one lead."""
    blocks = Blocks.of(scored.asset, scored.timestamp_us)
    squares = {name: (each.plug_probability - scored.plugged) ** 2 for name, each in scored.forecasts.items()}
    result: dict[str, Any] = {
        "lead_min": scored.lead_min,
        "rows": len(scored.row),
        "assets": len(np.unique(scored.asset)),
        "base_rate": float(scored.plugged.mean()),
        "blocks": f"{int(blocks.asset.max()) + 1} assets by {int(blocks.time.max()) + 1} stretches of {blocks.days} d",
        "plug": {
            name: _plug(each.plug_probability, scored.plugged, blocks, squares[name])
            for name, each in scored.forecasts.items()
        },
        "skill": _skill(squares, blocks),
        "folds": _by_fold(scored, squares, fold_names),
        "reliability": _reliability(scored),
    }
    known = ~np.isnan(scored.energy_pct)
    if known.sum() >= FEWEST_ROWS:
        result["energy"] = _energies(scored, known)
    return result


def _plug(chance: np.ndarray, plugged: np.ndarray, blocks: Blocks, squares: np.ndarray) -> dict[str, Any]:
    return {
        "brier": mean_interval(squares, blocks),
        "log_loss": scores.log_loss(chance, plugged),
        "auc": scores.auc(chance, plugged),
        "ece": scores.ece(chance, plugged),
    }


def _skill(squares: dict[str, np.ndarray], blocks: Blocks) -> dict[str, Any]:
    """Share by which the first contender's Brier score lies below the better plain baseline, and below the blend."""
    ours, *_ = squares.values()
    plain = {name: squares[name] for name in (PERSISTENCE, CLIMATOLOGY) if name in squares}
    if not plain:
        return {}
    better = min(plain, key=lambda name: float(plain[name].mean()))
    result: dict[str, Any] = {
        "better_baseline": better,
        "below_better_baseline": skill_interval(ours, plain[better], blocks),
    }
    if BLEND in squares:
        result["below_blend"] = skill_interval(ours, squares[BLEND], blocks)
    return result


def _by_fold(scored: Scored, squares: dict[str, np.ndarray], names: Sequence[str]) -> list[dict[str, Any]]:
    table = []
    for number, name in enumerate(names):
        mine = scored.fold == number
        if mine.sum() >= FEWEST_ROWS:
            brier = {each: float(square[mine].mean()) for each, square in squares.items()}
            table.append({"fold": name, "rows": int(mine.sum()), "brier": brier})
    return table


def _reliability(scored: Scored) -> dict[str, Any]:
    name, forecast = next(iter(scored.forecasts.items()))
    points = scores.reliability(forecast.plug_probability, scored.plugged)
    return {
        "of": name,
        "forecast": points.forecast.tolist(),
        "observed": points.observed.tolist(),
        "count": points.count.tolist(),
    }


def _energies(scored: Scored, known: np.ndarray) -> dict[str, Any]:
    """Of every contender that has an energy, on the rows where all have one."""
    there = {name: each for name, each in scored.forecasts.items() if each.energy_median_pct is not None}
    for each in there.values():
        assert each.energy_median_pct is not None  # noqa: S101 - chosen above
        known = known & ~np.isnan(each.energy_median_pct)
    if known.sum() < FEWEST_ROWS:
        return {}
    blocks = Blocks.of(scored.asset[known], scored.timestamp_us[known])
    return {name: _energy(each, scored.energy_pct, known, blocks) for name, each in there.items()}


def _energy(forecast: Forecast, truth: np.ndarray, known: np.ndarray, blocks: Blocks) -> dict[str, Any]:
    assert forecast.energy_median_pct is not None  # noqa: S101 - the caller chose it
    median, came = forecast.energy_median_pct[known], truth[known]
    first, second = scores.smape(median, came)
    result: dict[str, Any] = {
        "mae_pct": mean_interval(np.abs(median - came), blocks),
        "smape_1": first,
        "smape_2": second,
    }
    if forecast.energy_low_pct is None or forecast.energy_high_pct is None:
        result["crps_pct"] = Interval(**{key: getattr(result["mae_pct"], key) for key in ("value", "low", "high")})
        return result
    low, high = forecast.energy_low_pct[known], forecast.energy_high_pct[known]
    crps = scores.crps_quantiles(np.column_stack([low, median, high]), LEVELS, came)
    inside = ((came >= low) & (came <= high)).astype(float)
    return result | {
        "crps_pct": mean_interval(crps, blocks),
        "pinball_pct": {
            f"{level:g}": scores.pinball(quantile, came, level)
            for level, quantile in zip(LEVELS, (low, median, high), strict=True)
        },
        "coverage_80": mean_interval(inside, blocks),
        "width_80_pct": float((high - low).mean()),
        "interval_score_80_pct": scores.interval_score(low, high, came, COVERAGE),
    }


def machine(*, threads: int) -> dict[str, Any]:
    """What the figures were made on."""
    return {
        "cores": os.cpu_count() or 1,
        "cpu": _cpu_model(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "threads": threads,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(named, "") or platform.processor() or "unknown"
