"""CPU time a session: features and scores, one finding, exact and quick reasons; beside the usual ways in one run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from benches.anomaly_reference import per_message, reference_forest, reference_matrix
from benches.anomaly_trials import ZONE, Trial
from benches.registry import Bar
from sklearn.ensemble import IsolationForest

from plugcast.anomaly.forests import fit_forest
from plugcast.anomaly.kind_model import matrix_of
from plugcast.anomaly.stack import NAMES, RELATIVE
from plugcast.anomaly.treeshap import ForestShap
from plugcast.features.sessions import SessionHistory, rows_of, session_features

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SHAP_ROWS = 200


def measure(trial: Trial, data: Path) -> dict[str, Any]:
    """CPU milliseconds a session."""
    del data
    sessions, inputs = trial.train.tail(10_000), trial.inputs
    own = (
        _cpu_s(lambda: trial.detector.score(session_features(sessions, inputs, history=SessionHistory(time_zone=ZONE))))
        / sessions.height
    )
    rows = rows_of(trial.test_features)[:200]
    reasons = _cpu_s(lambda: [trial.detector.explain(row) for row in rows]) / len(rows)
    usual = reference_matrix(trial.train_features)
    forest = reference_forest(usual, 0)
    message = _cpu_s(lambda: per_message(forest, usual[:30])) / 30
    columns = [NAMES.index(name) for name in RELATIVE]
    matrix = np.nan_to_num(matrix_of(rows_of(trial.train_features.tail(4000)))[:, columns], posinf=0.0, neginf=0.0)
    sklearn = IsolationForest(n_estimators=200, random_state=0).fit(matrix)
    ablation = _cpu_s(lambda: _ablated(sklearn, matrix)) / len(matrix)
    ours = trial.detector.models["ac"].stack.forest
    path = _cpu_s(lambda: (ours.score(matrix, RELATIVE), ours.contributions(matrix, RELATIVE))) / len(matrix)
    return {
        "ms": {
            "features_and_stack": own * 1e3,
            "reference_per_message": message * 1e3,
            "one_finding_with_reasons": reasons * 1e3,
            "forest_score_and_paths": path * 1e3,
            "sklearn_forest_and_ablation": ablation * 1e3,
        },
        "beside_shap": _beside_shap(matrix),
    }


def tell(found: Mapping[tuple[str, int], dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Ratios of one run."""
    made = next(iter(found.values()))
    ms, shap = made["ms"], made["beside_shap"]
    bars = [
        _times("100,000 sessions with features, times faster than per message", "reference_per_message", ms, 20),
        _times(
            "scores with path attribution, times faster than sklearn with ablation",
            "sklearn_forest_and_ablation",
            ms,
            3,
            own="forest_score_and_paths",
        ),
        Bar(
            name="one finding with its reasons, CPU ms",
            value=ms["one_finding_with_reasons"],
            limit=1.0,
            sense="at_most",
        ),
    ]
    cases = [{"case": "speed, CPU ms a session"} | ms, {"case": "isolation forest of 200 trees beside shap"} | shap]
    if "exact_tree_shap_ms" in shap:
        name = "scores with exact Shapley values, times faster than sklearn with shap"
        bars += [
            _times(name, "sklearn_and_shap_ms", shap, 3, own="exact_tree_shap_ms"),
            Bar(
                name="exact Shapley values, largest difference to shap",
                value=shap["largest_difference_to_shap"],
                limit=1e-12,
                sense="at_most",
            ),
        ]
    return cases, bars


def _times(name: str, theirs: str, ms: Mapping[str, float], limit: float, own: str = "features_and_stack") -> Bar:
    return Bar(name=name, value=ms[theirs] / ms[own], limit=limit, sense="at_least")


def _beside_shap(matrix: NDArray[np.float64]) -> dict[str, Any]:
    """The same isolation trees explained by the package shap and by us; nothing where shap is not installed."""
    try:
        import shap  # noqa: PLC0415 - a peer; its numba and the locked llvmlite of other peers shut each other out
    except ImportError:
        return {"left_out": "shap is not installed: .venv/bin/pip install shap"}
    model = IsolationForest(n_estimators=200, max_samples=256, random_state=0).fit(matrix.astype(np.float32))
    ours = fit_forest(matrix, RELATIVE, seed=0, trees=200, subsample=256)
    explainer, exactly = shap.TreeExplainer(model), ForestShap(ours)
    builds = {
        "shap_build_ms": _cpu_s(lambda: shap.TreeExplainer(model)) * 1e3,
        "exact_build_ms": _cpu_s(lambda: ForestShap(ours)) * 1e3,
    }
    some, single = matrix[:SHAP_ROWS], matrix[:1]
    scoring = _cpu_s(lambda: model.score_samples(matrix)) / len(matrix)
    theirs_s = scoring + _cpu_s(lambda: explainer.shap_values(some)) / len(some)
    path_s = _cpu_s(lambda: (ours.score(matrix, RELATIVE), ours.contributions(matrix, RELATIVE))) / len(matrix)
    exact_s = _cpu_s(lambda: (ours.score(some, RELATIVE), exactly.values(some, RELATIVE))) / len(some)
    theirs = np.asarray(explainer.shap_values(some))
    exact, path = exactly.values(some, RELATIVE), ours.contributions(some, RELATIVE)
    odd = np.argsort(-ours.score(some, RELATIVE))[: len(some) // 10]
    one = {
        "shap_one_row_ms": _cpu_s(lambda: [explainer.shap_values(single) for _ in range(20)]) / 20 * 1e3,
        "exact_one_row_ms": _cpu_s(lambda: [exactly.values(single, RELATIVE) for _ in range(20)]) / 20 * 1e3,
    }
    return {
        **builds,
        **one,
        "sklearn_and_shap_ms": theirs_s * 1e3,
        "score_and_paths_ms": path_s * 1e3,
        "exact_tree_shap_ms": exact_s * 1e3,
        "largest_difference_to_shap": float(np.abs(exact - theirs).max()),
        "path_and_shap_name_the_same_first_feature": float(
            (path[odd].argmin(axis=1) == theirs[odd].argmin(axis=1)).mean()
        ),
    }


def _ablated(model: IsolationForest, matrix: NDArray[np.float64]) -> None:
    """What each feature adds: scores with one feature after another at its median."""
    model.score_samples(matrix)
    median = np.median(matrix, axis=0)
    for place, value in enumerate(median):
        changed = matrix.copy()
        changed[:, place] = value
        model.score_samples(changed)


def _cpu_s(work: Callable[[], object]) -> float:
    work()
    begun = time.process_time()
    work()
    return time.process_time() - begun
