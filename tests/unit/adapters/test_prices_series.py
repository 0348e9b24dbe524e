from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from plugcast.adapters.series import POWER_COLUMNS, Series, read_series
from plugcast.domain.rejected import RejectReason
from plugcast.errors import InputError, MissingColumnsError, NoUsableRowsError, UnreadableInputError

if TYPE_CHECKING:
    from pathlib import Path

DAY = datetime(2022, 12, 30, tzinfo=UTC)


def _file(tmp_path: Path, text: str, name: str = "prices.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def _two_days(tmp_path: Path, leave_out: set[int]) -> Series:
    rows = [f"{(DAY + timedelta(hours=h)).isoformat()},{h / 100}" for h in range(48) if h not in leave_out]
    return read_series(_file(tmp_path, "timestamp,price_per_kwh\n" + "\n".join(rows)))


def test_two_date_forms_in_one_column_are_one_series_and_megawatt_hours_become_kilowatt_hours(tmp_path: Path) -> None:
    series = read_series(
        _file(
            tmp_path,
            "Datetime (UTC),Price (EUR/MWhe)\n2022-12-31 22:00:00,10\n2022-12-31 23:00:00,-5\n01/01/2023 00:00,30\n",
        )
    )
    value, notes = series.over(datetime(2022, 12, 31, 22, tzinfo=UTC), 3, 60)
    assert value.tolist() == [0.010, -0.005, 0.030]
    assert notes == ()


def test_slots_finer_than_the_series_repeat_and_coarser_ones_average(tmp_path: Path) -> None:
    series = _two_days(tmp_path, set())
    assert series.over(DAY + timedelta(minutes=45), 3, 15)[0].tolist() == [0.0, 0.01, 0.01]
    assert series.over(DAY, 2, 120)[0].tolist() == pytest.approx([0.005, 0.025])


def test_slots_that_begin_between_the_steps_take_their_part_of_each(tmp_path: Path) -> None:
    series = _two_days(tmp_path, set())
    value, _ = series.over(DAY + timedelta(minutes=52), 2, 15)
    assert value.tolist() == pytest.approx([(8 * 0.0 + 7 * 0.01) / 15, 0.01])


def test_a_row_a_lifetime_away_costs_no_memory(tmp_path: Path) -> None:
    rows = [*(f"{(DAY + timedelta(hours=h)).isoformat()},{h}" for h in range(24)), "2095-01-01T00:00Z,1"]
    series = read_series(_file(tmp_path, "timestamp,price_per_kwh\n" + "\n".join(rows)))
    assert series.step_s == 3600
    assert series.over(DAY, 24, 60)[0].tolist() == list(range(24))


def test_a_missing_hour_is_an_error_unless_it_is_filled_from_the_day_before_with_a_note(tmp_path: Path) -> None:
    series = _two_days(tmp_path, {30})
    with pytest.raises(InputError, match=r"1 h from 2022-12-31T06:00:00.*--fill"):
        series.over(DAY + timedelta(hours=28), 20, 15)
    value, notes = series.over(DAY + timedelta(hours=28), 4, 60, fill=True)
    assert value.tolist() == [0.28, 0.29, 0.06, 0.31]
    assert "1 h from 2022-12-31T06:00:00" in notes[0]


def test_a_window_outside_the_series_is_never_guessed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it holds 2022-12-30T00:00:00"):
        _two_days(tmp_path, set()).over(DAY - timedelta(days=2), 4, 60, fill=True)


def test_local_times_pass_the_end_of_summer_time_twice(tmp_path: Path) -> None:
    text = "time,price\n2023-10-29T01:00,1\n2023-10-29T02:00,2\n2023-10-29T02:00,3\n2023-10-29T03:00,4\n"
    series = read_series(_file(tmp_path, text), time_zone="Europe/Amsterdam")
    assert series.value.tolist() == [1, 2, 3, 4]
    assert np.diff(series.start_s).tolist() == [3600] * 3


def test_bad_rows_are_kept_with_their_reasons(tmp_path: Path) -> None:
    text = (
        "timestamp,price\n2023-01-01T00:00Z,1\n2023-01-01T00:00Z,1\n2023-01-01T00:00Z,2\nlater,3\n"
        "2023-01-01T01:00Z,dear\n2023-01-01T02:00Z,nan\n2023-01-01T03:00,4\n2023-01-01T01:00Z,5\n2023-01-01T02:00Z\n"
        "2023-01-01T02:00Z,1e300\n"
    )
    series = read_series(_file(tmp_path, text))
    assert series.value.tolist() == [1, 5]
    assert series.duplicates == 1
    assert [(one.row, one.reason) for one in series.rejected] == [
        (3, RejectReason.CONFLICTING_DUPLICATE),
        (4, RejectReason.BAD_TIME),
        (5, RejectReason.NOT_A_NUMBER),
        (6, RejectReason.NOT_A_NUMBER),
        (7, RejectReason.BAD_TIME),
        (9, RejectReason.NOT_A_NUMBER),
        (10, RejectReason.OUT_OF_RANGE),
    ]


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingColumnsError, match="price_per_kwh"):
        read_series(_file(tmp_path, "timestamp,kw\n2023-01-01T00:00Z,1\n"))
    with pytest.raises(UnreadableInputError, match="empty"):
        read_series(_file(tmp_path, ""))
    with pytest.raises(UnreadableInputError, match="Parquet"):
        read_series(_file(tmp_path, "no parquet", "x.parquet"))
    with pytest.raises(UnreadableInputError, match=r"absent\.csv"):
        read_series(tmp_path / "absent.csv")
    with pytest.raises(NoUsableRowsError, match="none of 1 rows"):
        read_series(_file(tmp_path, "timestamp,price\n2023-01-01T00:00,1\n"))


def test_power_is_read_by_the_same_reader(tmp_path: Path) -> None:
    series = read_series(_file(tmp_path, "timestamp,pv_kw\n2023-06-01T10:00Z,3.5\n"), columns=POWER_COLUMNS)
    assert series.over(datetime(2023, 6, 1, 10, tzinfo=UTC), 2, 15)[0].tolist() == [3.5, 3.5]


@pytest.mark.data
def test_eight_years_of_dutch_day_ahead_prices_are_read(data_dir: Path) -> None:
    series = read_series(data_dir / "nl_day_ahead_price_hourly.parquet")
    assert len(series.value) + series.duplicates + len(series.rejected) == 70_129
    assert series.step_s == 3600
    assert series.value.max() == pytest.approx(0.871)
    assert (series.duplicates, len(series.rejected)) == (1, 0)  # the last hour stands there in both date forms
    assert set(np.diff(series.start_s).tolist()) == {3600}
    value, notes = series.over(datetime(2019, 3, 31, tzinfo=UTC), 96, 15)
    assert len(value) == 96
    assert notes == ()
