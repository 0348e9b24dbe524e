from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plugcast.adapters.site_file import read_site
from plugcast.errors import ConfigError, UnreadableInputError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
site_id = "depot"
time_zone = "Europe/Oslo"
limit_kw = 60
base_load_kw = 3
[tariff]
file = "night.json"
feed_in_per_kwh = 0.04
[[stations]]
station_id = "A1"
max_power_kw = 11
"""


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_site_file_says_where_limit_tariff_and_stations_are(tmp_path: Path) -> None:
    read = read_site(_file(tmp_path, GOOD))
    assert (read.site.site_id, read.site.limit_kw) == ("depot", 60.0)
    assert read.tariff_path == tmp_path / "night.json"
    assert (read.feed_in_per_kwh, read.base_load_kw) == (0.04, 3.0)
    assert read.site.stations[0].max_power_kw == 11.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("limit_kw = 60", "limit_kw = -1"), "limit_kw is -1"),
        (("limit_kw = 60", "limit_kw = nan"), "limit_kw is nan"),
        (("limit_kw = 60", ""), "limit_kw"),
        (("base_load_kw", "base_lod_kw"), "base_lod_kw"),
        (("Europe/Oslo", "Europe/Atlantis"), "Atlantis"),
        (("[tariff]", "[tariff"), "needs site_id"),
        (("max_power_kw = 11", "max_power_kw = -11"), "station 'A1'"),
        (("max_power_kw = 11", "max_power_kw = 11\ncircuit = 'hall'"), "circuit 'hall', which is not there"),
        (("max_power_kw = 11", "max_power_kw = 11\nconnection = 'L9'"), "connected to 'L9'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_site(_file(tmp_path, GOOD.replace(*change)))


def test_a_station_twice_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="twice"):
        read_site(_file(tmp_path, GOOD + '[[stations]]\nstation_id = "A1"\nmax_power_kw = 7\n'))
    with pytest.raises(UnreadableInputError, match=r"absent\.toml"):
        read_site(tmp_path / "absent.toml")


def test_wires_and_battery_are_read(tmp_path: Path) -> None:
    more = """circuit = "hall"
connection = "L2"
pilots_kw = [1.4, 2.8]
[[circuits]]
circuit_id = "hall"
limit_kw = 20
[phases]
limit_a = 63
unbalance_limit_a = 20
[battery]
capacity_kwh = 10
charge_kw = 5
discharge_kw = 4
"""
    site = read_site(_file(tmp_path, GOOD + more)).site
    assert (site.circuits[0].limit_kw, site.stations[0].circuit_id, site.stations[0].connection) == (20.0, "hall", "L2")
    assert site.stations[0].evses[0].connectors[0].pilots_kw == (1.4, 2.8)
    assert site.phases is not None
    assert (site.phases.limit_a, site.phases.unbalance_limit_a) == (63.0, 20.0)
    assert site.storage is not None
    assert site.storage.discharge_kw == 4.0
