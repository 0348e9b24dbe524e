from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from plugcast.cli.app import app, main
from plugcast.services.plan_picture import CHARGE, MISSED, STAY

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

NEEDS = """session_id,station_id,arrival,departure,energy_kwh,max_power_kw
car-1,A1,2019-03-04T08:00,2019-03-04T17:00,18.5,6.6
car-2,A2,2019-03-04T08:30,2019-03-04T10:00,14,6.6
car-3,A3,2019-03-04T17:30,2019-03-05T07:00,40,7.4
"""


@pytest.fixture
def needs(tmp_path: Path) -> Path:
    path = tmp_path / "needs.csv"
    path.write_text(NEEDS, encoding="utf-8")
    return path


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


def _json(*arguments: object) -> dict[str, Any]:
    result = _run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_people_read_windows_energy_reasons_and_the_saving(needs: Path) -> None:
    result = _run("--sessions", needs, "--limit", 10)
    assert result.exit_code == 0
    for words in (
        "Plan for 3 cars, Mon 2019-03-04 08:00 to Tue 2019-03-05 07:00 (America/Los_Angeles)",
        "Status: best effort",
        "car-2 at A2, Mon 08:30-Mon 10:00: 9.9 of 14.0 kWh",
        "4.1 kWh cannot be met before departure at 10:00: 1 h 30 min of stay at 6.6 kW give 9.9 kWh at most.",
        "because a kWh costs 0.0609 then",
        "On arrival, charging would exceed the limit in 6 slots",
        "Prices: SCE TOU-EV-4 (March 2019), the built-in example.",
    ):
        assert words in result.stdout


def test_machines_read_one_document_with_both_totals(needs: Path) -> None:
    document = _json("--sessions", needs, "--limit", 10)
    ours, theirs = document["totals"]["plan"], document["totals"]["uncontrolled"]
    assert ours["cost"] < theirs["cost"]
    assert ours["energy_kwh"] == pytest.approx(theirs["energy_kwh"])
    assert ours["peak_kw"] <= 10 < theirs["peak_kw"]
    assert document["plan"]["status"] == "best_effort"
    assert document["plan"]["start_at"] == "2019-03-04T16:00:00Z"
    assert max(document["plan"]["grid_import_kw"]) <= 10


