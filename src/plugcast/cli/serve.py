"""``plugcast serve``: the services of a site's stream."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from plugcast.cli import inputs, output

if TYPE_CHECKING:
    from socket import socket

    import uvicorn

    from plugcast.services.stream.engine import Engine

HealthPortOption = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Port of /healthz, /readyz and /metrics. [default: a free one]"),
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(name="serve", no_args_is_help=True, help="Run a service of a site's stream until stopped.")
    group.command("detect")(detect)
    app.add_typer(group, name="serve")


def detect(
    *,
    model: Annotated[
        Path, typer.Option("--model", help="Folder of a detector, from: plugcast detect FILE --model FOLDER")
    ] = Path("detector"),
    log: inputs.LogOption = None,
    health_port: HealthPortOption = None,
    time_zone: inputs.TimeZoneOption = None,
    config: inputs.ConfigOption = None,
) -> None:
    """Judge sessions as they end: ev-station-data in, ev-findings and ev-scores out, each exactly once.

    Several of these share the partitions of one log; what one leaves, another takes over with its state.
    """
    settings = inputs.settings_for(config, time_zone)
    from plugcast.api.health import health_app
    from plugcast.api.server import listen, server, url_of
    from plugcast.services.stream.serving import detector_engine

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    place = log or settings.stream.log
    engine, metrics = detector_engine(model, place, settings)
    port = settings.stream.health_port if health_port is None else health_port
    with listen("127.0.0.1", port) as listener:
        app = health_app(alive=lambda: True, ready=lambda: engine.ready, registry=metrics.registry)
        note = output.err().print
        note(f"Detecting on {place} with the detector in {model}; health and metrics: {url_of(listener)}")
        asyncio.run(_run(engine, server(app), listener))
        counts = engine.counts
        note(f"Stopped: {counts['messages']:,} messages, {counts['judged']:,} sessions judged.")


async def _run(engine: Engine, health: uvicorn.Server, listener: socket) -> None:
    """The engine in a thread, its health on the loop; a signal lets the step at work commit first."""
    stop = Event()
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(health.serve(sockets=[listener]))
    await asyncio.sleep(0)  # uvicorn takes the signals at its start; they are taken back here
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await asyncio.to_thread(engine.run, stop)
    finally:
        health.should_exit = True
        await serving
