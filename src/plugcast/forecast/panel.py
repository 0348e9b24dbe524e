"""Telemetry of many assets as arrays, ready to be asked what was known at a row and what to expect after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from plugcast.domain.units import SLOT_MIN
from plugcast.features import analogs, batch, gaps
from plugcast.features.grid_sources import from_samples
from plugcast.features.history import HourlyHistory, same_day_type
from plugcast.forecast.lead_columns import LEAD_COLUMNS, lead_columns, lead_us

if TYPE_CHECKING:
    from plugcast.features.grid import StateGrid
    from plugcast.features.spec import FeatureSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Rows ordered by asset and time. Every array has one entry a row."""

    spec: FeatureSpec
    asset_ids: tuple[str, ...]
    asset: np.ndarray
    """Code into ``asset_ids``, int64."""
    timestamp_us: np.ndarray
    known_us: np.ndarray
    """When each row became known: at its timestamp or later."""
    segment: np.ndarray
    hour_of_week: np.ndarray
    is_plugged_in: np.ndarray
    soc: np.ndarray
    """%, NaN where unknown."""
    origin_features: np.ndarray
    """float32, shape (n, len(spec.columns))."""
    history: HourlyHistory
    grid: StateGrid
    """The same states on steps of a quarter of an hour; its rows are the asset codes."""
    late: int
    """Samples left out because they came after newer ones."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of a model's inputs: the spec's features, then the lead's."""
        return (*self.spec.columns, *LEAD_COLUMNS)

    @property
    def plug_columns(self) -> tuple[str, ...]:
        """Names of the inputs of a model of the plug state."""
        return (*analogs.COLUMNS, *(f"panel_{name}" for name in self.columns))

    @property
    def rows(self) -> int:
        """How many samples."""
        return len(self.asset)

    def newest_rows(self) -> np.ndarray:
        """The row of every asset's newest sample."""
        return np.flatnonzero(np.r_[self.asset[1:] != self.asset[:-1], True]) if self.rows else np.zeros(0, np.int64)

    def matrix(self, row: np.ndarray, lead_min: np.ndarray | float) -> np.ndarray:
        """Model input for origins and leads, from what was known at each origin.

        Args:
            row: Origins. Shape (m,).
            lead_min: Minutes ahead. Shape () or (m,).

        Returns:
            float32, shape (m, len(columns)).
        """
        lead = np.broadcast_to(np.asarray(lead_min, np.float64), row.shape)
        hour, day = local_clock(self.timestamp_us[row] + lead_us(lead), self.spec.time_zone)
        hour_of_week = day * 24 + np.floor(hour).astype(np.int64)
        same_hour = self.history.before(self.asset[row], row, hour_of_week)
        same_type = self.history.before(self.asset[row], row, same_day_type(hour_of_week))
        return np.hstack([self.origin_features[row], lead_columns(lead, hour, day, same_hour, same_type)])


def plug_matrix(panel: Panel, row: np.ndarray, lead_min: np.ndarray | float) -> np.ndarray:
    """Model input of the plug state: what past days say, then ``Panel.matrix``; shape (m, len(plug_columns))."""
    lead = np.broadcast_to(np.asarray(lead_min, np.float64), row.shape)
    at = panel.timestamp_us[row]
    step = panel.grid.step_at(at)
    target = np.maximum(panel.grid.step_at(at + lead_us(lead)), step + 1)
    minutes = np.nan_to_num(panel.origin_features[row, panel.spec.columns.index("minutes_in_state")])
    now = analogs.Now(
        state=panel.is_plugged_in[row].astype(np.int8), steps_in_state=(minutes // SLOT_MIN).astype(np.int64)
    )
    past = analogs.features(panel.grid, panel.asset[row], step, target, now=now)
    return np.hstack([past, panel.matrix(row, lead)])


def panel(samples: pl.DataFrame, spec: FeatureSpec) -> Panel:
    """Build the panel of a telemetry frame (``schemas.TELEMETRY``)."""
    accepted, late = gaps.accept_in_order(samples)
    frame = batch.features(accepted, spec)
    asset = frame["asset_id"].rle_id().to_numpy().astype(np.int64)
    soc = accepted["soc"].fill_null(float("nan")).to_numpy()
    hour_of_week = frame["hour_of_week"].to_numpy()
    plugged = accepted["is_plugged_in"].to_numpy()
    asset_ids = tuple(frame["asset_id"].unique(maintain_order=True).to_list())
    at = frame["timestamp"].to_physical().to_numpy()
    known_us = np.maximum(at, accepted["available_at"].to_physical().to_numpy())
    return Panel(
        spec=spec,
        asset_ids=asset_ids,
        asset=asset,
        timestamp_us=at,
        known_us=known_us,
        segment=frame["segment"].to_numpy().astype(np.int64),
        hour_of_week=hour_of_week,
        is_plugged_in=plugged,
        soc=soc,
        origin_features=frame.select(spec.columns).to_numpy(),
        history=HourlyHistory(asset, hour_of_week, plugged, soc),
        grid=from_samples(
            asset,
            at,
            known_us,
            plugged,
            assets=len(asset_ids),
            gap_limit_min=spec.gap_limit_min,
            time_zone=spec.time_zone,
        ),
        late=late.height,
    )


def local_clock(timestamp_us: np.ndarray, time_zone: str) -> tuple[np.ndarray, np.ndarray]:
    """Local hour of day (with fraction) and day of week (Monday = 0) of UTC instants."""
    local = pl.Series(timestamp_us).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(time_zone).dt
    within_us = (
        local.hour().cast(pl.Int64) * 3_600_000_000
        + local.minute().cast(pl.Int64) * 60_000_000
        + local.second().cast(pl.Int64) * 1_000_000
        + local.microsecond().cast(pl.Int64)
    )
    # divided by NumPy: Polars multiplies by the reciprocal, an ulp off what the online twin gets
    return within_us.to_numpy() / 3_600_000_000, (local.weekday() - 1).cast(pl.Int64).to_numpy()
