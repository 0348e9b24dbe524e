"""Pauses between tries: longer after each failure in a row, up to a bound, and no two services in step."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Final

FIRST_S: Final = 0.4


def pause_s(failures: int, *, most_s: float, first_s: float = FIRST_S) -> float:
    """How long to wait after so many failures in a row, in seconds.

    Args:
        failures: At least one.
        most_s: The bound.
        first_s: After the first failure; each further one doubles it.
    """
    jitter = random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
    return min(most_s, first_s * 2.0 ** min(failures - 1, 20)) * jitter


async def rest(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until told to stop."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
