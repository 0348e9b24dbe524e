"""What is a session like, measured against what was known of its driver, its station and its site?

One computation serves batch and stream: :func:`session_features` folds :class:`SessionHistory` over a frame.
History is cut by availability: a session is compared with records that were known strictly before the *cut*, which is
the last local midnight before the session's own record (default; a stream partitioned by station can honour it, since
all partitions agree on yesterday) or the record itself. The only exception is ``station_recent_short``, which counts
at one station up to the record, and one station is always in one partition.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import polars as pl

from plugcast.domain.session import Session, UserInput
from plugcast.domain.site import Station
from plugcast.features.session_norms import Record, SiteNorms, Visit
from plugcast.schemas import INSTANT, SESSIONS, USER_INPUTS, conform

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Cut = Literal["local_midnight", "record"]
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SessionFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """One completed session in numbers; NaN = not known. Norms stand beside the z-scores, for the words."""

    session_id: str
    site_id: str
    station_id: str
    user_id: str | None
    observed_at: datetime
    """When the record became known."""
    current_type: str
    """``ac`` or ``dc``: given, or inferred from the station's past power."""

    mean_kw: float
    """Energy over charging time; over connection time where the end of charging is not known."""
    kw_conn: float
    """Energy over connection time."""
    energy_kwh: float
    duration_h: float
    charging_h: float
    """Plug-in to end of charging, at most the connection time."""
    idle_h: float
    idle_frac: float
    done_missing: float
    """1 where the car never reported the end of charging, else 0."""
    requested_kwh: float
    """The FIRST declaration of the driver; amendments do not count."""
    fulfilment: float
    """Delivered over first requested."""
    overstay_h: float
    """Departure less first declared departure; negative = left early."""
    arrival_hour: float
    """Local hour of day, 0 to 24."""
    hour_sin: float
    hour_cos: float
    weekend: float
    done_after_departure_min: float
    done_after_arrival_min: float

    rating_kw: float
    """The station's: given, else the 98 % quantile of its past mean power, else of its kind at the site."""
    rating_share: float
    """Mean power over rating."""
    conn_share: float
    """Energy over what the rating could deliver in the whole stay."""
    station_visits: float
    station_done_share: float
    """Share of its past sessions that reported the end of charging."""
    station_recent_short: float
    """Sessions under 10 minutes that ended here in the hour before this record."""
    station_repeats: float
    """Records of this station in the 30 days before with the same energy and, to the second, the same stay."""
    station_mean_kw_median: float
    station_mean_kw_z: float
    user_visits: float
    user_done_share: float
    done_surprise: float
    """Where no end of charging was reported: the share of cases in which this station reports one, or, if less, in
    which the site did of late; 0 where it was reported, and where nobody expects it (DC chargers, a lost link)."""
    user_kw_over_top: float
    """Mean power over the 90 % quantile of the driver's past; NaN before four visits."""
    user_kw_over_low: float
    """Mean power over the 10 % quantile of the driver's past; NaN before four visits."""
    user_mean_kw_median: float
    user_mean_kw_z: float
    user_energy_kwh_median: float
    user_energy_kwh_z: float
    user_duration_h_median: float
    user_duration_h_z: float
    user_arrival_hour_median: float
    user_arrival_hour_z: float
    early_stop: float
    """Share of the driver's usual energy that is missing, times the share of the stay that the car stood idle: near 1
    for a car that stopped early and stood, 0 for one that took its usual energy or was still charging."""
    user_charging_h_median: float
    user_charging_h_z: float
    user_fulfilment_median: float
    user_fulfilment_z: float
    site_visits: float
    """Past sessions of the same current type at the site: the pooled norm that small histories lean on."""
    site_done_share: float
    """Of its last 30 sessions of this current type: near 0 while the reports of the whole site are lost."""
    site_mean_kw_median: float
    site_energy_kwh_median: float
    site_duration_h_median: float
    site_arrival_hour_median: float
    site_charging_h_median: float
    site_fulfilment_median: float


SESSION_FEATURES: Final[Mapping[str, pl.DataType]] = {
    "session_id": pl.String(),
    "site_id": pl.String(),
    "station_id": pl.String(),
    "user_id": pl.String(),
    "observed_at": INSTANT,
    "current_type": pl.String(),
} | {name: pl.Float64() for name in SessionFeatures.__struct_fields__[6:]}
"""The frame of :func:`session_features`; a matrix in waiting, so a missing number is NaN."""


