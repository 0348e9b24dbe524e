"""What a recording looks like at one instant, in the messages of ``services.live``."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.domain.units import SLOT_MIN
from plugcast.features.online import instant, micros
from plugcast.services.live import (
    PAST_LEAD_H,
    ForecastSeries,
    PowerSeries,
    SessionView,
    StationStatus,
    StationView,
    Totals,
)

if TYPE_CHECKING:
    from plugcast.domain.finding import Finding
    from plugcast.services.recording import IssuedForecast, Recording, Visit

SLOT_US: Final = SLOT_MIN * 60_000_000
SLOT_H: Final = SLOT_MIN / 60
PAST_SLOTS: Final = 96
"""The power chart looks back a day."""
AHEAD_SLOTS: Final = 96
"""And a day ahead."""
PAST_US: Final = 24 * 3_600_000_000
STEP_US: Final = 1_800_000_000
"""The forecast chart looks back a day, in half hours."""
RECENT_SESSIONS: Final = 30
RECENT_FINDINGS: Final = 50
CHARGING_KW: Final = 0.05
"""Below this a car is waiting, not charging."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteMoment:
    """All views at one instant; ``changed_since`` leaves what a watcher does not have yet."""

    slot: int
    stations: dict[str, StationView]
    sessions: dict[str, SessionView]
    findings: tuple[Finding, ...]
    """Newest first."""
    power: PowerSeries | None
    forecast: ForecastSeries | None
    totals: Totals | None

    def changed_since(self, before: SiteMoment) -> SiteMoment:
        """What is new or different from an earlier moment; series only where the slot has moved on."""
        known = {finding.finding_id for finding in before.findings}
        moved = self.slot != before.slot
        return replace(
            self,
            stations={key: view for key, view in self.stations.items() if before.stations.get(key) != view},
            sessions={key: view for key, view in self.sessions.items() if before.sessions.get(key) != view},
            findings=tuple(finding for finding in self.findings if finding.finding_id not in known),
            power=self.power if moved else None,
            forecast=self.forecast if moved else None,
            totals=self.totals if moved else None,
        )


