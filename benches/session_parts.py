"""Further parts of the bench of session forecasts: as it goes, moved to another site, charge pairs, random split."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from benches import session_sets
from benches.registry import Bar, note
from benches.session_study import LAST, TEST_FROM, TEST_TO, WEEK_US, tested

from plugcast.features.stay_features import column, stay_features
from plugcast.forecast import scores
from plugcast.forecast.bootstrap import Blocks
from plugcast.forecast.session_scores import below, sm1
from plugcast.forecast.sessions import QUANTITIES, Lessons, SessionForecaster
from plugcast.forecast.sessions_fit import MEDIAN
from plugcast.forecast.sessions_roll import adapt, expert_medians
from plugcast.forecast.sessions_soc import EnergyToFull, charge_features, climatology

if TYPE_CHECKING:
    from benches.session_study import Studied

    from plugcast.forecast.sessions_fit import EnsembleSpec, Quantity

GOES_H: Final = (1.0, 2.0, 4.0)
REMAINING: Final = {"caltech": (0.28, 0.28, 0.24), "jpl": (0.34, 0.31, 0.22)}
PUBLISHED: Final = {"stay": 9.9, "energy": 11.6}
WHY: Final = (
    "Only |error| / (|outcome| + |forecast|) reaches the published 9.9 / 11.6 % (IEEE Access 2021). A random split "
    "lets the trees learn from visits after the tested one and, where a driver's means are taken over all visits, the "
    "features too; here every feature is strictly past, so only the trees profit: trust the time split."
)
ADAPTED_AFTER: Final = 200
FEWEST: Final = 20


def as_it_goes(
    sites: list[session_sets.Site], lessons: list[Lessons], spec: EnsembleSpec
) -> tuple[list[dict[str, Any]], list[Bar]]:
    """What remains of the stay 1, 2 and 4 h into it, drivers with a past; one refit every four weeks."""
    cases, bars = [], []
    edges = [*range(TEST_FROM, TEST_TO - 2 * WEEK_US, 4 * WEEK_US), TEST_TO]
    errors: dict[tuple[str, float], list[np.ndarray]] = {}
    for start, end in pairwise(edges):
        if not any(((part.arrival_us >= start) & (part.arrival_us < end)).any() for part in lessons):
            continue
        note("  as it goes")
        model = SessionForecaster.learn_remaining_stay(lessons, cut_us=start, spec=spec)
        for site, part in zip(sites, lessons, strict=True):
            for hours in GOES_H:
                here = (part.arrival_us >= start) & (part.arrival_us < end) & (part.stay_h > hours)
                matrix = stay_features(site.book, part.row[here], hours)
                own = column(matrix, "own_visits") >= 1
                found = hours + model.remaining_h(matrix[own])[:, MEDIAN]
                pooled = column(matrix[own], "pool_stay_all")
                mine, near = (column(matrix[own], name) for name in ("stay_all_q50", "stay_near_q50"))
                rows = [
                    found,
                    pooled,
                    np.where(np.isnan(mine), pooled, mine),
                    np.where(np.isnan(near), pooled, near),
                    part.stay_h[here][own],
                    site.book.user[part.row[here][own]],
                    part.arrival_us[here][own],
                ]
                errors.setdefault((site.name, hours), []).append(np.stack(rows))
    for (name, hours), blocks in errors.items():
        found, pooled, mine, near, truth, driver, arrival_us = np.hstack(blocks)
        if not len(truth):
            continue
        told = {"model": found, "pooled_median": pooled, "own_median": mine, "kernel_own_median": near}
        maes = {key: scores.mae(value, truth) for key, value in told.items()}
        better = pooled if maes["pooled_median"] < maes["own_median"] else mine
        draws = Blocks.of(driver, arrival_us)
        share = below(found, better, truth, draws)
        cases.append(
            {
                "part": "remaining stay",
                "site": name,
                "after_h": hours,
                "sessions": len(truth),
                "mae_h": maes,
                "mae_below_better_median": share,
                "mae_below_kernel_own_median": below(found, near, truth, draws),
            }
        )
        limit = REMAINING[name][GOES_H.index(hours)]
        bars.append(
            Bar(
                name=f"{name} remaining stay after {hours:g} h: MAE below the better remaining median",
                value=share["share"],
                limit=limit,
                sense="at_least",
            )
        )
    return cases, bars  # fmt: skip


def moved(
    sites: list[session_sets.Site], lessons: list[Lessons], spec: EnsembleSpec
) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Trained on one site before the test, moved to the other, which opens that day without any history."""
    cases, bars = [], []
    for home, away in ((0, 1), (1, 0)):
        note(f"  moved from {sites[home].name} to {sites[away].name}")
        model = SessionForecaster.learn([lessons[home]], cut_us=TEST_FROM, spec=spec, going=False)
        site = session_sets.since(sites[away], datetime.fromtimestamp(TEST_FROM / 1e6, UTC))
        book = site.book
        matrix = stay_features(book, np.flatnonzero(book.arrival_us < TEST_TO))
        raw, rows = model.predict(matrix), len(matrix)
        for quantity in QUANTITIES:
            whole = raw.stay_h if quantity == "stay" else raw.energy_kwh
            padded = np.full((book.rows, whole.shape[1]), np.nan)
            padded[:rows] = whole
            every = np.vstack([matrix, np.full((book.rows - rows, matrix.shape[1]), np.nan, np.float32)])
            found = adapt(book, every, padded, quantity)[:rows, MEDIAN]
            truth = (book.stay_h if quantity == "stay" else book.energy_kwh)[:rows]
            usual = expert_medians(matrix, quantity)[:, 1]
            for group, chosen in (("with a driver", book.user[:rows] >= 0), ("without", book.user[:rows] < 0)):
                later = np.flatnonzero(chosen & ~np.isnan(truth) & ~np.isnan(usual))[ADAPTED_AFTER:]
                if len(later) < FEWEST:
                    continue
                maes = {
                    name: scores.mae(value[later], truth[later])
                    for name, value in (("adapted", found), ("as it came", whole[:, MEDIAN]), ("own_median", usual))
                }
                cases.append(
                    {
                        "part": "moved",
                        "from": sites[home].name,
                        "to": site.name,
                        "quantity": quantity,
                        "group": group,
                        "sessions": len(later),
                        "mae": maes,
                    }
                )
                bars.append(
                    Bar(
                        name=f"moved to {site.name}, {quantity}, {group}: MAE over the own median's after 200 sessions",
                        value=maes["adapted"] / maes["own_median"],
                        limit=1.0,
                        sense="at_most",
                    )
                )
    return cases, bars  # fmt: skip


