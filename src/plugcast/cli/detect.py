"""``plugcast detect``: which sessions are odd, and why."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import typer
from typer.core import TyperGroup

from plugcast.cli.inputs import ConfigOption, JsonOption, TimeZoneOption, settings_for
from plugcast.cli.output import EXIT_FINDINGS, emit_json, err, out

if TYPE_CHECKING:
    from plugcast.services.detect_run import DetectReport

SHOWN_REASONS: Final = 2
SHOWN_VALUES: Final = 8
FileArgument = Annotated[Path, typer.Argument(help="Sessions: ACN-Data JSON or CSV, or a table of sessions.")]
ModelOption = Annotated[
    Path | None,
    typer.Option(help="Folder of a detector: used if there is one, else trained and kept there.", show_default=False),
]
MeterOption = Annotated[
    Path | None,
    typer.Option(
        help="Meter values of the sessions, a file or a folder: a table, messages, or ACN-Data with its series.",
        show_default=False,
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed and data find the same.")]


class _Group(TyperGroup):
    """``detect FILE`` is ``detect sessions FILE``: the file comes first, whatever else there is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer hides its click
        if args and args[0] not in self.commands and args[0] not in {"--help", "-h"}:
            args = ["sessions", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    group = typer.Typer(
        name="detect", cls=_Group, no_args_is_help=True, help="Find odd sessions and say why: plugcast detect FILE."
    )
    group.command("sessions")(detect)
    group.command("explain")(explain)
    group.command("tell")(tell)
    group.command("tune")(tune)
    app.add_typer(group, name="detect")


def detect(
    file: FileArgument,
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
    model: ModelOption = None,
    meter: MeterOption = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Also write the report to this file: .html for a page, .png for pictures, else JSON."
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            help="Also write the score of every session reported on: .csv, .jsonl or .parquet.", show_default=False
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="Findings to print; --json and --out have all.")] = 20,
    seed: SeedOption = 0,
    time_zone: TimeZoneOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find odd sessions and say why; exit 3 when there are any, 0 when there are none."""
    if budget is not None and not 0 < budget <= 100:  # noqa: PLR2004 - the settings' own bounds
        raise typer.BadParameter(f"wanted a number above 0 and at most 100, found {budget}.", param_hint="--budget")
    settings = settings_for(config, time_zone)
    from_at = _instant(since) if since else None
    from plugcast.services import detect_run, detect_scores

    if scores is not None:
        detect_scores.require_suffix(scores)
    wish = detect_run.Wish(file=file, train=train, from_at=from_at, budget=budget, model=model, seed=seed, meter=meter)
    report = detect_run.detect(wish, settings, now=datetime.now(UTC), say=_note)
    if target is not None:
        _write(report, target)
    if scores is not None:
        detect_scores.write_scores(report, scores)
        _note(f"Wrote the scores of {report.sessions:,} sessions to {scores}.")
    if as_json:
        emit_json(detect_run.document(report))
    else:
        _show(report, top)
    if report.findings:
        raise typer.Exit(EXIT_FINDINGS)


def explain(
    finding: Annotated[str, typer.Argument(help="Id of a finding, its first letters, or the id of its session.")],
    file: FileArgument,
    *,
    model: ModelOption = None,
    meter: MeterOption = None,
    seed: SeedOption = 0,
    time_zone: TimeZoneOption = None,
    config: ConfigOption = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Also draw Shapley values, and current against pilot, into this PNG file.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say all that speaks for one finding: its reasons, and each detector's evidence."""
    from plugcast.services import detect_run

    settings = settings_for(config, time_zone)
    wish = detect_run.Wish(file=file, model=model, seed=seed, meter=meter)
    report = detect_run.detect(wish, settings, now=datetime.now(UTC), say=_note)
    told = detect_run.explanation(report, finding)
    if plot is not None:
        from plugcast.adapters.files import write_atomic
        from plugcast.services import detect_report
        from plugcast.services.explain_picture import picture_of

        write_atomic(plot, picture_of(told, detect_report.drawer(report, told["session_id"])))
        err().print(f"Drew it into {plot}.", highlight=False)
    if as_json:
        emit_json(told)
        return
    out().print(f"{told['cause']}, {told['severity']}, by {told['by']}, session {told['session_id']}", highlight=False)
    for reason in told["reasons"]:
        out().print(f"  {reason['text']}", highlight=False, markup=False)
    out().print("Evidence (2 = one in a hundred):", highlight=False)
    for name, value in told["evidence"].items():
        out().print(f"  {name:12} {value:5.2f}", highlight=False)
    parts = {"Shapley values of the evidence, against a median session:": told["shapley"]}
    titles = {"forest": "isolation forest (steps of its path)", "faults": "fault classifier (log-odds)"}
    parts |= {f"Exact Shapley values, {titles[part]}:": values for part, values in told["tree_shap"].items()}
    for title, values in parts.items():
        out().print(title, highlight=False)
        for name, value in values[:SHOWN_VALUES]:
            out().print(f"  {name:24} {value:+6.2f}", highlight=False)


