"""Faults put into meter values: rules on series beside the detector that knows records only, on the later time.

The meter values are made to agree with real sessions (``simulate.meter_series``): no public series carries labels.
The record-only detector is trained before September 2019; faults are put into sessions from then until March 2020, and
both judge the same sessions, whose records follow from the faulty series. Medians over seeds.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benches.anomaly import END, SITES, SPLIT
from benches.anomaly_trials import load
from benches.registry import Bar, BenchSpec, Outcome, note
from benches.series_learned import WEIGHT as PART_WEIGHT
from benches.series_learned import evidence_of
from benches.series_trials import auroc, prepare_series, recall_at, wiring_of

from plugcast.domain.finding import Severity
from plugcast.domain.session import Session
from plugcast.features.series import SeriesFold
from plugcast.services.showcase import shipped
from plugcast.simulate.meter_series import meter_series

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from benches.series_trials import Seen, SeriesTrial
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SEEDS = range(3)
WEIGHT = 2.0
"""Of rules, as in ``anomaly.stack.StackSpec``."""


def run(size: str) -> Outcome:
    """Both sites; the small size uses the shipped month alone."""
    folder = os.environ.get("PLUGCAST_DATA")
    if size == "small" or not folder:
        read = shipped(datetime(2026, 1, 1, tzinfo=UTC)).read
        cut = read.sessions["available_at"].sort()[int(read.sessions.height * 0.5)]
        trial = prepare_series(
            "shipped", (read.sessions, read.user_inputs), split=cut, end=END, seed=0, clean=120, per_type=3
        )
        return Outcome(data="the shipped month, faults in its later half", cases=_cases([trial]), bars=[])
    trials = []
    for seed in SEEDS:
        for site in SITES:
            note(f"seed {seed}, {site}: training, making series, scoring")
            trials.append(prepare_series(site, load(site, Path(folder)), split=SPLIT, end=END, seed=seed))
    cases = _cases(trials)
    return Outcome(
        data="ACN-Data, Caltech and JPL: meter values made for real sessions, 20 kinds of fault put into those from "
        "2019-09-01 to 2020-03-01",
        cases=[*cases, *_learned(trials), _speed(load("caltech", Path(folder))[0])],
        bars=_bars(trials),
    )


def with_rules(trial: SeriesTrial) -> Floats:
    """The record-only evidence, and the rules on meter values added as the stack adds its own."""
    most = max(model.stack.unbroken for model in trial.detector.models.values())
    weight = {Severity.CRITICAL: most, Severity.WARNING: most, Severity.INFO: most / 2}
    rules = [max((weight[b.severity] for b in one.broken), default=0.0) for one in trial.seen]
    return np.asarray(trial.records + WEIGHT * np.square(rules), dtype=np.float64)


def _cases(trials: Sequence[SeriesTrial]) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = []
    for site in sorted({trial.site for trial in trials}):
        own = [trial for trial in trials if trial.site == site]
        kinds = ("all", *sorted({one.fault for trial in own for one in trial.seen if one.fault}))
        cases += [{"case": "fault in meter values", "site": site, "fault": kind} | _median(own, kind) for kind in kinds]
        sound = [one for trial in own for one in trial.seen if one.fault is None]
        told = Counter(b.rule for one in sound for b in one.broken if b.severity is not Severity.INFO)
        cases.append(
            {
                "case": "rules on sound series",
                "site": site,
                "sessions": len(sound),
                "alarmed_share": sum(_alarmed(one) for one in sound) / len(sound),
                "by_rule": dict(told.most_common()),
            }
        )
    return cases


def _learned(trials: Sequence[SeriesTrial]) -> list[dict[str, Any]]:
    """A learned part beside the rules, and with them: why there is none."""
    rows = []
    for trial in trials:
        odd, both, part = trial.faulty, with_rules(trial), evidence_of(trial)
        scores = {"alone": part, "with_rules": both + PART_WEIGHT * part * part, "rules_without_it": both}
        rows.append(
            {f"{name}_auroc": auroc(score[odd], score[~odd]) for name, score in scores.items()}
            | {f"{name}_recall_at_1pct": recall_at(score[odd], score[~odd]) for name, score in scores.items()}
        )
    median = {name: round(statistics.median(row[name] for row in rows), 4) for name in rows[0]}
    return [{"case": "an unsupervised part on series features, which saw no fault"} | median]


def _alarmed(one: Seen) -> bool:
    return any(b.severity is not Severity.INFO for b in one.broken)


def _median(trials: Sequence[SeriesTrial], fault: str) -> dict[str, Any]:
    rows: list[dict[str, float]] = []
    for trial in trials:
        odd = trial.faulty if fault == "all" else trial.of_type(fault)
        if not odd.any():
            continue
        sound, both = ~trial.faulty, with_rules(trial)
        members = [one for one, put_in in zip(trial.seen, odd, strict=True) if put_in]
        alarmed = [one for one in members if _alarmed(one)]
        rows.append(
            {
                "sessions": len(members),
                "records_auroc": auroc(trial.records[odd], trial.records[sound]),
                "records_recall_at_1pct": recall_at(trial.records[odd], trial.records[sound]),
                "with_series_auroc": auroc(both[odd], both[sound]),
                "with_series_recall_at_1pct": recall_at(both[odd], both[sound]),
                "alarmed_by_series_rules": len(alarmed) / len(members),
            }
        )
        if alarmed:
            named = [any(b.cause.value == one.cause for b in one.broken) for one in alarmed]
            rows[-1]["cause_named_of_alarmed"] = statistics.fmean(named)
    return {
        name: round(statistics.median(values), 4)
        for name in sorted({name for row in rows for name in row})
        if (values := [row[name] for row in rows if name in row])
    }


def _bars(trials: Sequence[SeriesTrial]) -> list[Bar]:
    whole = [_median([trial], "all") for trial in trials]
    sound = [one for trial in trials for one in trial.seen if one.fault is None]
    gain = [row["with_series_recall_at_1pct"] - row["records_recall_at_1pct"] for row in whole]
    return [
        Bar(
            name="faults in meter values, AUROC of records and series",
            value=statistics.median(row["with_series_auroc"] for row in whole),
            limit=0.95,
            sense="at_least",
        ),
        Bar(
            name="faults in meter values, recall at 1 % false positives",
            value=statistics.median(row["with_series_recall_at_1pct"] for row in whole),
            limit=0.60,
            sense="at_least",
        ),
        Bar(name="the same above records alone", value=statistics.median(gain), limit=0.3, sense="at_least"),
        Bar(
            name="sound series with an alarm of a rule",
            value=sum(_alarmed(one) for one in sound) / len(sound),
            limit=0.005,
            sense="at_most",
        ),
    ]


def _speed(sessions: pl.DataFrame) -> dict[str, Any]:
    """CPU time a sample of the fold, and bytes of its state."""
    rng = np.random.default_rng(0)
    messages, states = 0, []
    spent = 0.0
    for row in sessions.drop("available_at").tail(200).iter_rows(named=True):
        session = Session(**row)
        series = meter_series(session, wiring=wiring_of(session.station_id), rng=rng)
        if series is None:
            continue
        values = series.values(session)
        begun = time.process_time()
        fold = SeriesFold(session.session_id)
        for value in values:
            fold.push(value)
        fold.features()
        spent += time.process_time() - begun
        messages += len(values)
        states.append(len(fold.to_bytes()))
    return {
        "case": "the fold",
        "cpu_us_a_sample": 1e6 * spent / messages,
        "samples": messages,
        "largest_state_bytes": max(states),
    }


BENCH = BenchSpec(
    name="series", description="Faults in meter values: rules on series beside the detector of records", run=run
)
