"""Is this session odd, and why? Physics rules, and a stack of four detectors per current type.

Training splits by time: detectors see the earlier part, thresholds are set on the later one, then the detectors are
fitted anew on the newest; the history of drivers and stations runs on to the end. Detection goes on from that history
and leaves the detector as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import polars as pl

from plugcast.anomaly.explain import odder_shares, reasons
from plugcast.anomaly.feedback import Feedback
from plugcast.anomaly.kind_model import KindModel, fit_kind, matrix_of, version_of
from plugcast.anomaly.rules import Broken, check
from plugcast.anomaly.stack import NAMES, PARTS, RELATIVE, StackSpec
from plugcast.anomaly.telling import EITHER, OTHERWISE, URGENT, make_finding, rule_finding, squashed
from plugcast.anomaly.threshold import ALARMS_PER_STATION_WEEK
from plugcast.domain.finding import Cause, Finding, Reason, Severity
from plugcast.features.sessions import SessionFeatures, SessionHistory, rows_of, session_features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from plugcast.domain.site import Station
    from plugcast.features.sessions import Cut

    Floats = NDArray[np.float64]
    FaultMaker = Callable[[pl.DataFrame, pl.DataFrame, SessionHistory, int], pl.DataFrame]
    """Sessions, declarations, the history grown by them, and a seed: ``SESSION_FEATURES`` of sessions with faults put
    in, with their ``cause``. ``services.detection`` has one; without, there is no classifier in the stack."""

MODEL_FEATURES: Final = RELATIVE
LEAST_SESSIONS: Final = 200
"""Of one current type; with fewer there is no model of its own."""
STRONG: Final = 0.1
"""A p-value of at most this share of alpha is a warning; up to alpha it is information."""


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
    feedback: Feedback = field(default_factory=Feedback)
    """What people said of findings."""
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
        make_faults: FaultMaker | None = None,
        spec: StackSpec | None = None,
    ) -> Detector:
        """Learn what is ordinary.

        Args:
            sessions: ``schemas.SESSIONS``; running sessions teach nothing. May be empty: then only rules judge.
            user_inputs: ``schemas.USER_INPUTS``.
            time_zone: Of sessions that name none.
            alarms_per_station_week: How many findings of the model an operator wants to see; rules come on top.
            seed: Of all that is drawn.
            cut: Where a session's history ends.
            stations: Known current types and ratings.
            make_faults: Puts faults into the training sessions, for the classifier.
            spec: Sizes and weights of the stack.

        Raises:
            MissingColumnsError: A column of the schemas is absent.
        """
        history = SessionHistory(time_zone=time_zone, cut=cut, stations=stations)
        features = session_features(sessions, user_inputs, history=history)
        ended = features.filter(pl.col("duration_h").is_not_nan()).sort("observed_at", "session_id")
        counts = {kind: ended.filter(pl.col("current_type") == kind).height for kind in ("ac", "dc")}
        enough = [kind for kind, count in counts.items() if count >= LEAST_SESSIONS]
        faulty = make_faults(sessions, user_inputs, history, seed) if make_faults is not None and enough else None
        models = {
            kind: fit_kind(
                ended,
                faulty,
                kind,
                alarms_per_station_week=alarms_per_station_week,
                seed=seed,
                spec=spec or StackSpec(),
            )
            for kind in enough
        }
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

    def with_feedback(self, feedback: Feedback) -> Detector:
        """The same detector, leaning on what people said; what was a fault or known work is no norm any more."""
        return replace(self, feedback=feedback, history=self.history.without(feedback.unusable))

    def features(self, sessions: pl.DataFrame, user_inputs: pl.DataFrame) -> pl.DataFrame:
        """``SESSION_FEATURES`` of the sessions, from the trained history and one another."""
        return session_features(sessions, user_inputs, history=self.history.copy())

    def judge_frame(self, features: pl.DataFrame) -> tuple[Finding, ...]:
        """:meth:`judge` for a frame of features; columns beyond ``SESSION_FEATURES`` are not looked at."""
        return self.judge(rows_of(features))

    def judge(self, rows: Sequence[SessionFeatures]) -> tuple[Finding, ...]:
        """Findings on rows of features: one for each broken rule, and at most one of the model, per session."""
        ordered = sorted(rows, key=lambda row: (row.observed_at, row.site_id, row.session_id))
        judged = self.scored(ordered)
        made: list[Finding] = []
        for place, row in enumerate(ordered):
            model = self.models.get(row.current_type)
            alpha = model.threshold.alpha if model is not None else 0.0
            made.extend(self.findings(row, judged.broken[place], judged.total[place], judged.p_value[place], alpha))
        return tuple(made)

    def findings(
        self, row: SessionFeatures, broken: Sequence[Broken], total: float, p_value: float, alpha: float
    ) -> tuple[Finding, ...]:
        """One for each broken rule; the model's own only where no rule of severity warning or above says it better.

        The most severe comes first.
        """
        told = [self._settled(row, rule_finding(row, b)) for b in sorted(broken, key=lambda b: b.severity.rank)]
        certain = any(finding.severity != Severity.INFO for finding in told)
        if row.current_type in self.models and p_value <= alpha and not certain:
            told.insert(0, self._model_finding(row, total, p_value, strong=p_value <= alpha * STRONG))
        return tuple(told)

    def score(self, features: pl.DataFrame) -> pl.DataFrame:
        """Every session's rank, for evaluation: session_id, model_score, p_value, rules, score, each part's evidence.

        HIGHER is odder. ``score`` is in [0, 1) and holds all evidence, that of rules included; it is NaN for running
        sessions and where no current type has a model. A current type without a model of its own is ranked by the
        other's, whose features are relative to the session's own kind; it gets no findings from it.
        """
        rows = rows_of(features)
        judged = self.scored(rows)
        return pl.DataFrame(
            {
                "session_id": [row.session_id for row in rows],
                "model_score": squashed(judged.total),
                "p_value": judged.p_value,
                "rules": [[b.rule for b in found] for found in judged.broken],
                "score": squashed(judged.total),
                **{f"evidence_{name}": part for name, part in judged.evidence.items()},
            },
            schema_overrides={"rules": pl.List(pl.String()), "session_id": pl.String()},
        )

    def scored(self, rows: Sequence[SessionFeatures]) -> Judged:
        """Rules, evidence and p-values of rows; NaN where there is no model or the session still runs."""
        broken = [check(row) for row in rows]
        matrix = matrix_of(rows)
        total, p_value = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        evidence = {name: np.full(len(rows), np.nan) for name in PARTS}
        ended = np.isfinite(matrix[:, NAMES.index("duration_h")])
        for kind in {row.current_type for row in rows}:
            model = self.models.get(kind) or next(iter(self.models.values()), None)
            places = np.flatnonzero(ended & np.array([row.current_type == kind for row in rows], dtype=bool))
            if model is None or not len(places):
                continue
            parts = model.stack.evidence(matrix[places], [broken[place] for place in places])
            for name, part in parts.items():
                evidence[name][places] = part
            leaning = self.feedback.leaning(matrix[places], NAMES, model.stack.neighbours.scale)
            total[places] = model.stack.total(parts, leaning)
            p_value[places] = model.threshold.p_values(total[places])
        return Judged(broken=broken, total=total, p_value=p_value, evidence=evidence)

    def explain(self, row: SessionFeatures) -> tuple[tuple[Reason, ...], Cause]:
        """Reasons in words, most important first, and the cause of the first; also for a session without a finding."""
        model = self.models.get(row.current_type) or next(iter(self.models.values()))
        stack, matrix = model.stack, matrix_of([row])
        forest = (stack.forest.names, -stack.forest.contributions(matrix, NAMES)[0])
        if stack.faults is None:
            return reasons(row, odder_shares(forest), ())
        causes, shares = stack.faults.cause_shares(matrix, NAMES)
        parts = (stack.faults.names, stack.faults.contributions(matrix, NAMES)[0])
        return reasons(row, odder_shares(forest, parts), tuple(zip(causes, shares[0].tolist(), strict=True)))

    def _settled(self, row: SessionFeatures, finding: Finding) -> Finding:
        """Too much energy proves that something is wrong; whether the meter or the power, the classifier may know."""
        model = self.models.get(row.current_type)
        if finding.cause not in EITHER or not row.energy_kwh > 0 or model is None or model.stack.faults is None:
            return finding
        causes, shares = model.stack.faults.cause_shares(matrix_of([row]), NAMES)
        known = {cause: share for cause, share in zip(causes, shares[0].tolist(), strict=True) if cause in EITHER}
        if len(known) < len(EITHER):
            return finding
        first, second = sorted(known, key=lambda cause: -known[cause])
        proof = msgspec.structs.replace(finding.reasons[0], cause=first)
        other = msgspec.structs.replace(finding.reasons[0], text=OTHERWISE[second], contribution=0.0, cause=second)
        return msgspec.structs.replace(finding, cause=first, reasons=(proof, other))

    def _model_finding(self, row: SessionFeatures, total: float, p_value: float, *, strong: bool) -> Finding:
        why, cause = self.explain(row)
        return make_finding(
            row,
            score=float(squashed(np.array([total]))[0]),
            p_value=p_value,
            cause=cause,
            severity=Severity.CRITICAL if strong and cause in URGENT else Severity.WARNING,
            by="model:stack",
            version=self.version,
            why=why,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What is known of some rows, in their order."""

    broken: Sequence[tuple[Broken, ...]]
    total: Floats
    p_value: Floats
    evidence: Mapping[str, Floats]
