"""Make stated chances come true: isotonic steps for probabilities, conformal widening for quantiles."""

from __future__ import annotations

import msgspec
import numpy as np

LEAD_EDGES_MIN = (0.0, 30.0, 90.0, 240.0, 540.0, 1_080.0, 1_800.0, float("inf"))
"""Buckets of lead in which errors are alike."""


def lead_bucket(lead_min: np.ndarray | float) -> np.ndarray:
    """Bucket number of each lead, 0 .. len(LEAD_EDGES_MIN) - 2."""
    return np.asarray(np.searchsorted(np.array(LEAD_EDGES_MIN[1:-1]), np.asarray(lead_min), side="right"))


class Isotonic(msgspec.Struct, frozen=True, kw_only=True):
    """A non-decreasing piecewise linear map of raw to calibrated probability; the edge needs only these knots."""

    raw: tuple[float, ...]
    calibrated: tuple[float, ...]

    @classmethod
    def fit(cls, probability: np.ndarray, outcome: np.ndarray) -> Isotonic:
        """Pool adjacent violators (Ayer et al. 1955), on data that training did not see."""
        from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - only training needs it

        steps = IsotonicRegression(y_min=1e-4, y_max=1 - 1e-4, out_of_bounds="clip")
        steps.fit(probability.astype(np.float64), outcome.astype(np.float64))
        return cls(raw=tuple(map(float, steps.X_thresholds_)), calibrated=tuple(map(float, steps.y_thresholds_)))

    def apply(self, probability: np.ndarray) -> np.ndarray:
        """Calibrated probabilities; outside the knots the end values hold."""
        return np.asarray(np.interp(probability, self.raw, self.calibrated))


class Widening(msgspec.Struct, frozen=True, kw_only=True):
    """Conformalised quantile regression (Romano et al. 2019), one offset for each bucket of lead."""

    offset: tuple[float, ...]

    @classmethod
    def fit(
        cls, low: np.ndarray, high: np.ndarray, outcome: np.ndarray, lead_min: np.ndarray, *, coverage: float
    ) -> Widening:
        """Offsets that would have covered the calibration outcomes at the wanted rate; a bucket without rows gets 0."""
        bucket = lead_bucket(lead_min)
        miss = np.maximum(low - outcome, outcome - high)
        return cls(
            offset=tuple(
                _conformal_quantile(miss[bucket == number], coverage) for number in range(len(LEAD_EDGES_MIN) - 1)
            )
        )

    def at(self, lead_min: np.ndarray | float) -> np.ndarray:
        """What to take from the low and add to the high quantile; may be negative where they were too wide."""
        return np.asarray(np.array(self.offset)[lead_bucket(lead_min)])


def _conformal_quantile(miss: np.ndarray, coverage: float) -> float:
    if len(miss) == 0:
        return 0.0
    level = min(1.0, np.ceil((len(miss) + 1) * coverage) / len(miss))
    return float(np.quantile(miss, level, method="higher"))
