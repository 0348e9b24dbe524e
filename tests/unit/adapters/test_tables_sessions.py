"""Session tables of many producers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from polars.testing import assert_frame_equal

from plugcast.adapters.tables import SessionsFile
from plugcast.errors import InputError, MissingColumnsError
from plugcast.schemas import SESSIONS, USER_INPUTS

if TYPE_CHECKING:
    from pathlib import Path

    from plugcast.ports import SessionsRead

NOW = datetime(2024, 6, 1, tzinfo=UTC)
HEADER = "session_id,station_id,connection_time,disconnect_time,kwh_delivered"


def _read(tmp_path: Path, *lines: str, header: str = HEADER, **options: Any) -> SessionsRead:
    path = tmp_path / "s.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return SessionsFile(path, now=NOW, **options).read()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2,A,2024-01-01 10:00,2024-01-01 09:00,5", "end_before_start"),
        ("2,,2024-01-01 10:00,2024-01-01 11:00,5", "missing_value"),
        ("2,A,,2024-01-01 11:00,5", "missing_value"),
        ("2,A,2024-01-01 10:00,2024-01-01 11:00,-5", "out_of_range"),
        ("2,A,2024-01-01 10:00,2024-01-01 11:00,inf", "out_of_range"),
        ("2,A,2024-01-01 10:00,2024-01-01 11:00,5000", "out_of_range"),
        ("2,A,2024-01-01 10:00,2024-01-01 11:00,much", "not_a_number"),
        ("2,A,2024-01-01 10:00,2999-01-01 11:00,5", "time_out_of_range"),
        ("2,A,1970-01-01 00:00,2024-01-01 11:00,5", "time_out_of_range"),
        ("2,A,2024-01-01 10:00,never,5", "bad_time"),
        ("2,A,2024-01-01 10:00,2024-01-01 11:00,7,5", "undecodable"),
    ],
)
def test_a_bad_row_is_refused_with_its_reason(tmp_path: Path, row: str, reason: str) -> None:
    read = _read(tmp_path, "1,A,2024-01-01 08:00,2024-01-01 09:00,5", row)
    assert [(item.row, item.reason.value) for item in read.rejected] == [(2, reason)]
    assert read.sessions["session_id"].to_list() == ["1"]


def test_the_frame_keeps_its_schema_and_order(tmp_path: Path) -> None:
    read = _read(tmp_path, "b,A,2024-01-02 10:00,2024-01-02 11:00,", "a,A,2024-01-01 10:00,,3,1")
    assert [item.reason.value for item in read.rejected] == ["undecodable"]
    assert dict(read.sessions.schema) == dict(SESSIONS)
    assert dict(read.user_inputs.schema) == dict(USER_INPUTS)
    assert read.sessions["energy_delivered_kwh"].to_list() == [None]


def test_no_departure_means_still_there(tmp_path: Path) -> None:
    read = _read(tmp_path, "1,A,2024-01-01 10:00,NA,2.5", "2,A,2024-01-01 12:00,2024-01-01 13:00,1")
    assert read.sessions["departure_at"].to_list() == [None, datetime(2024, 1, 1, 13, tzinfo=UTC)]
    assert read.sessions["available_at"].to_list() == [
        datetime(2024, 1, 1, 10, tzinfo=UTC),
        datetime(2024, 1, 1, 13, tzinfo=UTC),
    ]


def test_repeats_and_contradictions(tmp_path: Path) -> None:
    row = "1,A,2024-01-01 10:00,2024-01-01 11:00,5"
    read = _read(tmp_path, row, row, row.replace(",5", ",6"))
    assert (read.counts.accepted, read.duplicates) == (1, 1)
    assert [(item.row, item.reason.value) for item in read.rejected] == [(3, "conflicting_duplicate")]


def test_sessions_without_an_id_get_a_stable_one(tmp_path: Path) -> None:
    header = HEADER.removeprefix("session_id,")
    lines = ["A,2024-01-01 10:00,2024-01-01 11:00,5", "B,2024-01-01 10:00,2024-01-01 11:00,5"]
    first = _read(tmp_path, *lines, header=header).sessions
    again = _read(tmp_path, *reversed(lines), lines[0], header=header)
    assert first["session_id"].n_unique() == 2
    assert_frame_equal(again.sessions, first)
    assert again.duplicates == 1


def test_watt_hours_day_first_and_decimal_comma(tmp_path: Path) -> None:
    read = _read(
        tmp_path,
        "1;A;21.12.2018 10:20;22.12.2018 10:23;5664,5",
        header="session_ID;Station;Start_plugin;End_plugout;Consommation totale (Wh)",
        time_zone="Europe/Oslo",
    )
    row = read.sessions.row(0, named=True)
    assert row["energy_delivered_kwh"] == pytest.approx(5.6645)
    assert row["arrival_at"] == datetime(2018, 12, 21, 9, 20, tzinfo=UTC)
    assert row["time_zone"] == "Europe/Oslo"


def test_one_energy_only_and_one_station_only(tmp_path: Path) -> None:
    row = "1,A,2024-01-01 10:00,2024-01-01 11:00,5"
    with pytest.raises(InputError, match="both hold the energy"):
        _read(tmp_path, f"{row},5000", header=f"{HEADER},Energy (Wh)")
    with pytest.raises(InputError, match="Leave one"):
        _read(tmp_path, row, station_id="B")
    with pytest.raises(MissingColumnsError, match="station_id"):
        _read(tmp_path, "1,2024-01-01 10:00,2024-01-01 11:00,5", header="id,start,end,energy")
    alone = _read(tmp_path, "1,2024-01-01 10:00,2024-01-01 11:00,5", header="id,start,end,energy", station_id="B")
    assert alone.sessions["station_id"].to_list() == ["B"]


def test_wishes_become_user_inputs_known_at_the_plug_in(tmp_path: Path) -> None:
    read = _read(
        tmp_path,
        "1,A,2024-01-01 10:00,2024-01-01 18:00,5,20,2024-01-01 17:00,True",
        "2,A,2024-01-02 10:00,2024-01-02 18:00,5,20,2024-01-02 17:00,False",
        "3,A,2024-01-03 10:00,2024-01-03 18:00,5,,,True",
        header=f"{HEADER},requested_energy (kWh),estimated_departure,claimed",
    )
    assert read.sessions.height == 3
    assert read.user_inputs.select("session_id", "available_at", "energy_requested_kwh").rows() == [
        ("1", datetime(2024, 1, 1, 10, tzinfo=UTC), 20.0)
    ]


def test_a_plug_out_in_a_doubled_hour_is_not_before_its_plug_in(tmp_path: Path) -> None:
    read = _read(tmp_path, "1,A,2023-10-29 02:40,2023-10-29 02:10,1", time_zone="Europe/Oslo")
    assert read.sessions.select("arrival_at", "departure_at").row(0) == (
        datetime(2023, 10, 29, 0, 40, tzinfo=UTC),
        datetime(2023, 10, 29, 1, 10, tzinfo=UTC),
    )


def _swap(at: datetime) -> str:
    return at.strftime("%Y-%d-%m" if at.day <= 12 else "%Y-%m-%d")


@pytest.mark.parametrize("shuffled", [False, True])
def test_exchanged_days_are_noticed_and_repaired_on_request(tmp_path: Path, *, shuffled: bool) -> None:
    starts = [datetime(2023, 1, 1, 20, tzinfo=UTC) + timedelta(hours=17 * number) for number in range(300)]
    lines = [
        f"{number},A,{_swap(at)},{at:%H:%M},{_swap(at + timedelta(hours=6))},{at + timedelta(hours=6):%H:%M},5"
        for number, at in enumerate(starts)
    ]
    if shuffled:
        lines.sort(key=lambda line: int(line.split(",")[0]) * 61 % 307)
    header = "Charging event,CP ID,Start Date,Start Time,End Date,End Time,Total kWh"
    with pytest.raises(InputError, match="--date-order swapped"):
        _read(tmp_path, *lines, header=header)
    repaired = _read(tmp_path, *lines, header=header, date_order="swapped").sessions
    assert repaired["arrival_at"].to_list() == starts
    assert not _read(tmp_path, *lines, header=header, date_order="ymd").sessions.is_empty()


def test_the_order_of_rows_alone_shows_exchanged_days(tmp_path: Path) -> None:
    # half an hour at noon: no stay looks odd, only the walk from row to row does
    days = [datetime(2023, 1, 1, 12, tzinfo=UTC) + timedelta(days=number) for number in range(300)]
    lines = [f"{number},A,{_swap(at)} 12:00,{_swap(at)} 12:30,5" for number, at in enumerate(days)]
    with pytest.raises(InputError, match="as written, 0 sessions"):
        _read(tmp_path, *lines)


def test_sound_dates_are_not_called_exchanged(tmp_path: Path) -> None:
    starts = [datetime(2023, 1, 1, 20, tzinfo=UTC) + timedelta(hours=17 * number) for number in range(300)]
    lines = [
        f"{number},A,{at:%Y-%m-%d %H:%M},{at + timedelta(hours=6):%Y-%m-%d %H:%M},5" for number, at in enumerate(starts)
    ]
    assert _read(tmp_path, *lines).counts.accepted == 300
