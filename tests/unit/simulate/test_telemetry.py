from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from plugcast.cli.app import app
from plugcast.errors import ConfigError
from plugcast.simulate import telemetry
from plugcast.simulate.habits import Leg, Person, Place
from plugcast.simulate.life import _Life
from plugcast.simulate.telemetry import GeneratorSpec, generate

RUN = CliRunner()


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _share_plugged(frame: pl.DataFrame, ids: list[str], *, hours: range, weekdays: range) -> float:
    at = pl.col("timestamp").dt
    rows = frame.filter(
        pl.col("asset_id").is_in(ids), at.hour().is_in(list(hours)), (at.weekday() - 1).is_in(list(weekdays))
    )
    return _number(rows["is_plugged_in"].mean())


def test_people_plug_in_where_and_when_they_are_used_to() -> None:
    spec = GeneratorSpec(vehicles=80, days=21, seed=5)
    frame, people = generate(spec), telemetry.vehicles(spec)
    ids = {kind: [vehicle.asset_id for vehicle in people if vehicle.person is kind] for kind in Person}
    night, day = range(6), range(10, 15)
    for kind in (Person.HOME, Person.FLEET):
        by_night = _share_plugged(frame, ids[kind], hours=night, weekdays=range(1, 5))
        by_day = _share_plugged(frame, ids[kind], hours=day, weekdays=range(5))
        assert by_night > 1.6 * by_day, kind
    work_day = _share_plugged(frame, ids[Person.WORK], hours=day, weekdays=range(5))
    assert work_day > 4 * _share_plugged(frame, ids[Person.WORK], hours=day, weekdays=range(5, 7))
    assert work_day > 4 * _share_plugged(frame, ids[Person.WORK], hours=night, weekdays=range(5))


def test_cars_stay_on_the_plug_after_they_are_full() -> None:
    frame = generate(GeneratorSpec(vehicles=20, days=14))
    plugged = frame.filter("is_plugged_in")
    full = plugged.filter(pl.col("power_kw") == 0)
    assert 0.3 < full.height / plugged.height < 0.95


