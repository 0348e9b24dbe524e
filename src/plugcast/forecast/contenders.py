"""Who takes part in a backtest: the 48 h model, and what it has to beat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.features.targets import outcomes
from plugcast.forecast import horizon
from plugcast.forecast.backtest import LEADS_MIN, Forecast
from plugcast.forecast.baselines import Climatology, persistence
from plugcast.forecast.split import Split, thin

if TYPE_CHECKING:
    from plugcast.forecast.backtest import Contender, Forecaster, Window
    from plugcast.forecast.panel import Panel

MODEL, PERSISTENCE, CLIMATOLOGY, BLEND = "model", "persistence", "climatology", "blend"
FROZEN: Final = "model, never refitted"
BASELINES: Final = (PERSISTENCE, CLIMATOLOGY, BLEND)
BLEND_ROWS: Final = 20_000
FLOOR: Final = 1e-3
NEWTON_STEPS: Final = 25
RIDGE: Final = 1e-3
CURVATURE: Final = 1e-6
ALIKE_STEP: Final = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonContender:
    """The model of ``plugcast train``, 15 minutes to 48 hours."""

    spec: horizon.HorizonSpec = field(default_factory=horizon.HorizonSpec)
    name: str = MODEL

    def fit(self, window: Window) -> FittedHorizon:
        """Train on all of the window; a cut past its end leaves nothing to test there."""
        known = window.panel()
        cut = int(known.known_us.max()) + 1
        split = Split(cut_us=cut, unseen=np.zeros(len(known.asset_ids), bool))
        return FittedHorizon(model=horizon.fit(known, self.spec, split))


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedHorizon:
    """The trained model."""

    model: horizon.HorizonModel

    def forecast(self, known: Panel, row: np.ndarray, lead_min: np.ndarray) -> Forecast:
        """Calibrated probability and quantiles."""
        expected = self.model.expect(known, row, lead_min)
        return Forecast(
            plug_probability=expected.plug_probability,
            energy_low_pct=expected.energy_low_pct,
            energy_median_pct=expected.energy_median_pct,
            energy_high_pct=expected.energy_high_pct,
        )


@dataclass(slots=True, kw_only=True)
class FrozenContender:
    """The same recipe, fitted once at the first origin and never again: what refitting is worth after a change."""

    recipe: Contender
    name: str = FROZEN
    _fitted: Forecaster | None = None

    def fit(self, window: Window) -> Forecaster:
        """Learn from the first window; later ones are not looked at."""
        if self._fitted is None:
            self._fitted = self.recipe.fit(window)
        return self._fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistenceContender:
    """Nothing changes."""

    name: str = PERSISTENCE

    def fit(self, window: Window) -> PersistenceContender:  # noqa: ARG002 - there is nothing to learn
        """Itself."""
        return self

    def forecast(self, known: Panel, row: np.ndarray, lead_min: np.ndarray) -> Forecast:  # noqa: ARG002 - of any lead
        """The state at the origin."""
        now = persistence(known, row)
        return Forecast(plug_probability=now.plug_probability, energy_median_pct=now.energy_to_full_pct)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClimatologyContender:
    """The usual at that hour of the week: the asset's own past, shrunk towards that of all."""

    name: str = CLIMATOLOGY

    def fit(self, window: Window) -> FittedClimatology:
        """Pool the window."""
        known = window.panel()
        return FittedClimatology(usual=Climatology.fit(known, np.arange(known.rows)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedClimatology:
    """The pooled profile."""

    usual: Climatology

    def forecast(self, known: Panel, row: np.ndarray, lead_min: np.ndarray) -> Forecast:
        """Own samples before the origin and the pooled profile."""
        usual = self.usual.at(known, row, lead_min)
        return Forecast(plug_probability=usual.plug_probability, energy_median_pct=usual.energy_to_full_pct)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendContender:
    """Logistic regression of the outcome on the state at the origin and the logit of climatology, one a lead."""

    leads_min: tuple[float, ...] = LEADS_MIN
    tolerance_min: float = 7.5
    name: str = BLEND

    def fit(self, window: Window) -> FittedBlend:
        """Fit each lead on outcomes inside the window."""
        known = window.panel()
        usual = Climatology.fit(known, np.arange(known.rows))
        weights = np.array([self._fit_lead(known, usual, lead) for lead in self.leads_min])
        return FittedBlend(usual=usual, leads_min=np.array(self.leads_min), weights=weights)

    def _fit_lead(self, known: Panel, usual: Climatology, lead: float) -> np.ndarray:
        origin = np.arange(known.rows)
        found = outcomes(known.asset, known.timestamp_us, known.segment, origin, lead, tolerance_min=self.tolerance_min)
        place = thin(np.flatnonzero(found.found), BLEND_ROWS)
        if len(place) == 0:
            return np.array([0.0, 0.0, 1.0])  # climatology alone
        row = origin[place]
        return logistic(_inputs(known, usual, row, lead), known.is_plugged_in[found.row[place]].astype(float))


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedBlend:
    """Weights of constant, state and climatology for each fitted lead; other leads take the nearest in ratio."""

    usual: Climatology
    leads_min: np.ndarray
    weights: np.ndarray
    """Shape (leads, 3)."""

    def forecast(self, known: Panel, row: np.ndarray, lead_min: np.ndarray) -> Forecast:
        """The blended probability; no energy."""
        nearest = np.abs(np.log(lead_min[:, None] / self.leads_min)).argmin(axis=1)
        score = (_inputs(known, self.usual, row, lead_min) * self.weights[nearest]).sum(axis=1)
        return Forecast(plug_probability=1.0 / (1.0 + np.exp(-score)))


def _inputs(known: Panel, usual: Climatology, row: np.ndarray, lead_min: np.ndarray | float) -> np.ndarray:
    chance = np.clip(usual.at(known, row, lead_min).plug_probability, FLOOR, 1 - FLOOR)
    return np.column_stack([np.ones(len(row)), known.is_plugged_in[row], np.log(chance / (1 - chance))])


def logistic(inputs: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression by Newton's method, with a ridge that keeps separable data finite.

    Args:
        inputs: Shape (m, k), a column of ones included where a constant is wanted.
        outcome: 0 or 1. Shape (m,).
    """
    weights = np.zeros(inputs.shape[1])
    ridge = RIDGE * np.eye(inputs.shape[1])
    for _ in range(NEWTON_STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(inputs @ weights, -30, 30)))
        slope = inputs.T @ (outcome - chance) - ridge @ weights
        bend = (inputs * np.maximum(chance * (1 - chance), CURVATURE)[:, None]).T @ inputs + ridge
        step = np.linalg.solve(bend, slope)
        weights = weights + step
        if np.abs(step).max() < ALIKE_STEP:
            break
    return weights
