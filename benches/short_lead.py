"""The two models a quarter of an hour ahead beside persistence and climatology, on generated telemetry.

Later time and unseen vehicles stand apart; everything is trained on the earlier part alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benches.registry import Bar, BenchSpec, Outcome, note

from plugcast.features.spec import FeatureSpec
from plugcast.forecast import short
from plugcast.forecast.panel import panel
from plugcast.simulate.telemetry import GeneratorSpec, generate

if TYPE_CHECKING:
    from plugcast.forecast.panel import Panel

BASELINES = ("persistence", "climatology")
LOWER, HIGHER = ("plug_brier", "energy_mae_pct"), ("plug_auc",)


def run(size: str) -> Outcome:
    """Train and compare."""
    fleet, days = {"small": (50, 28), "full": (200, 28)}[size]
    spec = GeneratorSpec(vehicles=fleet, days=days)
    note(f"generating {fleet} vehicles over {days} days")
    known = panel(generate(spec), FeatureSpec())
    note("training")
    metrics = short.train(known, short.ShortSpec()).metrics
    cases = [case for part in ("time_split", "unseen_vehicles") for case in _cases(part, metrics[part])]
    return Outcome(data=f"generated, seed {spec.seed}: {_about(known)}", cases=cases, bars=_bars(cases))


def _about(known: Panel) -> str:
    return f"{len(known.asset_ids)} vehicles, {known.rows} samples"


def _cases(part: str, block: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "part": part,
            "figure": figure,
            "rows": block["rows"],
            "model": block["model"][figure],
            **{name: block[name][figure] for name in BASELINES},
        }
        for figure in (*LOWER, *HIGHER)
    ]


def _bars(cases: list[dict[str, Any]]) -> list[Bar]:
    return [
        Bar(
            name=f"{case['part']}: {case['figure']} beside the better baseline",
            value=case["model"],
            limit=(min if case["figure"] in LOWER else max)(case[name] for name in BASELINES),
            sense="at_most" if case["figure"] in LOWER else "at_least",
        )
        for case in cases
    ]


BENCH = BenchSpec(name="short_lead", description="15 min ahead: model, persistence, climatology", run=run)
