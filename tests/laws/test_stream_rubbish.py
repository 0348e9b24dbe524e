"""Whatever stands on a topic, the detector goes on: each message is judged, counted or kept with its reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.laws.test_stream_laws import BEGIN, NOW, PARTITIONS, Case, Site
from tests.streams import drain, said

from plugcast.domain import messages, topics
from plugcast.domain.messages import Heartbeat, SessionEnded, SessionStarted, SessionUpdated
from plugcast.domain.outgoing import MAX_RAW_BYTES, DeadLetter, FindingRaised, SessionScored
from plugcast.domain.rejected import RejectReason
from plugcast.domain.units import MAX_SESSION_ENERGY_KWH
from plugcast.domain.wire import encode
from plugcast.ports import Entry, Stored
from plugcast.services.stream import engine as engine_module
from plugcast.services.stream.detecting import DECLARATIONS_KEPT, Detecting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugcast.domain.messages import Message
    from plugcast.services.stream.steps import Step


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


START = encode(
    SessionStarted(v=1, session_id="s", site_id="a", station_id="b", arrival_at=BEGIN, time_zone="Europe/Oslo")
)
END = encode(
    SessionEnded(
        v=1,
        session_id="s",
        site_id="a",
        station_id="b",
        arrival_at=BEGIN,
        departure_at=BEGIN + timedelta(hours=2),
        energy_delivered_kwh=7.0,
        time_zone="Europe/Oslo",
    )
)
RUBBISH = [
    (b"\x00\xff\x17 not a message", RejectReason.UNDECODABLE),
    (b"", RejectReason.UNDECODABLE),
    (b"[" * 20_000, RejectReason.UNDECODABLE),
    (b"\xfe" * 50_000_000, RejectReason.TOO_LONG),
    (START.replace(b'"v":1', b'"v":2'), RejectReason.WRONG_VERSION),
    (START.replace(b'"session_id":"s",', b""), RejectReason.MISSING_VALUE),
    (START.replace(b'"s"', b'"' + b"s" * 200 + b'"'), RejectReason.TOO_LONG),
    (END.replace(b":7.0", b":7e17"), RejectReason.OUT_OF_RANGE),
    (END.replace(b":7.0", b":-7e6"), RejectReason.OUT_OF_RANGE),
    (END.replace(b":7.0", b":1e999"), RejectReason.OUT_OF_RANGE),
    (END.replace(b":7.0", b":NaN"), RejectReason.UNDECODABLE),
    (END.replace(b":7.0", b':"seven"'), RejectReason.NOT_A_NUMBER),
    (START.replace(b"2019-03", b"1970-01"), RejectReason.TIME_OUT_OF_RANGE),
    (START.replace(b"2019-03", b"2100-03"), RejectReason.TIME_OUT_OF_RANGE),
    (START.replace(b"2019-03", b"2019-99"), RejectReason.BAD_TIME),
    (END.replace(b"2019-03-20T09", b"2019-03-19T09"), RejectReason.END_BEFORE_START),
    (START.replace(b"Europe/Oslo", b"../../etc/passwd"), RejectReason.BAD_TIME),
]


@pytest.mark.parametrize(
    ("content", "reason"), RUBBISH, ids=lambda each: each[:12] if isinstance(each, bytes) else None
)
def test_each_kind_of_rubbish_is_kept_with_its_reason(case: Case, content: bytes, reason: RejectReason) -> None:
    site = Site(case)
    site.writer.append(topics.STATION_DATA, [Entry(b"x", content, 1), Entry(b"x", END, 1)])
    engines = site.engine()
    drain(engines)
    (letter,) = said(site.log, topics.DEAD_LETTERS)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.topic, letter.partition, letter.offset) == (reason, topics.STATION_DATA, 1, 0)
    assert letter.detail
    assert (letter.size, letter.raw) == (len(content), content[:MAX_RAW_BYTES])
    assert sum(engine.counts["messages"] for engine in engines) == 2


def test_a_senders_clock_moves_no_dead_letter_out_of_time(case: Case) -> None:
    for at_us in (-(2**63), 2**63 - 1):
        stored = Stored(topics.STATION_DATA, 0, 0, b"", b"rubbish", at_us)
        made = Detecting(case.detector, time_zone="UTC").step([stored], held=[0], now=NOW)
        assert len(made.outputs[topics.DEAD_LETTERS]) == 1


IDS = st.sampled_from(["a", "b", "c/d", "x" * 128, "\x00", "ö", " "])
ZONES = st.sampled_from(["America/Los_Angeles", "Europe/Oslo", "Pacific/Kiritimati", "Etc/GMT+12", "UTC"])
INSTANTS = st.one_of(
    st.datetimes(datetime(2010, 1, 1), datetime(2026, 11, 27), timezones=st.just(UTC)),  # noqa: DTZ001 - given its zone
    st.integers(0, 5 * 86_400).map(lambda seconds: BEGIN + timedelta(seconds=seconds)),
    st.sampled_from([BEGIN, BEGIN + timedelta(microseconds=1), NOW]),
)
ENERGIES = st.none() | st.floats(0, MAX_SESSION_ENERGY_KWH) | st.sampled_from([0.0, 5e-324, 7.0])
METERED = ENERGIES | st.floats(-messages.MAX_METER_JUMP_KWH, messages.MAX_METER_JUMP_KWH)


def _ended(first: datetime, second: datetime, **fields: Any) -> SessionEnded:
    arrival_at, departure_at = sorted([first, second])
    return SessionEnded(v=1, arrival_at=arrival_at, departure_at=departure_at, **fields)


ENDED = st.builds(
    _ended,
    INSTANTS,
    INSTANTS,
    session_id=IDS | st.text(min_size=1, max_size=3),
    site_id=IDS,
    station_id=IDS,
    done_charging_at=st.none() | INSTANTS,
    energy_delivered_kwh=METERED,
    time_zone=ZONES,
    user_id=st.none() | IDS,
    available_at=st.none() | INSTANTS,
)
UPDATED = st.builds(
    SessionUpdated,
    v=st.just(1),
    session_id=IDS,
    available_at=INSTANTS,
    energy_requested_kwh=ENERGIES,
    declared_departure_at=st.none() | INSTANTS,
    minutes_available=st.none() | st.floats(0, messages.MAX_MINUTES),
)
BEAT = st.builds(Heartbeat, v=st.just(1), site_id=IDS, station_id=IDS, sent_at=INSTANTS)


@settings(max_examples=30, deadline=None)
@given(
    sent=st.lists(st.tuples(st.integers(0, PARTITIONS - 1), ENDED | ENDED | UPDATED | BEAT), max_size=60),
    batch=st.sampled_from([1, 5, 1_000]),
)
def test_what_is_absurd_within_bounds_is_judged_once(case: Case, sent: list[tuple[int, Message]], batch: int) -> None:
    """Any instants, zones, energies and repetitions; every output is one that its reader can decode."""
    site = Site(case)
    site.clock.advance(2 * 86_400.0)  # all local days of what is said are over by then
    last = encode(Heartbeat(v=1, site_id="a", station_id="b", sent_at=site.clock.now()))
    site.writer.append(topics.STATION_DATA, [Entry(b"x", encode(message), part) for part, message in sent])
    site.writer.append(topics.STATION_DATA, [Entry(b"x", last, part) for part in range(PARTITIONS)])
    engines = site.engine(batch=batch)
    while sum(engine.counts["messages"] for engine in engines) < len(sent) + PARTITIONS:
        drain(engines)
    counts = drain(engines)
    letters, scores, found = (said(site.log, topic) for topic in (topics.DEAD_LETTERS, topics.SCORES, topics.FINDINGS))
    ended = sum(isinstance(message, SessionEnded) for _, message in sent)
    refused = sum(count for name, count in counts.items() if name.startswith("rejected_"))
    assert len(letters) == refused
    told = counts["judged"] + counts["trained"]
    assert ended - refused - counts["duplicates"] <= told <= ended
    assert len({(s.site_id, s.session_id) for s in scores if isinstance(s, SessionScored)}) == counts["judged"]
    assert len({f.finding_id for f in found if isinstance(f, FindingRaised)}) == len(found)


def test_declarations_without_end_keep_a_state_with_an_end(case: Case) -> None:
    site = Site(case)
    later = [
        SessionUpdated(v=1, session_id="s", available_at=BEGIN + timedelta(minutes=n), energy_requested_kwh=float(n))
        for n in range(100, 0, -1)
    ]
    site.writer.append(topics.STATION_DATA, [Entry(b"x", encode(message), 0) for message in later])
    (engine,) = site.engine(0, batch=9)
    drain([engine])
    processor = engine._processor
    assert isinstance(processor, Detecting)
    kept = processor.board.parts[0].declared["s"]
    assert [one.energy_requested_kwh for one in kept] == [float(n) for n in range(1, DECLARATIONS_KEPT + 1)]


def test_a_fault_of_ours_is_tried_again_and_ends_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "LONGEST_PAUSE_S", 0.0)
    site, stop = Site(case), Event()
    site.writer.append(topics.STATION_DATA, [Entry(b"x", END, 0)])
    (engine,) = site.engine(0)
    process, failures = Detecting.step, iter([ZeroDivisionError("once"), MemoryError("twice")])

    def failing(self: Detecting, entries: Sequence[Stored], **rest: Any) -> Step:
        if entries and (failure := next(failures, None)) is not None:
            raise failure
        if entries:
            stop.set()
        return process(self, entries, **rest)

    monkeypatch.setattr(Detecting, "step", failing)
    engine.run(stop)
    assert engine.counts["failures"] == 2
    assert engine.counts["messages"] == 1
