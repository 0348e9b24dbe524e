"""Forecasting stage of a site: each station's plug state and the number of cars, with their quality."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.features.occupancy import plug_states
from plugcast.features.online import micros
from plugcast.features.spec import FeatureSpec
from plugcast.forecast import horizon, scores, site
from plugcast.forecast.boosting import Boosting
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
BAND_DAYS: Final = 10
"""The band is learnt from the errors of this many days before the replay."""
US_IN_MIN: Final = 60_000_000
US_IN_H: Final = 3_600_000_000
REPORTED_MIN: Final = (60, 360, 1440)
LOOK_BACK_DAYS: Final = 60
"""Days of plug states that trees are trained on."""


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
    trained = horizon.measure(
        known,
        horizon.HorizonSpec(
            max_rows=150_000, leads_per_origin=2, boosting=Boosting(rounds=100, leaves=15, threads=threads)
        ),
        Split(cut_us=cut_us, unseen=np.zeros(len(known.asset_ids), bool)),
    )
    issues = np.arange(cut_us, end_us, ISSUE_EVERY_H * US_IN_H)
    ahead = site.forecast_site(known, trained.model, issues, LEADS_MIN)
    earlier = np.arange(max(micros(start), cut_us - BAND_DAYS * 24 * US_IN_H), cut_us, ISSUE_EVERY_H * US_IN_H)
    band = _band(known, site.forecast_site(known, trained.model, earlier, LEADS_MIN), cut_us)
    table = _count_table(known, ahead, band, cut_us)
    return SiteOutlook(
        panel=known,
        forecasts=tuple(_issued(known, forecast, band) for forecast in ahead),
        metrics={"station": trained.metrics, "cars": table},
        scores=_scores(trained.metrics["time_split"], table),
    )


def _band(known: Panel, earlier: Sequence[site.SiteForecast], cut_us: int) -> site.Band:
    """From errors whose outcome was known before the replay."""
    error, lead = [], []
    for forecast in earlier:
        valid = forecast.issued_us + (forecast.lead_min * US_IN_MIN).astype(np.int64)
        actual = site.count_at(known, valid)
        usable = ~np.isnan(actual) & (valid < cut_us)
        error.append((actual - forecast.expected)[usable])
        lead.append(forecast.lead_min[usable])
    return site.Band.fit(np.concatenate(error), np.concatenate(lead))


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
    known: Panel, ahead: Sequence[site.SiteForecast], band: site.Band, cut_us: int
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
        bands = [band.around(forecast) for forecast in ahead]
        low, high = (np.array([pair[side][place] for pair in bands]) for side in (0, 1))
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
