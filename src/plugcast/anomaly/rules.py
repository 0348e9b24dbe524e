"""Physics rules: exact, each with its cause, severity and a sentence with the numbers that broke it.

A rule looks at one :class:`SessionFeatures` and answers with :class:`Broken` or None; it never raises. What is not
known (NaN) breaks no rule, since every comparison with NaN is false: rules compare towards the fault, never away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plugcast.domain.finding import Cause, Severity
from plugcast.domain.site import CurrentType

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugcast.features.sessions import SessionFeatures

RULES_VERSION: Final = "rules-2"
"""Part of a rule finding's id; changes when a rule starts to answer otherwise."""

NO_ENERGY_KWH: Final = 0.1
FAILED_AFTER_MIN: Final = 5.0
OVER_RATING: Final = 1.15
"""Meters, rounding and the rating's own estimate stay within 15 %."""
CLOCK_SLACK_MIN: Final = 5.0
"""Reports of "done" 58 to 60 s after the plug-out are ordinary in ACN data."""
ENERGY_SLACK_KWH: Final = 0.25
"""Two minutes at 7 kW: many sources round the ends of a stay to the minute."""
GHOST_MIN: Final = 3.0
GHOST_KWH: Final = 0.2
BOUNCE_MIN: Final = 10.0
BOUNCE_EARLIER: Final = 2
OVERSTAY_H: Final = 8.0
"""Drivers misjudge their own departure by almost 3 h on average; 4 h would name one session in twelve at Caltech."""
LONG_STAY_H: Final = 24.0
USUAL_SHARE: Final = 0.98
USUAL_VISITS: Final = 20
STUCK_TIMES: Final = 2.0
STUCK_RATING_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """One rule that one session breaks."""

    rule: str
    cause: Cause
    severity: Severity
    text: str
    feature: str
    value: float
    norm: float | None


def check(row: SessionFeatures) -> tuple[Broken, ...]:
    """Every rule that the session breaks, in the order of ``RULES``."""
    return tuple(broken for rule in RULES if (broken := rule(row)) is not None)


def failed_start(row: SessionFeatures) -> Broken | None:
    """Connected for more than 5 minutes, and no energy."""
    minutes = row.duration_h * 60
    if not (-NO_ENERGY_KWH < row.energy_kwh < NO_ENERGY_KWH and minutes > FAILED_AFTER_MIN):
        return None
    return Broken(
        rule="failed_start",
        cause=Cause.FAILED_START,
        severity=Severity.WARNING,
        text=f"connected for {minutes:.0f} min and delivered {row.energy_kwh:.2f} kWh: charging never started",
        feature="energy_kwh",
        value=row.energy_kwh,
        norm=_known(row.user_energy_kwh_median, row.site_energy_kwh_median),
    )


def negative_energy(row: SessionFeatures) -> Broken | None:
    """The meter counted backwards."""
    if not row.energy_kwh <= -NO_ENERGY_KWH:
        return None
    return Broken(
        rule="negative_energy",
        cause=Cause.METER_FAULT,
        severity=Severity.CRITICAL,
        text=f"the meter says {row.energy_kwh:.2f} kWh: a car cannot deliver energy here",
        feature="energy_kwh",
        value=row.energy_kwh,
        norm=0.0,
    )


def impossible_energy(row: SessionFeatures) -> Broken | None:
    """More energy than the station can deliver in the whole time the car was connected."""
    most_kwh = row.rating_kw * row.duration_h
    if not row.energy_kwh > most_kwh * OVER_RATING + ENERGY_SLACK_KWH:
        return None
    return Broken(
        rule="impossible_energy",
        cause=Cause.METER_FAULT,
        severity=Severity.CRITICAL,
        text=(
            f"delivered {row.energy_kwh:.1f} kWh in {_span(row.duration_h)}; "
            f"a station of {row.rating_kw:.1f} kW can deliver {most_kwh:.1f} kWh"
        ),
        feature="energy_kwh",
        value=row.energy_kwh,
        norm=most_kwh,
    )


