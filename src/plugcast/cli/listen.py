"""``plugcast listen``: findings as they come from RabbitMQ, a line each."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plugcast.cli import inputs, output

if TYPE_CHECKING:
    from plugcast.domain.outgoing import FindingRaised
    from plugcast.ports import Bus
    from plugcast.services.stream.listening import Listener


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(listen)


def listen(
    *,
    queue: Annotated[
        str, typer.Option(help="Durable queue of one's own; it collects findings while nobody listens.")
    ] = "listen",
    bind: Annotated[
        list[str] | None,
        typer.Option(help="Which findings: finding.SEVERITY.CAUSE.SITE, * for a word, # for any. [default: finding.#]"),
    ] = None,
    seen: Annotated[
        Path | None, typer.Option(help="File of the ids printed before, so that a new start prints none again.")
    ] = None,
    config: inputs.ConfigOption = None,
) -> None:
    """Print findings from RabbitMQ (stream.bus) as they come, one JSON document a line, each once.

    Several of these with one queue share its findings.
    """
    settings = inputs.settings_for(config, None)
    from plugcast.adapters.clock import SystemClock
    from plugcast.adapters.subscriber.seen_ids import SeenIds
    from plugcast.services.stream.listening import Listener
    from plugcast.services.stream.places import open_bus

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    bus = open_bus(settings.stream.bus.get_secret_value())

    def handle(_: FindingRaised, body: bytes) -> None:
        sys.stdout.write(body.decode() + "\n")
        sys.stdout.flush()

    bindings, ids = bind or ["finding.#"], SeenIds.at(seen or ":memory:")
    listener = Listener(bus, queue, bindings=bindings, handle=handle, seen=ids, clock=SystemClock())
    try:
        asyncio.run(_run(listener, bus))
    except BrokenPipeError:  # whoever read has gone, as `head` does; Python's own flush at the end must not fail too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        ids.close()
    counts = listener.counts
    output.err().print(f"Stopped: {counts['handled']:,} findings, {counts['repeats']:,} repeats left out.")


async def _run(listener: Listener, bus: Bus) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await listener.run(stop)
    finally:
        await bus.close()
