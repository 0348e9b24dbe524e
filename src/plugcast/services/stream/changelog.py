"""What a detector has to know to go on where another one stood: entries of the compacted changelog topic.

Each has a key; the last entry of a key holds. They stand in the partition of the station's own messages, so that in
each partition an entry never comes before what it rests on.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from plugcast.anomaly.judgement import Judgement, OpenEpisode
from plugcast.domain.session import Session, UserInput


class Declared(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="declared"):
    """What the driver of a running session declared; its key is dropped when the session ends."""

    session_id: str
    declared: tuple[UserInput, ...]

    @property
    def key(self) -> bytes:
        """By session; a declaration names no site."""
        return f"declared/{self.session_id}".encode()


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ended"):
    """A finished session: one that waits for its day to open, or one that is history."""

    session: Session
    declared: tuple[UserInput, ...]
    known_at: datetime
    """When its record counts as known: later than it says where it came late."""
    detector_version: str | None = None
    """Who judged it; None while it waits."""
    judgement: Judgement | None = None
    """None while it waits, and where the detector was trained with it."""

    @property
    def key(self) -> bytes:
        """By site and session."""
        return f"ended/{self.session.site_id}/{self.session.session_id}".encode()

    @property
    def order(self) -> tuple[datetime, str, str]:
        """In which sessions are judged, as in the batch."""
        return self.known_at, self.session.site_id, self.session.session_id


class StationEpisodes(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="episodes"):
    """The faults of a station that are not over."""

    site_id: str
    station_id: str
    open: tuple[OpenEpisode, ...]

    @property
    def key(self) -> bytes:
        """By station."""
        return f"episodes/{self.site_id}/{self.station_id}".encode()


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"):
    """How far a partition has come in event time."""

    event_at: datetime
    """The latest instant of which a message was seen."""
    judged_until: datetime
    """Every session whose record was known before this stands in the changelog, judged."""

    @property
    def key(self) -> bytes:
        """One to a partition."""
        return b"progress"


class EventsTold(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="events_told"):
    """The sites' events of all local days up to this one are findings already."""

    day: int

    @property
    def key(self) -> bytes:
        """One to a topic: the holder of the first partition tells them."""
        return b"events"


Change = Declared | Ended | StationEpisodes | Progress | EventsTold

_DECODER: Final[msgspec.json.Decoder[Change]] = msgspec.json.Decoder(Change)
_ENCODER: Final = msgspec.json.Encoder()


def encode_change(change: Change) -> bytes:
    """As JSON."""
    return _ENCODER.encode(change)


def decode_change(content: bytes) -> Change:
    """The change in these bytes.

    Raises:
        msgspec.MsgspecError: Another version of the software wrote them.
    """
    return _DECODER.decode(content)
