"""Physics rules on meter values: exact, each with its cause, severity, the numbers that broke it, and where it did.

They look at one session's :class:`SeriesFeatures` beside its record, need no training, and never raise. What is not
known (NaN, None) breaks no rule. Thresholds leave room for what sound stations and cars do: meters that read 0.2 A
above the pilot, cars that follow it after seconds, batteries that fill, drivers' limits that stop at full current.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plugcast.anomaly.rules import Broken
from plugcast.domain.finding import Cause, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugcast.features.series_values import SeriesFeatures
    from plugcast.features.series_watch import Stretch
    from plugcast.features.sessions import SessionFeatures

SERIES_RULES_VERSION: Final = "series-1"
SERIES_FEATURE: Final = "meter_values"
"""What their reasons name as the feature."""
NEVER_DREW_S: Final = 300.0
WRONG_S: Final = 60.0
"""A state that physics forbids has to last a minute: readings of current and pilot are not of one instant."""
MUCH_OVER: Final = 1.25
STUCK_KWH: Final = 0.5
COARSE_KWH: Final = 1.2
"""A register that never moved may count whole kWh."""
METER_SHARE: Final = 0.05
METER_KWH: Final = 0.1
RECORD_KWH: Final = 0.3
LEAST_KWH: Final = 0.5
WHOLE_H: Final = 0.2
"""Meter values cover the stay if no more of it is missing than this."""
PHASE_S: Final = 300.0
CHATTER_AN_HOUR: Final = 6
SWINGS_AN_HOUR: Final = 6
DERATED_S: Final = 1_800.0
FROZEN_S: Final = 1_800.0
FROZEN_SAMPLES: Final = 30
ABRUPT_SHARE: Final = 0.8
EARLY_STOP: Final = 0.5
SURE_STOP: Final = 0.8
"""Unmet share of the driver's usual energy times the idle share of the stay; a car that came fuller than usual stops at
full current as well, so that only the higher is an alarm."""
USUAL_VISITS: Final = 5
STOOD_S: Final = 1_200.0
DISORDER: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesBroken(Broken):
    """A rule that a session's meter values break, and where."""

    stretch: Stretch | None


def check_series(series: SeriesFeatures, row: SessionFeatures) -> tuple[SeriesBroken, ...]:
    """Every rule that the session's meter values break, in the order of ``SERIES_RULES``."""
    return tuple(broken for rule in SERIES_RULES if (broken := rule(series, row)) is not None)


