"""Which column names are understood: the declared table, the matching, and its documentation.

Names are compared without case, accents and punctuation: ``SOC%``, ``SoC`` and ``soc`` are one name.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plugcast.errors import InputError, MissingColumnsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


RENAME: Final = (
    "Rename the columns (docs/reference/columns.md lists the accepted names), or let plugcast read --column OURS=THEIRS"
    " --out FILE write a file that every verb takes."
)
"""What to do where a column is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column of ours and the names it goes by elsewhere."""

    name: str
    meaning: str
    """Unit and sense, for the documentation."""
    aliases: tuple[str, ...] = ()
    required: bool = False


TELEMETRY_FIELDS: Final = (
    Field(
        name="asset_id",
        meaning="the vehicle; a file of one vehicle may be given it by `--asset-id`",
        aliases=("asset", "vehicle_id", "vehicle", "car_id", "car", "ev_id", "vin", "unit_id"),
        required=True,
    ),
    Field(
        name="timestamp",
        meaning="instant of the measurement (a column `time` may be completed by a column `date`)",
        aliases=(
            "time",
            "datetime",
            "date_time",
            "ts",
            "time_stamp",
            "measured_at",
            "recorded_at",
            "event_time",
            "timestamp_utc",
            "time_utc",
            "timestamp_ms",
            "timestamp_s",
            "timestamp_us",
            "epoch",
            "unix_time",
        ),
        required=True,
    ),
    Field(name="date", meaning="the date of `timestamp`, where it stands apart", aliases=("day_date", "measured_on")),
    Field(
        name="soc",
        meaning="state of charge, % of usable capacity, 0 to 100",
        aliases=(
            "soc_pct",
            "soc_percent",
            "soc_percentage",
            "battery_level",
            "battery_soc",
            "battery_pct",
            "battery_percent",
            "battery_percentage",
            "state_of_charge",
            "state_of_charge_pct",
            "soc_perc",
        ),
        required=True,
    ),
    Field(
        name="is_plugged_in",
        meaning="whether the car is plugged in: true/false, yes/no, on/off, 1/0 (2 = plugged at another socket)",
        aliases=(
            "plugged_in",
            "plugged",
            "is_plugged",
            "plug_state",
            "plug_status",
            "connected",
            "is_connected",
            "cable_connected",
            "plug_connected",
            "plugin",
        ),
        required=True,
    ),
    Field(
        name="power_kw",
        meaning="charging power, kW, positive into the car",
        aliases=("power", "charging_power_kw", "charging_power", "charge_power_kw", "charger_power_kw"),
    ),
    Field(
        name="capacity_kwh",
        meaning="usable battery capacity, kWh",
        aliases=("capacity", "battery_capacity_kwh", "battery_capacity", "usable_capacity_kwh", "battery_kwh"),
    ),
    Field(name="gap_flag", meaning="the writer's own mark of a gap, true or false", aliases=("gap", "is_gap")),
    Field(
        name="available_at",
        meaning="when the row became known; never taken as earlier than `timestamp`",
        aliases=("received_at", "ingested_at", "arrived_at"),
    ),
)

SESSION_FIELDS: Final = (
    Field(
        name="session_id",
        meaning="key of the session; without one a stable hash of station, space and arrival stands in",
        aliases=("session", "id_transaction", "transaction_id", "charging_event", "charging_event_id", "object_id"),
    ),
    Field(name="site_id", meaning="the site", aliases=("site", "location", "location_id")),
    Field(name="cluster_id", meaning="a group of stations", aliases=("cluster", "garage_id", "garage")),
    Field(
        name="station_id",
        meaning="the charging station (`shared_id`: a shared point; where that is NA, the point is the user's own); "
        "a file of one station may be given it by `--asset-id`",
        aliases=(
            "station",
            "charging_station",
            "charging_station_id",
            "charge_point_id",
            "cp_id",
            "evse_id",
            "charger_id",
            "charger",
            "station_name",
            "id_borne",
            "ccs",
            "shared_id",
        ),
        required=True,
    ),
    Field(
        name="space_id",
        meaning="the parking space or connector",
        aliases=("space", "connector", "connector_id", "id_connecteur_borne", "port", "port_number"),
    ),
    Field(name="user_id", meaning="the driver", aliases=("user", "driver_id", "driver", "customer_id")),
    Field(name="native_session_id", meaning="the source's readable session name"),
    Field(name="time_zone", meaning="IANA zone of the site", aliases=("timezone",)),
    Field(
        name="arrival_at",
        meaning="plug-in (a column `start_time` may be completed by a column `start_date`)",
        aliases=(
            "arrival",
            "start",
            "started_at",
            "start_at",
            "start_time",
            "start_datetime",
            "start_date_time",
            "start_plugin",
            "plug_in",
            "plugin_time",
            "plug_in_time",
            "plugged_in_at",
            "connection_time",
            "connection_start",
            "connection_start_datetime",
            "date_demarrage",
            "arrival_time",
        ),
        required=True,
    ),
    Field(name="arrival_date", meaning="the date of `arrival_at`, where it stands apart", aliases=("start_date",)),
    Field(
        name="departure_at",
        meaning="plug-out; empty = still there (a column `end_time` may be completed by a column `end_date`)",
        aliases=(
            "departure",
            "end",
            "ended_at",
            "end_at",
            "end_time",
            "end_datetime",
            "end_date_time",
            "end_plugout",
            "plug_out",
            "plugout_time",
            "plug_out_time",
            "plugged_out_at",
            "disconnect_time",
            "disconnection_time",
            "connection_end",
            "connection_end_datetime",
            "date_fin",
            "departure_time",
        ),
        required=True,
    ),
    Field(name="departure_date", meaning="the date of `departure_at`, where it stands apart", aliases=("end_date",)),
    Field(
        name="done_charging_at",
        meaning="end of charging",
        aliases=("done_charging_time", "charging_end", "charging_end_datetime", "charge_end"),
    ),
    Field(
        name="energy_delivered_kwh",
        meaning="energy delivered, kWh",
        aliases=(
            "energy_kwh",
            "energy",
            "kwh_delivered",
            "delivered_energy_kwh",
            "el_kwh",
            "kwh",
            "total_kwh",
            "energy_delivered",
            "delivered_kwh",
        ),
        required=True,
    ),
    Field(
        name="energy_delivered_wh",
        meaning="the same in Wh; taken in place of `energy_delivered_kwh`",
        aliases=("energy_wh", "wh_delivered", "delivered_energy_wh", "wh", "consommation_totale_wh"),
    ),
    Field(
        name="energy_requested_kwh",
        meaning="energy that the driver asked for, kWh",
        aliases=("kwh_requested", "requested_energy_kwh", "requested_kwh"),
    ),
    Field(
        name="declared_departure_at",
        meaning="departure that the driver announced",
        aliases=("estimated_departure", "requested_departure", "declared_departure", "expected_departure"),
    ),
    Field(name="minutes_available", meaning="announced stay, minutes"),
    Field(
        name="claimed",
        meaning="whether the two wishes above are the driver's own (no = filled in by the producer, not taken)",
    ),
    Field(name="available_at", meaning="when the row became known (else the plug-out)", aliases=("received_at",)),
)

INSTEAD: Final[Mapping[str, tuple[str, ...]]] = {
    "timestamp": ("date",),
    "arrival_at": ("arrival_date",),
    "departure_at": ("departure_date",),
    "energy_delivered_kwh": ("energy_delivered_wh",),
}
"""A required column of ours, and those that serve where it is absent."""


def plain(name: str) -> str:
    """A name without case, accents and punctuation.

    >>> plain("Start_Date___Time"), plain("Énergie (kWh)"), plain("SOC%")
    ('startdatetime', 'energiekwh', 'soc')
    """
    decomposed = unicodedata.normalize("NFKD", name).lower()
    return "".join(char for char in decomposed if char.isalnum())


def match(
    found: Sequence[str],
    fields: Sequence[Field],
    *,
    source: str,
    declared: Mapping[str, str] | None = None,
    given: Sequence[str] = (),
    hint: str = "",
) -> dict[str, int]:
    """Positions of our columns among those found.

    Args:
        found: The table's column names, in order.
        fields: Our columns.
        source: The table's name, for messages.
        declared: Our name to the table's, from the user; it goes before the aliases.
        given: Required columns whose value comes from elsewhere.
        hint: What to do when a column is missing.

    Raises:
        MissingColumnsError: A required column, or a declared one, is not there.
        InputError: Two columns go by one of our names.
    """
    positions = _declared(found, fields, source=source, declared=declared or {})
    homes = {plain(alias): field.name for field in fields for alias in (field.name, *field.aliases)}
    taken = set(positions.values())
    for position, name in enumerate(found):
        home = homes.get(plain(name))
        if home is None or position in taken or (declared and home in declared):
            continue
        if home in positions:
            raise InputError(
                f"{source}: the columns {found[positions[home]]!r} and {name!r} both mean {home}. "
                f"Say which one counts with --column {home}=NAME, or rename one of them."
            )
        positions[home] = position
    missing = [
        field.name
        for field in fields
        if field.required
        and field.name not in given
        and not any(name in positions for name in (field.name, *INSTEAD.get(field.name, ())))
    ]
    if missing:
        raise MissingColumnsError(source, missing=missing, found=[shown(name) for name in found], hint=hint)
    return positions


def _declared(
    found: Sequence[str], fields: Sequence[Field], *, source: str, declared: Mapping[str, str]
) -> dict[str, int]:
    ours = [field.name for field in fields]
    unknown = sorted(set(declared) - set(ours))
    if unknown:
        raise InputError(
            f"{source}: a column was declared for {', '.join(unknown)}; wanted one of {', '.join(ours)}. "
            "Write --column OURS=THEIRS."
        )
    absent = [native for native in declared.values() if native not in found]
    if absent:
        raise MissingColumnsError(
            source,
            missing=absent,
            found=[shown(name) for name in found],
            hint="Correct the declared column name.",
        )
    return {name: list(found).index(native) for name, native in declared.items()}


def shown(name: str) -> str:
    """A column name fit for a message: control characters escaped, at most 60 characters."""
    safe = name if name.isprintable() else repr(name)
    return safe if len(safe) <= 60 else safe[:59] + "…"  # noqa: PLR2004 - see above
