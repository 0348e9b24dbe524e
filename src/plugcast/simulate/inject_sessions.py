"""One transform for each fault: a host session in, the faulty one out, or nothing where it cannot happen to the host.

Magnitudes are drawn wide on purpose, from plain to hard to see; they follow the sessions' own station and driver.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from plugcast.domain.session import Session
from plugcast.simulate.faults import FaultType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import polars as pl

    Rng = np.random.Generator
    Made = tuple[Session, ...]

NONE: Final[tuple[Session, ...]] = ()
RATING_QUANTILE: Final = 0.98
DC_ABOVE_KW: Final = 22.0
LEAST_POWER_KW: Final = 0.5
replace = msgspec.structs.replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What surrounds a host: its station's power and earlier records, and other drivers' sessions."""

    sessions: tuple[Session, ...]
    """In order of arrival."""
    rating_kw: Mapping[str, float]
    by_station: Mapping[str, tuple[Session, ...]]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Scene:
        """Look at all sessions of ``schemas.SESSIONS``."""
        rows = frame.drop("available_at").sort("arrival_at", "session_id").iter_rows(named=True)
        sessions = tuple(Session(**row) for row in rows)
        stations: defaultdict[str, list[Session]] = defaultdict(list)
        for session in sessions:
            stations[session.station_id].append(session)
        rating = {name: _rating(own) for name, own in stations.items()}
        return cls(sessions=sessions, rating_kw=rating, by_station={name: tuple(own) for name, own in stations.items()})

    def before(self, session: Session) -> Session | None:
        """The station's last completed session before this one."""
        own = self.by_station[session.station_id]
        place = bisect_left(own, session.arrival_at, key=lambda other: other.arrival_at)
        return own[place - 1] if place > 0 else None


def _rating(sessions: list[Session]) -> float:
    powers = [power for session in sessions if (power := power_kw(session)) > 0]
    return float(np.quantile(powers, RATING_QUANTILE)) if powers else 0.0


def power_kw(session: Session) -> float:
    """Mean power while charging, or over the stay where its end is not known; 0 where nothing is known."""
    charging_h, energy = _charging_h(session), session.energy_delivered_kwh
    return energy / charging_h if charging_h > 0 and energy is not None else 0.0


def _stay(session: Session) -> timedelta:
    return _left(session) - session.arrival_at


def _left(session: Session) -> datetime:
    return session.departure_at or session.arrival_at


def _hours(gap: timedelta) -> float:
    return gap / timedelta(hours=1)


def _charging_h(session: Session) -> float:
    done = session.done_charging_at
    until = _left(session) if done is None else min(done, _left(session))
    return _hours(until - session.arrival_at)


def _energy(session: Session) -> float:
    return session.energy_delivered_kwh or 0.0


def slowed_to(host: Session, factor: float) -> Made:
    """The same need at a share of the power: done later, or not at all before the driver leaves."""
    charging_h = _charging_h(host)
    if power_kw(host) < LEAST_POWER_KW or charging_h <= 0:
        return NONE
    takes_h = charging_h / factor
    stay_h = _hours(_stay(host))
    if takes_h >= stay_h:
        return (replace(host, energy_delivered_kwh=_energy(host) * stay_h / takes_h, done_charging_at=None),)
    return (replace(host, done_charging_at=host.arrival_at + timedelta(hours=takes_h)),)


def failed_start(host: Session, scene: Scene, rng: Rng) -> Made:
    """The car is plugged in and nothing flows; most drivers give up and leave."""
    del scene
    stay = timedelta(minutes=rng.uniform(6, 45)) if rng.random() < 0.6 else _stay(host)  # noqa: PLR2004 - a share
    energy = 0.0 if rng.random() < 0.7 else rng.uniform(0.0, 0.08)  # noqa: PLR2004 - a share
    left = host.arrival_at + stay
    return (replace(host, departure_at=left, done_charging_at=None, energy_delivered_kwh=energy),)


