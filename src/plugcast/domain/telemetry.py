"""What a vehicle reports about itself, at irregular times."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One report of one vehicle.

    ``timestamp`` keeps the name of the public telemetry contract; it is the UTC instant of the measurement.
    """

    asset_id: str
    timestamp: datetime
    soc: float
    """State of charge, % of usable capacity, 0 to 100; NaN where the asset has none (a station's connector)."""
    is_plugged_in: bool
    power_kw: float = float("nan")
    """Charging power, positive into the car; NaN = not reported."""
    capacity_kwh: float = float("nan")
    """Usable battery capacity; NaN = not reported."""
