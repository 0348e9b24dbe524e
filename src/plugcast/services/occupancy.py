"""Forecasting stage of a site: each station's plug state and the number of cars, with their quality."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.features.occupancy import plug_states
from plugcast.features.online import micros
from plugcast.features.spec import FeatureSpec
from plugcast.forecast import horizon, scores, site
from plugcast.forecast.availability import TREES, AvailabilitySpec
from plugcast.forecast.panel import local_clock, panel
from plugcast.forecast.split import Split
from plugcast.services.live import Score
from plugcast.services.recording import IssuedForecast

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from plugcast.forecast.panel import Panel
    from plugcast.services.period import Period

ISSUE_EVERY_H: Final = 2
LEADS_MIN: Final = np.arange(1, 97) * 30.0
BAND_EVERY_H: Final = 6
"""Errors of neighbouring issue times and leads are alike: some of them tell enough."""
BAND_DAYS: Final = 10
"""The band is learnt from the errors of this many days before each forecast."""
US_IN_MIN: Final = 60_000_000
US_IN_H: Final = 3_600_000_000
REPORTED_MIN: Final = (60, 360, 1440)
LOOK_BACK_DAYS: Final = 60
"""Days of plug states that models are trained on."""
MODEL: Final = horizon.HorizonSpec(
    anchors_min=(15, 60, 180, 480, 1_440, 2_880),
    anchor_rows=12_000,
    max_rows=20_000,
    plug=AvailabilitySpec(trees=replace(TREES, rounds=100, leaves=8, bins=63)),
)
"""Smaller than for a fleet: the page should be up soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteOutlook:
    """Forecasts over the replay and how good they were."""

    panel: Panel
    forecasts: tuple[IssuedForecast, ...]
    metrics: dict[str, Any]
    scores: list[Score]


def look_ahead(sessions: pl.DataFrame, period: Period, time_zone: str, *, threads: int) -> SiteOutlook:
    """Train on the plug states before the cut; forecast every two hours of the replay.

    Args:
        sessions: ``schemas.SESSIONS``, those of the replay included: a station's state is known as time goes on.
        period: What is learnt from and what is replayed.
        time_zone: The site's.
        threads: For training.
    """
    spec = FeatureSpec(time_zone=time_zone)
    start = max(period.start_at, period.cut_at - timedelta(days=LOOK_BACK_DAYS))
    known = panel(plug_states(sessions, start, period.end_at), spec)
    cut_us, end_us = micros(period.cut_at), micros(period.end_at)
    model_spec = replace(MODEL, boosting=replace(MODEL.boosting, threads=threads))
    nobody = np.zeros(len(known.asset_ids), bool)
    trained = horizon.measure(known, model_spec, Split(cut_us=cut_us, unseen=nobody))
    issues = np.arange(cut_us, end_us, ISSUE_EVERY_H * US_IN_H)
    ahead = site.forecast_site(known, trained.model, issues, LEADS_MIN)
    bands = _bands(known, [*_before_replay(known, model_spec, cut_us), *ahead], issues)
    table = _count_table(known, ahead, bands, cut_us)
    return SiteOutlook(
        panel=known,
        forecasts=tuple(_issued(known, *pair) for pair in zip(ahead, bands, strict=True)),
        metrics={"station": trained.metrics, "cars": table},
        scores=_scores(trained.metrics["time_split"], table),
    )


