"""Is this session odd, and why? Physics rules first, then one isolation forest per current type.

Training splits by time: the forest sees the earlier part, the threshold is set on the later one, and the history of
drivers and stations runs on to the end. Detection goes on from that history and leaves the detector as it was.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from plugcast.anomaly.explain import reasons
from plugcast.anomaly.forests import ARRAYS, IsolationForest, fit_forest
from plugcast.anomaly.rules import RULES_VERSION, Broken, check
from plugcast.anomaly.threshold import ALARMS_PER_STATION_WEEK, Threshold, calibrate
from plugcast.domain.finding import Cause, Finding, Reason, Severity
from plugcast.features.sessions import SessionFeatures, SessionHistory, rows_of, session_features

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from plugcast.domain.site import Station
    from plugcast.features.sessions import Cut

    Floats = NDArray[np.float64]

MODEL_FEATURES: Final = (
    "done_missing",
    "fulfilment",
    "idle_frac",
    "idle_h",
    "overstay_h",
    "rating_share",
    "station_mean_kw_z",
    "user_arrival_hour_z",
    "user_duration_h_z",
    "user_energy_kwh_z",
    "user_mean_kw_z",
)
"""Distances to norms rather than raw amounts: a big battery is not odd, a driver's car that changes is."""
FIT_SHARE: Final = 0.7
"""The earlier part of the training period is the forest's, the rest the threshold's."""
LEAST_SESSIONS: Final = 200
"""Of one current type; with fewer there is no model for it, only rules."""
SILENCE: Final = timedelta(weeks=1)
STRONG: Final = 0.1
"""A p-value of at most this share of alpha is a warning; up to alpha it is information."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KindModel:
    """Forest and threshold of one current type."""

    forest: IsolationForest
    threshold: Threshold


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detector:
    """Rules, a model per current type, and the history they lean on. Never changes after :meth:`fit`."""

    models: Mapping[str, KindModel]
    """By current type; a type without one is judged by rules alone."""
    history: SessionHistory
    """All completed sessions of training. A stream takes a ``copy()``, observes into it and judges its rows."""
    version: str
    """Names the models' content: the same training gives the same version, and it is part of their findings' ids."""
    seed: int
    trained_until_at: datetime | None
    """The last training record; None where there was none."""
    session_counts: Mapping[str, int]
    """Completed training sessions by current type, those too few for a model included."""

    @classmethod
    def fit(
        cls,
        sessions: pl.DataFrame,
        user_inputs: pl.DataFrame,
        *,
        time_zone: str,
        alarms_per_station_week: float = ALARMS_PER_STATION_WEEK,
        seed: int = 0,
        cut: Cut = "local_midnight",
        stations: Iterable[Station] = (),
    ) -> Detector:
        """Learn what is ordinary.

        Args:
            sessions: ``schemas.SESSIONS``; running sessions teach nothing. May be empty: then only rules judge.
            user_inputs: ``schemas.USER_INPUTS``.
            time_zone: Of sessions that name none.
            alarms_per_station_week: How many findings of the model an operator wants to see; rules come on top.
            seed: Of the forest.
            cut: Where a session's history ends.
            stations: Known current types and ratings.

        Raises:
            MissingColumnsError: A column of the schemas is absent.
        """
        history = SessionHistory(time_zone=time_zone, cut=cut, stations=stations)
        features = session_features(sessions, user_inputs, history=history)
        ended = features.filter(pl.col("duration_h").is_not_nan()).sort("observed_at", "session_id")
        models = {}
        counts = {}
        for kind in ("ac", "dc"):
            rows = ended.filter(pl.col("current_type") == kind)
            counts[kind] = rows.height
            if rows.height >= LEAST_SESSIONS:
                models[kind] = _fit_kind(rows, alarms_per_station_week, seed)
        return cls(
            models=MappingProxyType(models),
            history=history,
            version=version_of(models),
            seed=seed,
            trained_until_at=ended["observed_at"].max() if ended.height else None,  # type: ignore[arg-type]
            session_counts=MappingProxyType(counts),
        )

    def detect(self, sessions: pl.DataFrame, user_inputs: pl.DataFrame) -> tuple[Finding, ...]:
        """Findings on completed sessions, in the order in which their records became known.

        Sessions that training has seen are compared only with what was known before each of them.
        """
        return self.judge_frame(self.features(sessions, user_inputs))

    def with_budget(self, alarms_per_station_week: float) -> Detector:
        """The same forests and history with another budget; findings of the model get ids of their own."""
        models = {
            kind: replace(model, threshold=replace(model.threshold, alarms_per_station_week=alarms_per_station_week))
            for kind, model in self.models.items()
        }
        return replace(self, models=MappingProxyType(models), version=version_of(models))

    def features(self, sessions: pl.DataFrame, user_inputs: pl.DataFrame) -> pl.DataFrame:
        """``SESSION_FEATURES`` of the sessions, from the trained history and one another."""
        return session_features(sessions, user_inputs, history=self.history.copy())

    def judge_frame(self, features: pl.DataFrame) -> tuple[Finding, ...]:
        """:meth:`judge` for a frame of features; columns beyond ``SESSION_FEATURES`` are not looked at."""
        return self.judge(rows_of(features))

    def judge(self, rows: Sequence[SessionFeatures]) -> tuple[Finding, ...]:
        """Findings on rows of features: one for each broken rule, and at most one of the model, per session."""
        ordered = sorted(rows, key=lambda row: (row.observed_at, row.site_id, row.session_id))
        scores, p_values = self._score_rows(ordered)
        made: list[Finding] = []
        for place, row in enumerate(ordered):
            made.extend(_rule_finding(row, broken) for broken in check(row))
            model = self.models.get(row.current_type)
            if model is not None and p_values[place] <= model.threshold.alpha:
                made.append(self._model_finding(row, model, float(scores[place]), float(p_values[place])))
        return tuple(made)

    def score(self, features: pl.DataFrame) -> pl.DataFrame:
        """Every session's rank, for evaluation: session_id, model_score, p_value, rules, score.

        HIGHER is odder. ``score`` is 1 where a rule of severity warning or above is broken, else the model's score;
        scores of the model are NaN for running sessions and for current types without a model.
        """
        rows = rows_of(features)
        scores, p_values = self._score_rows(rows)
        broken = [check(row) for row in rows]
        certain = np.array([any(b.severity != Severity.INFO for b in found) for found in broken], dtype=bool)
        return pl.DataFrame(
            {
                "session_id": [row.session_id for row in rows],
                "model_score": scores,
                "p_value": p_values,
                "rules": [[b.rule for b in found] for found in broken],
                "score": np.where(certain, 1.0, scores),
            },
            schema={
                "session_id": pl.String(),
                "model_score": pl.Float64(),
                "p_value": pl.Float64(),
                "rules": pl.List(pl.String()),
                "score": pl.Float64(),
            },
        )

    def _score_rows(self, rows: Sequence[SessionFeatures]) -> tuple[Floats, Floats]:
        """Model scores and p-values; NaN where there is no model or the session still runs."""
        scores, p_values = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        for kind, model in self.models.items():
            places = [i for i, row in enumerate(rows) if row.current_type == kind and math.isfinite(row.duration_h)]
            scores[places] = model.forest.score(_matrix([rows[i] for i in places]), MODEL_FEATURES)
            p_values[places] = model.threshold.p_values(scores[places])
        return scores, p_values

    def _model_finding(self, row: SessionFeatures, model: KindModel, score: float, p_value: float) -> Finding:
        contributions = model.forest.contributions(_matrix([row]), MODEL_FEATURES)[0]
        why, cause = reasons(row, model.forest.names, contributions)
        strong = p_value <= model.threshold.alpha * STRONG
        return _finding(
            row,
            score=score,
            p_value=p_value,
            cause=cause,
            severity=Severity.WARNING if strong else Severity.INFO,
            by="model:isolation_forest",
            version=self.version,
            why=why,
        )


def version_of(models: Mapping[str, KindModel]) -> str:
    """A short hash of all that decides a model's findings."""
    digest = hashlib.sha256()
    for kind, model in sorted(models.items()):
        forest, threshold = model.forest, model.threshold
        digest.update(f"{kind}{forest.names}{forest.subsample}{threshold.alpha!r}".encode())
        for part in (*(getattr(forest, name) for name in ARRAYS), threshold.held_out):
            digest.update(np.ascontiguousarray(part).tobytes())
    return f"forest-1-{digest.hexdigest()[:12]}"


