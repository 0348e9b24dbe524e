"""Forecasts that learn from what came: quantiles nudged towards their levels, drivers' own leanings, better experts.

Feedback is delayed by nature: a session's outcome is known at its plug-out, and only then may it move anything. All
is kept by class (a site's known drivers, its unknown ones): a correction pooled over classes makes a new site worse.
The nudge is adaptive conformal inference (Gibbs and Candès 2021) in the form of quantile tracking (Angelopoulos,
Candès and Tibshirani 2023), on the logarithm and in units of each forecast's own width. Small steps: wide ones blow
up the intervals where outcomes come late.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from plugcast.forecast.sessions_fit import MEDIAN, QUANTILES

STEP: Final = 0.01
"""Of a forecast's own width, a session. Between .002 and .01 all serve; from .03 on widths run away."""
WIDTH: Final = (QUANTILES.index(0.1), QUANTILES.index(0.9))
LEAST_WIDTH: Final = 0.1
MOST: Final = 2.0
"""No level moves further than this many widths."""
OWN_OUTCOMES: Final = 15
SHRINK: Final = 60.0
"""A driver of n outcomes moves n / (n + 60) of the way to the median of their last errors."""
MEMORY: Final = 0.995
SHARPNESS: Final = 60.0
"""An expert that errs 10 % more than the best weighs exp(-6) of it."""
_LEVELS: Final = np.array(QUANTILES)


class ClassState(msgspec.Struct, kw_only=True):
    """What one class has learnt."""

    offset: list[float]
    """One a level, in widths."""
    loss: list[float] = []
    """Discounted absolute error of each expert, the model first."""
    outcomes: int = 0


class Adaptive(msgspec.Struct, kw_only=True):
    """State of one quantity at one site; a pure function of the outcomes learnt, in their order.

    >>> state = Adaptive()
    >>> forecast = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    >>> for _ in range(40):
    ...     state.learn("known", "ann", forecast, 9.0)
    >>> bool(state.adjusted("known", "ann", forecast)[3] > forecast[3])
    True
    """

    step: float = STEP
    shrink: float | None = SHRINK
    """None: drivers have no leanings of their own."""
    classes: dict[str, ClassState] = {}
    drivers: dict[str, list[float]] = {}
    """The last log errors of the unmoved median."""

    def adjusted(
        self, group: str, driver: str | None, forecast: np.ndarray, experts: tuple[float, ...] = ()
    ) -> np.ndarray:
        """The quantiles as they stand now, shape (7,), in order.

        Args:
            group: The class.
            driver: None = unknown.
            forecast: The model's quantiles at QUANTILES, positive.
            experts: Other forecasts of the median, NaN where they have none; always the same ones.
        """
        moved = self._moved(group, driver, forecast, experts)
        state = self.classes.get(group)
        if state is None:
            return moved
        width = max(float(np.log(moved[WIDTH[1]] / moved[WIDTH[0]])), LEAST_WIDTH)
        return np.maximum.accumulate(moved * np.exp(np.array(state.offset) * width))

    def learn(
        self, group: str, driver: str | None, forecast: np.ndarray, outcome: float, experts: tuple[float, ...] = ()
    ) -> None:
        """Take an outcome that has just become known, with what was forecast for it at the time."""
        state = self.classes.setdefault(group, ClassState(offset=[0.0] * len(QUANTILES)))
        now = self.adjusted(group, driver, forecast, experts)
        offset = np.array(state.offset) + self.step * (_LEVELS - (outcome <= now))
        offset[MEDIAN] = 0.0  # the median follows drivers and experts: tracked by class it only wanders
        state.offset = np.clip(offset, -MOST, MOST).tolist()
        middle = float(forecast[MEDIAN] * np.exp(self._leaning(driver)))
        errors = [abs(middle - outcome), *(abs((middle if np.isnan(e) else e) - outcome) for e in experts)]
        before = state.loss or [0.0] * len(errors)
        state.loss = [MEMORY * old + new for old, new in zip(before, errors, strict=True)]
        state.outcomes += 1
        if driver is not None:
            error = float(np.log(max(outcome, 1e-3) / forecast[MEDIAN]))
            self.drivers[driver] = [*self.drivers.get(driver, []), error][-OWN_OUTCOMES:]

    def _leaning(self, driver: str | None) -> float:
        if driver is None or self.shrink is None:
            return 0.0
        errors = self.drivers.get(driver, [])
        return len(errors) / (len(errors) + self.shrink) * float(np.median(errors)) if errors else 0.0

    def _moved(self, group: str, driver: str | None, forecast: np.ndarray, experts: tuple[float, ...]) -> np.ndarray:
        """The forecast as a whole moved to the driver's leaning and towards experts that have done better."""
        leaning = self._leaning(driver)
        state = self.classes.get(group)
        middle = float(forecast[MEDIAN] * np.exp(leaning))
        if state is None or not experts or not state.loss:
            return np.asarray(forecast * np.exp(leaning))
        loss = np.array(state.loss) / max(min(state.loss), 1e-9)
        weight = np.exp(-SHARPNESS * np.minimum(loss - 1, 10))
        told = np.array([middle, *(middle if np.isnan(e) else e for e in experts)])
        mixed = max(float(weight @ told / weight.sum()), 1e-3)
        return np.asarray(forecast * (mixed / forecast[MEDIAN]))
