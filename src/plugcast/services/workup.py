"""A site's sessions from end to end: forecast, planned and watched, as one report and as a recording to replay."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from plugcast.domain.units import SLOT_MIN
from plugcast.features.online import micros
from plugcast.services import live
from plugcast.services.detection import train_detector, watch
from plugcast.services.occupancy import SiteOutlook, look_ahead
from plugcast.services.period import Period, choose
from plugcast.services.recording import Recording, Visit
from plugcast.services.steering import SiteTerms, Steered, steer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plugcast.domain.finding import Finding
    from plugcast.ports import SessionsRead
    from plugcast.simulate.site import LoopResult

SLOT_US: Final = SLOT_MIN * 60_000_000
SLOT_H: Final = SLOT_MIN / 60
MOST_HISTORY: Final = 30_000
"""Sessions at most that the detector learns from: the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What the sessions themselves do not say."""

    name: str
    time_zone: str
    source: str
    """Where the data come from, with attribution."""
    terms: SiteTerms
    alarms_per_station_week: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkUp:
    """All results; ``report`` is one JSON document."""

    recording: Recording
    report: dict[str, Any]


@dataclass(slots=True)
class _Stages:
    """Wall seconds of each stage, told as they begin."""

    say: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        self.say(text)
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begun, 3)


def work_up(
    read: SessionsRead,
    place: Place,
    *,
    threads: int,
    say: Callable[[str], None] = lambda _: None,
    on_slot: Callable[[int], None] | None = None,
    read_seconds: float = 0.0,
) -> WorkUp:
    """Learn from the earlier part of the sessions, and live through the later part with what was known at each time.

    Args:
        read: Sessions with their books.
        place: Name, zone, tariff, limit.
        threads: For training.
        say: Told what is being done.
        on_slot: Told each planned slot.
        read_seconds: What reading took, for the report.

    Raises:
        NoUsableRowsError: Too few sessions, or too short a time.
    """
    stages = _Stages(say=say, seconds={"read": round(read_seconds, 3)})
    period = choose(read.sessions, place.time_zone)
    sessions = read.sessions.filter(pl.col("arrival_at") < period.end_at)
    with stages.stage("forecast", "learning when stations are taken"):
        outlook = look_ahead(sessions, period, place.time_zone, threads=threads)
    with stages.stage("plan", "planning the charging, quarter hour by quarter hour"):
        steered = steer(sessions, period, place.time_zone, place.terms, on_slot=on_slot)
    with stages.stage("detect", "looking for odd sessions"):
        findings = _watch(sessions, read.user_inputs, period, place)
    with stages.stage("record", "putting it together"):
        parts = _Parts(sessions=sessions, period=period, outlook=outlook, steered=steered, findings=findings)
        recording = _record(read, place, parts)
    report = {
        "source": place.source,
        "site": place.name,
        "sessions": {
            "read": read.counts.read,
            "accepted": read.counts.accepted,
            "rejected": read.counts.rejected,
            "duplicates": read.counts.duplicates,
        },
        "period": {
            "learnt_from": period.start_at,
            "replayed_from": period.cut_at,
            "until": period.end_at,
            "stations": len(recording.station_ids),
        },
        "forecast": outlook.metrics,
        "plan": steered.metrics,
        "findings": findings,
        "seconds": stages.seconds,
    }
    return WorkUp(recording=recording, report=report)


def _watch(sessions: pl.DataFrame, user_inputs: pl.DataFrame, period: Period, place: Place) -> tuple[Finding, ...]:
    """Findings of the replay by a detector that saw only what was known before it."""
    before = sessions.filter(pl.col("available_at") < period.cut_at).sort("available_at").tail(MOST_HISTORY)
    later = sessions.filter((pl.col("available_at") >= period.cut_at) & pl.col("departure_at").is_not_null())
    detector = train_detector(
        before,
        user_inputs.join(before.select("session_id"), on="session_id", how="semi"),
        time_zone=place.time_zone,
        alarms_per_station_week=place.alarms_per_station_week,
    )
    inputs = user_inputs.join(later.select("session_id"), on="session_id", how="semi")
    findings, _ = watch(detector, detector.features(later, inputs), time_zone=place.time_zone)
    return tuple(sorted(findings, key=lambda finding: finding.observed_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    sessions: pl.DataFrame
    period: Period
    outlook: SiteOutlook
    steered: Steered
    findings: tuple[Finding, ...]


def _record(read: SessionsRead, place: Place, parts: _Parts) -> Recording:
    period, outlook, steered = parts.period, parts.outlook, parts.steered
    stations = outlook.panel.asset_ids
    slots, window = period.replay_slots, steered.window
    slot_us = micros(period.cut_at) + np.arange(window.slots) * SLOT_US
    return Recording(
        info=live.SiteInfo(
            name=place.name,
            time_zone=place.time_zone,
            source=place.source,
            currency=place.terms.tariff.currency,
            starts_at=period.cut_at,
            ends_at=period.end_at,
            station_count=len(stations),
            session_count=read.counts.accepted,
            rejected_count=read.counts.rejected,
            scores=outlook.scores,
            notes=_notes(place, steered),
        ),
        station_ids=stations,
        station_max_kw=np.array([steered.rating_kw.get(name, steered.rating_kw[""]) for name in stations]),
        slot_us=slot_us,
        slots=slots,
        limit_kw=window.limit_kw,
        price_per_kwh=window.price_per_kwh,
        pv_kw=window.pv_kw,
        plan_kw=steered.plan.total_power_kw,
        uncontrolled_kw=steered.uncontrolled.total_power_kw,
        plan_cost=bill_so_far(steered.plan, steered),
        uncontrolled_cost=bill_so_far(steered.uncontrolled, steered),
        plan_ahead_kw=steered.ahead_kw,
        cars=_cars_at(parts.sessions, slot_us[:slots]),
        visits=_visits(stations, parts),
        forecasts=outlook.forecasts,
        findings=parts.findings,
    )


def bill_so_far(run: LoopResult, steered: Steered) -> np.ndarray:
    """The bill at the end of each slot: energy so far, and the demand charge on the peak so far. Shape (S,)."""
    bought, sold = np.maximum(run.grid_import_kw, 0.0), np.maximum(-run.grid_import_kw, 0.0)
    window, slots = steered.window, len(bought)
    energy = np.cumsum(bought * window.price_per_kwh[:slots] - sold * window.feed_in_per_kwh[:slots]) * SLOT_H
    return np.asarray(energy + window.demand_charge_per_kw * np.maximum.accumulate(bought))


def _cars_at(sessions: pl.DataFrame, at_us: np.ndarray) -> np.ndarray:
    arrived = np.sort(sessions["arrival_at"].to_physical().to_numpy())
    left = np.sort(sessions["departure_at"].drop_nulls().to_physical().to_numpy())
    return np.asarray(np.searchsorted(arrived, at_us, side="right") - np.searchsorted(left, at_us, side="right"))


def _visits(stations: tuple[str, ...], parts: _Parts) -> tuple[Visit, ...]:
    period, steered = parts.period, parts.steered
    place_of = {name: number for number, name in enumerate(stations)}
    made = []
    for number, (car, expected) in enumerate(zip(steered.cars, steered.expected, strict=True)):
        here = np.flatnonzero(steered.plan.present[number])
        first, last = (int(here[0]), int(here[-1]) + 1) if len(here) else (0, 0)
        done = np.flatnonzero(steered.plan.done[number])
        missing = steered.uncontrolled.delivered_kwh[number] - steered.plan.delivered_kwh[number]
        made.append(
            Visit(
                session_id=car.session_id,
                station=place_of[car.station_id],
                arrival_us=micros(car.arrival_at),
                departure_us=micros(car.departure_at),
                departure_expected_us=micros(expected.departure_at),
                energy_expected_kwh=expected.energy_kwh,
                first_slot=first,
                power_kw=steered.plan.power_kw[number, first:last],
                done_slot=int(done[0]) if len(done) else last,
                unmet_kwh=max(0.0, float(missing)),
            )
        )
    there = parts.sessions.filter(
        (pl.col("arrival_at") < period.cut_at)
        & (pl.col("departure_at").is_null() | (pl.col("departure_at") > period.cut_at))
    )
    for row in there.iter_rows(named=True):  # cars that came before the replay: shown, not steered
        leaves = row["departure_at"] or period.end_at
        made.append(
            Visit(
                session_id=row["session_id"],
                station=place_of[row["station_id"]],
                arrival_us=micros(row["arrival_at"]),
                departure_us=micros(leaves),
                departure_expected_us=None,
                energy_expected_kwh=None,
                first_slot=0,
                power_kw=np.zeros(0),
                done_slot=0,
                unmet_kwh=0.0,
            )
        )
    return tuple(sorted(made, key=lambda visit: (visit.arrival_us, visit.session_id)))


def _notes(place: Place, steered: Steered) -> list[str]:
    notes = [f"The site limit is {steered.window.limit_kw[0]:g} kW; the tariff is {place.terms.tariff.name}."]
    if steered.window.demand_charge_per_kw > 0:
        charge = f"{steered.window.demand_charge_per_kw:g} {place.terms.tariff.currency}"
        notes.append(f"Costs hold the month's demand charge once: {charge} for each kW of the highest quarter hour.")
    if place.terms.pv_peak_kw > 0:
        notes.append(f"PV: {place.terms.pv_peak_kw:g} kW under a modelled clear sky, not a measurement.")
    if steered.metrics["uncontrolled"]["slots_over_limit"]:
        over = steered.metrics["uncontrolled"]["slots_over_limit"]
        notes.append(f"Uncontrolled charging would have broken the limit in {over:g} quarter hours.")
    return notes
