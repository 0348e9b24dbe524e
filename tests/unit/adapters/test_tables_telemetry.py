"""Telemetry files: what is taken, what is refused and why, in which order it comes out."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from plugcast.adapters.tables import TelemetryFile
from plugcast.domain.rejected import RAW_LIMIT
from plugcast.errors import InputError, MissingColumnsError
from plugcast.schemas import TELEMETRY

if TYPE_CHECKING:
    from pathlib import Path

    from plugcast.ports import TelemetryRead

NOW = datetime(2024, 6, 1, tzinfo=UTC)
HEADER = "asset_id,timestamp,soc,is_plugged_in"


def _read(tmp_path: Path, *lines: str, header: str = HEADER, **options: Any) -> TelemetryRead:
    path = tmp_path / "t.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return TelemetryFile(path, now=NOW, **options).read()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("ev,2024-01-01T10:00:00Z,NaN,1", "missing_value"),
        ("ev,2024-01-01T10:00:00Z,,1", "missing_value"),
        (",2024-01-01T10:00:00Z,50,1", "missing_value"),
        ("ev,,50,1", "missing_value"),
        ("ev,2024-01-01T10:00:00Z,50,", "missing_value"),
        ("ev,2024-01-01T10:00:00Z,50", "missing_value"),  # cut off
        ("ev,2024-01-01T10:00:00Z,inf,1", "out_of_range"),
        ("ev,2024-01-01T10:00:00Z,-0.1,1", "out_of_range"),
        ("ev,2024-01-01T10:00:00Z,100.1,1", "out_of_range"),
        ("ev,2024-01-01T10:00:00Z,full,1", "not_a_number"),
        ("ev,2024-01-01T10:00:00Z,50,maybe", "undecodable"),
        ("ev,2024-01-01T10:00:00Z,73,5,1", "undecodable"),  # an unquoted decimal comma shifts the cells
        ("ev,yesterday,50,1", "bad_time"),
        ("ev,2024-01-01,50,1", "bad_time"),
        ("ev,1970-01-01T00:00:00Z,50,1", "time_out_of_range"),
        ("ev,0,50,1", "time_out_of_range"),
        ("ev,2004-12-31T23:59:59Z,50,1", "time_out_of_range"),
        ("ev,2024-06-02T00:00:01Z,50,1", "time_out_of_range"),
        ("ev,2999-01-01T00:00:00Z,50,1", "time_out_of_range"),
        ("ev,24-01-01T00:00:00Z,50,1", "time_out_of_range"),  # two digits of a year are not guessed
        ("x" * 201 + ",2024-01-01T10:00:00Z,50,1", "too_long"),
    ],
)
def test_a_bad_row_is_refused_with_its_reason_and_the_rest_is_taken(tmp_path: Path, row: str, reason: str) -> None:
    read = _read(tmp_path, "ev,2024-01-01T09:00:00Z,0,0", row, "ev,2024-06-02T00:00:00Z,100,1")
    assert [(item.row, item.reason.value) for item in read.rejected] == [(2, reason)]
    assert read.rejected[0].source == "t.csv"
    assert read.rejected[0].raw == row.rstrip(",")[:RAW_LIMIT] or row.startswith("ev,2024-01-01T10:00:00Z,73,5")
    assert read.samples["soc"].to_list() == [0.0, 100.0]
    assert (read.counts.read, read.counts.accepted, read.counts.rejected) == (3, 2, 1)


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("power_kw", "99999", "out_of_range"),
        ("power_kw", "inf", "out_of_range"),
        ("power_kw", "lots", "not_a_number"),
        ("capacity_kwh", "-60", "out_of_range"),
        ("capacity_kwh", "0", "out_of_range"),
        ("capacity_kwh", "1e9", "out_of_range"),
        ("gap_flag", "perhaps", "undecodable"),
        ("available_at", "soon", "bad_time"),
        ("available_at", "2999-01-01 00:00", "time_out_of_range"),
    ],
)
def test_a_bad_optional_cell_refuses_its_row_too(tmp_path: Path, column: str, cell: str, reason: str) -> None:
    read = _read(tmp_path, f"ev,2024-01-01 10:00,50,1,{cell}", "ev,2024-01-01 11:00,51,1,", header=f"{HEADER},{column}")
    assert [(item.row, item.reason.value) for item in read.rejected] == [(1, reason)]
    assert column in read.rejected[0].detail
    assert repr(cell) in read.rejected[0].detail
    assert read.samples["soc"].to_list() == [51.0]


def test_repeats_are_counted_and_contradictions_kept_apart(tmp_path: Path) -> None:
    read = _read(
        tmp_path,
        "ev,2024-01-01 10:00,50,1",
        "ev,2024-01-01 11:00+01:00,50.0,true",  # the same instant and values in other words
        "ev,2024-01-01 10:00,51,1",
        "ev,2024-01-01 10:00,50,0",
        "van,2024-01-01 10:00,50,1",
    )
    assert read.duplicates == 1
    assert [(item.row, item.reason.value) for item in read.rejected] == [
        (3, "conflicting_duplicate"),
        (4, "conflicting_duplicate"),
    ]
    assert read.samples.select("asset_id", "soc", "is_plugged_in").rows() == [("ev", 50.0, True), ("van", 50.0, True)]


def test_rows_come_by_asset_availability_and_time_and_are_never_known_before_they_happen(tmp_path: Path) -> None:
    read = _read(
        tmp_path,
        "b,2024-01-01 10:00,1,1,2024-01-01 12:00",
        "b,2024-01-01 11:00,2,1,2024-01-01 11:00",
        "a,2024-01-01 10:00,3,1,2024-01-01 09:00",
        "a,2024-01-01 09:30,4,1,",
        header=f"{HEADER},available_at",
    )
    assert read.samples["soc"].to_list() == [4.0, 3.0, 2.0, 1.0]
    assert (read.samples["available_at"] >= read.samples["timestamp"]).all()


def test_unknown_columns_stay_and_the_schema_comes_first(tmp_path: Path) -> None:
    read = _read(
        tmp_path,
        "Kia;2024-01-01 10:00;73,5;yes;A1;0,5;true",
        header="car;time;SOC %;plugged;note;odo;gap_flag",
    )
    assert read.samples.columns == [*TELEMETRY, "gap_flag", "note", "odo"]
    assert read.samples.schema["soc"] == pl.Float64
    assert read.samples.row(0)[2:4] == (73.5, True)
    assert read.samples.select("gap_flag", "note", "odo").row(0) == (True, "A1", "0,5")


def test_unknown_columns_survive_a_name_of_ours(tmp_path: Path) -> None:
    read = _read(
        tmp_path, "ev,2024-01-01 10:00,50,1,60", header="asset_id,ts,soc,plugged,SoC2", columns={"soc": "SoC2"}
    )
    assert read.samples["soc"].to_list() == [60.0]
    assert read.samples["soc_2"].to_list() == ["50"]


def test_a_file_of_one_vehicle_is_named_by_option_only_where_it_has_no_column(tmp_path: Path) -> None:
    with pytest.raises(MissingColumnsError, match="--asset-id"):
        _read(tmp_path, "2024-01-01 10:00,50,1", header="time,soc,plugged")
    read = _read(tmp_path, "2024-01-01 10:00,50,1", header="time,soc,plugged", asset_id="mine")
    assert read.samples["asset_id"].to_list() == ["mine"]
    with pytest.raises(InputError, match="Leave one"):
        _read(tmp_path, "ev,2024-01-01 10:00,50,1", asset_id="mine")


def test_local_times_mixed_offsets_and_separate_dates(tmp_path: Path) -> None:
    read = _read(
        tmp_path,
        "ev,2024-03-31 01:30,1,0",
        "ev,2024-03-31 02:30,2,0",  # the clocks went from 2 to 3
        "ev,2024-03-31 03:30,3,0",
        "ev,2024-03-31T03:00:00+00:00,4,0",
        time_zone="Europe/Oslo",
    )
    assert [item.reason.value for item in read.rejected] == ["bad_time"]
    assert "Europe/Oslo" in read.rejected[0].detail
    assert read.samples["timestamp"].dt.strftime("%H:%M").to_list() == ["00:30", "01:30", "03:00"]
    apart = _read(tmp_path, "ev,31/12/2023,22:15,50,1", header="asset_id,date,time,soc,plugged")
    assert apart.samples["timestamp"].to_list() == [datetime(2023, 12, 31, 22, 15, tzinfo=UTC)]


def test_rows_of_a_doubled_hour_follow_the_order_of_the_file(tmp_path: Path) -> None:
    clock = ["02:10", "02:40", "02:15", "02:50"]
    lines = [f"ev,2023-10-29 {time},{number},0" for number, time in enumerate(clock)]
    read = _read(tmp_path, *lines, time_zone="Europe/Oslo")
    assert read.samples["soc"].to_list() == [0.0, 1.0, 2.0, 3.0]
    assert read.samples["timestamp"].dt.strftime("%H:%M").to_list() == ["00:10", "00:40", "01:15", "01:50"]
    lost = _read(tmp_path, *reversed(lines), time_zone="Europe/Oslo")
    assert {item.reason.value for item in lost.rejected} == {"ambiguous_time"}
    assert lost.counts.read == 4


def test_reading_again_what_was_written_gives_the_same(tmp_path: Path) -> None:
    first = _read(tmp_path, "b,2024-01-01 10:00,50,1,x", "a,2024-01-01 11:00,60,0,y", header=f"{HEADER},note").samples
    path = tmp_path / "t.parquet"
    first.write_parquet(path)
    assert_frame_equal(TelemetryFile(path, now=NOW).read().samples, first)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_dialects_of_csv(tmp_path: Path, newline: str, bom: str, separator: str, *, packed: bool) -> None:
    rows = [HEADER.split(","), ["ev", "2024-01-01 10:00", "50", "1"], ['"e ""v"""', "2024-01-01 11:00", "51", "0"]]
    content = (bom + newline.join(separator.join(row) for row in rows) + newline * 3).encode()
    path = tmp_path / "t.data"  # the name does not matter
    path.write_bytes(gzip.compress(content) if packed else content)
    read = TelemetryFile(path, now=NOW).read()
    assert read.samples["asset_id"].to_list() == ['e "v"', "ev"]
    assert read.counts.read == 2


