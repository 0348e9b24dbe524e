"""A message survives the wire to the bit; everything else on a topic is rejected with its reason and never raises."""

from __future__ import annotations

import math
import re
import typing
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plugcast.domain import messages
from plugcast.domain.messages import (
    Heartbeat,
    Message,
    MeterValues,
    SessionEnded,
    SessionStarted,
    SessionUpdated,
    Telemetry,
)
from plugcast.domain.rejected import RAW_LIMIT, Rejected, RejectReason
from plugcast.domain.session import Session, UserInput
from plugcast.domain.telemetry import Sample
from plugcast.domain.wire import DECLARED_AHEAD, EARLIEST_SENT_AT, MAX_MESSAGE_BYTES, Coding, decode, encode

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KINDS: tuple[type[msgspec.Struct], ...] = typing.get_args(Message)
ZONES = st.sampled_from(["America/Los_Angeles", "Europe/Berlin", "UTC"])
INSTANTS = st.datetimes(EARLIEST_SENT_AT.replace(tzinfo=None), NOW.replace(tzinfo=None), timezones=st.just(UTC))
IDS = st.text(min_size=1, max_size=messages.MAX_ID_CHARS)


def _field(name: str, hint: Any) -> st.SearchStrategy[Any]:
    if name == "time_zone":
        return ZONES
    if typing.get_origin(hint) is typing.Annotated:
        kind, bound = typing.get_args(hint)
        if kind is float:
            return st.floats(bound.ge, bound.le)
        return IDS if kind is str else INSTANTS
    if typing.get_origin(hint) is typing.Literal:
        return st.sampled_from(typing.get_args(hint))
    if hint in (bool, type(None)):
        return st.booleans() if hint is bool else st.none()
    return st.one_of([_field(name, each) for each in typing.get_args(hint)])


def _in_order(message: Any) -> Any:
    if isinstance(message, SessionEnded):
        first, last = sorted([message.arrival_at, message.departure_at])
        return msgspec.structs.replace(message, arrival_at=first, departure_at=last)
    return message


def _messages(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{name: _field(name, hint) for name, hint in hints.items()}).map(_in_order)


def read(content: bytes, coding: Coding = Coding.JSON) -> Message | Rejected:
    return decode(content, now=NOW, source="ev-station-data-0", row=1, coding=coding)


def refusal(content: bytes, coding: Coding = Coding.JSON) -> RejectReason:
    found = read(content, coding)
    assert isinstance(found, Rejected), found
    assert len(found.raw) <= RAW_LIMIT
    assert found.detail.endswith(".")
    return found.reason


METER: dict[str, Any] = {
    "type": "meter_values",
    "v": 1,
    "site_id": "0001",
    "station_id": "CA-1",
    "measured_at": "2026-03-01T10:00:00Z",
    "power_kw": 6.6,
}
ENDED: dict[str, Any] = {
    "type": "session_ended",
    "v": 1,
    "session_id": "s",
    "site_id": "0001",
    "station_id": "CA-1",
    "arrival_at": "2026-03-01T08:00:00Z",
    "departure_at": "2026-03-01T10:00:00Z",
    "time_zone": "America/Los_Angeles",
}


def changed(base: dict[str, Any] = METER, **fields: Any) -> bytes:
    return msgspec.json.encode(base | fields)


@given(st.one_of([_messages(kind) for kind in KINDS]), st.sampled_from(Coding))
def test_a_message_is_the_same_after_the_wire(message: Message, coding: Coding) -> None:
    content = encode(message, coding=coding)
    assert len(content) <= MAX_MESSAGE_BYTES
    assert read(content, coding) == message


@given(st.binary(max_size=300), st.sampled_from(Coding))
@example(b"", Coding.JSON)
@example(b"[" * 60_000, Coding.JSON)
@example(b'{"q":' * 10_000, Coding.JSON)
@example(b"\x81" * 60_000, Coding.MSGPACK)
@example(b'{"type":"heartbeat","v":1,"site_id":"\xff"}', Coding.JSON)
@example(b'{"type":"heartbeat","v":1,"site_id":"\\ud800"}', Coding.JSON)
def test_any_bytes_are_rejected_and_never_raise(content: bytes, coding: Coding) -> None:
    assert isinstance(read(content, coding), Rejected)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = sorted({name for kind in KINDS for name in kind.__struct_fields__} | {"type"})


@given(st.sampled_from(KINDS).flatmap(_messages), st.sampled_from(FIELDS), JSON, st.sampled_from(Coding))
def test_any_value_in_any_field_gives_a_message_or_a_reason(
    message: Any, name: str, value: Any, coding: Coding
) -> None:
    module = msgspec.json if coding is Coding.JSON else msgspec.msgpack
    fields = module.decode(module.encode(message))
    try:
        content = module.encode(fields | {name: value})
    except OverflowError:  # MessagePack has no such integer
        return
    assert isinstance(read(content, coding), Message | Rejected)


