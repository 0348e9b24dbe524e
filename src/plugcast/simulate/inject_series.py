"""Faults put into meter values, made ones or real ones: each with what the session's record then says.

A transform takes a sound series and its session and gives both back faulty, or None where the fault cannot happen to
it. The record follows from the series (:func:`recorded`), as a station's own would: what the meter counted, and when
the flow ended. Rows of the taxonomy that no meter value shows (a cloned card, a site's event) stay with
``simulate.inject``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import polars as pl

from plugcast.features.online import instant, micros
from plugcast.simulate.faults import FAULTS, FaultType
from plugcast.simulate.meter_series import US, MeterSeries
from plugcast.simulate.series_breaks import (
    BREAK,
    FLOWS_A,
    HIGH,
    LEAST_SAMPLES,
    LOW,
    SeriesFault,
    charge,
    given_up,
    integral,
    sound,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from plugcast.domain.session import Session
    from plugcast.simulate.faults import Fault

    Floats = NDArray[np.float64]
    Rng = np.random.Generator

LEAST_KWH: Final = 1.0
IDLE_US: Final = 300 * US


SCALED: Final[Mapping[SeriesFault, tuple[float, float]]] = {
    SeriesFault.REGISTER_HIGH: HIGH,
    SeriesFault.REGISTER_LOW: LOW,
}
KIND: Final[Mapping[SeriesFault, FaultType]] = {
    SeriesFault.NEVER_DREW: FaultType.FAILED_START,
    SeriesFault.DERATED: FaultType.DERATING,
    SeriesFault.DERATED_FROM_START: FaultType.DERATING,
    SeriesFault.TRIPPED: FaultType.TRIP,
    SeriesFault.CURRENT_UNOFFERED: FaultType.STUCK_ON,
    SeriesFault.FLOW_AFTER_UNPLUG: FaultType.STUCK_ON,
    SeriesFault.REGISTER_HIGH: FaultType.METER_HIGH,
    SeriesFault.REGISTER_LOW: FaultType.METER_LOW,
    SeriesFault.SENSOR_HIGH: FaultType.METER_HIGH,
    SeriesFault.SENSOR_LOW: FaultType.METER_LOW,
    SeriesFault.REGISTER_STUCK: FaultType.METER_STUCK,
    SeriesFault.REGISTER_RESET: FaultType.METER_JUMP,
    SeriesFault.REGISTER_JUMP: FaultType.METER_JUMP,
    SeriesFault.READINGS_FROZEN: FaultType.METER_STUCK,
    SeriesFault.CLOCK_BACK: FaultType.CLOCK,
    SeriesFault.OVER_PILOT: FaultType.OVER_RATING,
    SeriesFault.REPLAYED: FaultType.REPLAY,
    SeriesFault.CHATTER: FaultType.CHATTER,
    SeriesFault.HUNTING: FaultType.CHATTER,
    SeriesFault.PHASE_LOST: FaultType.PHASE_LOSS,
}
"""The taxonomy's type, which carries cause, severity and OCPP code."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Faulty:
    """A faulty session."""

    session: Session
    series: MeterSeries
    fault: SeriesFault

    @property
    def known(self) -> Fault:
        """Its cause, severity and OCPP code."""
        return FAULTS[KIND[self.fault]]


def break_series(
    fault: SeriesFault, session: Session, series: MeterSeries, rng: Rng, *, earlier: MeterSeries | None = None
) -> Faulty | None:
    """One fault put into one session's meter values; None where it cannot happen to them.

    Args:
        fault: Which.
        session: Completed.
        series: Its sound meter values.
        rng: Of when and how much.
        earlier: Another series of the same station, for a replay.
    """
    clean = sound(series)
    if len(clean) < LEAST_SAMPLES or (session.energy_delivered_kwh or 0.0) < LEAST_KWH:
        return None
    if fault is SeriesFault.REPLAYED:
        return _replayed(session, earlier)
    if fault in SCALED and not np.isfinite(series.register_kwh).any():
        return _record_scaled(fault, session, series, rng)
    made = BREAK[fault](clean, rng)
    if made is None:
        return None
    if fault is SeriesFault.NEVER_DREW:
        made = given_up(made, rng)
    if fault is SeriesFault.FLOW_AFTER_UNPLUG:
        return Faulty(session=session, series=made, fault=fault)
    return Faulty(session=recorded(session, made, sound_one=clean), series=made, fault=fault)


def recorded(session: Session, series: MeterSeries, *, sound_one: MeterSeries | None = None) -> Session:
    """The session's record as a station would write it from these meter values.

    Args:
        session: Its record so far.
        series: Faulty.
        sound_one: Before the fault; where nothing but current is told, energy changes as the charge did.
    """
    at, flows = series.at_us, series.current_a > FLOWS_A
    energy = session.energy_delivered_kwh or 0.0
    if np.isfinite(series.register_kwh).any():
        counted = np.diff(series.register_kwh)
        energy = float(counted[counted > 0].sum())
    elif np.isfinite(series.power_kw).any():
        energy = integral(series)
    elif sound_one is not None:
        energy *= charge(series) / max(charge(sound_one), 1e-9)
    last = int(np.max(at[flows])) if flows.any() else None
    left = int(np.max(at))
    done = None if last is None or left - last < IDLE_US else instant(last)
    return msgspec.structs.replace(
        session,
        departure_at=instant(left),
        done_charging_at=done,
        energy_delivered_kwh=round(energy, 3),
    )


def labels_of(faulty: list[Faulty]) -> pl.DataFrame:
    """``simulate.inject.LABELS``, the fault being that of the series."""
    return pl.DataFrame(
        [
            {
                "session_id": each.session.session_id,
                "fault": each.fault.value,
                "cause": each.known.cause.value,
                "severity": each.known.severity.value,
                "ocpp_code": each.known.ocpp_code,
            }
            for each in faulty
        ],
        schema=dict.fromkeys(("session_id", "fault", "cause", "severity", "ocpp_code"), pl.String),
    )


def _replayed(session: Session, earlier: MeterSeries | None) -> Faulty | None:
    """The station sends an earlier session once more, under today's date."""
    if earlier is None or len(earlier) < 2 * LEAST_SAMPLES or not (earlier.current_a > FLOWS_A).any():
        return None
    at = earlier.at_us - earlier.at_us[0] + micros(session.arrival_at)
    made = replace(earlier, at_us=at)
    return Faulty(session=recorded(session, made), series=made, fault=SeriesFault.REPLAYED)


def _record_scaled(fault: SeriesFault, session: Session, series: MeterSeries, rng: Rng) -> Faulty:
    """Where the series tells no register, the one behind the record is off all the same."""
    factor = rng.uniform(*SCALED[fault])
    energy = round((session.energy_delivered_kwh or 0.0) * factor, 3)
    return Faulty(session=msgspec.structs.replace(session, energy_delivered_kwh=energy), series=series, fault=fault)
