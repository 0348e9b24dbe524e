"""Faults put into real sessions: the stack, each of its parts, and the usual detectors, on the later time.

Everything is trained and chosen on the part before September 2019; faults are put into the sessions from then until
March 2020, the untouched of which count as ordinary though real oddities hide among them. Medians over seeds.

In parts: ``make -s bench NAME=anomaly ARGS="--seeds 0 1 --part budget causes --keep out/anomaly"``.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benches import anomaly_budget, anomaly_feedback, anomaly_labelled, anomaly_more, anomaly_speed
from benches.anomaly_trials import Trial, load, prepare
from benches.kept import kept
from benches.registry import BenchSpec, Choice, Outcome, note

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benches.registry import Bar

    Found = Mapping[tuple[str, int], dict[str, Any]]
    """What was measured, by site and seed."""

SPLIT, END = datetime(2019, 9, 1, tzinfo=UTC), datetime(2020, 3, 1, tzinfo=UTC)
SITES = ("caltech", "jpl")
SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the bench's questions: measured for each site and seed, then told."""

    measure: Callable[[Trial, Path], dict[str, Any]] | None = None
    """JSON can hold the result."""
    measure_alone: Callable[[Path, int], dict[str, Any]] | None = None
    """In its place, of what needs no trial but a seed."""
    tell: Callable[[Found], tuple[list[dict[str, Any]], list[Bar]]]
    sites: tuple[str, ...] = SITES
    seeds: tuple[int, ...] = SEEDS


PARTS: dict[str, Part] = {
    "faults": Part(measure=anomaly_labelled.measure_faults, tell=anomaly_labelled.tell_faults),
    "causes": Part(measure=anomaly_labelled.measure_causes, tell=anomaly_labelled.tell_causes),
    "budget": Part(measure=anomaly_budget.measure, tell=anomaly_budget.tell),
    "feedback": Part(measure=anomaly_feedback.measure, tell=anomaly_feedback.tell),
    "dc": Part(measure=anomaly_more.measure_dc, tell=anomaly_more.tell_dc, sites=("caltech",)),
    "left_out": Part(measure=anomaly_labelled.measure_left_out, tell=anomaly_labelled.tell_left_out),
    "speed": Part(measure=anomaly_speed.measure, tell=anomaly_speed.tell, sites=("caltech",), seeds=(0,)),
    "adbench": Part(measure_alone=anomaly_more.measure_adbench, tell=anomaly_more.tell_adbench, sites=("public",)),
}
"""In the order in which they run."""


def run(size: str) -> Outcome:
    """All parts of the bench; the small size uses the shipped month alone."""
    return run_chosen(size, Choice())


def run_chosen(size: str, choice: Choice) -> Outcome:
    """Some parts, for some seeds; a seed at a time, so that what a stopped run leaves is whole."""
    folder = os.environ.get("PLUGCAST_DATA")
    if size == "small" or not folder:
        return _small()
    data = Path(folder)
    wanted = {name: part for name, part in PARTS.items() if name in (choice.parts or PARTS)}
    found: dict[str, dict[tuple[str, int], dict[str, Any]]] = {name: {} for name in wanted}
    for seed in choice.seeds or SEEDS:
        for site in (*SITES, "public"):
            trial = cache(partial(_trial, site, data, seed))  # made only where a result is not kept
            for name, part in wanted.items():
                if site in part.sites and seed in part.seeds:
                    work = partial(_measured, name, seed, trial, data)
                    found[name][site, seed] = kept(choice.keep, f"{name}-{site}-{seed}", work)
    cases: list[dict[str, Any]] = []
    bars: list[Bar] = []
    for name, part in wanted.items():
        if found[name]:
            more, own = part.tell(found[name])
            cases, bars = cases + more, bars + own
    return Outcome(
        data="ACN-Data, Caltech and JPL: trained before 2019-09-01, 18 fault types in what came until 2020-03-01",
        cases=cases,
        bars=bars,
    )


def _trial(site: str, data: Path, seed: int) -> Trial:
    note(f"seed {seed}, {site}: training and scoring")
    return prepare(site, load(site, data), split=SPLIT, end=END, seed=seed)


def _measured(name: str, seed: int, trial: Callable[[], Trial], data: Path) -> dict[str, Any]:
    part = PARTS[name]
    own = None if part.measure is None else trial()
    begun = time.process_time()
    if part.measure is not None and own is not None:
        made = part.measure(own, data)
    elif part.measure_alone is not None:
        made = part.measure_alone(data, seed)
    else:
        raise ValueError(f"part {name} measures nothing")
    note(f"  {name}, seed {seed}: {time.process_time() - begun:.0f} CPU s")
    return made


def _small() -> Outcome:
    """The shipped month: does the whole way work, and is it above a coin?"""
    from plugcast.services.showcase import shipped  # noqa: PLC0415 - for this size alone

    read = shipped(datetime(2026, 1, 1, tzinfo=UTC)).read
    cut = read.sessions["available_at"].sort()[int(read.sessions.height * 0.7)]
    trial = prepare("shipped", (read.sessions, read.user_inputs), split=cut, end=END, seed=0, per_type=5)
    cases, _ = anomaly_labelled.tell_faults({("shipped", 0): anomaly_labelled.measure_faults(trial, Path())})
    return Outcome(data="the shipped month, faults in its last 30 %", cases=cases, bars=[])


BENCH = BenchSpec(
    name="anomaly",
    description="Faults in real sessions: the stack beside the usual detectors",
    run=run,
    parts=tuple(PARTS),
    run_chosen=run_chosen,
)
