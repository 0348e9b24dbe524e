"""Telling people: a channel that sends, and says what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from plugcast.domain.alert import Notification


class Outcome(StrEnum):
    """What became of a sending."""

    SENT = "sent"
    TEMPORARY = "temporary"
    """Not now: try again."""
    PERMANENT = "permanent"
    """Never: the address, the message or our credentials are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """The outcome, with its reason for whoever reads the log."""

    outcome: Outcome
    detail: str = ""
    retry_after_s: float | None = None
    """What the other side asked for."""


@runtime_checkable
class Channel(Protocol):
    """Sends notifications. Sent twice, one carries the same id: whoever receives it can tell."""

    @property
    def name(self) -> str:
        """For logs and the outbox; stable."""
        ...

    async def send(self, notification: Notification) -> Sending:
        """Send one; failures are outcomes, never exceptions."""
        ...
