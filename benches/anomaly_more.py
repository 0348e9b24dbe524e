"""Public labelled sets, feedback, and speed."""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from benches.anomaly_reference import per_message, reference_forest, reference_matrix
from benches.anomaly_trials import ZONE, Trial, figures
from benches.registry import Bar
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

from plugcast.anomaly.feedback import Entry, Feedback, Verdict
from plugcast.anomaly.forests import fit_forest
from plugcast.anomaly.kind_model import matrix_of
from plugcast.anomaly.rules import check
from plugcast.anomaly.stack import NAMES, RELATIVE, fit_unsupervised
from plugcast.anomaly.treeshap import forest_shap
from plugcast.features.sessions import SessionHistory, rows_of, session_features

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

MOST_ROWS = 12_000
SHAP_ROWS = 200
LABELS = 40
SURE = 2.0
"""Evidence of a rule that is broken once in a hundred sessions."""
LEAST_GAIN = 0.001
SAID_AT = datetime(2020, 1, 1, tzinfo=UTC)


def adbench_cases(folder: Path) -> tuple[list[dict[str, Any]], list[Bar]]:
    """The three detectors that need no faults, fused, beside scikit-learn's isolation forest, both with defaults."""
    cases = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as archive:
            rows, odd = archive["X"].astype(np.float64), archive["y"]
        kept = np.random.default_rng(0).permutation(len(rows))[:MOST_ROWS]
        rows, odd = rows[kept], odd[kept]
        names = [f"f{place:03d}" for place in range(rows.shape[1])]
        found: dict[str, list[tuple[float, float]]] = {"stack": [], "sklearn": []}
        for seed in range(3):
            fused = fit_unsupervised(rows, names, seed=seed).score(rows, names)
            plain = -IsolationForest(random_state=seed).fit(rows).score_samples(rows)
            for name, score in (("stack", fused), ("sklearn", plain)):
                found[name].append((float(roc_auc_score(odd, score)), float(average_precision_score(odd, score))))
        case: dict[str, Any] = {"case": "ADBench", "set": path.stem, "rows": len(rows)}
        for name, own in found.items():
            case |= {
                f"{name}_auroc": statistics.median(o[0] for o in own),
                f"{name}_ap": statistics.median(o[1] for o in own),
            }
        cases.append(case)
    bars = []
    for figure in ("auroc", "ap"):
        ours, theirs = (statistics.fmean(case[f"{who}_{figure}"] for case in cases) for who in ("stack", "sklearn"))
        bars.append(
            Bar(name=f"ADBench, mean {figure}: stack beside sklearn", value=ours, limit=theirs, sense="at_least")
        )
    return cases, bars


