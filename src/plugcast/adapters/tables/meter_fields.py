"""Which column names of meter values are understood."""

from __future__ import annotations

from typing import Final

from plugcast.adapters.tables.aliases import Field

METER_FIELDS: Final = (
    Field(
        name="measured_at",
        meaning="instant of the sample; a first column without a name is taken as well",
        aliases=(
            "timestamp",
            "time",
            "datetime",
            "ts",
            "time_utc",
            "timestamp_utc",
            "timestamp_ms",
            "timestamp_s",
            "unix_time",
            "recorded_at",
            "",
            "unnamed_0",
        ),
        required=True,
    ),
    Field(
        name="session_id",
        meaning="key of the session, or the source's readable name of it; without one, the station and the time say "
        "which session it is, or the file's own name does",
        aliases=("session", "transaction_id", "id_transaction", "charging_event_id", "native_session_id"),
    ),
    Field(name="site_id", meaning="the site", aliases=("site", "location", "location_id")),
    Field(
        name="station_id",
        meaning="the charging station",
        aliases=("station", "charging_station_id", "charge_point_id", "cp_id", "evse_id", "charger_id", "charger"),
    ),
    Field(
        name="power_kw",
        meaning="power, kW, positive into the car",
        aliases=("power", "active_power_kw", "charging_power_kw", "power_active_import_kw"),
    ),
    Field(
        name="power_w",
        meaning="the same in W; taken where there is no `power_kw`",
        aliases=("active_power_w", "power_active_import", "power_active_import_w"),
    ),
    Field(
        name="offered_current_a",
        meaning="what the control pilot lets the car draw, A, each phase",
        aliases=(
            "pilot",
            "pilot_a",
            "pilot_signal",
            "pilot_signal_a",
            "actual_pilot_a",
            "current_offered",
            "offered_a",
        ),
    ),
    Field(
        name="measured_current_a",
        meaning="what it draws, A, each phase",
        aliases=("current", "current_a", "charging_current", "charging_current_a", "current_import", "amps"),
    ),
    Field(name="voltage_v", meaning="voltage, V, phase to neutral", aliases=("voltage", "volts")),
    Field(
        name="energy_register_kwh",
        meaning="the meter's register, kWh; one that begins anew with each session is understood",
        aliases=(
            "register_kwh",
            "meter_kwh",
            "energy_kwh",
            "energy_delivered_kwh",
            "energy_active_import_register_kwh",
        ),
    ),
    Field(
        name="energy_register_wh",
        meaning="the same in Wh; taken where there is no `energy_register_kwh`",
        aliases=("register_wh", "meter_wh", "energy_wh", "energy_active_import_register", "meter_value"),
    ),
)
