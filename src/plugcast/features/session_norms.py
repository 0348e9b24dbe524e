"""Norms of one site's drivers, stations and current types, as they stood at a cut."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from plugcast.domain.site import CurrentType
from plugcast.features.clock import ClockSample, clock_gap
from plugcast.features.order import MAD_TO_SIGMA, Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

DC_ABOVE_KW: Final = 22.0
"""AC posts end at 32 A on three phases; mean power above that over a session is direct current."""
SHRINK_VISITS: Final = 5
"""A history of n visits weighs n / (n + 5); the site's pooled norm weighs the rest."""
RATING_QUANTILE: Final = 0.98
"""High enough to be near what the station can do, low enough that one wrong clock in fifty cannot set it."""
RATING_VISITS: Final = 200
"""Below this many past sessions a station's rating is at least its kind's: it may not have met a strong car yet."""
TYPE_VISITS: Final = 3
"""Below this many a station's kind is what it shows now, and it has no rating at all: it may be of a new kind."""
SHORT_H: Final = 10 / 60
RECENT_US: Final = 3_600_000_000
REPEAT_US: Final = 30 * 24 * 3_600_000_000
"""A station that repeats itself does so soon."""
USER_VISITS: Final = 60
STATION_VISITS: Final = 400
POOL_VISITS: Final = 4000
"""Norms are of the newest so many: drivers change cars, sites change their ways."""
RECENT_VISITS: Final = 30
"""The site's last records, which tell whether ends of charging are being reported at all these days."""
RANGE_VISITS: Final = 4
"""Below this many visits a driver has no range, only a norm."""
LEAST_SPREAD: Final = 0.05
"""Share of the norm that the spread is never below: a driver of constant habits is not odd for a change of 1 %."""
NOON_H: Final = 12.0
"""Hours of the day have no size of their own: their spread is never below the same share of half a day."""


class Visit(NamedTuple):
    """The quantities that have norms."""

    mean_kw: float | None
    energy_kwh: float | None
    duration_h: float | None
    arrival_hour: float | None
    charging_h: float | None = None
    fulfilment: float | None = None


class Record(NamedTuple):
    """One completed session as history keeps it; sorts by availability, then id."""

    available_us: int
    session_id: str
    station_id: str
    user_id: str | None
    visit: Visit
    done: bool


class _Group:
    """Samples of the quantities for a driver, a station or a current type."""

    __slots__ = ("done", "power", "recent_done", "samples", "visits")

    def __init__(self, limit: int) -> None:
        self.power = Sample(limit)
        further = (Sample(limit), Sample(limit), ClockSample(), Sample(limit), Sample(limit))
        self.samples: tuple[Sample | ClockSample, ...] = (self.power, *further)
        """In the order of ``Visit``."""
        self.visits = 0
        self.done = 0
        self.recent_done: deque[bool] = deque(maxlen=RECENT_VISITS)

    def add(self, record: Record) -> None:
        self.visits += 1
        self.done += record.done
        self.recent_done.append(record.done)
        for sample, value in zip(self.samples, record.visit, strict=True):
            if value is not None:
                sample.add(value)

    @property
    def done_share(self) -> float:
        return self.done / self.visits if self.visits else math.nan

    @property
    def recent_done_share(self) -> float:
        return sum(self.recent_done) / len(self.recent_done) if self.recent_done else math.nan


_NOBODY: Final = _Group(1)