def over_rating(row: SessionFeatures) -> Broken | None:
    """Power while charging above the station's rating, though the whole stay would have had room for the energy."""
    most_kw = row.rating_kw * OVER_RATING
    if not (row.mean_kw > most_kw and row.kw_conn <= most_kw and row.charging_h > 0 and row.energy_kwh > 0):
        return None
    return Broken(
        rule="over_rating",
        cause=Cause.OVER_RATING,
        severity=Severity.WARNING,
        text=(
            f"charged {row.energy_kwh:.1f} kWh in {_span(row.charging_h)}, {row.mean_kw:.1f} kW; "
            f"the station's rating is {row.rating_kw:.1f} kW: its power, meter or end-of-charging clock is wrong"
        ),
        feature="mean_kw",
        value=row.mean_kw,
        norm=row.rating_kw,
    )


def stuck_on(row: SessionFeatures) -> Broken | None:
    """Full power from plug-in to plug-out, no end reported, far more than the driver ever takes or asked for."""
    usual_kwh = row.user_energy_kwh_median
    wanted = not row.fulfilment <= 1.0  # an unknown request does not excuse it
    if not (
        row.done_missing == 1.0
        and row.duration_h > 0
        and row.kw_conn > STUCK_RATING_SHARE * row.rating_kw
        and row.user_visits >= USUAL_VISITS
        and row.energy_kwh > STUCK_TIMES * usual_kwh
        and wanted
        and row.current_type == CurrentType.AC
    ):
        return None
    return Broken(
        rule="stuck_on",
        cause=Cause.STUCK_ON,
        severity=Severity.CRITICAL,
        text=(
            f"full power ({row.kw_conn:.1f} kW) for all {row.duration_h:.1f} h without an end of charging: "
            f"{row.energy_kwh:.1f} kWh; this driver's median over {row.user_visits:.0f} visits is {usual_kwh:.1f} kWh"
        ),
        feature="energy_kwh",
        value=row.energy_kwh,
        norm=usual_kwh,
    )


def clock_fault(row: SessionFeatures) -> Broken | None:
    """The end of charging lies outside the stay."""
    late, after_arrival = row.done_after_departure_min, row.done_after_arrival_min
    if late > CLOCK_SLACK_MIN:
        text = f"end of charging is reported {late:.0f} min after the plug-out"
        value = late
    elif after_arrival <= 0:
        delivered = f", yet {row.energy_kwh:.1f} kWh were delivered" if row.energy_kwh > 0 else ""
        when = f"{-after_arrival:.1f} min before" if after_arrival < 0 else "at"
        text = f"end of charging is reported {when} the plug-in{delivered}"
        value = after_arrival
    else:
        return None
    return Broken(
        rule="clock_fault",
        cause=Cause.CLOCK_FAULT,
        severity=Severity.WARNING,
        text=text,
        feature="done_charging_at",
        value=value,
        norm=None,
    )


def ghost(row: SessionFeatures) -> Broken | None:
    """A plug that hardly stays: one visit of seconds, or short visits one after another."""
    minutes = row.duration_h * 60
    bounced = minutes < BOUNCE_MIN and row.station_recent_short >= BOUNCE_EARLIER
    if bounced:
        text = (
            f"stayed {minutes:.1f} min, after {row.station_recent_short:.0f} other visits under "
            f"{BOUNCE_MIN:.0f} min at this station within the hour"
        )
    elif minutes < GHOST_MIN and row.energy_kwh < GHOST_KWH:
        text = f"stayed {minutes:.1f} min and took {row.energy_kwh:.2f} kWh"
    else:
        return None
    return Broken(
        rule="ghost_session",
        cause=Cause.GHOST_SESSION,
        severity=Severity.WARNING if bounced else Severity.INFO,
        text=text,
        feature="duration_h",
        value=row.duration_h,
        norm=_known(row.user_duration_h_median, row.site_duration_h_median),
    )