def charge_pairs() -> tuple[list[dict[str, Any]], list[Bar]]:
    """100 - SoC at departure; trained on the first 70 % of the time-ordered visits, tested on the rest."""
    cases, bars = [], []
    for name, read in (("sap", session_sets.sap_dc_posts), ("epfl", session_sets.epfl_fast_charger)):
        visits, zone = read()
        matrix, truth = charge_features(visits, zone), 100.0 - visits.end_soc
        cut = int(visits.arrival_us[int(0.7 * len(truth))])
        test = visits.arrival_us >= cut
        forecast = EnergyToFull.fit(visits, matrix, cut).predict(matrix[test])
        maes = {
            "model": scores.mae(forecast, truth[test]),
            "persistence": scores.mae(100.0 - visits.start_soc[test], truth[test]),
            "climatology": scores.mae(climatology(visits)[test], truth[test]),
        }
        draws = Blocks.of(np.zeros(int(test.sum()), np.int64), visits.arrival_us[test])
        gain = below(forecast, climatology(visits)[test], truth[test], draws)
        cases.append(
            {
                "part": "energy to full at departure",
                "set": name,
                "unit": "%",
                "sessions": int(test.sum()),
                "mae": maes,
                "mae_below_climatology": gain,
            }
        )
        bars.append(
            Bar(
                name=f"{name}: energy to full at departure, MAE beside the better baseline",
                value=maes["model"],
                limit=min(maes["persistence"], maes["climatology"]),
                sense="at_most",
            )
        )
    return cases, bars  # fmt: skip


def random_split(studied: list[Studied], spec: EnsembleSpec) -> list[dict[str, Any]]:
    """Four fifths at random (seed 42) against the rest, known drivers, beside the published figures."""
    cases = []
    for part in studied:
        lessons = part.lessons.only(part.lessons.own & (part.lessons.arrival_us < TEST_TO))
        order = np.random.default_rng(42).permutation(len(lessons.row))
        train = np.isin(np.arange(len(order)), order[: int(0.8 * len(order))])
        for quantity in QUANTITIES:
            fitted = lessons.only(train).ensemble(quantity, TEST_TO, spec, None)
            truth = (lessons.stay_h if quantity == "stay" else lessons.energy_kwh)[~train]
            found = fitted.median(lessons.matrix[~train])
            ratio = sm1(found, truth)
            cases.append(
                {
                    "part": "random split 80/20, seed 42",
                    "site": part.site.name,
                    "quantity": quantity,
                    "sessions": len(truth),
                    "mae": scores.mae(found, truth),
                    "sm1_pct": ratio,
                    "smape_pct": 2 * ratio,
                    "published_smape_pct": PUBLISHED[quantity],
                    "why_they_differ": WHY,
                }
            )
    return cases  # fmt: skip


def strictly_at_plug_in(studied: list[Studied], spec: EnsembleSpec) -> list[dict[str, Any]]:
    """Caltech without any grace: hardly anybody has said anything yet. One model, trained before the test."""
    part = studied[0]
    site = session_sets.caltech(grace=timedelta(0))
    rows = np.flatnonzero((site.book.known_us < LAST) & (site.book.arrival_us < TEST_TO))
    lessons = Lessons.of(site.book, rows, going=False)
    model = SessionForecaster.learn([lessons], cut_us=TEST_FROM, spec=spec, going=False)
    same = np.isin(part.lessons.row, rows) & tested(part) & part.lessons.own
    chosen = np.isin(lessons.row, part.lessons.row[same])
    found = model.predict(lessons.matrix[chosen])
    told = int((column(lessons.matrix[chosen], "identified") > 0).sum())
    pairs: tuple[tuple[Quantity, np.ndarray, np.ndarray], ...] = (
        ("stay", found.stay_h, lessons.stay_h),
        ("energy", found.energy_kwh, lessons.energy_kwh),
    )
    return [
        {
            "part": "known drivers, as of plug-in to the second",
            "site": "caltech",
            "quantity": quantity,
            "sessions": int(chosen.sum()),
            "driver_known_by_then": told,
            "mae": scores.mae(value[:, MEDIAN], truth[chosen]),
            "mae_5_min_later": scores.mae(part.found[quantity][same][:, MEDIAN], part.outcome(quantity)[same]),
        }
        for quantity, value, truth in pairs
    ]
