"""What is watched in a session's meter values: small folds, each over pairs of neighbouring samples.

Each keeps a handful of numbers, whatever the length of the session, and is a plain struct that JSON carries. All look
at *intervals*: two samples that follow one another within ``GAP_S``. A condition counts only where both ends meet it,
so that one stray reading makes no stretch.
"""

from __future__ import annotations

import math
from math import isfinite
from typing import Final, NamedTuple

import msgspec

NAN: Final = math.nan
GAP_S: Final = 1_200.0
"""A longer silence (OCPP stations often report every 15 min) ends all stretches; nothing is assumed across it."""
FLOW_A: Final = 1.0
"""Above this a car draws; what it takes with the contactor open is less."""
STILL_A: Final = 0.5
"""It goes on drawing until it is below this: a tail that crosses 1 A is no pause at every flicker of the meter."""
FLOW_KW: Final = 0.2
"""The same, where a station gives no current."""
OFFERED_A: Final = 5.5
"""IEC 61851's least offer is 6 A; meters round."""
REACT_S: Final = 10.0
"""IEC 61851 gives a car 5 s to follow a new pilot."""
OVER_A: Final = 1.0
OVER_SHARE: Final = 0.05
"""Current may stand this far above the pilot: real meters read 8.2 A where 8 are offered."""
HIGH_SHARE: Final = 0.9
LOW_SHARE: Final = 0.6
STEADY_A: Final = 0.5
STEADY_SHARE: Final = 0.05
ESTABLISHED_S: Final = 300.0
"""A current held for so long is one that this car and station can do together."""
SWING_A: Final = 3.0
SWING_SHARE: Final = 0.2
RING: Final = 64
"""Events remembered to count those of an hour; more are told as 64."""
HOUR_US: Final = 3_600_000_000
US: Final = 1e-6
JUMP_SHARE: Final = 1.25
JUMP_KWH: Final = 0.25


class Point(NamedTuple):
    """One sample; NaN where the station does not measure."""

    at_us: int
    current_a: float
    offered_a: float
    power_kw: float
    voltage_v: float
    register_kwh: float
    flows: bool
    offered_since_us: int
    """When the offer was last seen to change."""

    @property
    def offers(self) -> bool:
        """Whether the pilot lets the car draw; False where it is not known."""
        return self.offered_a >= OFFERED_A

    @property
    def gives(self) -> bool:
        """Whether the car feeds back."""
        return self.current_a < -FLOW_A or self.power_kw < -FLOW_KW

    @property
    def refuses(self) -> bool:
        """Whether the pilot is known to let nothing flow, for long enough that the car must have followed."""
        return self.offered_a < OFFERED_A and self.settled

    @property
    def settled(self) -> bool:
        """Whether the car has had the time to follow the pilot."""
        return (self.at_us - self.offered_since_us) * US >= REACT_S


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the session, and how far it went."""

    start_us: int
    end_us: int
    value: float
    """What was seen there at its worst, in the rule's unit."""
    beside: float
    """What it is held against."""

    @property
    def seconds(self) -> float:
        """How long."""
        return (self.end_us - self.start_us) * US


class Run(msgspec.Struct):
    """The longest stretch in which a condition held without a break, and the time in all of them."""

    start_us: int | None = None
    value: float = 0.0
    beside: float = 0.0
    total_s: float = 0.0
    longest: Stretch | None = None

    def step(self, begin_us: int, end_us: int, value: float, beside: float) -> None:
        """The condition held over this interval, at this value; the largest one is told."""
        if self.start_us is None:
            self.start_us, self.value, self.beside = begin_us, value, beside
        elif value > self.value:
            self.value, self.beside = value, beside
        self.total_s += (end_us - begin_us) * US
        best = self.longest
        if best is None or best.start_us == self.start_us or end_us - self.start_us > best.end_us - best.start_us:
            self.longest = Stretch(start_us=self.start_us, end_us=end_us, value=self.value, beside=self.beside)

    def stop(self) -> None:
        """The condition does not hold any more, or nobody knows."""
        self.start_us = None


class Busiest(msgspec.Struct):
    """The most events within an hour."""

    recent_us: list[int] = msgspec.field(default_factory=list)
    total: int = 0
    stretch: Stretch | None = None
    """From the first to the last of the busiest hour; ``value`` is their number."""

    def add(self, at_us: int) -> None:
        """One event, not earlier than those before."""
        self.total += 1
        kept = [at for at in self.recent_us if at_us - at <= HOUR_US][-(RING - 1) :]
        self.recent_us = [*kept, at_us]
        count = float(len(self.recent_us))
        if self.stretch is None or count > self.stretch.value:
            self.stretch = Stretch(start_us=self.recent_us[0], end_us=at_us, value=count, beside=float(self.total))


