"""The report of a backtest: everything inside, figures that agree with the document, nothing asked of the network."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from plugcast.cli.backtest import closing, tables
from plugcast.config import Settings
from plugcast.errors import InputError, NoUsableRowsError
from plugcast.forecast.availability import AvailabilitySpec
from plugcast.forecast.boosting import Boosting
from plugcast.forecast.bootstrap import Interval
from plugcast.forecast.horizon import HorizonSpec
from plugcast.ports import TelemetryRead
from plugcast.services import backtesting, report, report_figures, showcase
from plugcast.services.backtesting import Plan, SplitKind
from plugcast.simulate.telemetry import GeneratorSpec, generate

if TYPE_CHECKING:
    from pathlib import Path

    from plugcast.services.backtesting import Tested
    from plugcast.services.report import Picture

PNG = b"\x89PNG\r\n\x1a\n"
SMALL = Boosting(rounds=4, leaves=4)
MODEL = HorizonSpec(
    max_rows=2_000, anchors_min=(15, 360), anchor_rows=800, plug=AvailabilitySpec(trees=SMALL), boosting=SMALL
)
QUICK = Plan(folds=2, leads_min=(15.0, 360.0), most_rows=400, model=MODEL)


@pytest.fixture(scope="module")
def tested() -> Tested:
    samples = generate(GeneratorSpec(vehicles=8, days=10, seed=3))
    subject = backtesting.of_telemetry(TelemetryRead(samples=samples), Settings(), source="<fleet> & co")
    return backtesting.run_backtest(subject, QUICK)


@pytest.fixture(scope="module")
def made(tested: Tested) -> list[Picture]:
    return report.picture_list(tested)


@pytest.fixture(scope="module")
def page(tested: Tested, made: list[Picture]) -> str:
    return report.html(tested, made)


def test_the_page_needs_nothing_else(page: str) -> None:
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    asked = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"')>\s]+)", page)
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    assert asked
    assert {each.removeprefix("#") for each in asked} <= ids
    assert "&lt;fleet&gt; &amp; co" in page
    assert "<fleet>" not in page


def test_no_two_pictures_share_an_id(page: str) -> None:
    owners: dict[str, set[int]] = {}
    for number, part in enumerate(page.split("<svg ")[1:]):
        for each in re.findall(r'\bid="([^"]+)"', part):
            owners.setdefault(each, set()).add(number)
    assert [each for each, places in owners.items() if len(places) > 1] == []


def test_every_figure_of_the_document_is_in_the_page(tested: Tested, made: list[Picture], page: str) -> None:
    for row in tested.document["leads"]:
        for each in row["plug"].values():
            assert f"{each['brier'].value:.4f}" in page
        for each in row["energy"].values():
            assert f"{each['mae_pct'].value:.2f}" in page
    assert page.count("<svg ") == 5
    assert all(f'aria-label="{escape(picture.title)}"' in page for picture in made)


def test_a_terminal_of_80_columns_shows_every_figure(tested: Tested) -> None:
    console = Console(width=80, record=True, file=StringIO())
    for table in tables(tested.document):
        console.print(table)
    console.print(closing(tested.document), soft_wrap=True)
    text = console.export_text()
    assert "…" not in text
    for row in tested.document["leads"]:
        assert f"{row['plug']['blend']['brier'].value:.4f}" in text
        assert f"{row['energy']['model']['crps_pct'].value:.2f}" in text
    assert "4 forecasts repeated without the future" in text


def test_pictures_are_written_as_png(tested: Tested, made: list[Picture], tmp_path: Path) -> None:
    written = report.write_png(made, tmp_path / "new", dpi=40)
    assert [path.stem for path in written] == ["skill_by_lead", "reliability", "energy", "fans", "folds"]
    assert all(path.read_bytes().startswith(PNG) for path in written)
    report.write_html(tested, made[:1], tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("<svg ") == 1


def test_the_document_is_json_and_its_figures_hang_together(tested: Tested) -> None:
    document = msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(tested.document)))
    assert document["data"]["assets"] == 8
    assert document["split"]["origins_audited"] == 4
    assert document["machine"]["cores"] >= 1
    for row in document["leads"]:
        ours, theirs = row["plug"]["model"]["brier"], row["plug"][row["skill"]["better_baseline"]]["brier"]
        assert row["skill"]["below_better_baseline"]["value"] == pytest.approx(1 - ours["value"] / theirs["value"])
        assert sum(fold["rows"] for fold in row["folds"]) == row["rows"] == sum(row["reliability"]["count"])
        assert row["energy"]["persistence"]["crps_pct"] == row["energy"]["persistence"]["mae_pct"]
        assert ours["low"] <= ours["value"] <= ours["high"]


def test_fans_show_what_came_and_break_at_silences(tested: Tested) -> None:
    assert 1 <= len(tested.fans) <= 3
    for fan in tested.fans:
        assert fan.lead_h[-1] == 48
        assert (np.diff(fan.actual_h) >= 0).all()
        assert fan.actual_h[-1] <= 48
        apart = np.diff(fan.actual_h) > 4
        assert np.isnan(fan.actual_plugged[:-1][apart]).all()


def _document(*skills: tuple[float, float]) -> dict[str, Any]:
    rows = []
    for lead, (low, value) in zip((15.0, 360.0, 2880.0), skills, strict=False):
        skill = {"below_better_baseline": Interval(value=value, low=low, high=1.0)}
        rows.append({"lead_min": lead, "skill": skill, "plug": {"model": {"ece": value / 10}}})
    return {"leads": rows}


def test_titles_say_what_was_found_and_no_more() -> None:
    title = report_figures.skill_title
    assert title(_document((0.1, 0.2), (0.1, 0.3))) == (
        "From 15 min to 6 h ahead, the model saves 20 to 30 % of the better baseline's squared error"
    )
    assert "at 1 of 2 leads" in title(_document((-0.1, 0.2), (0.1, 0.3)))
    assert "not surely better" in title(_document((-0.1, 0.2), (float("nan"), 0.3)))
    assert report_figures.reliability_title(_document((0, 0.1), (0, 0.2))).startswith("Stated chances come true")
    assert "off by up to 4.0 points" in report_figures.reliability_title(_document((0, 0.1), (0, 0.4)))


def test_sessions_become_stations_and_splits_say_what_they_lack() -> None:
    shown = showcase.shipped(datetime(2026, 1, 1, tzinfo=UTC))
    subject = backtesting.of_sessions(shown, Plan())
    assert (subject.kind, subject.samples["asset_id"].n_unique()) == ("station", 47)
    with pytest.raises(InputError, match="at least two groups"):
        backtesting.layout_folds(subject.samples, Plan(split=SplitKind.SITE), subject.group_of)
    with pytest.raises(InputError, match="wants its date"):
        backtesting.layout_folds(subject.samples, Plan(split=SplitKind.REGIME), {})
    with pytest.raises(InputError, match="Nothing comes before"):
        backtesting.layout_folds(subject.samples, Plan(split=SplitKind.REGIME, at=datetime(2019, 1, 1, tzinfo=UTC)), {})
    unseen = backtesting.layout_folds(subject.samples, Plan(split=SplitKind.UNSEEN), {})
    assert sorted(name for fold in unseen for name in fold.hidden) == sorted(subject.samples["asset_id"].unique())
    with pytest.raises(NoUsableRowsError, match="No sample lies between"):
        backtesting.run_backtest(subject, Plan(since=datetime(2030, 1, 1, tzinfo=UTC)))
