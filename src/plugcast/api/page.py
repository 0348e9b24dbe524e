"""The first paint: a snapshot turned into words, so that the page is complete without JavaScript.

Pure functions from the feed's messages to what the template shows; the modules of ``static/js`` do the same to
later frames.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from plugcast.api import wording
from plugcast.services.live import PAST_LEAD_H, StationStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plugcast.domain.finding import Finding, Reason
    from plugcast.services.live import ForecastSeries, Frame, PowerSeries, SessionView, SiteInfo, StationView, Totals

FINDINGS_SHOWN: Final = 20
SESSIONS_SHOWN: Final = 40
REASONS_SHOWN: Final = 2
SPEEDS: Final = (1.0, 5.0, 15.0, 60.0, 240.0)
SCRUBBER_STEPS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One station in words. Bars are shares of 0 to 100; None is no bar."""

    station: str
    status: str
    status_word: str
    power: str
    power_of: str
    energy: str
    leaves: str
    free: str
    energy_bar: float | None
    time_mark: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One key figure of the plan beside uncontrolled charging. Bars are 0 to 100."""

    headline: str
    note: str
    plan: str
    uncontrolled: str
    plan_bar: float
    uncontrolled_bar: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingText:
    """One finding in words: the first reasons stand in sight, the rest opens."""

    severity: str
    severity_word: str
    cause: str
    station: str
    at: str
    reasons: tuple[str, ...]
    more: tuple[str, ...]
    more_label: str
    how: str


def context(frame: Frame, info: SiteInfo) -> dict[str, Any]:
    """Everything that the template ``page.html`` names."""
    zone = ZoneInfo(info.time_zone)
    counts = Counter(station.status.value for station in frame.stations)
    return {
        "info": info,
        "frame": frame,
        "zone_name": wording.zone_name(info.time_zone),
        "clock_day": f"{wording.day(frame.at, zone)} {wording.local(frame.at, zone).year}",
        "clock_hour": wording.hour(frame.at, zone),
        "span": f"{wording.when(info.starts_at, zone)} to {wording.when(info.ends_at, zone)}",
        "position": round(SCRUBBER_STEPS * share_of_span(frame.at, info)),
        "steps": SCRUBBER_STEPS,
        "speeds": sorted({*SPEEDS, frame.speed}),
        "kpi": kpis(frame.totals),
        "counts": {status: counts.get(status, 0) for status in wording.STATUSES},
        "present": len(frame.stations) - counts.get(StationStatus.FREE.value, 0),
        "statuses": wording.STATUSES,
        "tiles": [tile(station, frame.at, zone) for station in frame.stations],
        "findings": [finding(item, zone) for item in frame.findings[:FINDINGS_SHOWN]],
        "sessions": [session(row, zone) for row in ordered(frame.sessions)[:SESSIONS_SHOWN]],
        "power_rows": power_rows(frame.power, zone, info.currency) if frame.power else [],
        "power_now": power_now(frame.power, frame.at, info.currency),
        "cars_now": cars_now(frame.forecast, frame.at),
        "has_pv": frame.power is not None and any(frame.power.pv_kw),
        "forecast_rows": forecast_rows(frame.forecast, zone) if frame.forecast else [],
        "forecast_note": forecast_note(frame.forecast, frame.at, zone) if frame.forecast else "No forecast yet.",
        "scores": [
            (score.name, *map(wording.significant, (score.model, score.persistence, score.climatology)))
            for score in info.scores
        ],
        "client": client_settings(info),
        "number": wording.number,
    }


def client_settings(info: SiteInfo) -> dict[str, Any]:
    """What the scripts need to know that no frame says."""
    return {
        "timeZone": info.time_zone,
        "currency": info.currency,
        "symbols": wording.SYMBOLS,
        "startsAt": info.starts_at.timestamp(),
        "endsAt": info.ends_at.timestamp(),
        "steps": SCRUBBER_STEPS,
        "causes": wording.CAUSES,
        "severities": wording.SEVERITIES,
        "statuses": wording.STATUSES,
        "findingsShown": FINDINGS_SHOWN,
        "sessionsShown": SESSIONS_SHOWN,
        "reasonsShown": REASONS_SHOWN,
    }


def share_of_span(at: datetime, info: SiteInfo) -> float:
    """Where the replay stands between its ends, 0 to 1."""
    span = (info.ends_at - info.starts_at).total_seconds()
    return min(1.0, max(0.0, (at - info.starts_at).total_seconds() / span)) if span > 0 else 0.0


def tile(station: StationView, at: datetime, zone: ZoneInfo) -> Tile:
    """One station in words, as of ``at``."""
    occupied = station.status is not StationStatus.FREE
    expected, delivered = station.energy_expected_kwh, station.energy_delivered_kwh
    energy = f"{wording.number(delivered)} / {wording.number(expected)} kWh"
    if expected is None:
        energy = f"{wording.number(delivered)} kWh so far"
    return Tile(
        station=station.station_id,
        status=station.status.value,
        status_word=wording.STATUSES[station.status.value],
        power=wording.number(station.power_kw),
        power_of=wording.number(station.max_power_kw),
        energy=energy if occupied else "",
        leaves=leaves(station.departure_expected_at, at, zone) if occupied else "",
        free=free(station),
        energy_bar=bar(delivered, expected) if occupied else None,
        time_mark=elapsed(station, at) if occupied else None,
    )


def free(station: StationView) -> str:
    """How likely the station is free in one hour."""
    if station.free_probability_1h is None:
        return ""
    word = "still free" if station.status is StationStatus.FREE else "free"
    return f"{word} in 1 h: {wording.percent(station.free_probability_1h)}"


def leaves(departure_at: datetime | None, at: datetime, zone: ZoneInfo) -> str:
    """When the car is expected to leave, or was."""
    if departure_at is None:
        return "departure unknown"
    return f"{'leaves' if departure_at >= at else 'was due'} {wording.near(departure_at, at, zone)}"


def bar(part: float, whole: float | None) -> float:
    """A share as a bar of 0 to 100, one decimal."""
    return round(min(100.0, max(0.0, 100 * part / whole)), 1) if whole else 0.0


def elapsed(station: StationView, at: datetime) -> float | None:
    """How much of the expected stay is over, 0 to 100."""
    if station.arrival_at is None or station.departure_expected_at is None:
        return None
    stay = (station.departure_expected_at - station.arrival_at).total_seconds()
    return bar((at - station.arrival_at).total_seconds(), stay) if stay > 0 else 100.0


def kpis(totals: Totals | None) -> dict[str, Comparison]:
    """The key figures; dashes before there are any."""
    if totals is None:
        return dict.fromkeys(("cost", "peak", "energy"), _NOTHING_YET)
    energy, wanted = totals.plan_energy_kwh, totals.uncontrolled_energy_kwh
    per_kwh = ""
    if energy > 0 and wanted > 0:
        prices = (totals.plan_cost / energy, totals.uncontrolled_cost / wanted)
        per_kwh = "{}/kWh, not {}".format(*(wording.money(price, totals.currency, 3) for price in prices))
    lower = totals.uncontrolled_peak_kw - totals.plan_peak_kw
    return {
        "cost": _comparison(
            totals.plan_cost,
            totals.uncontrolled_cost,
            text=lambda value: wording.money(value, totals.currency),
            headline=wording.change(totals.plan_cost, totals.uncontrolled_cost),
            note=per_kwh,
        ),
        "peak": _comparison(
            totals.plan_peak_kw,
            totals.uncontrolled_peak_kw,
            text=wording.number,
            headline=wording.change(totals.plan_peak_kw, totals.uncontrolled_peak_kw),
            note=f"{wording.number(abs(lower))} kW {'lower' if lower >= 0 else 'higher'}",
        ),
        "energy": _comparison(
            energy,
            wanted,
            text=lambda value: wording.number(value, 0),
            headline=f"{wording.number(totals.unmet_kwh)} kWh unmet",
            note=f"{wording.number(100 * totals.unmet_kwh / wanted)} %" if wanted > 0 else "",
        ),
    }


_NOTHING_YET: Final = Comparison(
    headline=wording.MISSING,
    note="",
    plan=wording.MISSING,
    uncontrolled=wording.MISSING,
    plan_bar=0,
    uncontrolled_bar=0,
)


def _comparison(
    plan: float, uncontrolled: float, *, text: Callable[[float], str], headline: str, note: str
) -> Comparison:
    longest = max(plan, uncontrolled)
    return Comparison(
        headline=headline,
        note=note,
        plan=text(plan),
        uncontrolled=text(uncontrolled),
        plan_bar=bar(plan, longest),
        uncontrolled_bar=bar(uncontrolled, longest),
    )


def finding(item: Finding, zone: ZoneInfo) -> FindingText:
    """One finding in words."""
    rest = item.reasons[REASONS_SHOWN:]
    p_value = "" if item.p_value is None else f", p = {wording.number(item.p_value, 3)}"
    label = "How it was found"
    if rest:
        label = f"{len(rest)} more reason{'' if len(rest) == 1 else 's'}, and how it was found"
    return FindingText(
        severity=item.severity.value,
        severity_word=wording.SEVERITIES[item.severity.value],
        cause=wording.CAUSES[item.cause.value],
        station=item.station_id,
        at=wording.when(item.observed_at, zone),
        reasons=tuple(map(_reason, item.reasons[:REASONS_SHOWN])),
        more=tuple(map(_reason, rest)),
        more_label=label,
        how=f"Found by {item.by}, score {wording.number(item.score, 2)}{p_value}; session {item.session_id}.",
    )


def _reason(reason: Reason) -> str:
    return reason.text


def ordered(sessions: list[SessionView]) -> list[SessionView]:
    """Cars that are there first, then those that left; the latest on top."""
    by_arrival = sorted(sessions, key=lambda row: (row.arrival_at, row.session_id), reverse=True)
    present = [row for row in by_arrival if row.departure_at is None]
    gone = [row for row in by_arrival if row.departure_at is not None]
    return present + sorted(gone, key=lambda row: row.departure_at or row.arrival_at, reverse=True)


def session(row: SessionView, zone: ZoneInfo) -> tuple[str, str, str, str, str, str]:
    """The cells of one session: id, station, arrival, departure, energy, findings."""
    departure = "still here" if row.departure_at is None else wording.when(row.departure_at, zone)
    return (
        row.session_id,
        row.station_id,
        wording.when(row.arrival_at, zone),
        departure,
        wording.number(row.energy_delivered_kwh),
        str(row.findings),
    )


def power_rows(series: PowerSeries, zone: ZoneInfo, currency: str) -> list[tuple[str, ...]]:
    """The chart of site power as rows of words."""
    columns = zip(
        series.start_at,
        series.plan_kw,
        series.uncontrolled_kw,
        series.limit_kw,
        series.price_per_kwh,
        series.pv_kw,
        strict=True,
    )
    return [
        (
            wording.when(start, zone),
            wording.number(plan),
            wording.number(uncontrolled),
            wording.number(limit, 0),
            wording.money(price, currency, 3),
            wording.number(pv),
        )
        for start, plan, uncontrolled, limit, price, pv in columns
    ]


def power_now(series: PowerSeries | None, at: datetime, currency: str) -> dict[str, str]:
    """The slot of ``at`` in words, by the names of the chart's key."""
    here = None if series is None else slot(series.start_at, at)
    if series is None or here is None:
        return dict.fromkeys(("plan", "uncontrolled", "limit", "pv", "price"), wording.MISSING)
    return {
        "plan": f"{wording.number(series.plan_kw[here])} kW",
        "uncontrolled": f"{wording.number(series.uncontrolled_kw[here])} kW",
        "limit": f"{wording.number(series.limit_kw[here], 0)} kW",
        "pv": f"{wording.number(series.pv_kw[here])} kW",
        "price": f"{wording.money(series.price_per_kwh[here], currency, 3)}/kWh",
    }


