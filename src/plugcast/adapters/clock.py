"""The real clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime


class SystemClock:
    """A ``ports.Clock`` of this machine; a step back of the system's time is held, not followed."""

    def __init__(self) -> None:
        self._latest = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """The current instant, UTC-aware, never before one that was given out."""
        self._latest = max(self._latest, datetime.now(UTC))
        return self._latest

    async def sleep(self, seconds: float) -> None:
        """Wait; zero and less only lets others run."""
        await asyncio.sleep(max(0.0, seconds))
