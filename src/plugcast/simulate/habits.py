"""Who drives: a vehicle with its person's habits, and the legs that this person drives on each day.

Hours are of the local day; a leg's times are local minutes after the first day's midnight. Every number that differs
between people is drawn once for a vehicle; every day then scatters around it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from plugcast.simulate import calibration as cal

if TYPE_CHECKING:
    import numpy as np

_DAY_MIN: Final = 1440.0
_FRIDAY: Final = 4
_SATURDAY: Final = 5


class Place(StrEnum):
    """Where a vehicle stands."""

    HOME = "home"
    WORK = "work"
    DEPOT = "depot"
    PUBLIC = "public"


class Person(StrEnum):
    """What kind of habit a vehicle follows."""

    HOME = "home"
    """Charges at home, mostly from the evening to the morning."""
    WORK = "work"
    """Charges at the workplace only."""
    MIXED = "mixed"
    """Charges at home and at work."""
    FLEET = "fleet"
    """Works by day, charges at the depot by night."""
    OCCASIONAL = "occasional"
    """Drives irregularly, charges at public posts and now and then from a socket at home."""


SHARES: Final = {
    Person.HOME: 0.42,
    Person.WORK: 0.22,
    Person.MIXED: 0.14,
    Person.FLEET: 0.10,
    Person.OCCASIONAL: 0.12,
}


class Vehicle(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle and the habits of its person; hours are local."""

    asset_id: str
    person: Person
    capacity_kwh: float
    efficiency: float
    """Share of AC energy at the plug that reaches the battery."""
    ac_kw: dict[Place, float]
    """Power on AC by place; a place that is absent offers no plug."""
    dc_kw: float
    limit_pct: float
    """The driver's own charge limit on AC."""
    drift_pct_per_day: float
    timer_h: float | None
    """Hour from which a vehicle at home begins to charge; None: at once."""
    leave_h: float
    leave_spread_h: float
    arrive_h: float
    arrive_spread_h: float
    work_leave_h: float
    work_leave_spread_h: float
    return_h: float
    return_spread_h: float
    work_rate: float
    """Probability that a weekday is a day at work."""
    errand_rate: float
    """Probability of going out again in the evening."""
    free_outings: float
    """Mean number of outings on a day off."""
    commute_kwh: float
    """Energy of one way to work; of half a shift for a fleet vehicle."""
    errand_kwh: float
    eagerness: float
    """Log-odds of plugging in at 60 % state of charge."""
    slope_per_pct: float
    """Rise of these log-odds per % of charge that is missing."""
    early_rate: float
    """Probability of unplugging well before driving off."""


class Leg(NamedTuple):
    """A drive: when it starts (minutes), how long it takes, what it uses and where it ends."""

    start_min: float
    drive_min: float
    use_kwh: float
    place: Place
    outing: int
    """Legs of one outing share this number; an outing begins and ends at the base."""


def draw_vehicle(asset_id: str, rng: np.random.Generator) -> Vehicle:
    """A vehicle with habits, drawn from the calibrated tables."""
    person = list(SHARES)[int(rng.choice(len(SHARES), p=list(SHARES.values())))]
    capacity = round(cal.draw(cal.CAPACITY_KWH, rng), 1)
    kwh_per_km = rng.uniform(0.15, 0.22)
    fleet = person is Person.FLEET
    late = person in (Person.WORK, Person.MIXED) and cal.chance(cal.LATE_SHARE, rng)
    arrive = cal.draw(cal.WORK_LATE_ARRIVE_H if late else cal.WORK_ARRIVE_H, rng)
    work_leave = cal.draw(cal.WORK_LATE_LEAVE_H if late else cal.WORK_LEAVE_H, rng)
    one_way_km = 7.0 if person is Person.WORK else 12.0
    commute_kwh = kwh_per_km * (rng.uniform(35.0, 80.0) if fleet else min(60.0, one_way_km * rng.lognormal(0.0, 0.7)))
    return Vehicle(
        asset_id=asset_id,
        person=person,
        capacity_kwh=capacity,
        efficiency=round(rng.uniform(cal.AC_EFFICIENCY - 0.03, cal.AC_EFFICIENCY + 0.03), 3),
        ac_kw=_draw_plugs(person, rng),
        dc_kw=50.0 if cal.chance(0.4, rng) else rng.uniform(75.0, 150.0),
        limit_pct=100.0 if fleet else float(rng.choice((80.0, 90.0, 100.0), p=(0.25, 0.2, 0.55))),
        drift_pct_per_day=rng.uniform(0.1, 1.0),
        timer_h=rng.uniform(21.5, 25.0) if person in (Person.HOME, Person.MIXED) and cal.chance(0.15, rng) else None,
        leave_h=rng.normal(6.3, 0.4) if fleet else cal.draw(cal.HOME_LEAVE_H, rng),
        leave_spread_h=cal.draw(cal.HOME_LEAVE_SPREAD_H, rng),
        arrive_h=arrive,
        arrive_spread_h=cal.draw(cal.WORK_ARRIVE_SPREAD_H, rng) * (3.0 if late else 1.0),
        work_leave_h=max(work_leave, arrive + 1.0),
        work_leave_spread_h=cal.draw(cal.WORK_LEAVE_SPREAD_H, rng),
        return_h=rng.normal(16.8, 0.7) if fleet else cal.draw(cal.HOME_RETURN_H, rng) - cal.HOME_RETURN_LEAD_H,
        return_spread_h=rng.uniform(0.2, 0.6) if fleet else min(2.0, 0.75 * rng.lognormal(0.0, 0.45)),
        work_rate=_draw_work_rate(person, rng),
        errand_rate=0.0 if fleet else rng.beta(1.4, 3.8),
        free_outings=0.3 if fleet else rng.uniform(1.1, 2.5),
        commute_kwh=commute_kwh,
        errand_kwh=kwh_per_km * 9.5 * rng.lognormal(0.0, 0.5),
        eagerness=_draw_eagerness(person, rng),
        slope_per_pct=rng.uniform(0.02, 0.07),
        early_rate=rng.beta(0.8, 7.0) if person is Person.HOME else rng.beta(1.0, 9.0),
    )


