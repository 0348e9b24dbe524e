"""What goes wrong in charging stations: 14 faults, each with its cause, severity and the OCPP code it would carry.

The codes are OCPP 1.6's ``ChargePointErrorCode``. A row may have several variants (a meter can read high, low, stand
still or jump); each variant is a fault type of its own, so that a detector can be judged on types it never saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from plugcast.domain.finding import Cause, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping


class FaultType(StrEnum):
    """One way in which a session or its current can be made faulty."""

    FAILED_START = "failed_start"
    DERATING = "derating"
    TRIP = "trip"
    STUCK_ON = "stuck_on"
    METER_HIGH = "meter_high"
    METER_LOW = "meter_low"
    METER_STUCK = "meter_stuck"
    METER_JUMP = "meter_jump"
    GHOST = "ghost"
    OVERSTAY = "overstay"
    TOKEN_MISUSE = "token_misuse"  # noqa: S105 - a charge card, not a secret
    CLOCK = "clock"
    LOST_DONE = "lost_done"
    OVER_RATING = "over_rating"
    REPLAY = "replay"
    CHATTER = "chatter"
    PHASE_LOSS = "phase_loss"
    COLLECTIVE = "collective"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is known of a fault type beforehand."""

    row: int
    """Of the taxonomy, 1 to 14."""
    cause: Cause
    severity: Severity
    ocpp_code: str
    looks_like: frozenset[Cause]
    """Causes that a session's record alone can tell: a lost phase, a chattering contactor and a hot station all show
    as low power; only the current over time tells them apart."""


def _fault(row: int, cause: Cause, severity: Severity, ocpp_code: str, *alike: Cause) -> Fault:
    return Fault(row=row, cause=cause, severity=severity, ocpp_code=ocpp_code, looks_like=frozenset({cause, *alike}))


FAULTS: Final[Mapping[FaultType, Fault]] = {
    FaultType.FAILED_START: _fault(1, Cause.FAILED_START, Severity.WARNING, "EVCommunicationError"),
    FaultType.DERATING: _fault(2, Cause.DERATING, Severity.WARNING, "HighTemperature"),
    FaultType.TRIP: _fault(3, Cause.EARLY_STOP, Severity.WARNING, "GroundFailure"),
    FaultType.STUCK_ON: _fault(4, Cause.STUCK_ON, Severity.CRITICAL, "PowerSwitchFailure"),
    FaultType.METER_HIGH: _fault(5, Cause.METER_FAULT, Severity.WARNING, "PowerMeterFailure", Cause.OVER_RATING),
    FaultType.METER_LOW: _fault(5, Cause.METER_FAULT, Severity.WARNING, "PowerMeterFailure", Cause.DERATING),
    FaultType.METER_STUCK: _fault(6, Cause.METER_FAULT, Severity.WARNING, "PowerMeterFailure", Cause.DERATING),
    FaultType.METER_JUMP: _fault(6, Cause.METER_FAULT, Severity.CRITICAL, "PowerMeterFailure"),
    FaultType.GHOST: _fault(7, Cause.GHOST_SESSION, Severity.INFO, "ConnectorLockFailure"),
    FaultType.OVERSTAY: _fault(8, Cause.OVERSTAY, Severity.INFO, "NoError"),
    FaultType.TOKEN_MISUSE: _fault(9, Cause.TOKEN_MISUSE, Severity.WARNING, "NoError"),
    FaultType.CLOCK: _fault(10, Cause.CLOCK_FAULT, Severity.WARNING, "InternalError"),
    FaultType.LOST_DONE: _fault(10, Cause.NEVER_DONE, Severity.INFO, "WeakSignal"),
    FaultType.OVER_RATING: _fault(11, Cause.OVER_RATING, Severity.CRITICAL, "OverCurrentFailure", Cause.METER_FAULT),
    FaultType.REPLAY: _fault(11, Cause.REPLAY, Severity.WARNING, "OtherError"),
    FaultType.CHATTER: _fault(12, Cause.CHATTER, Severity.WARNING, "PowerSwitchFailure", Cause.DERATING),
    FaultType.PHASE_LOSS: _fault(13, Cause.PHASE_LOSS, Severity.WARNING, "UnderVoltage", Cause.DERATING),
    FaultType.COLLECTIVE: _fault(14, Cause.SITE_EVENT, Severity.CRITICAL, "OtherError", Cause.DERATING),
}
"""Every fault type; rows 1 to 14 of the taxonomy are all there."""

OCPP_CODES: Final = frozenset(
    {
        "ConnectorLockFailure",
        "EVCommunicationError",
        "GroundFailure",
        "HighTemperature",
        "InternalError",
        "LocalListConflict",
        "NoError",
        "OtherError",
        "OverCurrentFailure",
        "OverVoltage",
        "PowerMeterFailure",
        "PowerSwitchFailure",
        "ReaderFailure",
        "ResetFailure",
        "UnderVoltage",
        "WeakSignal",
    }
)
"""OCPP 1.6, section 7.6."""
