"""Meter values of a session as a station would send them: pilot steps, a car's answer, a battery's tail, noise.

Made to agree with the session's record: the energy is its energy, and flow ends at its end of charging. What sound
stations and cars do is all in it, for detectors to bear with: readings a little above the pilot, cars that take half of
an offer, batteries that step down, limits that stop at full current, a car kept warm, samples that come twice or late.
What it takes from real series (ACN-Data): seconds to a minute between samples, 8.2 A read where 8 are offered, 8 A
offered on after the car is full, voltages of 226 to 230 V that move with every reading.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.domain.messages import MeterValues
from plugcast.features.online import instant, micros

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plugcast.domain.session import Session

    Floats = NDArray[np.float64]
    Rng = np.random.Generator

US: Final = 1_000_000
MOST_A: Final = 32.0
SMALL_CAR_A: Final = 16.0
IDLE_OFFER_A: Final = 8.0
LEAST_OFFER_A: Final = 6.0
OFF_A: Final = 0.4
TAPERS: Final = 0.45
STEPS_DOWN: Final = 0.15
STEERED: Final = 0.5
LEAST_S: Final = 240.0
UNFIT: Final = 0.03
LONGEST_TAIL_S: Final = 5_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """How a station is connected and what its meter tells."""

    voltage_v: float = 230.0
    phases: int = 1
    sample_s: float = 60.0
    register_step_kwh: float = 0.001
    tells: frozenset[str] = frozenset({"power_kw", "voltage_v", "energy_register_kwh"})
    """Beside current and pilot."""
    most_a: float = MOST_A


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeterSeries:
    """One session's samples as columns, in the order in which they come; NaN is not told."""

    at_us: NDArray[np.int64]
    current_a: Floats
    offered_a: Floats
    voltage_v: Floats
    power_kw: Floats
    register_kwh: Floats

    def __len__(self) -> int:
        """How many samples."""
        return len(self.at_us)

    def values(self, session: Session) -> list[MeterValues]:
        """As messages of the session's station."""
        columns = (self.power_kw, self.offered_a, self.current_a, self.voltage_v, self.register_kwh)
        rows = zip(self.at_us.tolist(), *(column.tolist() for column in columns), strict=True)
        return [
            MeterValues(
                v=1,
                site_id=session.site_id,
                station_id=session.station_id,
                session_id=session.session_id,
                measured_at=instant(at),
                power_kw=_told(power),
                offered_current_a=_told(offered),
                measured_current_a=_told(current),
                voltage_v=_told(voltage),
                energy_register_kwh=_told(register),
            )
            for at, power, offered, current, voltage, register in rows
        ]

    def only(self, wiring: Wiring) -> MeterSeries:
        """What this station's meter tells."""
        unknown = np.full(len(self), np.nan)
        return replace(
            self,
            power_kw=self.power_kw if "power_kw" in wiring.tells else unknown,
            voltage_v=self.voltage_v if "voltage_v" in wiring.tells else unknown,
            register_kwh=self.register_kwh if "energy_register_kwh" in wiring.tells else unknown,
        )


def car_of(session: Session) -> Rng:
    """Draws that are the same for one driver, whatever the session."""
    name = session.user_id or session.session_id
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]))


def meter_series(session: Session, *, wiring: Wiring, rng: Rng) -> MeterSeries | None:
    """Meter values that agree with a completed session's record; None where no sound station could have made it.

    Args:
        session: With plug-out and energy; the end of charging may be missing.
        wiring: Of its station.
        rng: Of everything that differs between sessions; what belongs to the car is the driver's.
    """
    stay_s, charging_s, energy = _bounds(session)
    kw_per_a = wiring.voltage_v * wiring.phases / 1000
    if stay_s < LEAST_S or charging_s < LEAST_S or energy <= 0:
        return None
    mean_a = energy / (kw_per_a * charging_s / 3600)
    if mean_a > wiring.most_a:
        return None
    own = car_of(session)
    small = own.random() < 0.4 and mean_a < SMALL_CAR_A * 0.95  # noqa: PLR2004 - shares of cars, and room to fit in
    most_a = SMALL_CAR_A if small else wiring.most_a
    second = np.cumsum(
        np.maximum(rng.normal(wiring.sample_s, 0.05 * wiring.sample_s, int(stay_s / wiring.sample_s)), 1)
    )
    second = np.concatenate([[0.0], second[second < stay_s], [stay_s]])
    current, offered = _profile(second, charging_s, (mean_a, most_a), own, rng)
    wanted_as = mean_a * charging_s
    if np.trapezoid(current, second) < (1 - UNFIT) * wanted_as:
        return None
    current = _kept_warm(current, second, charging_s, rng)
    current *= min(1.0, wanted_as / float(np.trapezoid(current, second)))
    made = _measured(session, second, current, wiring, rng)
    return _as_it_comes(replace(made, offered_a=offered), rng).only(wiring)


