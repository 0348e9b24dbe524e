"""Faults of 18 types among the later sessions: the stack, its parts and the usual detectors; causes; unseen types."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from benches.anomaly_reference import reference_extended, reference_forest, reference_matrix
from benches.anomaly_trials import ZONE, Trial, auroc_of, figures
from benches.registry import Bar

from plugcast.anomaly.faults import AS_SEEN
from plugcast.anomaly.kind_model import frame_matrix
from plugcast.anomaly.stack import NAMES, PARTS, Faulty, Rows, StackSpec, refit_faults
from plugcast.anomaly.watch import ALARMING
from plugcast.domain.finding import Cause
from plugcast.services.detection import FaultMaker, watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Found = Mapping[tuple[str, int], dict[str, Any]]

LIMITS = {"auroc": 0.95, "ap_at_5pct": 0.75, "recall_at_1pct_fpr": 0.60}


def measure_faults(trial: Trial, data: Path) -> dict[str, Any]:
    """Figures of the stack, of each part and of the usual detectors; the stack's by type of fault."""
    del data
    made: dict[str, Any] = {"stack": figures(trial.faulty, trial.score)}
    made |= {part: figures(trial.faulty, trial.evidence[part]) for part in PARTS}
    train = reference_matrix(trial.train_features)
    test = reference_matrix(trial.test_features, train)
    forest = -reference_forest(train, trial.seed).score_samples(test)
    made["reference_if"] = figures(trial.faulty, forest)
    made["reference_eif"] = figures(trial.faulty, reference_extended(train, test, trial.seed))
    return made | {"by_type": trial.by_type(trial.score)}


def tell_faults(found: Found) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Medians over seeds; the bars are of the mean of the sites."""
    cases: list[dict[str, Any]] = []
    for site in sites_of(found):
        own = of_site(found, site)
        for detector in own[0]:
            case = "AUROC by fault type" if detector == "by_type" else "all faults"
            named = "stack" if detector == "by_type" else detector
            cases.append({"case": case, "site": site, "detector": named} | median(made[detector] for made in own))
    bars = []
    for name, limit in LIMITS.items():
        by_seed: dict[int, list[float]] = {}
        for (_, seed), made in found.items():
            by_seed.setdefault(seed, []).append(made["stack"][name])
        value = statistics.median(statistics.fmean(own) for own in by_seed.values())
        bars.append(Bar(name=f"all faults, mean of the sites: {name}", value=value, limit=limit, sense="at_least"))
    return cases, bars


def measure_causes(trial: Trial, data: Path) -> dict[str, Any]:
    """How often an alarm on a faulty session names the fault first, and among the first two.

    The cause is what a session's record can tell: low power, where only the current over time tells the three kinds of
    it apart.
    """
    del data
    found, _ = watch(trial.detector, trial.test_features, time_zone=ZONE)
    first: dict[str, Any] = {}
    for finding in found:
        if finding.severity in ALARMING and finding.by != "site:event":
            first.setdefault(finding.session_id, finding)
    hits = []
    labels = trial.test_features.filter(trial.faulty).select("session_id", "cause")
    for session_id, label in labels.iter_rows():
        if session_id in first:
            wanted = AS_SEEN.get(Cause(label), Cause(label))
            named = [reason.cause for reason in first[session_id].reasons[:2]]
            hits.append((named[0] == wanted, wanted in named))
    told = np.array(hits, dtype=float)
    return {
        "true_alarms": float(len(told)),
        "share_of_faults_alarmed": len(told) / labels.height,
        "first": float(told[:, 0].mean()),
        "first_two": float(told[:, 1].mean()),
    }


def tell_causes(found: Found) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Medians over sites and seeds."""
    whole = median(found.values())
    cases = [{"case": "cause of true alarms", "site": site} | median(of_site(found, site)) for site in sites_of(found)]
    return [*cases, {"case": "cause of true alarms", "site": "both"} | whole], [
        Bar(name="true alarms: injected cause first", value=whole["first"], limit=0.90, sense="at_least"),
        Bar(name="true alarms: injected cause in first two", value=whole["first_two"], limit=0.97, sense="at_least"),
    ]


def measure_left_out(trial: Trial, data: Path) -> dict[str, Any]:
    """AUROC of each type where the classifier never saw it; the other parts never saw any."""
    del data
    model = trial.detector.models["ac"]
    history = trial.detector.history
    made = FaultMaker()(trial.train, trial.inputs, history, trial.seed)
    made = made.filter(pl.col("current_type") == "ac").sort("observed_at", "session_id")
    ended = trial.train_features.filter(pl.col("duration_h").is_not_nan() & (pl.col("current_type") == "ac")).sort(
        "observed_at", "session_id"
    )
    ordinary = Rows(matrix=frame_matrix(ended), at_us=_times(ended))
    test = frame_matrix(trial.test_features)
    found = {}
    for fault in sorted(trial.test_features["fault"].drop_nulls().unique()):
        known = made.filter(pl.col("fault") != fault)
        faulty = Faulty(
            rows=Rows(matrix=frame_matrix(known), at_us=_times(known)),
            causes=tuple(Cause(cause) for cause in known["cause"]),
        )
        stack = refit_faults(model.stack, ordinary, faulty, seed=trial.seed, spec=StackSpec())
        if stack.faults is None:
            continue
        evidence = trial.evidence | {"faults": stack.tails["faults"].evidence(stack.faults.score(test, NAMES))}
        score = stack.total(evidence)
        found[fault] = auroc_of(score[trial.of_type(fault)], score[~trial.faulty])
    return found


def tell_left_out(found: Found) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Medians over seeds; the bars are of all types at all sites."""
    cases, each = [], []
    for site in sites_of(found):
        own = median(of_site(found, site))
        cases.append({"case": "AUROC of types left out of training", "site": site} | own)
        each += list(own.values())
    return cases, [
        Bar(name="types left out: mean AUROC", value=statistics.fmean(each), limit=0.90, sense="at_least"),
        Bar(name="types left out: lowest AUROC", value=min(each), limit=0.75, sense="at_least"),
    ]


def sites_of(found: Found) -> list[str]:
    """Which were measured."""
    return sorted({site for site, _ in found})


def of_site(found: Found, site: str) -> list[dict[str, Any]]:
    """One for each seed."""
    return [made for (own, _), made in sorted(found.items()) if own == site]


def median(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Of each figure over the rows that have it."""
    kept = list(rows)
    return {
        name: round(statistics.median(row[name] for row in kept if name in row), 4)
        for name in sorted({name for row in kept for name in row})
    }


def _times(features: pl.DataFrame) -> NDArray[np.int64]:
    return features["observed_at"].to_physical().to_numpy()
