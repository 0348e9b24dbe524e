"""Rolling trial on a grid: refit as time goes on, always from outcomes known at the refit, beside the baselines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.features.analogs import CHANCES, COLUMNS, features
from plugcast.features.grid import UNKNOWN
from plugcast.forecast.availability import AvailabilitySpec, fit_anchor
from plugcast.forecast.linear import Linear, log_odds, probability

if TYPE_CHECKING:
    from plugcast.features.grid import StateGrid

BASELINES: Final = ("persistence", "hour_of_week", "blend")
_STATE_AT, _HOUR_OF_WEEK_AT = COLUMNS.index("state"), CHANCES.index("own_hour_of_week")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is forecast, and when the models are trained again."""

    asset: np.ndarray
    """Of each origin; shape (m,)."""
    step: np.ndarray
    """Origins; shape (m,)."""
    refits: np.ndarray
    """Steps at which models are trained, increasing; the first one is not after the first origin."""
    every: int = 5
    """Training origins are this many steps apart; a number that does not divide a day visits every hour."""
    spec: AvailabilitySpec = field(default_factory=AvailabilitySpec)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadResult:
    """Forecasts of one lead whose outcome is known, beside the baselines; arrays of shape (n,)."""

    lead_min: float
    asset: np.ndarray
    step: np.ndarray
    outcome: np.ndarray
    chance: dict[str, np.ndarray]
    """By ``model`` and each of BASELINES."""


def training_origins(grid: StateGrid, last: int, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Assets and steps before ``last`` at which the state is known, ``every`` steps apart."""
    asset, column = np.nonzero(grid.state[:, :last:every] != UNKNOWN)
    return asset, column * every


def roll(grid: StateGrid, trial: Trial, lead: int) -> LeadResult:
    """Forecast all origins of a trial at one lead.

    Args:
        grid: States of the whole time, test part included; a refit sees what came before it.
        trial: Origins and refits.
        lead: Steps ahead.
    """
    inside = trial.step + lead < grid.steps
    asset, step = trial.asset[inside], trial.step[inside]
    outcome = grid.state[asset, step + lead]
    known = (outcome != UNKNOWN) & (grid.state[asset, step] != UNKNOWN)
    asset, step, outcome = asset[known], step[known], outcome[known].astype(np.float64)
    learn_asset, learn_step = training_origins(grid, int(trial.refits[-1]), trial.every)
    resolved = grid.state[learn_asset, np.minimum(learn_step + lead, grid.steps - 1)]
    usable = (resolved != UNKNOWN) & (learn_step + lead < trial.refits[-1])
    learn_asset, learn_step = learn_asset[usable], learn_step[usable]
    learned = features(grid, learn_asset, learn_step, learn_step + lead)
    target = resolved[usable].astype(np.float64)
    asked = features(grid, asset, step, step + lead)
    chance = {"persistence": asked[:, _STATE_AT].astype(np.float64), "hour_of_week": _usual(asked)}
    chance["model"], chance["blend"] = np.full(len(step), np.nan), np.full(len(step), np.nan)
    for number, refit in enumerate(trial.refits):
        until = trial.refits[number + 1] if number + 1 < len(trial.refits) else grid.steps
        mine = (step >= refit) & (step < until)
        past = learn_step + lead < refit
        if not mine.any():
            continue
        anchor = fit_anchor(
            learned[past],
            target[past],
            grid.start_us + learn_step[past] * 900_000_000,
            COLUMNS,
            trial.spec,
            lead_min=lead * 15.0,
        )
        chance["model"][mine] = probability(anchor.odds(asked[mine]))
        blend = Linear.fit(_two(learned[past]), target[past], ridge=1e-3)
        chance["blend"][mine] = probability(blend.odds(_two(asked[mine])))
    return LeadResult(lead_min=lead * 15.0, asset=asset, step=step, outcome=outcome, chance=chance)


def _usual(matrix: np.ndarray) -> np.ndarray:
    return matrix[:, _HOUR_OF_WEEK_AT].astype(np.float64)


def _two(matrix: np.ndarray) -> np.ndarray:
    """Inputs of the logistic blend of both plain baselines."""
    return np.column_stack([matrix[:, _STATE_AT], log_odds(_usual(matrix))])
