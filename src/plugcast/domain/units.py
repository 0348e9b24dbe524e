"""Units and bounds that every room shares; numbers from the world are checked against these before use."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

EARLIEST_AT: Final = datetime(2005, 1, 1, tzinfo=UTC)
"""No charging record is older; 1970 is a clock that was never set."""

LATEST_AT: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""A hard upper bound where no 'now' is at hand; readers also refuse what lies a day past their clock."""

SOC_RANGE_PCT: Final = (0.0, 100.0)
MAX_POWER_KW: Final = 1_500.0
"""Above the megawatt charging system's 3.75 MW nothing is a car; above 1.5 MW nothing here is either."""
MAX_SESSION_ENERGY_KWH: Final = 2_000.0
MAX_CAPACITY_KWH: Final = 2_000.0
MAX_SITE_VALUE: Final = 1e6
"""Of a site's price a kWh or power in kW, in size: beyond it a solver's tolerances mean nothing."""
SLOT_MIN: Final = 15
"""Minutes of a planning and forecasting slot."""
HORIZON_SLOTS: Final = 192
"""Slots in 48 hours."""
DEFAULT_VOLTAGE_V: Final = 230.0


def power_kw(current_a: float, *, voltage_v: float = DEFAULT_VOLTAGE_V, phases: int = 1) -> float:
    """Power in kW of a phase current.

    >>> power_kw(32.0, phases=3)
    22.08
    """
    return current_a * voltage_v * phases / 1000.0


def current_a(power: float, *, voltage_v: float = DEFAULT_VOLTAGE_V, phases: int = 1) -> float:
    """Phase current in A of a power in kW.

    >>> round(current_a(22.08, phases=3), 6)
    32.0
    """
    return power * 1000.0 / (voltage_v * phases)
