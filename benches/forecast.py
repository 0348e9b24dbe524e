"""Every promised figure of the forecasts in one document: its parts are benches of their own."""

from __future__ import annotations

from typing import Any, Final

from benches import forecast_plug, forecast_reference, forecast_scenarios, forecast_sessions
from benches.registry import Bar, BenchSpec, Outcome, note

PARTS: Final = (
    forecast_plug.BENCH,
    forecast_sessions.BENCH,
    forecast_scenarios.BENCH,
    forecast_reference.BENCH,
)


def run(size: str) -> Outcome:
    """One part after the other; each case names the bench that it is from."""
    cases: list[dict[str, Any]] = []
    bars: list[Bar] = []
    data: list[str] = []
    for part in PARTS:
        note(f"{part.name}: {part.description}")
        outcome = part.run(size)
        cases += [{"bench": part.name, **case} for case in outcome.cases]
        bars += outcome.bars
        data.append(f"{part.name}: {outcome.data}")
    return Outcome(data="; ".join(data), cases=cases, bars=bars)


BENCH = BenchSpec(
    name="forecast",
    description="All figures of the forecasts: plug state, sessions, scenarios, the reference's method. Half an hour.",
    run=run,
)