def _fit_kind(rows: pl.DataFrame, alarms_per_station_week: float, seed: int) -> KindModel:
    early = round(rows.height * FIT_SHARE)
    forest = fit_forest(_frame_matrix(rows[:early]), MODEL_FEATURES, seed=seed)
    later = rows[early:]
    scores = forest.score(_frame_matrix(later), MODEL_FEATURES)
    return KindModel(
        forest=forest,
        threshold=calibrate(
            scores, station_weeks=station_weeks(later), alarms_per_station_week=alarms_per_station_week
        ),
    )


def station_weeks(rows: pl.DataFrame) -> float:
    """Stations in use times weeks in use, summed over the sites; 0 without rows.

    A silence of more than a week counts as one week: a closed site has nobody to tell, and would flatter the rate.
    """
    weeks = 0.0
    for _, site in rows.group_by("site_id"):
        gaps = site["observed_at"].sort().diff().drop_nulls()
        in_use = max(sum((min(gap, SILENCE) for gap in gaps), timedelta()), timedelta(days=1))
        weeks += site["station_id"].n_unique() * (in_use / timedelta(weeks=1))
    return weeks


def _frame_matrix(rows: pl.DataFrame) -> Floats:
    return rows.select(MODEL_FEATURES).to_numpy().astype(np.float64)


def _matrix(rows: Sequence[SessionFeatures]) -> Floats:
    made = np.array([[getattr(row, name) for name in MODEL_FEATURES] for row in rows], dtype=np.float64)
    return made.reshape(len(rows), len(MODEL_FEATURES))


def _rule_finding(row: SessionFeatures, broken: Broken) -> Finding:
    reason = Reason(feature=broken.feature, text=broken.text, contribution=1.0, value=broken.value, norm=broken.norm)
    return _finding(
        row,
        score=1.0,
        p_value=None,
        cause=broken.cause,
        severity=broken.severity,
        by=f"rule:{broken.rule}",
        version=RULES_VERSION,
        why=(reason,),
    )


def _finding(
    row: SessionFeatures,
    *,
    score: float,
    p_value: float | None,
    cause: Cause,
    severity: Severity,
    by: str,
    version: str,
    why: tuple[Reason, ...],
) -> Finding:
    text = f"{row.site_id}\x1f{row.session_id}\x1f{version}\x1f{cause.value}\x1f{by}"
    return Finding(
        finding_id=hashlib.sha256(text.encode()).hexdigest()[:16],
        session_id=row.session_id,
        site_id=row.site_id,
        station_id=row.station_id,
        user_id=row.user_id,
        observed_at=row.observed_at,
        score=score,
        p_value=p_value,
        cause=cause,
        severity=severity,
        by=by,
        reasons=why,
    )
