"""``plugcast demo``: a real site, forecast, planned and watched, on a live page."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from plugcast.cli import inputs, output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from plugcast.config import Settings
    from plugcast.services.showcase import Shown
    from plugcast.services.workup import WorkUp


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(demo)


def demo(
    *,
    sessions: Annotated[
        Path | None, typer.Option("--sessions", "-s", help="Your charging sessions: ACN-Data JSON, CSV or Parquet.")
    ] = None,
    telemetry: Annotated[
        Path | None, typer.Option("--telemetry", "-t", help="Your vehicles' telemetry, instead of sessions.")
    ] = None,
    time_zone: inputs.TimeZoneOption = None,
    tariff: Annotated[
        Path | None, typer.Option("--tariff", help="Tariff sheet as JSON. [default: SCE TOU-EV-4, March 2019]")
    ] = None,
    limit: Annotated[
        float | None, typer.Option("--limit", min=0.1, help="Site limit, kW. [default: 60 % of the uncontrolled peak]")
    ] = None,
    pv: Annotated[
        float | None,
        typer.Option("--pv-kw", min=0.0, help="PV array under a modelled clear sky, kW. [default: 30; your own: 0]"),
    ] = None,
    speed: Annotated[float, typer.Option("--speed", min=0.1, max=1440.0, help="Replay, minutes a second.")] = 15.0,
    serve: Annotated[bool, typer.Option(help="Serve the live page until stopped.")] = True,
    host: Annotated[str | None, typer.Option("--host", help="Address of the page. [default: 127.0.0.1]")] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A further host name by which browsers may open the page."),
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port of the page. [default: 8765]")
    ] = None,
    config: inputs.ConfigOption = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads. [default: the CPU quota]")] = None,
    as_json: inputs.JsonOption = False,
) -> None:
    """Show the whole job on a real month of charging, or on your own data.

    Reads sessions, learns from the earlier part, and replays the later part on a live page: stations, power against
    limit and price, forecasts with their band, the plan beside uncontrolled charging, odd sessions with their reasons.
    Needs no configuration, no network and no services. With --no-serve --json prints one document instead.
    """
    if sessions is not None and telemetry is not None:
        raise typer.BadParameter("give --sessions or --telemetry, not both.")
    settings = inputs.settings_for(config, time_zone)
    used = inputs.threads_for(settings, threads)
    console = output.err()
    begun = time.perf_counter()
    shown = _open(sessions, telemetry, settings, used, console, told_zone=time_zone is not None)
    done = _work(shown, settings, _Terms(tariff=tariff, limit_kw=limit, pv_kw=pv), used, console)
    report = {**done.report, **shown.extra, "seconds_in_all": round(time.perf_counter() - begun, 3)}
    if as_json:
        output.emit_json(report)
    elif not serve:
        output.out().print(summary(report))
    if serve:
        address = (host or settings.server.host, settings.server.port if port is None else port)
        _serve(done, address, speed, allow_host or [])


class _Terms(NamedTuple):
    tariff: Path | None
    limit_kw: float | None
    pv_kw: float | None


def _open(
    sessions: Path | None,
    telemetry: Path | None,
    settings: Settings,
    threads: int,
    console: Console,
    *,
    told_zone: bool,
) -> Shown:
    from plugcast.services import showcase

    now = datetime.now(UTC)
    if sessions is not None:
        return showcase.own_sessions(sessions, settings, now=now, told_zone=told_zone)
    if telemetry is not None:
        with console.status("reading") as status:
            return showcase.own_telemetry(telemetry, settings, now=now, threads=threads, say=status.update)
    return showcase.shipped(now)


def _work(shown: Shown, settings: Settings, terms: _Terms, threads: int, console: Console) -> WorkUp:
    from plugcast.services import showcase
    from plugcast.services.workup import Place, work_up

    ships = shown.source == showcase.SHIPPED_SOURCE
    default_pv = showcase.SHIPPED_PV_KW if ships else settings.site.pv_peak_kw
    place = Place(
        name=shown.name,
        time_zone=shown.time_zone,
        source=shown.source,
        terms=showcase.terms(
            tariff=terms.tariff,
            time_zone=shown.time_zone,
            limit_kw=terms.limit_kw or settings.site.limit_kw,
            pv_kw=default_pv if terms.pv_kw is None else terms.pv_kw,
        ),
        alarms_per_station_week=settings.detect.alarms_per_station_week,
    )
    with console.status("reading") as status:
        return work_up(shown.read, place, threads=threads, say=status.update, read_seconds=shown.seconds)


def summary(report: dict[str, Any]) -> Table:
    """The report for people."""
    from rich.table import Table

    table = Table(title=f"{report['site']}: {report['sessions']['accepted']:,} sessions", show_header=False)
    plan, free = report["plan"]["plan"], report["plan"]["uncontrolled"]
    table.add_row(
        "read / rejected / doubles", " / ".join(str(report["sessions"][k]) for k in ("read", "rejected", "duplicates"))
    )
    table.add_row("replayed", f"{report['period']['replayed_from']:%Y-%m-%d} to {report['period']['until']:%Y-%m-%d}")
    for row in report["forecast"]["cars"]:
        ours, nothing, usual = (row[f"{name}_mae"] for name in ("model", "persistence", "climatology"))
        covered = row["coverage_80"]
        table.add_row(
            f"cars at the site in {row['lead_min'] / 60:g} h, mean error",
            f"{ours:.2f} (persistence {nothing:.2f}, climatology {usual:.2f}); 80 % band covers {covered:.0%}",
        )
    table.add_row(
        "cost, plan / uncontrolled",
        f"{plan['cost']:,.2f} / {free['cost']:,.2f} ({report['plan']['saved_per_kwh_share']:.0%} less per kWh)",
    )
    table.add_row(
        "peak kW, plan / uncontrolled",
        f"{plan['peak_kw']:.1f} / {free['peak_kw']:.1f} (limit {report['plan']['limit_kw']:g})",
    )
    table.add_row("kWh delivered, plan / uncontrolled", f"{plan['delivered_kwh']:,.0f} / {free['delivered_kwh']:,.0f}")
    table.add_row("findings", str(len(report["findings"])))
    for finding in report["findings"][:3]:
        table.add_row(f"  {finding.cause.value} at {finding.station_id}", finding.reasons[0].text)
    table.add_row("seconds", ", ".join(f"{name} {took:.1f}" for name, took in report["seconds"].items()))
    return table


def _serve(done: WorkUp, address: tuple[str, int], speed: float, names: list[str]) -> None:
    from plugcast.api.app import LOCAL_HOSTS, create_app
    from plugcast.api.server import serve
    from plugcast.services.replay import ReplayFeed

    host, port = address
    feed = ReplayFeed(done.recording, speed=speed)

    def ready(url: str) -> None:
        output.err().print(
            f"[bold]{done.recording.info.name}[/bold] is live: [link={url}]{url}[/link]   (Ctrl+C stops)"
        )

    serve(
        create_app(feed, allowed_hosts=(*LOCAL_HOSTS, host, *names)),
        host=host,
        port=port,
        ready=ready,
        background=feed.run,
    )