def _bounds(session: Session) -> tuple[float, float, float]:
    """Seconds of the stay and of charging, and the energy; 0 where not known."""
    if session.departure_at is None:
        return 0.0, 0.0, 0.0
    stay = session.departure_at - session.arrival_at
    charging = stay if session.done_charging_at is None else min(stay, session.done_charging_at - session.arrival_at)
    return stay / timedelta(seconds=1), charging / timedelta(seconds=1), session.energy_delivered_kwh or 0.0


def _profile(second: Floats, charging_s: float, amps: tuple[float, float], own: Rng, rng: Rng) -> tuple[Floats, Floats]:
    """Current and offer: a shape of steps and a tail, scaled until it carries the energy.

    No car draws less than about 6 A before its tail: where the record's mean is lower, there are pauses.
    """
    mean_a, most_a = amps
    starts_s = min(rng.exponential(20.0) + 3.0, 0.2 * charging_s)
    active_s = charging_s - starts_s
    least = LEAST_OFFER_A / 0.7
    if mean_a < least:
        active_s *= mean_a / rng.uniform(least, max(0.9 * most_a, least))
    within = (second >= starts_s) & (second < starts_s + active_s)
    if active_s < 0.8 * charging_s:  # the end of charging that the record tells
        within |= (second >= charging_s - min(LEAST_S, 0.1 * charging_s)) & (second < charging_s)
    share = np.clip((second - starts_s) / max(active_s, 1.0), 0.0, 1.0)
    room = most_a * active_s / (mean_a * charging_s)
    steered = rng.random() < STEERED and room > 1.2  # noqa: PLR2004 - nearly full power leaves nothing to steer
    shape = np.where(within, _steps(share, rng) if steered else 1.0, 0.0)
    tail = _tail(share, own, rng, room=room, longest=LONGEST_TAIL_S / max(active_s, LONGEST_TAIL_S))
    scale = _scaled(second, (shape, tail), mean_a * charging_s, most_a)
    limit = np.minimum(scale * shape, most_a)
    if steered:
        offered = np.where(limit > 0, np.maximum(np.ceil(limit), LEAST_OFFER_A), 0.0)
    else:
        offered = np.full_like(second, rng.choice([MOST_A, np.ceil(max(limit.max(), LEAST_OFFER_A))]))
    idle = IDLE_OFFER_A if rng.random() < 0.5 else float(offered.max())  # noqa: PLR2004 - a share
    return limit * tail, np.where(second >= charging_s, idle, offered)


def _steps(share: Floats, rng: Rng) -> Floats:
    """Offers of a controller: a few levels, now and then none."""
    count = int(rng.integers(2, 7))
    borders = np.sort(rng.uniform(0, 1, count - 1))
    levels = rng.uniform(0.5, 1.0, count)
    pauses = rng.random(count) < 0.12  # noqa: PLR2004 - one step in eight
    pauses[0] = pauses[-1] = False
    levels[pauses] = 0.0
    return np.asarray(levels[np.searchsorted(borders, share)], dtype=np.float64)


def _tail(share: Floats, own: Rng, rng: Rng, *, room: float, longest: float) -> Floats:
    """How a battery ends: a taper, a few steps, or at once where the driver set a limit."""
    kind, turns = own.random(), 1 - min(rng.uniform(0.08, 0.35), longest)
    if room < 1.1:  # noqa: PLR2004 - the record leaves no time for a tail
        return np.ones_like(share)
    after = np.clip((share - turns) / (1 - turns), 0.0, 1.0)
    if kind < TAPERS:
        return np.exp(-rng.uniform(1.5, 3.0) * after)
    if kind < TAPERS + STEPS_DOWN:
        return 1 - np.ceil(after * 4) / 4 * rng.uniform(0.5, 0.8)
    return np.ones_like(share)


