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
    from collections.abc import Awaitable, Callable, Sequence
    from socket import socket

    import uvicorn

    from plugcast.api.alerts_page import Board
    from plugcast.config import Settings
    from plugcast.ports import Bus, Channel
    from plugcast.services.alerting import Alerting
    from plugcast.services.stream.engine import Engine
    from plugcast.services.stream.forwarding import Forwarder
    from plugcast.services.stream.metrics import EngineMetrics

ModelOption = Annotated[
    Path, typer.Option("--model", help="Folder of a detector, from: plugcast detect FILE --model FOLDER")
]
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
    group.command("forward")(forward)
    group.command("alerts")(alerts)
    group.command("site")(site)
    app.add_typer(group, name="serve")


def detect(
    *,
    model: ModelOption = Path("detector"),
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
    from plugcast.services.stream.publishing import GROUP, Publisher
    from plugcast.services.stream.topics import specs

    place = log or settings.stream.log
    bus = open_bus(settings.stream.bus.get_secret_value())
    opened = open_log(place, kafka=settings.kafka)
    opened.ensure(specs())
    metrics = EngineMetrics("publish")
    publisher = Publisher(
        lambda: opened.worker(GROUP, [topics.FINDINGS]),
        bus,
        unroutable=settings.stream.unroutable,
        metrics=metrics,
    )

    async def work(stop: asyncio.Event) -> None:
        await publisher.run(stop)
        await bus.close()

    what = f"Publishing findings of {place}"
    _serve(work, metrics, ready=lambda: publisher.ready, port=_port(settings, health_port), what=what)
    output.err().print(f"Stopped: {publisher.counts['published']:,} findings published.")


def forward(
    *,
    journal: Annotated[str, typer.Option("--journal", help="File that stations write to, on this machine.")],
    log: inputs.LogOption = None,
    edge: Annotated[
        str, typer.Option(help="Names this journal among all that send to the same log. [default: the site's name]")
    ] = "",
    keep: Annotated[
        int, typer.Option(min=1, help="Most messages that wait while the log is away; beyond it the oldest are shed.")
    ] = 10_000_000,
    health_port: HealthPortOption = None,
    config: inputs.ConfigOption = None,
) -> None:
    """Carry a journal's station data and telemetry to Kafka, in order, each once, through hours without a network.

    While the log is away the journal keeps up to --keep messages; beyond it the oldest are shed and counted.
    """
    settings = inputs.settings_for(config, None)
    from plugcast.domain import topics
    from plugcast.services.stream.forwarding import Forwarder
    from plugcast.services.stream.metrics import EngineMetrics
    from plugcast.services.stream.places import open_log
    from plugcast.services.stream.topics import specs

    place = log or settings.stream.log
    metrics = EngineMetrics("forward")
    forwarder = Forwarder(
        open_log(journal),
        open_log(place, kafka=settings.kafka),
        topics=[spec for spec in specs() if spec.name in {topics.STATION_DATA, topics.TELEMETRY}],
        edge=edge or settings.site.name,
        keep_entries=keep,
        metrics=metrics,
    )
    what = f"Forwarding {journal} to {place}"
    port = _port(settings, health_port)
    _serve(_threaded(forwarder), metrics, ready=lambda: True, port=port, what=what)
    output.err().print(f"Stopped: {forwarder.counts['sent']:,} sent, {forwarder.counts['shed']:,} shed.")


def alerts(
    *,
    health_port: HealthPortOption = None,
    time_zone: inputs.TimeZoneOption = None,
    config: inputs.ConfigOption = None,
) -> None:
    """Tell people of findings from RabbitMQ (stream.bus): mail, webhook and a page, one alert a station and cause.

    Without mail and webhook in the settings alerts are kept, and shown on the page.
    """
    settings = inputs.settings_for(config, time_zone)
    from plugcast.services.alert_channels import channels_of
    from plugcast.services.stream.metrics import EngineMetrics
    from plugcast.services.stream.places import open_bus

    bus = open_bus(settings.stream.bus.get_secret_value())
    metrics = EngineMetrics("alerts")
    channels = channels_of(settings)
    service, page = alerting(bus, settings, channels, metrics)

    async def work(stop: asyncio.Event) -> None:
        await service.run(stop)
        await bus.close()

    what = f"Alerts by {', '.join(c.name for c in channels) or 'this page alone (no mail or webhook is set)'}"
    _serve(work, metrics, ready=lambda: service.ready, port=_port(settings, health_port), what=what, page=page)
    counts = service.counts
    output.err().print(f"Stopped: {counts['taken']:,} findings, {counts['notifications']:,} notifications.")


def site(
    *,
    model: ModelOption = Path("detector"),
    log: inputs.LogOption = None,
    health_port: HealthPortOption = None,
    time_zone: inputs.TimeZoneOption = None,
    config: inputs.ConfigOption = None,
) -> None:
    """Detect, publish and alert in one process: a site on one machine, with nothing to install."""
    settings = inputs.settings_for(config, time_zone)
    from plugcast.adapters.memory_bus import MemoryBus
    from plugcast.domain import topics
    from plugcast.services.alert_channels import channels_of
    from plugcast.services.stream.places import open_log
    from plugcast.services.stream.publishing import GROUP, Publisher
    from plugcast.services.stream.serving import detector_engine

    place = log or settings.stream.log
    engine, metrics = detector_engine(model, place, settings)
    opened, bus = open_log(place, kafka=settings.kafka), MemoryBus()
    channels = channels_of(settings)
    service, page = alerting(bus, settings, channels, metrics)
    publisher = Publisher(lambda: opened.worker(GROUP, [topics.FINDINGS]), bus, metrics=metrics)

    async def tell(stop: asyncio.Event) -> None:
        await service.stand_by(stop)  # whoever cannot tell people takes no finding from the log
        await asyncio.gather(service.run(stop), publisher.run(stop), _closing(bus, stop))

    async def work(stop: asyncio.Event) -> None:
        await asyncio.gather(_threaded(engine)(stop), tell(stop))

    what = f"Watching {place}; alerts by {', '.join(c.name for c in channels) or 'this page alone'}"
    _serve(
        work,
        metrics,
        ready=lambda: engine.ready and (service.standing_by or (service.ready and publisher.ready)),
        port=_port(settings, health_port),
        what=what,
        page=page,
    )
    counts = engine.counts + service.counts
    output.err().print(f"Stopped: {counts['judged']:,} sessions judged, {counts['notifications']:,} notifications.")


def alerting(
    bus: Bus, settings: Settings, channels: Sequence[Channel], metrics: EngineMetrics
) -> tuple[Alerting, Board]:
    """The service as the settings want it, and the page that shows what it knows."""
    from plugcast.adapters.clock import SystemClock
    from plugcast.adapters.subscriber.outbox import Outbox
    from plugcast.api.alerts_page import Board
    from plugcast.services.alert_channels import policy_of
    from plugcast.services.alerting import Alerting

    service = Alerting(
        bus=bus,
        outbox=Outbox(settings.alerts.outbox),
        channels=channels,
        clock=SystemClock(),
        policy=policy_of(settings),
        told=lambda tracked: page.tell(tracked),  # noqa: PLW0108 - the page is made after it
        metrics=metrics,
    )
    page = Board(
        settings.site.name,
        time_zone=settings.site.time_zone,
        alerts=lambda: service.alerts,
        tells=bool(channels),
    )
    return service, page


async def _closing(bus: Bus, stop: asyncio.Event) -> None:
    """Whoever waits for a message to be settled shall not wait for a subscriber that leaves."""
    await stop.wait()
    await bus.close()


def _port(settings: Settings, told: int | None) -> int:
    return settings.stream.health_port if told is None else told


def _serve(
    work: Callable[[asyncio.Event], Awaitable[None]],
    metrics: EngineMetrics,
    *,
    ready: Callable[[], bool],
    port: int,
    what: str,
    page: Board | None = None,
) -> None:
    """Run a service until it is told to stop, with its health and metrics, and its page if it has one, beside it."""
    from plugcast.api.alerts_page import alerts_app
    from plugcast.api.health import health_app
    from plugcast.api.server import listen, server, url_of

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    with listen("127.0.0.1", port) as listener:
        if page is None:
            app = health_app(ready=ready, registry=metrics.registry)
        else:
            app = alerts_app(page, ready=ready, registry=metrics.registry)
        health = server(app)
        output.err().print(f"{what}; {'health and metrics' if page is None else 'page'}: {url_of(listener)}")
        asyncio.run(_run(work, health, listener))


def _threaded(engine: Engine | Forwarder) -> Callable[[asyncio.Event], Awaitable[None]]:
    """An engine's work in a thread of its own."""

    async def work(stop: asyncio.Event) -> None:
        told = Event()
        working = asyncio.create_task(asyncio.to_thread(engine.run, told))
        working.add_done_callback(lambda _: stop.set())  # a defect ends the service
        await stop.wait()
        told.set()  # the step in hand commits first
        await working

    return work


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