class SiteViews:
    """Looks a recording up; series are computed once a slot."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._arrivals = [visit.arrival_us for visit in recording.visits]
        self._issues = [forecast.issued_us for forecast in recording.forecasts]
        self._observed = [micros(finding.observed_at) for finding in recording.findings]
        self._findings_of: dict[str, list[int]] = {}
        for finding, at_us in zip(recording.findings, self._observed, strict=True):
            self._findings_of.setdefault(finding.session_id, []).append(at_us)
        self._series: tuple[int, PowerSeries, ForecastSeries | None, Totals] | None = None

    def at(self, now_us: int) -> SiteMoment:
        """The views at an instant of the replay."""
        rec = self._recording
        slot = min(max(int((now_us - rec.slot_us[0]) // SLOT_US), 0), rec.slots - 1)
        if self._series is None or self._series[0] != slot:
            self._series = (slot, self._power(slot), self._forecast(slot, now_us), self._totals(slot))
        arrived = bisect_right(self._arrivals, now_us)
        present = [visit for visit in rec.visits[:arrived] if visit.departure_us > now_us]
        gone = [visit for visit in rec.visits[:arrived] if visit.departure_us <= now_us]
        gone = sorted(gone, key=lambda visit: visit.departure_us)[-RECENT_SESSIONS:]
        seen = bisect_right(self._observed, now_us)
        return SiteMoment(
            slot=slot,
            stations=self._stations(present, slot, now_us),
            sessions={
                visit.session_id: self._session(visit, slot, now_us) for visit in (*reversed(present), *reversed(gone))
            },
            findings=tuple(reversed(rec.findings[max(0, seen - RECENT_FINDINGS) : seen])),
            power=self._series[1],
            forecast=self._series[2],
            totals=self._series[3],
        )

    def _stations(self, present: list[Visit], slot: int, now_us: int) -> dict[str, StationView]:
        rec = self._recording
        issued = self._issued(now_us)
        by_station = {visit.station: visit for visit in present}
        views = {}
        for number, station_id in enumerate(rec.station_ids):
            free = None if issued is None else issued.free_probability_1h[number]
            visit = by_station.get(number)
            chance = None if free is None or math.isnan(free) else round(float(free), 3)
            limit = round(float(rec.station_max_kw[number]), 2)
            if visit is None:
                views[station_id] = StationView(
                    station_id=station_id,
                    status=StationStatus.FREE,
                    power_kw=0.0,
                    max_power_kw=limit,
                    free_probability_1h=chance,
                )
                continue
            power, expected_us = _power_in(visit, slot), visit.departure_expected_us
            done = slot >= visit.done_slot
            waiting = StationStatus.DONE if done else StationStatus.WAITING
            views[station_id] = StationView(
                station_id=station_id,
                status=StationStatus.CHARGING if power > CHARGING_KW else waiting,
                power_kw=round(power, 2),
                max_power_kw=limit,
                session_id=visit.session_id,
                arrival_at=instant(visit.arrival_us),
                departure_expected_at=None if expected_us is None else instant(expected_us),
                energy_delivered_kwh=_delivered(visit, slot),
                energy_expected_kwh=None if visit.energy_expected_kwh is None else round(visit.energy_expected_kwh, 2),
                free_probability_1h=chance,
            )
        return views

    def _session(self, visit: Visit, slot: int, now_us: int) -> SessionView:
        return SessionView(
            session_id=visit.session_id,
            station_id=self._recording.station_ids[visit.station],
            arrival_at=instant(visit.arrival_us),
            departure_at=instant(visit.departure_us) if visit.departure_us <= now_us else None,
            energy_delivered_kwh=_delivered(visit, slot),
            findings=sum(at_us <= now_us for at_us in self._findings_of.get(visit.session_id, ())),
        )

    def _power(self, slot: int) -> PowerSeries:
        rec = self._recording
        first, last = max(0, slot - PAST_SLOTS), min(len(rec.slot_us), slot + AHEAD_SLOTS)
        plan = np.full(last - first, np.nan)
        plan[: slot - first + 1] = rec.plan_kw[first : slot + 1]
        ahead = rec.plan_ahead_kw[slot][1 : last - slot]
        plan[slot + 1 - first : slot + 1 - first + len(ahead)] = ahead
        uncontrolled = np.full(last - first, np.nan)
        uncontrolled[: slot - first + 1] = rec.uncontrolled_kw[first : slot + 1]
        return PowerSeries(
            start_at=[int(at // 1_000_000) for at in rec.slot_us[first:last]],
            plan_kw=_numbers(plan),
            uncontrolled_kw=_numbers(uncontrolled),
            limit_kw=[float(value) for value in rec.limit_kw[first:last]],
            price_per_kwh=[float(value) for value in rec.price_per_kwh[first:last]],
            pv_kw=[round(float(value), 3) for value in rec.pv_kw[first:last]],
        )

    def _forecast(self, slot: int, now_us: int) -> ForecastSeries | None:
        rec, issued = self._recording, self._issued(now_us)
        if issued is None:
            return None
        past = [self._as_forecast_before(at) for at in range(issued.issued_us - PAST_US, issued.issued_us + 1, STEP_US)]
        told = [point for point in past if point is not None]
        ahead = zip(issued.valid_us.tolist(), issued.low, issued.median, issued.high, strict=True)
        points = [*told, *ahead]
        place = [(point[0] - int(rec.slot_us[0])) // SLOT_US for point in points]
        return ForecastSeries(
            issued_at=instant(issued.issued_us),
            valid_at=[point[0] // 1_000_000 for point in points],
            low=[round(float(point[1]), 2) for point in points],
            median=[round(float(point[2]), 2) for point in points],
            high=[round(float(point[3]), 2) for point in points],
            actual=[float(rec.cars[at]) if at <= slot else None for at in place],
        )

    def _as_forecast_before(self, valid_us: int) -> tuple[int, float, float, float] | None:
        """What was forecast for an instant at the last issue at least ``PAST_LEAD_H`` before it."""
        number = bisect_right(self._issues, valid_us - PAST_LEAD_H * 3_600_000_000) - 1
        if number < 0:
            return None
        then = self._recording.forecasts[number]
        place = int(np.searchsorted(then.valid_us, valid_us))
        return valid_us, float(then.low[place]), float(then.median[place]), float(then.high[place])

    def _totals(self, slot: int) -> Totals:
        rec = self._recording
        plan, uncontrolled = rec.plan_kw[: slot + 1], rec.uncontrolled_kw[: slot + 1]
        plan_kwh, uncontrolled_kwh = float(plan.sum() * SLOT_H), float(uncontrolled.sum() * SLOT_H)
        now_us = int(rec.slot_us[slot]) + SLOT_US
        unmet = sum(visit.unmet_kwh for visit in rec.visits if visit.departure_us <= now_us)
        return Totals(
            plan_cost=round(float(rec.plan_cost[slot]), 2),
            uncontrolled_cost=round(float(rec.uncontrolled_cost[slot]), 2),
            plan_peak_kw=round(float(plan.max()), 2),
            uncontrolled_peak_kw=round(float(uncontrolled.max()), 2),
            plan_energy_kwh=round(plan_kwh, 1),
            uncontrolled_energy_kwh=round(uncontrolled_kwh, 1),
            unmet_kwh=round(unmet, 1),
            currency=rec.info.currency,
        )

    def _issued(self, now_us: int) -> IssuedForecast | None:
        number = bisect_right(self._issues, now_us) - 1
        return self._recording.forecasts[number] if number >= 0 else None


def _power_in(visit: Visit, slot: int) -> float:
    place = slot - visit.first_slot
    return float(visit.power_kw[place]) if 0 <= place < len(visit.power_kw) else 0.0


def _delivered(visit: Visit, slot: int) -> float:
    return round(float(visit.power_kw[: max(0, slot - visit.first_slot + 1)].sum() * SLOT_H), 2)


def _numbers(values: np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else round(float(value), 3) for value in values]
