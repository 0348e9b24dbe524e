"""What the meter says of itself: its register beside the integral of power, phases, and readings that never move."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Final

import msgspec

from plugcast.features.series_watch import JUMP_KWH, JUMP_SHARE, NAN, STEADY_A, US, Run, Stretch

if TYPE_CHECKING:
    from plugcast.features.series_watch import Point

PHASE_NEAR: Final = 0.12
"""Power over current times voltage stands so near to a whole number of phases, or it is not judged."""
MOST_PHASES: Final = 3
SECONDS: Final = 3600.0
HASH_FACTOR: Final = 1_000_003
HASH_MASK: Final = (1 << 64) - 1
ZERO_KWH: Final = 0.001


class Meter(msgspec.Struct):
    """Register against integral."""

    both_kwh: float = 0.0
    """What the register counted where power is known at both ends."""
    integral_kwh: float = 0.0
    """Trapezoids over the same intervals."""
    doubt_kwh: float = 0.0
    """How far the integral may be off, whatever happened between samples of a monotone power."""
    power_kwh: float = 0.0
    """The integral wherever power is known."""
    total_kwh: float = 0.0
    """All that the register counted, across gaps as well; falls count nothing."""
    step_kwh: float = NAN
    """The smallest increment seen: the register's resolution, or a little more."""
    fall: Stretch | None = None
    """The largest fall: ``value`` before, ``beside`` after."""
    falls: int = 0
    jump: Stretch | None = None
    """The largest increment above what power can explain: ``value`` counted, ``beside`` possible, kWh."""
    stuck: Run = msgspec.field(default_factory=Run)
    stuck_kwh: float = 0.0
    """Integral in the running stretch of a register that stands still."""

    def step(self, one: Point, two: Point, seconds: float, peak_kw: float) -> None:
        """One interval."""
        counted = two.register_kwh - one.register_kwh
        mean_kw = (one.power_kw + two.power_kw) / 2
        knows_power = isfinite(mean_kw)
        knows_count = isfinite(counted)
        energy = mean_kw * seconds / SECONDS if knows_power else 0.0
        if knows_power:
            self.power_kwh += energy
        if not knows_count:
            self.stop()
            return
        if counted < 0:
            self._fell(one, two)
            return
        self.total_kwh += counted
        if counted > 0 and not counted >= self.step_kwh:
            self.step_kwh = counted
        if not knows_power:
            return
        near = max(one.power_kw, two.power_kw, 0.0)
        most = near if seconds < SECONDS / 60 else max(near, peak_kw)
        coarse = self.step_kwh if self.step_kwh > 0 and self.step_kwh < counted else 0.0
        self._jumped(one, two, counted, JUMP_SHARE * most * seconds / SECONDS + JUMP_KWH + coarse)
        self.both_kwh += counted
        self.integral_kwh += energy
        self.doubt_kwh += abs(two.power_kw - one.power_kw) / 2 * seconds / SECONDS
        self._stood(one, two, counted, energy)

    def _fell(self, one: Point, two: Point) -> None:
        """A register that begins anew from nought while nothing flows is one of sessions, not a fault."""
        self.stop()
        if two.register_kwh <= ZERO_KWH and not one.flows and not two.flows:
            return
        self.falls += 1
        if self.fall is None or one.register_kwh - two.register_kwh > self.fall.value - self.fall.beside:
            self.fall = Stretch(start_us=one.at_us, end_us=two.at_us, value=one.register_kwh, beside=two.register_kwh)

    def _jumped(self, one: Point, two: Point, counted: float, possible: float) -> None:
        if counted > possible and (self.jump is None or counted - possible > self.jump.value - self.jump.beside):
            self.jump = Stretch(start_us=one.at_us, end_us=two.at_us, value=counted, beside=possible)

    def _stood(self, one: Point, two: Point, counted: float, energy: float) -> None:
        if counted > 0 or not (one.flows and two.flows):
            self.stuck_kwh = 0.0
            self.stuck.stop()
            return
        self.stuck_kwh += energy
        self.stuck.step(one.at_us, two.at_us, self.stuck_kwh, one.register_kwh)

    def stop(self) -> None:
        """A gap, or no register."""
        self.stuck_kwh = 0.0
        self.stuck.stop()


class Phases(msgspec.Struct):
    """How many phases carry the current: power over current times voltage."""

    power_kws: float = 0.0
    product_kws: float = 0.0
    at: int | None = None
    """Phases of the last point that stands near a whole number."""
    full: int | None = None
    """Phases before one was lost, without a change of the pilot."""
    lost: Run = msgspec.field(default_factory=Run)

    def step(self, one: Point, two: Point, seconds: float) -> None:
        """One interval."""
        product = one.current_a * one.voltage_v / 1000
        if one.flows and isfinite(one.power_kw) and isfinite(product):
            self.power_kws += one.power_kw * seconds
            self.product_kws += product * seconds
        now = _phases(two)
        if now is None or not abs(one.offered_a - two.offered_a) < STEADY_A:
            self.stop()
            return
        if self.at is not None and now < self.at and self.full is None:
            self.full = self.at
        elif self.full is not None and now >= self.full:
            self.full = None
            self.lost.stop()
        if self.full is not None and self.at == now:
            self.lost.step(one.at_us, two.at_us, float(self.full), float(now))
        self.at = now

    def stop(self) -> None:
        """A gap, no current, or another offer: a station that switches phases takes the pilot away meanwhile."""
        self.at, self.full = None, None
        self.lost.stop()


def _phases(point: Point) -> int | None:
    product = point.current_a * point.voltage_v / 1000
    if not (point.flows and product > 0):
        return None
    ratio = point.power_kw / product
    if not 0 < ratio < MOST_PHASES + PHASE_NEAR * MOST_PHASES:
        return None
    whole = max(1, round(ratio))
    return whole if abs(ratio - whole) <= PHASE_NEAR * whole else None


class Readings(msgspec.Struct):
    """Readings as such: how alive they are, and their fingerprint."""

    frozen: Run = msgspec.field(default_factory=Run)
    equal: int = 0
    """Intervals of the running stretch of equal readings, and of the longest."""
    most_equal: int = 0
    moved: int = 0
    """Intervals over which a reading changed while current flowed."""
    digest: int = 0
    """Of times since the first sample, current and power: equal for equal series, whenever they happened."""

    def step(self, one: Point, two: Point) -> None:
        """One interval."""
        if not (one.flows and two.flows):
            self.stop()
            return
        same = _same(one.current_a, two.current_a) and _same(one.power_kw, two.power_kw)
        if not (same and one.voltage_v == two.voltage_v):
            self.moved += not same or not _same(one.voltage_v, two.voltage_v)
            self.stop()
            return
        self.equal += 1
        self.most_equal = max(self.most_equal, self.equal)
        self.frozen.step(one.at_us, two.at_us, two.current_a, two.voltage_v)

    def sign(self, point: Point, first_us: int) -> None:
        """Take one sample into the fingerprint."""
        for part in (round((point.at_us - first_us) * US), _milli(point.current_a), _milli(point.power_kw)):
            self.digest = (self.digest * HASH_FACTOR + part + 1) & HASH_MASK

    def stop(self) -> None:
        """A gap, a change, or no current."""
        self.equal = 0
        self.frozen.stop()


def _same(one: float, two: float) -> bool:
    return one == two or (not isfinite(one) and not isfinite(two))


def _milli(value: float) -> int:
    return round(value * 1000) if isfinite(value) else -1
