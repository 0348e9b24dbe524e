"""What people are told of: findings of one kind at one place, and the notifications that say so."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from plugcast.domain.finding import Cause, Severity


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Findings of one cause at one station, or at many stations of a site at once."""

    alert_id: str
    site_id: str
    station_id: str
    """Empty for a site as a whole."""
    cause: Cause
    severity: Severity
    """The highest of its findings."""
    first_at: datetime
    last_at: datetime
    """Of its latest finding, by when the session's record became known."""
    count: int
    """Findings so far."""
    finding_id: str
    """The latest finding, by its time and then its id."""
    reasons: tuple[str, ...]
    """Of that finding, in words with numbers, most important first."""
    session_id: str = ""
    stations: tuple[str, ...] = ()
    """Of an outage: all that take part."""


class Why(StrEnum):
    """Why a notification is sent."""

    NEW = "new"
    REPEAT = "repeat"
    """It goes on, and nobody was told for the repeat interval."""


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One telling of an alert; sent twice it has the same id."""

    notification_id: str
    alert: Alert
    why: Why
    made_at: datetime
