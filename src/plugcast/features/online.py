"""The features of one asset, sample by sample: the incremental twin of ``features.batch``, to the same bits.

State is a handful of numbers and the counts of 168 hours, whatever the length of the past; it is a plain struct, so a
service can store it and go on after a restart.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from plugcast.features.spec import HOUR_BINS

if TYPE_CHECKING:
    from plugcast.domain.telemetry import Sample
    from plugcast.features.spec import FeatureSpec

_NAN = float("nan")
_MILLI = 1000
_US_IN_MINUTE = 60_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HourCounts(msgspec.Struct):
    """Counts per local hour of the week, as in ``features.history``."""

    samples: list[int] = msgspec.field(default_factory=lambda: [0] * HOUR_BINS)
    plugged: list[int] = msgspec.field(default_factory=lambda: [0] * HOUR_BINS)
    with_soc: list[int] = msgspec.field(default_factory=lambda: [0] * HOUR_BINS)
    soc_milli: list[int] = msgspec.field(default_factory=lambda: [0] * HOUR_BINS)

    def add(self, hour_of_week: int, *, is_plugged_in: bool, soc: float) -> None:
        """Count one sample."""
        self.samples[hour_of_week] += 1
        self.plugged[hour_of_week] += is_plugged_in
        if not math.isnan(soc):
            self.with_soc[hour_of_week] += 1
            self.soc_milli[hour_of_week] += round(soc * _MILLI)

    def over(self, hours_of_week: list[int]) -> tuple[int, int, int, int]:
        """Samples, plugged, with a state of charge, and its sum in thousandths of a percent, over some hours."""
        return (
            sum(self.samples[hour] for hour in hours_of_week),
            sum(self.plugged[hour] for hour in hours_of_week),
            sum(self.with_soc[hour] for hour in hours_of_week),
            sum(self.soc_milli[hour] for hour in hours_of_week),
        )


class AssetState(msgspec.Struct):
    """All that an asset's past leaves behind; JSON round-trips it."""

    newest_us: int | None = None
    segment: int = 0
    run_start_us: int = 0
    was_plugged_in: bool = False
    recent_soc: list[float | None] = msgspec.field(default_factory=list)
    """Newest first, at most three, of the running segment; None stands for NaN, which JSON lacks."""
    counts: HourCounts = msgspec.field(default_factory=HourCounts)
    pending: tuple[int, bool, float | None] | None = None
    """The newest sample, counted only when the next one comes: history is strictly past."""


class OnlineFeatures:
    """Folds one asset's samples into feature rows.

    >>> from plugcast.domain.telemetry import Sample
    >>> from plugcast.features.spec import FeatureSpec
    >>> fold = OnlineFeatures(FeatureSpec())
    >>> at = datetime(2026, 3, 2, 7, 30, tzinfo=UTC)
    >>> row = fold.push(Sample(asset_id="a", timestamp=at, soc=40.0, is_plugged_in=True))
    >>> float(row[8]), float(row[9])
    (7.5, 0.0)
    >>> fold.push(Sample(asset_id="a", timestamp=at, soc=41.0, is_plugged_in=True)) is None
    True
    """

    def __init__(self, spec: FeatureSpec, state: AssetState | None = None) -> None:
        self.spec = spec
        self.state = AssetState() if state is None else state
        self._zone = ZoneInfo(spec.time_zone)
        self._row = dict.fromkeys(spec.columns, _NAN)

    def push(self, sample: Sample) -> np.ndarray | None:
        """Take one sample; cost O(look-back).

        Returns:
            The feature row as float32 in the spec's order, or None where the sample is late (not newer than the
            newest taken): the caller counts it.
        """
        state = self.state
        at_us = micros(sample.timestamp)
        if state.newest_us is not None and at_us <= state.newest_us:
            return None
        self._count_pending()
        minutes = _NAN if state.newest_us is None else (at_us - state.newest_us) / _US_IN_MINUTE
        if minutes > self.spec.gap_limit_min:
            state.segment += 1
            state.recent_soc.clear()
            state.run_start_us = at_us
        elif state.newest_us is None or state.was_plugged_in != sample.is_plugged_in:
            state.run_start_us = at_us
        hour, day = self._local(sample.timestamp)
        lags = [_NAN if soc is None else soc for soc in state.recent_soc] + [_NAN] * (3 - len(state.recent_soc))
        row = self._row
        row["soc"] = sample.soc
        row["soc_delta"] = sample.soc - lags[0]
        row["soc_lag_1"], row["soc_lag_2"], row["soc_lag_3"] = lags
        row["minutes_since_previous"] = minutes
        row["is_plugged_in"] = float(sample.is_plugged_in)
        row["minutes_in_state"] = (at_us - state.run_start_us) / _US_IN_MINUTE
        row["hour"] = hour
        row["day_of_week"] = float(day)
        row["power_kw"] = sample.power_kw
        row["capacity_kwh"] = sample.capacity_kwh
        known = None if math.isnan(sample.soc) else sample.soc
        state.pending = (day * 24 + int(hour), sample.is_plugged_in, known)
        state.recent_soc = [known, *state.recent_soc[:2]]
        state.was_plugged_in = sample.is_plugged_in
        state.newest_us = at_us
        return np.fromiter(row.values(), np.float32, len(row))

    def past(self, hours_of_week: list[int]) -> tuple[int, int, int, int]:
        """Counts strictly before the newest sample, over some local hours of the week (see ``HourCounts.over``)."""
        return self.state.counts.over(hours_of_week)

    def _count_pending(self) -> None:
        if self.state.pending is not None:
            hour_of_week, plugged, soc = self.state.pending
            self.state.counts.add(hour_of_week, is_plugged_in=plugged, soc=_NAN if soc is None else soc)

    def _local(self, at: datetime) -> tuple[float, int]:
        local = at.astimezone(self._zone)
        within_day_us = (
            local.hour * 3_600_000_000 + local.minute * 60_000_000 + local.second * 1_000_000 + local.microsecond
        )
        return within_day_us / 3_600_000_000, local.weekday()


def micros(at: datetime) -> int:
    """Microseconds since 1970, exactly."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def instant(at_us: int) -> datetime:
    """The inverse of ``micros``, exactly."""
    return _EPOCH + timedelta(microseconds=at_us)
