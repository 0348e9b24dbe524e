from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, mean_pinball_loss, roc_auc_score

from plugcast.forecast import scores

_PAIRS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


@given(_PAIRS)
def test_scores_agree_with_scikit_learn(pairs: list[tuple[float, bool]]) -> None:
    chance = np.array([p for p, _ in pairs])
    outcome = np.array([o for _, o in pairs], float)
    assert scores.brier(chance, outcome) == pytest.approx(brier_score_loss(outcome, chance, pos_label=1), abs=1e-9)
    assert scores.pinball(chance, outcome, 0.3) == pytest.approx(mean_pinball_loss(outcome, chance, alpha=0.3))
    if 0 < outcome.sum() < len(outcome):
        assert scores.auc(chance, outcome) == pytest.approx(roc_auc_score(outcome, chance))
    else:
        assert math.isnan(scores.auc(chance, outcome))


def test_perfect_calibration_has_no_error_and_overconfidence_does() -> None:
    rng = np.random.default_rng(0)
    chance = rng.random(50_000)
    outcome = (rng.random(50_000) < chance).astype(float)
    assert scores.ece(chance, outcome) < 0.01
    assert scores.ece(np.round(chance), outcome) > 0.2
    assert scores.log_loss(chance, outcome) < scores.log_loss(np.round(chance), outcome)


def test_no_rows_have_no_calibration_error() -> None:
    assert math.isnan(scores.ece(np.zeros(0), np.zeros(0)))
