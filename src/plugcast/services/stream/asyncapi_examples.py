"""One true-to-life example of each message, for the AsyncAPI document and for whoever writes a sender."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from plugcast.domain.finding import Cause, Severity
from plugcast.domain.messages import (
    Heartbeat,
    Message,
    MeterValues,
    SessionEnded,
    SessionStarted,
    SessionUpdated,
    Telemetry,
)
from plugcast.domain.outgoing import (
    DeadLetter,
    FaultInjected,
    FindingRaised,
    ForecastIssued,
    Outgoing,
    ReasonGiven,
    SessionScored,
)
from plugcast.domain.rejected import RejectReason

ARRIVAL: Final = datetime(2026, 3, 2, 16, 4, 11, tzinfo=UTC)
DONE: Final = datetime(2026, 3, 2, 18, 30, 2, tzinfo=UTC)
DEPARTURE: Final = datetime(2026, 3, 3, 0, 41, 56, tzinfo=UTC)
SESSION: Final = "2-39-139-28_2026-03-02 16:04:11"
SITE: Final = "0002"
STATION: Final = "2-39-139-28"

EXAMPLES: Final[tuple[Message | Outgoing, ...]] = (
    SessionStarted(
        v=1,
        session_id=SESSION,
        site_id=SITE,
        station_id=STATION,
        arrival_at=ARRIVAL,
        time_zone="America/Los_Angeles",
        cluster_id="0039",
        space_id="CA-319",
        user_id="000000194",
    ),
    SessionUpdated(
        v=1,
        session_id=SESSION,
        available_at=datetime(2026, 3, 2, 16, 5, 40, tzinfo=UTC),
        energy_requested_kwh=12.0,
        declared_departure_at=datetime(2026, 3, 3, 0, 30, tzinfo=UTC),
        minutes_available=506.0,
        miles_requested=40.0,
        wh_per_mile=300.0,
        payment_required=True,
        user_id="000000194",
    ),
    SessionEnded(
        v=1,
        session_id=SESSION,
        site_id=SITE,
        station_id=STATION,
        arrival_at=ARRIVAL,
        departure_at=DEPARTURE,
        done_charging_at=DONE,
        energy_delivered_kwh=11.43,
        time_zone="America/Los_Angeles",
        cluster_id="0039",
        space_id="CA-319",
        user_id="000000194",
    ),
    MeterValues(
        v=1,
        site_id=SITE,
        station_id=STATION,
        measured_at=datetime(2026, 3, 2, 17, 10, tzinfo=UTC),
        session_id=SESSION,
        power_kw=6.31,
        offered_current_a=32.0,
        measured_current_a=30.4,
        voltage_v=207.6,
        energy_register_kwh=18_204.71,
    ),
    Heartbeat(v=1, site_id=SITE, station_id=STATION, sent_at=datetime(2026, 3, 2, 17, 15, tzinfo=UTC)),
    Telemetry(
        v=1,
        asset_id="van-07",
        timestamp=datetime(2026, 3, 2, 17, 15, tzinfo=UTC),
        soc=61.5,
        is_plugged_in=True,
        power_kw=10.8,
        capacity_kwh=77.0,
    ),
    FindingRaised(
        v=1,
        finding_id="8c5f1d0a7f3b42e0",
        session_id=SESSION,
        site_id=SITE,
        station_id=STATION,
        user_id="000000194",
        observed_at=DEPARTURE,
        score=1.0,
        p_value=None,
        cause=Cause.METER_FAULT,
        severity=Severity.CRITICAL,
        by="rule:meter_fault",
        reasons=(
            ReasonGiven(
                feature="mean_power_kw",
                text="The mean power was 31.2 kW, more than the 7.2 kW that the station can give.",
                contribution=1.0,
                value=31.2,
                norm=7.2,
                cause=Cause.METER_FAULT,
            ),
        ),
    ),
    SessionScored(
        v=1,
        session_id=SESSION,
        site_id=SITE,
        station_id=STATION,
        observed_at=DEPARTURE,
        score=0.41,
        p_value=0.73,
        by=None,
        detector_version="a3c1e2f9",
    ),
    ForecastIssued(
        v=1,
        asset_id="van-07",
        issued_at=datetime(2026, 3, 2, 17, 15, tzinfo=UTC),
        valid_at=datetime(2026, 3, 2, 17, 30, tzinfo=UTC),
        plug_probability=0.93,
        energy_to_full_pct=36.2,
        unlike=0.48,
        model="a3c1e2f9",
    ),
    DeadLetter(
        v=1,
        topic="ev-station-data",
        partition=1,
        offset=20_417,
        appended_at=datetime(2026, 3, 2, 17, 15, 1, tzinfo=UTC),
        reason=RejectReason.TIME_OUT_OF_RANGE,
        detail="sent_at: wanted an instant from 2010-01-01 to 2026-03-03 17:15 UTC, found 1970-01-01T00:00:12+00:00.",
        size=96,
        raw=b'{"type":"heartbeat","v":1,"site_id":"0002","station_id":"2-39-139-28","sent_at":"1970-01-01T00:0',
    ),
    FaultInjected(
        v=1,
        session_id=SESSION,
        site_id=SITE,
        station_id=STATION,
        known_at=DEPARTURE,
        fault="meter_jump",
        cause=Cause.METER_FAULT,
        severity=Severity.CRITICAL,
        ocpp_code="PowerMeterFailure",
    ),
)
