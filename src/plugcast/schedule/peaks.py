"""The peak that the rest of the month will bring, as a distribution: what makes a kW free today."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from plugcast.errors import PlanInputError

if TYPE_CHECKING:
    import numpy.typing as npt


def outlook(
    peaks_kw: npt.ArrayLike, *, weights: npt.ArrayLike | None = None, levels: int = 8
) -> tuple[tuple[float, float], ...]:
    """Samples of the month's further peak as ``(peak_kw, probability)``, for ``SiteWindow.peak_outlook``.

    Each level is the lowest sample of its share, so that the outlook never promises more than was seen.

    >>> outlook([10.0, 20.0, 30.0, 40.0], levels=2)
    ((10.0, 0.5), (30.0, 0.5))

    Raises:
        PlanInputError: A sample or weight is negative or not finite.
    """
    peaks = np.atleast_1d(np.asarray(peaks_kw, dtype=np.float64))
    weight = np.ones(len(peaks)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not (np.all(np.isfinite(peaks)) and np.all(peaks >= 0) and np.all(weight >= 0) and np.isfinite(weight).all()):
        raise PlanInputError("A peak or weight is negative or not finite; wanted kW that the month may bring.")
    if not weight.sum():
        return ()
    order = np.argsort(peaks, kind="stable")
    share = weight[order] / weight.sum()
    group = np.minimum((np.cumsum(share) - share / 2) * levels, levels - 1).astype(np.int64)
    return tuple(
        (float(peaks[order][group == one].min()), float(share[group == one].sum())) for one in np.unique(group).tolist()
    )


def rest_of_month(daily_peaks_kw: npt.ArrayLike, days_left: int, *, levels: int = 8) -> tuple[tuple[float, float], ...]:
    """The outlook if each of ``days_left`` further days draws its peak from the days seen, alike and independent.

    ``P(highest <= x) = P(one <= x) ** days``.

    >>> rest_of_month([10.0, 20.0], 1, levels=2)
    ((10.0, 0.5), (20.0, 0.5))
    >>> rest_of_month([10.0, 20.0], 3, levels=2)
    ((10.0, 0.125), (20.0, 0.875))
    """
    peaks = np.sort(np.atleast_1d(np.asarray(daily_peaks_kw, dtype=np.float64)))
    if days_left <= 0 or not peaks.size:
        return ()
    below = (np.arange(1, len(peaks) + 1) / len(peaks)) ** days_left
    return outlook(peaks, weights=np.diff(below, prepend=0.0), levels=levels)
