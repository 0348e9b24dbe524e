from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from plugcast.adapters.prices import JsonTariff, builtin_tariff, parse_tariff
from plugcast.errors import InputError, UnreadableInputError
from plugcast.ports import PriceSource

if TYPE_CHECKING:
    from pathlib import Path


def _sheet(**entry: Any) -> bytes:
    season = {
        "id": "All-Year",
        "effective_start": "01-01",
        "effective_end": "12-31",
        "dow_mask": "ALL",
        "times": [0, 8.5],
        "tariffs": [0.1, 0.2],
        "demand_charge": 3.0,
        **entry,
    }
    return json.dumps({"name": "T", "effective": "2024-01-01", "schedule": [season]}).encode()


def test_a_sheet_becomes_a_tariff(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(_sheet(effective_end="9-30"))
    source: PriceSource = JsonTariff(path=path, time_zone="Europe/Oslo")
    tariff = source.tariff()
    (season,) = tariff.seasons
    assert isinstance(source, PriceSource)
    assert (tariff.name, tariff.time_zone, season.ends_on) == ("T", "Europe/Oslo", "09-30")
    assert [(one.from_hour, one.price_per_kwh) for one in season.periods] == [(0.0, 0.1), (8.5, 0.2)]
    assert (season.days, season.demand_charge_per_kw) == ((0, 1, 2, 3, 4, 5, 6), 3.0)
    assert source.tariff() == tariff


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"dow_mask": "SUNDAYS"}, "dow_mask 'SUNDAYS'"),
        ({"times": [0]}, "1 times and 2 prices"),
        ({"times": [8, 0]}, "ascending hours"),
        ({"times": [0, 24]}, "ascending hours"),
        ({"times": [], "tariffs": []}, "0 times"),
        ({"effective_start": "13-01"}, "date '13-01'"),
        ({"effective_start": "June"}, "date 'June'"),
        ({"demand_charge": -1}, "not negative"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused_by_season(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        parse_tariff(_sheet(**entry), source="t.json")
    assert "All-Year" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": "T"}', _sheet(tariffs=["a", "b"]), b"\xff\xfe"])
def test_another_kind_of_file_is_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableInputError, match=r"t\.json"):
        parse_tariff(content, source="t.json")


def test_an_unknown_zone_and_an_empty_schedule_are_refused() -> None:
    with pytest.raises(InputError, match="Mars/Base"):
        parse_tariff(_sheet(), source="t", time_zone="Mars/Base")
    with pytest.raises(InputError, match="schedule is empty"):
        parse_tariff(b'{"name": "T", "schedule": []}', source="t")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match=r"absent\.json"):
        JsonTariff(path=tmp_path / "absent.json").tariff()


def test_the_shipped_example_names_its_source_and_zone() -> None:
    tariff = builtin_tariff()
    assert (tariff.time_zone, tariff.currency, len(tariff.seasons)) == ("America/Los_Angeles", "USD", 4)
    assert {season.demand_charge_per_kw for season in tariff.seasons} == {15.51}


@pytest.mark.data
def test_the_sheets_in_use_are_all_read_and_the_example_says_the_same_as_its_original(data_dir: Path) -> None:
    sheets = sorted((data_dir / "tariffs").glob("*.json"))
    assert len(sheets) >= 4
    read = {path.stem: JsonTariff(path=path, time_zone="America/Los_Angeles").tariff() for path in sheets}
    assert all(tariff.seasons for tariff in read.values())
    assert read["sce_tou_ev_4_march_2019"].seasons == builtin_tariff().seasons