@given(st.sampled_from(KINDS).flatmap(_messages), st.data())
def test_a_message_with_a_byte_changed_never_raises(message: Any, data: st.DataObject) -> None:
    content = bytearray(encode(message))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(read(bytes(content)), Message | Rejected)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x00\x9f\x92\x96", RejectReason.UNDECODABLE),
        (b"null", RejectReason.UNDECODABLE),
        (b'{"v":1}', RejectReason.MISSING_VALUE),
        (changed(type="sessions_ended"), RejectReason.UNDECODABLE),
        (changed(note="x" * 70_000), RejectReason.TOO_LONG),
        (changed(station_id="x" * 129), RejectReason.TOO_LONG),
        (changed(station_id=""), RejectReason.MISSING_VALUE),
        (changed(station_id=None), RejectReason.MISSING_VALUE),
        (changed(v=2), RejectReason.WRONG_VERSION),
        (changed(v=2, power_kw="many", measured_at=7), RejectReason.WRONG_VERSION),
        (b'{"type":"heartbeat","site_id":"a","station_id":"b"}', RejectReason.MISSING_VALUE),
        (changed(power_kw=1e30), RejectReason.OUT_OF_RANGE),
        (changed(power_kw=10**40), RejectReason.OUT_OF_RANGE),
        (changed().replace(b"6.6", b"1e999"), RejectReason.OUT_OF_RANGE),
        (changed(offered_current_a=-1), RejectReason.OUT_OF_RANGE),
        (changed(power_kw="many"), RejectReason.NOT_A_NUMBER),
        (changed().replace(b"6.6", b"NaN"), RejectReason.UNDECODABLE),
        (changed(measured_at="yesterday"), RejectReason.BAD_TIME),
        (changed(measured_at="2026-03-01T10:00:00"), RejectReason.BAD_TIME),
        (changed(measured_at="1970-01-01T00:00:00Z"), RejectReason.TIME_OUT_OF_RANGE),
        (changed(measured_at="2100-01-01T00:00:00Z"), RejectReason.TIME_OUT_OF_RANGE),
        (changed(measured_at="0001-01-01T00:00:00+14:00"), RejectReason.TIME_OUT_OF_RANGE),
        (changed(measured_at="9999-12-31T23:59:59-14:00"), RejectReason.TIME_OUT_OF_RANGE),
        (changed(ENDED, departure_at="2026-03-01T07:59:59Z"), RejectReason.END_BEFORE_START),
        (changed(ENDED, time_zone="Mars/Olympus"), RejectReason.BAD_TIME),
        (changed(ENDED, time_zone="../../etc/passwd"), RejectReason.BAD_TIME),
    ],
)
def test_rubbish_is_named(content: bytes, reason: RejectReason) -> None:
    assert refusal(content) is reason


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_messagepack_lets_no_nan_or_infinity_through(number: float) -> None:
    content = msgspec.msgpack.encode(METER | {"power_kw": number})
    assert refusal(content, Coding.MSGPACK) is RejectReason.OUT_OF_RANGE


def test_a_rejection_says_where_and_shows_the_start() -> None:
    found = decode(b"rubbish \xff" * 100, now=NOW, source="t-2", row=42)
    assert isinstance(found, Rejected)
    assert (found.source, found.row) == ("t-2", 42)
    assert found.raw.startswith("rubbish \ufffd")


def test_instants_are_turned_to_utc_and_bounded_by_the_clock() -> None:
    found = read(changed(measured_at="2026-03-01T05:00:00-05:00"))
    assert isinstance(found, MeterValues)
    assert found.measured_at == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert found.measured_at.tzinfo is UTC
    for late, taken in ((timedelta(days=1), True), (timedelta(days=1, microseconds=1), False)):
        beat = Heartbeat(v=1, site_id="a", station_id="b", sent_at=NOW + late)
        assert isinstance(read(encode(beat)), Heartbeat) is taken
    east = Heartbeat(v=1, site_id="a", station_id="b", sent_at=NOW.astimezone(timezone(timedelta(hours=9))))
    assert read(encode(east)) == msgspec.structs.replace(east, sent_at=NOW)


def test_a_declared_departure_is_a_plan_and_may_lie_ahead() -> None:
    for ahead, taken in ((timedelta(days=3), True), (DECLARED_AHEAD, True), (timedelta(days=400), False)):
        declared = UserInput(session_id="s", available_at=NOW, declared_departure_at=NOW + ahead)
        assert isinstance(read(encode(SessionUpdated.of(declared))), SessionUpdated) is taken


@given(_messages(SessionEnded), _messages(SessionUpdated))
def test_records_come_out_as_they_went_in(ended: SessionEnded, updated: SessionUpdated) -> None:
    session, declared = ended.session(), updated.user_input()
    again = SessionEnded.of(session, available_at=ended.available_at)
    assert (again.session(), again.known_at) == (session, ended.known_at)
    assert SessionUpdated.of(declared) == updated
    started = SessionStarted.of(session)
    for name in set(SessionStarted.__struct_fields__) - {"v"}:
        assert getattr(started, name) == getattr(session, name)


def test_a_message_carries_every_field_of_its_record() -> None:
    for kind, record, own in (
        (SessionEnded, Session, {"v", "available_at"}),
        (SessionUpdated, UserInput, {"v"}),
        (Telemetry, Sample, {"v"}),
    ):
        assert set(kind.__struct_fields__) - own == set(record.__struct_fields__)


def test_a_session_that_still_runs_has_not_ended() -> None:
    ended = read(changed(ENDED))
    assert isinstance(ended, SessionEnded)
    with pytest.raises(ValueError, match="has ended"):
        SessionEnded.of(msgspec.structs.replace(ended.session(), departure_at=None))


def test_a_number_that_a_vehicle_did_not_report_is_missing_on_the_wire_and_nan_after_it() -> None:
    sample = Sample(asset_id="car", timestamp=NOW, soc=math.nan, is_plugged_in=True)
    content = encode(Telemetry.of(sample))
    assert re.search(rb'"soc":null,.*"power_kw":null,"capacity_kwh":null', content)
    found = read(content)
    assert isinstance(found, Telemetry)
    assert math.isnan(found.sample().soc)
    assert math.isnan(found.sample().power_kw)
    full = Sample(asset_id="car", timestamp=NOW, soc=50.0, is_plugged_in=True, power_kw=7.0, capacity_kwh=60.0)
    assert Telemetry.of(full).sample() == full
