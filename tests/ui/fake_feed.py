"""A site that moves without data: 50 stations on a made-up working day, every state a pure function of the time."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from plugcast.domain.finding import Cause, Finding, Reason, Severity
from plugcast.services.live import (
    MESSAGE_VERSION,
    ForecastSeries,
    Frame,
    PowerSeries,
    Score,
    SessionView,
    SiteInfo,
    StationStatus,
    StationView,
    Totals,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SLOT: Final = timedelta(minutes=15)
SLOT_S: Final = 900
START: Final = datetime(2019, 3, 4, 8, tzinfo=UTC)  # midnight in Los Angeles
LIMIT_KW: Final = 110.0
MAX_KW: Final = 6.6


@dataclass(frozen=True, kw_only=True)
class Stay:
    session_id: str
    station_id: str
    arrival_at: datetime
    departure_at: datetime
    energy_kwh: float
    delay: timedelta

    def energy_at(self, at: datetime, *, planned: bool) -> float:
        begin = self.arrival_at + (self.delay if planned else timedelta(0))
        return min(self.energy_kwh, max(0.0, (min(at, self.departure_at) - begin).total_seconds() / 3600 * MAX_KW))

    def power_at(self, at: datetime, *, planned: bool) -> float:
        begin = self.arrival_at + (self.delay if planned else timedelta(0))
        full = begin + timedelta(hours=self.energy_kwh / MAX_KW)
        return MAX_KW if begin <= at < min(full, self.departure_at) else 0.0


@lru_cache
def stays(stations: int, days: int, prefix: str) -> tuple[Stay, ...]:
    dice = random.Random(7)  # noqa: S311 - a made-up site, not a secret
    found = []
    for day in range(days):
        for index in range(stations):
            if dice.random() < 0.28:
                continue
            arrival = START + timedelta(days=day, hours=dice.gauss(8.7, 1.1))
            energy = dice.uniform(3, 24)
            stay_h = max(energy / MAX_KW + 0.2, dice.gauss(7.6, 1.9))
            slack = max(0.0, stay_h - energy / MAX_KW - 0.3)
            found.append(
                Stay(
                    session_id=f"{prefix}5c7{day:02d}{index:03d}f9af8b",
                    station_id=station_name(index, prefix),
                    arrival_at=arrival,
                    departure_at=arrival + timedelta(hours=stay_h),
                    energy_kwh=energy,
                    delay=timedelta(hours=dice.random() * slack),
                )
            )
    return tuple(sorted(found, key=lambda stay: stay.arrival_at))


def station_name(index: int, prefix: str) -> str:
    return f"{prefix}CA-{300 + index}"


def price(at: datetime) -> float:
    hour = (at - timedelta(hours=8)).hour
    return 0.29 if 12 <= hour < 18 else 0.12 if 8 <= hour < 23 else 0.06


class FakeFeed:
    """Implements LiveFeed. Moves by itself every ``tick_s``; with None only when ``step`` is called.

    Args:
        prefix: Put before every id and reason, to see what the page does with hostile text.
    """

    def __init__(
        self, *, tick_s: float | None = 0.2, stations: int = 50, days: int = 3, at_h: float = 13.3, prefix: str = ""
    ) -> None:
        self.tick_s = tick_s
        self.prefix = prefix
        self.stations = stations
        self.stays = stays(stations, days, prefix)
        self.at = START + timedelta(hours=at_h)
        self.ends_at = START + timedelta(days=days)
        self.speed = 15.0
        self.playing = True
        self.sequence = 0
        self.extra_findings: list[Finding] = []
        self._watchers: set[asyncio.Queue[bytes]] = set()
        self._ticker: asyncio.Task[None] | None = None

    def info(self) -> SiteInfo:
        return SiteInfo(
            name=f"{self.prefix}Arroyo campus garage",
            time_zone="America/Los_Angeles",
            source="Made-up sessions of a fake site, for tests (no attribution needed)",
            currency="USD",
            starts_at=START,
            ends_at=self.ends_at,
            station_count=self.stations,
            session_count=len(self.stays),
            rejected_count=17,
            scores=[
                Score(name="Cars plugged in, mean absolute error", model=1.924, persistence=3.511, climatology=2.608),
                Score(name="Departure, mean absolute error, h", model=0.8123, persistence=1.604, climatology=1.2207),
                Score(name="Energy, pinball loss, kWh", model=1.113, persistence=2.4, climatology=1.71),
            ],
            notes=["Prices: a made-up time-of-use tariff.", "Sessions under 0.5 kWh are not in the source."],
        )

    def snapshot(self) -> Frame:
        return self._frame("snapshot")

    async def frames(self) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._watchers.add(queue)
        if self._ticker is None and self.tick_s is not None:
            self._ticker = asyncio.create_task(self._tick(self.tick_s))
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(queue)
            if not self._watchers and self._ticker is not None:
                self._ticker.cancel()
                self._ticker = None

    def control(self, *, speed: float | None = None, playing: bool | None = None, seek: float | None = None) -> None:
        self.speed = self.speed if speed is None else speed
        self.playing = self.playing if playing is None else playing
        if seek is not None:
            self.at = START + seek * (self.ends_at - START)
        self.sequence += 1
        self._publish(self.snapshot())

    def step(self, minutes: float) -> None:
        """Move on by some minutes of site time and tell the watchers."""
        before = self._parts()
        self.at = min(self.ends_at, self.at + timedelta(minutes=minutes))
        self.sequence += 1
        self._publish(self._frame("frame", before=before))

    def add_finding(self, finding: Finding) -> None:
        before = self._parts()
        self.extra_findings.append(finding)
        self.sequence += 1
        self._publish(self._frame("frame", before=before))

    async def _tick(self, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            if self.playing:
                self.step(self.speed * pause_s)

    def _publish(self, frame: Frame) -> None:
        encoded = msgspec.json.encode(frame)
        for queue in self._watchers:
            queue.put_nowait(encoded)

    def _parts(self) -> tuple[dict[str, StationView], dict[str, SessionView], set[str]]:
        stations = {view.station_id: view for view in self._stations()}
        sessions = {view.session_id: view for view in self._sessions()}
        return stations, sessions, {finding.finding_id for finding in self._findings()}

    def _frame(
        self, kind: str, *, before: tuple[dict[str, StationView], dict[str, SessionView], set[str]] | None = None
    ) -> Frame:
        old_stations, old_sessions, old_findings = before or ({}, {}, set())
        return Frame(
            version=MESSAGE_VERSION,
            kind=kind,
            sequence=self.sequence,
            at=self.at,
            speed=self.speed,
            playing=self.playing,
            stations=[view for view in self._stations() if old_stations.get(view.station_id) != view],
            sessions=[view for view in self._sessions() if old_sessions.get(view.session_id) != view],
            findings=[finding for finding in self._findings() if finding.finding_id not in old_findings],
            power=self._power() if self.stays else None,
            forecast=self._forecast() if self.stays else None,
            totals=self._totals() if self.stays else None,
        )

    def _stations(self) -> Iterator[StationView]:
        here = {stay.station_id: stay for stay in self.stays if stay.arrival_at <= self.at < stay.departure_at}
        for index in range(self.stations):
            name = station_name(index, self.prefix)
            stay = here.get(name)
            chance = round(0.5 + 0.4 * math.sin(index + self.at.hour / 3), 2)
            if stay is None:
                yield StationView(
                    station_id=name,
                    status=StationStatus.FREE,
                    power_kw=0.0,
                    max_power_kw=MAX_KW,
                    free_probability_1h=chance,
                )
                continue
            delivered, power = stay.energy_at(self.at, planned=True), stay.power_at(self.at, planned=True)
            status = StationStatus.CHARGING if power else StationStatus.WAITING
            if delivered >= stay.energy_kwh - 0.01:
                status = StationStatus.DONE
            yield StationView(
                station_id=name,
                status=status,
                power_kw=power,
                max_power_kw=MAX_KW,
                session_id=stay.session_id,
                arrival_at=stay.arrival_at,
                departure_expected_at=stay.departure_at - timedelta(minutes=30 * math.sin(index)),
                energy_delivered_kwh=round(delivered, 3),
                energy_expected_kwh=None
                if index % 17 == 3
                else round(stay.energy_kwh * (1 + 0.1 * math.sin(index)), 2),
                free_probability_1h=chance,
            )

    def _sessions(self) -> list[SessionView]:
        began = [stay for stay in self.stays if stay.arrival_at <= self.at]
        return [
            SessionView(
                session_id=stay.session_id,
                station_id=stay.station_id,
                arrival_at=stay.arrival_at,
                departure_at=stay.departure_at if stay.departure_at <= self.at else None,
                energy_delivered_kwh=round(stay.energy_at(self.at, planned=True), 3),
                findings=int(hash_of(stay.session_id) % 7 == 0),
            )
            for stay in began[-60:]
        ]

    def _findings(self) -> list[Finding]:
        odd = [stay for stay in self.stays if stay.departure_at <= self.at and hash_of(stay.session_id) % 7 == 0]
        found = [make_finding(stay, self.prefix) for stay in odd] + self.extra_findings
        return sorted(found, key=lambda finding: finding.observed_at, reverse=True)

    def _power(self) -> PowerSeries:
        first = int((self.at - timedelta(hours=14)).timestamp()) // SLOT_S * SLOT_S
        starts = [first + index * SLOT_S for index in range(96)]
        moments = [datetime.fromtimestamp(start, UTC) for start in starts]
        sums = [
            [sum(stay.power_at(at + SLOT / 2, planned=planned) for stay in self.stays) for at in moments]
            for planned in (True, False)
        ]
        hours = [((at - timedelta(hours=8)).hour + at.minute / 60) for at in moments]
        return PowerSeries(
            start_at=starts,
            plan_kw=[round(value, 2) for value in sums[0]],
            uncontrolled_kw=[
                round(value, 2) if at <= self.at else None for at, value in zip(moments, sums[1], strict=True)
            ],
            limit_kw=[LIMIT_KW] * len(starts),
            price_per_kwh=[price(at) for at in moments],
            pv_kw=[round(max(0.0, 34 * math.sin((hour - 6.2) / 12 * math.pi)), 2) for hour in hours],
        )

    def _forecast(self) -> ForecastSeries:
        issued = START.timestamp() + (self.at - START).total_seconds() // 21600 * 21600
        valid = [int(issued) + index * SLOT_S * 2 for index in range(25)]
        truth = [
            sum(stay.arrival_at.timestamp() <= at < stay.departure_at.timestamp() for stay in self.stays)
            for at in valid
        ]
        middle = [max(0.0, value + 1.6 * math.sin(index * 0.9)) for index, value in enumerate(truth)]
        return ForecastSeries(
            issued_at=datetime.fromtimestamp(issued, UTC),
            valid_at=valid,
            low=[max(0.0, value - 1 - 0.12 * index) for index, value in enumerate(middle)],
            median=middle,
            high=[value + 1.2 + 0.15 * index for index, value in enumerate(middle)],
            actual=[
                float(value) if at <= self.at.timestamp() else None for at, value in zip(valid, truth, strict=True)
            ],
        )

    def _totals(self) -> Totals:
        plan = sum(stay.energy_at(self.at, planned=True) for stay in self.stays)
        free = sum(stay.energy_at(self.at, planned=False) for stay in self.stays)
        return Totals(
            plan_cost=plan * 0.151,
            uncontrolled_cost=free * 0.198,
            plan_peak_kw=104.3,
            uncontrolled_peak_kw=171.6,
            plan_energy_kwh=plan,
            uncontrolled_energy_kwh=free,
            unmet_kwh=max(0.0, free - plan) * 0.05,
            currency="USD",
        )


def hash_of(text: str) -> int:
    """A hash that is the same in every process."""
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(text))


def make_finding(stay: Stay, prefix: str = "") -> Finding:
    pick = hash_of(stay.session_id) // 7
    cause = list(Cause)[pick % len(Cause)]
    severity = list(Severity)[pick % len(Severity)]
    texts = (
        f"Delivered {stay.energy_kwh:.1f} kWh where sessions of this station deliver 9.8 to 14.2 kWh.",
        "Power stayed at 1.4 kW for 3 h 10 min while the pilot offered 6.6 kW.",
        "Stayed 4 h 25 min after the last energy; nine in ten stay under 2 h 40 min.",
        "Arrived at 05:12, earlier than all but 2 % of arrivals.",
    )
    return Finding(
        finding_id=f"f-{stay.session_id}",
        session_id=stay.session_id,
        site_id="fake",
        station_id=stay.station_id,
        user_id=None,
        observed_at=stay.departure_at,
        score=0.93,
        p_value=0.0042 if pick % 2 else None,
        cause=cause,
        severity=severity,
        by="model:forest" if pick % 2 else f"rule:{cause.value}",
        reasons=tuple(
            Reason(feature=f"feature_{index}", text=prefix + text, contribution=0.5 / (index + 1))
            for index, text in enumerate(texts[: 1 + pick % 4])
        ),
    )
