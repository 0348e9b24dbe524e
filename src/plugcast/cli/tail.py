"""``plugcast tail``: what a topic of the log holds, a line a message."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from plugcast.cli import inputs


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(tail)


def tail(
    topic: Annotated[str, typer.Argument(help="E.g. ev-findings, ev-scores, ev-dead-letters, ev-station-data.")],
    *,
    log: inputs.LogOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as messages come, until stopped.")] = False,
    config: inputs.ConfigOption = None,
) -> None:
    """Print a topic's messages from its start, one JSON document a line, partition by partition."""
    settings = inputs.settings_for(config, None)
    from plugcast.errors import UnreadableInputError
    from plugcast.services.stream.places import open_log

    place = log or settings.stream.log
    if "://" not in place and not Path(place).is_file():
        raise UnreadableInputError(f"{place} was not found. Name a journal that there is, or kafka://HOST:PORT: --log")
    reader = open_log(place, kafka=settings.kafka).reader(topic)
    try:
        while follow or not reader.caught_up():
            for stored in reader.read(1_000, wait_s=0.5 if follow else 0.05):
                if stored.value is not None:
                    sys.stdout.write(stored.value.decode("utf-8", "replace") + "\n")
            sys.stdout.flush()
    finally:
        reader.close()
