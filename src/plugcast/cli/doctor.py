"""``plugcast doctor``: is this machine fit, and what to do where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plugcast.cli.output import EXIT_FAILED, emit_json, out

if TYPE_CHECKING:
    from plugcast.services.diagnose import Check


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor")(doctor)


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the table.")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", help="The settings file to check; plugcast.toml here by default.")
    ] = None,
) -> None:
    """Check this machine and say what to do about each fault.

    Looks at Python, packages, native libraries, settings and the port. Warnings and absent optional parts are fine
    (exit 0); something that Plugcast needs and that does not work is a failure (exit 1).
    """
    from plugcast import __version__
    from plugcast.services.diagnose import CheckStatus, diagnose
    from plugcast.services.threads import cpu_quota

    checks = diagnose(settings_path=config)
    broken = sum(check.status is CheckStatus.BROKEN for check in checks)
    if as_json:
        emit_json({"ok": not broken, "version": __version__, "threads": cpu_quota(), "checks": checks})
    else:
        _show(checks, broken)
    if broken:
        raise typer.Exit(EXIT_FAILED)


def _show(checks: tuple[Check, ...], broken: int) -> None:
    from rich.text import Text

    styles = {"ok": "green", "note": "dim", "warning": "yellow", "broken": "bold red"}
    name_width = max(len(check.name) for check in checks)
    console = out()
    for check in checks:
        line = Text.assemble(
            (f"{check.status:<8}", styles[check.status]), f" {check.name:<{name_width}}  {check.found}"
        )
        console.print(line)
        if check.action:
            console.print(Text(f"{'':<{name_width + 9}}  -> {check.action}"))
    console.print(f"{broken} of {len(checks)} checks failed." if broken else "Fit to run.")