def _scaled(second: Floats, parts: tuple[Floats, Floats], wanted_as: float, most_a: float) -> float:
    """The factor at which the shape, cut at what car and station can do, carries the charge with its tail."""
    shape, tail = parts
    if not shape.any():
        return 0.0
    low, high = 0.0, 100.0 * most_a / max(float(shape.max()), 1e-9)
    for _ in range(50):
        middle = (low + high) / 2
        carried = float(np.trapezoid(np.minimum(middle * shape, most_a) * tail, second))
        low, high = (middle, high) if carried < wanted_as else (low, middle)
    return high


def _kept_warm(current: Floats, second: Floats, charging_s: float, rng: Rng) -> Floats:
    """Some cars draw a little now and then once they are full."""
    if rng.random() > 0.2:  # noqa: PLR2004 - one car in five
        return current
    warm = current.copy()
    for begin in np.arange(charging_s + rng.uniform(1_200, 3_600), second[-1] - 600, rng.uniform(2_400, 7_200)):
        warm[(second >= begin) & (second < begin + rng.uniform(120, 420))] = rng.uniform(2.0, 5.0)
    return warm


def _measured(session: Session, second: Floats, current: Floats, wiring: Wiring, rng: Rng) -> MeterSeries:
    """What the meter says of it; the offer is not its business."""
    count = len(second)
    flows = current > 0
    read = current + np.where(flows, rng.normal(0, 0.05, count) + rng.uniform(-0.1, 0.2), rng.uniform(0, OFF_A))
    read = np.round(np.maximum(read, 0.0), 1).astype(np.float64)
    drift = np.cumsum(rng.normal(0, 0.15, count))
    voltage = np.round(wiring.voltage_v + np.clip(drift, -6, 6) + rng.normal(0, 0.3, count), 1)
    true_kw = current * voltage * wiring.phases / 1000
    energy = np.concatenate([[0.0], np.cumsum((true_kw[1:] + true_kw[:-1]) / 2 * np.diff(second) / 3600)])
    told_kwh = session.energy_delivered_kwh or 0.0
    if energy[-1] > 0:  # a voltage that drifts carries a little more or less than the record says
        true_kw, energy = true_kw * told_kwh / energy[-1], energy * told_kwh / energy[-1]
    power = np.round(true_kw * (1 + rng.normal(0, 0.003, count)), 3)
    step = wiring.register_step_kwh
    register = np.round(np.floor((rng.uniform(0, 20_000) + energy) / step) * step, 6)
    return MeterSeries(
        at_us=micros(session.arrival_at) + (second * US).astype(np.int64),
        current_a=read,
        offered_a=np.full(count, np.nan),
        voltage_v=voltage,
        power_kw=power,
        register_kwh=register,
    )


def _as_it_comes(series: MeterSeries, rng: Rng) -> MeterSeries:
    """A silence in one session of fifty; a sample twice, or one late, in others."""
    order = np.arange(len(series))
    if rng.random() < 0.02 and len(order) > 60:  # noqa: PLR2004 - one in fifty, of an hour or more
        begin = int(rng.integers(5, len(order) - 40))
        order = np.delete(order, slice(begin, begin + int(rng.integers(5, 40))))
    if rng.random() < 0.03 and len(order) > 4:  # noqa: PLR2004 - three in a hundred
        place = int(rng.integers(1, len(order) - 1))
        order = np.insert(order, place, order[place])
    if rng.random() < 0.03 and len(order) > 4:  # noqa: PLR2004 - three in a hundred
        place = int(rng.integers(1, len(order) - 1))
        order[[place, place - 1]] = order[[place - 1, place]]
    return taken(series, order)


def taken(series: MeterSeries, places: NDArray[np.intp] | NDArray[np.bool_]) -> MeterSeries:
    """Some of the samples, in this order."""
    return MeterSeries(
        at_us=series.at_us[places],
        current_a=series.current_a[places],
        offered_a=series.offered_a[places],
        voltage_v=series.voltage_v[places],
        power_kw=series.power_kw[places],
        register_kwh=series.register_kwh[places],
    )


def _told(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124 - NaN is unequal to itself
