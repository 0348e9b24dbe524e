"""Names, numbers, yes/no and times, cell by cell."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from plugcast.adapters.tables import DateOrder
from plugcast.adapters.tables.aliases import SESSION_FIELDS, TELEMETRY_FIELDS, Field, match, plain
from plugcast.adapters.tables.numbers import parse_flags, parse_numbers
from plugcast.adapters.tables.reference import columns_markdown
from plugcast.adapters.tables.times import infer_order, localise, parse_times, resolve_folds
from plugcast.errors import InputError, MissingColumnsError

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_of_column_names_is_fresh() -> None:
    page = ROOT / "docs" / "reference" / "columns.md"
    assert page.read_text(encoding="utf-8") == columns_markdown(), (
        "stale; write plugcast.adapters.tables.reference.columns_markdown() to it"
    )


@pytest.mark.parametrize("fields", [TELEMETRY_FIELDS, SESSION_FIELDS], ids=["telemetry", "sessions"])
def test_no_name_means_two_columns(fields: tuple[Field, ...]) -> None:
    names = [plain(alias) for field in fields for alias in (field.name, *field.aliases)]
    twice = {name for name in names if names.count(name) > 1}
    own = {plain(field.name) for field in fields}
    homes: dict[str, set[str]] = {}
    for field in fields:
        for alias in (field.name, *field.aliases):
            homes.setdefault(plain(alias), set()).add(field.name)
    assert all(len(homes[name]) == 1 for name in twice)
    assert len(own) == len(fields)


@pytest.mark.parametrize(
    "names",
    [
        ("vehicle_id", "ts", "SOC%", "pluggedIn"),
        ("vehicleId", "DateTime", "SoC", "plugged"),
        ("VIN", "Measured At", "state-of-charge", "Connected"),
        ("plugged_in", "battery_level", "time", "car"),
    ],
)
def test_aliases_are_found_in_any_case_punctuation_and_order(names: tuple[str, ...]) -> None:
    found = match(names, TELEMETRY_FIELDS, source="t.csv")
    assert set(found) == {"asset_id", "timestamp", "soc", "is_plugged_in"}
    assert sorted(found.values()) == [0, 1, 2, 3]


def test_two_columns_of_one_meaning_are_named_and_a_declaration_decides() -> None:
    names = ("asset_id", "timestamp", "soc", "Battery Level", "plugged")
    with pytest.raises(InputError, match=r"'soc' and 'Battery Level' both mean soc"):
        match(names, TELEMETRY_FIELDS, source="t.csv")
    assert match(names, TELEMETRY_FIELDS, source="t.csv", declared={"soc": "Battery Level"})["soc"] == 3


def test_a_missing_column_names_what_is_wanted_and_found() -> None:
    with pytest.raises(MissingColumnsError) as caught:
        match(("asset_id", "when", "soc"), TELEMETRY_FIELDS, source="t.csv")
    assert caught.value.missing == ("timestamp", "is_plugged_in")
    assert caught.value.found == ("asset_id", "when", "soc")


@pytest.mark.parametrize("declared", [{"soc": "nowhere"}, {"charge": "soc"}])
def test_a_wrong_declaration_is_an_error(declared: dict[str, str]) -> None:
    with pytest.raises(InputError):
        match(("asset_id", "timestamp", "soc", "plugged"), TELEMETRY_FIELDS, source="t.csv", declared=declared)


@pytest.mark.parametrize(
    ("cells", "largest", "values", "bad"),
    [
        (["73,5", " 80 % ", "12"], 100.0, [73.5, 80.0, 12.0], []),
        (["73,125"], 100.0, [73.125], []),  # 73125 % cannot be meant
        (["1,234", "5"], 1500.0, [None, 5.0], [0]),  # 1.234 or 1234: nobody can tell
        (["1,234", "7,5"], 1500.0, [1.234, 7.5], []),  # here commas are decimal
        (["0,125"], 1500.0, [0.125], []),
        (["12.5", "7,5"], 1500.0, [12.5, None], [1]),  # one column, one mark
        (["1.234,5", "1 234", "1'234", "7.4 kW", "0x1F", "1_0"], 1500.0, [None] * 6, [0, 1, 2, 3, 4, 5]),
        (["", "NA", "n/a", "null", "None", "NaN", "-", None], 100.0, [None] * 8, []),
        (["inf", "-inf", "-5", "1e2"], 100.0, [float("inf"), float("-inf"), -5.0, 100.0], []),
    ],
)
def test_numbers(cells: list[str | None], largest: float, values: list[float | None], bad: list[int]) -> None:
    found, mask = parse_numbers(pl.Series(cells), largest=largest)
    assert found.to_list() == values
    assert mask.arg_true().to_list() == bad


def test_typed_numbers_pass_and_nan_is_no_value() -> None:
    found, bad = parse_numbers(pl.Series([1.5, float("nan"), None]), largest=10.0)
    assert found.to_list() == [1.5, None, None]
    assert not bad.any()
    assert parse_numbers(pl.Series([3, 4]), largest=10.0)[0].to_list() == [3.0, 4.0]
    assert parse_numbers(pl.Series([True]), largest=10.0)[1].to_list() == [True]


def test_flags() -> None:
    cells = ["TRUE", "f", "Yes", "no", "1", "0", "2", "On", "unplugged", "maybe", "3", "", None]
    found, bad = parse_flags(pl.Series(cells))
    assert found.to_list() == [True, False, True, False, True, False, True, True, False, None, None, None, None]
    assert bad.arg_true().to_list() == [9, 10]
    assert parse_flags(pl.Series([0, 1, 2, -1]))[0].to_list() == [False, True, True, None]
    assert parse_flags(pl.Series([0.0, 1.0, float("nan")]))[1].any() is False


def _utc(cells: list[str], *, order: DateOrder = DateOrder.YMD, zone: str = "UTC") -> list[datetime | None]:
    return localise(parse_times(pl.Series(cells), order), zone)["at"].to_list()


@pytest.mark.parametrize(
    ("cell", "order"),
    [
        ("2024-03-05T14:30:00+02:00", "ymd"),
        ("2024-03-05 14:30:00+02", "ymd"),
        ("2024-03-05 12:30Z", "ymd"),
        ("2024-03-05 12:30:00 UTC", "ymd"),
        ("2024/03/05 12:30:00.000+0000", "ymd"),
        ("Tue, 05 Mar 2024 12:30:00 GMT", "ymd"),
        ("05.03.2024 12:30", "dmy"),
        ("5/3/2024 12:30:00", "dmy"),
        ("03/05/2024 12:30 PM", "mdy"),
        ("03/05/2024 12:30:00", "mdy"),
        ("2024-05-03 12:30", "swapped"),
        ("1709641800", "ymd"),
        ("1709641800000", "ymd"),
        ("1709641800000000", "ymd"),
        ("1709641800000000000", "ymd"),
        ("1709641800.0", "ymd"),
    ],
)
def test_one_instant_in_many_spellings(cell: str, order: str) -> None:
    assert _utc([cell], order=DateOrder(order)) == [datetime(2024, 3, 5, 12, 30, tzinfo=UTC)]


@pytest.mark.parametrize(
    "cell", ["2024-02-30 10:00", "2024-01-01", "soon", "10:00", "2024-01-01 25:00", "31.12.2024 10"]
)
def test_what_is_no_instant_is_null(cell: str) -> None:
    assert _utc([cell], order=DateOrder.DMY) == [None]


def test_swapped_days_over_twelve_stay_as_they_are() -> None:
    assert _utc(["2017-08-31 10:00"], order=DateOrder.SWAPPED) == [datetime(2017, 8, 31, 10, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        (["01/02/2024 10:00", "25/02/2024 10:00"], DateOrder.DMY),
        (["01/02/2024 10:00", "02/25/2024 10:00"], DateOrder.MDY),
        (["01.02.2024 10:00"], DateOrder.DMY),
        (["02.25.2024 10:00"], DateOrder.MDY),
        (["2024-01-02 10:00", "13/01/2024 10:00"], DateOrder.DMY),
        (["2024-01-02 10:00"], DateOrder.YMD),
    ],
)
def test_the_whole_column_decides_the_order(cells: list[str], order: DateOrder) -> None:
    assert infer_order([pl.Series(cells)], source="t.csv") is order


@pytest.mark.parametrize("cells", [["01/02/2024 10:00"], ["01-02-2024 10:00"], ["25/01/2024 1:00", "01/25/2024 1:00"]])
def test_undecided_or_mixed_orders_ask(cells: list[str]) -> None:
    with pytest.raises(InputError, match="--date-order"):
        infer_order([pl.Series(cells)], source="t.csv")


def test_skipped_and_doubled_hours() -> None:
    times = localise(parse_times(pl.Series(["2024-03-31 02:30", "2024-10-27 02:30"]), DateOrder.YMD), "Europe/Oslo")
    assert times["at"].to_list() == [None, datetime(2024, 10, 27, 0, 30, tzinfo=UTC)]
    assert times["later"].to_list() == [None, datetime(2024, 10, 27, 1, 30, tzinfo=UTC)]


def _folded(clock: list[str]) -> tuple[list[str | None], list[bool]]:
    cells = pl.Series([f"2024-10-27 {time}" for time in clock])
    at, untold = resolve_folds(
        localise(parse_times(cells, DateOrder.YMD), "Europe/Oslo"), pl.Series(["ev"] * len(clock))
    )
    return [None if item is None else f"{item:%H:%M}" for item in at.to_list()], untold.to_list()


def test_one_step_back_tells_the_second_pass() -> None:
    at, untold = _folded(["01:50", "02:10", "02:40", "02:15", "02:50", "03:05"])
    assert at == ["23:50", "00:10", "00:40", "01:15", "01:50", "02:05"]
    assert not any(untold)


def test_without_a_step_back_the_earlier_reading_counts() -> None:
    assert _folded(["01:50", "02:30", "03:05"])[0] == ["23:50", "00:30", "02:05"]


def test_more_than_one_step_back_cannot_be_told() -> None:
    at, untold = _folded(["02:40", "02:10", "02:30", "02:20"])
    assert at == [None] * 4
    assert untold == [True] * 4
