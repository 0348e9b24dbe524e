"""What a session's meter values say: current against pilot, pauses, tail, register against integral.

One fold for stream and batch: :func:`series_features` pushes a session's samples one after another, and whoever pushes
them as they come, with the state stored in between, gets the same bits. The state is bounded, however long the car
stays. Samples count in the order in which they come; one that is not newer than those before it is late, and counted.
"""

from __future__ import annotations

import math
from math import isfinite
from typing import TYPE_CHECKING, Final

import msgspec

from plugcast.features.online import instant, micros
from plugcast.features.series_meter import Meter, Phases, Readings
from plugcast.features.series_values import SeriesFeatures
from plugcast.features.series_watch import (
    FLOW_A,
    FLOW_KW,
    GAP_S,
    HIGH_SHARE,
    NAN,
    STEADY_A,
    STILL_A,
    US,
    Offer,
    Pauses,
    Plateau,
    Point,
    Run,
    Stretch,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from plugcast.domain.messages import MeterValues

AFTER_SLACK_S: Final = 60.0
"""A contactor may open, and a record may end, a minute apart."""


class SeriesState(msgspec.Struct):
    """All that a session's samples leave behind; MessagePack gives it back to the last bit."""

    session_id: str
    departure_us: int | None = None
    first_us: int | None = None
    newest: Point | None = None
    samples: int = 0
    late: int = 0
    repeats: int = 0
    intervals: int = 0
    known_s: float = 0.0
    gap_s: float = 0.0
    longest_gap: Stretch | None = None
    flow_s: float = 0.0
    charge_as: float = 0.0
    peak_a: float = 0.0
    peak_kw: float = 0.0
    high_us: int | None = None
    flow_end_us: int | None = None
    stay_us: int = 0
    """The newest sample of the stay."""
    after: Run = msgspec.field(default_factory=Run)
    register_after_kwh: float = 0.0
    offer: Offer = msgspec.field(default_factory=Offer)
    pauses: Pauses = msgspec.field(default_factory=Pauses)
    plateau: Plateau = msgspec.field(default_factory=Plateau)
    meter: Meter = msgspec.field(default_factory=Meter)
    phases: Phases = msgspec.field(default_factory=Phases)
    readings: Readings = msgspec.field(default_factory=Readings)


class SeriesFold:
    """Folds one session's meter values.

    >>> from datetime import UTC, datetime, timedelta
    >>> from plugcast.domain.messages import MeterValues
    >>> at = datetime(2026, 3, 2, 7, tzinfo=UTC)
    >>> fold = SeriesFold("a")
    >>> for minute in range(10):
    ...     fold.push(MeterValues(v=1, site_id="s", station_id="c", measured_at=at + timedelta(minutes=minute),
    ...                           offered_current_a=16.0, measured_current_a=0.0))
    >>> round(fold.features().undrawn.seconds / 60)
    9
    """

    def __init__(self, session_id: str, state: SeriesState | None = None) -> None:
        self.state = SeriesState(session_id=session_id) if state is None else state

    def push(self, values: MeterValues) -> None:
        """Take one sample; constant cost."""
        state = self.state
        point = _point(values, state.newest)
        state.samples += 1
        newest = state.newest
        if newest is not None and point.at_us <= newest.at_us:
            state.late += 1
            state.repeats += _says_the_same(point, newest)
            return
        if state.first_us is None:
            state.first_us = point.at_us
        state.newest = point
        if state.departure_us is not None and point.at_us > state.departure_us:
            self._after(newest, point)
            return
        state.stay_us = point.at_us
        state.readings.sign(point, state.first_us)
        if newest is not None:
            self._interval(newest, point)

    def end(self, departure_at: datetime) -> None:
        """The car has left: samples that come from now on, and are later, tell what flows without it."""
        self.state.departure_us = micros(departure_at)

    def features(self) -> SeriesFeatures:
        """What is known by now."""
        return _features(self.state)

    def to_bytes(self) -> bytes:
        """The state, to go on from with :meth:`from_bytes`."""
        return msgspec.msgpack.encode(self.state)

    @classmethod
    def from_bytes(cls, content: bytes) -> SeriesFold:
        """Restore; raises msgspec.DecodeError (a ValueError) on content that is no state."""
        state = msgspec.msgpack.decode(content, type=SeriesState)
        return cls(state.session_id, state)

    def _interval(self, one: Point, two: Point) -> None:
        state = self.state
        seconds = (two.at_us - one.at_us) * US
        if seconds > GAP_S:
            self._gap(one, two, seconds)
            return
        state.intervals += 1
        state.known_s += seconds
        if one.flows and two.flows:
            state.flow_s += seconds
            state.peak_a = max(state.peak_a, _least(one.current_a, two.current_a))
            state.peak_kw = max(state.peak_kw, _least(one.power_kw, two.power_kw))
        if (one.flows or two.flows) and isfinite(one.current_a) and isfinite(two.current_a):
            state.charge_as += (one.current_a + two.current_a) / 2 * seconds
        if two.flows:
            state.flow_end_us = two.at_us
            could = min(two.offered_a, state.peak_a) if two.offers else state.peak_a
            if two.current_a >= HIGH_SHARE * could or state.high_us is None:
                state.high_us = two.at_us
        state.offer.step(one, two, seconds)
        state.pauses.step(one, two, state.peak_a)
        state.plateau.step(one, two)
        state.meter.step(one, two, seconds, state.peak_kw)
        state.phases.step(one, two, seconds)
        state.readings.step(one, two)

    def _gap(self, one: Point, two: Point, seconds: float) -> None:
        state = self.state
        state.gap_s += seconds
        if state.longest_gap is None or seconds > state.longest_gap.seconds:
            state.longest_gap = Stretch(start_us=one.at_us, end_us=two.at_us, value=seconds, beside=GAP_S)
        for watch in (state.offer, state.pauses, state.plateau, state.phases, state.readings):
            watch.stop()
        state.meter.step(one, two._replace(power_kw=NAN), seconds, state.peak_kw)

    def _after(self, one: Point | None, two: Point) -> None:
        """Nothing may flow once the car is gone."""
        state = self.state
        late_s = (two.at_us - (state.departure_us or 0)) * US
        if not two.flows or late_s <= AFTER_SLACK_S:
            state.after.stop()
            return
        begin = two.at_us if one is None or not one.flows else max(one.at_us, state.departure_us or 0)
        state.after.step(begin, two.at_us, two.current_a, two.power_kw)
        if one is not None and one.flows and two.register_kwh > one.register_kwh:
            state.register_after_kwh += two.register_kwh - one.register_kwh


def series_features(
    session_id: str, values: Iterable[MeterValues], *, departure_at: datetime | None = None
) -> SeriesFeatures:
    """The features of one session from its meter values, in the order in which they came.

    Args:
        session_id: Theirs.
        values: Those after the plug-out may be among them, and come last.
        departure_at: The plug-out; None while the car is there.
    """
    fold = SeriesFold(session_id)
    for sample in values:
        if departure_at is not None and fold.state.departure_us is None and sample.measured_at > departure_at:
            fold.end(departure_at)
        fold.push(sample)
    if departure_at is not None:
        fold.end(departure_at)
    return fold.features()


def _point(values: MeterValues, before: Point | None) -> Point:
    at_us = micros(values.measured_at)
    current, offered = _or_nan(values.measured_current_a), _or_nan(values.offered_current_a)
    power = _or_nan(values.power_kw)
    least = STILL_A if before is not None and before.flows else FLOW_A
    flows = current > least if values.measured_current_a is not None else power > FLOW_KW
    same = before is not None and abs(before.offered_a - offered) < STEADY_A
    return Point(
        at_us=at_us,
        current_a=current,
        offered_a=offered,
        power_kw=power,
        voltage_v=_or_nan(values.voltage_v),
        register_kwh=_or_nan(values.energy_register_kwh),
        flows=flows,
        offered_since_us=before.offered_since_us if same and before is not None else at_us,
    )


def _features(state: SeriesState) -> SeriesFeatures:
    offer, pauses, meter, readings = state.offer, state.pauses, state.meter, state.readings
    flow_h = state.flow_s / 3600
    span_us = 0 if state.newest is None or state.first_us is None else state.newest.at_us - state.first_us
    tail_us = 0 if state.flow_end_us is None or state.high_us is None else state.flow_end_us - state.high_us
    ended = None
    if pauses.ended_us is not None:
        ended = Stretch(start_us=pauses.ended_us, end_us=state.stay_us, value=pauses.end_share, beside=pauses.end_a)
    return SeriesFeatures(
        session_id=state.session_id,
        samples=state.samples,
        late=state.late,
        repeats=state.repeats,
        span_h=span_us * US / 3600,
        gap_h=state.gap_s / 3600,
        longest_gap=state.longest_gap,
        interval_s=_ratio(state.known_s, state.intervals),
        flow_h=flow_h,
        offered_h=offer.offered_s / 3600,
        charge_ah=state.charge_as / 3600,
        mean_a=_ratio(state.charge_as, state.flow_s),
        peak_a=state.peak_a,
        use=_ratio(offer.drawn_as, offer.offered_as),
        full_share=_ratio(offer.full_s, state.flow_s),
        undrawn=offer.undrawn.longest,
        over=offer.over.longest,
        unoffered=offer.unoffered.longest,
        after=state.after.longest,
        register_after_kwh=state.register_after_kwh,
        pauses=pauses.own.total,
        busiest_pauses=pauses.own.stretch,
        commanded_pauses=pauses.commanded,
        pauses_per_h=_ratio(pauses.own.total, flow_h),
        swings=pauses.swings.total,
        busiest_swings=pauses.swings.stretch,
        end_share=pauses.end_share,
        ended=ended,
        tail_min=tail_us * US / 60 if state.flow_end_us is not None else NAN,
        low=state.plateau.low.longest,
        register_kwh=meter.total_kwh,
        counted_kwh=meter.both_kwh,
        integral_kwh=meter.integral_kwh,
        doubt_kwh=meter.doubt_kwh,
        energy_kwh=meter.power_kwh,
        meter_ratio=_ratio(meter.both_kwh, meter.integral_kwh),
        fall=meter.fall,
        falls=meter.falls,
        jump=meter.jump,
        stuck=meter.stuck.longest,
        step_kwh=meter.step_kwh,
        phases=_ratio(state.phases.power_kws, state.phases.product_kws),
        lost=state.phases.lost.longest,
        frozen=readings.frozen.longest,
        most_equal=readings.most_equal,
        moved=readings.moved,
        digest=f"{readings.digest:016x}",
    )


def at_of(at_us: int) -> datetime:
    """The instant of a stretch's border."""
    return instant(at_us)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _least(one: float, two: float) -> float:
    """The smaller; 0 where either is not known."""
    return min(one, two) if isfinite(one) and isfinite(two) else 0.0


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else NAN


def _says_the_same(one: Point, two: Point) -> bool:
    def told(point: Point) -> tuple[float | None, ...]:
        values = point.at_us, point.current_a, point.offered_a, point.power_kw, point.voltage_v, point.register_kwh
        return tuple(value if isfinite(value) else None for value in values)

    return told(one) == told(two)
