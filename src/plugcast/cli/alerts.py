"""``plugcast alerts``: what was told to whom, and whether telling works."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from plugcast.cli import inputs, output

OutboxOption = Annotated[
    Path | None,
    typer.Option("--outbox", help="File of alerts and notifications. [default: plugcast.outbox, or the settings']"),
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(name="alerts", no_args_is_help=True, help="See what was told to whom; try the channels.")
    group.command("list")(list_)
    group.command("test")(try_channels)
    app.add_typer(group, name="alerts")


def list_(
    *,
    outbox: OutboxOption = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only notifications that were given up.")] = False,
    config: inputs.ConfigOption = None,
    as_json: inputs.JsonOption = False,
) -> None:
    """List notifications, the newest first: what became of each, and why."""
    settings = inputs.settings_for(config, None)
    from plugcast.adapters.subscriber.outbox import Outbox
    from plugcast.errors import UnreadableInputError

    path = outbox or Path(settings.alerts.outbox)
    if not path.exists():
        raise UnreadableInputError(f"{path} was not found: no alert was ever kept here. Start: plugcast serve alerts")
    with Outbox(path) as opened:
        kept = len(opened.alerts())
        rows = [row for row in opened.sendings() if not failed or row.state == "failed"]
    if as_json:
        output.emit_json({"notifications": rows})
        return
    for row in rows:
        alert = row.notification.alert
        place = alert.station_id or f"{len(alert.stations)} stations"
        detail = f" ({row.detail})" if row.detail else ""
        output.out().print(
            f"{row.notification.made_at:%Y-%m-%d %H:%M:%S}  {row.channel:<8} {row.state:<7} {row.attempts} tries  "
            f"{alert.severity:<8} {alert.site_id}/{place}: {alert.cause}{detail}",
            markup=False,
        )
    if not rows and kept:
        output.err().print(
            f"Nothing was sent: {kept:,} alerts are kept, and no channel was set when they came. "
            "Try one with: plugcast alerts test"
        )
    elif not rows:
        output.err().print("None.")


def try_channels(
    *,
    time_zone: inputs.TimeZoneOption = None,
    config: inputs.ConfigOption = None,
) -> None:
    """Send a sample notification through every channel that the settings name, and say what became of it."""
    settings = inputs.settings_for(config, time_zone)
    from plugcast.errors import ConfigError, RemoteRefusedError
    from plugcast.ports import Outcome
    from plugcast.services.alert_channels import channels_of, sample

    channels = channels_of(settings)
    if not channels:
        raise ConfigError(
            "No channel is set. For mail set mail.host and mail.to, for a webhook webhook.url and webhook.secret "
            "(docs/how-to/alerts.md)."
        )
    good = True
    for channel in channels:
        sending = asyncio.run(channel.send(sample()))
        good = good and sending.outcome is Outcome.SENT
        detail = f": {sending.detail}" if sending.detail else ""
        output.out().print(f"{channel.name}: {sending.outcome.value}{detail}", markup=False)
    if not good:
        raise RemoteRefusedError("Not every channel took the test.")
