"""Meter values in every form that is read, and which session each belongs to."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from plugcast.adapters.acn.series import AcnSeriesFile
from plugcast.adapters.meter_lines import MeterLines
from plugcast.adapters.tables.meter import MeterFile
from plugcast.domain.messages import MeterValues
from plugcast.domain.rejected import RejectReason
from plugcast.domain.wire import encode
from plugcast.errors import MissingColumnsError, NoUsableRowsError, UnreadableInputError
from plugcast.ports import MeterSource
from plugcast.schemas import METER_VALUES, SESSIONS
from plugcast.services.meter_join import join_meter
from plugcast.services.meter_sources import open_meter, read_meter

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 27, tzinfo=UTC)
BEGIN = datetime(2019, 3, 1, 12, tzinfo=UTC)


def at(minute: float) -> datetime:
    return BEGIN + timedelta(minutes=minute)


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    empty: dict[str, Any] = dict.fromkeys(METER_VALUES)
    return pl.DataFrame([empty | row for row in rows], schema=dict(METER_VALUES), orient="row")


VALUES = frame(
    [
        {
            "session_id": "a",
            "station_id": "S",
            "measured_at": at(minute),
            "power_kw": 3.5 + minute / 10,
            "offered_current_a": 16.0,
            "measured_current_a": 15.0,
            "voltage_v": 231.5,
            "energy_register_kwh": 100.0 + minute,
        }
        for minute in range(5)
    ]
)


def lines(values: pl.DataFrame) -> bytes:
    told = [
        MeterValues(v=1, **{**row, "site_id": row["site_id"] or "site", "station_id": row["station_id"] or "S"})
        for row in values.iter_rows(named=True)
    ]
    return b"\n".join(encode(value) for value in told)


@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet", "jsonl", "jsonl.gz"])
def test_every_form_gives_the_same_values(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"m.{form}"
    if form.startswith("csv"):
        content = VALUES.write_csv().encode()
    elif form == "parquet":
        VALUES.write_parquet(path)
        content = path.read_bytes()
    else:
        content = lines(VALUES)
    path.write_bytes(gzip.compress(content) if form.endswith("gz") else content)
    source = open_meter(path, now=NOW, time_zone="UTC")
    assert isinstance(source, MeterSource)
    first, again = source.read(), source.read()
    assert_frame_equal(first.values, again.values)
    assert_frame_equal(first.values.drop("site_id"), VALUES.drop("site_id"))
    assert first.counts.rejected == 0


def test_units_and_names_of_other_systems(tmp_path: Path) -> None:
    path = tmp_path / "ocpp.csv"
    path.write_text(
        "Timestamp,cp_id,transaction_id,Power.Active.Import,Current.Offered,Current.Import,Voltage,"
        "Energy.Active.Import.Register\n2019-03-01T12:00:00Z,S,7,3500,16,15,231,100500\n"
    )
    (row,) = MeterFile(path, now=NOW).read().values.iter_rows(named=True)
    assert row == {
        "session_id": "7",
        "site_id": None,
        "station_id": "S",
        "measured_at": BEGIN,
        "power_kw": 3.5,
        "offered_current_a": 16.0,
        "measured_current_a": 15.0,
        "voltage_v": 231.0,
        "energy_register_kwh": 100.5,
    }


def test_a_folder_of_one_file_a_session_named_after_it(tmp_path: Path) -> None:
    head = ",Charging Current (A),Actual Pilot (A),Voltage (V),Charging State,Energy Delivered (kWh),Power (kW)\n"
    rows = "2019-01-01T21:06:08+00:00,8.2,8.0,226.5,ADAPTIVE,0.002451,1.872\n"
    name = "2-39-79-378-2019-01-01T21-05-56-972890"
    (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress((head + rows).encode()))
    (tmp_path / "readme.txt").write_text("no meter values")
    read = read_meter(tmp_path, now=NOW, time_zone="UTC")
    (row,) = read.values.iter_rows(named=True)
    assert (row["session_id"], row["measured_current_a"], row["offered_current_a"]) == (name, 8.2, 8.0)
    native = "2_39_79_378_2019-01-01 21:05:56.972890"
    joined = join_meter(sessions([("key", native, "CA-1", 0, 60)]), read.values)
    assert list(joined.places) == ["key"]


def test_acn_series_take_the_pilot_that_held(tmp_path: Path) -> None:
    def http(minute: float) -> str:
        return at(minute).strftime("%a, %d %b %Y %H:%M:%S GMT")

    record = {
        "_id": "a",
        "siteID": 2,
        "stationID": "S",
        "chargingCurrent": {"current": [0.0, 15.2, 15.1], "timestamps": [http(0), http(2), http(4)]},
        "pilotSignal": {"pilot": [8, 16], "timestamps": [http(1), http(3)]},
    }
    bad = record | {"_id": "b", "pilotSignal": None, "chargingCurrent": {"current": [-5.0], "timestamps": [http(0)]}}
    for content in (
        json.dumps({"_items": [record, bad]}),
        json.dumps([record, bad]),
        f"{json.dumps(record)}\n{json.dumps(bad)}\n",
    ):
        path = tmp_path / "ts.json"
        path.write_text(content)
        assert isinstance(open_meter(path, now=NOW, time_zone="UTC"), AcnSeriesFile)
        read = open_meter(path, now=NOW, time_zone="UTC").read()
        assert read.values["offered_current_a"].to_list() == [None, 8.0, 16.0]
        assert read.values["measured_current_a"].to_list() == [0.0, 15.2, 15.1]
        assert set(read.values["site_id"]) == {"0002"}
        assert [rejected.reason for rejected in read.rejected] == [RejectReason.OUT_OF_RANGE]


def test_bad_rows_are_kept_with_their_reasons(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(
        "measured_at,station_id,current_a\n2019-03-01T12:00Z,S,much\n2019-03-01T12:01Z,S,99999\nsoon,S,1\n,S,1\n"
        "2019-03-01T12:02Z,S,1\n"
    )
    read = MeterFile(path, now=NOW).read()
    assert read.counts.accepted == 1
    assert [rejected.reason for rejected in read.rejected] == [
        RejectReason.NOT_A_NUMBER,
        RejectReason.OUT_OF_RANGE,
        RejectReason.BAD_TIME,
        RejectReason.MISSING_VALUE,
    ]
    path.write_text("measured_at,station_id,current_a\n2019-03-01T12:00Z,S,much\n")
    with pytest.raises(NoUsableRowsError, match="wanted a number"):
        read_meter(path, now=NOW, time_zone="UTC")


def test_what_is_no_source_of_meter_values_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError):
        read_meter(tmp_path / "none.csv", now=NOW, time_zone="UTC")
    with pytest.raises(UnreadableInputError, match="found none"):
        read_meter(tmp_path, now=NOW, time_zone="UTC")
    other = tmp_path / "other.csv"
    other.write_text("measured_at,station_id,mood\n2019-03-01T12:00Z,S,good\n")
    with pytest.raises(MissingColumnsError, match="power_kw"):
        read_meter(other, now=NOW, time_zone="UTC")


def test_a_file_written_newest_first_is_turned_round(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    VALUES.reverse().write_csv(path)
    assert_frame_equal(MeterFile(path, now=NOW).read().values, VALUES)


@settings(max_examples=60)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "m.jsonl"
    path.write_bytes(content)
    for source in (MeterLines(path, now=NOW), AcnSeriesFile(path, now=NOW)):
        try:
            read = source.read()
        except UnreadableInputError:
            continue
        assert read.counts.read == read.counts.accepted + read.counts.rejected


def sessions(rows: list[tuple[str, str | None, str, float, float | None]]) -> pl.DataFrame:
    empty: dict[str, Any] = dict.fromkeys(SESSIONS)
    return pl.DataFrame(
        [
            empty
            | {
                "session_id": key,
                "native_session_id": native,
                "station_id": station,
                "arrival_at": at(begin),
                "departure_at": None if end is None else at(end),
            }
            for key, native, station, begin, end in rows
        ],
        schema=dict(SESSIONS),
        orient="row",
    )


def test_values_without_a_session_belong_to_who_stood_there_or_left_last() -> None:
    stays = sessions([("a", None, "S", 0, 30), ("b", None, "S", 100, None), ("c", None, "T", 0, 30)])
    minutes = (-1, 0, 30, 40, 99, 100, 5_000)
    values = frame([{"station_id": "S", "measured_at": at(m), "measured_current_a": 1.0} for m in minutes])
    joined = join_meter(stays, values)
    assert {name: len(own) for name, own in joined.places.items()} == {"a": 3, "b": 2}
    assert joined.unmatched == 2  # before anybody came, and 69 minutes after the plug-out
    assert joined.counts == {"values": 5, "sessions": 2, "unmatched": 2, "rejected": 0}
    assert joined.series("c") is None
    told = joined.series("a")
    assert told is not None
    assert told.samples == 3
    assert {value.station_id for value in joined.values("a")} == {"S"}
