"""What detectors write comes back as it was, and nothing out of bounds is read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.domain.finding import Cause, Finding, Reason, Severity
from plugcast.domain.outgoing import (
    MAX_RAW_BYTES,
    DeadLetter,
    FindingRaised,
    decode_outgoing,
    encode_outgoing,
)
from plugcast.domain.rejected import Rejected, RejectReason

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
IDS = st.text(min_size=1, max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
REASONS = st.builds(
    Reason,
    feature=IDS,
    text=st.text(max_size=200),
    contribution=NUMBERS,
    value=st.none() | NUMBERS,
    norm=st.none() | NUMBERS,
    cause=st.none() | st.sampled_from(Cause),
)
FINDINGS = st.builds(
    Finding,
    finding_id=IDS,
    session_id=IDS,
    site_id=IDS,
    station_id=st.text(max_size=20),
    user_id=st.none() | IDS,
    observed_at=st.just(AT),
    score=st.floats(0, 1),
    p_value=st.none() | st.floats(0, 1),
    cause=st.sampled_from(Cause),
    severity=st.sampled_from(Severity),
    by=IDS,
    reasons=st.lists(REASONS, min_size=1, max_size=4).map(tuple),
    episode_id=st.none() | IDS,
)


@given(finding=FINDINGS)
def test_a_finding_survives_the_wire(finding: Finding) -> None:
    message = decode_outgoing(encode_outgoing(FindingRaised.of(finding)))
    assert isinstance(message, FindingRaised)
    assert message.finding() == finding


@given(content=st.binary(max_size=3 * MAX_RAW_BYTES))
def test_a_dead_letter_keeps_the_beginning_of_any_bytes(content: bytes) -> None:
    rejected = Rejected(source="ev-station-data-0", row=8, reason=RejectReason.UNDECODABLE, detail="wanted JSON.")
    letter = DeadLetter.of(rejected, content, topic="ev-station-data", partition=0, offset=7, at=AT)
    assert decode_outgoing(encode_outgoing(letter)) == letter
    assert (letter.raw, letter.size) == (content[:MAX_RAW_BYTES], len(content))


@pytest.mark.parametrize(
    "change",
    [{"v": 2}, {"score": 1.5}, {"p_value": -0.1}, {"reasons": []}, {"severity": "loud"}, {"session_id": "x" * 500}],
)
def test_what_breaks_a_bound_is_refused(change: dict[str, Any]) -> None:
    reason = Reason(feature="energy", text="12 kWh", contribution=1.0)
    finding = Finding(
        finding_id="f",
        session_id="s",
        site_id="a",
        station_id="b",
        user_id=None,
        observed_at=AT,
        score=0.5,
        p_value=None,
        cause=Cause.DERATING,
        severity=Severity.WARNING,
        by="rule:x",
        reasons=(reason,),
    )
    document = msgspec.json.decode(encode_outgoing(FindingRaised.of(finding))) | change
    with pytest.raises(msgspec.ValidationError):
        decode_outgoing(msgspec.json.encode(document))