def _before_replay(known: Panel, spec: horizon.HorizonSpec, cut_us: int) -> list[site.SiteForecast]:
    """Forecasts for the days before the replay, by a model that had not seen them."""
    first_us = int(known.timestamp_us.min())
    since_us = max(cut_us - BAND_DAYS * 24 * US_IN_H, (first_us + cut_us) // 2)
    since_us -= since_us % (ISSUE_EVERY_H * US_IN_H)
    model = horizon.fit(known, spec, Split(cut_us=since_us, unseen=np.zeros(len(known.asset_ids), bool)))
    return site.forecast_site(known, model, np.arange(since_us, cut_us, BAND_EVERY_H * US_IN_H), LEADS_MIN)


def _bands(known: Panel, made: Sequence[site.SiteForecast], issues: np.ndarray) -> list[site.Band]:
    """For each issue time a band from the errors of the latest days that were known by then."""
    lead = made[0].lead_min
    issued = np.array([forecast.issued_us for forecast in made])[:, None]
    valid = issued + (lead * US_IN_MIN).astype(np.int64)
    error = site.count_at(known, valid.ravel()).reshape(valid.shape) - [forecast.expected for forecast in made]
    bands = []
    for issue in issues:
        usable = ~np.isnan(error) & (valid <= issue) & (valid > issue - BAND_DAYS * 24 * US_IN_H)
        bands.append(site.Band.fit(error[usable], np.broadcast_to(lead, error.shape)[usable]))
    return bands


def _issued(known: Panel, forecast: site.SiteForecast, band: site.Band) -> IssuedForecast:
    low, high = band.around(forecast)
    free = np.full(len(known.asset_ids), np.nan)
    free[forecast.station] = 1.0 - forecast.station_probability[:, int(np.searchsorted(LEADS_MIN, 60.0))]
    return IssuedForecast(
        issued_us=forecast.issued_us,
        valid_us=forecast.issued_us + (forecast.lead_min * US_IN_MIN).astype(np.int64),
        low=low,
        median=forecast.expected,
        high=high,
        free_probability_1h=free,
    )


def _count_table(
    known: Panel, ahead: Sequence[site.SiteForecast], bands: Sequence[site.Band], cut_us: int
) -> list[dict[str, float]]:
    """Cars at the site: mean absolute error of the expectation beside the baselines, coverage of the band."""
    usual = _usual_count(known, cut_us)
    table = []
    for lead in REPORTED_MIN:
        place = int(np.searchsorted(LEADS_MIN, lead))
        issued = np.array([forecast.issued_us for forecast in ahead])
        valid = issued + lead * US_IN_MIN
        actual = site.count_at(known, valid)
        ok = ~np.isnan(actual)
        around = [band.around(forecast) for band, forecast in zip(bands, ahead, strict=True)]
        low, high = (np.array([pair[side][place] for pair in around]) for side in (0, 1))
        expected = np.array([forecast.expected[place] for forecast in ahead])
        table.append(
            {
                "lead_min": float(lead),
                "forecasts": int(ok.sum()),
                "model_mae": scores.mae(expected[ok], actual[ok]),
                "persistence_mae": scores.mae(site.count_at(known, issued)[ok], actual[ok]),
                "climatology_mae": scores.mae(usual[_hour_of_week(valid[ok], known.spec.time_zone)], actual[ok]),
                "coverage_80": scores.coverage(low[ok], high[ok], actual[ok]),
                "width": float((high - low)[ok].mean()),
            }
        )
    return table


def _usual_count(known: Panel, cut_us: int) -> np.ndarray:
    """Mean number of cars per local hour of the week before the cut; shape (168,)."""
    grid = np.unique(known.timestamp_us[known.timestamp_us < cut_us])
    counts, hour = site.count_at(known, grid), _hour_of_week(grid, known.spec.time_zone)
    total, number = np.bincount(hour, weights=counts, minlength=168), np.bincount(hour, minlength=168)
    return np.where(number > 0, total / np.maximum(number, 1), counts.mean())


def _hour_of_week(at_us: np.ndarray, time_zone: str) -> np.ndarray:
    hour, day = local_clock(at_us, time_zone)
    return np.asarray(day * 24 + np.floor(hour).astype(np.int64))


def _scores(by_lead: list[dict[str, Any]], table: list[dict[str, float]]) -> list[Score]:
    chosen = [
        Score(
            name=f"Station taken in {row['lead_min'] / 60:g} h (Brier score)",
            model=row["model"]["plug_brier"],
            persistence=row["persistence"]["plug_brier"],
            climatology=row["climatology"]["plug_brier"],
        )
        for row in by_lead
        if row["lead_min"] in REPORTED_MIN
    ]
    return chosen + [
        Score(
            name=f"Cars at the site in {row['lead_min'] / 60:g} h (mean error)",
            model=row["model_mae"],
            persistence=row["persistence_mae"],
            climatology=row["climatology_mae"],
        )
        for row in table
    ]