def overstay(row: SessionFeatures) -> Broken | None:
    """The bay is blocked: full and gone long past the declared departure, or there for more than a day."""
    if row.overstay_h > OVERSTAY_H and row.idle_h > OVERSTAY_H:
        blocked_h = min(row.overstay_h, row.idle_h)
        text = (
            f"full for {row.idle_h:.1f} h, and left {row.overstay_h:.1f} h after the declared departure: "
            f"the bay was blocked for {blocked_h:.1f} h"
        )
        value, norm = blocked_h, OVERSTAY_H
    elif row.duration_h > LONG_STAY_H:
        charged = f", {row.charging_h:.1f} h of them charging" if row.charging_h > 0 else ""
        usual = row.site_duration_h_median
        beside = f"; the median stay at this site is {usual:.1f} h" if usual > 0 else ""
        text = f"stayed for {row.duration_h:.1f} h{charged}{beside}"
        value, norm = row.duration_h, LONG_STAY_H
    else:
        return None
    return Broken(
        rule="overstay",
        cause=Cause.OVERSTAY,
        severity=Severity.INFO,
        text=text,
        feature="idle_h",
        value=value,
        norm=norm,
    )


def never_done(row: SessionFeatures) -> Broken | None:
    """No end of charging on AC, from a driver and a station that nearly always report one.

    DC chargers never report it, so that its absence says nothing there.
    """
    if not (
        row.done_missing == 1.0
        and row.duration_h > 0  # a car that is still here may yet report it
        and row.current_type == CurrentType.AC
        and row.user_visits >= USUAL_VISITS
        and row.user_done_share >= USUAL_SHARE
        and row.station_visits >= USUAL_VISITS
        and row.station_done_share >= USUAL_SHARE
        and row.done_surprise >= USUAL_SHARE  # while the whole site is silent, one silent session says nothing
    ):
        return None
    return Broken(
        rule="never_done",
        cause=Cause.NEVER_DONE,
        severity=Severity.INFO,
        text=(
            f"no end of charging was reported in {row.duration_h:.1f} h; this driver's car reported one in "
            f"{row.user_done_share:.0%} of {row.user_visits:.0f} visits, this station in {row.station_done_share:.0%}"
        ),
        feature="done_missing",
        value=1.0,
        norm=1.0 - row.user_done_share,
    )


def replay(row: SessionFeatures) -> Broken | None:
    """The station's record repeats an earlier one to the second and the watt-hour."""
    if not (row.station_repeats >= 1 and row.energy_kwh > NO_ENERGY_KWH and row.duration_h > 0):
        return None
    return Broken(
        rule="replay",
        cause=Cause.REPLAY,
        severity=Severity.WARNING,
        text=(
            f"{row.energy_kwh:.3f} kWh in {row.duration_h * 3600:.0f} s: the same, to the second, as "
            f"{row.station_repeats:.0f} earlier record{'s' if row.station_repeats > 1 else ''} of this station"
        ),
        feature="station_repeats",
        value=row.station_repeats,
        norm=0.0,
    )


RULES: Final[tuple[Callable[[SessionFeatures], Broken | None], ...]] = (
    failed_start,
    negative_energy,
    impossible_energy,
    over_rating,
    stuck_on,
    clock_fault,
    ghost,
    overstay,
    never_done,
    replay,
)
"""In the order in which they are asked; independent of one another."""


def _span(hours: float) -> str:
    """Hours as a person says them.

    >>> _span(2.5), _span(0.25), _span(0.002)
    ('2.5 h', '15 min', '7 s')
    """
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.0f} min" if hours * 60 >= 1 else f"{hours * 3600:.0f} s"


def _known(*norms: float) -> float | None:
    """The first norm that is a number."""
    return next((norm for norm in norms if norm == norm), None)  # noqa: PLR0124 - NaN is unequal to itself
