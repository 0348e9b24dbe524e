"""``plugcast replay``: a file of sessions or telemetry as the live messages of its stations or vehicles."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plugcast.cli import inputs, output

if TYPE_CHECKING:
    from plugcast.config import Settings
    from plugcast.services.stream.replaying import Playing, Replay


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(replay)


def replay(
    file: Annotated[Path, typer.Argument(help="Sessions: ACN-Data JSON or CSV, or a table of sessions; or telemetry.")],
    *,
    vehicles: Annotated[
        bool, typer.Option("--vehicles", help="The file is telemetry of vehicles; it goes to ev-telemetry.")
    ] = False,
    meter: Annotated[
        Path | None, typer.Option("--meter", help="Meter values of the sessions, a file or a folder: sent as well.")
    ] = None,
    log: inputs.LogOption = None,
    speed: Annotated[
        float | None,
        typer.Option(min=0.01, help="Times real time. [default: as fast as the log takes it]", show_default=False),
    ] = None,
    faults: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Share of the later 30 % of sessions that get a fault.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the faults.")] = 0,
    again: Annotated[
        str, typer.Option(help="Any word: replay this file once more, from its start.", show_default=False)
    ] = "",
    time_zone: inputs.TimeZoneOption = None,
    config: inputs.ConfigOption = None,
    as_json: inputs.JsonOption = False,
) -> None:
    """Send a file's sessions to the topic ev-station-data, keyed by station, as live messages.

    With --vehicles: a file's samples to ev-telemetry, keyed by vehicle.
    A log that goes away is waited for, ten minutes at most. Stopped and started again it goes on where it was and
    sends nothing twice. Faults put in are named on ev-truth.
    """
    settings = inputs.settings_for(config, time_zone)
    from plugcast.services.stream.places import open_log
    from plugcast.services.stream.replaying import Replay

    if vehicles:
        playing = _telemetry(file, settings, again)
    else:
        playing = _sessions(file, meter, settings, faults=faults, seed=seed, again=again)
    place = log or settings.stream.log
    running = Replay(open_log(place, kafka=settings.kafka), playing)
    before = running.sent
    whole = _send(running, place, speed)
    report = {
        "log": place,
        "replay": playing.name,
        "messages": running.total,
        "sent_before": before,
        "sent": running.sent - before,
        "faults": len(playing.truth),
        "finished": whole,
    }
    if as_json:
        output.emit_json(report)
    else:
        _say(report)


def _send(running: Replay, place: str, speed: float | None) -> bool:
    """With a bar, until all is sent or a signal stops it; whether that was all."""
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with output.progress() as bar:
        task = bar.add_task(f"Sending to {place}", total=running.total, completed=running.sent)
        return running.run(
            speed=speed,
            told=lambda sent: bar.update(task, completed=sent),
            stop=stop,
            waits=lambda why: bar.console.print(f"Waiting for the log: {why}", highlight=False, markup=False),
        )


def _telemetry(file: Path, settings: Settings, again: str) -> Playing:
    from plugcast.services.stream.replaying import Playing, content_of

    samples = inputs.read_telemetry(file, settings)
    return Playing.of_vehicles(samples, content=content_of(file), round_=again)


def _sessions(file: Path, meter: Path | None, settings: Settings, *, faults: float, seed: int, again: str) -> Playing:
    from plugcast.services.detect_run import read_metered, read_sessions
    from plugcast.services.stream.replaying import Playing, content_of

    now, say = datetime.now(UTC), output.err().print
    read = read_sessions(file, settings, now, say)
    metered = None if meter is None else read_metered(meter, read.sessions, settings, now, say)
    content = content_of(file) + (b"" if meter is None else content_of(meter))
    return Playing.of(read, content=content, faults=faults, seed=seed, round_=again, metered=metered)


def _say(report: dict[str, Any]) -> None:
    say, before = output.err().print, report["sent_before"]
    went_on = f" ({before:,} had been sent before)" if before else ""
    say(f"Sent {report['sent']:,} of {report['messages']:,} messages to {report['log']}{went_on}.")
    if not report["finished"]:
        say("Stopped. The same command goes on from here.")
    elif not report["sent"]:
        say("All of it was sent before. To send it once more: --again WORD")
