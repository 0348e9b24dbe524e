"""What several verbs ask for alike: settings, a telemetry file, and a place for rejected rows."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from plugcast.errors import UnreadableInputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plugcast.config import Settings
    from plugcast.domain.rejected import Rejected
    from plugcast.ports import TelemetryRead

DEFAULT_TELEMETRY: Final = Path("synthetic_ev_data.csv")
DEFAULT_MODELS: Final = Path("models")

TelemetryOption = Annotated[
    Path,
    typer.Option("--telemetry", "-t", help="Telemetry as CSV or Parquet (asset_id, timestamp, soc, is_plugged_in)."),
]
ModelsOption = Annotated[Path, typer.Option("--models", "-m", help="Folder of the models.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; plugcast.toml here, if there is one.", show_default=False),
]
TimeZoneOption = Annotated[
    str | None,
    typer.Option("--time-zone", help="Local zone of the site, e.g. Europe/Oslo. [default: UTC, or the settings']"),
]
LogOption = Annotated[
    str | None,
    typer.Option(
        "--log", help="File of a journal, or kafka://HOST:PORT. [default: plugcast.journal, or the settings']"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]


def command(verb: str, *, telemetry: Path, models: Path) -> str:
    """What to type next, with the options that are not the defaults."""
    words = ["plugcast", verb]
    for option, value, usual in (("--telemetry", telemetry, DEFAULT_TELEMETRY), ("--models", models, DEFAULT_MODELS)):
        if value != usual:
            words += [option, str(value)]
    return shlex.join(words)


def settings_for(config: Path | None, time_zone: str | None) -> Settings:
    """The settings tree, with the zone of the command line if one was given."""
    from plugcast import config as tree

    loaded = tree.load(config)
    if time_zone is None:
        return loaded
    site = tree.SiteSettings.model_validate({**loaded.site.model_dump(), "time_zone": _zone(time_zone)})
    return loaded.model_copy(update={"site": site})


def _zone(name: str) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise typer.BadParameter(f"{name!r} is no time zone; write one like 'Europe/Oslo'.") from error
    return name


def read_telemetry(path: Path, settings: Settings) -> TelemetryRead:
    """Read a telemetry file.

    Raises:
        UnreadableInputError: There is none; the message says how to get one.
    """
    if not path.exists():
        raise UnreadableInputError(
            f"{path} was not found. Generate telemetry with: plugcast generate --out {path}   "
            "or name your own with: --telemetry FILE"
        )
    from plugcast.services.sources import open_telemetry, require_rows

    read = open_telemetry(path, now=datetime.now(UTC), time_zone=settings.site.time_zone).read()
    require_rows(read, source=path.name)
    return read


def keep_rejected(rejected: Iterable[Rejected], path: Path) -> str | None:
    """Write rejected rows with their reasons beside the output; a sentence about it, or None if there were none."""
    rows = list(rejected)
    if not rows:
        return None
    from plugcast.adapters.files import RejectFile

    path.unlink(missing_ok=True)
    RejectFile(path).keep(rows)
    return f"{len(rows):,} row(s) were not used; each is in {path} with its reason."


def threads_for(settings: Settings, wanted: int | None) -> int:
    """Threads to train with: the option, else the settings, else what the machine's CPU quota allows."""
    from plugcast.services.threads import cpu_quota

    return wanted or settings.threads or cpu_quota()
