"""An alarm budget becomes a p-value; conformal p-values keep what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from plugcast.anomaly.threshold import calibrate


def test_p_values_count_the_held_out_scores_at_least_as_odd() -> None:
    threshold = calibrate(np.array([0.4, 0.5, 0.5, 0.6]), station_weeks=10, alarms_per_station_week=0.1)
    p_values = threshold.p_values(np.array([0.3, 0.5, 0.6, 0.7]))
    assert p_values.tolist() == [1.0, 0.8, 0.4, 0.2]
    assert threshold.smallest_p == 0.2


def test_the_budget_is_kept_on_sessions_like_the_held_out_ones() -> None:
    rng = np.random.default_rng(0)
    threshold = calibrate(rng.random(5000), station_weeks=1250.0, alarms_per_station_week=0.1)
    assert threshold.alpha == pytest.approx(0.025)
    alarms = (threshold.p_values(rng.random(20_000)) <= threshold.alpha).sum()
    assert alarms / 5000 == pytest.approx(0.1, rel=0.15)  # 20,000 sessions are 5,000 station-weeks


def test_no_held_out_sessions_mean_no_alarms() -> None:
    threshold = calibrate(np.array([]), station_weeks=0.0, alarms_per_station_week=5.0)
    assert threshold.alpha == 0.0
    assert threshold.p_values(np.array([0.9])).tolist() == [1.0]
