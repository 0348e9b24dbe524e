"""A model of one current type: its stack of detectors and its threshold, learnt from its own sessions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import polars as pl

from plugcast.anomaly.rules import check
from plugcast.anomaly.stack import NAMES, Faulty, Rows, Stack, StackSpec, fit_stack
from plugcast.anomaly.threshold import Threshold, calibrate
from plugcast.domain.finding import Cause
from plugcast.features.sessions import rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from plugcast.features.sessions import SessionFeatures

    Floats = NDArray[np.float64]

SILENCE: Final = timedelta(weeks=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KindModel:
    """Detectors and threshold of one current type."""

    stack: Stack
    threshold: Threshold


def version_of(models: Mapping[str, KindModel]) -> str:
    """A short hash of all that decides a model's findings."""
    digest = hashlib.sha256()
    for kind, model in sorted(models.items()):
        stack, threshold = model.stack, model.threshold
        digest.update(f"{kind}{stack.weights}{threshold.alpha!r}{stack.rule_evidence}".encode())
        for name, part in sorted(stack.scorers.items()):
            digest.update(f"{name}{part.names}".encode())
            for _, array in sorted(part.to_arrays().items()):
                digest.update(np.ascontiguousarray(array).tobytes())
        for _, held_out in sorted(stack.held_out.items()):
            digest.update(held_out.tobytes())
        digest.update(threshold.held_out.tobytes())
    return f"stack-2-{digest.hexdigest()[:12]}"


def fit_kind(
    ended: pl.DataFrame,
    faulty: pl.DataFrame | None,
    kind: str,
    *,
    alarms_per_station_week: float,
    seed: int,
    spec: StackSpec,
) -> KindModel:
    """Stack and threshold of one current type, from its own sessions."""
    frame = ended.filter(pl.col("current_type") == kind)
    broken = [check(row) for row in rows_of(frame)]
    ordinary = Rows(matrix=frame_matrix(frame), at_us=frame["observed_at"].to_physical().to_numpy(), broken=broken)
    put_in = None
    if faulty is not None:
        own = faulty.filter(pl.col("current_type") == kind).sort("observed_at", "session_id", maintain_order=True)
        rows = Rows(matrix=frame_matrix(own), at_us=own["observed_at"].to_physical().to_numpy())
        put_in = Faulty(rows=rows, causes=tuple(Cause(cause) for cause in own["cause"]))
    stack, held_out = fit_stack(ordinary, put_in, seed=seed, spec=spec)
    threshold = calibrate(
        held_out,
        station_weeks=station_weeks(frame.tail(len(held_out))),
        alarms_per_station_week=alarms_per_station_week,
    )
    return KindModel(stack=stack, threshold=threshold)


def station_weeks(rows: pl.DataFrame) -> float:
    """Stations in use times weeks in use, summed over the sites; 0 without rows.

    A silence of more than a week counts as one week: a closed site has nobody to tell, and would flatter the rate.
    """
    weeks = 0.0
    for _, site in rows.group_by("site_id"):
        gaps = site["observed_at"].sort().diff().drop_nulls()
        in_use = max(sum((min(gap, SILENCE) for gap in gaps), timedelta()), timedelta(days=1))
        weeks += site["station_id"].n_unique() * (in_use / timedelta(weeks=1))
    return weeks


def frame_matrix(rows: pl.DataFrame) -> Floats:
    """(rows, len(NAMES)) of a frame of features."""
    return rows.select(NAMES).to_numpy().astype(np.float64)


def matrix_of(rows: Sequence[SessionFeatures]) -> Floats:
    """(rows, len(NAMES))."""
    made = np.array([msgspec.structs.astuple(row)[-len(NAMES) :] for row in rows], dtype=np.float64)
    return made.reshape(len(rows), len(NAMES))