def derating(host: Session, scene: Scene, rng: Rng) -> Made:
    """A hot station delivers a quarter to a little over half of the power."""
    del scene
    return slowed_to(host, rng.uniform(0.25, 0.55))


def trip(host: Session, scene: Scene, rng: Rng) -> Made:
    """Charging ends after a small part of the energy, and the car stands."""
    del scene
    share, charging_h = rng.uniform(0.05, 0.5), _charging_h(host)
    if charging_h <= 0:
        return NONE
    done = host.arrival_at + timedelta(hours=charging_h * share)
    return (replace(host, done_charging_at=done, energy_delivered_kwh=_energy(host) * share),)


def stuck_on(host: Session, scene: Scene, rng: Rng) -> Made:
    """A welded contactor: full power until the plug is pulled."""
    rating, stay_h = scene.rating_kw[host.station_id], _hours(_stay(host))
    energy = rating * stay_h * rng.uniform(0.93, 1.0)
    if rating > DC_ABOVE_KW or energy < 1.5 * _energy(host) or stay_h < 2:  # noqa: PLR2004 - else nothing to be seen
        return NONE
    return (replace(host, done_charging_at=None, energy_delivered_kwh=energy),)


def meter_high(host: Session, scene: Scene, rng: Rng) -> Made:
    """The meter's scale is wrong: too much energy for the power of this car."""
    del scene
    return (replace(host, energy_delivered_kwh=_energy(host) * rng.uniform(1.4, 2.2)),)


def meter_low(host: Session, scene: Scene, rng: Rng) -> Made:
    """The meter's scale is wrong: too little energy."""
    del scene
    return (replace(host, energy_delivered_kwh=_energy(host) * rng.uniform(0.3, 0.65)),)


def meter_stuck(host: Session, scene: Scene, rng: Rng) -> Made:
    """The register stands still after a part of the charge."""
    del scene
    return (replace(host, energy_delivered_kwh=_energy(host) * rng.uniform(0.02, 0.3)),)


def meter_jump(host: Session, scene: Scene, rng: Rng) -> Made:
    """The register was reset (negative energy) or jumped."""
    del scene
    if rng.random() < 0.5:  # noqa: PLR2004 - one of two
        return (replace(host, energy_delivered_kwh=-rng.uniform(1.0, 5000.0)),)
    return (replace(host, energy_delivered_kwh=_energy(host) + 10 ** rng.uniform(2.3, 4.0)),)


def ghost(host: Session, scene: Scene, rng: Rng) -> Made:
    """A plug that does not lock: seconds long, half of the time one of three in a row."""
    del scene
    made = []
    arrival = host.arrival_at
    for number in range(3 if rng.random() < 0.5 else 1):  # noqa: PLR2004 - one of two
        left = arrival + timedelta(seconds=rng.uniform(10, 170))
        made.append(
            replace(
                host,
                session_id=host.session_id if number == 0 else f"{host.session_id}-bounce{number}",
                arrival_at=arrival,
                departure_at=left,
                done_charging_at=None,
                energy_delivered_kwh=rng.uniform(0.0, 0.15),
            )
        )
        arrival = left + timedelta(seconds=rng.uniform(20, 600))
    return tuple(made)


def overstay(host: Session, scene: Scene, rng: Rng) -> Made:
    """Done, and the bay stays blocked for half a day to two more."""
    del scene
    if host.done_charging_at is None:
        return NONE
    return (replace(host, departure_at=_left(host) + timedelta(hours=rng.uniform(10, 48))),)