def _draw_plugs(person: Person, rng: np.random.Generator) -> dict[Place, float]:
    """AC power by place, kW; a person without a plug at a place has no entry."""
    home = float(rng.choice((2.3, 3.6, 7.2, 11.0), p=(0.15, 0.4, 0.3, 0.15)))
    work = float(rng.choice((3.3, 6.2, 6.6, 11.0), p=(0.3, 0.3, 0.3, 0.1)))
    public = float(rng.choice((3.7, 7.4, 11.0), p=(0.2, 0.4, 0.4)))
    match person:
        case Person.HOME:
            return {Place.HOME: home}
        case Person.WORK:
            return {Place.WORK: work}
        case Person.MIXED:
            return {Place.HOME: home, Place.WORK: work}
        case Person.FLEET:
            return {Place.DEPOT: float(rng.choice((7.4, 11.0)))}
        case Person.OCCASIONAL:
            socket = {Place.HOME: float(rng.choice((1.9, 2.3)))} if cal.chance(0.5, rng) else {}
            return socket | {Place.PUBLIC: public}


def _draw_work_rate(person: Person, rng: np.random.Generator) -> float:
    match person:
        case Person.FLEET:
            return rng.uniform(0.9, 0.99)
        case Person.OCCASIONAL:
            return rng.uniform(0.0, 0.25)
        case Person.HOME:
            return rng.beta(6.0, 1.8)
        case _:
            return rng.beta(6.0, 1.5)


def _draw_eagerness(person: Person, rng: np.random.Generator) -> float:
    match person:
        case Person.FLEET:
            return rng.uniform(3.0, 5.0)
        case Person.OCCASIONAL:
            return rng.normal(-1.5, 0.7)
        case Person.HOME:
            return rng.normal(0.7, 1.7)
        case Person.WORK | Person.MIXED:
            return rng.normal(1.2, 1.3)


def plan_legs(
    vehicle: Vehicle, rng: np.random.Generator, *, first_weekday: int, first_day: int, days: int
) -> list[Leg]:
    """The legs of some days, in order and without overlap.

    Args:
        vehicle: Whose habits.
        rng: The source of chance.
        first_weekday: Of local day 0; Monday is 0.
        first_day: The local day to begin with; negative days warm the simulation up.
        days: How many days to plan.
    """
    day_plan = _Planner(vehicle, rng)
    off_until = first_day
    for day in range(first_day, first_day + days):
        weekday = (first_weekday + day) % 7
        if day < off_until:
            continue
        if cal.chance(0.008, rng):  # ill, or away without the car
            off_until = day + int(rng.integers(1, 5))
            continue
        friday = 0.85 if weekday == _FRIDAY else 1.0  # fewer come in, as in ACN-Data
        weekend_shift = 0.25 if vehicle.person is Person.FLEET and weekday == _SATURDAY else 0.0
        if cal.chance(vehicle.work_rate * friday if weekday < _SATURDAY else weekend_shift, rng):
            day_plan.work(day)
        else:
            day_plan.leisure(day, weekend=weekday >= _SATURDAY)
    return day_plan.legs