class Offer(msgspec.Struct):
    """Current against pilot."""

    over: Run = msgspec.field(default_factory=Run)
    unoffered: Run = msgspec.field(default_factory=Run)
    undrawn: Run = msgspec.field(default_factory=Run)
    """Offered, and nothing drawn, before anything ever was."""
    drawn_as: float = 0.0
    """Ampere-seconds while offered and flowing; and those offered."""
    offered_as: float = 0.0
    offered_s: float = 0.0
    full_s: float = 0.0
    ever: bool = False

    def step(self, one: Point, two: Point, seconds: float) -> None:
        """One interval."""
        if one.offers and two.offers:
            self.offered_s += seconds
        if one.flows and two.flows and one.offers and isfinite(one.current_a):
            self.drawn_as += one.current_a * seconds
            self.offered_as += one.offered_a * seconds
            self.full_s += seconds if one.current_a >= HIGH_SHARE * one.offered_a else 0.0
        if _over(one) and _over(two):
            excess = max(one, two, key=lambda point: point.current_a - point.offered_a)
            self.over.step(one.at_us, two.at_us, excess.current_a, excess.offered_a)
        else:
            self.over.stop()
        if one.flows and two.flows and one.refuses and two.refuses:
            self.unoffered.step(one.at_us, two.at_us, _strength(one, two), max(one.offered_a, two.offered_a))
        else:
            self.unoffered.stop()
        self.ever = self.ever or one.flows or two.flows or two.gives
        if not self.ever and one.offers and two.offers:
            self.undrawn.step(one.at_us, two.at_us, two.offered_a, _known(two.current_a))
        else:
            self.undrawn.stop()

    def stop(self) -> None:
        """A gap."""
        for run in (self.over, self.unoffered, self.undrawn):
            run.stop()


class Pauses(msgspec.Struct):
    """Charging that stops and goes on: by the pilot's will, or against it; and current that swings."""

    own: Busiest = msgspec.field(default_factory=Busiest)
    """Pauses in which the offer stood all the time."""
    commanded: int = 0
    stopped_us: int | None = None
    offered_all_along: bool = True
    end_share: float = NAN
    """Current just before the last stop that no pilot commanded, as a share of what the car could have had."""
    end_a: float = NAN
    ended_us: int | None = None
    """That stop, if nothing flowed since."""
    swings: Busiest = msgspec.field(default_factory=Busiest)
    rising: bool | None = None
    extreme_a: float = NAN

    def step(self, one: Point, two: Point, peak_a: float) -> None:
        """One interval."""
        if one.flows and not two.flows:
            self.stopped_us = two.at_us
            self.offered_all_along = one.offers and two.offers
            if self.offered_all_along:
                self.end_share = one.current_a / min(one.offered_a, peak_a) if peak_a > 0 else NAN
                self.end_a, self.ended_us = one.current_a, two.at_us
        elif not one.flows and two.flows and self.stopped_us is not None:
            if self.offered_all_along and one.offers:
                self.own.add(two.at_us)
            else:
                self.commanded += 1
            self.stopped_us = None
        elif self.stopped_us is not None:
            self.offered_all_along = self.offered_all_along and two.offers
        if two.flows:
            self.ended_us = None
        self._swing(one, two)

    def _swing(self, one: Point, two: Point) -> None:
        steady = abs(one.offered_a - two.offered_a) < STEADY_A and one.offers
        if not (steady and one.flows and two.flows):
            self.rising, self.extreme_a = None, NAN
            return
        if not isfinite(self.extreme_a):
            self.extreme_a = one.current_a
        least = max(SWING_A, SWING_SHARE * two.offered_a)
        moved = two.current_a - self.extreme_a
        if self.rising is not None and self.rising == (moved > 0):
            self.extreme_a = two.current_a
        elif abs(moved) >= least:
            turns = self.rising is not None
            self.rising, self.extreme_a = moved > 0, two.current_a
            if turns:
                self.swings.add(two.at_us)

    def stop(self) -> None:
        """A gap: what stopped before it is no pause."""
        self.stopped_us, self.rising, self.extreme_a = None, None, NAN


class Plateau(msgspec.Struct):
    """Currents held steadily, and long low ones after higher ones: a derated station, not a filling battery.

    A station offers 6 A or nothing, so that less is always a battery's tail.
    """

    level_a: float = NAN
    offered_a: float = NAN
    start_us: int = 0
    established_a: float = 0.0
    """The most that was held for five minutes."""
    low: Run = msgspec.field(default_factory=Run)

    def step(self, one: Point, two: Point) -> None:
        """One interval."""
        if not (one.flows and two.flows):
            self.stop()
            return
        if not (self._goes_on(two)):
            self.level_a, self.offered_a, self.start_us = two.current_a, two.offered_a, two.at_us
            self.low.stop()
            return
        if (two.at_us - self.start_us) * US >= ESTABLISHED_S:
            self.established_a = max(self.established_a, self.level_a)
        could = min(self.offered_a, self.established_a)
        if OFFERED_A <= self.level_a < LOW_SHARE * could:
            self.low.step(one.at_us, two.at_us, could, self.level_a)
        else:
            self.low.stop()

    def _goes_on(self, point: Point) -> bool:
        near = max(STEADY_A, STEADY_SHARE * self.level_a)
        return abs(point.current_a - self.level_a) <= near and abs(point.offered_a - self.offered_a) < STEADY_A

    def stop(self) -> None:
        """A gap, or no current."""
        self.level_a = NAN
        self.low.stop()


def _over(point: Point) -> bool:
    excess = point.current_a - point.offered_a
    return point.offers and point.settled and excess > OVER_A + OVER_SHARE * point.offered_a


def _strength(one: Point, two: Point) -> float:
    """The larger current, or NaN where the station gives only power."""
    return max(one.current_a, two.current_a)


def _known(value: float) -> float:
    return value if isfinite(value) else 0.0
