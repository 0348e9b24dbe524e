"""What looks wrong, why, and who has to know."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec


class Severity(StrEnum):
    """How much it matters to the operator."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Its place among all, the most severe first: 0 is critical."""
        return _RANK[self]


_RANK: Final = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


class Cause(StrEnum):
    """What a finding is about; rules name the fault, models name the direction in which a session is odd."""

    FAILED_START = "failed_start"
    DERATING = "derating"
    EARLY_STOP = "early_stop"
    STUCK_ON = "stuck_on"
    METER_FAULT = "meter_fault"
    GHOST_SESSION = "ghost_session"
    OVERSTAY = "overstay"
    UNUSUAL_ENERGY = "unusual_energy"
    CLOCK_FAULT = "clock_fault"
    OVER_RATING = "over_rating"
    NEVER_DONE = "never_done"
    UNUSUAL_USE = "unusual_use"
    TOKEN_MISUSE = "token_misuse"  # noqa: S105 - a charge card, not a secret
    CHATTER = "chatter"
    PHASE_LOSS = "phase_loss"
    REPLAY = "replay"
    SITE_EVENT = "site_event"


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One contribution to a finding, in the operator's words."""

    feature: str
    """The feature or rule."""
    text: str
    """A sentence with numbers: the value, and the norm that it departs from."""
    contribution: float
    """Share of the score, signed; positive makes the session odder. A rule's is its full score of 1."""
    value: float | None = None
    norm: float | None = None
    cause: Cause | None = None
    """The fault that this sentence speaks for; None where it points to none."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One session that breaks a rule or that the model finds odd."""

    finding_id: str
    """Stable: the same session and detector version give the same id."""
    session_id: str
    site_id: str
    station_id: str
    user_id: str | None
    observed_at: datetime
    """When the session's record became known."""
    score: float
    """0 (ordinary) to 1 (odd); higher is odder."""
    p_value: float | None
    """Conformal p-value of the model's score among past sessions of the same kind; None for rules."""
    cause: Cause
    severity: Severity
    by: str
    """``rule:<name>`` or ``model:<name>``."""
    reasons: tuple[Reason, ...]
    """Most important first; never empty."""
    episode_id: str | None = None
    """The first finding of the same cause at this station since it was last ordinary; None where nobody keeps count."""
