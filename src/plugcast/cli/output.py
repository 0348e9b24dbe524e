"""How verbs speak: one JSON document on stdout for machines, everything else for people; progress on stderr."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_FINDINGS: Final = 3


def emit_json(document: Any) -> None:  # noqa: ANN401 - any JSON document
    """Write one JSON document to stdout; NaN and infinity become null, instants ISO 8601."""
    import msgspec

    encoded = msgspec.json.encode(_finite(msgspec.to_builtins(document, str_keys=True)))
    sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value


def out() -> Console:
    """The console on stdout, for tables and results."""
    from rich.console import Console

    return Console(soft_wrap=True)


def err() -> Console:
    """The console on stderr, for notes and progress."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True)


def progress() -> Progress:
    """A progress bar on stderr that vanishes when done; silent where stderr is not a terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = err()
    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
