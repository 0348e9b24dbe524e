"""plugcast backtest as it is typed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from plugcast.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--split", "random"], "--split wants one of time, unseen, site, regime"),
        (["--split", "regime"], "belong together"),
        (["--at", "2019-03-20"], "belong together"),
        (["--leads", "15,soon"], "--leads wants minutes"),
        (["--leads", "0"], "above 0 and up to 2880"),
        (["--split", "regime", "--at", "yesterday"], "--at wants a date"),
        (["--telemetry", "a.csv", "--sessions", "b.csv"], "not both"),
    ],
)
def test_a_wrong_line_is_a_usage_error(words: list[str], told: str) -> None:
    done = CliRunner().invoke(app, ["backtest", *words], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert told in done.output


@pytest.mark.slow
def test_without_a_file_the_shipped_month_is_tested(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    words = ["--leads", "60,1440", "--folds", "2", "--threads", "1", "--out", str(page), "--json"]
    done = CliRunner().invoke(app, ["backtest", "--split", "regime", "--at", "2019-03-22", *words])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["written"] == [str(page)]
    assert document["data"]["assets"] == 47
    assert document["split"]["folds"][0]["tested_from"] == "2019-03-22T07:00:00Z"
    hour, day = document["leads"]
    assert "model, never refitted" in hour["plug"]
    assert hour["skill"]["below_better_baseline"]["low"] > 0
    assert day["plug"]["model"]["brier"]["value"] < day["plug"]["persistence"]["brier"]["value"]
    assert "Backtest: Caltech garage, March 2019" in page.read_text(encoding="utf-8")
