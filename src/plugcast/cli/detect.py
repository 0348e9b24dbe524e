"""``plugcast detect``: which sessions are odd, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from plugcast.cli.inputs import ConfigOption, JsonOption, TimeZoneOption, settings_for
from plugcast.cli.output import EXIT_FINDINGS, emit_json, err, out

if TYPE_CHECKING:
    import polars as pl

    from plugcast.anomaly.detector import Detector
    from plugcast.config import Settings
    from plugcast.domain.finding import Finding
    from plugcast.ports import ArtifactStore, SessionsRead

TRAIN_SHARE: Final = 0.7
"""Without --train, --since or a saved model, the earlier 70 % of the sessions train and the rest is reported on."""

SHOWN_REASONS: Final = 2


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("detect")(detect)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    """What was looked at and what was found."""

    detector: Detector
    findings: tuple[Finding, ...]
    sessions: int
    rejected: int
    from_at: datetime | None
    station_weeks: float
    budget: float
    training: str

    def rate(self, by: str) -> float:
        """Findings of rules or of the model, per station and week."""
        count = sum(finding.by.startswith(by) for finding in self.findings)
        return count / self.station_weeks if self.station_weeks else 0.0


def detect(
    file: Annotated[Path, typer.Argument(help="Sessions: ACN-Data JSON or CSV, or a table of sessions.")],
    *,
    train: Annotated[
        Path | None, typer.Option(help="Learn from this file. [default: the earlier 70 % of FILE]", show_default=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Report on records from this instant on (ISO 8601), and learn from those before.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Findings of the model per station and week. [default: 0.1, or the settings']")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Folder of a detector: used if there is one, else trained and kept there.")
    ] = None,
    target: Annotated[Path | None, typer.Option("--out", help="Also write the report as JSON to this file.")] = None,
    top: Annotated[int, typer.Option(min=0, help="Findings to print; --json and --out have all.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and data find the same.")] = 0,
    time_zone: TimeZoneOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find odd sessions and say why; exit 3 when there are any, 0 when there are none."""
    if budget is not None and not 0 < budget <= 100:  # noqa: PLR2004 - the settings' own bounds
        raise typer.BadParameter(f"wanted a number above 0 and at most 100, found {budget}.", param_hint="--budget")
    settings = settings_for(config, time_zone)
    from_at = _instant(since, settings.site.time_zone) if since else None
    report = _run(_Wish(file=file, train=train, from_at=from_at, budget=budget, model=model, seed=seed), settings)
    if target is not None:
        _write(report, target)
    if as_json:
        emit_json(_document(report))
    else:
        _show(report, top, ZoneInfo(settings.site.time_zone))
    if report.findings:
        raise typer.Exit(EXIT_FINDINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What was asked for."""

    file: Path
    train: Path | None
    from_at: datetime | None
    budget: float | None
    model: Path | None
    seed: int


def _run(wish: _Wish, settings: Settings) -> _Report:
    import polars as pl

    from plugcast.adapters.files import LocalArtifacts
    from plugcast.anomaly.detector import station_weeks
    from plugcast.anomaly.model_file import has_detector, load_detector

    read = _read(wish.file, settings)
    known_at = pl.coalesce("available_at", "departure_at", "arrival_at")
    store = LocalArtifacts(wish.model) if wish.model is not None else None
    if store is not None and wish.train is None and has_detector(store):
        detector = load_detector(store) if wish.budget is None else load_detector(store).with_budget(wish.budget)
        training = f"the detector in {wish.model}"
        from_at = wish.from_at or _after(detector, read.sessions.select(known_at).to_series())
    else:
        from_at = wish.from_at
        if wish.train is None and from_at is None:
            from_at = _split(read.sessions.select(known_at).to_series())
        learned = read if wish.train is None else _read(wish.train, settings)
        detector, training = _trained(wish, learned, from_at, settings, store)
    kept = read.sessions if from_at is None else read.sessions.filter(known_at >= from_at)
    features = detector.features(read.sessions, read.user_inputs)
    features = features.filter(pl.col("session_id").is_in(kept["session_id"].implode()))
    budgets = [kind.threshold.alarms_per_station_week for kind in detector.models.values()]
    return _Report(
        detector=detector,
        findings=detector.judge_frame(features),
        sessions=features.height,
        rejected=len(read.rejected),
        from_at=from_at,
        station_weeks=station_weeks(features),
        budget=budgets[0] if budgets else (wish.budget or settings.detect.alarms_per_station_week),
        training=training,
    )


def _trained(
    wish: _Wish, learned: SessionsRead, from_at: datetime | None, settings: Settings, store: ArtifactStore | None
) -> tuple[Detector, str]:
    """A detector from the sessions known before the reported ones, kept in the store if there is one."""
    import polars as pl

    from plugcast.anomaly.detector import Detector
    from plugcast.anomaly.model_file import save_detector

    sessions, before = learned.sessions, ""
    if from_at is not None:
        sessions = sessions.filter(pl.coalesce("available_at", "departure_at", "arrival_at") < from_at)
        before = f" before {from_at:%F %R} UTC"
    detector = Detector.fit(
        sessions,
        learned.user_inputs,
        time_zone=settings.site.time_zone,
        alarms_per_station_week=wish.budget or settings.detect.alarms_per_station_week,
        seed=wish.seed,
    )
    if store is not None:
        save_detector(detector, store)
    return detector, f"{sessions.height:,} sessions of {wish.train or wish.file}{before}"


def _read(path: Path, settings: Settings) -> SessionsRead:
    from plugcast.services.sources import open_sessions, require_rows

    read = open_sessions(path, now=datetime.now(UTC), time_zone=settings.site.time_zone).read()
    require_rows(read, source=path.name)
    if read.rejected:
        err().print(
            f"{path}: {len(read.rejected):,} rows were rejected; plugcast read {path} says why.", highlight=False
        )
    return read


def _split(known_at: pl.Series) -> datetime:
    """The instant that leaves the earlier 70 % of the records before it."""
    ordered = known_at.sort()
    split: datetime = ordered[min(int(len(ordered) * TRAIN_SHARE), len(ordered) - 1)]
    return split


def _after(detector: Detector, known_at: pl.Series) -> datetime | None:
    """Where the saved detector's training ends, if the file goes on after it; else the whole file is reported on."""
    until = detector.trained_until_at
    later = known_at.filter(known_at > until) if until is not None else known_at
    if not len(later):
        err().print("Training has seen all of these sessions: expect fewer findings than on new ones.")
        return None
    first: datetime | None = later.min()  # type: ignore[assignment]
    return first


def _instant(text: str, time_zone: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"wanted an instant like 2020-01-31T00:00, found {text!r}.", param_hint="--since"
        ) from error
    return (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(time_zone))).astimezone(UTC)


