from __future__ import annotations

import itertools
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


def _brute_crps(members: np.ndarray, outcome: float) -> float:
    """The integral of (F(x) - 1{x >= y})^2 over x, F being the members' own distribution."""
    edges = np.sort(np.append(members, outcome))
    return float(
        sum(
            (right - left) * (np.mean(members <= left) - (left >= outcome)) ** 2
            for left, right in itertools.pairwise(edges)
        )
    )


@given(st.integers(0, 2**32 - 1), st.integers(2, 12))
def test_crps_of_an_ensemble_is_the_integral(seed: int, members: int) -> None:
    rng = np.random.default_rng(seed)
    ensemble, outcome = np.round(rng.normal(size=(5, members)), 2), np.round(rng.normal(size=5), 2)
    wanted = [_brute_crps(row, y) for row, y in zip(ensemble, outcome, strict=True)]
    assert scores.crps_ensemble(ensemble, outcome, fair=False) == pytest.approx(wanted)


def test_a_fair_score_does_not_depend_on_how_many_members_there_are() -> None:
    rng = np.random.default_rng(3)
    outcome = rng.normal(size=20_000)
    few, many = (scores.crps_ensemble(rng.normal(size=(20_000, k)), outcome).mean() for k in (2, 40))
    assert few == pytest.approx(many, abs=0.02)
    unfair = scores.crps_ensemble(rng.normal(size=(20_000, 2)), outcome, fair=False).mean()
    assert unfair > many + 0.1


def test_crps_from_many_quantiles_is_that_of_the_distribution() -> None:
    rng = np.random.default_rng(4)
    outcome = rng.random(2_000)
    levels = tuple((np.arange(200) + 0.5) / 200)
    quantiles = np.tile(levels, (2_000, 1))  # the uniform distribution: CRPS = y^2 - y + 1/3
    assert scores.crps_quantiles(quantiles, levels, outcome) == pytest.approx(outcome**2 - outcome + 1 / 3, abs=1e-4)


@given(st.integers(0, 2**32 - 1))
def test_a_single_median_scores_its_absolute_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    median, outcome = rng.normal(size=20), rng.normal(size=20)
    assert scores.crps_quantiles(median[:, None], (0.5,), outcome).mean() == pytest.approx(scores.mae(median, outcome))


def test_proper_scores_are_best_for_the_truth() -> None:
    rng = np.random.default_rng(5)
    outcome = rng.normal(size=50_000)
    true_low, true_high = -1.2816, 1.2816
    best = scores.interval_score(np.full(50_000, true_low), np.full(50_000, true_high), outcome, 0.8)
    for factor in (0.6, 1.5):
        other = scores.interval_score(
            np.full(50_000, factor * true_low), np.full(50_000, factor * true_high), outcome, 0.8
        )
        assert other > best


@given(st.integers(0, 2**32 - 1))
def test_one_smape_is_twice_the_other_and_both_are_bounded(seed: int) -> None:
    rng = np.random.default_rng(seed)
    forecast, outcome = rng.normal(size=30), rng.normal(size=30)
    first, second = scores.smape(forecast, outcome)
    assert second == pytest.approx(2 * first)
    assert 0 <= first <= 100
    assert scores.smape(outcome, outcome) == (0, 0)
    assert scores.smape(3 * forecast, 3 * outcome) == pytest.approx((first, second))


@given(st.integers(0, 2**32 - 1), st.integers(2, 20))
def test_the_dots_of_a_reliability_diagram_hold_every_row(seed: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    chance = np.append(rng.random(200), [0.0, 1.0])
    outcome = (rng.random(202) < chance).astype(float)
    points = scores.reliability(chance, outcome, bins=bins)
    assert points.count.sum() == 202
    assert (points.forecast * points.count).sum() == pytest.approx(chance.sum())
    assert (points.observed * points.count).sum() == pytest.approx(outcome.sum())
    assert (np.diff(points.forecast) > 0).all()
