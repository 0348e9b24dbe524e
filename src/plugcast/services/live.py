"""What a watcher of a site sees: one snapshot on arrival, then frames with what changed.

The page and any other client speak only these messages (JSON; version ``MESSAGE_VERSION``).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from plugcast.domain.finding import Finding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MESSAGE_VERSION: Final = 1
PAST_LEAD_H: Final = 6
"""How far ahead the forecasts of the past lay that stand beside what came."""


class StationStatus(StrEnum):
    """What a station is doing, in one word; never shown by colour alone."""

    FREE = "free"
    CHARGING = "charging"
    WAITING = "waiting"
    """Plugged in, energy still needed, power held back by the plan."""
    DONE = "done"
    """Plugged in, nothing more needed."""


class StationView(msgspec.Struct, frozen=True, kw_only=True):
    """One tile of the station grid."""

    station_id: str
    status: StationStatus
    power_kw: float
    max_power_kw: float
    session_id: str | None = None
    arrival_at: datetime | None = None
    departure_expected_at: datetime | None = None
    """Median forecast, from what was known at plug-in."""
    energy_delivered_kwh: float = 0.0
    energy_expected_kwh: float | None = None
    free_probability_1h: float | None = None
    """Forecast probability that the station is free in one hour."""


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the session table."""

    session_id: str
    station_id: str
    arrival_at: datetime
    departure_at: datetime | None
    """None while the car is there."""
    energy_delivered_kwh: float
    findings: int = 0


class PowerSeries(msgspec.Struct, frozen=True, kw_only=True):
    """Site power, slot by slot; index i of every list is the slot that starts at ``start_at[i]`` (epoch seconds)."""

    start_at: list[int]
    plan_kw: list[float | None]
    """What the plan drew (past) and means to draw (future)."""
    uncontrolled_kw: list[float | None]
    """What charging on arrival at full power drew; None in the future."""
    limit_kw: list[float]
    price_per_kwh: list[float]
    pv_kw: list[float]


class ForecastSeries(msgspec.Struct, frozen=True, kw_only=True):
    """Cars plugged in at the site: the forecast issued at ``issued_at`` with its 80 % band, and what came.

    Times before ``issued_at`` carry what was forecast for them ``PAST_LEAD_H`` to two hours more before.
    """

    issued_at: datetime
    valid_at: list[int]
    low: list[float]
    median: list[float]
    """The expected number: the sum of the stations' probabilities."""
    high: list[float]
    actual: list[float | None]
    """Known up to the replay's present; None after it."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The plan beside uncontrolled charging, from the start of the replay to its present."""

    plan_cost: float
    uncontrolled_cost: float
    plan_peak_kw: float
    uncontrolled_peak_kw: float
    plan_energy_kwh: float
    uncontrolled_energy_kwh: float
    unmet_kwh: float
    """Energy that uncontrolled charging delivered and the plan did not."""
    currency: str


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of the forecast beside its baselines."""

    name: str
    model: float
    persistence: float
    climatology: float


class Frame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What changed since the last frame; absent parts did not."""

    version: int
    kind: str
    """``snapshot`` or ``frame``."""
    sequence: int
    at: datetime
    """The replay's present."""
    speed: float
    """Minutes of site time a second."""
    playing: bool
    stations: list[StationView] = []
    """Snapshot: all; frame: those that changed."""
    sessions: list[SessionView] = []
    """Snapshot: present and recent; frame: those that changed."""
    findings: list[Finding] = []
    """Snapshot: those observed so far, newest first; frame: the new ones."""
    power: PowerSeries | None = None
    forecast: ForecastSeries | None = None
    totals: Totals | None = None


class SiteInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change while watching."""

    name: str
    time_zone: str
    source: str
    """Where the data come from, with attribution."""
    currency: str
    starts_at: datetime
    ends_at: datetime
    station_count: int
    session_count: int
    rejected_count: int
    scores: list[Score] = []
    """Forecast quality on the part of the data that training never saw."""
    notes: list[str] = []


class LiveFeed(Protocol):
    """A site that can be watched. One feed serves any number of watchers; each frame is encoded once for all."""

    def info(self) -> SiteInfo:
        """What does not change."""
        ...

    def snapshot(self) -> Frame:
        """Everything as of now."""
        ...

    def frames(self) -> AsyncIterator[bytes]:
        """Encoded frames from now on; a slow watcher loses the oldest, and gets a snapshot to catch up."""
        ...

    def control(self, *, speed: float | None = None, playing: bool | None = None, seek: float | None = None) -> None:
        """Change the replay: minutes a second, pause, or jump to a share (0 to 1) of its span."""
        ...
