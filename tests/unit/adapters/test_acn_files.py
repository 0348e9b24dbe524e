from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from plugcast.adapters.acn import AcnFile
from plugcast.domain.rejected import RejectReason
from plugcast.errors import MissingColumnsError, PlugcastError, UnreadableInputError
from plugcast.ports import SessionSource
from plugcast.schemas import SESSIONS, USER_INPUTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from plugcast.ports import SessionsRead

    Record = dict[str, Any]
    Maker = Callable[[int], Record]

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def write_csv(records: list[Record], *, inputs: Callable[[Any], str], index: bool, strip_zeros: bool = False) -> bytes:
    names = list(records[0])
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*([""] if index else []), *names])
    for place, record in enumerate(records):
        row = {name: "" if value is None else value for name, value in record.items()}
        row["userInputs"] = "" if record["userInputs"] is None else inputs(record["userInputs"])
        if strip_zeros:
            row |= {"clusterID": "39", "siteID": "2"}
        writer.writerow([*([place] if index else []), *(row[name] for name in names)])
    return text.getvalue().encode()


def json_lines(records: list[Record]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def web_export(records: list[Record], indent: int | None = None) -> bytes:
    meta = {"end": "x", "min_kWh": 0.5, "site": "caltech", "start": "y"}
    return json.dumps({"_meta": meta, "_items": records}, indent=indent).encode()


FORMATS: dict[str, Callable[[list[Record]], bytes]] = {
    "lines": json_lines,
    "lines without a last line break": lambda records: json_lines(records)[:-1],
    "lines of windows": lambda records: b"\xef\xbb\xbf" + json_lines(records).replace(b"\n", b"\r\n"),
    "web export": web_export,
    "web export, pretty": lambda records: web_export(records, indent=4),
    "items first": lambda records: json.dumps({"_items": records, "_meta": {}}).encode(),
    "pages, one a line": lambda records: web_export(records[:7]) + b"\n" + web_export(records[7:]) + b"\n",
    "bare list": lambda records: json.dumps(records).encode(),
    "bare list, pretty": lambda records: b"\n " + json.dumps(records, indent=1).encode(),
    "CSV, JSON inputs": lambda records: write_csv(records, inputs=json.dumps, index=False),
    "CSV, Python inputs": lambda records: write_csv(records, inputs=repr, index=True),
    "CSV, stripped zeros": lambda records: write_csv(records, inputs=repr, index=True, strip_zeros=True),
    "CSV, inputs over several lines": lambda records: write_csv(
        records, inputs=lambda value: json.dumps(value, indent=2), index=False
    ),
}


def read(path: Path, content: bytes, **kwargs: Any) -> SessionsRead:
    path.write_bytes(content)
    result = AcnFile(path, now=NOW, **kwargs).read()
    counts = result.counts
    assert counts.read == counts.accepted + counts.rejected + counts.duplicates
    return result


def same(one: SessionsRead, two: SessionsRead) -> None:
    assert_frame_equal(one.sessions, two.sessions)
    assert_frame_equal(one.user_inputs, two.user_inputs)
    assert one.rejected == two.rejected
    assert one.duplicates == two.duplicates


def reasons(result: SessionsRead) -> list[RejectReason]:
    return [row.reason for row in result.rejected]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_frames(
    form: str, *, packed: bool, acn_records: list[Record], tmp_path: Path
) -> None:
    content = FORMATS[form](acn_records)
    expected = read(tmp_path / "lines", json_lines(acn_records))
    assert expected.counts.accepted == len(acn_records)
    # the name tells nothing: the content does
    same(read(tmp_path / "some.file", gzip.compress(content) if packed else content), expected)


def test_the_frames_say_what_the_records_say(acn_records: list[Record], tmp_path: Path) -> None:
    result = read(tmp_path / "a.jsonl", json_lines(acn_records[::-1]))
    assert isinstance(AcnFile(tmp_path / "a.jsonl", now=NOW), SessionSource)
    assert dict(result.sessions.schema) == dict(SESSIONS)
    assert dict(result.user_inputs.schema) == dict(USER_INPUTS)
    assert result.sessions["session_id"].to_list() == [record["_id"] for record in acn_records]
    stamp = "%a, %d %b %Y %H:%M:%S GMT"
    for column, name in (
        ("arrival_at", "connectionTime"),
        ("departure_at", "disconnectTime"),
        ("done_charging_at", "doneChargingTime"),
    ):
        wanted = [
            text and datetime.strptime(text, stamp).replace(tzinfo=UTC) for text in (r[name] for r in acn_records)
        ]
        assert result.sessions[column].to_list() == wanted
    known = [row["departure_at"] or row["arrival_at"] for row in result.sessions.iter_rows(named=True)]
    assert result.sessions["available_at"].to_list() == known
    for column, name in (
        ("site_id", "siteID"),
        ("cluster_id", "clusterID"),
        ("station_id", "stationID"),
        ("space_id", "spaceID"),
        ("user_id", "userID"),
        ("native_session_id", "sessionID"),
        ("time_zone", "timezone"),
        ("energy_delivered_kwh", "kWhDelivered"),
    ):
        assert result.sessions[column].to_list() == [record[name] for record in acn_records]
    inputs = [(r["_id"], item) for r in acn_records for item in r["userInputs"] or []]
    assert result.user_inputs["session_id"].to_list() == [name for name, _ in inputs]
    assert result.user_inputs["energy_requested_kwh"].to_list() == [item["kWhRequested"] for _, item in inputs]
    assert result.user_inputs["payment_required"].to_list() == [item["paymentRequired"] for _, item in inputs]
    assert result.user_inputs["user_id"].to_list() == [f"{item['userID']:09d}" for _, item in inputs]
    known = [datetime.strptime(item["modifiedAt"], stamp).replace(tzinfo=UTC) for _, item in inputs]
    assert result.user_inputs["available_at"].to_list() == known


def test_reading_twice_and_concatenating_change_nothing(acn_records: list[Record], tmp_path: Path) -> None:
    once = read(tmp_path / "a", json_lines(acn_records))
    twice = read(tmp_path / "a", json_lines(acn_records) * 2)
    same(AcnFile(tmp_path / "a", now=NOW).read(), twice)
    assert twice.duplicates == len(acn_records)
    assert_frame_equal(twice.sessions, once.sessions)
    assert_frame_equal(twice.user_inputs, once.user_inputs)


BAD: dict[str, tuple[dict[str, Any], RejectReason]] = {
    "end before start": ({"disconnectTime": "Fri, 01 Mar 2019 00:36:00 GMT"}, RejectReason.END_BEFORE_START),
    "clock never set": ({"connectionTime": "Thu, 01 Jan 1970 00:00:00 GMT"}, RejectReason.TIME_OUT_OF_RANGE),
    "done in 1970": ({"doneChargingTime": "Thu, 01 Jan 1970 00:00:00 GMT"}, RejectReason.TIME_OUT_OF_RANGE),
    "two days ahead": ({"disconnectTime": "Wed, 03 Jan 2024 00:00:00 GMT"}, RejectReason.TIME_OUT_OF_RANGE),
    "year 9999": ({"disconnectTime": "9999-12-31T23:59:59-23:00"}, RejectReason.BAD_TIME),
    "no time": ({"connectionTime": "yesterday"}, RejectReason.BAD_TIME),
    "30 February": ({"connectionTime": "Fri, 30 Feb 2019 00:00:00 GMT"}, RejectReason.BAD_TIME),
    "a number as time": ({"connectionTime": 1551400000}, RejectReason.BAD_TIME),
    "no offset": ({"connectionTime": "2019-03-01T10:00:00"}, RejectReason.AMBIGUOUS_TIME),
    "NaN energy": ({"kWhDelivered": float("nan")}, RejectReason.NOT_A_NUMBER),
    "infinite energy": ({"kWhDelivered": float("inf")}, RejectReason.NOT_A_NUMBER),
    "decimal comma": ({"kWhDelivered": "7,93"}, RejectReason.NOT_A_NUMBER),
    "negative energy": ({"kWhDelivered": -0.001}, RejectReason.OUT_OF_RANGE),
    "energy of a town": ({"kWhDelivered": 2000.1}, RejectReason.OUT_OF_RANGE),
    "huge integer": ({"kWhDelivered": 10**400}, RejectReason.OUT_OF_RANGE),
    "no id": ({"_id": None}, RejectReason.MISSING_VALUE),
    "no station": ({"stationID": ""}, RejectReason.MISSING_VALUE),
    "no start": ({"connectionTime": None}, RejectReason.MISSING_VALUE),
    "no such zone": ({"timezone": "Mars/Base"}, RejectReason.BAD_TIME),
    "a path as zone": ({"timezone": "../../etc/passwd"}, RejectReason.BAD_TIME),
    "endless name": ({"stationID": "2" * 300}, RejectReason.TOO_LONG),
    "half a character": ({"stationID": "\ud800"}, RejectReason.UNDECODABLE),
    "inputs are a number": ({"userInputs": 3}, RejectReason.UNDECODABLE),
    "inputs are broken text": ({"userInputs": "[{'WhPerMile': }]"}, RejectReason.UNDECODABLE),
    "inputs call a function": ({"userInputs": "[__import__('os')]"}, RejectReason.UNDECODABLE),
    "inputs of endless text": ({"userInputs": "[" + "1, " * 40_000 + "]"}, RejectReason.TOO_LONG),
    "a negative wish": ({"userInputs": [{"kWhRequested": -5}]}, RejectReason.OUT_OF_RANGE),
    "a wish for ever": ({"userInputs": [{"minutesAvailable": 1e9}]}, RejectReason.OUT_OF_RANGE),
    "departure in ten years": (
        {"userInputs": [{"requestedDeparture": "Thu, 01 Mar 2029 00:00:00 GMT"}]},
        RejectReason.TIME_OUT_OF_RANGE,
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_values_are_refused_with_reason_and_raw_text(case: str, acn_record: Maker, tmp_path: Path) -> None:
    change, reason = BAD[case]
    result = read(tmp_path / "a", json_lines([acn_record(0), acn_record(1) | change, acn_record(2)]))
    assert result.counts.accepted == 2
    (row,) = result.rejected
    assert (row.row, row.reason, row.source) == (2, reason, "a")
    assert row.raw
    assert len(row.raw) <= 200
    assert next(iter(change)).strip("_") in row.detail or reason in {
        RejectReason.UNDECODABLE,
        RejectReason.END_BEFORE_START,
    }


def test_nulls_and_clock_faults_are_kept(acn_record: Maker, tmp_path: Path) -> None:
    plain = acn_record(1) | {"userID": None, "userInputs": None}
    changes: list[Record] = [
        {"doneChargingTime": None},
        {"disconnectTime": None, "kWhDelivered": None},
        {"doneChargingTime": "Fri, 31 Dec 2021 00:00:00 GMT"},
        {"doneChargingTime": "Thu, 28 Feb 2019 23:00:00 GMT"},
        {"spaceID": None, "clusterID": None, "sessionID": None},
        {"userID": float("nan"), "userInputs": float("nan"), "doneChargingTime": float("nan")},
        {"disconnectTime": plain["connectionTime"]},
    ]
    records = [plain | {"_id": f"s{place}"} | change for place, change in enumerate(changes)]
    result = read(tmp_path / "a", json_lines(records))
    assert result.rejected == ()
    assert result.counts.accepted == len(changes)
    by_id = {row["session_id"]: row for row in result.sessions.iter_rows(named=True)}
    assert by_id["s1"]["available_at"] == by_id["s1"]["arrival_at"]  # known to be there since then
    assert by_id["s2"]["done_charging_at"] == datetime(2021, 12, 31, tzinfo=UTC)
    assert by_id["s5"]["user_id"] is None


def test_a_declaration_without_its_time_is_known_from_the_plug_in(acn_record: Maker, tmp_path: Path) -> None:
    record = acn_record(1) | {"userInputs": [{"kWhRequested": 8}]}
    result = read(tmp_path / "a", json_lines([record]))
    assert result.user_inputs["available_at"].to_list() == result.sessions["arrival_at"].to_list()


def test_amendments_and_completed_nulls_are_merged(acn_record: Maker, tmp_path: Path) -> None:
    whole = acn_record(5)
    assert len(whole["userInputs"]) == 3
    early = whole | {"userInputs": whole["userInputs"][:1], "doneChargingTime": None}
    running = early | {"disconnectTime": None, "kWhDelivered": 0.1, "userID": None}
    expected = read(tmp_path / "a", json_lines([whole]))
    for order in ([running, early, whole], [whole, early, running], [early, whole, running, whole]):
        result = read(tmp_path / "a", json_lines(order))
        assert result.duplicates == len(order) - 1
        assert_frame_equal(result.sessions, expected.sessions)
        assert_frame_equal(result.user_inputs, expected.user_inputs)


@pytest.mark.parametrize(
    "change",
    [
        {"kWhDelivered": 1.0},
        {"stationID": "other"},
        {"disconnectTime": "Sun, 03 Mar 2019 00:00:00 GMT"},
        {"userInputs": [{"modifiedAt": "Fri, 01 Mar 2019 03:05:23 GMT", "kWhRequested": 99}]},
    ],
)
def test_contradicting_records_keep_the_first(change: Record, acn_record: Maker, tmp_path: Path) -> None:
    first = acn_record(5)
    assert first["userInputs"][0]["modifiedAt"] == "Fri, 01 Mar 2019 03:05:23 GMT"
    alone = read(tmp_path / "a", json_lines([first]))
    result = read(tmp_path / "a", json_lines([first, first | change]))
    assert reasons(result) == [RejectReason.CONFLICTING_DUPLICATE]
    assert_frame_equal(result.sessions, alone.sessions)
    assert_frame_equal(result.user_inputs, alone.user_inputs)


@pytest.mark.parametrize("form", ["lines", "web export", "bare list", "CSV, JSON inputs", "CSV, Python inputs"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.83, 0.999])
def test_a_cut_gzip_gives_the_rows_before_the_cut_and_one_refusal(
    form: str, share: float, acn_records: list[Record], tmp_path: Path
) -> None:
    packed = gzip.compress(FORMATS[form](acn_records))
    result = read(tmp_path / "a.gz", packed[: int(len(packed) * share)])
    assert reasons(result) == [RejectReason.TRUNCATED]
    whole = read(tmp_path / "b", json_lines(acn_records))
    # what was accepted is true, and it is everything up to some record
    assert_frame_equal(result.sessions, whole.sessions.head(result.counts.accepted))
    assert result.counts.accepted >= share * 0.5 * len(acn_records)


@pytest.mark.parametrize("form", ["lines", "web export", "bare list"])
def test_a_plain_file_cut_anywhere_never_invents_a_row(form: str, acn_records: list[Record], tmp_path: Path) -> None:
    records = acn_records[:4]
    content = FORMATS[form](records)
    whole = read(tmp_path / "a", content).sessions
    seen = set()
    second = content.index(b'"_id"', content.index(b'"_id"') + 1)
    for size in range(second, len(content) - 1, 41):
        result = read(tmp_path / "a", content[:size])
        seen.add(result.counts.accepted)
        assert_frame_equal(result.sessions, whole.head(result.counts.accepted))
        assert set(reasons(result)) <= {RejectReason.TRUNCATED}
    assert seen >= {1, 2, 3}


def test_a_cut_csv_row_is_not_taken_for_whole(acn_record: Maker, tmp_path: Path) -> None:
    record = {name: value for name, value in acn_record(0).items() if name != "userInputs"}
    last = record.pop("kWhDelivered")
    text = write_csv([record | {"userInputs": None, "kWhDelivered": last}] * 1, inputs=repr, index=False)
    packed = gzip.compress(text + text.splitlines()[1].replace(record["_id"].encode(), b"other"))[:-8]
    result = read(tmp_path / "a", packed)
    assert (result.counts.accepted, reasons(result)) == (1, [RejectReason.TRUNCATED])


@pytest.mark.parametrize("form", ["lines", "web export", "bare list", "CSV, JSON inputs"])
def test_an_overlong_record_is_refused_alone(form: str, acn_records: list[Record], tmp_path: Path) -> None:
    records = acn_records[:6]
    records[2] = records[2] | {"spaceID": 'x"{[\\' * 60_000}
    result = read(tmp_path / "a", FORMATS[form](records), max_record_bytes=100_000)
    assert [(row.row, row.reason) for row in result.rejected] == [(3, RejectReason.TOO_LONG)]
    assert result.counts.accepted == 5


@pytest.mark.parametrize(
    ("before", "repeat", "after"),
    [
        (b'{"_id": "', b"\\\\{", b'"}\n'),
        (b'{"_items": [{"_id": "', b'\\"', b'"}, '),
        (b'[{"a": [', b"[],", b"0]}, "),
        (b"[", b" ", b""),
        (b"[", b"7, ", b""),
    ],
    ids=["line", "escaped quotes", "deep array", "blanks", "scalars"],
)
def test_one_giant_record_takes_little_memory(
    before: bytes, repeat: bytes, after: bytes, acn_record: Maker, tmp_path: Path
) -> None:
    good = json.dumps(acn_record(1)).encode()
    path = tmp_path / "giant"
    block = repeat * (1_000_000 // len(repeat))
    with path.open("wb") as file:
        file.write(before)
        for _ in range(8):
            file.write(block)
        file.write(after + good + (b"]" if before.startswith(b"[") else b"]}" if b"_items" in before else b"\n"))
    tracemalloc.start()
    try:
        result = AcnFile(path, now=NOW, max_record_bytes=1_000_000).read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.counts.accepted == 1
    assert set(reasons(result)) <= {RejectReason.TOO_LONG}
    assert peak < 6_000_000


def test_broken_lines_and_strange_items_cost_only_themselves(acn_records: list[Record], tmp_path: Path) -> None:
    lines = [json.dumps(record).encode() for record in acn_records[:3]]
    text = b"\n".join([b"rubbish", lines[0], b"", b'{"_id": [1]}', lines[1], b"\xff\xfe", b"[" * 9999, lines[2], b""])
    result = read(tmp_path / "a", text)
    assert (result.counts.accepted, reasons(result)) == (3, [RejectReason.UNDECODABLE] * 4)
    array = b'[3, %s, null, "}{", [1], %s, {"_id": tru}, %s,] tail' % tuple(lines)
    result = read(tmp_path / "a", array)
    assert (result.counts.accepted, set(reasons(result))) == (3, {RejectReason.UNDECODABLE})
    assert len(result.rejected) == 5  # 3; null with "}{"; [1]; tru; tail


def test_a_stray_quote_in_a_table_swallows_no_other_row(acn_records: list[Record], tmp_path: Path) -> None:
    rows = write_csv(acn_records[:20], inputs=json.dumps, index=False).splitlines()
    rows[5] = rows[5].replace(b"America", b'"America')
    result = read(tmp_path / "a", b"\n".join(rows))
    assert (result.counts.accepted, reasons(result)) == (19, [RejectReason.UNDECODABLE])
    assert result.rejected[0].row == 5


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", UnreadableInputError, "empty"),
        (b" \n\n", UnreadableInputError, "empty"),
        (gzip.compress(b""), UnreadableInputError, "empty"),
        (gzip.compress(b"x" * 999)[:10], UnreadableInputError, "cut off"),
        (b"_id,connectionTime\n1,2\n", MissingColumnsError, "disconnectTime"),
        (b"PAR1\0\0", UnreadableInputError, "Parquet"),
        (bytes(range(256)), UnreadableInputError, "binary"),
        (b"dear reader\n", UnreadableInputError, "dear reader"),
        (b"\xff\xfe{\0", UnreadableInputError, "UTF-16"),
    ],
    ids=range(9),
)
def test_hopeless_files_say_why(content: bytes, error: type[Exception], words: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=words):
        read(tmp_path / "a", content)


@pytest.mark.parametrize(
    ("content", "rejected"),
    [
        (b"[]", 0),
        (b'{"_meta": {}, "_items": []}', 0),
        (b"_id,connectionTime,disconnectTime,kWhDelivered,siteID,stationID,timezone\n", 0),
        (b'{"a": 1}\n', 1),
    ],
)
def test_files_without_a_usable_record_give_empty_books(content: bytes, rejected: int, tmp_path: Path) -> None:
    result = read(tmp_path / "a", content)
    assert (result.counts.accepted, result.counts.rejected) == (0, rejected)


def test_missing_files_and_folders_say_so(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UnreadableInputError, match="Check the path"):
            AcnFile(path, now=NOW).read()
    with pytest.raises(ValueError, match="offset"):
        AcnFile(tmp_path, now=datetime(2024, 1, 1))  # noqa: DTZ001 - the point


SHREDS = [
    *(b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"\n", b"'", b"\xff", b"\r", b" "),
    *(b'"_items"', b'"_id"', b'"connectionTime"', b'"Fri, 01 Mar 2019 00:00:00 GMT"', b"null", b"NaN", b"1e999"),
    *(b"_id,connectionTime,disconnectTime,kWhDelivered,siteID,stationID,timezone,userInputs\n", b"[{'a': 1}]"),
]
RUBBISH = st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(SHREDS), max_size=60).map(b"".join))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=RUBBISH, packed=st.booleans(), cut=st.integers(0, 20))
def test_rubbish_never_crashes(*, content: bytes, packed: bool, cut: int, tmp_path: Path) -> None:
    data = gzip.compress(content) if packed else content
    with suppress(PlugcastError):
        read(tmp_path / "a", data[: len(data) - cut], max_record_bytes=100)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_never_crash_nor_lose_count(data: st.DataObject, acn_record: Maker, tmp_path: Path) -> None:
    form = data.draw(st.sampled_from(sorted(FORMATS)))
    content = bytearray(FORMATS[form]([acn_record(number) for number in range(8)]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PlugcastError):
        result = read(tmp_path / "a", bytes(content))
        assert result.sessions["session_id"].is_unique().all()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=80), chunk=st.integers(3, 50))
