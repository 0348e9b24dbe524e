"""A file of sessions as the messages that stations would have sent, in the order of their event times."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl
from msgspec import structs

from plugcast.domain.messages import Heartbeat, Message, SessionEnded, SessionStarted, SessionUpdated, Telemetry
from plugcast.domain.session import Session
from plugcast.domain.topics import station_key
from plugcast.domain.wire import encode
from plugcast.features.sessions import declarations_by_session
from plugcast.ports import Entry
from plugcast.schemas import SESSIONS, TELEMETRY, conform

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plugcast.services.meter_join import Metered

HEARTBEAT_EVERY: Final = timedelta(hours=1)
REPLAY_STATION: Final = "replay"
"""Who sends heartbeats that keep every partition's time moving."""


class Timed(NamedTuple):
    """A message, when it is sent, and its key; a heartbeat goes to every partition and has none."""

    at: datetime
    key: bytes | None
    message: Message


def messages_of(sessions: pl.DataFrame, user_inputs: pl.DataFrame, metered: Metered | None = None) -> Iterator[Timed]:
    """All messages of these sessions, in order: session_started, session_updated, session_ended, and heartbeats.

    A finished session is told when its record became known; a meter value when it was measured, or after the one
    before it, if that came late. An hourly heartbeat moves every partition on, and one last
    heartbeat ends the last record's day: two days later, since nobody here knows where midnight is.

    Args:
        sessions: ``schemas.SESSIONS``.
        user_inputs: ``schemas.USER_INPUTS``.
        metered: Meter values of the sessions, where there are any.
    """
    told = sorted(_told(sessions, user_inputs, metered), key=lambda timed: timed[:2])
    if not told:
        return
    site = next(iter(sessions["site_id"]))
    beat = told[0].at
    for timed in told:
        while beat <= timed.at:
            yield Timed(beat, None, Heartbeat(v=1, site_id=site, station_id=REPLAY_STATION, sent_at=beat))
            beat += HEARTBEAT_EVERY
        yield timed
    end = told[-1].at + timedelta(days=2)
    yield Timed(end, None, Heartbeat(v=1, site_id=site, station_id=REPLAY_STATION, sent_at=end))


def telemetry_messages(samples: pl.DataFrame) -> Iterator[Timed]:
    """Samples as their vehicles would have sent them: when each became known, as the batch takes them.

    Args:
        samples: ``schemas.TELEMETRY``.
    """
    ordered = samples.select(list(TELEMETRY)).sort("available_at", "timestamp", maintain_order=True)
    for row in ordered.with_columns(pl.col(pl.Float64).fill_nan(None)).iter_rows(named=True):
        yield Timed(row.pop("available_at"), row["asset_id"].encode(), Telemetry(v=1, **row))


def entries_of(messages: Iterable[Timed], partitions: int) -> Iterator[Entry]:
    """What is appended to the topic: each message by its key, a heartbeat once in every partition."""
    for timed in messages:
        content = encode(timed.message)
        if timed.key is not None:
            yield Entry(timed.key, content)
        else:
            for part in range(partitions):
                yield Entry(b"heartbeat", content, part)


def _told(sessions: pl.DataFrame, user_inputs: pl.DataFrame, metered: Metered | None) -> Iterator[Timed]:
    declared = declarations_by_session(user_inputs)
    frame = conform(sessions, SESSIONS, source="sessions").select(list(SESSIONS)).sort("session_id")
    for row in frame.iter_rows(named=True):
        available_at = row.pop("available_at")
        session = Session(**row)
        key = station_key(session.site_id, session.station_id)
        yield Timed(session.arrival_at, key, SessionStarted.of(session))
        ended = None if session.departure_at is None else SessionEnded.of(session, available_at=available_at)
        for said in declared.get(session.session_id, ()):
            if ended is None or said.available_at <= ended.known_at:
                yield Timed(max(said.available_at, session.arrival_at), key, SessionUpdated.of(said))
        if metered is not None:
            yield from _measured(session, key, metered)
        if ended is not None:
            yield Timed(ended.known_at, key, ended)


def _measured(session: Session, key: bytes, metered: Metered) -> Iterator[Timed]:
    """A session's meter values in the order in which they came."""
    if session.session_id not in metered.places:
        return
    at = session.arrival_at
    for values in metered.values(session.session_id):
        at = max(at, values.measured_at)
        yield Timed(at, key, structs.replace(values, site_id=session.site_id, station_id=session.station_id))
