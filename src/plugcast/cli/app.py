"""The ``plugcast`` command: collects the verbs and turns errors into messages and exit codes."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Final

import typer

from plugcast import __version__
from plugcast.cli.output import EXIT_FAILED
from plugcast.errors import PlugcastError
from plugcast.services.threads import pin

VERBS: Final = (
    "demo",
    "generate",
    "train",
    "predict",
    "forecast",
    "backtest",
    "plan",
    "detect",
    "replay",
    "serve",
    "tail",
    "listen",
    "alerts",
    "read",
    "fetch",
    "model",
    "doctor",
)
"""In the order of the help; each is a module of this package with ``register(app)``."""

app = typer.Typer(
    name="plugcast",
    help="Forecast plug-in and energy need, plan charging, explain odd sessions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"plugcast {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Forecast plug-in and energy need, plan charging, explain odd sessions."""


for _verb in VERBS:
    import_module(f"plugcast.cli.{_verb}").register(app)


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 failed, 2 usage, 3 findings."""
    pin()
    try:
        app()
    except PlugcastError as error:
        sys.stderr.write(f"plugcast: {error}\n")
        raise SystemExit(EXIT_FAILED) from None
    except BrokenPipeError:
        # the reader (head, less) went away; there is nobody left to tell
        sys.stderr.close()
        raise SystemExit(EXIT_FAILED) from None
    except KeyboardInterrupt:
        sys.stderr.write("plugcast: stopped.\n")
        raise SystemExit(130) from None
