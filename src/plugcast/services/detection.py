"""Train a detector on a site's sessions, faults put in included, and watch later ones with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from plugcast.anomaly.detector import Detector
from plugcast.anomaly.threshold import ALARMS_PER_STATION_WEEK
from plugcast.anomaly.watch import Watch
from plugcast.features.sessions import SESSION_FEATURES, rows_of, session_features
from plugcast.simulate.faults import FaultType
from plugcast.simulate.inject import LABELS, inject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plugcast.anomaly.judgement import Judgement
    from plugcast.anomaly.stack import StackSpec
    from plugcast.config import Settings
    from plugcast.domain.finding import Finding
    from plugcast.domain.site import Station
    from plugcast.features.sessions import SessionHistory

DRAWS: Final = 6
"""Times that faults are put into the training sessions: more kinds of one fault, not more of the same."""
MOST_PER_TYPE: Final = 100
SESSIONS_PER_FAULT: Final = 60
"""A type gets one host in so many sessions of a draw, at most ``MOST_PER_TYPE``."""


class FaultMaker:
    """Faults for the classifier, of all types or of some."""

    def __init__(self, types: Iterable[FaultType] = tuple(FaultType)) -> None:
        self.types = tuple(types)

    def __call__(
        self, sessions: pl.DataFrame, user_inputs: pl.DataFrame, history: SessionHistory, seed: int
    ) -> pl.DataFrame:
        """``SESSION_FEATURES`` of faulty copies of the sessions, with ``LABELS`` beside them."""
        per_type = min(MOST_PER_TYPE, max(3, sessions.height // SESSIONS_PER_FAULT))
        parts = [
            inject(sessions, seed=seed * 1000 + draw, per_type=per_type, types=self.types) for draw in range(DRAWS)
        ]
        labels = pl.concat([part.labels.with_columns(draw=draw) for draw, part in enumerate(parts)])
        faulty = pl.concat([part.faulty.with_columns(draw=draw) for draw, part in enumerate(parts)])
        key = pl.format("{}/{}", "session_id", "draw").alias("session_id")
        faulty = faulty.join(labels.select("session_id", "draw", "fault"), on=["session_id", "draw"])
        honest = faulty.filter(pl.col("fault") != FaultType.TOKEN_MISUSE)
        inputs = honest.select("session_id", key.alias("copy")).join(user_inputs, on="session_id", how="inner")
        inputs = inputs.with_columns(pl.col("copy").alias("session_id")).drop("copy")
        features = session_features(
            faulty.with_columns(key).drop("draw", "fault"), inputs, history=history.copy(), observe=False
        )
        return features.join(labels.with_columns(key).drop("draw"), on="session_id")


def declared(user_inputs: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Declarations without those of drivers whose card another car used: nobody declared anything there."""
    misused = labels.filter(pl.col("fault") == FaultType.TOKEN_MISUSE)
    return user_inputs.join(misused, on="session_id", how="anti")


def train_detector(
    sessions: pl.DataFrame,
    user_inputs: pl.DataFrame,
    *,
    time_zone: str,
    alarms_per_station_week: float = ALARMS_PER_STATION_WEEK,
    seed: int = 0,
    stations: Iterable[Station] = (),
    types: Iterable[FaultType] = tuple(FaultType),
    spec: StackSpec | None = None,
) -> Detector:
    """The whole detector: rules, isolation forests, neighbours and a classifier of the faults named.

    Args:
        sessions: ``schemas.SESSIONS``, of one site or several.
        user_inputs: ``schemas.USER_INPUTS``.
        time_zone: Of sessions that name none.
        alarms_per_station_week: The budget.
        seed: Of all that is drawn.
        stations: Known current types and ratings.
        types: Faults to learn; none for a detector without a classifier.
        spec: Sizes and weights.

    Raises:
        MissingColumnsError: A column of the schemas is absent.
    """
    learned = tuple(types)
    return Detector.fit(
        sessions,
        user_inputs,
        time_zone=time_zone,
        alarms_per_station_week=alarms_per_station_week,
        seed=seed,
        stations=stations,
        make_faults=FaultMaker(learned) if learned else None,
        spec=spec,
    )


def in_its_zone(settings: Settings, detector: Detector) -> Settings:
    """The settings with the local days that the detector was trained with, unless somebody named a zone."""
    if "time_zone" in settings.site.model_fields_set:
        return settings
    site = settings.site.model_copy(update={"time_zone": detector.history.time_zone})
    return settings.model_copy(update={"site": site})


def watch(detector: Detector, features: pl.DataFrame, *, time_zone: str) -> tuple[tuple[Finding, ...], Watch]:
    """Findings on ``SESSION_FEATURES`` as a stream would make them, and the watch with its days."""
    findings, _, keeper = watch_closely(detector, features, time_zone=time_zone)
    return findings, keeper


def watch_closely(
    detector: Detector, features: pl.DataFrame, *, time_zone: str
) -> tuple[tuple[Finding, ...], tuple[Judgement, ...], Watch]:
    """As :func:`watch`, with the judgement of every session, odd or not."""
    keeper = Watch(detector, time_zone=time_zone)
    days = list(keeper.judge_days(rows_of(features.select(list(SESSION_FEATURES)))))
    findings = tuple(finding for found, _ in days for finding in found)
    return findings, tuple(judgement for _, judged in days for judgement in judged), keeper


__all__ = ["DRAWS", "LABELS", "FaultMaker", "declared", "train_detector", "watch", "watch_closely"]