class SessionHistory:
    """What has been seen of drivers, stations and sites. A pure function of the records observed and the cut asked for.

    Observing the same session twice changes nothing; the order of observing does not matter. Memory grows by about
    200 bytes a session.

    Args:
        time_zone: For sessions that name no zone, or none that exists.
        cut: Where history ends; see the module.
        stations: What is known of stations beforehand: current type and rating.
    """

    def __init__(
        self, *, time_zone: str = "UTC", cut: Cut = "local_midnight", stations: Iterable[Station] = ()
    ) -> None:
        self.time_zone = time_zone
        self.cut: Cut = cut
        self.stations = tuple(stations)
        self._given = {s.station_id: (s.current_type, s.max_power_kw or math.nan) for s in self.stations}
        self._sites: dict[str, SiteNorms] = {}

    def __len__(self) -> int:
        return sum(len(site.records) for site in self._sites.values())

    def observe(
        self, session: Session, declarations: Sequence[UserInput] = (), *, available_at: datetime | None = None
    ) -> None:
        """Take a completed session's record, known from ``available_at`` (default: its plug-out) on.

        A session that is still running is not history and changes nothing.
        """
        if session.departure_at is None:
            return
        known_at = available_at or session.departure_at
        visit = _visit(_own(session, _first_known(declarations, known_at), self._zone(session)))
        record = Record(
            _us(known_at),
            session.session_id,
            session.station_id,
            session.user_id,
            visit,
            session.done_charging_at is not None,
        )
        self._site(session.site_id).observe(record)

    def features(
        self, session: Session, declarations: Sequence[UserInput] = (), *, available_at: datetime | None = None
    ) -> SessionFeatures:
        """The session against what was known before the cut; the history itself does not change.

        Args:
            session: Completed; of a running one all that needs the plug-out is NaN.
            declarations: The driver's, in any order; those not known by the record's time are not looked at.
            available_at: When the record became known (default: plug-out, else plug-in).
        """
        known_at = available_at or session.departure_at or session.arrival_at
        zone = self._zone(session)
        own = _own(session, _first_known(declarations, known_at), zone)
        cut_at = known_at if self.cut == "record" else _midnight(known_at, zone)
        visit = _visit(own)
        site = self._site(session.site_id)
        current_type, history = site.compare(
            visit, station_id=session.station_id, user_id=session.user_id, cut_us=_us(cut_at), known_us=_us(known_at)
        )
        rating_kw, usual = history["rating_kw"], history["station_done_share"]
        history["conn_share"] = own["kw_conn"] / rating_kw if rating_kw > 0 else math.nan
        usual_kwh, idle_frac = history["user_energy_kwh_median"], own["idle_frac"]
        unmet = max(0.0, 1.0 - own["energy_kwh"] / usual_kwh) if usual_kwh > 0 else math.nan
        history["early_stop"] = unmet * idle_frac
        missing = own["done_missing"] == 1.0
        surprise = min(usual, history["site_done_share"]) if missing else 0.0
        history["done_surprise"] = surprise if surprise == surprise else 0.0  # noqa: PLR0124 - NaN is unequal to itself
        if missing:
            # energy over the whole stay is power only if the car was still charging when it left
            for name in ("user_mean_kw_z", "station_mean_kw_z"):
                history[name] = max(history[name], history[name] * history["done_surprise"])
        return SessionFeatures(
            session_id=session.session_id,
            site_id=session.site_id,
            station_id=session.station_id,
            user_id=session.user_id,
            observed_at=known_at,
            current_type=current_type.value,
            **own,
            **history,
        )

    def to_json(self) -> bytes:
        """The whole state; :meth:`from_json` gives a history that answers the same, bit for bit."""
        document = _Stored(
            time_zone=self.time_zone,
            cut=self.cut,
            stations=self.stations,
            sites={name: list(site.records) for name, site in sorted(self._sites.items())},
        )
        return msgspec.json.encode(document)

    @classmethod
    def from_json(cls, content: bytes) -> SessionHistory:
        """Restore; raises msgspec.DecodeError (a ValueError) on content that is not a history."""
        stored = msgspec.json.decode(content, type=_Stored)
        history = cls(time_zone=stored.time_zone, cut=stored.cut, stations=stored.stations)
        for name, records in stored.sites.items():
            for record in records:
                history._site(name).observe(record)
        return history

    def copy(self) -> SessionHistory:
        """An independent history with the same records."""
        return self.without(frozenset())

    def without(self, session_ids: frozenset[str]) -> SessionHistory:
        """An independent history that never heard of some sessions."""
        twin = SessionHistory(time_zone=self.time_zone, cut=self.cut, stations=self.stations)
        for name, site in self._sites.items():
            for record in site.records:
                if record.session_id not in session_ids:
                    twin._site(name).observe(record)
        return twin

    def _site(self, site_id: str) -> SiteNorms:
        if site_id not in self._sites:
            self._sites[site_id] = SiteNorms(self._given)
        return self._sites[site_id]

    def _zone(self, session: Session) -> ZoneInfo:
        return _zone(session.time_zone) or _zone(self.time_zone) or ZoneInfo("UTC")


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    time_zone: str
    cut: Cut
    stations: tuple[Station, ...]
    sites: dict[str, list[Record]]


