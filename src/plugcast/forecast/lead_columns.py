"""What of a model's input depends on the lead: the wall clock at the target, and what the asset used to do then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plugcast.features.history import Past

LEAD_COLUMNS: Final = (
    "lead_min",
    "target_hour",
    "target_day_of_week",
    "own_plug_rate",
    "own_plug_rate_day_type",
    "own_samples",
    "own_energy_to_full",
)


def lead_us(lead_min: NDArray[np.float64]) -> NDArray[np.int64]:
    """Leads in whole microseconds."""
    return np.rint(lead_min * 60_000_000).astype(np.int64)


def lead_columns(
    lead_min: NDArray[np.float64], hour: NDArray[np.float64], day: NDArray[np.int64], same_hour: Past, same_type: Past
) -> NDArray[np.float32]:
    """The columns LEAD_COLUMNS, shape (m, 7).

    Args:
        lead_min: Minutes ahead. Shape (m,).
        hour: Local hour of the day at the target. Shape (m,).
        day: Local day of the week at the target. Shape (m,).
        same_hour: The asset's past before the origin at the target's hour of the week.
        same_type: The same at that clock hour on days of the same type.
    """
    made = np.empty((len(lead_min), len(LEAD_COLUMNS)), np.float32)
    columns = (
        lead_min,
        hour,
        day,
        same_hour.plug_rate,
        same_type.plug_rate,
        same_hour.samples,
        100.0 - same_type.mean_soc,
    )
    for place, values in enumerate(columns):
        made[:, place] = values
    return made
