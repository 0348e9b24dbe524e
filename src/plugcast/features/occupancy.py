"""Sessions as plug states of stations, and plug states as sessions: the two views of the same life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from plugcast import schemas
from plugcast.domain.units import SLOT_MIN

if TYPE_CHECKING:
    from datetime import datetime

LONGEST_UNSEEN_MIN: Final = 240.0
"""A stay that hides in a longer silence cannot be told from two."""


def plug_states(
    sessions: pl.DataFrame, start_at: datetime, end_at: datetime, *, step_min: int = SLOT_MIN
) -> pl.DataFrame:
    """Plug state of every station on a regular grid, as known at each instant of it.

    A session still running (no plug-out) is plugged in until ``end_at``. Only stations that have had their first
    session are known: a station's samples start with the grid step at or after its first arrival.

    Args:
        sessions: ``schemas.SESSIONS``.
        start_at: First instant of the grid.
        end_at: End of the grid, not part of it.
        step_min: Minutes between instants.

    Returns:
        ``schemas.TELEMETRY`` with the station as asset and no state of charge.
    """
    grid = pl.DataFrame({"timestamp": pl.datetime_range(start_at, end_at, f"{step_min}m", closed="left", eager=True)})
    grid = grid.select(pl.col("timestamp").cast(schemas.INSTANT))
    stays = sessions.select(
        "station_id", "arrival_at", pl.col("departure_at").fill_null(pl.lit(end_at).cast(schemas.INSTANT))
    ).sort("arrival_at")
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


def sessions_of(samples: pl.DataFrame, *, site_id: str, time_zone: str) -> pl.DataFrame:
    """The visits that a fleet's telemetry shows; each vehicle stands for its own station and driver.

    A visit runs from the first sample plugged in to the first one that is not; a silence of more than four hours ends
    it at its last sample. The energy is the rise of charge times the capacity; null where either is unknown. The visit
    that is running at a vehicle's newest sample has no departure.

    Args:
        samples: ``schemas.TELEMETRY``, ordered by asset and time.
        site_id: Site of the sessions.
        time_zone: Its local zone.

    Returns:
        ``schemas.SESSIONS``.
    """
    silence = pl.col("timestamp").diff().over("asset_id").dt.total_minutes() > LONGEST_UNSEEN_MIN
    turned = (pl.col("is_plugged_in") != pl.col("is_plugged_in").shift(1).over("asset_id")).fill_null(value=True)
    marked = samples.sort("asset_id", "timestamp").with_columns(
        (turned | silence.fill_null(value=False)).cast(pl.Int64).cum_sum().over("asset_id").alias("_run"),
        pl.col("timestamp").shift(-1).over("asset_id").alias("_next_at"),
        silence.shift(-1).over("asset_id").alias("_silent_after"),
    )
    visits = (
        marked.filter("is_plugged_in")
        .group_by("asset_id", "_run", maintain_order=True)
        .agg(
            pl.col("timestamp").first().alias("arrival_at"),
            pl.col("timestamp").last().alias("_last_at"),
            pl.col("_next_at").last(),
            pl.col("_silent_after").last(),
            pl.col("timestamp").filter(pl.col("power_kw") > 0).last().alias("done_charging_at"),
            ((pl.col("soc").max() - pl.col("soc").first()) / 100 * pl.col("capacity_kwh").last()).alias("_energy"),
        )
    )
    ended = pl.when(pl.col("_silent_after")).then(pl.col("_last_at")).otherwise(pl.col("_next_at"))
    visits = visits.with_columns(ended.alias("departure_at")).filter(
        pl.col("departure_at").is_null() | (pl.col("departure_at") > pl.col("arrival_at"))
    )
    text = pl.lit(None, pl.String)
    return schemas.conform(
        visits.select(
            pl.format("{}@{}", "asset_id", pl.col("arrival_at").dt.strftime("%Y%m%dT%H%M%S")).alias("session_id"),
            pl.lit(site_id).alias("site_id"),
            text.alias("cluster_id"),
            pl.col("asset_id").alias("station_id"),
            text.alias("space_id"),
            pl.col("asset_id").alias("user_id"),
            text.alias("native_session_id"),
            pl.lit(time_zone).alias("time_zone"),
            "arrival_at",
            "departure_at",
            "done_charging_at",
            pl.col("_energy").clip(lower_bound=0.0).alias("energy_delivered_kwh"),
            pl.coalesce("departure_at", "_last_at").alias("available_at"),
        ),
        schemas.SESSIONS,
    ).sort("arrival_at", "session_id")