def test_a_low_charge_makes_plugging_in_likelier_and_a_short_stop_less_likely() -> None:
    vehicle = next(v for v in telemetry.vehicles(GeneratorSpec(vehicles=30)) if v.person is Person.HOME)
    vehicle = msgspec.structs.replace(vehicle, eagerness=0.0, slope_per_pct=0.05, limit_pct=100.0)
    driver = _Life(vehicle, np.random.default_rng(1), start_min=0.0, midnight_min=np.array([0.0]))

    def share(soc_pct: float, stay_min: float) -> float:
        driver._soc = soc_pct
        return float(np.mean([driver._wants_to_plug(stay_min) for _ in range(2_000)]))

    shares = [share(soc_pct, 600.0) for soc_pct in (20.0, 60.0, 90.0, 98.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.8
    assert shares[1] == pytest.approx(0.5, abs=0.05)
    assert shares[3] < 0.1
    assert share(60.0, 60.0) < 0.4


def test_habits_keep_to_the_wall_clock_when_summer_time_begins() -> None:
    # Oslo moves its clocks on 29 March 2026
    spec = GeneratorSpec(
        vehicles=40, days=42, start_at=datetime(2026, 3, 7, 23, tzinfo=UTC), time_zone="Europe/Oslo", seed=9
    )
    fleet = [vehicle.asset_id for vehicle in telemetry.vehicles(spec) if vehicle.person is Person.FLEET]
    off = generate(spec).filter(
        pl.col("asset_id").is_in(fleet),
        pl.col("is_plugged_in").shift(1).over("asset_id"),
        ~pl.col("is_plugged_in"),
        ~pl.col("gap_flag"),
    )
    morning = off.with_columns(local=pl.col("timestamp").dt.convert_time_zone("Europe/Oslo")).filter(
        pl.col("local").dt.hour() < 10
    )
    change = datetime(2026, 3, 29, 1, tzinfo=UTC)
    means: dict[str, list[float]] = {"local": [], "timestamp": []}
    for side in (pl.col("timestamp") < change, pl.col("timestamp") >= change):
        for name, found in means.items():
            at = morning.filter(side)[name].dt
            found.append(_number((at.hour().cast(pl.Float64) + at.minute() / 60).median()))
    assert abs(means["local"][1] - means["local"][0]) < 0.35
    assert means["timestamp"][0] - means["timestamp"][1] == pytest.approx(1.0, abs=0.35)


@given(zone=st.sampled_from(["Europe/Oslo", "America/Los_Angeles", "Australia/Lord_Howe"]), start=st.integers(0, 360))
def test_wall_minutes_become_instants_in_order(zone: str, start: int) -> None:
    begin = datetime.fromtimestamp(datetime(2026, 1, 1, tzinfo=UTC).timestamp() + start * 86_400, tz=UTC)
    clock = telemetry._LocalClock(GeneratorSpec(days=30, start_at=begin, time_zone=zone))
    legs = [Leg(float(minute), 10.0, 1.0, Place.HOME, 0) for minute in range(0, 30 * 1440, 360)]
    at = np.array([moved.start_min for moved in clock.to_utc(legs)])
    assert (np.diff(at) >= 290).all()
    assert (np.diff(at) <= 430).all()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"vehicles": 0}, "vehicles"),
        ({"days": -1}, "days"),
        ({"seed": -1}, "seed"),
        ({"time_zone": "Mars/Base"}, "Mars/Base"),
        ({"start_at": datetime(2026, 1, 1)}, "start_at"),  # noqa: DTZ001 - the fault under test
    ],
)
def test_a_wrong_spec_says_what_is_wrong(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        GeneratorSpec(**wrong)


@pytest.mark.parametrize(
    "words",
    [
        ["--vehicles", "0"],
        ["--days", "-3"],
        ["--time-zone", "Mars/Base"],
        ["--start", "tomorrow"],
        ["--start", "1980-01-01"],
        ["--seed", "-1"],
        ["--seed", str(2**64)],
        ["--out", "."],
        ["--check", "nowhere"],
    ],
)
def test_wrong_usage_ends_with_two_and_writes_nothing(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = RUN.invoke(app, ["generate", *words])
    assert result.exit_code == 2, result.output
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_the_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = RUN.invoke(app, ["generate", "--vehicles", "3", "--days", "5", "--json"])
    assert result.exit_code == 0, result.output
    report = msgspec.json.decode(result.stdout)
    assert [path.name for path in tmp_path.iterdir()] == ["synthetic_ev_data.csv"]
    text = Path("synthetic_ev_data.csv").read_text(encoding="utf-8").splitlines()
    assert text[0] == "asset_id,timestamp,soc,is_plugged_in,power_kw,capacity_kwh,gap_flag"
    assert text[1].split(",")[1].endswith("Z")
    read = pl.read_csv("synthetic_ev_data.csv", try_parse_dates=True)
    frame = generate(GeneratorSpec(vehicles=3, days=5))
    assert report["rows"] == read.height == frame.height
    assert report["gaps"] == int(frame["gap_flag"].sum())
    for name in telemetry.CSV_COLUMNS:
        assert read[name].cast(frame[name].dtype).to_list() == frame[name].to_list(), name


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    here = tmp_path / "here.csv"
    for _ in telemetry.write_csv(GeneratorSpec(vehicles=2, days=3, seed=8, time_zone="Europe/Oslo"), here):
        pass
    code = (
        "import sys; from pathlib import Path; from plugcast.simulate.telemetry import *;"
        "list(write_csv(GeneratorSpec(vehicles=2, days=3, seed=8, time_zone='Europe/Oslo'), Path(sys.argv[1])))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there.csv")], check=True, timeout=60)
    assert here.read_bytes() == (tmp_path / "there.csv").read_bytes()


def test_a_failure_on_the_way_leaves_the_old_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "fleet.csv"
    target.write_text("what was here\n", encoding="utf-8")
    writing = telemetry.write_csv(GeneratorSpec(vehicles=120, days=1), target)
    next(writing)
    assert len(list(tmp_path.iterdir())) == 2, "the part is beside the target"
    writing.close()
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["what was here\n"]


def test_a_missing_folder_is_an_error_with_advice(tmp_path: Path) -> None:
    result = RUN.invoke(app, ["generate", "--vehicles", "1", "--days", "1", "--out", str(tmp_path / "no" / "x.csv")])
    assert result.exit_code == 1
    assert "--out" in str(result.exception)