def tell(
    finding: Annotated[str, typer.Argument(help="Id of a finding, or of its session.")],
    verdict: Annotated[Literal["true", "false_alarm", "known_work"], typer.Argument(help="What it was.")],
    file: FileArgument,
    *,
    model: Annotated[Path, typer.Option(help="Folder of the detector, where the verdict is kept too.")],
    by: Annotated[str, typer.Option(help="Who says so.")],
    note: Annotated[str, typer.Option(help="A line for the audit trail.")] = "",
    meter: MeterOption = None,
    time_zone: TimeZoneOption = None,
    config: ConfigOption = None,
) -> None:
    """Tell the detector what a finding was; it ranks sessions like it accordingly from then on."""
    from plugcast.adapters.files import LocalArtifacts
    from plugcast.anomaly.feedback import Verdict
    from plugcast.services import detect_run

    settings = settings_for(config, time_zone)
    now = datetime.now(UTC)
    if not by.strip():
        raise typer.BadParameter("wanted the name of whoever says so", param_hint="--by")
    detect_run.require_detector(model)
    report = detect_run.detect(detect_run.Wish(file=file, model=model, meter=meter), settings, now=now, say=_note)
    entry = detect_run.tell(
        LocalArtifacts(model), report, finding, Verdict(verdict), said_by=by, said_at=now, note=note
    )
    out().print(
        f"{entry.session_id}: {entry.verdict.value}, kept in {model / detect_run.FEEDBACK_FILE}", highlight=False
    )


def tune(
    file: FileArgument,
    *,
    seed: SeedOption = 0,
    time_zone: TimeZoneOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search sizes and weights of the detectors on faults put into the later part of these sessions."""
    from plugcast.services import detect_run, detect_tune

    settings = settings_for(config, time_zone)
    read = detect_run.read_sessions(file, settings, datetime.now(UTC), _note)
    found = detect_tune.tune(read.sessions, read.user_inputs, time_zone=settings.site.time_zone, seed=seed, say=_note)
    if as_json:
        emit_json(found)
        return
    out().print(
        "average precision at 5 %: all faults, mean of each type left out; lowest AUROC left out", highlight=False
    )
    for trial in found["search"][:12]:
        out().print(
            f"  {trial['ap']:.3f}  {trial['ap_left_out']:.3f}  {trial['lowest_auroc']:.3f}  {trial['spec']}",
            highlight=False,
        )


def _note(text: str) -> None:
    err().print(text, highlight=False)


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"wanted an instant like 2020-01-31T00:00, found {text!r}.", param_hint="--since"
        ) from error


def _write(report: DetectReport, target: Path) -> None:
    import msgspec

    from plugcast.adapters.files import write_atomic
    from plugcast.services import detect_report
    from plugcast.services.detect_run import document

    if target.suffix.lower() in {".html", ".htm"}:
        content = detect_report.html(report).encode()
    elif target.suffix.lower() == ".png":
        content = detect_report.png(report)
    else:
        content = msgspec.json.format(msgspec.json.encode(document(report)), indent=2) + b"\n"
    write_atomic(target, content)
    err().print(f"Wrote {len(report.findings):,} findings to {target}.", highlight=False)


def _show(report: DetectReport, top: int) -> None:
    zone = ZoneInfo(report.time_zone)
    for note in _notes(report):
        err().print(note, highlight=False)
    ordered = sorted(report.findings, key=lambda f: (f.severity.rank, 0.0 if f.p_value is None else f.p_value))
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
        + f". Per station and week: {report.alarm_rate:.3f} alarms (budget {report.budget:g}), "
        f"model {report.rate('model'):.3f}, "
        f"rules {report.rate('rule'):.3f}, over {report.station_weeks:,.0f} station-weeks.",
        highlight=False,
    )


def _notes(report: DetectReport) -> list[str]:
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
