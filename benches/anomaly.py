"""Faults put into real sessions: the stack, each of its parts, and the usual detectors, on the later time.

Everything is trained and chosen on the part before September 2019; faults are put into the sessions from then until
March 2020, the untouched of which count as ordinary though real oddities hide among them. Medians over seeds.
"""

from __future__ import annotations

import os
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from benches.anomaly_budget import budget_cases
from benches.anomaly_more import adbench_cases, feedback_cases, speed_cases
from benches.anomaly_reference import reference_extended, reference_forest, reference_matrix
from benches.anomaly_trials import Trial, cause_hits, figures, left_out, load, prepare
from benches.registry import Bar, BenchSpec, Outcome, note

from plugcast.anomaly.stack import PARTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPLIT, END = datetime(2019, 9, 1, tzinfo=UTC), datetime(2020, 3, 1, tzinfo=UTC)
SITES = ("caltech", "jpl")
LEFT_OUT_SEEDS = range(3)
"""18 classifiers each: the longest part of the bench."""


def run(size: str) -> Outcome:
    """All parts of the bench; the small size uses the shipped month alone."""
    folder = os.environ.get("PLUGCAST_DATA")
    if size == "small" or not folder:
        return _small()
    data = Path(folder)
    seeds = range(5)
    cases: list[dict[str, Any]] = []
    bars: list[Bar] = []
    trials = []
    for seed in seeds:
        for site in SITES:
            note(f"seed {seed}, {site}: training and scoring")
            trials.append(prepare(site, load(site, data), split=SPLIT, end=END, seed=seed))
    cases += _labelled(trials)
    bars += _labelled_bars(trials)
    for part in (_left_out, _causes):
        note(part.__name__.strip("_"))
        more, own = part(trials)
        cases, bars = cases + more, bars + own
    for site in SITES:
        note(f"budget, {site}")
    more, own = budget_cases([trial for trial in trials if trial.seed == 0], data, split=SPLIT)
    cases, bars = cases + more, bars + own
    note("a DC charger among them")
    more, own = _with_dc(data)
    cases, bars = cases + more, bars + own
    for extra in (feedback_cases, speed_cases):
        note(extra.__name__)
        more, own = extra(trials[:2], data)
        cases, bars = cases + more, bars + own
    note("ADBench")
    more, own = adbench_cases(data / "adbench")
    return Outcome(
        data="ACN-Data, Caltech and JPL: trained before 2019-09-01, 18 fault types in what came until 2020-03-01",
        cases=cases + more,
        bars=bars + own,
    )


def _small() -> Outcome:
    """The shipped month: does the whole way work, and is it above a coin?"""
    from plugcast.services.showcase import shipped  # noqa: PLC0415 - for this size alone

    read = shipped(datetime(2026, 1, 1, tzinfo=UTC)).read
    cut = read.sessions["available_at"].sort()[int(read.sessions.height * 0.7)]
    trial = prepare("shipped", (read.sessions, read.user_inputs), split=cut, end=END, seed=0, per_type=5)
    return Outcome(data="the shipped month, faults in its last 30 %", cases=_labelled([trial]), bars=[])


def _reference(trial: Trial) -> dict[str, dict[str, float]]:
    train = reference_matrix(trial.train_features)
    test = reference_matrix(trial.test_features, train)
    forest = -reference_forest(train, trial.seed).score_samples(test)
    return {
        "reference_if": figures(trial.faulty, forest),
        "reference_eif": figures(trial.faulty, reference_extended(train, test, trial.seed)),
    }


def _labelled(trials: list[Trial]) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = []
    for site in sorted({trial.site for trial in trials}):
        rows: dict[str, list[dict[str, float]]] = {}
        for trial in (each for each in trials if each.site == site):
            found = {"stack": figures(trial.faulty, trial.score)}
            for part in PARTS:
                found[part] = figures(trial.faulty, trial.evidence[part])
            for name, one in (found | _reference(trial)).items():
                rows.setdefault(name, []).append(one)
        cases += [{"case": "all faults", "site": site, "detector": name} | _median(each) for name, each in rows.items()]
        by_type = [trial.by_type(trial.score) for trial in trials if trial.site == site]
        cases.append({"case": "AUROC by fault type", "site": site, "detector": "stack"} | _median(by_type))
    return cases


def _median(rows: list[dict[str, float]]) -> dict[str, float]:
    return {
        name: round(statistics.median(row[name] for row in rows if name in row), 4)
        for name in sorted({name for row in rows for name in row})
    }