def cars_now(series: ForecastSeries | None, at: datetime) -> dict[str, str]:
    """The forecast's step of ``at`` in words, by the names of the chart's key."""
    here = None if series is None else slot(series.valid_at, at)
    if series is None or here is None:
        return dict.fromkeys(("median", "band", "actual"), wording.MISSING)
    return {
        "median": wording.number(series.median[here]),
        "band": f"{wording.number(series.low[here])} to {wording.number(series.high[here])}",
        "actual": wording.number(series.actual[here], 0),
    }


def slot(starts: list[int], at: datetime) -> int | None:
    """The index of the last start that is not after ``at``; None before the first."""
    index = bisect_right(starts, at.timestamp()) - 1
    return index if index >= 0 else None


def forecast_rows(series: ForecastSeries, zone: ZoneInfo) -> list[tuple[str, ...]]:
    """The chart of cars plugged in as rows of words."""
    columns = zip(series.valid_at, series.low, series.median, series.high, series.actual, strict=True)
    return [
        (
            wording.when(at, zone),
            wording.number(low),
            wording.number(median),
            wording.number(high),
            wording.number(actual, 0),
        )
        for at, low, median, high, actual in columns
    ]


def forecast_note(series: ForecastSeries, at: datetime, zone: ZoneInfo) -> str:
    """When the forecast was issued, and how often what came lay inside its band."""
    known = [
        low <= actual <= high
        for low, high, actual in zip(series.low, series.high, series.actual, strict=True)
        if actual is not None
    ]
    issued = f"Issued {wording.near(series.issued_at, at, zone)}; up to then as forecast {PAST_LEAD_H} h before."
    return f"{issued} Inside the band: {sum(known)} of {len(known)} steps." if known else issued
