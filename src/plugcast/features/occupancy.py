"""Sessions as plug states of stations, and plug states as sessions: the two views of the same life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from plugcast import schemas
from plugcast.domain.units import SLOT_MIN
from plugcast.features.gaps import segment

if TYPE_CHECKING:
    from datetime import datetime

    from plugcast.features.spec import FeatureSpec

AC_EFFICIENCY: Final = 0.90
DC_EFFICIENCY: Final = 0.94
"""Of what the plug delivers, the share that reaches the battery (typical; the telemetry shows the battery's side)."""
AC_MOST_KW: Final = 22.0


def plug_states(
    sessions: pl.DataFrame, start_at: datetime, end_at: datetime, *, step_min: int = SLOT_MIN
) -> pl.DataFrame:
    """Plug state of every station on a regular grid, as known at each instant of it.

    A session still running (no plug-out) is plugged in until ``end_at``. Only stations that have had their first
    session are known: a station's samples start with the grid step at or after its first arrival.

    Args:
        sessions: ``schemas.SESSIONS``; one without a plug-out lasts until the station's next plug-in.
        start_at: First instant of the grid.
        end_at: End of the grid, not part of it.
        step_min: Minutes between instants.

    Returns:
        ``schemas.TELEMETRY`` with the station as asset and no state of charge.
    """
    grid = pl.DataFrame({"timestamp": pl.datetime_range(start_at, end_at, f"{step_min}m", closed="left", eager=True)})
    grid = grid.select(pl.col("timestamp").cast(schemas.INSTANT))
    # a stay that was never closed ends where the next car plugs in, at the latest
    stays = sessions.select("station_id", "arrival_at", "departure_at").sort("arrival_at")
    next_at = pl.col("arrival_at").shift(-1).over("station_id").fill_null(pl.lit(end_at).cast(schemas.INSTANT))
    stays = stays.with_columns(pl.col("departure_at").fill_null(next_at))
    first = stays.group_by("station_id").agg(pl.col("arrival_at").min().alias("_first_at"))
    every = first.join(grid, how="cross").filter(pl.col("timestamp") >= pl.col("_first_at")).sort("timestamp")
    # overlapping stays (a clock fault) count as one: the latest end so far decides
    stays = stays.with_columns(pl.col("departure_at").cum_max().over("station_id"))
    joined = every.join_asof(
        stays, left_on="timestamp", right_on="arrival_at", by="station_id", strategy="backward", check_sortedness=False
    )
    none = pl.lit(None, pl.Float64)
    return joined.select(
        pl.col("station_id").alias("asset_id"),
        "timestamp",
        none.alias("soc"),
        (pl.col("timestamp") < pl.col("departure_at")).fill_null(value=False).alias("is_plugged_in"),
        none.alias("power_kw"),
        none.alias("capacity_kwh"),
        pl.col("timestamp").alias("available_at"),
    ).sort("asset_id", "timestamp")


def sessions_of(samples: pl.DataFrame, spec: FeatureSpec, *, site_id: str) -> pl.DataFrame:
    """The visits that a fleet's telemetry shows; each vehicle stands for its own station and driver.

    A visit runs from the first sample plugged in to the first one that is not; a silence beyond the gap limit ends it
    at its last sample, and it is known only when the vehicle is heard of again. The visit that is running at a
    vehicle's newest sample has no departure and no end of charging. The energy is what the plug delivered: the rise of
    charge times the capacity, over the charging efficiency; null where charge or capacity is unknown.

    Args:
        samples: ``schemas.TELEMETRY``.
        spec: Gives the gap limit and the time zone.
        site_id: Site of the sessions.

    Returns:
        ``schemas.SESSIONS``.
    """
    visits = _visits(segment(samples.sort("asset_id", "timestamp"), spec))
    text = pl.lit(None, pl.String)
    arrival = pl.col("arrival_at").dt.strftime("%Y%m%dT%H%M%S")
    return schemas.conform(
        visits.select(
            pl.format("{}@{}", "asset_id", arrival).alias("session_id"),
            pl.lit(site_id).alias("site_id"),
            text.alias("cluster_id"),
            pl.col("asset_id").alias("station_id"),
            text.alias("space_id"),
            pl.col("asset_id").alias("user_id"),
            text.alias("native_session_id"),
            pl.lit(spec.time_zone).alias("time_zone"),
            "arrival_at",
            "departure_at",
            "done_charging_at",
            "energy_delivered_kwh",
            pl.coalesce("_next_at", "arrival_at").alias("available_at"),
        ),
        schemas.SESSIONS,
    ).sort("arrival_at", "session_id")


def _visits(segmented: pl.DataFrame) -> pl.DataFrame:
    """Plugged runs of segmented samples, with when the vehicle was next heard of (null at its newest sample)."""
    marked = segmented.with_columns(
        pl.col("is_plugged_in").rle_id().over("asset_id", "segment").alias("_run"),
        pl.col("timestamp").shift(-1).over("asset_id").alias("_next_at"),
        pl.col("gap_flag").shift(-1).over("asset_id").alias("_silent_after"),
    )
    runs = (
        marked.filter("is_plugged_in")
        .group_by("asset_id", "segment", "_run", maintain_order=True)
        .agg(
            pl.col("timestamp").first().alias("arrival_at"),
            pl.col("timestamp").last().alias("_last_at"),
            pl.col("_next_at", "_silent_after").last(),
            pl.col("timestamp").filter(pl.col("power_kw") > 0).last().alias("_powered_at"),
            pl.col("power_kw").max().alias("_most_kw"),
            ((pl.col("soc").max() - pl.col("soc").first()) / 100 * pl.col("capacity_kwh").last()).alias("_stored_kwh"),
        )
    )
    efficiency = pl.when(pl.col("_most_kw") > AC_MOST_KW).then(DC_EFFICIENCY).otherwise(AC_EFFICIENCY)
    over = pl.col("_next_at").is_not_null()
    return runs.with_columns(
        pl.when(pl.col("_silent_after")).then(pl.col("_last_at")).otherwise(pl.col("_next_at")).alias("departure_at"),
        # what still draws power at its last sample has not reported an end
        pl.when(over & (pl.col("_powered_at") < pl.col("_last_at")))
        .then(pl.col("_powered_at"))
        .alias("done_charging_at"),
        (pl.col("_stored_kwh").clip(lower_bound=0.0) / efficiency).alias("energy_delivered_kwh"),
    ).filter(pl.col("departure_at").is_null() | (pl.col("departure_at") > pl.col("arrival_at")))
