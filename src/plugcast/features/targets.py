"""What came of it: outcomes by time, never by row, and none across a gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

US_IN_MINUTE: Final = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """For each origin the row of its outcome, and whether there is one."""

    row: np.ndarray
    """Row number of the outcome, int64; meaningless where ``found`` is False."""
    found: np.ndarray
    """Bool."""


def outcomes(
    asset: np.ndarray,
    timestamp_us: np.ndarray,
    segment: np.ndarray,
    origin_row: np.ndarray,
    lead_min: np.ndarray | float,
    *,
    tolerance_min: float,
) -> Outcomes:
    """The sample nearest to origin + lead, within the tolerance, later than the origin, in the origin's segment.

    Of two equally near samples the earlier counts.

    Args:
        asset: Asset codes of rows ordered by asset and time. Shape (n,).
        timestamp_us: Microseconds since 1970, strictly increasing within an asset. Shape (n,).
        segment: Segment number within the asset (``gaps.segment``). Shape (n,).
        origin_row: Row numbers of the origins. Shape (m,).
        lead_min: Minutes ahead, one for all or one each. Shape () or (m,).
        tolerance_min: Largest distance from origin + lead, minutes, inclusive.
    """
    if len(asset) == 0 or len(origin_row) == 0:
        return Outcomes(row=np.zeros(len(origin_row), np.int64), found=np.zeros(len(origin_row), bool))
    lead_us = np.rint(np.broadcast_to(np.asarray(lead_min, np.float64), origin_row.shape) * US_IN_MINUTE)
    wanted = np.asarray(timestamp_us[origin_row] + lead_us.astype(np.int64))
    after = _first_not_before(asset, timestamp_us, origin_row, wanted)
    before = after - 1
    last = len(asset) - 1
    far = np.iinfo(np.int64).max
    same_after = (after <= last) & (asset[np.minimum(after, last)] == asset[origin_row])
    same_before = before > origin_row  # rows between origin and wanted are of the same asset
    gap_after = np.where(same_after, timestamp_us[np.minimum(after, last)] - wanted, far)
    gap_before = np.where(same_before, wanted - timestamp_us[np.maximum(before, 0)], far)
    row = np.where(gap_before <= gap_after, before, np.minimum(after, last))
    distance = np.minimum(gap_before, gap_after)
    found = (distance <= tolerance_min * US_IN_MINUTE) & (segment[row] == segment[origin_row]) & (row > origin_row)
    return Outcomes(row=row.astype(np.int64), found=found)


def _first_not_before(
    asset: np.ndarray, timestamp_us: np.ndarray, origin_row: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Row of the first sample of the origin's asset at or after ``wanted`` (or one past its last)."""
    result = np.empty(len(origin_row), np.int64)
    starts = np.flatnonzero(np.r_[True, asset[1:] != asset[:-1]])
    ends = np.append(starts[1:], len(asset))
    order = np.argsort(origin_row, kind="stable")
    cuts = np.searchsorted(origin_row[order], np.append(starts, len(asset)))
    for start, end, low, high in zip(starts, ends, cuts[:-1], cuts[1:], strict=True):
        if high > low:
            chosen = order[low:high]
            result[chosen] = start + np.searchsorted(timestamp_us[start:end], wanted[chosen])
    return result
