"""What a vehicle lives through: legs become stretches of driving, standing and charging without a hole.

A stretch is described so that its state of charge can be read at any instant; nothing is stepped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from plugcast.simulate import battery
from plugcast.simulate import calibration as cal
from plugcast.simulate.habits import Person, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from plugcast.simulate.habits import Leg, Vehicle

_DAY_MIN: Final = 1440.0
_LOWEST_PCT: Final = 5.0
"""Where drivers stop for a charge at the latest, and below which standing still loses nothing."""
_SHORT_STAY_MIN: Final = 150.0
"""Who soon goes out again plugs in less."""
_CHEAP_UNTIL_H: Final = 5.0
_LONG_LEG_PCT: Final = 20.0
_DC_TASTE: Final = {Person.OCCASIONAL: 1.0, Person.WORK: 0.7}
_NEUTRAL_PCT: Final = 60.0
_SHORTEST_MIN: Final = 11.0
"""Of a drive and of a charge: nothing happens between two samples that neither of them shows."""


class Stretch(NamedTuple):
    """One kind of state from ``start_min`` to the next stretch's start; minutes after the first instant, UTC."""

    start_min: float
    soc_pct: float
    slope_pct_per_min: float = 0.0
    """Of standing and driving; 0 while charging."""
    plugged: bool = False
    power_kw: float = 0.0
    """At the plug, below the knee; 0 = does not charge."""
    rate_pct_per_min: float = 0.0
    knee_pct: float = 80.0
    limit_pct: float = 100.0


class State(NamedTuple):
    """What a vehicle would report at some instants: three arrays of one length."""

    soc_pct: NDArray[np.float64]
    is_plugged_in: NDArray[np.bool_]
    power_kw: NDArray[np.float64]


def observe(stretches: Sequence[Stretch], at_min: NDArray[np.float64]) -> State:
    """The state at some instants; each must lie at or after the first stretch's start."""
    table = np.asarray(stretches, dtype=np.float64)
    row = table[np.searchsorted(table[:, 0], at_min, side="right") - 1]
    start, soc, slope, plugged, power, rate, knee, limit = row.T
    passed = at_min - start
    charged = battery.soc_after(passed, start_pct=soc, rate=rate, knee=knee, limit_pct=limit)
    soc_now = np.where(rate > 0.0, charged, soc + slope * passed)
    drawn = battery.power_after(soc_now, power_kw=power, knee=knee, limit_pct=limit)
    return State(np.clip(soc_now, 0.0, 100.0), plugged > 0.0, drawn)


def live(
    vehicle: Vehicle,
    legs: Sequence[Leg],
    rng: np.random.Generator,
    *,
    start_min: float,
    end_min: float,
    midnight_min: NDArray[np.float64],
) -> list[Stretch]:
    """Drive the legs, decide about plugging in at each stop, and charge on the way where the battery would not do.

    Args:
        vehicle: Whose habits and battery.
        legs: In order, start times in the same minutes as ``start_min``.
        rng: The source of chance.
        start_min: When the life begins, at the vehicle's base.
        end_min: Until when it must be known.
        midnight_min: Local midnights of all days, for the timer of delayed charging.
    """
    life = _Life(vehicle, rng, start_min=start_min, midnight_min=midnight_min)
    for leg in legs:
        life.stand(until=leg.start_min)
        life.drive(leg)
    life.stand(until=end_min)
    return life.stretches


