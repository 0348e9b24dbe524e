"""What is lost and what is doubled when workers and the broker are killed under load, beside a way that does lose.

Two workers copy a topic of a real Kafka by outputs and positions in one transaction. Every acknowledged message has to
be in the copy exactly once. The control commits its positions before the work, as automatic commits do.
"""

from __future__ import annotations

from typing import Final

from benches.registry import Bar, BenchSpec, Outcome

ROUNDS: Final = {"small": 1, "full": 20}
STOPPED_S: Final = {"small": 6.0, "full": 30.0}
"""Both longer than a silent worker keeps its place."""


def run(size: str) -> Outcome:
    """Each fault under load the transactional way; the kill of a worker also the careless way."""
    from benches.faults_trial import FAULTS, own_cluster, tried  # noqa: PLC0415 - needs Kafka's client

    cases = []
    with own_cluster() as cluster:
        for fault in FAULTS:
            rounds = 1 if fault.startswith("SIGSTOP") else ROUNDS[size]
            cases.append(tried(cluster, fault, "transaction", rounds=rounds, stopped_s=STOPPED_S[size]))
        killed = next(iter(FAULTS))
        control = tried(cluster, killed, "careless", rounds=max(ROUNDS[size], 3), stopped_s=STOPPED_S[size])
    bars = [
        Bar(name=f"{case['case']}: {what}", value=float(case[what]), limit=0.0, sense="at_most")
        for case in cases
        for what in ("lost", "doubled")
    ]
    bars.append(Bar(name="the careless control loses", value=float(control["lost"]), limit=1.0, sense="at_least"))
    return Outcome(
        data="numbered messages of 290 bytes, 500 a second, through a real Kafka of this bench's own",
        cases=[*cases, control],
        bars=bars,
    )


BENCH = BenchSpec(
    name="faults",
    description="Messages lost and doubled when workers and the Kafka broker are killed under load; with a control.",
    run=run,
)