def test_an_unclosed_quote_costs_its_own_row_only(tmp_path: Path) -> None:
    read = _read(tmp_path, "ev,2024-01-01 10:00,50,1", 'ev,"2024-01-01 11:00,51,1', "ev,2024-01-01 12:00,52,1")
    assert read.counts.read == 3
    assert read.samples["soc"].to_list()[0] == 50.0
    assert read.samples["soc"].to_list()[-1] == 52.0


def test_undecodable_bytes_refuse_the_row(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(HEADER.encode() + b"\nCitro\xebn,2024-01-01 10:00,50,1\nev,2024-01-01 10:00,50,1\n")
    read = TelemetryFile(path, now=NOW).read()
    assert [item.reason.value for item in read.rejected] == ["undecodable"]
    assert read.counts.accepted == 1


def test_typed_parquet_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame(
        {
            "vehicle_id": [7, 7, 7],
            "timestamp": pl.Series([1709641800000, 1709641860000, None], dtype=pl.Int64),
            "soc": [50.0, float("nan"), 51.0],
            "plugged": [True, False, True],
            "where": [[1, 2], [3], None],
        }
    ).write_parquet(path)
    read = TelemetryFile(path, now=NOW).read()
    assert read.samples.select("asset_id", "timestamp").rows() == [("7", datetime(2024, 3, 5, 12, 30, tzinfo=UTC))]
    assert [item.reason.value for item in read.rejected] == ["missing_value", "missing_value"]
    assert read.samples["where"].to_list() == [[1, 2]]
