"""One run of ``plugcast detect``: learn or load, watch the later sessions, and say what was found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

from plugcast.adapters.files import LocalArtifacts
from plugcast.anomaly.collective import shared
from plugcast.anomaly.feedback import Entry, Feedback, Verdict
from plugcast.anomaly.kind_model import matrix_of, station_weeks
from plugcast.anomaly.model_file import has_detector, load_detector, save_detector
from plugcast.anomaly.series_findings import with_series
from plugcast.anomaly.shapley import shapley
from plugcast.anomaly.stack import NAMES, RELATIVE
from plugcast.anomaly.treeshap import faults_shap, forest_shap
from plugcast.anomaly.watch import ALARMING
from plugcast.errors import InputError, ModelNotFoundError
from plugcast.features.sessions import rows_of
from plugcast.services.detection import in_its_zone, train_detector, watch_closely
from plugcast.services.meter_join import Metered, join_meter
from plugcast.services.meter_sources import read_meter
from plugcast.services.sources import open_sessions, require_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from plugcast.anomaly.detector import Detector
    from plugcast.anomaly.judgement import Day, Judgement
    from plugcast.config import Settings
    from plugcast.domain.finding import Cause, Finding
    from plugcast.features.sessions import SessionFeatures
    from plugcast.ports import ArtifactStore, SessionsRead

TRAIN_SHARE: Final = 0.7
"""Without --train, --since or a saved model, the earlier 70 % of the sessions train and the rest is reported on."""
FEEDBACK_FILE: Final = "feedback.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for."""

    file: Path
    train: Path | None = None
    from_at: datetime | None = None
    """Without a zone it is the site's time."""
    budget: float | None = None
    model: Path | None = None
    seed: int = 0
    meter: Path | None = None
    """Meter values of the sessions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectReport:
    """What was looked at and what was found."""

    detector: Detector
    findings: tuple[Finding, ...]
    features: pl.DataFrame
    rejected: int
    from_at: datetime | None
    station_weeks: float
    budget: float
    training: str
    time_zone: str
    """Of local days and hours."""
    days: tuple[Day, ...] = ()
    """What each local day came to, by site and current type."""
    judgements: tuple[Judgement, ...] = ()
    """Of every session reported on, in the order of their records."""
    metered: Metered | None = None
    """Meter values by session, where there were any."""

    @property
    def sessions(self) -> int:
        """How many were reported on."""
        return self.features.height

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """What the budget counts: findings of severity warning and above, the first of each episode.

        Of a cause that many stations of a site got on one local day, the first.
        """
        begun = [f for f in self.findings if f.severity in ALARMING and f.episode_id in {None, f.finding_id}]
        faults = [self._fault(finding) for finding in begun]
        common = shared(zip(faults, (finding.station_id for finding in begun), strict=True))
        first = {fault: place for place, fault in reversed(list(enumerate(faults)))}
        return tuple(
            finding
            for place, (finding, fault) in enumerate(zip(begun, faults, strict=True))
            if fault not in common or first[fault] == place
        )

    def _fault(self, finding: Finding) -> tuple[str, int, Cause]:
        """Site, local day and cause."""
        day = finding.observed_at.astimezone(ZoneInfo(self.time_zone)).toordinal()
        return finding.site_id, day, finding.cause

    def rate(self, by: str) -> float:
        """Findings of rules or of the model, per station and week."""
        return self._per_station_week(sum(finding.by.startswith(by) for finding in self.findings))

    @property
    def alarm_rate(self) -> float:
        """Alarms per station and week."""
        return self._per_station_week(len(self.alarms))

    def _per_station_week(self, count: int) -> float:
        return count / self.station_weeks if self.station_weeks else 0.0


def detect(wish: Wish, settings: Settings, *, now: datetime, say: Callable[[str], None]) -> DetectReport:
    """Find odd sessions.

    Args:
        wish: Files, budget, seed.
        settings: Zone of the site, that of the detector's training where none is named; budget where the wish has none.
        now: No record may be later.
        say: Told what the user should know.

    Raises:
        PlugcastError: A file cannot be read, or holds no sessions.
    """
    store = LocalArtifacts(wish.model) if wish.model is not None else None
    kept_one = load(store) if store is not None and wish.train is None and has_detector(store) else None
    if kept_one is not None:
        settings = in_its_zone(settings, kept_one)
        if settings.site.time_zone != kept_one.history.time_zone:
            say(f"The detector learned the hours of {kept_one.history.time_zone}, not of {settings.site.time_zone}.")
    read = read_sessions(wish.file, settings, now, say)
    metered = None if wish.meter is None else read_metered(wish.meter, read.sessions, settings, now, say)
    known_at = pl.coalesce("available_at", "departure_at", "arrival_at")
    from_at = None if wish.from_at is None else _local(wish.from_at, settings.site.time_zone)
    if kept_one is not None:
        detector = kept_one if wish.budget is None else kept_one.with_budget(wish.budget)
        training = f"the detector in {wish.model}"
        from_at = from_at or _after(detector, read.sessions.select(known_at).to_series(), say)
    else:
        if wish.train is None and from_at is None:
            from_at = _split(read.sessions.select(known_at).to_series())
        learned = read if wish.train is None else read_sessions(wish.train, settings, now, say)
        detector, training = _trained(wish, learned, from_at, settings, store)
    kept = read.sessions if from_at is None else read.sessions.filter(known_at >= from_at)
    known = detector.features(read.sessions, read.user_inputs)
    features = known.filter(pl.col("session_id").is_in(kept["session_id"].implode()))
    budgets = [kind.threshold.alarms_per_station_week for kind in detector.models.values()]
    findings, judgements, keeper = watch_closely(detector, features, time_zone=settings.site.time_zone)
    if metered is not None:
        findings = with_series(findings, metered.findings(rows_of(known), reported=set(kept["session_id"])))
    return DetectReport(
        detector=detector,
        findings=findings,
        features=features,
        rejected=len(read.rejected),
        from_at=from_at,
        station_weeks=station_weeks(features),
        budget=budgets[0] if budgets else (wish.budget or settings.detect.alarms_per_station_week),
        training=training,
        time_zone=settings.site.time_zone,
        days=tuple(keeper.days),
        judgements=judgements,
        metered=metered,
    )


def _local(at: datetime, time_zone: str) -> datetime:
    return (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(time_zone))).astimezone(UTC)


def load(store: ArtifactStore) -> Detector:
    """The detector kept there, with what people said of its findings."""
    detector = load_detector(store)
    if FEEDBACK_FILE not in store.names():
        return detector
    return detector.with_feedback(Feedback.from_lines(store.get(FEEDBACK_FILE)))


def tell(
    store: ArtifactStore,
    report: DetectReport,
    finding_id: str,
    verdict: Verdict,
    *,
    said_by: str,
    said_at: datetime,
    note: str = "",
) -> Entry:
    """Add a verdict on a finding to the audit trail beside the detector.

    Args:
        store: Where the detector is kept.
        report: In which the finding stands.
        finding_id: Which.
        verdict: What it was.
        said_by: Who.
        said_at: When.
        note: A line for the audit trail.

    Raises:
        InputError: There is no such finding.
    """
    finding = find(report, finding_id)
    (row,) = rows_of(report.features.filter(pl.col("session_id") == finding.session_id))
    entry = Entry(
        finding_id=finding.finding_id,
        session_id=finding.session_id,
        verdict=verdict,
        values={name: getattr(row, name) for name in RELATIVE},
        said_by=said_by,
        said_at=said_at,
        note=note,
    )
    told = store.get(FEEDBACK_FILE) if FEEDBACK_FILE in store.names() else b""
    store.put(FEEDBACK_FILE, told + Feedback(entries=(entry,)).to_lines())
    return entry


def require_detector(model: Path) -> LocalArtifacts:
    """The folder of a detector that is there.

    Raises:
        ModelNotFoundError: There is none in it.
    """
    store = LocalArtifacts(model)
    if not has_detector(store):
        raise ModelNotFoundError(
            f"There is no detector in {model}. Train one on past sessions: plugcast detect FILE --model {model}"
        )
    return store


def find(report: DetectReport, finding_id: str) -> Finding:
    """The finding whose id, or whose session's id, begins so.

    Raises:
        InputError: None does, or several do.
    """
    found = [f for f in report.findings if f.finding_id.startswith(finding_id) or f.session_id == finding_id]
    if not found and (report.features["session_id"] == finding_id).any():
        raise InputError(
            f"Session {finding_id!r} was judged, and nothing odd was found in it. plugcast detect FILE --scores "
            "OUT.csv writes how odd each session is."
        )
    if len(found) != 1 and len({f.session_id for f in found}) != 1:
        raise InputError(
            f"Wanted the whole id of a session, or the beginning of one finding's id; {finding_id!r} fits "
            f"{len(found)} findings. plugcast detect FILE --json lists them."
        )
    return found[0]


def document(report: DetectReport) -> dict[str, Any]:
    """The report as one JSON document."""
    detector = report.detector
    return {
        "trained_on": report.training,
        "detector_version": detector.version,
        "sessions_by_current_type": dict(detector.session_counts),
        "reported_from_at": report.from_at,
        "sessions": report.sessions,
        "rejected": report.rejected,
        "station_weeks": report.station_weeks,
        "budget_per_station_week": report.budget,
        "alarms_per_station_week": report.alarm_rate,
        "model_findings_per_station_week": report.rate("model"),
        "rule_findings_per_station_week": report.rate("rule"),
        "by_cause": dict(Counter(f.cause.value for f in report.findings).most_common()),
        "by": dict(Counter(f.by for f in report.findings).most_common()),
        "meter": None if report.metered is None else report.metered.counts,
        "findings": report.findings,
    }


def explanation(report: DetectReport, finding_id: str) -> dict[str, Any]:
    """All that speaks for one finding.

    Raises:
        InputError: There is no such finding.
    """
    finding = find(report, finding_id)
    own = report.features.filter(pl.col("session_id") == finding.session_id)
    scored = report.detector.score(own).row(0, named=True)
    names = [name for name in scored if name.startswith("evidence_")]
    (row,) = rows_of(own)
    told: dict[str, Any] = msgspec.to_builtins(finding)
    series = None if report.metered is None else report.metered.series(row.session_id)
    return told | {
        "series": None if series is None else msgspec.to_builtins(series),
        "evidence": {name.removeprefix("evidence_"): scored[name] for name in names},
        "model_reasons": [reason.text for reason in report.detector.explain(row)[0]] if report.detector.models else [],
        "shapley": shapley(report.detector, row) if report.detector.models else [],
        "tree_shap": tree_shap(report.detector, row) if report.detector.models else {},
    }


def tree_shap(detector: Detector, row: SessionFeatures) -> dict[str, list[tuple[str, float]]]:
    """Exact Shapley values by part, most odd first; positive makes the session odder.

    ``forest``: of how much shorter the isolation forest's mean path is; ``faults``: of the log-odds of a fault.
    """
    stack = (detector.models.get(row.current_type) or next(iter(detector.models.values()))).stack
    matrix = matrix_of([row])
    found = {"forest": (stack.forest.names, -forest_shap(stack.forest, matrix, NAMES)[0])}
    known = None if stack.faults is None else faults_shap(stack.faults, matrix, NAMES)
    if stack.faults is not None and known is not None:
        found["faults"] = (stack.faults.names, known[0])
    return {
        part: sorted(zip(names, values.tolist(), strict=True), key=lambda item: (-item[1], item[0]))
        for part, (names, values) in found.items()
    }


def _trained(
    wish: Wish, learned: SessionsRead, from_at: datetime | None, settings: Settings, store: ArtifactStore | None
) -> tuple[Detector, str]:
    """A detector from the sessions known before the reported ones, kept in the store if there is one."""
    sessions, before = learned.sessions, ""
    if from_at is not None:
        sessions = sessions.filter(pl.coalesce("available_at", "departure_at", "arrival_at") < from_at)
        before = f" before {from_at:%F %R} UTC"
    detector = train_detector(
        sessions,
        learned.user_inputs,
        time_zone=settings.site.time_zone,
        alarms_per_station_week=wish.budget or settings.detect.alarms_per_station_week,
        seed=wish.seed,
    )
    if store is not None:
        save_detector(detector, store)
    return detector, f"{sessions.height:,} sessions of {wish.train or wish.file}{before}"


def read_sessions(path: Path, settings: Settings, now: datetime, say: Callable[[str], None]) -> SessionsRead:
    """Read and require rows; says how many were rejected."""
    read = open_sessions(path, now=now, time_zone=settings.site.time_zone).read()
    require_rows(read, source=path.name)
    if read.rejected:
        say(f"{path}: {len(read.rejected):,} rows were rejected; plugcast read {path} says why.")
    return read


def read_metered(
    path: Path, sessions: pl.DataFrame, settings: Settings, now: datetime, say: Callable[[str], None]
) -> Metered:
    """Meter values by session; says what did not fit."""
    read = read_meter(path, now=now, time_zone=settings.site.time_zone)
    joined = join_meter(sessions, read.values, rejected=len(read.rejected))
    say(
        f"{path}: {read.counts.accepted:,} meter values of {len(joined.places):,} sessions; {joined.unmatched:,} "
        f"belong to no session of the file, {joined.rejected:,} were rejected."
    )
    if read.rejected:
        first = read.rejected[0]
        say(f"The first rejected is row {first.row} of {first.source}: {first.detail}")
    return joined


def _split(known_at: pl.Series) -> datetime:
    """The instant that leaves the earlier 70 % of the records before it."""
    ordered = known_at.sort()
    split: datetime = ordered[min(int(len(ordered) * TRAIN_SHARE), len(ordered) - 1)]
    return split


def _after(detector: Detector, known_at: pl.Series, say: Callable[[str], None]) -> datetime | None:
    """Where the saved detector's training ends, if the file goes on after it; else the whole file is reported on."""
    until = detector.trained_until_at
    later = known_at.filter(known_at > until) if until is not None else known_at
    if not len(later):
        say("Training has seen all of these sessions: expect fewer findings than on new ones.")
        return None
    first: datetime | None = later.min()  # type: ignore[assignment]
    return first
