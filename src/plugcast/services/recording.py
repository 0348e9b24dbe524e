"""A stretch of a site's life, worked through in order: what came, what was forecast, planned and found.

Everything in it was computed from what was known at its time; a replay only looks it up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from plugcast.domain.finding import Finding
    from plugcast.services.live import SiteInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One car's stay, with what the plan gave it."""

    session_id: str
    station: int
    """Index into ``Recording.station_ids``."""
    arrival_us: int
    departure_us: int
    departure_expected_us: int | None
    """Median forecast at plug-in; None for a car that came before the replay."""
    energy_expected_kwh: float | None
    first_slot: int
    """Slot of the recording in which ``power_kw`` begins."""
    power_kw: np.ndarray
    """Mean power of each slot from ``first_slot`` on."""
    done_slot: int
    """Slot from which nothing more was needed."""
    unmet_kwh: float
    """What the car took when charging uncontrolled and did not get from the plan before it left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedForecast:
    """Cars plugged in, as forecast at one time, with its 80 % band."""

    issued_us: int
    valid_us: np.ndarray
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray
    free_probability_1h: np.ndarray
    """Per station; NaN where the station was not known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Slots are equal and start at ``slot_us``; prices, limits and PV also cover the 48 h after the replay."""

    info: SiteInfo
    station_ids: tuple[str, ...]
    station_max_kw: np.ndarray
    slot_us: np.ndarray
    """Shape (T + future,)."""
    slots: int
    """T: slots of the replay itself."""
    limit_kw: np.ndarray
    price_per_kwh: np.ndarray
    pv_kw: np.ndarray
    plan_kw: np.ndarray
    """Shape (T,)."""
    uncontrolled_kw: np.ndarray
    """Shape (T,)."""
    plan_cost: np.ndarray
    """Bill so far at the end of each slot, demand charge on the peak so far included. Shape (T,)."""
    uncontrolled_cost: np.ndarray
    plan_ahead_kw: np.ndarray
    """What the plan made at slot t meant to draw in t, t+1, ...; shape (T, ahead), NaN beyond its horizon."""
    cars: np.ndarray
    """Cars plugged in at the start of each slot. Shape (T,)."""
    visits: tuple[Visit, ...]
    """By arrival."""
    forecasts: tuple[IssuedForecast, ...]
    """By issue time; the first at the start of the replay."""
    findings: tuple[Finding, ...]
    """By the time at which they were observed."""