def test_the_plan_is_written_to_a_file(needs: Path, tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    assert _run("--sessions", needs, "--out", target).exit_code == 0
    written = json.loads(target.read_bytes())
    assert [car["session_id"] for car in written["vehicles"]] == ["car-1", "car-2", "car-3"]


@pytest.mark.parametrize("policy", ["edf", "llf", "uncontrolled"])
def test_other_policies_are_no_cheaper_and_say_what_they_are(needs: Path, policy: str) -> None:
    best, other = (_json("--sessions", needs, "--limit", 20, "--policy", one) for one in ("lp", policy))
    assert other["plan"]["status"] == "heuristic"
    assert other["totals"]["plan"]["cost"] > best["totals"]["plan"]["cost"]
    assert other["totals"]["plan"]["energy_kwh"] == pytest.approx(best["totals"]["plan"]["energy_kwh"])


def test_site_price_series_and_sun_are_read(needs: Path, tmp_path: Path) -> None:
    hours = [f"2019-03-04T{h:02d}:00Z" for h in range(24)] + [f"2019-03-05T{h:02d}:00Z" for h in range(24)]
    (tmp_path / "p.csv").write_text("timestamp,price_per_kwh\n" + "\n".join(f"{h},0.2" for h in hours))
    (tmp_path / "pv.csv").write_text("timestamp,pv_kw\n" + "\n".join(f"{h},9" for h in hours))
    (tmp_path / "site.toml").write_text(
        'site_id = "depot"\ntime_zone = "Europe/Oslo"\nlimit_kw = 9\nbase_load_kw = 1\n[tariff]\nfile = "p.csv"\n'
    )
    document = _json("--sessions", needs, "--site", tmp_path / "site.toml", "--pv", tmp_path / "pv.csv")
    assert document["plan"]["site_id"] == "depot"
    assert document["plan"]["start_at"] == "2019-03-04T07:00:00Z"
    assert set(document["plan"]["limit_kw"]) == {9.0}
    assert document["totals"]["plan"]["cost"] == pytest.approx(0.0)  # 8 kW of sun beyond the base load are enough


def test_a_gap_in_the_prices_is_an_error_and_can_be_filled(needs: Path, tmp_path: Path) -> None:
    rows = [f"2019-03-{d:02d}T{h:02d}:00Z,0.2" for d in (3, 4, 5) for h in range(24) if (d, h) != (4, 20)]
    prices = tmp_path / "p.csv"
    prices.write_text("timestamp,price_per_kwh\n" + "\n".join(rows))
    common = ("--sessions", needs, "--tariff", prices, "--time-zone", "UTC")
    assert "1 h from 2019-03-04T20:00:00" in str(_run(*common).exception)
    assert any("same hour of an earlier day" in note for note in _json(*common, "--fill")["plan"]["notes"])


def test_bad_rows_and_cars_outside_are_counted_not_hidden(needs: Path) -> None:
    with needs.open("a") as file:
        file.write(
            "car-4,A4,2019-03-04T08:00,2019-03-04T07:00,5,6.6\ncar-5,A5,2019-04-04T08:00,2019-04-04T09:00,5,6.6\n"
        )
    document = _json("--sessions", needs, "--hours", 24)
    assert document["rejected"][0]["reason"] == "end_before_start"
    assert document["cars_left_out"] == 1
    shown = _run("--sessions", needs, "--hours", 24)
    assert "Rejected row 4" in shown.stderr
    assert "left out, not there in these hours: 1" in shown.stderr


def test_no_time_for_the_solver_is_a_fallback(needs: Path) -> None:
    assert _json("--sessions", needs, "--time-limit", 0)["plan"]["status"] == "fallback"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "session_id,station_id,arrival"),
        (("--sessions", "NEEDS", "--limit", "-1"), "--limit"),
        (("--sessions", "NEEDS", "--limit", "nan"), "--limit"),
        (("--sessions", "NEEDS", "--start", "soon"), "--start"),
        (("--sessions", "NEEDS", "--policy", "magic"), "--policy"),
        (("--sessions", "NEEDS", "--time-zone", "Mars/Base"), "--time-zone"),
    ],
)
def test_usage_errors_name_the_option(needs: Path, arguments: tuple[str, ...], words: str) -> None:
    result = _run(*(str(needs) if one == "NEEDS" else one for one in arguments))
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("", "is empty"),
        ("a,b\n1,2\n", "wanted the column(s) session_id"),
        (NEEDS.splitlines()[0] + "\n", "holds no row below its header"),
        (NEEDS.replace("2019-03-04T08:00", "x").replace("17:30", "x").replace("08:30", "x"), "no usable car; 3 rows"),
    ],
)
def test_files_that_cannot_be_planned_fail_with_one_line(
    tmp_path: Path, content: str | None, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.csv"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr("sys.argv", ["plugcast", "plan", "--sessions", str(path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_start_out_of_all_time_is_refused(needs: Path) -> None:
    assert "wanted a time from 2005 to 2100" in str(_run("--sessions", needs, "--start", "9999-12-31T23:59").exception)


@pytest.mark.parametrize(
    ("start", "words"),
    [("2019-03-10T02:30", "does not exist, for the clock skips it"), ("2019-11-03T01:30", "comes twice")],
)
def test_a_start_that_the_clock_skips_or_passes_twice_wants_an_offset(needs: Path, start: str, words: str) -> None:
    assert words in str(_run("--sessions", needs, "--start", start).exception)
    assert "none of its 3 cars is there" in str(_run("--sessions", needs, "--start", f"{start}-07:00").exception)


def test_a_row_that_is_not_utf_8_is_refused_and_the_others_are_planned(needs: Path) -> None:
    with needs.open("ab") as file:
        file.write(b"b\xe9b\xe9,A4,2019-03-04T08:00,2019-03-04T17:00,5,6.6\n")
    document = _json("--sessions", needs)
    assert [(one["row"], one["reason"]) for one in document["rejected"]] == [(4, "undecodable")]
    assert len(document["plan"]["vehicles"]) == 3
    needs.write_bytes(needs.read_bytes().replace(b"station_id", b"stat\xefon"))
    assert "its header is not UTF-8" in str(_run("--sessions", needs).exception)


def test_a_what_if_stands_beside_the_site_as_it_is(needs: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('site_id = "depot"\ntime_zone = "America/Los_Angeles"\nlimit_kw = 14\n')
    document = _json("--sessions", needs, "--site", site, "--limit", 9, "--price", "+0.05")
    ours, plain = document["totals"]["plan"], document["totals"]["as_it_is"]
    assert document["what_if"] == "a limit of 9 kW instead of 14, +0.05 a kWh"
    assert ours["energy_cost"] == pytest.approx(plain["energy_cost"] + 0.05 * plain["energy_kwh"])
    assert _json("--sessions", needs, "--site", site)["totals"]["as_it_is"] is None
    shown = _run("--sessions", needs, "--price", "x2").stdout
    assert "What if: 2 times the price." in shown
    assert "as it is" in shown


@pytest.mark.parametrize(("text", "cost"), [("0.5", 0.5), ("x0", 0.0)])
def test_a_flat_price_is_paid_for_every_kwh(needs: Path, text: str, cost: float) -> None:
    totals = _json("--sessions", needs, "--price", text)["totals"]["plan"]
    assert totals["energy_cost"] == pytest.approx(cost * totals["energy_kwh"])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--price", "cheap"),
        ("--price", "0.1.2"),
        ("--pv-kw", "-1"),
        ("--pv-kw", "nan"),
        ("--pv-kw", "inf"),
        ("--price", "1e400"),
    ],
)
def test_what_ifs_that_make_no_sense_are_usage_errors(needs: Path, option: str, value: str) -> None:
    result = _run("--sessions", needs, option, value)
    assert result.exit_code == 2
    assert option in result.stderr


