"""What detectors and the replay write to topics: versioned messages, each number bounded, beside ``messages``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Self

import msgspec
from msgspec import Meta, Struct

from plugcast.domain.finding import Cause, Finding, Reason, Severity
from plugcast.domain.messages import Id, Instant, Version
from plugcast.domain.rejected import Rejected, RejectReason

if TYPE_CHECKING:
    from datetime import datetime

MAX_RAW_BYTES: Final = 1_024
"""Of a refused message, that a dead letter keeps."""
MAX_TEXT_CHARS: Final = 2_000
MAX_REASONS: Final = 64

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Percent = Annotated[float, Meta(ge=0.0, le=100.0)]
Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]
Place = Annotated[int, Meta(ge=0)]
FindingId = Annotated[str, Meta(min_length=1, max_length=64)]


class ReasonGiven(Struct, frozen=True, kw_only=True):
    """One contribution to a finding, in the operator's words; see ``domain.finding.Reason``."""

    feature: Id
    text: Text
    contribution: float
    value: float | None = None
    norm: float | None = None
    cause: Cause | None = None


class FindingRaised(Struct, frozen=True, kw_only=True, tag_field="type", tag="finding"):
    """A session that breaks a rule or that a model finds odd, or an event of a site; see ``domain.finding.Finding``."""

    v: Version
    finding_id: FindingId
    session_id: Id
    site_id: Id
    station_id: Annotated[str, Meta(max_length=128)]
    """Empty for an event of the site."""
    user_id: Id | None
    observed_at: Instant
    score: Share
    p_value: Share | None
    cause: Cause
    severity: Severity
    by: Id
    reasons: Annotated[tuple[ReasonGiven, ...], Meta(min_length=1, max_length=MAX_REASONS)]
    episode_id: FindingId | None = None

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """A finding as a message; numbers that JSON cannot say are missing."""
        reasons = tuple(
            ReasonGiven(**_fields(msgspec.structs.replace(reason, text=reason.text[:MAX_TEXT_CHARS])))
            for reason in finding.reasons[:MAX_REASONS]
        )
        return cls(v=1, **_fields(finding) | {"reasons": reasons})

    def finding(self) -> Finding:
        """The finding in it."""
        own = _fields(self)
        del own["v"]
        return Finding(**own | {"reasons": tuple(Reason(**_fields(reason)) for reason in self.reasons)})


def _fields(value: Struct) -> dict[str, Any]:
    """What a struct's fields hold, by name; those of what it holds stay as they are."""
    return {name: getattr(value, name) for name in value.__struct_fields__}


class SessionScored(Struct, frozen=True, kw_only=True, tag_field="type", tag="score"):
    """How odd a finished session is; each session that a detector judges gets exactly one."""

    v: Version
    session_id: Id
    site_id: Id
    station_id: Id
    observed_at: Instant
    score: Share | None
    """In [0, 1), higher is odder; None where no model could say."""
    p_value: Share | None
    """The one that the day's level of alarm was held against."""
    by: Id | None
    """Of the session's first finding; None where there is none."""
    detector_version: Id


class ForecastIssued(Struct, frozen=True, kw_only=True, gc=False, tag_field="type", tag="forecast"):
    """Plug state and need of a vehicle at ``valid_at``, from what was known with its sample of ``issued_at``."""

    v: Version
    asset_id: Id
    issued_at: Instant
    valid_at: Instant
    plug_probability: Share
    energy_to_full_pct: Percent | None
    """Expected 100 - state of charge; None where the sample has no state of charge."""
    unlike: Share | None
    """How unlike anything in training the input is: 0.5 is ordinary, HIGHER is odder; None where nobody can say."""
    model: Id
    """Which models said so."""


class DeadLetter(Struct, frozen=True, kw_only=True, tag_field="type", tag="dead_letter"):
    """A message that was not taken, where it stood, and why."""

    v: Version
    topic: Id
    partition: Place
    offset: Place
    appended_at: Instant
    reason: RejectReason
    detail: Text
    size: Place
    """Bytes of the whole message."""
    raw: Annotated[bytes, Meta(max_length=MAX_RAW_BYTES)]
    """Its beginning; base64 in JSON."""

    @classmethod
    def of(cls, rejected: Rejected, content: bytes, *, topic: str, partition: int, offset: int, at: datetime) -> Self:
        """A rejection with its place and the beginning of what it was."""
        return cls(
            v=1,
            topic=topic,
            partition=partition,
            offset=offset,
            appended_at=at,
            reason=rejected.reason,
            detail=rejected.detail[:MAX_TEXT_CHARS],
            size=len(content),
            raw=content[:MAX_RAW_BYTES],
        )


class FaultInjected(Struct, frozen=True, kw_only=True, tag_field="type", tag="truth"):
    """The ground truth of a replayed session that a fault was put into."""

    v: Version
    session_id: Id
    site_id: Id
    station_id: Id
    known_at: Instant
    """When the session's record is known."""
    fault: Id
    cause: Cause
    severity: Severity
    ocpp_code: Id | None = None
    """What OCPP would call it."""


Outgoing = FindingRaised | SessionScored | ForecastIssued | DeadLetter | FaultInjected
"""Everything that a detector or a replay writes besides what stations say."""

_DECODER: Final[msgspec.json.Decoder[Outgoing]] = msgspec.json.Decoder(Outgoing)
_ENCODER: Final = msgspec.json.Encoder()


def encode_outgoing(message: Outgoing) -> bytes:
    """As JSON."""
    return _ENCODER.encode(message)


def decode_finding(content: bytes) -> FindingRaised | None:
    """The finding in these bytes; None where there is none that this version knows."""
    try:
        message = decode_outgoing(content)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return message if isinstance(message, FindingRaised) else None


def decode_outgoing(content: bytes) -> Outgoing:
    """The message in these bytes.

    Raises:
        msgspec.MsgspecError: It is none, or breaks a bound.
    """
    return _DECODER.decode(content)