def session_features(
    sessions: pl.DataFrame,
    user_inputs: pl.DataFrame,
    *,
    history: SessionHistory | None = None,
    observe: bool = True,
) -> pl.DataFrame:
    """Features of every session (``SESSION_FEATURES``), in the input's order.

    Args:
        sessions: ``schemas.SESSIONS``.
        user_inputs: ``schemas.USER_INPUTS``; declarations of absent sessions are ignored.
        history: What was known before; it is GROWN by the completed sessions given (pass a copy to keep the old one).
        observe: False leaves the history as it is: the sessions are compared with it alone, not with one another.

    Raises:
        MissingColumnsError: A column of the schemas is absent.
    """
    known = history if history is not None else SessionHistory()
    frame = conform(sessions, SESSIONS, source="sessions").select(list(SESSIONS))
    declared = declarations_by_session(user_inputs)
    rows = [(place, available_at, Session(**row)) for place, available_at, row in _rows(frame)]
    rows.sort(key=lambda entry: (entry[1], entry[2].session_id))
    if observe:
        for _, available_at, session in rows:
            known.observe(session, declared.get(session.session_id, ()), available_at=available_at)
    made: list[tuple[object, ...]] = [()] * len(rows)
    for place, available_at, session in rows:
        row = known.features(session, declared.get(session.session_id, ()), available_at=available_at)
        made[place] = msgspec.structs.astuple(row)
    return pl.DataFrame(made, schema=dict(SESSION_FEATURES), orient="row")


def rows_of(features: pl.DataFrame) -> list[SessionFeatures]:
    """The frame's rows as values."""
    return [SessionFeatures(**row) for row in features.select(list(SESSION_FEATURES)).iter_rows(named=True)]


def declarations_by_session(user_inputs: pl.DataFrame) -> dict[str, list[UserInput]]:
    """Each session's declarations, in the frame's order."""
    frame = conform(user_inputs, USER_INPUTS, source="user inputs").select(list(USER_INPUTS))
    grouped: dict[str, list[UserInput]] = {}
    for row in frame.iter_rows(named=True):
        grouped.setdefault(row["session_id"], []).append(UserInput(**row))
    return grouped


def _rows(frame: pl.DataFrame) -> Iterable[tuple[int, datetime, dict[str, Any]]]:
    for place, row in enumerate(frame.iter_rows(named=True)):
        available_at = row.pop("available_at") or row["departure_at"] or row["arrival_at"]
        yield place, available_at, row


def _own(session: Session, declared: UserInput | None, zone: ZoneInfo) -> dict[str, float]:
    """What the record itself says, without any history."""
    arrival_at, departure_at, done_at = session.arrival_at, session.departure_at, session.done_charging_at
    energy = math.nan if session.energy_delivered_kwh is None else session.energy_delivered_kwh
    duration_h = _hours(arrival_at, departure_at)
    until_done_h = _hours(arrival_at, done_at)
    # ACN data often report "done" a minute after the plug-out: charging ends at the plug-out at the latest
    charging_h = min(until_done_h, duration_h) if until_done_h > 0 else math.nan
    idle_h = duration_h - charging_h
    kw_conn = energy / duration_h if duration_h > 0 else math.nan
    local = arrival_at.astimezone(zone)
    hour = local.hour + local.minute / 60 + local.second / 3600
    requested, declared_at = _declared(declared, arrival_at)
    return {
        "mean_kw": energy / charging_h if charging_h > 0 else kw_conn,
        "kw_conn": kw_conn,
        "energy_kwh": energy,
        "duration_h": duration_h,
        "charging_h": charging_h,
        "idle_h": idle_h,
        "idle_frac": idle_h / duration_h if duration_h > 0 else math.nan,
        "done_missing": 1.0 if done_at is None else 0.0,
        "requested_kwh": requested,
        "fulfilment": energy / requested if requested > 0 else math.nan,
        "overstay_h": _hours(declared_at, departure_at),
        "arrival_hour": hour,
        "hour_sin": math.sin(hour * math.tau / 24),
        "hour_cos": math.cos(hour * math.tau / 24),
        "weekend": 1.0 if local.weekday() >= 5 else 0.0,  # noqa: PLR2004 - Saturday is day 5
        "done_after_departure_min": _hours(departure_at, done_at) * 60,
        "done_after_arrival_min": until_done_h * 60,
    }


def _visit(own: Mapping[str, float]) -> Visit:
    return Visit(*(own[name] for name in Visit._fields))


def _declared(declared: UserInput | None, arrival_at: datetime) -> tuple[float, datetime | None]:
    if declared is None:
        return math.nan, None
    requested = math.nan if declared.energy_requested_kwh is None else declared.energy_requested_kwh
    leaves_at = declared.declared_departure_at
    if leaves_at is None and declared.minutes_available is not None:
        leaves_at = arrival_at + timedelta(minutes=declared.minutes_available)
    return requested, leaves_at


def _first_known(declarations: Sequence[UserInput], known_at: datetime) -> UserInput | None:
    known = [entry for entry in declarations if entry.available_at <= known_at]
    return min(known, key=lambda entry: entry.available_at, default=None)


def _hours(start_at: datetime | None, end_at: datetime | None) -> float:
    return math.nan if start_at is None or end_at is None else (end_at - start_at).total_seconds() / 3600


def _us(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


@lru_cache(maxsize=256)
def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _midnight(at: datetime, zone: ZoneInfo) -> datetime:
    local = at.astimezone(zone)
    return datetime(local.year, local.month, local.day, tzinfo=zone).astimezone(UTC)
