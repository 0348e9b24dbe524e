"""What is expected of an asset, as issued at one instant for one valid time."""

from __future__ import annotations

from datetime import datetime

import msgspec


class ForecastPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Plug state and need of one asset at ``valid_at``, from what was known at ``issued_at``."""

    asset_id: str
    issued_at: datetime
    valid_at: datetime
    plug_probability: float
    energy_to_full_pct: float | None = None
    """Median of 100 - SoC; None for an asset without a state of charge."""
    energy_to_full_low_pct: float | None = None
    """10 % quantile."""
    energy_to_full_high_pct: float | None = None
    """90 % quantile."""


class SessionForecast(msgspec.Struct, frozen=True, kw_only=True):
    """Departure and energy of a car that is plugged in, from what was known at ``issued_at``."""

    session_id: str
    issued_at: datetime
    departure_at: datetime
    """Median."""
    departure_early_at: datetime
    """10 % quantile: one car in ten is gone before."""
    departure_late_at: datetime
    energy_kwh: float
    energy_low_kwh: float
    energy_high_kwh: float
