"""Messages to bytes and back: what a topic holds becomes a message or a ``Rejected`` with its reason, never a crash.

JSON unless a topic is agreed to be MessagePack. Decoding checks, in this order: size, form, version, types and bounds,
then every instant against the clock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, get_args, get_type_hints

import msgspec

from plugcast.domain.messages import Message, SessionEnded, SessionStarted
from plugcast.domain.rejected import RAW_LIMIT, Rejected, RejectReason
from plugcast.domain.zones import known_zone

MAX_MESSAGE_BYTES: Final = 65_536
EARLIEST_SENT_AT: Final = datetime(2010, 1, 1, tzinfo=UTC)
"""No station has sent messages before; 1970 is a clock that was never set."""
CLOCK_SLACK: Final = timedelta(days=1)
"""How far a station's clock may run ahead of ours."""
DECLARED_AHEAD: Final = timedelta(days=366)
"""How far ahead of now a driver may declare the departure: a plan, not a clock."""


class Coding(StrEnum):
    """How a topic writes its messages; one topic, one coding."""

    JSON = "json"
    MSGPACK = "msgpack"


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The version alone, to tell another version from a malformed message."""

    v: int = 1


_ENCODERS: Final[dict[Coding, msgspec.json.Encoder | msgspec.msgpack.Encoder]] = {
    Coding.JSON: msgspec.json.Encoder(),
    Coding.MSGPACK: msgspec.msgpack.Encoder(),
}
_DECODERS: Final[dict[Coding, msgspec.json.Decoder[Message] | msgspec.msgpack.Decoder[Message]]] = {
    Coding.JSON: msgspec.json.Decoder(Message),
    Coding.MSGPACK: msgspec.msgpack.Decoder(Message),
}
_ENVELOPES: Final[dict[Coding, msgspec.json.Decoder[_Envelope] | msgspec.msgpack.Decoder[_Envelope]]] = {
    Coding.JSON: msgspec.json.Decoder(_Envelope),
    Coding.MSGPACK: msgspec.msgpack.Decoder(_Envelope),
}
_BAD_BYTES: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
_INSTANTS: Final = {
    kind: tuple(name for name, hint in get_type_hints(kind).items() if datetime in (hint, *get_args(hint)))
    for kind in get_args(Message)
}
_REASONS: Final = (
    (re.compile(r"of length (<=|<)"), RejectReason.TOO_LONG),
    (re.compile(r"missing required field|of length (>=|>)|got `null` - at"), RejectReason.MISSING_VALUE),
    (re.compile(r"Expected `(float|int)` (<=|>=|<|>)|out of range"), RejectReason.OUT_OF_RANGE),
    (re.compile(r"datetime"), RejectReason.BAD_TIME),
    (re.compile(r"Expected `float"), RejectReason.NOT_A_NUMBER),
)
"""What a failed check says, to the closed list; anything else is a message that cannot be understood."""


def encode(message: Message, *, coding: Coding = Coding.JSON) -> bytes:
    """A message as bytes. Bounds are the reader's business: what breaks them is written, and rejected by ``decode``."""
    return _ENCODERS[coding].encode(message)


def decode(content: bytes, *, now: datetime, source: str, row: int, coding: Coding = Coding.JSON) -> Message | Rejected:
    """The message in these bytes, its instants in UTC, or why it is not taken.

    Args:
        content: What the topic held.
        now: The reader's clock, UTC-aware: instants lie in [2010-01-01, now + 1 day].
        source: Where it came from (topic and partition), for the rejection.
        row: Its place there, from 1 (an offset + 1).
        coding: How the topic is written.
    """
    found = _decoded(content, now, coding)
    if isinstance(found, tuple):
        reason, detail = found
        raw = content[: 4 * RAW_LIMIT].decode("utf-8", "replace")[:RAW_LIMIT]
        return Rejected(source=source, row=row, reason=reason, detail=detail, raw=raw)
    return found


def _decoded(content: bytes, now: datetime, coding: Coding) -> Message | tuple[RejectReason, str]:
    if len(content) > MAX_MESSAGE_BYTES:
        return RejectReason.TOO_LONG, f"wanted at most {MAX_MESSAGE_BYTES:,} bytes, found {len(content):,}."
    try:
        message = _DECODERS[coding].decode(content)
    except msgspec.ValidationError as error:
        return _refusal(content, coding, str(error))
    except _BAD_BYTES as error:
        return RejectReason.UNDECODABLE, f"wanted one message as {coding}, found: {str(error)[:RAW_LIMIT]}."
    if isinstance(message, SessionStarted | SessionEnded) and not known_zone(message.time_zone):
        return RejectReason.BAD_TIME, f"time_zone: wanted one like 'America/Los_Angeles', found {message.time_zone!r}."
    return _timed(message, now)


def _refusal(content: bytes, coding: Coding, said: str) -> tuple[RejectReason, str]:
    """The reason for a message that is well-formed and fails a check; another version's fields are not looked at."""
    try:
        version = _ENVELOPES[coding].decode(content).v
    except _BAD_BYTES:
        version = 1
    if version != 1:
        return RejectReason.WRONG_VERSION, f"v: wanted 1, found {version}. Upgrade the reader, or the sender."
    reason = next((reason for pattern, reason in _REASONS if pattern.search(said)), RejectReason.UNDECODABLE)
    return reason, f"wanted a message of version 1, found: {said[:RAW_LIMIT]}."


def _timed(message: Message, now: datetime) -> Message | tuple[RejectReason, str]:
    """The message with its instants checked against the clock and turned to UTC."""
    latest = now + CLOCK_SLACK
    moved: dict[str, datetime] = {}
    for name in _INSTANTS[type(message)]:
        at: datetime | None = getattr(message, name)
        if at is None:
            continue
        last = now + DECLARED_AHEAD if name == "declared_departure_at" else latest
        if not EARLIEST_SENT_AT <= at <= last:
            wanted = f"{name}: wanted an instant from {EARLIEST_SENT_AT:%Y-%m-%d} to {last:%Y-%m-%d %H:%M} UTC"
            return RejectReason.TIME_OUT_OF_RANGE, f"{wanted}, found {at.isoformat()}."
        if at.tzinfo is not UTC:
            moved[name] = at.astimezone(UTC)
    if isinstance(message, SessionEnded) and message.departure_at < message.arrival_at:
        wanted = f"departure_at: wanted an instant after arrival_at {message.arrival_at.isoformat()}"
        return RejectReason.END_BEFORE_START, f"{wanted}, found {message.departure_at.isoformat()}."
    return msgspec.structs.replace(message, **moved) if moved else message
