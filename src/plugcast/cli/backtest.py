"""``plugcast backtest``: what the forecasts would have been worth on your own past."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from plugcast.cli import inputs, output

if TYPE_CHECKING:
    from rich.table import Table

    from plugcast.config import Settings
    from plugcast.forecast.bootstrap import Interval
    from plugcast.services.backtesting import Plan, Subject, Tested
    from plugcast.services.showcase import Shown

SPLITS: Final = ("time", "unseen", "site", "regime")
DEFAULT_LEADS: Final = "15,60,180,360,720,1440,2880"
LONGEST_LEAD_MIN: Final = 2880
VISIT_BASELINES: Final = {
    "kernel_own_median": "kernel",
    "own_median": "own",
    "declared": "told",
    "pooled_median": "pooled",
}
"""As a narrow terminal calls them."""
SHORT: Final = {"persistence": "persist.", "climatology": "hour/week", "model, never refitted": "frozen"}
"""Names that leave a terminal of 80 columns room for the figures."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(backtest)


def backtest(
    *,
    telemetry: Annotated[
        Path | None,
        typer.Option("--telemetry", "-t", help="Telemetry of vehicles as CSV or Parquet.", show_default=False),
    ] = None,
    sessions: Annotated[
        Path | None,
        typer.Option("--sessions", "-s", help="Charging sessions; their stations are forecast.", show_default=False),
    ] = None,
    visits: Annotated[
        bool, typer.Option("--visits", help="Of sessions: forecast when each car leaves, and with how much.")
    ] = False,
    split: Annotated[
        str, typer.Option(help="What was not seen: time, unseen (vehicles, stations), site or regime (with --at).")
    ] = "time",
    at: Annotated[
        str | None, typer.Option(help="Local date on which things changed, e.g. 2020-03-15.", show_default=False)
    ] = None,
    folds: Annotated[
        int, typer.Option(min=1, max=52, help="Parts of the test time; models are fitted anew at each.")
    ] = 3,
    leads: Annotated[str, typer.Option(help="Minutes ahead, with commas between.")] = DEFAULT_LEADS,
    since: Annotated[str | None, typer.Option(help="Use nothing before this local date.", show_default=False)] = None,
    until: Annotated[str | None, typer.Option(help="Use nothing from this local date on.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="HTML report to write.", show_default=False)] = None,
    png: Annotated[
        Path | None, typer.Option(help="Folder to write the figures to, as PNG.", show_default=False)
    ] = None,
    time_zone: inputs.TimeZoneOption = None,
    config: inputs.ConfigOption = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads. [default: the CPU quota]")] = None,
    as_json: inputs.JsonOption = False,
) -> None:
    """Measure the forecasts on your own past, beside persistence, the hour of the week and their blend.

    Models are fitted on what was known at each fold's start and nothing else; some forecasts are then repeated without
    the future to prove it. Without a file, the month of real sessions that comes with the package is used.
    """
    from plugcast.services import backtesting

    settings = inputs.settings_for(config, time_zone)
    wanted = _Wanted(split=split, at=at, folds=folds, leads=_leads(leads), since=since, until=until)
    source = _Source(telemetry=telemetry, sessions=sessions, told_zone=time_zone is not None)
    threads = inputs.threads_for(settings, threads)
    say = output.err()
    if visits:
        _visits(source, settings, folds=folds, threads=threads, as_json=as_json)
        return
    with say.status("reading") as status:
        subject, plan = _prepare(source, settings, wanted, threads=threads)
        tested = backtesting.run_backtest(
            subject, plan, gap_limit_min=settings.features.gap_limit_min, say=status.update
        )
        status.update("drawing")
        written = _draw(tested, out, png)
    if tested.document["data"]["left_out"]:
        say.print(f"Left out: {tested.document['data']['left_out']}.")
    if as_json:
        output.emit_json({**tested.document, "written": [str(path) for path in written]})
        return
    console = output.out()
    for table in tables(tested.document):
        console.print(table)
    console.print(closing(tested.document))
    for path in written:
        console.print(f"Written: {path}")
    if not written:
        console.print("For pictures: --out report.html, or --png FOLDER")


def _visits(source: _Source, settings: Settings, *, folds: int, threads: int, as_json: bool) -> None:
    """Test the forecasts of visits and print them."""
    from dataclasses import replace

    from plugcast.services.visits import SPEC, VisitsPlan, backtest_visits

    if source.telemetry is not None:
        raise typer.BadParameter("--visits goes with --sessions, not with --telemetry.")
    with output.err().status("reading") as status:
        shown = _shown(source, settings)
        document = backtest_visits(
            shown.read.sessions,
            shown.read.user_inputs,
            VisitsPlan(time_zone=shown.time_zone, folds=folds, spec=replace(SPEC, threads=threads)),
            say=status.update,
        )
    if as_json:
        output.emit_json({"source": shown.source, **document})
        return
    console = output.out()
    for quantity, title in (("stay", "How long will it stay? Hours"), ("energy", "How much will it need? kWh")):
        console.print(visits_table([one for one in document["groups"] if one["quantity"] == quantity], title))
    console.print(
        f"{document['sessions']:,} visits over {document['days']:g} days of {shown.source}. Tested from "
        f"{document['tested_from'][:10]} to {document['tested_until'][:10]}, fitted {document['fitted']} times on what "
        "was known by then.\nBand: the share of visits inside the 80 % interval. Pooled and own: medians of the past; "
        "kernel: the driver's own visits at a like hour, the latest first; told: what the driver declared."
    )


def visits_table(groups: list[dict[str, Any]], title: str) -> Table:
    """Mean absolute errors for a terminal."""
    from rich.table import Table

    table = Table(title=f"{title}; mean absolute error, lower is better")
    table.add_column("drivers", no_wrap=True)
    beside = [name for name in VISIT_BASELINES if any(name in group for group in groups)]
    for name in ("visits", "model", *(VISIT_BASELINES[each] for each in beside), "band", "width"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in groups:
        band = group["interval_80"]
        table.add_row(
            group["drivers"],
            f"{group['sessions']:,}",
            f"{group['model']['mae']:.2f}",
            *(f"{group[name]['mae']:.2f}" if name in group else "" for name in beside),
            f"{band['coverage']:.2f}",
            f"{band['width_mean']:.1f}",
        )
    return table


def _draw(tested: Tested, out: Path | None, png: Path | None) -> list[Path]:
    if out is None and png is None:
        return []
    from plugcast.services import report

    made = report.picture_list(tested)
    written = []
    if out is not None:
        report.write_html(tested, made, out)
        written.append(out)
    if png is not None:
        written += report.write_png(made, png)
    return written


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What was named; nothing is the shipped month."""

    telemetry: Path | None
    sessions: Path | None
    told_zone: bool

    def __post_init__(self) -> None:
        """Refuse two files."""
        if self.telemetry is not None and self.sessions is not None:
            raise typer.BadParameter("Give --telemetry or --sessions, not both.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The options that make a plan, as typed."""

    split: str
    at: str | None
    folds: int
    leads: tuple[float, ...]
    since: str | None
    until: str | None

    def __post_init__(self) -> None:
        """Refuse an unknown split, and a date without its split."""
        if self.split not in SPLITS:
            raise typer.BadParameter(f"--split wants one of {', '.join(SPLITS)}; found {self.split!r}.")
        if (self.split == "regime") != (self.at is not None):
            raise typer.BadParameter("--split regime and --at DATE belong together.")


def _prepare(source: _Source, settings: Settings, wanted: _Wanted, *, threads: int) -> tuple[Subject, Plan]:
    """Read what was named; the dates are those of the data's own local clock."""
    from plugcast.services import backtesting

    def plan(zone: str) -> Plan:
        return backtesting.Plan(
            split=backtesting.SplitKind(wanted.split),
            at=_midnight(wanted.at, zone, "--at"),
            folds=wanted.folds,
            leads_min=wanted.leads,
            since=_midnight(wanted.since, zone, "--since"),
            until=_midnight(wanted.until, zone, "--until"),
            threads=threads,
        )

    if source.telemetry is not None:
        read = inputs.read_telemetry(source.telemetry, settings)
        subject = backtesting.of_telemetry(read, settings, source=source.telemetry.name)
        return subject, plan(subject.time_zone)
    shown = _shown(source, settings)
    made = plan(shown.time_zone)
    return backtesting.of_sessions(shown, made), made


def _shown(source: _Source, settings: Settings) -> Shown:
    from plugcast.services import showcase

    now = datetime.now(UTC)
    if source.sessions is None:
        return showcase.shipped(now)
    return showcase.own_sessions(source.sessions, settings, now=now, told_zone=source.told_zone)


def _midnight(day: str | None, zone: str, option: str) -> datetime | None:
    if day is None:
        return None
    try:
        return datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    except ValueError as error:
        raise typer.BadParameter(f"{option} wants a date like 2020-03-15; found {day!r}.") from error


def _leads(text: str) -> tuple[float, ...]:
    try:
        found = sorted({float(each) for each in text.split(",")})
    except ValueError as error:
        raise typer.BadParameter(f"--leads wants minutes, like 15,60; found {text!r}.") from error
    if not all(0 < lead <= LONGEST_LEAD_MIN for lead in found):
        raise typer.BadParameter(f"--leads wants minutes above 0 and up to {LONGEST_LEAD_MIN}; found {text!r}.")
    return tuple(found)


def tables(document: dict[str, Any]) -> list[Table]:
    """The figures for a terminal."""
    from rich.table import Table

    from plugcast.services.report_figures import lead_name

    rows = document["leads"]
    names = list(rows[0]["plug"])
    plug = Table(title="Will it be plugged in? Brier score, lower is better")
    plug.add_column("lead", justify="right", no_wrap=True)
    for name in names:
        plug.add_column(SHORT.get(name, name), justify="right", no_wrap=True)
    plug.add_column("saved, % (95 %)", justify="right", no_wrap=True)
    plug.add_column("gap", justify="right", no_wrap=True)
    for row in rows:
        plug.add_row(
            lead_name(row["lead_min"]),
            *(f"{row['plug'][name]['brier'].value:.4f}" for name in names),
            _saved(row["skill"]["below_better_baseline"]),
            f"{row['plug'][names[0]]['ece']:.3f}",
        )
    with_energy = [row for row in rows if row.get("energy")]
    if not with_energy:
        return [plug]
    need = Table(title="How far from full? Mean absolute error in % of the battery")
    need.add_column("lead", justify="right")
    others = list(with_energy[0]["energy"])
    for name in (*(SHORT.get(each, each) for each in others), "CRPS", "in 80 % band", "its width"):
        need.add_column(name, justify="right")
    for row in with_energy:
        ours = row["energy"][others[0]]
        need.add_row(
            lead_name(row["lead_min"]),
            *(f"{row['energy'][name]['mae_pct'].value:.2f}" for name in others),
            f"{ours['crps_pct'].value:.2f}",
            f"{ours['coverage_80'].value:.2f}" if "coverage_80" in ours else "",
            f"{ours['width_80_pct']:.1f}" if "width_80_pct" in ours else "",
        )
    return [plug, need]


def _saved(interval: Interval) -> str:
    return f"{100 * interval.value:.0f} ({100 * interval.low:.0f} to {100 * interval.high:.0f})"


def closing(document: dict[str, Any]) -> str:
    """What was tested, in a sentence or two."""
    data, split = document["data"], document["split"]
    return (
        f"{data['assets']:,} {data['kind']}s, {data['samples']:,} samples of {data['source']}. Tested from "
        f"{split['folds'][0]['tested_from']:%Y-%m-%d} to {split['folds'][-1]['tested_until']:%Y-%m-%d} in "
        f"{len(split['folds'])} fold(s); {split['origins_audited']} forecasts repeated without the future, all alike.\n"
        "Saved: against the better of persistence and hour of the week. Gap: of chance and frequency, on average."
    )