class _Life:
    def __init__(
        self, vehicle: Vehicle, rng: np.random.Generator, *, start_min: float, midnight_min: NDArray[np.float64]
    ) -> None:
        self.stretches: list[Stretch] = []
        self._vehicle = vehicle
        self._rng = rng
        self._midnight_min = midnight_min
        self._now = start_min
        self._soc = float(rng.uniform(35.0, 85.0))
        self._place = Place.DEPOT if vehicle.person is Person.FLEET else Place.HOME
        self._dc_at_pct = self._draw_dc_threshold()

    # --- standing

    def stand(self, *, until: float) -> None:
        """Stay where it is, plugged in or not; a late arrival leaves at once."""
        until = max(until, self._now + 3.0)
        plug_in, plug_out = self._plug_times(until)
        if plug_out - plug_in < _SHORTEST_MIN:
            self._idle(until)
            return
        self._idle(plug_in)
        self._plugged(plug_out)
        self._idle(until)

    def _plug_times(self, until: float) -> tuple[float, float]:
        """When it is plugged in and out during a stop; equal where it is not."""
        rng, vehicle = self._rng, self._vehicle
        never = (self._now, self._now)
        if self._place not in vehicle.ac_kw:
            return never
        plug_in = self._now + rng.uniform(0.5, 6.0)
        if not self._wants_to_plug(until - self._now):
            # a post that was taken in the morning is free after noon; at home one remembers before bed
            later = {Place.WORK: 0.20, Place.HOME: 0.12}.get(self._place, 0.0)
            if until - self._now < 4 * 60.0 or not cal.chance(later, rng):
                return never
            plug_in = self._now + rng.uniform(2.0, 5.5) * 60.0
        plug_out = until - rng.uniform(0.5, 4.0)
        if cal.chance(vehicle.early_rate, rng):
            shortest_h, longest_h = (1.0, 7.0) if self._place is Place.WORK else (0.3, 5.0)
            plug_out = min(plug_out, plug_in + 60.0 * rng.uniform(shortest_h, longest_h))
        return (plug_in, plug_out) if plug_out > plug_in else never

    def _wants_to_plug(self, stay_min: float) -> bool:
        vehicle = self._vehicle
        log_odds = vehicle.eagerness + vehicle.slope_per_pct * (_NEUTRAL_PCT - self._soc)
        if self._soc > vehicle.limit_pct - 5.0:
            log_odds -= 1.5
        if stay_min < _SHORT_STAY_MIN:
            log_odds -= 0.8
        return cal.chance(1.0 / (1.0 + math.exp(-log_odds)), self._rng)

    def _plugged(self, until: float) -> None:
        vehicle = self._vehicle
        begin = self._now
        if vehicle.timer_h is not None and self._place is Place.HOME:
            begin = min(until, self._timer_after(begin, vehicle.timer_h))
        if begin > self._now:
            self.stretches.append(Stretch(self._now, self._soc, plugged=True))
        power = vehicle.ac_kw[self._place] * self._rng.uniform(0.95, 1.0)
        charging = self._charging(begin, power=power, limit=vehicle.limit_pct, efficiency=vehicle.efficiency)
        full_at_once = observe([charging], np.array([begin + _SHORTEST_MIN])).power_kw[0] == 0.0
        if full_at_once and until - begin > _SHORTEST_MIN:  # not topped up: no sample would see the power
            charging = Stretch(begin, self._soc, plugged=True)
        self._charge(charging, until)

    def _timer_after(self, begin: float, timer_h: float) -> float:
        """When delayed charging may start: at once in the night, else at the timer's hour."""
        since_midnight = begin - self._midnight_min[np.searchsorted(self._midnight_min, begin, side="right") - 1]
        hour = since_midnight / 60.0
        asleep = hour >= timer_h or hour < _CHEAP_UNTIL_H
        return begin if asleep else begin + (timer_h - hour) * 60.0

    def _charging(self, begin: float, *, power: float, limit: float, efficiency: float) -> Stretch:
        capacity = self._vehicle.capacity_kwh
        return Stretch(
            begin,
            self._soc,
            plugged=True,
            power_kw=power,
            rate_pct_per_min=battery.rate_pct_per_min(power, capacity_kwh=capacity, efficiency=efficiency),
            knee_pct=battery.knee_pct(power, capacity_kwh=capacity),
            limit_pct=limit,
        )

    def _charge(self, charging: Stretch, until: float) -> None:
        """Charge, and stay on the plug until ``until``."""
        self.stretches.append(charging)
        self._soc = float(observe([charging], np.array([until])).soc_pct[0])
        self._now = until

    def _idle(self, until: float) -> None:
        if until <= self._now:
            return
        slope = -self._vehicle.drift_pct_per_day / _DAY_MIN if self._soc > _LOWEST_PCT else 0.0
        self.stretches.append(Stretch(self._now, self._soc, slope))
        self._soc += slope * (until - self._now)
        self._now = until

    # --- driving

    def drive(self, leg: Leg) -> None:
        """Drive a leg, with stops at DC posts where the charge runs low; arrives later for each stop."""
        left_pct = leg.use_kwh / self._vehicle.capacity_kwh * 100.0
        minutes_per_pct = leg.drive_min / left_pct
        at_pct = self._dc_at_pct
        if left_pct < _LONG_LEG_PCT:
            # who has a plug of his own goes to a post by day only where the charge runs low
            at_pct *= _DC_TASTE.get(self._vehicle.person, 0.3)
        while self._soc - left_pct < max(_LOWEST_PCT, at_pct):
            reach_pct = max(
                min(0.3, 0.5 * left_pct),
                min(0.9 * left_pct, self._soc - max(_LOWEST_PCT, min(at_pct, self._soc - 1.0))),
            )
            self._roll(reach_pct, reach_pct * minutes_per_pct)
            left_pct -= reach_pct
            self._stop_at_dc(least_pct=min(90.0, 2 * _LOWEST_PCT + left_pct))
            self._dc_at_pct = self._draw_dc_threshold()
            at_pct = self._dc_at_pct if left_pct > _LONG_LEG_PCT else 0.0
        self._roll(left_pct, left_pct * minutes_per_pct)
        self._place = leg.place

    def _roll(self, use_pct: float, minutes: float) -> None:
        minutes = max(_SHORTEST_MIN, minutes)
        self.stretches.append(Stretch(self._now, self._soc, -use_pct / minutes))
        self._now += minutes
        self._soc -= use_pct

    def _stop_at_dc(self, *, least_pct: float) -> None:
        rng, vehicle = self._rng, self._vehicle
        target = max(cal.draw(cal.DC_DEPARTURE_SOC_PCT, rng), min(100.0, self._soc + rng.uniform(8.0, 30.0)))
        target = max(target, least_pct if cal.chance(0.5, rng) else 0.0)  # half of the drivers plan ahead
        power = vehicle.dc_kw * rng.uniform(0.6, 1.0)
        rate = battery.rate_pct_per_min(power, capacity_kwh=vehicle.capacity_kwh, efficiency=cal.DC_EFFICIENCY)
        knee = battery.knee_pct(power, capacity_kwh=vehicle.capacity_kwh)
        minutes = battery.minutes_to(target, start_pct=self._soc, rate=rate, knee=knee) + rng.uniform(0.5, 4.0)
        minutes = max(_SHORTEST_MIN, minutes)
        charging = self._charging(self._now, power=power, limit=target, efficiency=cal.DC_EFFICIENCY)
        self._charge(charging, self._now + minutes)

    def _draw_dc_threshold(self) -> float:
        return cal.draw(cal.DC_ARRIVAL_SOC_PCT, self._rng)
