"""Meter values of many stations as they come: one fold for each running session, findings when a session is judged.

For a stream, one desk for each partition (stations keep to theirs). It comes to what a file of the same values comes to
if they arrive in the file's order and a session is judged an hour after its plug-out, or when the next car comes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from plugcast.anomaly.series_findings import series_findings
from plugcast.anomaly.series_norms import SeriesNorms, StationPast
from plugcast.features.series import SeriesFold, SeriesState

if TYPE_CHECKING:
    from plugcast.domain.finding import Finding
    from plugcast.domain.messages import MeterValues
    from plugcast.features.sessions import SessionFeatures

AFTER: Final = timedelta(hours=1)
"""A station's values so long after a plug-out, if nobody plugs in meanwhile, still tell of that session."""
MOST_OPEN: Final = 10_000
"""Sessions folded at once; of more, the ones begun first are let go."""


class Open(msgspec.Struct):
    """A session that has not been judged."""

    station: tuple[str, str]
    arrival_at: datetime
    state: SeriesState
    departure_at: datetime | None = None


class _Stored(msgspec.Struct):
    open: dict[str, Open]
    pasts: dict[str, StationPast]
    unmatched: int
    dropped: int


class SeriesDesk:
    """Takes messages in the order of a partition."""

    def __init__(self) -> None:
        self.unmatched = 0
        """Values that belonged to no session."""
        self.dropped = 0
        """Sessions let go for want of room."""
        self._open: dict[str, Open] = {}
        self._at: dict[tuple[str, str], str] = {}
        self._norms = SeriesNorms()

    def begin(self, session_id: str, *, site_id: str, station_id: str, arrival_at: datetime) -> None:
        """A car was plugged in; telling it twice changes nothing."""
        if session_id in self._open:
            return
        station = site_id, station_id
        state = SeriesState(session_id=session_id)
        self._open[session_id] = Open(station=station, arrival_at=arrival_at, state=state)
        self._at[station] = session_id
        while len(self._open) > MOST_OPEN:
            self._let_go(next(iter(self._open)))
            self.dropped += 1

    def take(self, values: MeterValues) -> None:
        """One sample: of the session it names, else of the one at its station."""
        name = values.session_id or self._at.get((values.site_id, values.station_id))
        found = None if name is None else self._open.get(name)
        if found is None or (values.session_id is None and not _within(found, values.measured_at)):
            self.unmatched += 1
            return
        fold = SeriesFold(found.state.session_id, found.state)
        if found.departure_at is not None:
            fold.end(found.departure_at)
        fold.push(values)

    def end(self, session_id: str, departure_at: datetime) -> None:
        """The car was unplugged: what comes now tells what flows without it."""
        if (found := self._open.get(session_id)) is not None:
            found.departure_at = departure_at
            SeriesFold(session_id, found.state).end(departure_at)

    def judge(self, row: SessionFeatures) -> tuple[Finding, ...]:
        """What the session's meter values prove; call it once, in the order of the station's records."""
        found = self._let_go(row.session_id)
        if found is None or not found.state.samples:
            return ()
        return series_findings(row, SeriesFold(row.session_id, found.state).features(), self._norms)

    def to_bytes(self) -> bytes:
        """All of it; :meth:`from_bytes` gives it back to the last bit."""
        stored = _Stored(open=self._open, pasts=self._norms.stations, unmatched=self.unmatched, dropped=self.dropped)
        return msgspec.msgpack.encode(stored)

    @classmethod
    def from_bytes(cls, content: bytes) -> SeriesDesk:
        """Restore; raises msgspec.DecodeError (a ValueError) on content that is no such state."""
        stored = msgspec.msgpack.decode(content, type=_Stored)
        made = cls()
        made._open, made._norms = stored.open, SeriesNorms(stored.pasts)
        made._at = {found.station: name for name, found in stored.open.items()}
        made.unmatched, made.dropped = stored.unmatched, stored.dropped
        return made

    def _let_go(self, session_id: str) -> Open | None:
        found = self._open.pop(session_id, None)
        if found is not None and self._at.get(found.station) == session_id:
            del self._at[found.station]
        return found


def _within(found: Open, at: datetime) -> bool:
    return at >= found.arrival_at and (found.departure_at is None or at <= found.departure_at + AFTER)
