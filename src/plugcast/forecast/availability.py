"""Chance of being plugged in at any lead: small models at anchor leads, each the mean of three opinions.

The opinions are a linear model corrected by trees, trees alone, and the asset's plain habit (its frequency at that time
of the week, and on days of that type), which nothing is fitted to and which a change of season therefore cannot fool.
The last part of the training time settles how much each counts and how far the odds are stretched; then everything is
trained again on all of it. Between two anchors the log-odds are interpolated over the logarithm of the lead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from plugcast.features.analogs import CHANCES, COLUMNS
from plugcast.forecast.boosting import Boosting, Trees
from plugcast.forecast.linear import Linear, log_odds, probability

if TYPE_CHECKING:
    from collections.abc import Sequence

ANCHORS_MIN: Final = (15, 30, 60, 180, 360, 720, 1440, 2160, 2880)
TREES: Final = Boosting(rounds=150, leaves=10, min_leaf_rows=500, column_share=0.5)
OWN_DAYS: Final = 14.0
"""Days of an asset's own history from which a forecast rests on it rather than on all assets."""
FEWEST_HELD_BACK: Final = 500
TRUST_DAYS: Final = 7.0
"""Held-back days that are believed half."""
USUAL_SHARE: Final = (0.5, 0.5, 0.0)
USUAL_SHARE_LONG: Final = (0.45, 0.45, 0.1)
LONG_MIN: Final = 720.0
"""From this lead on habit counts for something."""

_LINEAR_CONTEXT: Final = (
    "plugged_6h",
    "plugged_24h",
    "plugged_3d",
    "plugged_7d",
    "plugged_28d",
    "one_day_before_target",
    "two_days_before_target",
    "week_before_target",
    "fortnight_before_target",
    "site_now",
    "site_surprise",
    "site_surprise_24h",
    "site_week_before_target",
    "site_fortnight_before_target",
    "log_steps_in_state",
    "stay_rank",
)
_CONTEXT_AT: Final = [COLUMNS.index(name) for name in _LINEAR_CONTEXT]
_HABIT_AT: Final = [CHANCES.index(name) for name in ("own_hour_of_week", "own_type")]
_STATE_AT: Final = COLUMNS.index("state")
_KNOWN_AT: Final = COLUMNS.index("days_known")


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailabilitySpec:
    """What to train."""

    ridge: float = 50.0
    trees: Boosting = TREES
    held_back: float = 0.15
    """Last part of the training rows by time, for weights and calibration; 0: half each, as they come."""
    half_life_days: float | None = None
    """Older rows count for less; None: all alike."""