class SiteNorms:
    """All records of one site, and the norms folded up to the last cut asked for.

    Cuts that move forward cost only what is new; a cut that moves back folds again from the start.

    Args:
        given: Current type and rating (kW, NaN = not known) of stations described beforehand.
    """

    def __init__(self, given: Mapping[str, tuple[CurrentType, float]]) -> None:
        self.records: list[Record] = []
        self._given = given
        self._ids: set[str] = set()
        self._short: dict[str, list[int]] = {}
        self._exact: dict[tuple[str, float, float], list[int]] = {}
        self._forget()

    def observe(self, record: Record) -> None:
        """Keep a record, once."""
        if record.session_id in self._ids:
            return
        self._ids.add(record.session_id)
        if not self.records or record[:2] > self.records[-1][:2]:
            self.records.append(record)
        else:
            place = bisect_left(self.records, record[:2])
            self.records.insert(place, record)
            if place < self._folded:
                self._forget()
        duration_h = record.visit.duration_h
        if duration_h is not None and duration_h < SHORT_H:
            insort(self._short.setdefault(record.station_id, []), record.available_us)
        if (key := _exactly(record.station_id, record.visit)) is not None:
            insort(self._exact.setdefault(key, []), record.available_us)

    def compare(
        self, visit: Visit, *, station_id: str, user_id: str | None, cut_us: int, known_us: int
    ) -> tuple[CurrentType, dict[str, float]]:
        """Current type of the station, and the visit against the norms of records known strictly before the cut."""
        self._fold(cut_us)
        mean_kw = math.nan if visit.mean_kw is None else visit.mean_kw
        kind = self._kind(station_id, mean_kw)
        pool = self._pools.get(kind, _NOBODY)
        station = self._stations.get(station_id, _NOBODY)
        user = self._users.get((user_id, kind), _NOBODY) if user_id is not None else _NOBODY
        rating_kw = self._rating(station_id, station, pool)
        short = self._short.get(station_id, [])
        key = _exactly(station_id, visit)
        exact = self._exact.get(key, []) if key is not None else []
        known_kw = user.power
        row = {
            "rating_kw": rating_kw,
            "rating_share": mean_kw / rating_kw if rating_kw > 0 else math.nan,
            "station_visits": float(station.visits),
            "station_done_share": station.done_share,
            "station_recent_short": float(bisect_left(short, known_us) - bisect_left(short, known_us - RECENT_US)),
            "station_repeats": float(bisect_left(exact, known_us) - bisect_left(exact, known_us - REPEAT_US)),
            "station_mean_kw_median": station.power.median,
            "station_mean_kw_z": _shrunken_z(mean_kw, station.power, pool.power),
            "user_visits": float(user.visits),
            "user_done_share": user.done_share,
            "user_kw_over_top": _share(mean_kw, known_kw, 0.9),
            "user_kw_over_low": _share(mean_kw, known_kw, 0.1),
            "site_visits": float(pool.visits),
            "site_done_share": pool.recent_done_share,
        }
        for place, (name, value) in enumerate(zip(Visit._fields, visit, strict=True)):
            own, pooled = user.samples[place], pool.samples[place]
            row[f"user_{name}_median"] = own.median
            row[f"site_{name}_median"] = pooled.median
            row[f"user_{name}_z"] = _shrunken_z(math.nan if value is None else value, own, pooled)
        return kind, row

    def _forget(self) -> None:
        self._folded = 0
        self._pools: dict[CurrentType, _Group] = {}
        self._stations: dict[str, _Group] = {}
        self._users: dict[tuple[str | None, CurrentType], _Group] = {}

    def _fold(self, cut_us: int) -> None:
        target = bisect_left(self.records, (cut_us,))
        if target < self._folded:
            self._forget()
        for record in self.records[self._folded : target]:
            mean_kw = record.visit.mean_kw
            # asked before the record joins: what it is pooled under depends only on what came before it
            kind = self._kind(record.station_id, math.nan if mean_kw is None else mean_kw)
            self._pools.setdefault(kind, _Group(POOL_VISITS)).add(record)
            self._stations.setdefault(record.station_id, _Group(STATION_VISITS)).add(record)
            if record.user_id is not None:
                self._users.setdefault((record.user_id, kind), _Group(USER_VISITS)).add(record)
        self._folded = target

    def _kind(self, station_id: str, mean_kw: float) -> CurrentType:
        """Given, else the upper quartile of past power; a station (almost) without a past is what it shows now."""
        if station_id in self._given:
            return self._given[station_id][0]
        past = self._stations.get(station_id, _NOBODY).power
        power_kw = past.quantile(0.75) if len(past) >= TYPE_VISITS else mean_kw
        return CurrentType.DC if power_kw > DC_ABOVE_KW else CurrentType.AC

    def _rating(self, station_id: str, station: _Group, pool: _Group) -> float:
        given = self._given.get(station_id)
        if given is not None and given[1] > 0:
            return given[1]
        if station.visits < TYPE_VISITS:
            return math.nan
        own_kw = station.power.quantile(RATING_QUANTILE)
        return own_kw if station.visits >= RATING_VISITS else max(own_kw, pool.power.quantile(RATING_QUANTILE))


def _exactly(station_id: str, visit: Visit) -> tuple[str, float, float] | None:
    """What two records of one station share by accident next to never: energy to the mWh and stay to the second.

    None where the stay is in whole minutes: such a source rounds, and its records meet by accident.
    """
    energy, duration_h = visit.energy_kwh, visit.duration_h
    if energy is None or duration_h is None or not energy > 0 or not duration_h > 0:
        return None
    seconds = round(duration_h * 3600)
    return None if seconds % 60 == 0 else (station_id, round(energy, 6), float(seconds))


def _share(value: float, sample: Sample, quantile: float) -> float:
    """The value over a quantile of the driver's; NaN where there is no range to speak of."""
    if len(sample) < RANGE_VISITS:
        return math.nan
    reach = sample.quantile(quantile)
    return value / reach if reach > 0 else math.nan


def _shrunken_z(value: float, own: Sample | ClockSample, pooled: Sample | ClockSample) -> float:
    """Robust z-score: distance to the median in units of spread, both leaning on the pooled norm while visits are few.

    NaN without any pooled history. Hours of the day are compared the short way round.
    """
    if not len(pooled):
        return math.nan
    clock = isinstance(pooled, ClockSample)
    centre, spread = pooled.median, pooled.mad
    if len(own):
        weight = len(own) / (len(own) + SHRINK_VISITS)
        centre += weight * (clock_gap(own.median, centre) if clock else own.median - centre)
        spread = weight * own.mad + (1 - weight) * spread
    gap = clock_gap(value, centre) if clock else value - centre
    return gap / max(MAD_TO_SIGMA * spread, LEAST_SPREAD * (NOON_H if clock else abs(centre)), 1e-3)