class _Planner:
    """Appends legs to a list so that none begins before the one before it has ended."""

    def __init__(self, vehicle: Vehicle, rng: np.random.Generator) -> None:
        self.legs: list[Leg] = []
        self._vehicle = vehicle
        self._rng = rng
        self._free_min = -1e9
        self._outing = 0

    def work(self, day: int) -> None:
        """A shift of a fleet vehicle, or a day at work with perhaps an errand in the evening."""
        person = self._vehicle.person
        if person is Person.FLEET:
            self._shift(day)
            return
        if person in (Person.WORK, Person.MIXED):
            self._workplace_day(day)
        else:
            self._commute_day(day)
        if cal.chance(self._vehicle.errand_rate, self._rng):
            start = max(self._free_min, day * _DAY_MIN + 17.0 * 60) + self._rng.uniform(30.0, 210.0)
            if start < day * _DAY_MIN + 21.5 * 60:
                self._errand(start, self._rng.uniform(0.5, 3.0) * 60)

    def leisure(self, day: int, *, weekend: bool) -> None:
        """A day off: some outings, seldom a long trip."""
        rng, vehicle = self._rng, self._vehicle
        if weekend and cal.chance(0.12 if vehicle.person is Person.OCCASIONAL else 0.05, rng):
            self._trip(day)
            return
        for _ in range(int(rng.poisson(vehicle.free_outings))):
            start = day * _DAY_MIN + 60 * rng.triangular(7.5, 10.5, 20.0)
            start = max(start, self._free_min + rng.uniform(15.0, 120.0))
            if start < day * _DAY_MIN + 21.0 * 60:
                self._errand(start, 60 * min(7.0, 1.9 * rng.lognormal(0.0, 0.7)))

    def _scatter(self, mean_h: float, spread_h: float) -> float:
        """An hour around a habit; one day in twelve is quite different."""
        odd = 3.0 if cal.chance(1 / 12, self._rng) else 1.0
        return mean_h + min(5.0, max(-5.0, odd * max(0.08, spread_h) * self._rng.normal()))

    def _round_trip(self, start: float, *, back: float, kwh: float, place: Place) -> None:
        """Out and back: leaves at ``start``, is at the base again at ``back`` (minutes)."""
        drive = 4.0 + 2.6 * kwh / 0.18 * self._rng.uniform(0.5, 0.8)
        start = max(start, self._free_min + 6.0)
        back = max(back, start + 2 * drive + 10.0)
        base = Place.DEPOT if self._vehicle.person is Person.FLEET else Place.HOME
        self._outing += 1
        for at, end in ((start, place), (back - drive, base)):
            self.legs.append(Leg(at, drive, kwh * self._rng.uniform(0.88, 1.15), end, self._outing))
        self._free_min = back

    def _shift(self, day: int) -> None:
        vehicle = self._vehicle
        start = day * _DAY_MIN + 60 * self._scatter(vehicle.leave_h, vehicle.leave_spread_h)
        back = day * _DAY_MIN + 60 * self._scatter(vehicle.return_h, vehicle.return_spread_h)
        self._round_trip(start, back=back, kwh=vehicle.commute_kwh, place=Place.PUBLIC)

    def _commute_day(self, day: int) -> None:
        vehicle = self._vehicle
        start = day * _DAY_MIN + 60 * self._scatter(vehicle.leave_h, vehicle.leave_spread_h)
        back = day * _DAY_MIN + 60 * self._scatter(vehicle.return_h, vehicle.return_spread_h)
        self._round_trip(start, back=back, kwh=vehicle.commute_kwh, place=Place.WORK)

    def _workplace_day(self, day: int) -> None:
        vehicle = self._vehicle
        drive = 4.0 + 1.7 * vehicle.commute_kwh / 0.18
        arrive = day * _DAY_MIN + 60 * self._scatter(vehicle.arrive_h, vehicle.arrive_spread_h)
        leave = day * _DAY_MIN + 60 * self._scatter(vehicle.work_leave_h, vehicle.work_leave_spread_h)
        leave = max(leave, arrive + 45.0)
        self._round_trip(arrive - drive, back=leave + drive, kwh=vehicle.commute_kwh, place=Place.WORK)

    def _errand(self, start: float, stay: float) -> None:
        kwh = self._vehicle.errand_kwh * self._rng.lognormal(0.0, 0.6)
        self._round_trip(start, back=start + stay + 20.0, kwh=kwh, place=Place.PUBLIC)

    def _trip(self, day: int) -> None:
        """A long way out, and back on the same day or the next."""
        kwh = self._vehicle.capacity_kwh * self._rng.uniform(0.35, 1.3)
        start = day * _DAY_MIN + 60 * self._rng.uniform(7.0, 12.0)
        back = start + 60 * (self._rng.uniform(7.0, 11.0) + 24.0 * self._rng.integers(0, 2))
        self._round_trip(start, back=back, kwh=kwh, place=Place.PUBLIC)
