"""The features of many samples at once (Polars); the online twin gives the same bits one sample at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from plugcast.features.gaps import segment

if TYPE_CHECKING:
    from plugcast.features.spec import FeatureSpec

KEYS = ("asset_id", "timestamp", "segment", "hour_of_week")


def features(samples: pl.DataFrame, spec: FeatureSpec) -> pl.DataFrame:
    """One row of features for every sample, from that sample and its past alone.

    Args:
        samples: Accepted samples, ordered by asset and timestamp (``gaps.accept_in_order``).
        spec: Which features, in which zone and with which gap limit.

    Returns:
        Columns ``asset_id, timestamp, segment, hour_of_week`` (the local hour of the week, 0 to 167) and then
        ``spec.columns`` as float32, NaN where masked or unknown. Cost: O(n), about 1 us a row.
    """
    local = pl.col("timestamp").dt.convert_time_zone(spec.time_zone)
    within_day_us = (
        local.dt.hour().cast(pl.Int64) * 3_600_000_000
        + local.dt.minute().cast(pl.Int64) * 60_000_000
        + local.dt.second().cast(pl.Int64) * 1_000_000
        + local.dt.microsecond().cast(pl.Int64)
    )
    lags = [pl.col("soc").shift(k).over("asset_id", "segment").alias(f"soc_lag_{k}") for k in (1, 2, 3)]
    frame = segment(samples, spec).with_columns(
        *lags,
        (within_day_us / 3_600_000_000).alias("hour"),
        (local.dt.weekday() - 1).cast(pl.Int64).alias("day_of_week"),
        pl.col("is_plugged_in").rle_id().over("asset_id", "segment").alias("_run"),
    )
    first_at = pl.col("timestamp").first().over("asset_id", "segment", "_run")
    frame = frame.with_columns(
        (pl.col("soc") - pl.col("soc_lag_1")).alias("soc_delta"),
        ((pl.col("timestamp") - first_at).dt.total_microseconds() / 60_000_000).alias("minutes_in_state"),
        (pl.col("day_of_week") * 24 + local.dt.hour().cast(pl.Int64)).alias("hour_of_week"),
    )
    return frame.select(
        *KEYS,
        *[pl.col(name).cast(pl.Float32).fill_null(float("nan")) for name in spec.columns],
    )