def never_drew(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """Current is offered and none is ever drawn."""
    del row
    waited = series.undrawn
    if waited is None or waited.seconds < NEVER_DREW_S or series.flow_h > 0:
        return None
    text = f"was offered {waited.value:.0f} A for {lasted(waited.seconds)} and drew nothing: charging never started"
    return broken_series("never_drew", Cause.FAILED_START, Severity.WARNING, text, waited, value=0.0, norm=waited.value)


def current_unoffered(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """Current flows while the pilot forbids it: the contactor does not open."""
    del row
    flowed = series.unoffered
    if flowed is None or flowed.seconds < WRONG_S:
        return None
    text = (
        f"{_amps(flowed.value)} flowed for {lasted(flowed.seconds)} while the pilot offered "
        f"{flowed.beside:.0f} A: the contactor did not open"
    )
    return broken_series("current_unoffered", Cause.STUCK_ON, Severity.CRITICAL, text, flowed, norm=flowed.beside)


def flow_after_unplug(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """Current flows after the plug-out: a live socket, or a car that another one's record hides."""
    del row
    after = series.after
    if after is None or after.seconds < WRONG_S:
        return None
    counted = f", {series.register_after_kwh:.2f} kWh" if series.register_after_kwh > 0 else ""
    text = f"{_amps(after.value)} flowed for {lasted(after.seconds)} after the plug-out{counted}"
    return broken_series("flow_after_unplug", Cause.STUCK_ON, Severity.CRITICAL, text, after, norm=0.0)


def current_over_pilot(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """The car draws more than the pilot allows."""
    del row
    over = series.over
    if over is None or over.seconds < WRONG_S:
        return None
    much = over.value > MUCH_OVER * over.beside
    text = f"drew {over.value:.1f} A where the pilot allowed {over.beside:.1f} A, for {lasted(over.seconds)}"
    severity = Severity.CRITICAL if much else Severity.WARNING
    return broken_series("current_over_pilot", Cause.OVER_RATING, severity, text, over, norm=over.beside)


def register_backwards(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """The meter's register falls."""
    del row
    fall = series.fall
    if fall is None:
        return None
    more = f", the largest of {series.falls} falls" if series.falls > 1 else ""
    text = f"the meter's register fell from {fall.value:.3f} to {fall.beside:.3f} kWh{more}"
    return broken_series("register_backwards", Cause.METER_FAULT, Severity.CRITICAL, text, fall, value=fall.beside)


def register_jumps(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """The register counts more between two samples than any power there could deliver."""
    del row
    jump = series.jump
    if jump is None:
        return None
    text = (
        f"the meter's register rose by {jump.value:.2f} kWh within {lasted(jump.seconds)}; "
        f"the power then could have delivered {jump.beside:.2f} kWh at most"
    )
    return broken_series("register_jumps", Cause.METER_FAULT, Severity.CRITICAL, text, jump, norm=jump.beside)


def register_stands(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """Current flows, and the register stands still."""
    del row
    stuck = series.stuck
    least = max(STUCK_KWH, 2 * series.step_kwh) if series.step_kwh > 0 else COARSE_KWH
    if stuck is None or not stuck.value > least:
        return None
    text = (
        f"the meter's register stood at {stuck.beside:.2f} kWh for {lasted(stuck.seconds)} "
        f"while {stuck.value:.1f} kWh flowed"
    )
    return broken_series(
        "register_stands", Cause.METER_FAULT, Severity.WARNING, text, stuck, value=0.0, norm=stuck.value
    )


def meter_off(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """Register and integral of power differ by more than sampling can explain."""
    del row
    counted, integral = series.counted_kwh, series.integral_kwh
    coarse = series.step_kwh if series.step_kwh > 0 else 0.0
    room = METER_SHARE * integral + METER_KWH + series.doubt_kwh + coarse
    if not (integral > LEAST_KWH and abs(counted - integral) > room):
        return None
    text = (
        f"the meter's register counted {counted:.2f} kWh where its power adds up to {integral:.2f} kWh, "
        f"{counted / integral:.0%} of it"
    )
    return broken_series("meter_off", Cause.METER_FAULT, Severity.WARNING, text, None, value=counted, norm=integral)


def record_off(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """The session's record gives another energy than the meter counted over the whole stay."""
    missing_h = row.duration_h - series.span_h
    knows_register = series.step_kwh > 0
    told, counted = row.energy_kwh, series.register_kwh if knows_register else series.energy_kwh
    doubt = 0.0 if knows_register else series.doubt_kwh
    whole = missing_h < WHOLE_H and (knows_register or series.gap_h == 0) and counted > LEAST_KWH
    if not (whole and abs(told - counted) > METER_SHARE * counted + RECORD_KWH + doubt and series.falls == 0):
        return None
    what = "the meter's register counted" if knows_register else "the measured power adds up to"
    text = f"the record says {told:.2f} kWh; {what} {counted:.2f} kWh over the stay"
    return broken_series("record_off", Cause.METER_FAULT, Severity.WARNING, text, None, value=told, norm=counted)


def phase_lost(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """Power falls by whole phases at the same current and offer."""
    del row
    lost = series.lost
    if lost is None or lost.seconds < PHASE_S:
        return None
    fell = f"from {lost.value:.0f} phases to {lost.beside:.0f}"
    text = f"power fell {fell} at an unchanged offer, for {lasted(lost.seconds)}"
    return broken_series(
        "phase_lost", Cause.PHASE_LOSS, Severity.WARNING, text, lost, value=lost.beside, norm=lost.value
    )


def chatters(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """Charging stops and goes on again and again, or its current swings, under an offer that stands."""
    del row
    pauses, swings = series.busiest_pauses, series.busiest_swings
    if pauses is not None and pauses.value >= CHATTER_AN_HOUR:
        text = f"stopped and went on {pauses.value:.0f} times within {lasted(pauses.seconds)} while the offer stood"
        return broken_series("chatters", Cause.CHATTER, Severity.WARNING, text, pauses, norm=0.0)
    if swings is not None and swings.value >= SWINGS_AN_HOUR:
        text = f"the current swung {swings.value:.0f} times within {lasted(swings.seconds)} while the offer stood"
        return broken_series("chatters", Cause.CHATTER, Severity.WARNING, text, swings, norm=0.0)
    return None


def derated(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """A steady current far below one that this car held before, at the same offer; a filling battery is not steady."""
    del row
    low = series.low
    if low is None or low.seconds < DERATED_S:
        return None
    text = (
        f"fell to a steady {low.beside:.1f} A for {lasted(low.seconds)}, {low.beside / low.value:.0%} of the "
        f"{low.value:.1f} A that it was offered and had taken before"
    )
    return broken_series("derated", Cause.DERATING, Severity.WARNING, text, low, value=low.beside, norm=low.value)


def readings_frozen(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """Current, power and voltage repeat to the last digit for long: a voltage never does."""
    del row
    frozen = series.frozen
    if frozen is None or frozen.seconds < FROZEN_S or series.most_equal < FROZEN_SAMPLES:
        return None
    text = (
        f"every reading stayed the same to the last digit ({frozen.value:.2f} A, {frozen.beside:.1f} V) "
        f"for {lasted(frozen.seconds)}: they are not measured"
    )
    return broken_series("readings_frozen", Cause.METER_FAULT, Severity.WARNING, text, frozen)


def tripped(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """Full current to none at once, the offer stands, and the driver got far less than usual: no full battery."""
    ended = series.ended
    abrupt = ended is not None and ended.value >= ABRUPT_SHARE and ended.seconds >= STOOD_S
    if ended is None or not (abrupt and row.early_stop >= EARLY_STOP and row.user_visits >= USUAL_VISITS):
        return None
    severity = Severity.WARNING if row.early_stop >= SURE_STOP else Severity.INFO
    text = (
        f"fell from {ended.beside:.1f} A to nothing at once, and stayed off for {lasted(ended.seconds)} "
        f"while the offer stood: {row.energy_kwh:.1f} kWh; this driver's median is {row.user_energy_kwh_median:.1f} kWh"
    )
    return broken_series("tripped", Cause.EARLY_STOP, severity, text, ended, norm=row.user_energy_kwh_median)


def out_of_order(series: SeriesFeatures, row: SessionFeatures) -> SeriesBroken | None:
    """Samples come with times before those already told: the station's clock was set back."""
    del row
    count = series.late - series.repeats
    if count < DISORDER:
        return None
    text = f"{count} of {series.samples} samples were dated before others already sent: the station's clock went back"
    return broken_series("out_of_order", Cause.CLOCK_FAULT, Severity.WARNING, text, None, value=float(count), norm=0.0)


SERIES_RULES: Final[tuple[Callable[[SeriesFeatures, SessionFeatures], SeriesBroken | None], ...]] = (
    never_drew,
    current_unoffered,
    flow_after_unplug,
    current_over_pilot,
    register_backwards,
    register_jumps,
    register_stands,
    meter_off,
    record_off,
    phase_lost,
    chatters,
    derated,
    readings_frozen,
    tripped,
    out_of_order,
)
"""In the order in which they are asked; independent of one another."""


def lasted(seconds: float) -> str:
    """Seconds as a person says them.

    >>> lasted(9_000), lasted(900), lasted(40)
    ('2.5 h', '15 min', '40 s')
    """
    if seconds >= 5_400:  # noqa: PLR2004 - an hour and a half
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"  # noqa: PLR2004 - a minute and a half


def _amps(value: float) -> str:
    return f"{value:.1f} A" if value > 0 else "current"


def broken_series(
    rule: str,
    cause: Cause,
    severity: Severity,
    text: str,
    stretch: Stretch | None,
    *,
    value: float | None = None,
    norm: float | None = None,
) -> SeriesBroken:
    """A broken rule on meter values; without ``value`` it is the stretch's."""
    seen = value if value is not None else (stretch.value if stretch is not None else 0.0)
    return SeriesBroken(
        rule=rule,
        cause=cause,
        severity=severity,
        text=text,
        feature=SERIES_FEATURE,
        value=seen,
        norm=norm,
        stretch=stretch,
    )
