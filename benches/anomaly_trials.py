"""One site, one seed: a detector trained on the earlier part, and faults put into the later part."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score, roc_auc_score

from plugcast.anomaly.stack import PARTS
from plugcast.features.sessions import SessionHistory, session_features
from plugcast.services.detection import declared, train_detector
from plugcast.services.sources import open_sessions
from plugcast.simulate.inject import inject

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from plugcast.anomaly.detector import Detector

    Floats = NDArray[np.float64]

ZONE = "America/Los_Angeles"
SPLIT, END = datetime(2019, 9, 1, tzinfo=UTC), datetime(2020, 3, 1, tzinfo=UTC)
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
            fault: auroc_of(score[self.of_type(fault)], score[~self.faulty])
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


def auroc_of(odd: Floats, ordinary: Floats) -> float:
    return float(roc_auc_score(np.repeat([1, 0], [len(odd), len(ordinary)]), np.concatenate([odd, ordinary])))
