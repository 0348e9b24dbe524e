"""Do alarms keep to their budget, month by month, through a change of regime?"""

from __future__ import annotations

import statistics
from collections import defaultdict
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
from benches.anomaly_trials import SPLIT, ZONE, Trial, load
from benches.registry import Bar

from plugcast.services.detection import watch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CHANGE = date(2020, 3, 16)
"""Campuses close."""
REGAINED = date(2020, 4, 13)
LEAST_ALLOWED = 4.0
"""Months whose budget is less than this many alarms are told, not judged: one alarm would be a factor."""
FACTOR = 1.5


def measure(trial: Trial, data: Path) -> dict[str, Any]:
    """Untouched sessions from the split on: [alarms, alarms allowed] by month, and from four weeks after the change."""
    sessions, inputs = load(trial.site, data)
    later = sessions.filter(pl.col("available_at") >= SPLIT)
    _, keeper = watch(trial.detector, trial.detector.features(later, inputs), time_zone=ZONE)
    months: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    regained = [0.0, 0.0]
    for day in keeper.days:
        on = date.fromordinal(day.day)
        month = months[f"{on:%Y-%m}" if on.month != CHANGE.month or on < CHANGE else f"{on:%Y-%m} after"]
        month[0] += day.alarms
        month[1] += day.allowed
        if on >= REGAINED:
            regained[0] += day.alarms
            regained[1] += day.allowed
    return {"months": dict(months), "regained": regained}


def tell(found: Mapping[tuple[str, int], dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Medians over seeds of the factor off the budget: of each site's worst month, then of the worse site."""
    cases: list[dict[str, Any]] = []
    for site in sorted({site for site, _ in found}):
        own = [made["months"] for (of, _), made in sorted(found.items()) if of == site]
        cases += [
            {
                "case": "alarms of a month",
                "site": site,
                "month": month,
                "alarms": statistics.median(months[month][0] for months in own),
                "allowed": round(statistics.median(months[month][1] for months in own), 2),
                "factors": [round(_factor(*months[month]), 2) for months in own],
            }
            for month in own[0]
        ]
    seeds = sorted({seed for _, seed in found})
    before = [
        max(
            _factor(*month)
            for (_, of), made in found.items()
            for name, month in made["months"].items()
            if of == seed and name < "2020-03" and month[1] >= LEAST_ALLOWED
        )
        for seed in seeds
    ]
    after = [max(_factor(*made["regained"]) for (_, of), made in found.items() if of == seed) for seed in seeds]
    bars = []
    for name, factors in (("worst month before the change", before), ("from four weeks after the change", after)):
        cases.append({"case": f"budget, {name}", "factor_by_seed": dict(zip(map(str, seeds), factors, strict=True))})
        value = statistics.median(factors)
        bars.append(Bar(name=f"{name}, factor off the budget", value=value, limit=FACTOR, sense="at_most"))
    return cases, bars


def _factor(alarms: float, allowed: float) -> float:
    return max(alarms / allowed, allowed / max(alarms, 0.5))
