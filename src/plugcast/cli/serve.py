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
    from collections.abc import Awaitable, Callable
    from socket import socket

    import uvicorn

    from plugcast.config import Settings
    from plugcast.services.stream.engine import Engine
    from plugcast.services.stream.metrics import EngineMetrics

HealthPortOption = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Port of /healthz, /readyz and /metrics. [default: a free one]"),
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(name="serve", no_args_is_help=True, help="Run a service of a site's stream until stopped.")
    group.command("detect")(detect)
    group.command("forecast")(forecast)
    group.command("publish")(publish)
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
    from plugcast.services.stream.serving import detector_engine

    place = log or settings.stream.log
    engine, metrics = detector_engine(model, place, settings)
    what = f"Detecting on {place} with the detector in {model}"
    _serve(_threaded(engine), metrics, ready=lambda: engine.ready, port=_port(settings, health_port), what=what)
    counts = engine.counts
    output.err().print(f"Stopped: {counts['messages']:,} messages, {counts['judged']:,} sessions judged.")


def forecast(
    *,
    models: inputs.ModelsOption = inputs.DEFAULT_MODELS,
    log: inputs.LogOption = None,
    health_port: HealthPortOption = None,
    config: inputs.ConfigOption = None,
) -> None:
    """Forecast vehicles as they report: ev-telemetry in, ev-forecasts out, one for each sample, each exactly once.

    A forecast says how likely the vehicle is plugged in at the models' lead (15 minutes by default), how much it will
    need, and how unlike anything in training its input is. Several of these share the partitions of one log; what one
    leaves, another takes over with its state.
    """
    settings = inputs.settings_for(config, None)
    from plugcast.services.stream.serving import forecaster_engine

    place = log or settings.stream.log
    engine, metrics = forecaster_engine(models, place, settings)
    what = f"Forecasting on {place} with the models in {models}"
    _serve(_threaded(engine), metrics, ready=lambda: engine.ready, port=_port(settings, health_port), what=what)
    counts = engine.counts
    output.err().print(f"Stopped: {counts['messages']:,} messages, {counts['forecasts']:,} forecasts.")


def publish(
    *,
    log: inputs.LogOption = None,
    health_port: HealthPortOption = None,
    config: inputs.ConfigOption = None,
) -> None:
    """Carry ev-findings to RabbitMQ (stream.bus), at least once each, with the finding's id to tell repeats by."""
    settings = inputs.settings_for(config, None)
    from plugcast.domain import topics
    from plugcast.services.stream.metrics import EngineMetrics
    from plugcast.services.stream.places import open_bus, open_log
    from plugcast.services.stream.publishing import Publisher
    from plugcast.services.stream.topics import specs

    place = log or settings.stream.log
    bus = open_bus(settings.stream.bus.get_secret_value())
    opened = open_log(place, kafka=settings.kafka)
    opened.ensure(specs())
    metrics = EngineMetrics("publish")
    publisher = Publisher(lambda: opened.worker("publishers", [topics.FINDINGS]), bus, metrics=metrics)

    async def work(stop: asyncio.Event) -> None:
        await publisher.run(stop)
        await bus.close()

    what = f"Publishing findings of {place}"
    _serve(work, metrics, ready=lambda: publisher.ready, port=_port(settings, health_port), what=what)
    output.err().print(f"Stopped: {publisher.counts['published']:,} findings published.")


def _threaded(engine: Engine) -> Callable[[asyncio.Event], Awaitable[None]]:
    """An engine's work in a thread of its own."""

    async def work(stop: asyncio.Event) -> None:
        told = Event()
        working = asyncio.create_task(asyncio.to_thread(engine.run, told))
        working.add_done_callback(lambda _: stop.set())  # a defect ends the service
        await stop.wait()
        told.set()  # the step in hand commits first
        await working

    return work


def _port(settings: Settings, told: int | None) -> int:
    return settings.stream.health_port if told is None else told


def _serve(
    work: Callable[[asyncio.Event], Awaitable[None]],
    metrics: EngineMetrics,
    *,
    ready: Callable[[], bool],
    port: int,
    what: str,
) -> None:
    """Run a service until it is told to stop, with its health and metrics beside it."""
    from plugcast.api.health import health_app
    from plugcast.api.server import listen, server, url_of

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    with listen("127.0.0.1", port) as listener:
        health = server(health_app(alive=lambda: True, ready=ready, registry=metrics.registry))
        output.err().print(f"{what}; health and metrics: {url_of(listener)}")
        asyncio.run(_run(work, health, listener))


async def _run(work: Callable[[asyncio.Event], Awaitable[None]], health: uvicorn.Server, listener: socket) -> None:
    """The work and its health on one loop; a signal lets what is in hand be finished."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    serving = asyncio.create_task(health.serve(sockets=[listener]))
    await asyncio.sleep(0)  # uvicorn takes the signals at its start; they are taken back here
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await work(stop)
    finally:
        health.should_exit = True
        await serving
