"""Do alarms keep to their budget, month by month, through a change of regime?"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
from benches.anomaly_trials import ZONE, Trial, load
from benches.registry import Bar

from plugcast.services.detection import watch

if TYPE_CHECKING:
    from pathlib import Path

CHANGE = date(2020, 3, 16)
"""Campuses close."""
REGAINED = date(2020, 4, 13)
LEAST_ALLOWED = 4.0
"""Months whose budget is less than this many alarms are told, not judged: one alarm would be a factor."""
FACTOR = 1.5


def budget_cases(trials: list[Trial], data: Path, *, split: datetime) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Untouched sessions from the split on: alarms beside the alarms allowed."""
    cases, before, after = [], [], []
    for trial in trials:
        sessions, inputs = load(trial.site, data)
        later = sessions.filter(pl.col("available_at") >= split)
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
        for name, (alarms, allowed) in months.items():
            cases.append(
                {
                    "case": "alarms of a month",
                    "site": trial.site,
                    "month": name,
                    "alarms": alarms,
                    "allowed": round(allowed, 2),
                }
            )
            if name < "2020-03" and allowed >= LEAST_ALLOWED:
                before.append(max(alarms / allowed, allowed / max(alarms, 0.5)))
        after.append(max(regained[0] / regained[1], regained[1] / max(regained[0], 0.5)))
    return cases, [
        Bar(
            name="worst month before the change, factor off the budget",
            value=max(before),
            limit=FACTOR,
            sense="at_most",
        ),
        Bar(
            name="from four weeks after the change, factor off the budget",
            value=max(after),
            limit=FACTOR,
            sense="at_most",
        ),
    ]
