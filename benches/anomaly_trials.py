"""One site, one seed: a detector trained on the earlier part, and faults put into the later part."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score, roc_auc_score

from plugcast.anomaly.faults import AS_SEEN
from plugcast.anomaly.stack import NAMES, PARTS, Faulty, Rows, StackSpec, refit_faults
from plugcast.anomaly.watch import ALARMING
from plugcast.domain.finding import Cause
from plugcast.features.sessions import SessionHistory, session_features
from plugcast.services.detection import FaultMaker, declared, train_detector, watch
from plugcast.services.sources import open_sessions
from plugcast.simulate.inject import inject

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from plugcast.anomaly.detector import Detector

    Floats = NDArray[np.float64]

ZONE = "America/Los_Angeles"
NOW = datetime(2021, 1, 1, tzinfo=UTC)
PREVALENCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """What a detector said of sessions with faults among them."""

    site: str
    seed: int
    detector: Detector
    train: pl.DataFrame
    inputs: pl.DataFrame
    train_features: pl.DataFrame
    test_features: pl.DataFrame
    """With the labels' columns; null where nothing was put in."""
    evidence: dict[str, Floats]
    score: Floats

    @property
    def faulty(self) -> NDArray[np.bool_]:
        """Where a fault was put in."""
        return self.test_features["fault"].is_not_null().to_numpy()

    def of_type(self, fault: str) -> NDArray[np.bool_]:
        """Where this one was put in."""
        return (self.test_features["fault"] == fault).fill_null(value=False).to_numpy()

    def by_type(self, score: Floats) -> dict[str, float]:
        """AUROC of each type against untouched sessions."""
        return {
            fault: _auroc(score[self.of_type(fault)], score[~self.faulty])
            for fault in sorted(self.test_features["fault"].drop_nulls().unique())
        }


def load(site: str, data: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sessions and declarations of a site."""
    if site == "caltech":
        read = open_sessions(data / "acn_caltech_sessions.jsonl.gz", now=NOW).read()
        return read.sessions, read.user_inputs
    read = open_sessions(data / "acn_jpl_sessions.parquet", now=NOW, time_zone="UTC", site_id="jpl").read()
    return read.sessions.with_columns(time_zone=pl.lit(ZONE)), read.user_inputs


def prepare(
    site: str,
    read: tuple[pl.DataFrame, pl.DataFrame],
    *,
    split: datetime,
    end: datetime,
    seed: int,
    per_type: int = 40,
) -> Trial:
    """Train before the split, put faults into what comes until the end, score it."""
    sessions, inputs = read
    sessions = sessions.filter(pl.col("available_at") < end)
    train = sessions.filter(pl.col("available_at") < split)
    later = sessions.filter(pl.col("available_at") >= split)
    detector = train_detector(train, inputs, time_zone=ZONE, seed=seed)
    put_in = inject(sessions, seed=seed, per_type=per_type, hosts=later["session_id"])
    test = detector.features(
        put_in.sessions.filter(pl.col("available_at") >= split), declared(inputs, put_in.labels)
    ).join(put_in.labels, on="session_id", how="left")
    scored = detector.score(test)
    kept = test.with_row_index().filter(scored["score"].is_not_nan())["index"].to_numpy()
    scored, test = scored[kept], test[kept]
    return Trial(
        site=site,
        seed=seed,
        detector=detector,
        train=train,
        inputs=inputs,
        train_features=session_features(train, inputs, history=SessionHistory(time_zone=ZONE)),
        test_features=test,
        evidence={part: scored[f"evidence_{part}"].to_numpy() for part in PARTS},
        score=scored["score"].to_numpy(),
    )


def figures(faulty: NDArray[np.bool_], score: Floats) -> dict[str, float]:
    """AUROC; average precision as if 5 % were faulty; recall where 1 % of untouched sessions are above."""
    ordinary = score[~faulty]
    share = PREVALENCE / (1 - PREVALENCE) * len(ordinary) / max(int(faulty.sum()), 1)
    weight = np.where(faulty, share, 1.0)
    return {
        "auroc": float(roc_auc_score(faulty, score)),
        "ap_at_5pct": float(average_precision_score(faulty, score, sample_weight=weight)),
        "recall_at_1pct_fpr": float((score[faulty] > np.quantile(ordinary, 0.99)).mean()),
    }


def _auroc(odd: Floats, ordinary: Floats) -> float:
    return float(roc_auc_score(np.repeat([1, 0], [len(odd), len(ordinary)]), np.concatenate([odd, ordinary])))


def left_out(trial: Trial) -> dict[str, float]:
    """AUROC of each type where the classifier never saw it; the other parts never saw any."""
    model = trial.detector.models["ac"]
    history = trial.detector.history
    made = FaultMaker()(trial.train, trial.inputs, history, trial.seed)
    made = made.filter(pl.col("current_type") == "ac").sort("observed_at", "session_id")
    ended = trial.train_features.filter(pl.col("duration_h").is_not_nan() & (pl.col("current_type") == "ac")).sort(
        "observed_at", "session_id"
    )
    ordinary = Rows(matrix=_matrix(ended), at_us=_at(ended))
    test = _matrix(trial.test_features)
    found = {}
    for fault in sorted(trial.test_features["fault"].drop_nulls().unique()):
        known = made.filter(pl.col("fault") != fault)
        faulty = Faulty(
            rows=Rows(matrix=_matrix(known), at_us=_at(known)),
            causes=tuple(Cause(cause) for cause in known["cause"]),
        )
        stack = refit_faults(model.stack, ordinary, faulty, seed=trial.seed, spec=StackSpec())
        if stack.faults is None:
            continue
        evidence = trial.evidence | {"faults": stack.tails["faults"].evidence(stack.faults.score(test, NAMES))}
        score = stack.total(evidence)
        found[fault] = _auroc(score[trial.of_type(fault)], score[~trial.faulty])
    return found


def cause_hits(trial: Trial) -> dict[str, float]:
    """How often an alarm on a faulty session names the fault first, and among the first two.

    The cause is what a session's record can tell: low power, where only the current over time tells the three kinds of
    it apart.
    """
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


def _matrix(features: pl.DataFrame) -> Floats:
    return features.select(NAMES).to_numpy().astype(np.float64)


def _at(features: pl.DataFrame) -> NDArray[np.int64]:
    return features["observed_at"].to_physical().to_numpy()
