"""The columns of every frame that crosses a room's border, with their dtypes.

Names are the domain's; all instants are UTC with microseconds; missing is null, never a magic number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from plugcast.errors import MissingColumnsError

if TYPE_CHECKING:
    from collections.abc import Mapping

INSTANT: Final = pl.Datetime("us", "UTC")

TELEMETRY: Final[Mapping[str, pl.DataType]] = {
    "asset_id": pl.String(),
    "timestamp": INSTANT,
    "soc": pl.Float64(),
    "is_plugged_in": pl.Boolean(),
    "power_kw": pl.Float64(),
    "capacity_kwh": pl.Float64(),
    "available_at": INSTANT,
}
"""One row a sample. ``available_at`` is when the row became known; a plain file's rows are known at their timestamp.
Columns beyond these are kept and passed through."""

SESSIONS: Final[Mapping[str, pl.DataType]] = {
    "session_id": pl.String(),
    "site_id": pl.String(),
    "cluster_id": pl.String(),
    "station_id": pl.String(),
    "space_id": pl.String(),
    "user_id": pl.String(),
    "native_session_id": pl.String(),
    "time_zone": pl.String(),
    "arrival_at": INSTANT,
    "departure_at": INSTANT,
    "done_charging_at": INSTANT,
    "energy_delivered_kwh": pl.Float64(),
    "available_at": INSTANT,
}
"""One row a session. ``available_at`` is when the record became known: the plug-out; for a running one, the plug-in."""

USER_INPUTS: Final[Mapping[str, pl.DataType]] = {
    "session_id": pl.String(),
    "available_at": INSTANT,
    "energy_requested_kwh": pl.Float64(),
    "declared_departure_at": INSTANT,
    "minutes_available": pl.Float64(),
    "miles_requested": pl.Float64(),
    "wh_per_mile": pl.Float64(),
    "payment_required": pl.Boolean(),
    "user_id": pl.String(),
}
"""One row a declaration of a driver, amendments included, in the order they became known."""

METER_VALUES: Final[Mapping[str, pl.DataType]] = {
    "session_id": pl.String(),
    "site_id": pl.String(),
    "station_id": pl.String(),
    "measured_at": INSTANT,
    "power_kw": pl.Float64(),
    "offered_current_a": pl.Float64(),
    "measured_current_a": pl.Float64(),
    "voltage_v": pl.Float64(),
    "energy_register_kwh": pl.Float64(),
}
"""One row a sample of a station, in the order in which they came. ``session_id`` may be the session's key or its native
name; null where the source names none: then station and instant tell. Null is not measured."""

PREDICTIONS: Final[Mapping[str, pl.DataType]] = {
    "asset_id": pl.String(),
    "timestamp": INSTANT,
    "plug_probability": pl.Float64(),
    "predicted_energy_to_full": pl.Float64(),
}
"""The public prediction file: one row for every vehicle's newest sample."""


def empty(schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """A frame of no rows with the schema's columns."""
    return pl.DataFrame(schema=dict(schema))


def conform(frame: pl.DataFrame, schema: Mapping[str, pl.DataType], *, source: str = "frame") -> pl.DataFrame:
    """The frame with the schema's columns first and in its dtypes; further columns follow untouched.

    Raises:
        MissingColumnsError: A column of the schema is absent.
    """
    missing = [name for name in schema if name not in frame.columns]
    if missing:
        raise MissingColumnsError(source, missing=missing, found=frame.columns)
    rest = [name for name in frame.columns if name not in schema]
    return frame.select([pl.col(name).cast(dtype) for name, dtype in schema.items()] + [pl.col(name) for name in rest])