def _document(report: _Report) -> dict[str, Any]:
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
        "model_findings_per_station_week": report.rate("model"),
        "rule_findings_per_station_week": report.rate("rule"),
        "by_cause": dict(Counter(f.cause.value for f in report.findings).most_common()),
        "by": dict(Counter(f.by for f in report.findings).most_common()),
        "findings": report.findings,
    }


def _write(report: _Report, target: Path) -> None:
    import msgspec

    from plugcast.adapters.files import write_atomic

    write_atomic(target, msgspec.json.format(msgspec.json.encode(_document(report)), indent=2) + b"\n")
    err().print(f"Wrote {len(report.findings):,} findings to {target}.", highlight=False)


def _show(report: _Report, top: int, zone: ZoneInfo) -> None:
    for note in _notes(report):
        err().print(note, highlight=False)
    rank = {"critical": 0, "warning": 1, "info": 2}
    ordered = sorted(report.findings, key=lambda f: (rank[f.severity], 0.0 if f.p_value is None else f.p_value))
    stations = max((len(finding.station_id) for finding in ordered[:top]), default=0)
    for finding in ordered[:top]:
        by = finding.by if finding.p_value is None else f"{finding.by}, p {finding.p_value:.4f}"
        lines = (
            (
                f"{finding.observed_at.astimezone(zone):%F %R}  {finding.station_id:{stations}}  "
                f"{finding.severity.value:8}  {finding.cause.value:14}  session {finding.session_id}  ({by})"
            ),
            *(f"    {reason.text}" for reason in finding.reasons[:SHOWN_REASONS]),
        )
        for line in lines:
            out().print(line, highlight=False, markup=False)
    if len(ordered) > top:
        out().print(f"... and {len(ordered) - top:,} more; --top, --json and --out show them.", highlight=False)
    causes = Counter(f.cause.value for f in report.findings).most_common()
    out().print(
        f"{len(ordered):,} findings on {report.sessions:,} sessions"
        + (": " + ", ".join(f"{cause} {count}" for cause, count in causes) if causes else "")
        + f". Per station and week: model {report.rate('model'):.3f} (budget {report.budget:g}), "
        f"rules {report.rate('rule'):.3f}, over {report.station_weeks:,.0f} station-weeks.",
        highlight=False,
    )


def _notes(report: _Report) -> list[str]:
    reported = (
        f"reporting on records from {report.from_at:%F %R} UTC on" if report.from_at else "reporting on all records"
    )
    notes = [f"Learned from {report.training}; {reported}."]
    for kind, count in report.detector.session_counts.items():
        if count and kind not in report.detector.models:
            notes.append(f"No model for {kind.upper()} stations ({count} sessions to learn from): rules only.")
    for kind, model in report.detector.models.items():
        if model.threshold.alpha < model.threshold.smallest_p:
            notes.append(f"Too few held-out {kind.upper()} sessions for this budget: the model cannot raise a finding.")
    return notes
