"""What a station's earlier meter values were like: against them a replay shows, and a meter whose scale has changed.

Keyed by station alone, in the order of its records, so that any partitioning of a stream comes to the same. A few
hundred bytes a station, whatever the length of its past.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

import msgspec

from plugcast.anomaly.series_rules import SeriesBroken, broken_series
from plugcast.domain.finding import Cause, Severity

if TYPE_CHECKING:
    from plugcast.features.series_values import SeriesFeatures
    from plugcast.features.sessions import SessionFeatures

DIGESTS: Final = 64
"""Sessions of a station that a replay can be of."""
SCALES: Final = 32
LEAST_SCALES: Final = 8
SCALE_OFF: Final = 0.12
"""Voltage moves by 3 %, power factor by as much."""
LEAST_AH: Final = 2.0
CLOSE_S: Final = 120.0
"""Samples farther apart make no scale."""
LEAST_SAMPLES: Final = 20
LEAST_MOVED: Final = 10
"""Changes of a reading without which two series may well be equal."""


class StationPast(msgspec.Struct):
    """Of one station, newest last."""

    digests: list[str] = msgspec.field(default_factory=list)
    wh_per_ah: list[float] = msgspec.field(default_factory=list)
    """What the record says over what flowed: the voltage times the phases."""


class SeriesNorms:
    """Pasts by station; a session is judged against what came before it, then added."""

    def __init__(self, stations: dict[str, StationPast] | None = None) -> None:
        self.stations = {} if stations is None else stations

    def judge(self, series: SeriesFeatures, row: SessionFeatures) -> tuple[SeriesBroken, ...]:
        """What breaks with the station's past; the session then belongs to it."""
        past = self.stations.setdefault(row.station_id, StationPast())
        found = tuple(broken for rule in (_replayed, _rescaled) if (broken := rule(series, row, past)) is not None)
        if _alive(series):
            past.digests = [*past.digests, series.digest][-DIGESTS:]
        scale = _scale(series, row)
        if scale > 0 and not any(broken.cause is Cause.METER_FAULT for broken in found):
            past.wh_per_ah = [*past.wh_per_ah, scale][-SCALES:]
        return found

    def to_bytes(self) -> bytes:
        """All of it; :meth:`from_bytes` gives it back to the last bit."""
        return msgspec.msgpack.encode(self.stations)

    @classmethod
    def from_bytes(cls, content: bytes) -> SeriesNorms:
        """Restore; raises msgspec.DecodeError (a ValueError) on content that is no such state."""
        return cls(msgspec.msgpack.decode(content, type=dict[str, StationPast]))


def _replayed(series: SeriesFeatures, row: SessionFeatures, past: StationPast) -> SeriesBroken | None:
    """Every reading of an earlier session once more."""
    del row
    if not (_alive(series) and series.digest in past.digests):
        return None
    back = len(past.digests) - past.digests[::-1].index(series.digest)
    ago = len(past.digests) - back + 1
    text = (
        f"all {series.samples} samples repeat, second by second and to the last digit, those of {ago} "
        f"session{'s' if ago > 1 else ''} before at this station: they were not measured now"
    )
    return broken_series("replayed", Cause.REPLAY, Severity.WARNING, text, None, value=float(series.samples), norm=0.0)


def _rescaled(series: SeriesFeatures, row: SessionFeatures, past: StationPast) -> SeriesBroken | None:
    """The record's energy over the charge that flowed is not what it always was here: the meter's scale has changed."""
    scale = _scale(series, row)
    if not (scale > 0 and len(past.wh_per_ah) >= LEAST_SCALES):
        return None
    usual = statistics.median(past.wh_per_ah)
    if abs(scale / usual - 1) <= SCALE_OFF:
        return None
    text = (
        f"the record says {row.energy_kwh:.2f} kWh for {series.charge_ah:.1f} Ah, {scale:.0f} Wh each; "
        f"this station's last {len(past.wh_per_ah)} sessions came to {usual:.0f} Wh"
    )
    return broken_series("meter_rescaled", Cause.METER_FAULT, Severity.WARNING, text, None, value=scale, norm=usual)


def _alive(series: SeriesFeatures) -> bool:
    return series.samples >= LEAST_SAMPLES and series.moved >= LEAST_MOVED


def _scale(series: SeriesFeatures, row: SessionFeatures) -> float:
    """Wh a record gives for an Ah; 0 where the series does not tell, or covers only part of the stay."""
    whole = series.gap_h == 0 and row.duration_h - series.span_h < LEAST_SAMPLES / 60
    if not (whole and series.charge_ah >= LEAST_AH and series.interval_s <= CLOSE_S and row.energy_kwh > 0):
        return 0.0
    return row.energy_kwh * 1000 / series.charge_ah