def test_any_text_survives_every_format(text: str, chunk: int, acn_record: Maker, tmp_path: Path) -> None:
    name = "s" + "".join(char for char in text if char.isprintable()) + "e"
    record = acn_record(2) | {"stationID": name}
    for form in FORMATS.values():
        result = read(tmp_path / "a", form([record, acn_record(1)]))
        assert result.sessions["station_id"].to_list()[-1] == name
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        # chunks of a few bytes: no border may matter
        patch.setattr("plugcast.adapters.acn.scan.CHUNK_BYTES", chunk)
        patch.setattr("plugcast.adapters.acn.files.HEAD_BYTES", 400)
        for named in ("web export, pretty", "bare list", "lines", "CSV, JSON inputs"):
            result = read(tmp_path / "a", FORMATS[named]([record, acn_record(1)]))
            assert result.counts.accepted == 2


@pytest.mark.data
def test_the_real_caltech_sessions(data_dir: Path) -> None:
    result = AcnFile(data_dir / "acn_caltech_sessions.jsonl.gz", now=NOW).read()
    counts = result.counts
    assert (counts.read, counts.accepted, counts.rejected, counts.duplicates) == (24_408, 24_408, 0, 0)
    fast = result.sessions.filter(pl.col("station_id") == "2-39-81-4550")
    assert fast.height == 23
    assert fast["done_charging_at"].null_count() == 23
    assert result.user_inputs.height == 14_057
    each = result.user_inputs.group_by("session_id").len()["len"]
    assert ((each == 1).sum(), (each > 1).sum(), each.max()) == (9_434, 1_702, 25)
    assert result.sessions["done_charging_at"].null_count() == 799
    assert result.sessions["user_id"].null_count() == 13_272
    late = result.sessions.filter(pl.col("done_charging_at") > pl.col("departure_at"))
    assert late.height > 500  # the clock faults are all there
    longest = late.select((pl.col("done_charging_at") - pl.col("departure_at")).max()).item()
    assert longest <= timedelta(hours=1)


@pytest.mark.data
def test_real_sessions_survive_every_format(data_dir: Path, tmp_path: Path) -> None:
    with gzip.open(data_dir / "acn_caltech_sessions.jsonl.gz") as file:
        records = [json.loads(line) for place, line in enumerate(file) if place % 40 == 0]
    expected = read(tmp_path / "a", json_lines(records))
    assert expected.counts.accepted == len(records) > 600
    for form in FORMATS.values():
        same(read(tmp_path / "a", form(records)), expected)
