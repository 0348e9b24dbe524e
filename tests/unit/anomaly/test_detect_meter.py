"""``plugcast detect --meter`` as a user types it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from tests.unit.anomaly.test_detect_verb import run, table

from plugcast.domain.session import Session
from plugcast.schemas import METER_VALUES
from plugcast.services.sources import open_sessions
from plugcast.simulate.inject_series import break_series
from plugcast.simulate.meter_series import Wiring, meter_series
from plugcast.simulate.series_breaks import SeriesFault

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["table"]
NOW = datetime(2026, 11, 27, tzinfo=UTC)
FAULTY = {
    "v300": (SeriesFault.FLOW_AFTER_UNPLUG, "stuck_on"),
    "v320": (SeriesFault.REGISTER_RESET, "meter_fault"),
    "v340": (SeriesFault.CHATTER, "chatter"),
}


@pytest.fixture(scope="module")
def meter(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Meter values of the later sessions, three of them faulty."""
    frame = open_sessions(table, now=NOW).read().sessions.drop("available_at")
    rng = np.random.default_rng(4)
    rows: list[tuple[Any, ...]] = []
    for row in frame.filter(pl.col("session_id").str.slice(1).cast(pl.Int64) >= 290).iter_rows(named=True):
        session = Session(**row)
        series = meter_series(session, wiring=Wiring(voltage_v=240.0), rng=rng)
        if series is None:
            continue
        if session.session_id in FAULTY:
            faulty = break_series(FAULTY[session.session_id][0], session, series, rng)
            assert faulty is not None
            series = faulty.series
        rows += [tuple(getattr(value, name) for name in METER_VALUES) for value in series.values(session)]
    path = tmp_path_factory.mktemp("meter") / "meter.parquet"
    pl.DataFrame(rows, schema=dict(METER_VALUES), orient="row").write_parquet(path)
    return path


def test_faults_that_only_meter_values_show_are_found_and_explained(
    table: Path,
    meter: Path,
    tmp_path: Path,
) -> None:
    model = tmp_path / "model"
    result = run(table, "--model", model, "--meter", meter, "--json", "--out", tmp_path / "odd.html")
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert report["meter"]["unmatched"] == 0
    assert report["meter"]["sessions"] > 80
    by_meter = [f for f in report["findings"] if f["reasons"][0]["feature"] == "meter_values"]
    assert {(f["session_id"], f["cause"]) for f in by_meter} >= {(name, cause) for name, (_, cause) in FAULTY.items()}
    assert {f["session_id"] for f in by_meter} == set(FAULTY)
    assert all(f["episode_id"] == f["finding_id"] for f in by_meter)
    page = (tmp_path / "odd.html").read_text()
    assert "Current against pilot" in page
    assert page.count("<figcaption class=note>Session v3") == len(FAULTY)

    explained = run(
        "explain", "v320", table, "--model", model, "--meter", meter, "--json", "--plot", tmp_path / "w.png"
    )
    assert explained.exit_code == 0
    told = json.loads(explained.stdout)
    assert told["series"]["fall"]["value"] > told["series"]["fall"]["beside"]
    assert "the meter's register fell from" in told["reasons"][0]["text"]
    assert (tmp_path / "w.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_is_no_meter_file_says_so(table: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("measured_at,mood\n2019-03-01T12:00Z,good\n")
    result = run(table, "--meter", other)
    assert result.exit_code == 1
    assert "power_kw" in str(result.exception)