def feedback_cases(trials: list[Trial], data: Path) -> tuple[list[dict[str, Any]], list[Bar]]:
    """40 of the first half are looked into and labelled; the second half is ranked with that known.

    They are the 40 highest of those on which no rule is sure: what a rule proves needs nobody's word.
    """
    del data
    cases, gains, kept = [], [], []
    for trial in trials:
        features = trial.test_features.with_columns(place=np.arange(trial.test_features.height)).sort("observed_at")
        order = features["place"].to_numpy()
        first, later = order[: len(order) // 2], order[len(order) // 2 :]
        doubtful = first[trial.evidence["rules"][first] < SURE]
        shown = doubtful[np.argsort(-trial.score[doubtful])][:LABELS]
        told = _told(trial, shown, trial.faulty[shown])
        before = figures(trial.faulty[later], trial.score[later])
        after = figures(trial.faulty[later], _rescored(trial, told)[later])
        hostile = _told(trial, np.flatnonzero(trial.faulty), np.zeros(int(trial.faulty.sum()), dtype=bool))
        broken = [any(b.severity != "info" for b in check(row)) for row in rows_of(trial.test_features)]
        silenced = _silenced(trial, hostile)
        kept.append(silenced)
        gains.append(after["ap_at_5pct"] - before["ap_at_5pct"])
        cases.append(
            {
                "case": f"{LABELS} labels, next period",
                "site": trial.site,
                "ap_before": before["ap_at_5pct"],
                "ap_after": after["ap_at_5pct"],
                "auroc_before": before["auroc"],
                "auroc_after": after["auroc"],
                "labelled_true": int(trial.faulty[shown].sum()),
                "sessions_that_break_a_rule": sum(broken),
            }
        )
    return cases, [
        Bar(
            name="feedback: AP gained on the next period, mean",
            value=statistics.fmean(gains),
            limit=LEAST_GAIN,
            sense="at_least",
        ),
        Bar(name="rule findings silenced by a hostile labeller", value=max(kept), limit=0.0, sense="at_most"),
    ]


def _told(trial: Trial, places: NDArray[np.int64], true: NDArray[np.bool_]) -> Feedback:
    rows = rows_of(trial.test_features[places])
    entries = tuple(
        Entry(
            finding_id=row.session_id,
            session_id=row.session_id,
            verdict=Verdict.TRUE if is_true else Verdict.FALSE_ALARM,
            said_by="bench",
            said_at=SAID_AT,
            values={name: getattr(row, name) for name in RELATIVE},
        )
        for row, is_true in zip(rows, true.tolist(), strict=True)
    )
    return Feedback(entries=entries)


def _rescored(trial: Trial, told: Feedback) -> NDArray[np.float64]:
    stack = trial.detector.models["ac"].stack
    matrix = matrix_of(rows_of(trial.test_features))
    return stack.total(trial.evidence, told.leaning(matrix, NAMES, stack.neighbours.scale))


def _silenced(trial: Trial, hostile: Feedback) -> float:
    """Findings of rules that are gone once everything was called a false alarm."""
    talked = trial.detector.with_feedback(hostile)
    rules = [
        {finding.finding_id for finding in each.judge_frame(trial.test_features) if finding.by.startswith("rule:")}
        for each in (trial.detector, talked)
    ]
    return float(len(rules[0] - rules[1]))


def speed_cases(trials: list[Trial], data: Path) -> tuple[list[dict[str, Any]], list[Bar]]:
    """CPU time a session: features and score; reasons; beside one prediction a message, and sklearn with ablation."""
    del data
    trial = trials[0]
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
    more, own_bars = _beside_shap(matrix)
    case = {
        "case": "speed, CPU ms a session",
        "features_and_stack": own * 1e3,
        "reference_per_message": message * 1e3,
        "one_finding_with_reasons": reasons * 1e3,
        "forest_score_and_paths": path * 1e3,
        "sklearn_forest_and_ablation": ablation * 1e3,
    }
    return [case, *more], [
        *own_bars,
        Bar(
            name="100,000 sessions with features, times faster than per message",
            value=message / own,
            limit=20,
            sense="at_least",
        ),
        Bar(
            name="scores with explanations, times faster than sklearn with ablation",
            value=ablation / path,
            limit=3,
            sense="at_least",
        ),
        Bar(name="one finding with its reasons, CPU ms", value=reasons * 1e3, limit=1.0, sense="at_most"),
    ]


def _beside_shap(matrix: NDArray[np.float64]) -> tuple[list[dict[str, Any]], list[Bar]]:
    """The same isolation trees explained by the package shap and by us; nothing where shap is not installed."""
    try:
        import shap  # noqa: PLC0415 - a peer; its numba and the locked llvmlite of other peers shut each other out
    except ImportError:
        return [{"case": "beside shap", "left_out": "shap is not installed: .venv/bin/pip install shap"}], []
    model = IsolationForest(n_estimators=200, max_samples=256, random_state=0).fit(matrix.astype(np.float32))
    ours = fit_forest(matrix, RELATIVE, seed=0, trees=200, subsample=256)
    explainer = shap.TreeExplainer(model)
    some = matrix[:SHAP_ROWS]
    scoring = _cpu_s(lambda: model.score_samples(matrix)) / len(matrix)
    theirs_s = scoring + _cpu_s(lambda: explainer.shap_values(some)) / len(some)
    path_s = _cpu_s(lambda: (ours.score(matrix, RELATIVE), ours.contributions(matrix, RELATIVE))) / len(matrix)
    exact_s = _cpu_s(lambda: forest_shap(ours, some, RELATIVE)) / len(some)
    theirs = np.asarray(explainer.shap_values(some))
    exact, path = forest_shap(ours, some, RELATIVE), ours.contributions(some, RELATIVE)
    odd = np.argsort(-ours.score(some, RELATIVE))[: len(some) // 10]
    case = {
        "case": "isolation forest of 200 trees, score and reasons, CPU ms a session",
        "sklearn_and_shap": theirs_s * 1e3,
        "score_and_paths": path_s * 1e3,
        "exact_tree_shap": exact_s * 1e3,
        "largest_difference_to_shap": float(np.abs(exact - theirs).max()),
        "path_and_shap_name_the_same_first_feature": float(
            (path[odd].argmin(axis=1) == theirs[odd].argmin(axis=1)).mean()
        ),
    }
    return [case], [
        Bar(
            name="isolation forest's scores with the reasons of alarms, times faster than sklearn with shap",
            value=theirs_s / path_s,
            limit=3,
            sense="at_least",
        ),
        Bar(
            name="exact Shapley values, largest difference to shap",
            value=float(np.abs(exact - theirs).max()),
            limit=1e-6,
            sense="at_most",
        ),
    ]


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
