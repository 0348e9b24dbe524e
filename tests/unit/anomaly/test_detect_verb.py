"""``plugcast detect`` as a user types it."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from typer.testing import CliRunner

from plugcast.cli.app import app
from plugcast.errors import ModelNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

FAILED = "v395"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 ordinary visits of five drivers, and one near the end that never started to charge."""
    rows: list[dict[str, Any]] = []
    for number in range(400):
        arrival = datetime(2019, 1, 7, 15, tzinfo=UTC) + timedelta(hours=6 * number, minutes=20 * math.sin(number))
        hours = 2 + 0.3 * math.sin(7 * number)
        rows.append(
            {
                "session_id": f"v{number}",
                "station_id": f"st{number % 3}",
                "user_id": f"u{number % 5}",
                "arrival_at": arrival.isoformat(),
                "departure_at": (arrival + timedelta(hours=5 + 0.2 * math.cos(3 * number))).isoformat(),
                "done_charging_at": (arrival + timedelta(hours=hours)).isoformat(),
                "energy_delivered_kwh": 0.0 if f"v{number}" == FAILED else 6 * hours,
            }
        )
    path = tmp_path_factory.mktemp("detect") / "sessions.csv"
    pl.DataFrame(rows).write_csv(path)
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["detect", *map(str, arguments)])


def test_findings_are_one_json_document_and_exit_3(table: Path, tmp_path: Path) -> None:
    result = run(table, "--json", "--out", tmp_path / "findings.json")
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert report["sessions"] == 120
    assert "280 sessions" in report["trained_on"]
    by_rule = [f for f in report["findings"] if f["by"] == "rule:failed_start"]
    assert [f["session_id"] for f in by_rule] == [FAILED]
    assert "0.00 kWh" in by_rule[0]["reasons"][0]["text"]
    assert json.loads((tmp_path / "findings.json").read_text()) == report


def test_people_see_the_reason_the_cause_and_the_rate(table: Path) -> None:
    result = run(table)
    assert result.exit_code == 3
    for words in ("failed_start", "charging never started", FAILED, "station-weeks", "budget 0.1"):
        assert words in result.stdout
    assert "Learned from 280 sessions" in result.stderr


def test_nothing_odd_exits_0(table: Path) -> None:
    result = run(table, "--since", "2019-04-16T16:00:00Z", "--budget", "0.001")
    assert result.exit_code == 0, result.output
    assert "0 findings" in result.stdout


def test_a_kept_detector_is_used_again_and_finds_the_same(table: Path, tmp_path: Path) -> None:
    first = run(table, "--model", tmp_path / "model", "--json")
    again = run(table, "--model", tmp_path / "model", "--json")
    assert json.loads(first.stdout)["findings"] == json.loads(again.stdout)["findings"]
    assert "the detector in" in json.loads(again.stdout)["trained_on"]


def test_nobody_is_told_of_without_a_name_a_detector_and_a_finding(table: Path, tmp_path: Path) -> None:
    def tell(finding: str, model: Path, by: str) -> Any:
        words = ["detect", "tell", finding, "true", str(table), "--model", str(model), "--by", by]
        return CliRunner().invoke(app, words)

    assert isinstance(tell(FAILED, tmp_path / "none", "ann").exception, ModelNotFoundError)
    assert not (tmp_path / "none").exists()
    run(table, "--model", tmp_path / "model", "--json")
    assert tell(FAILED, tmp_path / "model", " ").exit_code == 2
    ordinary = pl.read_csv(table)["session_id"][-1]
    assert "nothing odd was found in it" in str(tell(ordinary, tmp_path / "model", "ann").exception)
    assert tell(FAILED, tmp_path / "model", "ann").exit_code == 0


