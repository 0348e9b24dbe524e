"""Which session a meter value belongs to, and what its meter values say of each session."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plugcast.anomaly.budget import Episodes
from plugcast.anomaly.series_findings import series_findings
from plugcast.anomaly.series_norms import SeriesNorms
from plugcast.anomaly.watch import ALARMING
from plugcast.domain.messages import MeterValues
from plugcast.features.series import series_features
from plugcast.schemas import METER_VALUES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    import polars as pl

    from plugcast.domain.finding import Finding
    from plugcast.features.series_values import SeriesFeatures
    from plugcast.features.sessions import SessionFeatures

AFTER: Final = timedelta(hours=1)
"""A station's values so long after a plug-out, if nobody plugs in meanwhile, still tell of that session."""
_NOT_WORD: Final = re.compile(r"[^0-9A-Za-z]+")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Metered:
    """Meter values by session; they stay in their frame until they are asked for."""

    frame: pl.DataFrame
    """``schemas.METER_VALUES``."""
    places: Mapping[str, Sequence[int]]
    """Each session's rows there, in the order in which they came."""
    stays: Mapping[str, tuple[datetime | None, str]]
    """Plug-out and station by session."""
    unmatched: int
    """Values that belong to no session of the file."""
    rejected: int = 0
    features: dict[str, SeriesFeatures] = field(default_factory=dict)
    """What has been folded so far."""

    def series(self, session_id: str) -> SeriesFeatures | None:
        """What a session's meter values say; None where it has none."""
        if session_id not in self.places:
            return None
        if session_id not in self.features:
            self.features[session_id] = series_features(
                session_id, self.values(session_id), departure_at=self.stays[session_id][0]
            )
        return self.features[session_id]

    def values(self, session_id: str) -> list[MeterValues]:
        """A session's meter values."""
        station = self.stays[session_id][1]
        return [
            MeterValues(
                v=1,
                **{
                    **row,
                    "session_id": session_id,
                    "station_id": row["station_id"] or station,
                    "site_id": row["site_id"] or "site",
                },
            )
            for row in self.frame[list(self.places[session_id])].iter_rows(named=True)
        ]

    @property
    def counts(self) -> dict[str, int]:
        """For a report."""
        return {
            "values": sum(map(len, self.places.values())),
            "sessions": len(self.places),
            "unmatched": self.unmatched,
            "rejected": self.rejected,
        }

    def findings(self, rows: Iterable[SessionFeatures], *, reported: Collection[str]) -> tuple[Finding, ...]:
        """What meter values say of some sessions; each station's are looked at in the order of its records.

        The same fault at the same station again belongs to the episode of the first, as with the watch's own.

        Args:
            rows: All sessions: those not reported on are the past of the others.
            reported: Ids of those reported on.
        """
        norms, episodes = SeriesNorms(), Episodes()
        made: list[Finding] = []
        for row in sorted(rows, key=lambda row: (row.observed_at, row.site_id, row.session_id)):
            series = self.series(row.session_id)
            if series is None:
                continue
            told = series_findings(row, series, norms)
            if row.session_id not in reported:
                continue
            alarms = [(found.finding_id, found.cause.value) for found in told if found.severity in ALARMING]
            station = row.site_id, row.station_id
            first = episodes.step(station, row.observed_at.toordinal(), found=alarms, cleared=not alarms)
            made += [msgspec.structs.replace(found, episode_id=first.get(found.finding_id)) for found in told]
        return tuple(made)


def join_meter(sessions: pl.DataFrame, values: pl.DataFrame, *, rejected: int = 0) -> Metered:
    """Give each value to its session.

    By the session's key or native name, however its signs are written (``2_39_78_362_2018-04-25 11:08:04.400812`` and
    ``2-39-78-362-2018-04-25T11-08-04-400812`` are one); where a value names none, by station and instant.

    Args:
        sessions: ``schemas.SESSIONS``.
        values: ``schemas.METER_VALUES``, in the order in which they came.
        rejected: Values that were refused when reading.
    """
    names, stays, known = _lookup(sessions)
    found: defaultdict[str, list[int]] = defaultdict(list)
    unmatched = 0
    wanted = ("session_id", "station_id", "measured_at")
    for place, (named, station, at) in enumerate(values.select(wanted).iter_rows()):
        session_id = _at(stays.get(station or "", []), at) if named is None else _key(names, named)
        if session_id is None:
            unmatched += 1
        else:
            found[session_id].append(place)
    return Metered(
        frame=values.select(list(METER_VALUES)),
        places=dict(found),
        stays=known,
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


def _key(names: dict[str, str], named: str) -> str | None:
    """The key of a name; what was looked up once is looked up no more."""
    if named not in names and (key := names.get(_bare(named))) is not None:
        names[named] = key
    return names.get(named)


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
