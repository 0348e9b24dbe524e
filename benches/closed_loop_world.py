"""The world of the closed-loop bench: real sessions, a real price year, a PV array, and what was known of each when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from benches import data_folder
from benches.session_sets import ZONE

from plugcast.forecast.sessions import Lessons
from plugcast.forecast.sessions_fit import MEDIAN, QUANTILES, EnsembleSpec
from plugcast.forecast.sessions_roll import Refit, adapt, roll
from plugcast.schedule.problem import site_window
from plugcast.simulate.risk import masses, spread
from plugcast.simulate.site import Car, Expectation, PlugIn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benches.session_sets import Site

    from plugcast.schedule.problem import FloatArray, SiteWindow

SLOT: Final = timedelta(minutes=15)
HORIZON: Final = 192
RATING_KW: Final = 6.656
"""32 A at 208 V."""
LONGEST_H: Final = 30.0
FEED_IN_SHARE: Final = 0.5
"""What a kWh fed in earns of its price."""
PV_KW: Final = {"caltech": 60.0, "jpl": 110.0}
LEARN_FROM: Final = datetime(2018, 9, 1, tzinfo=UTC)
DEPARTURES: Final = 12
"""Points that stand for the distribution of a departure."""
PUBLISHED_HOUR: Final = 13
"""Local hour from which the next day's prices are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One site over a span; cars that come in it are driven until the last has left."""

    name: str
    cars: tuple[Car, ...]
    window: SiteWindow
    slots: int
    forecast: Mapping[str, Expectation]
    """Ours: medians, with the whole distribution."""
    declared: Mapping[str, Expectation]
    """The driver's first declaration; ours where there is none."""
    told: float
    """Share of cars whose driver declared in time."""

    def as_declared(self, plug_in: PlugIn, now: datetime) -> Expectation:
        """A forecaster that trusts drivers."""
        del now
        return self.declared[plug_in.session_id]

    def as_forecast(self, plug_in: PlugIn, now: datetime) -> Expectation:
        """Ours."""
        del now
        return self.forecast[plug_in.session_id]

    def half_declared(self, plug_in: PlugIn, now: datetime) -> Expectation:
        """Departure as declared, energy as we forecast it."""
        del now
        ours = self.forecast[plug_in.session_id]
        return Expectation(departure_at=self.declared[plug_in.session_id].departure_at, energy_kwh=ours.energy_kwh)

    def as_it_is(self, plug_in: PlugIn, now: datetime) -> Expectation:
        """The truth."""
        del now
        return self._truth()[plug_in.session_id]

    def _truth(self) -> dict[str, Expectation]:
        return {
            car.session_id: Expectation(departure_at=car.departure_at, energy_kwh=car.energy_kwh) for car in self.cars
        }


def quantiles(
    sites: Sequence[Site], refits_at: Sequence[datetime], until: datetime, *, small: bool = False
) -> list[dict[str, FloatArray]]:
    """By site: stay and energy quantiles of every session, [rows of the book, 7], as issued then; NaN elsewhere."""
    until_us, first_us = (
        int(until.timestamp() * 1e6),
        int((refits_at[0] - timedelta(days=28) if small else LEARN_FROM).timestamp() * 1e6),
    )
    lessons = [
        Lessons.of(
            site.book,
            np.flatnonzero(
                (site.book.arrival_us >= first_us) & (site.book.arrival_us < until_us) & (site.book.stay_h > 0)
            ),
            going=False,
        )
        for site in sites
    ]
    refits = [Refit(at_us=int(at.timestamp() * 1e6)) for at in refits_at]
    spec = EnsembleSpec(rounds=8, seeds=1, thresholds=2) if small else EnsembleSpec(seeds=1)
    plugged, _ = roll(lessons, refits, until_us, spec)
    made = []
    for site, part, raw in zip(sites, lessons, plugged, strict=True):
        whole = {}
        for quantity, found in (("stay", raw.stay_h), ("energy", raw.energy_kwh)):
            every = np.full((site.book.rows, found.shape[1]), np.nan)
            matrix = np.full((site.book.rows, part.matrix.shape[1]), np.nan, np.float32)
            every[part.row], matrix[part.row] = found, part.matrix
            whole[quantity] = adapt(site.book, matrix, every, "stay" if quantity == "stay" else "energy")
        made.append(whole)
    return made


