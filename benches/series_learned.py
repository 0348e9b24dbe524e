"""Would a learned part on series features find what rules do not? Fitted on sound series of the training period."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from plugcast.anomaly.unsupervised import fit_unsupervised

if TYPE_CHECKING:
    from benches.series_trials import SeriesTrial
    from numpy.typing import NDArray

    from plugcast.features.series_values import SeriesFeatures
    from plugcast.features.series_watch import Stretch
    from plugcast.features.sessions import SessionFeatures

    Floats = NDArray[np.float64]

WEIGHT = 0.66
"""As the stack's own unsupervised parts have."""


def evidence_of(trial: SeriesTrial) -> Floats:
    """Of the isolation forests and neighbours, for every session of the later part."""
    sound = [numbers(row, series) for row, series in zip(trial.ordinary_rows, trial.ordinary, strict=True)]
    names = sorted(sound[0])
    model = fit_unsupervised(_matrix(sound, names), names, seed=trial.seed)
    return model.score(_matrix([numbers(one.row, one.series) for one in trial.seen], names), names)


def numbers(row: SessionFeatures, series: SeriesFeatures) -> dict[str, float]:
    """What the meter values say, free of the amount of energy and of the station's make."""
    flow_h = max(series.flow_h, 1e-3)
    scale = row.energy_kwh * 1000 / series.charge_ah if series.charge_ah > 0 else math.nan
    return {
        "use": series.use,
        "full_share": series.full_share,
        "end_share": series.end_share,
        "tail_min": series.tail_min,
        "meter": _log(series.meter_ratio),
        "pauses": series.pauses_per_h,
        "commanded": float(series.commanded_pauses),
        "swings": series.swings / flow_h,
        "low_min": _minutes(series.low),
        "undrawn_min": _minutes(series.undrawn),
        "frozen_min": _minutes(series.frozen),
        "over_min": _minutes(series.over),
        "phases": abs(series.phases - round(series.phases)) if math.isfinite(series.phases) else math.nan,
        "scale": _log(scale),
        "peak_a": series.peak_a,
        "flow_share": series.flow_h / max(series.span_h, 1e-3),
        "gap_share": series.gap_h / max(series.span_h, 1e-3),
        "disorder": float(series.late - series.repeats),
        "moved": series.moved / max(series.samples, 1),
        "early_stop": row.early_stop,
    }


def _matrix(rows: list[dict[str, float]], names: list[str]) -> Floats:
    return np.array([[row[name] for name in names] for row in rows], dtype=np.float64)


def _minutes(stretch: Stretch | None) -> float:
    return 0.0 if stretch is None else stretch.seconds / 60


def _log(value: float) -> float:
    return math.log(value) if value > 0 else math.nan