class Blend(msgspec.Struct, frozen=True, kw_only=True):
    """An anchor's linear part and how its trees and its calibration join it."""

    lead_min: float
    linear: Linear
    share: tuple[float, float, float]
    """Weight of the corrected linear model, of the trees alone and of the plain habit."""
    stretch: float
    shift: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """Models of one lead."""

    blend: Blend
    correction: Trees
    """Adds to the linear part's log-odds."""
    alone: Trees
    """Gives log-odds by itself."""

    def odds(self, matrix: np.ndarray, inputs: np.ndarray | None = None) -> np.ndarray:
        """Calibrated log-odds; shape (m,). ``inputs``: ``linear_inputs(matrix)``, where they are at hand."""
        inputs = linear_inputs(matrix) if inputs is None else inputs
        opinions = _opinions(matrix, inputs, self.blend.linear, self.correction, self.alone)
        return self.blend.stretch * _mixed(opinions, self.blend.share) + self.blend.shift


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Models of all anchors, by increasing lead."""

    anchors: tuple[Anchor, ...]

    def probability(self, matrix: np.ndarray, lead_min: np.ndarray) -> np.ndarray:
        """Chance of being plugged in.

        Args:
            matrix: ``analogs.COLUMNS`` and then any further columns that training had. Shape (m, k).
            lead_min: Shape (m,); beyond the outermost anchors those hold.
        """
        places = np.log([anchor.blend.lead_min for anchor in self.anchors])
        place = np.interp(np.log(np.maximum(lead_min, 1.0)), places, np.arange(len(places)))
        result, inputs = np.zeros(len(matrix)), linear_inputs(matrix)
        for number, anchor in enumerate(self.anchors):
            share = np.maximum(0.0, 1.0 - np.abs(place - number))
            mine = np.flatnonzero(share > 0)
            if len(mine):
                result[mine] += share[mine] * anchor.odds(matrix[mine], inputs[mine])
        return probability(result)


def basis(matrix: np.ndarray) -> np.ndarray:
    """What each forecast rests on: ``own history``, or ``pooled`` where the asset is (nearly) new."""
    return np.where(matrix[:, _KNOWN_AT] >= OWN_DAYS, "own history", "pooled")


def linear_inputs(matrix: np.ndarray) -> np.ndarray:
    """Log-odds of all chances and some context, each also apart for both states; shape (m, 2 k)."""
    state = matrix[:, _STATE_AT : _STATE_AT + 1].astype(np.float64)
    plain = np.hstack([log_odds(matrix[:, : len(CHANCES)].astype(np.float64)), matrix[:, _CONTEXT_AT]])
    return np.hstack([plain, state, plain * (state - 0.5)])


def fit_anchor(
    matrix: np.ndarray,
    outcome: np.ndarray,
    at_us: np.ndarray,
    columns: Sequence[str],
    spec: AvailabilitySpec,
    *,
    lead_min: float,
    settled: Blend | None = None,
) -> Anchor:
    """Train the models of one lead on rows whose outcomes are all known.

    Args:
        matrix: Shape (n, len(columns)).
        outcome: 0 or 1; shape (n,).
        at_us: Origin of each row, for what is later and what is older. Shape (n,).
        columns: ``analogs.COLUMNS`` and then any others.
        spec: Sizes.
        lead_min: The lead.
        settled: An earlier fit's weights and calibration, to keep.
    """
    start: Linear | None
    if settled is not None:
        share, stretch, shift, start = settled.share, settled.stretch, settled.shift, settled.linear
    else:
        share, stretch, shift, start = _settle(matrix, outcome, at_us, columns, spec, lead_min=lead_min)
    linear, correction, alone = _train(matrix, outcome, at_us, columns, spec, start=start)
    return Anchor(
        blend=Blend(lead_min=float(lead_min), linear=linear, share=share, stretch=stretch, shift=shift),
        correction=correction,
        alone=alone,
    )


def _settle(
    matrix: np.ndarray,
    outcome: np.ndarray,
    at_us: np.ndarray,
    columns: Sequence[str],
    spec: AvailabilitySpec,
    *,
    lead_min: float,
) -> tuple[tuple[float, float, float], float, float, Linear | None]:
    """Shares, stretch and shift from the last part of the rows, by models trained on the rest; their linear part."""
    cut = np.quantile(at_us, 1.0 - spec.held_back)
    late = (at_us >= cut) & (spec.held_back > 0)
    early = at_us + lead_min * 60e6 < cut
    usual = USUAL_SHARE_LONG if lead_min >= LONG_MIN else USUAL_SHARE
    if late.sum() < FEWEST_HELD_BACK or not (_both(outcome[early]) and _both(outcome[late])):
        return usual, 1.0, 0.0, None
    parts = _train(matrix[early], outcome[early], at_us[early], columns, spec)
    opinions, trust = _opinions(matrix[late], linear_inputs(matrix[late]), *parts), _trust(at_us[late])
    share = _best_share(opinions, outcome[late], usual, trust)
    return share, *_platt(_mixed(opinions, share), outcome[late], trust), parts[0]


def _train(
    matrix: np.ndarray,
    outcome: np.ndarray,
    at_us: np.ndarray,
    columns: Sequence[str],
    spec: AvailabilitySpec,
    *,
    start: Linear | None = None,
) -> tuple[Linear, Trees, Trees]:
    weight = None
    if spec.half_life_days is not None:
        weight = 0.5 ** ((at_us.max() - at_us) / (spec.half_life_days * 86_400e6))
    inputs = linear_inputs(matrix)
    linear = Linear.fit(inputs, outcome, ridge=spec.ridge, row_weight=weight, start=start)
    correction = spec.trees.fit(
        matrix, outcome, columns, objective="binary", offset=linear.odds(inputs), row_weight=weight
    )
    alone = spec.trees.fit(matrix, outcome, columns, objective="binary", row_weight=weight)
    return linear, correction, alone


def _opinions(matrix: np.ndarray, inputs: np.ndarray, linear: Linear, correction: Trees, alone: Trees) -> np.ndarray:
    """Three chances for each row; shape (m, 3)."""
    corrected = linear.odds(inputs) + np.asarray(correction.predict(matrix, raw_score=True, num_threads=1))
    return np.column_stack(
        [
            probability(corrected),
            np.asarray(alone.predict(matrix, num_threads=1)),
            matrix[:, _HABIT_AT].mean(axis=1, dtype=np.float64),
        ]
    )


def _mixed(opinions: np.ndarray, share: tuple[float, float, float]) -> np.ndarray:
    """Log-odds of the weighted mean."""
    return log_odds(opinions @ np.array(share), floor=1e-6)


def _trust(at_us: np.ndarray) -> float:
    """How far held-back rows are believed, 0 to 1: all rows of a day err alike, so that days count and not rows."""
    days = float(np.ptp(at_us)) / 86_400e6
    return days / (days + TRUST_DAYS)


def _best_share(
    opinions: np.ndarray, outcome: np.ndarray, usual: tuple[float, float, float], trust: float
) -> tuple[float, float, float]:
    """Up to half-way from the usual share to the one, in tenths, with the least squared error on held-back rows."""
    error = opinions - outcome[:, None]
    together = error.T @ error
    tenths = [(i, j, 10 - i - j) for i in range(11) for j in range(11 - i)]
    best = min(tenths, key=lambda each: float(np.array(each) @ together @ np.array(each)))
    first, second, third = (mine + 0.5 * trust * (found / 10 - mine) for mine, found in zip(usual, best, strict=True))
    return first, second, third


PLATT_RIDGE: Final = 20.0


def _platt(odds: np.ndarray, outcome: np.ndarray, trust: float) -> tuple[float, float]:
    """Stretch and shift of log-odds (Platt 1999), drawn towards 1 and 0 by ``PLATT_RIDGE`` and by want of trust."""
    stretch, shift = 1.0, 0.0
    for _ in range(20):
        chance = probability(stretch * odds + shift)
        error, bend = chance - outcome, np.maximum(chance * (1.0 - chance), 1e-6)
        slope = np.array([(error * odds).sum() + PLATT_RIDGE * (stretch - 1.0), error.sum() + PLATT_RIDGE * shift])
        cross = float((bend * odds).sum())
        curve = np.array([[(bend * odds**2).sum() + PLATT_RIDGE, cross], [cross, bend.sum() + PLATT_RIDGE]])
        step = np.linalg.solve(curve, slope)
        stretch, shift = stretch - float(step[0]), shift - float(step[1])
    stretch, shift = min(max(stretch, 0.7), 1.3), min(max(shift, -0.5), 0.5)
    return 1.0 + trust * (stretch - 1.0), trust * shift


def _both(outcome: np.ndarray) -> bool:
    """Whether enough rows with each outcome are there to learn from."""
    plugged = int(outcome.sum())
    return min(plugged, len(outcome) - plugged) >= 20  # noqa: PLR2004 - fewer say nothing