def world(
    site: Site, found: Mapping[str, FloatArray], begin: datetime, days: int, *, limit_kw: float | None = None
) -> World:
    """Sessions that arrive in ``days`` from ``begin`` on; stays beyond 30 hours and direct current are left out."""
    book = site.book
    begin_us, end_us = (int(at.timestamp() * 1e6) for at in (begin, begin + timedelta(days=days)))
    chosen = np.flatnonzero(
        (book.arrival_us >= begin_us)
        & (book.arrival_us < end_us)
        & (book.stay_h <= LONGEST_H)
        & (book.energy_kwh > 0)
        & ~site.dc
        & ~np.isnan(found["stay"][:, 0])
    )
    stations = dict(site.sessions.select("session_id", "station_id").iter_rows())
    cars, ours, told = [], {}, {}
    for row in chosen.tolist():
        name = book.session_id[row]
        arrival = datetime.fromtimestamp(book.arrival_us[row] / 1e6, UTC)
        cars.append(
            Car(
                session_id=name,
                station_id=stations[name],
                arrival_at=arrival,
                departure_at=arrival + timedelta(hours=float(book.stay_h[row])),
                energy_kwh=float(book.energy_kwh[row]),
                max_power_kw=RATING_KW,
            )
        )
        ours[name] = _expected(arrival, found["stay"][row], found["energy"][row])
        said_h, said_kwh = float(book.declared_h[row]), float(book.declared_kwh[row])
        told[name] = Expectation(
            departure_at=ours[name].departure_at if np.isnan(said_h) else arrival + timedelta(hours=max(said_h, 0.25)),
            energy_kwh=ours[name].energy_kwh if not said_kwh > 0 else said_kwh,
        )
    slots = int(np.ceil((max(car.departure_at for car in cars) - begin) / SLOT)) + 1
    return World(
        name=site.name,
        cars=tuple(cars),
        window=site_of(site.name, begin, slots + HORIZON, limit_kw if limit_kw is not None else np.inf),
        slots=slots,
        forecast=ours,
        declared=told,
        told=float((~np.isnan(book.declared_h[chosen])).mean()),
    )


def _expected(arrival: datetime, stay_h: FloatArray, energy_kwh: FloatArray) -> Expectation:
    stays = spread(QUANTILES, stay_h.tolist(), DEPARTURES)
    return Expectation(
        departure_at=arrival + timedelta(hours=float(stay_h[MEDIAN])),
        energy_kwh=float(energy_kwh[MEDIAN]),
        departures=tuple((arrival + timedelta(hours=hours), chance) for hours, chance in stays),
        energies=masses(QUANTILES, energy_kwh.tolist()),
    )


def site_of(name: str, begin: datetime, slots: int, limit_kw: float) -> SiteWindow:
    """Dutch day-ahead prices of 2019 laid over California's clock, EUR per kWh, and the array at JPL."""
    hours = np.arange(slots) * 0.25
    local = [(begin + timedelta(hours=float(hour))).astimezone(ZoneInfo(ZONE)).replace(tzinfo=None) for hour in hours]
    folder = data_folder.needed()
    raw = pl.read_parquet(folder / "nl_day_ahead_price_hourly.parquet")
    price = dict(zip(raw["Datetime (Local)"].to_list(), raw["Price (EUR/MWhe)"].to_list(), strict=True))
    row, last = [], 0.0
    for at in local:
        last = price.get(f"{at:%Y-%m-%d %H}:00:00", last)  # the hour that summer time skips
        row.append(last / 1000.0)
    sun = pl.read_parquet(folder / "jpl_pv_220kwdc_30min.parquet")["Array DC power | (kW)"].to_numpy()
    half = [((at - datetime(at.year, 1, 1)) // timedelta(minutes=30)) % len(sun) for at in local]  # noqa: DTZ001 - a clock on a wall
    paid = np.array(row)
    return site_window(
        start_at=begin,
        price_per_kwh=paid,
        feed_in_per_kwh=FEED_IN_SHARE * np.maximum(paid, 0.0),
        pv_kw=np.maximum(sun[half], 0.0) * PV_KW[name] / 220.0,
        limit_kw=limit_kw,
        time_zone=ZONE,
    )


class Known:
    """Prices as published, later hours as on the last day known; the sun as on the mean of the last seven days."""

    def __init__(self, name: str, whole: SiteWindow) -> None:
        self.start = whole.start_at - timedelta(days=7)
        before = site_of(name, self.start, 672, np.inf)
        self.pv = np.concatenate([before.pv_kw, whole.pv_kw])

    def __call__(self, now: datetime, ahead: SiteWindow) -> SiteWindow:
        """The window as it was known at ``now``."""
        local = now.astimezone(ZoneInfo(ahead.time_zone))
        days = 2 if local.hour >= PUBLISHED_HOUR else 1
        midnight = (local + timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
        published = int((midnight.astimezone(UTC) - now) / SLOT)
        count = min(ahead.slots, HORIZON)
        cut = ahead.part(0, count)
        price = cut.price_per_kwh.copy()
        for slot in range(published, count):
            price[slot] = price[slot - 96] if slot >= 96 else price[slot % max(published, 1)]  # noqa: PLR2004 - a day
        here = int((now - self.start) / SLOT)
        week = self.pv[here - 672 : here].reshape(7, 96).mean(axis=0)
        pv = np.tile(week, -(-count // 96))[:count].copy()
        pv[0] = cut.pv_kw[0]
        return replace(cut, price_per_kwh=price, feed_in_per_kwh=FEED_IN_SHARE * np.maximum(price, 0.0), pv_kw=pv)
