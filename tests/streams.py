"""What laws about streams share: engines run dry or killed, what a topic says, and that it is what the batch says."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from plugcast.domain import topics
from plugcast.domain.outgoing import FindingRaised, Outgoing, SessionScored, decode_outgoing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugcast.anomaly.judgement import Judgement
    from plugcast.domain.finding import Finding
    from plugcast.ports import Log
    from plugcast.services.stream.engine import Engine


def said(log: Log, topic: str) -> list[Outgoing]:
    """All that a topic holds now."""
    reader, found = log.reader(topic), list[Outgoing]()
    while not reader.caught_up():
        found += [decode_outgoing(stored.value or b"") for stored in reader.read(10_000)]
    return found


def drain(engines: Sequence[Engine]) -> Counter[str]:
    """Step until no engine has anything to do; what they have counted."""
    steps = [engine.step() for engine in engines]
    while any(made.outputs or made.positions for made in steps):
        steps = [engine.step() for engine in engines]
    return sum((engine.counts for engine in engines), Counter())


def die(engine: Engine) -> None:
    """As ``kill -9`` after the work and before the commit."""
    worker = engine._joined()[0]
    commit = worker.commit
    worker.commit = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    try:
        engine.step()
    except KeyboardInterrupt:
        pass
    finally:
        worker.commit = commit  # type: ignore[method-assign]


def require_the_batch(log: Log, findings: Sequence[Finding], judgements: Sequence[Judgement]) -> None:
    """The same findings, and the same score for each session to the last bit, each exactly once."""
    raised = [one.finding() for one in said(log, topics.FINDINGS) if isinstance(one, FindingRaised)]
    assert sorted(raised, key=_by_id) == sorted(findings, key=_by_id)
    told = said(log, topics.SCORES)
    scores = {one.session_id: one for one in told if isinstance(one, SessionScored)}
    assert len(scores) == len(told) == len(judgements)
    for judged in judgements:
        one = scores[judged.session_id]
        assert (one.score, one.p_value, one.observed_at) == (judged.score, judged.p_value_of_day, judged.observed_at)


def _by_id(finding: Finding) -> tuple[str, str]:
    return finding.finding_id, finding.by
