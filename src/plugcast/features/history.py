"""What an asset used to do at this hour of the week, counted over samples strictly before the origin.

Counts are whole numbers (state of charge in thousandths of a percent), so that any order of summation, batch or
online, gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plugcast.features.spec import HOUR_BINS

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Floats = np.ndarray[tuple[int], np.dtype[np.float64]]

SATURDAY = 5

STRIDE = HOUR_BINS + 1
"""One bin an asset more than there are hours: the hour that no sample has."""

MILLI = 1000
"""Thousandths of a percent in a percent of charge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Counts per query: all samples, those plugged in, those with a state of charge, and its sum."""

    samples: Ints
    plugged: Ints
    with_soc: Ints
    soc_milli: Ints

    @property
    def plug_rate(self) -> Floats:
        """Share of past samples that were plugged in; NaN where there were none."""
        return _ratio(self.plugged, self.samples)

    @property
    def mean_soc(self) -> Floats:
        """Mean past state of charge, %; NaN where there was none."""
        return _ratio(self.soc_milli, self.with_soc) / MILLI


def _ratio(part: Ints, whole: Ints) -> Floats:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


class HourlyHistory:
    """The pasts of many assets, indexed once, queried in bulk.

    Args:
        asset: Asset codes, 0 .. n_assets - 1, of rows ordered by asset and time. Shape (n,).
        hour_of_week: Local hour of the week of each row, 0 to 167. Shape (n,).
        is_plugged_in: Shape (n,).
        soc: %, NaN where unknown. Shape (n,).

    Cost: O(n log n) to build, O(log n) a query.
    """

    def __init__(self, asset: Ints, hour_of_week: Ints, is_plugged_in: np.ndarray, soc: np.ndarray) -> None:
        self._rows = max(len(asset), 1)
        code = self._code(asset, hour_of_week, np.arange(len(asset), dtype=np.int64))
        order = np.argsort(code, kind="stable")
        self._sorted_code = code[order]
        known = ~np.isnan(soc)
        milli = np.where(known, np.round(np.where(known, soc, 0.0) * MILLI), 0).astype(np.int64)
        self._sums = tuple(
            np.concatenate([[0], np.cumsum(values[order].astype(np.int64))])
            for values in (np.ones(len(asset), np.int64), is_plugged_in, known, milli)
        )

    def _code(self, asset: Ints, hour_of_week: Ints, row: Ints) -> Ints:
        coded: Ints = (asset.astype(np.int64) * STRIDE + hour_of_week.astype(np.int64)) * self._rows + row
        return coded

    def before(self, asset: Ints, row: Ints, hours_of_week: Ints) -> Past:
        """Counts over an asset's rows strictly before ``row`` that fall in the given hours of the week.

        Args:
            asset: Asset code of each query. Shape (m,).
            row: The origin's row number in the indexed arrays. Shape (m,).
            hours_of_week: The hours to sum over. Shape (m,) or (m, k).
        """
        hours = hours_of_week.reshape(len(row), -1).astype(np.int64)
        total = [np.zeros(len(row), np.int64) for _ in self._sums]
        for column in range(hours.shape[1]):
            low = np.searchsorted(self._sorted_code, self._code(asset, hours[:, column], np.zeros_like(row)))
            high = np.searchsorted(self._sorted_code, self._code(asset, hours[:, column], row))
            total = [so_far + sums[high] - sums[low] for so_far, sums in zip(total, self._sums, strict=True)]
        return Past(samples=total[0], plugged=total[1], with_soc=total[2], soc_milli=total[3])


def same_day_type(hour_of_week: Ints) -> Ints:
    """The hours of the week at the same clock hour on days of the same type. Shape (m, 5), padded by repetition.

    Monday to Friday are one type, Saturday and Sunday the other; a weekend's row repeats an hour outside the week
    (code 168), which no sample has.
    """
    day, hour = np.divmod(hour_of_week.astype(np.int64), 24)
    working = np.arange(SATURDAY) * 24
    weekend = np.array([SATURDAY * 24, (SATURDAY + 1) * 24, HOUR_BINS, HOUR_BINS, HOUR_BINS])
    starts = np.where((day < SATURDAY)[:, None], working[None, :], weekend[None, :])
    grouped: Ints = np.where(starts < HOUR_BINS, starts + hour[:, None], HOUR_BINS)
    return grouped