def test_a_site_with_wires_a_battery_and_coarse_chargers_is_planned(needs: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text("""site_id = "depot"
time_zone = "America/Los_Angeles"
limit_kw = 14
[phases]
limit_a = 20
[battery]
capacity_kwh = 10
charge_kw = 3
discharge_kw = 3
[[circuits]]
circuit_id = "row"
limit_kw = 6
[[stations]]
station_id = "A1"
max_power_kw = 7.4
min_power_kw = 1.38
circuit = "row"
connection = "L1"
[[stations]]
station_id = "A2"
max_power_kw = 7.4
pilots_kw = [1.5, 3.0, 4.5]
circuit = "row"
connection = "L2"
""")
    picture = tmp_path / "plan.png"
    document = _json("--sessions", needs, "--site", site, "--policy", "whole", "--pv-kw", 5, "--picture", picture)
    cars = {car["session_id"]: car["power_kw"] for car in document["plan"]["vehicles"]}
    assert all(min(abs(kw - level) for level in (0, 1.5, 3.0, 4.5)) < 1e-4 for kw in cars["car-2"])
    assert max(one + two for one, two in zip(cars["car-1"], cars["car-2"], strict=True)) <= 6 + 1e-6
    assert max(cars["car-1"]) <= 20 * 0.23 + 1e-6
    assert len(document["plan"]["battery_kw"]) == len(cars["car-1"])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_stations_that_the_site_file_does_not_know_are_named(needs: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        'site_id = "depot"\ntime_zone = "UTC"\nlimit_kw = 60\n[phases]\nlimit_a = 5\n'
        '[[stations]]\nstation_id = "A1"\nmax_power_kw = 11\n',
        encoding="utf-8",
    )
    notes = _json("--sessions", needs, "--site", site)["plan"]["notes"]
    assert any("on no circuit and no phase of it: A2, A3." in note for note in notes)


def test_cars_that_stay_on_after_the_plan_are_counted_in_a_note(needs: Path) -> None:
    notes = _json("--sessions", needs, "--start", "2019-03-04T08:00", "--hours", 12)["plan"]["notes"]
    assert any(note.startswith("The plan ends before 1 of the cars leave") for note in notes)
    assert not any("The plan ends before" in note for note in _json("--sessions", needs)["plan"]["notes"])


def test_the_picture_shows_stays_charge_and_what_is_missed(needs: Path, tmp_path: Path) -> None:
    picture = tmp_path / "plan.png"
    assert _run("--sessions", needs, "--limit", 10, "--picture", picture).exit_code == 0
    seen = np.rint(imread(picture)[:, :, :3] * 255).astype(int)
    cars = {tuple(pixel) for pixel in seen[: len(seen) // 3].reshape(-1, 3)}
    for colour in (STAY, CHARGE, MISSED):
        assert tuple(bytes.fromhex(colour[1:])) in cars


def test_rubbish_is_named_and_what_is_left_is_planned(needs: Path, tmp_path: Path) -> None:
    with needs.open("a") as file:
        file.write("car-4,A4,2019-03-04T08:00,2019-03-04T17:00,-5,6.6\ncar-5,A5,2019-03-04T08:00,x,5,6.6\n")
    document = _json("--sessions", needs, "--limit", 0, "--start", "2019-03-04T12:00")
    assert [one["row"] for one in document["rejected"]] == [4, 5]
    assert document["cars_left_out"] == 1  # car-2 has left by then
    assert document["plan"]["status"] == "best_effort"
    assert all("the 0 kW limit binds" in one["reason"] for one in document["plan"]["shortfalls"])
    prices = tmp_path / "p.csv"
    prices.write_text(
        "timestamp,price_per_kwh\n"
        + "\n".join(f"2019-03-0{4 + h // 24}T{h % 24:02d}:00Z,{'nan' if h == 20 else 0.2}" for h in range(48))
    )
    failed = _run("--sessions", needs, "--tariff", prices, "--time-zone", "UTC")
    assert failed.exit_code == 1
    assert "2019-03-04T20:00:00" in str(failed.exception)


@pytest.mark.slow
def test_ten_thousand_cars_are_answered_in_time_and_flagged(tmp_path: Path) -> None:
    rows = [
        f"c{car},P{car},2019-03-0{4 + car % 2}T{car % 24:02d}:{car % 60:02d},"
        f"2019-03-06T{car % 17:02d}:30,{1 + car % 19},7.4"
        for car in range(10_000)
    ]
    path = tmp_path / "many.csv"
    path.write_text("\n".join([NEEDS.splitlines()[0], *rows]))
    document = _json("--sessions", path, "--limit", 9000, "--time-limit", 1)
    assert document["plan"]["status"] in {"fallback", "best_effort", "optimal"}
    assert document["plan"]["status"] != "fallback" or "in order of departure" in str(document["plan"]["notes"])
    assert len(document["plan"]["vehicles"]) == 10_000
    assert document["totals"]["plan"]["energy_kwh"] > 0.9 * sum(1 + car % 19 for car in range(10_000))
    assert document["totals"]["plan"]["peak_kw"] <= 9000 + 1e-6
