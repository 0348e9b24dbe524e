"""Order of arrival, late samples and silences: what may be computed across what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from plugcast.domain.rejected import Rejected, RejectReason

if TYPE_CHECKING:
    from plugcast.features.spec import FeatureSpec


def accept_in_order(samples: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split telemetry into what a live system would have used and what came too late.

    Samples are taken in the order in which they became known (``available_at``, then ``timestamp``, then row).
    One whose timestamp is not newer than everything taken before it, of the same asset, is late: at its own time it
    was not known, and using it afterwards would rewrite a past on which decisions were already made.

    Args:
        samples: ``schemas.TELEMETRY``.

    Returns:
        The accepted samples, ordered by asset and strictly increasing timestamp, and the late ones.
    """
    ordered = samples.sort("asset_id", "available_at", "timestamp", maintain_order=True)
    newest_before = pl.col("timestamp").cum_max().shift(1).over("asset_id")
    late = (pl.col("timestamp") <= newest_before).fill_null(value=False)
    marked = ordered.with_columns(late.alias("_late"))
    return marked.filter(~pl.col("_late")).drop("_late"), marked.filter(pl.col("_late")).drop("_late")


def drop_short_traces(samples: pl.DataFrame, min_rows: int) -> tuple[pl.DataFrame, list[Rejected]]:
    """Leave out assets with fewer than ``min_rows`` samples, each named with its reason."""
    rows = pl.len().over("asset_id")
    short = samples.filter(rows < min_rows).group_by("asset_id", maintain_order=True).len()
    rejected = [
        Rejected(
            source="telemetry",
            row=0,
            reason=RejectReason.TRACE_TOO_SHORT,
            detail=f"{asset_id}: wanted at least {min_rows} samples, found {count}",
            raw=asset_id,
        )
        for asset_id, count in short.iter_rows()
    ]
    return samples.filter(rows >= min_rows), rejected


def segment(samples: pl.DataFrame, spec: FeatureSpec) -> pl.DataFrame:
    """Add what the gaps decide: ``gap_flag``, ``segment`` (0, 1, ... per asset) and ``minutes_since_previous``.

    Args:
        samples: Accepted samples (see ``accept_in_order``).
        spec: Gives the gap limit; a silence longer than it starts a new segment.
    """
    minutes = pl.col("timestamp").diff().over("asset_id").dt.total_microseconds() / 60_000_000
    return (
        samples.with_columns(minutes.alias("minutes_since_previous"))
        .with_columns((pl.col("minutes_since_previous") > spec.gap_limit_min).fill_null(value=False).alias("gap_flag"))
        .with_columns(pl.col("gap_flag").cast(pl.Int32).cum_sum().over("asset_id").alias("segment"))
    )