def test_a_kept_detector_keeps_its_hours_unless_others_are_named(table: Path, tmp_path: Path) -> None:
    zoned = ("--time-zone", "America/Los_Angeles", "--json", "--since", "2019-04-01T00:00")
    said = [
        run(table, "--model", tmp_path / "detector", "--json", *words)
        for words in (zoned, zoned, ("--since", "2019-04-01T00:00"), ("--time-zone", "Asia/Tokyo"))
    ]
    first, again, unsaid, other = (json.loads(one.stdout) for one in said)
    assert first["findings"] == again["findings"] == unsaid["findings"]
    assert first["sessions"] == again["sessions"] == unsaid["sessions"]
    assert "The detector learned the hours of America/Los_Angeles, not of Asia/Tokyo." in said[3].stderr
    assert not any("learned the hours" in one.stderr for one in said[:3])
    assert other["sessions"]


def test_another_file_can_be_learnt_from(table: Path) -> None:
    report = json.loads(run(table, "--train", table, "--json").stdout)
    assert report["sessions"] == 400
    assert report["reported_from_at"] is None


@pytest.mark.parametrize("arguments", [("--since", "soon"), ("--budget", "0"), ("--budget", "nan")])
def test_a_wrong_wish_is_usage(table: Path, arguments: tuple[str, str]) -> None:
    assert run(table, *arguments).exit_code == 2


def test_a_page_and_pictures_are_written_where_the_name_asks_for_them(table: Path, tmp_path: Path) -> None:
    page, picture, plot = tmp_path / "odd.html", tmp_path / "odd.png", tmp_path / "why.png"
    assert run(table, "--out", page).exit_code == 3
    assert run(table, "--out", picture).exit_code == 3
    text = page.read_text()
    assert "charging never started" in text
    assert FAILED in text
    assert "<script" not in text
    assert "src=" not in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run("explain", FAILED, table, "--plot", plot).exit_code == 0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_explain_gives_exact_shapley_values_beside_the_sampled_ones(table: Path) -> None:
    told = json.loads(run("explain", FAILED, table, "--json").stdout)
    assert set(told["tree_shap"]) == {"forest", "faults"}
    assert {name for name, _ in told["tree_shap"]["forest"]} <= {name for name, _ in told["shapley"]}
    values = [value for _, value in told["tree_shap"]["faults"]]
    assert values == sorted(values, reverse=True)


def test_every_session_has_its_score_in_any_format_to_the_last_bit(table: Path, tmp_path: Path) -> None:
    paths = {suffix: tmp_path / f"scores{suffix}" for suffix in (".csv", ".jsonl", ".parquet")}
    for path in paths.values():
        result = run(table, "--model", tmp_path / "model", "--scores", path, "--json")
        assert result.exit_code == 3, result.output
    findings = json.loads(result.stdout)["findings"]
    scores = pl.read_parquet(paths[".parquet"])
    assert scores.columns == ["session_id", "station_id", "observed_at", "score", "p_value", "by"]
    assert scores.height == 120
    assert scores["observed_at"].is_sorted()
    for finding in findings:
        row = scores.row(by_predicate=pl.col("session_id") == finding["session_id"], named=True)
        if finding["by"].startswith("model:"):
            assert (row["score"], row["p_value"]) == (finding["score"], finding["p_value"])
    odd = scores.filter(pl.col("by").is_not_null())
    assert set(odd["session_id"]) == {f["session_id"] for f in findings if not f["by"].startswith("site:")}
    assert pl.read_csv(paths[".csv"], try_parse_dates=True).cast(scores.schema).equals(scores)
    lines = [json.loads(line) for line in paths[".jsonl"].read_text().splitlines()]
    assert [line["score"] for line in lines] == scores["score"].to_list()
    assert [datetime.fromisoformat(line["observed_at"]) for line in lines] == scores["observed_at"].to_list()


def test_scores_want_a_name_that_says_the_format(table: Path, tmp_path: Path) -> None:
    result = run(table, "--scores", tmp_path / "scores.txt")
    assert result.exit_code not in {0, 3}
    assert not (tmp_path / "scores.txt").exists()
