"""Which session a meter value belongs to, and what its meter values say of each session."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plugcast.anomaly.series_findings import series_findings
from plugcast.domain.messages import MeterValues
from plugcast.features.series import series_features
from plugcast.schemas import METER_VALUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    import polars as pl

    from plugcast.domain.finding import Finding
    from plugcast.features.series_values import SeriesFeatures
    from plugcast.features.sessions import SessionFeatures

AFTER: Final = timedelta(hours=1)
"""A station's values so long after a plug-out, if nobody plugs in meanwhile, still tell of that session."""
_NOT_WORD: Final = re.compile(r"[^0-9A-Za-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """Meter values by session."""

    values: Mapping[str, Sequence[MeterValues]]
    """In the order in which they came."""
    departure_at: Mapping[str, datetime | None]
    unmatched: int
    """Values that belong to no session of the file."""
    rejected: int = 0
    features: dict[str, SeriesFeatures] = field(default_factory=dict)
    """What has been folded so far."""

    def series(self, session_id: str) -> SeriesFeatures | None:
        """What a session's meter values say; None where it has none."""
        if session_id not in self.values:
            return None
        if session_id not in self.features:
            self.features[session_id] = series_features(
                session_id, self.values[session_id], departure_at=self.departure_at[session_id]
            )
        return self.features[session_id]

    @property
    def counts(self) -> dict[str, int]:
        """For a report."""
        return {
            "values": sum(map(len, self.values.values())),
            "sessions": len(self.values),
            "unmatched": self.unmatched,
            "rejected": self.rejected,
        }

    def findings(self, rows: Iterable[SessionFeatures]) -> tuple[Finding, ...]:
        """Of those sessions that have meter values."""
        return tuple(
            found
            for row in rows
            if (series := self.series(row.session_id)) is not None
            for found in series_findings(row, series)
        )


def join_meter(sessions: pl.DataFrame, values: pl.DataFrame, *, rejected: int = 0) -> Metered:
    """Give each value to its session.

    By the session's key or native name, however its signs are written (``2_39_78_362_2018-04-25 11:08:04.400812`` and
    ``2-39-78-362-2018-04-25T11-08-04-400812`` are one); where a value names none, by station and instant.

    Args:
        sessions: ``schemas.SESSIONS``.
        values: ``schemas.METER_VALUES``, in the order in which they came.
        rejected: Values that were refused when reading.
    """
    names, stays, departure = _lookup(sessions)
    found: defaultdict[str, list[MeterValues]] = defaultdict(list)
    unmatched = 0
    for row in values.select(list(METER_VALUES)).iter_rows(named=True):
        named = row["session_id"]
        if named is not None:
            session_id = names.get(named) or names.get(_bare(named))
        else:
            session_id = _at(stays.get(row["station_id"] or "", []), row["measured_at"])
        if session_id is None:
            unmatched += 1
            continue
        station_id = row["station_id"] or departure[session_id][1]
        told = {**row, "session_id": session_id, "station_id": station_id, "site_id": row["site_id"] or "site"}
        found[session_id].append(MeterValues(v=1, **told))
    return Metered(
        values=dict(found),
        departure_at={name: left for name, (left, _) in departure.items()},
        unmatched=unmatched,
        rejected=rejected,
    )


def _lookup(
    sessions: pl.DataFrame,
) -> tuple[dict[str, str], dict[str, list[tuple[datetime, datetime, str]]], dict[str, tuple[datetime | None, str]]]:
    """Names to keys; stays by station; plug-outs and stations by key."""
    names: dict[str, str] = {}
    stays: defaultdict[str, list[tuple[datetime, datetime, str]]] = defaultdict(list)
    departure: dict[str, tuple[datetime | None, str]] = {}
    wanted = ("session_id", "native_session_id", "station_id", "arrival_at", "departure_at")
    for key, native, station, arrival, left in sessions.select(wanted).iter_rows():
        for name in (key, native):
            if name:
                names.setdefault(name, key)
                names.setdefault(_bare(name), key)
        departure[key] = left, station
        stays[station].append((arrival, left or arrival + timedelta(days=366), key))
    return names, {station: sorted(own) for station, own in stays.items()}, departure


def _at(stays: Sequence[tuple[Any, Any, str]], at: datetime) -> str | None:
    """The session there at an instant, or the one that has left last."""
    place = bisect_right(stays, at, key=lambda stay: stay[0]) - 1
    if place < 0:
        return None
    _, left, key = stays[place]
    return key if at <= left + AFTER else None


def _bare(name: str) -> str:
    """Letters and digits, with one dash between them, as file names have it; a date's T is a separator there."""
    return _NOT_WORD.sub("-", re.sub(r"(?<=\d)T(?=\d)", "-", name)).strip("-").replace("_", "-")
