"""Plugcast beside EV2Gym's own heuristics in EV2Gym's own environment, on several seeds.

EV2Gym runs in an environment of its own (``scripts/ev2gym``). Its predictive controllers know all arrivals to come and
need a licence of Gurobi: no comparison for an agent that knows what has arrived.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from typing import Any, Final

from benches.registry import ROOT, Bar, BenchSpec, Outcome, note

SCENARIO: Final = "V2GProfitPlusLoads"
FASTEST: Final = "charge as fast as possible"
OURS: Final = "plugcast"
LONGEST_S: Final = 3600.0
FIGURES: Final = ("total_profits", "energy_user_satisfaction", "total_transformer_overload", "cpu_ms_per_step")


def run(size: str) -> Outcome:
    """Three seeds of the whole scenario; small runs one if EV2Gym's environment has been set up."""
    small = size == "small"
    if small and not (ROOT / ".venv-ev2gym" / ".plugcast").is_file():
        return Outcome(data="none: EV2Gym is not set up; make -s bench NAME=ev2gym does it", cases=[])
    note("EV2Gym, a minute a seed")
    done = subprocess.run(
        [str(ROOT / "scripts" / "ev2gym"), "-m", "benches.ev2gym_drive", SCENARIO, "7" if small else "7,8,9"],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=LONGEST_S,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"EV2Gym ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    cases: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    mean = {
        agent: {name: statistics.fmean(case[name] for case in cases if case["agent"] == agent) for name in FIGURES}
        for agent in {case["agent"] for case in cases}
    }
    summary = [{"agent": agent, "seed": "mean"} | figures for agent, figures in sorted(mean.items())]
    return Outcome(data=f"{SCENARIO} of EV2Gym 2.0.0", cases=[*cases, *summary], bars=[] if small else _bars(mean))


def _bars(mean: dict[str, dict[str, float]]) -> list[Bar]:
    ours, fastest = mean[OURS], mean[FASTEST]
    return [
        Bar(
            name="profit above charging as fast as possible",
            value=ours["total_profits"] - fastest["total_profits"],
            limit=0.0,
            sense="at_least",
        ),
        Bar(
            name="overload over that of charging as fast as possible",
            value=ours["total_transformer_overload"] / max(fastest["total_transformer_overload"], 1e-9),
            limit=0.05,
            sense="at_most",
        ),
        Bar(name="mean satisfaction, %", value=ours["energy_user_satisfaction"], limit=95.0, sense="at_least"),
    ]


BENCH = BenchSpec(name="ev2gym", description="Plugcast as an agent of EV2Gym beside its heuristics", run=run)