def token_misuse(host: Session, scene: Scene, rng: Rng) -> Made:
    """Another car charges on this driver's card, at another time of day, and declares nothing."""
    if host.user_id is None or host.done_charging_at is None:
        return NONE
    own = power_kw(host)
    for _ in range(20):
        other = scene.sessions[int(rng.integers(len(scene.sessions)))]
        if other.site_id != host.site_id or other.done_charging_at is None or other.user_id == host.user_id:
            continue
        ratio = power_kw(other) / own if own > 0 else 0.0
        same_kind = power_kw(other) <= max(scene.rating_kw[host.station_id], 1.0) * 1.05
        if same_kind and (0 < ratio < 0.65 or ratio > 1.5):  # noqa: PLR2004 - plainly another car
            shift = timedelta(hours=rng.uniform(5, 12))
            arrival = host.arrival_at + shift
            return (
                replace(
                    host,
                    arrival_at=arrival,
                    departure_at=arrival + _stay(other),
                    done_charging_at=arrival + (other.done_charging_at - other.arrival_at),
                    energy_delivered_kwh=_energy(other),
                ),
            )
    return NONE


def clock(host: Session, scene: Scene, rng: Rng) -> Made:
    """The end of charging lies outside the stay."""
    del scene
    if rng.random() < 0.5:  # noqa: PLR2004 - one of two
        done = _left(host) + timedelta(minutes=rng.uniform(6, 480))
    else:
        done = host.arrival_at - timedelta(minutes=rng.uniform(1, 480))
    return (replace(host, done_charging_at=done),)


def lost_done(host: Session, scene: Scene, rng: Rng) -> Made:
    """The message that charging ended was lost."""
    del scene, rng
    return NONE if host.done_charging_at is None else (replace(host, done_charging_at=None),)


def over_rating(host: Session, scene: Scene, rng: Rng) -> Made:
    """More power than the station can deliver."""
    rating = scene.rating_kw[host.station_id]
    charging_h = _charging_h(host)
    if rating <= 0 or charging_h <= 0:
        return NONE
    return (replace(host, energy_delivered_kwh=rating * charging_h * rng.uniform(1.2, 2.0)),)


def replay(host: Session, scene: Scene, rng: Rng) -> Made:
    """The station repeats its last record to the second and the watt-hour."""
    del rng
    last = scene.before(host)
    if last is None or last.departure_at is None or _energy(last) < 1.0:
        return NONE
    done = last.done_charging_at
    return (
        replace(
            host,
            departure_at=host.arrival_at + _stay(last),
            done_charging_at=None if done is None else host.arrival_at + (done - last.arrival_at),
            energy_delivered_kwh=last.energy_delivered_kwh,
        ),
    )


def chatter(host: Session, scene: Scene, rng: Rng) -> Made:
    """A contactor that opens and closes: the same energy takes 1.6 to 3 times as long."""
    del scene
    return slowed_to(host, 1 / rng.uniform(1.6, 3.0))


def phase_loss(host: Session, scene: Scene, rng: Rng) -> Made:
    """One of three phases is left, or two."""
    del scene
    return slowed_to(host, float(rng.choice([1 / 3, 2 / 3])))


BREAK: Final[Mapping[FaultType, Callable[[Session, Scene, np.random.Generator], tuple[Session, ...]]]] = {
    FaultType.FAILED_START: failed_start,
    FaultType.DERATING: derating,
    FaultType.TRIP: trip,
    FaultType.STUCK_ON: stuck_on,
    FaultType.METER_HIGH: meter_high,
    FaultType.METER_LOW: meter_low,
    FaultType.METER_STUCK: meter_stuck,
    FaultType.METER_JUMP: meter_jump,
    FaultType.GHOST: ghost,
    FaultType.OVERSTAY: overstay,
    FaultType.TOKEN_MISUSE: token_misuse,
    FaultType.CLOCK: clock,
    FaultType.LOST_DONE: lost_done,
    FaultType.OVER_RATING: over_rating,
    FaultType.REPLAY: replay,
    FaultType.CHATTER: chatter,
    FaultType.PHASE_LOSS: phase_loss,
}
"""All but the collective one, which takes a site's whole day."""
