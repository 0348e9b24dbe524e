"""Nothing lost, nothing doubled: kill -9 and SIGSTOP of detectors, of the replay and of Kafka, under load.

Each round proves that its fault happened: the process is dead, and another one stands in its place. What the stream
came to is compared by key with `plugcast detect` on the same file: each session's score and p-value to the last bit,
each finding once. Beside it a detector that commits its positions first, which must lose.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benches.registry import Bar, BenchSpec, Choice, Outcome
from benches.stream_faults_run import Plan, Trial, prepare
from scripts.own_server import OwnServer

if TYPE_CHECKING:
    from collections.abc import Mapping

PLANS: Final = {
    "small": (
        Plan(name="journal", rounds=1, detectors=1, period_s=6.0),
        Plan(name="journal, careless", rounds=3, detectors=1, period_s=5.0, careless=True),
    ),
    "medium": (
        Plan(name="journal", rounds=4, detectors=2, stops=1),
        Plan(name="kafka, two detectors", rounds=6, detectors=2, stops=1, broker=1, kafka=True),
        Plan(name="kafka, careless", rounds=4, detectors=1, careless=True, kafka=True),
    ),
    "full": (
        Plan(name="journal", rounds=20, detectors=2, stops=2),
        Plan(name="journal, careless", rounds=6, detectors=1, careless=True),
        Plan(name="kafka, one detector", rounds=20, detectors=1, stops=1, broker=5, kafka=True),
        Plan(name="kafka, two detectors", rounds=20, detectors=2, stops=2, broker=5, kafka=True),
        Plan(name="kafka, three detectors", rounds=20, detectors=3, stops=2, broker=5, kafka=True),
        Plan(name="kafka, careless", rounds=6, detectors=1, careless=True, kafka=True),
    ),
}
PARTS: Final = ("journal", "kafka", "kafka, one", "kafka, two", "kafka, three", "kafka, careless")


def run(size: str, choice: Choice = Choice()) -> Outcome:  # noqa: B008 - a frozen value
    """All rounds of all plans."""
    with tempfile.TemporaryDirectory(prefix="plugcast-faults-") as name:
        folder = Path(name)
        batch = prepare(folder / "batch")
        cases = []
        for place, plan in enumerate(PLANS[size]):
            if choice.parts and not plan.name.startswith(choice.parts):
                continue
            own = folder / f"trial{place}"
            own.mkdir()
            if plan.kafka:
                with OwnServer("kafka", own / "services") as kafka:
                    cases.append(Trial(plan, batch, own, kafka).run())
            else:
                cases.append(Trial(plan, batch, own, None).run())
    return Outcome(
        data="the shipped month of Caltech, 2 faults of each type in its later part (seed 3), sent by plugcast replay",
        cases=cases,
        bars=[bar for case in cases for bar in _bars(case)],
    )


def _bars(case: Mapping[str, Any]) -> list[Bar]:
    name = case["name"]
    if case["careless"]:
        return [Bar(name=f"{name}: lost", value=case["lost"], limit=1, sense="at_least")]
    wrong = case["lost"] + case["doubled"] + case["different"] + case["unexpected"]
    return [
        Bar(name=f"{name}: lost, doubled or different keys", value=wrong, limit=0, sense="at_most"),
        Bar(name=f"{name}: rounds whose fault is proved", value=case["proved"], limit=case["rounds"], sense="at_least"),
    ]


BENCH = BenchSpec(
    name="stream_faults",
    description="nothing lost, nothing doubled under kill -9 and SIGSTOP",
    run=run,
    sizes=("small", "medium", "full"),
    run_chosen=run,
    parts=PARTS,
)