def _labelled_bars(trials: list[Trial]) -> list[Bar]:
    limits = {"auroc": 0.95, "ap_at_5pct": 0.75, "recall_at_1pct_fpr": 0.60}
    bars = []
    for name, limit in limits.items():
        by_seed: dict[int, list[float]] = {}
        for trial in trials:
            by_seed.setdefault(trial.seed, []).append(figures(trial.faulty, trial.score)[name])
        value = statistics.median(statistics.fmean(own) for own in by_seed.values())
        bars.append(Bar(name=f"all faults, mean of the two sites: {name}", value=value, limit=limit, sense="at_least"))
    return bars


def _left_out(trials: list[Trial]) -> tuple[list[dict[str, Any]], list[Bar]]:
    cases: list[dict[str, Any]] = []
    means: list[float] = []
    worst: list[float] = []
    for site in sorted({trial.site for trial in trials}):
        found = _median([left_out(trial) for trial in trials if trial.site == site and trial.seed in LEFT_OUT_SEEDS])
        cases.append(
            {"case": "AUROC of types left out of training", "site": site, "seeds": len(LEFT_OUT_SEEDS)} | found
        )
        means += list(found.values())
        worst.append(min(found.values()))
    return cases, [
        Bar(name="types left out: mean AUROC", value=statistics.fmean(means), limit=0.90, sense="at_least"),
        Bar(name="types left out: lowest AUROC", value=min(worst), limit=0.75, sense="at_least"),
    ]


def _causes(trials: list[Trial]) -> tuple[list[dict[str, Any]], list[Bar]]:
    found = [cause_hits(trial) for trial in trials]
    whole = _median(found)
    return [{"case": "cause of true alarms"} | whole], [
        Bar(name="true alarms: injected cause first", value=whole["first"], limit=0.90, sense="at_least"),
        Bar(name="true alarms: injected cause in first two", value=whole["first_two"], limit=0.97, sense="at_least"),
    ]


def _with_dc(data: Path) -> tuple[list[dict[str, Any]], list[Bar]]:
    """A real 172 kW station, its dates moved three years back, at the AC garage."""
    sessions, inputs = load("caltech", data)
    charger = dc_sessions(data)
    both = prepare("mixed", (pl.concat([sessions, charger]), inputs), split=SPLIT, end=END, seed=0)
    alone = prepare("caltech", (sessions, inputs), split=SPLIT, end=END, seed=0)
    dc: NDArray[np.bool_] = (both.test_features["station_id"].str.starts_with("dc-")).to_numpy()
    mixed, own = figures(both.faulty, both.score), figures(alone.faulty, alone.score)
    train = reference_matrix(both.train_features)
    usual = -reference_forest(train, 0).score_samples(reference_matrix(both.test_features, train))
    cases: list[dict[str, Any]] = [
        {"case": "with a DC charger", "detector": "stack"} | mixed,
        {"case": "with a DC charger, its own sessions", "detector": "stack", "sessions": int(dc.sum())}
        | figures(both.faulty[dc], both.score[dc]),
        {"case": "without it", "detector": "stack"} | own,
        {"case": "with a DC charger", "detector": "reference_if"} | figures(both.faulty, usual),
    ]
    loss = own["auroc"] - mixed["auroc"]
    return cases, [Bar(name="AUROC lost with the DC charger", value=loss, limit=0.02, sense="at_most")]


def dc_sessions(data: Path) -> pl.DataFrame:
    """The DC station's sessions as ``schemas.SESSIONS``; it reports no end of charging and knows no drivers."""
    raw = pl.read_parquet(data / "desl_ccs_sessions_soc.parquet")
    at = [
        pl.col(name)
        .dt.offset_by("-3y")
        .dt.replace_time_zone("Europe/Zurich", ambiguous="earliest", non_existent="null")
        .dt.convert_time_zone("UTC")
        for name in ("Arrival", "Departure")
    ]
    from plugcast.schemas import SESSIONS, conform  # noqa: PLC0415 - beside its only use

    frame = raw.select(
        session_id=pl.format("dc-{}", "Session"),
        site_id=pl.lit("0002"),
        station_id=pl.format("dc-{}", "CCS"),
        time_zone=pl.lit("America/Los_Angeles"),
        arrival_at=at[0],
        departure_at=at[1],
        energy_delivered_kwh=pl.col("Energy (Wh)") / 1000,
        available_at=at[1],
    ).filter(pl.col("departure_at") > pl.col("arrival_at"))
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in SESSIONS.items() if name not in frame.columns]
    return conform(frame.with_columns(missing), SESSIONS).select(list(SESSIONS)).unique("session_id", keep="first")


BENCH = BenchSpec(name="anomaly", description="Faults in real sessions: the stack beside the usual detectors", run=run)
