"""What 40 labels are worth on the next period, and what a hostile labeller can do."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from benches.anomaly_labelled import median, of_site, sites_of
from benches.anomaly_trials import Trial, figures
from benches.registry import Bar

from plugcast.anomaly.feedback import Entry, Feedback, Verdict
from plugcast.anomaly.kind_model import matrix_of
from plugcast.anomaly.rules import check
from plugcast.anomaly.stack import NAMES, RELATIVE
from plugcast.features.sessions import rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Found = Mapping[tuple[str, int], dict[str, Any]]

LABELS = 40
SURE = 2.0
"""Evidence of a rule that is broken once in a hundred sessions."""
LEAST_GAIN = 0.001
SAID_AT = datetime(2020, 1, 1, tzinfo=UTC)


def measure(trial: Trial, data: Path) -> dict[str, Any]:
    """40 of the first half are looked into and labelled; the second half is ranked with that known.

    They are the 40 highest of those on which no rule is sure: what a rule proves needs nobody's word.
    """
    del data
    features = trial.test_features.with_columns(place=np.arange(trial.test_features.height)).sort("observed_at")
    order = features["place"].to_numpy()
    first, later = order[: len(order) // 2], order[len(order) // 2 :]
    doubtful = first[trial.evidence["rules"][first] < SURE]
    shown = doubtful[np.argsort(-trial.score[doubtful])][:LABELS]
    told = _told(trial, shown, trial.faulty[shown])
    before = figures(trial.faulty[later], trial.score[later])
    after = figures(trial.faulty[later], _rescored(trial, told)[later])
    hostile = _told(trial, np.flatnonzero(trial.faulty), np.zeros(int(trial.faulty.sum()), dtype=bool))
    return {
        "ap_before": before["ap_at_5pct"],
        "ap_after": after["ap_at_5pct"],
        "ap_gained": after["ap_at_5pct"] - before["ap_at_5pct"],
        "auroc_before": before["auroc"],
        "auroc_after": after["auroc"],
        "labelled_true": int(trial.faulty[shown].sum()),
        "sessions_that_break_a_rule": sum(
            any(b.severity != "info" for b in check(row)) for row in rows_of(trial.test_features)
        ),
        "silenced": _silenced(trial, hostile),
    }


def tell(found: Found) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Medians over seeds of the mean of the sites; a rule silenced anywhere counts."""
    by_seed: dict[int, list[float]] = {}
    for (_, seed), made in found.items():
        by_seed.setdefault(seed, []).append(made["ap_gained"])
    gain = statistics.median(statistics.fmean(own) for own in by_seed.values())
    return [
        {"case": f"{LABELS} labels, next period", "site": site} | median(of_site(found, site))
        for site in sites_of(found)
    ], [
        Bar(name="feedback: AP gained on the next period, mean", value=gain, limit=LEAST_GAIN, sense="at_least"),
        Bar(
            name="rule findings silenced by a hostile labeller",
            value=max(made["silenced"] for made in found.values()),
            limit=0.0,
            sense="at_most",
        ),
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
