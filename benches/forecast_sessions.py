"""Stay and energy at plug-in and as a session goes on, Caltech and JPL, beside every baseline; charge at departure.

Everything is trained on what was known before; choices were made before September 2019, the test runs from then to
the end of the year, and 2020 stands apart. One model serves both sites; it is refitted every second week.
"""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np
from benches import data_folder, session_parts, session_sets
from benches.registry import Bar, BenchSpec, Outcome, Sense, note
from benches.session_study import TEST_FROM, Studied, forecast, lessons_of, tested

from plugcast.features.stay_features import column
from plugcast.forecast.session_scores import table
from plugcast.forecast.sessions import QUANTITIES
from plugcast.forecast.sessions_fit import EnsembleSpec, Quantity

UNITS: Final = {"stay": "h", "energy": "kWh"}
BELOW_PLAIN: Final = {
    ("caltech", "stay"): 0.30,
    ("caltech", "energy"): 0.27,
    ("jpl", "stay"): 0.36,
    ("jpl", "energy"): 0.27,
}
BELOW_KERNEL: Final = {
    ("caltech", "stay"): 0.15,
    ("caltech", "energy"): 0.22,
    ("jpl", "stay"): 0.13,
    ("jpl", "energy"): 0.19,
}
SM1: Final = {("caltech", "stay"): 13.7, ("caltech", "energy"): 13.7, ("jpl", "stay"): 9.8, ("jpl", "energy"): 10.5}
PLAIN: Final = ("pooled_median", "own_median", "declared")


def run(size: str) -> Outcome:
    """Everything, or (small) a few weeks of Caltech with small models: a smoke test, so without bars."""
    begun = time.process_time()
    small = size == "small"
    if small and not data_folder.data_dir().is_dir():
        return Outcome(
            data=f"none: {data_folder.data_dir()} is no folder; set PLUGCAST_DATA to the data sets", cases=[]
        )
    spec = EnsembleSpec(rounds=8, seeds=1, thresholds=2) if small else EnsembleSpec()
    sites = [session_sets.caltech()] if small else [session_sets.caltech(), session_sets.jpl()]
    note("features")
    lessons = [lessons_of(site, small=small) for site in sites]
    studied = forecast(sites, lessons, spec, small=small)
    note(f"rolled, {time.process_time() - begun:.0f} CPU s")
    cases, bars = [], []
    for part in studied:
        for quantity in QUANTITIES:
            made, promised = _known_drivers(part, quantity)
            cases += [made, *_apart(part, quantity)]
            bars += promised
    going_cases, going_bars = session_parts.as_it_goes(sites, lessons, spec)
    moved_cases, moved_bars = session_parts.moved(sites, lessons, spec) if not small else ([], [])
    soc_cases, soc_bars = session_parts.charge_pairs()
    cases += going_cases + moved_cases + soc_cases + session_parts.random_split(studied, spec)
    if not small:
        cases += session_parts.strictly_at_plug_in(studied, spec)
    cases.append({"part": "cost", "cpu_s": time.process_time() - begun})
    about = "ACN-Data Caltech and JPL, first declaration within 5 min of plug-in; SAP Labs and EPFL charge pairs"
    kept = [] if small else [*bars, *going_bars, *moved_bars, *soc_bars]
    return Outcome(data=about, cases=cases, bars=kept)


def _group(part: Studied, quantity: Quantity, name: str, chosen: np.ndarray) -> dict[str, Any]:
    found = table(
        part.found[quantity][chosen],
        part.outcome(quantity)[chosen],
        part.baselines(quantity, chosen),
        driver=part.site.book.user[part.lessons.row[chosen]],
        arrival_us=part.lessons.arrival_us[chosen],
    )
    return {"part": name, "site": part.site.name, "quantity": quantity, "unit": UNITS[quantity]} | found


def _known_drivers(part: Studied, quantity: Quantity) -> tuple[dict[str, Any], list[Bar]]:
    """Drivers with at least one completed visit: what the bars are about."""
    case = _group(part, quantity, "known drivers", tested(part) & part.lessons.own)
    place = (part.site.name, quantity)
    label, ours = f"{place[0]} {quantity}", case["model"]["mae"]
    plain = min(case[name]["mae"] for name in PLAIN)
    kernel = case["kernel_own_median"]["mae"]
    promised: tuple[tuple[str, float, float, Sense], ...] = (
        ("MAE below the best plain baseline", 1 - ours / plain, BELOW_PLAIN[place], "at_least"),
        ("MAE below the kernel-weighted own median", 1 - ours / kernel, BELOW_KERNEL[place], "at_least"),
        ("SM1, %", case["model"]["sm1_pct"], SM1[place], "at_most"),
    )
    bars = [
        Bar(name=f"{label}: {what}", value=value, limit=limit, sense=sense) for what, value, limit, sense in promised
    ]
    for nominal in (80, 95):
        held = case[f"interval_{nominal}"]
        gap = abs(held["coverage"] - nominal / 100)
        bars.append(
            Bar(name=f"{label}: {nominal} % interval, |coverage - nominal|", value=gap, limit=0.02, sense="at_most")
        )
        if nominal == 80 and held["blocks"]:  # noqa: PLR2004 - blocks are promised for it alone
            low, high = min(held["blocks"]), max(held["blocks"])
            bars.append(
                Bar(name=f"{label}: 80 % interval, lowest block of 150", value=low, limit=0.70, sense="at_least")
            )
            bars.append(
                Bar(name=f"{label}: 80 % interval, highest block of 150", value=high, limit=0.88, sense="at_most")
            )
    return case, bars


def _apart(part: Studied, quantity: Quantity) -> list[dict[str, Any]]:
    """Groups that the headline leaves out, and each quarter."""
    lessons, chosen = part.lessons, tested(part)
    visits = np.nan_to_num(column(lessons.matrix, "own_visits"))
    identified = column(lessons.matrix, "identified") > 0
    later = ~np.isnan(part.found["stay"][:, 0]) & (lessons.arrival_us >= TEST_FROM)
    groups = {
        "unseen drivers": chosen & identified & (visits == 0),
        "cold start (first 3 visits)": chosen & identified & (visits < 3),  # noqa: PLR2004 - as named
        "no driver known": chosen & ~identified,
        "direct current": later & part.site.dc[lessons.row],
    }
    quarter = np.array(
        [str(at)[:4] + f" Q{(int(str(at)[5:7]) + 2) // 3}" for at in lessons.arrival_us.astype("M8[us]")]
    )
    groups |= {f"known drivers {name}": later & lessons.own & (quarter == name) for name in np.unique(quarter[later])}
    return [_group(part, quantity, name, rows) for name, rows in groups.items()]


BENCH = BenchSpec(name="forecast_sessions", description="Stay and energy of sessions: model beside baselines", run=run)
