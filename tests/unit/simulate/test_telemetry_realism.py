from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from plugcast.cli.app import app
from plugcast.errors import UnreadableInputError
from plugcast.simulate import realism, telemetry
from plugcast.simulate.telemetry import GeneratorSpec, generate

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SAMPLES = st.lists(st.floats(-50, 50), min_size=1, max_size=30).map(np.array)

# Wasserstein and KS as `plugcast generate --vehicles 600 --check DATA_DIR` reaches them, plus a little room.
BOUNDS = {
    ("home", "plug_in_h"): (0.55, 0.07),
    ("home", "plug_out_h"): (0.42, 0.06),
    ("home", "stay_h"): (1.7, 0.08),
    ("home", "energy_kwh"): (1.7, 0.09),
    ("home", "per_day"): (0.16, 0.24),
    ("work", "plug_in_h"): (0.7, 0.09),
    ("work", "plug_out_h"): (0.6, 0.09),
    ("work", "stay_h"): (0.9, 0.13),
    ("work", "energy_kwh"): (2.0, 0.16),
    ("dc", "stay_h"): (0.17, 0.1),
    ("dc", "energy_kwh"): (2.8, 0.08),
    ("dc", "soc_arrival_pct"): (4.2, 0.08),
    ("dc", "soc_departure_pct"): (2.8, 0.09),
}


@pytest.mark.data
def test_generated_sessions_are_near_the_real_ones(data_dir: Path) -> None:
    spec = GeneratorSpec(vehicles=600)
    table = realism.compare_with_real(
        generate(spec), telemetry.vehicles(spec), time_zone=spec.time_zone, data_dir=data_dir
    )
    assert {(row["group"], row["measure"]) for row in table.iter_rows(named=True)} == set(BOUNDS)
    for row in table.iter_rows(named=True):
        wasserstein, ks = BOUNDS[row["group"], row["measure"]]
        assert row["wasserstein"] <= wasserstein, row
        assert row["ks"] <= ks, row


@pytest.mark.data
def test_a_control_that_ignores_habits_is_far_from_the_real_ones(data_dir: Path) -> None:
    spec = GeneratorSpec(vehicles=100)
    frame = generate(spec).with_columns(pl.col("timestamp") + pl.duration(hours=9))
    table = realism.compare_with_real(frame, telemetry.vehicles(spec), time_zone="UTC", data_dir=data_dir)
    clock = table.filter(pl.col("measure").is_in(["plug_in_h", "plug_out_h"]))
    assert all(ks > 0.2 for ks in clock["ks"])


@pytest.mark.data
def test_check_prints_both_sides(data_dir: Path, tmp_path: Path) -> None:
    words = ["generate", "--vehicles", "40", "--days", "7", "--out", str(tmp_path / "x.csv"), "--check", str(data_dir)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    for group, measures in realism.MEASURES.items():
        for measure in measures:
            assert f"{group} {measure}" in result.stdout


def test_a_folder_without_the_sets_is_named(tmp_path: Path) -> None:
    spec = GeneratorSpec(vehicles=2, days=2)
    with pytest.raises(UnreadableInputError, match="--check"):
        realism.compare_with_real(generate(spec), telemetry.vehicles(spec), time_zone="UTC", data_dir=tmp_path)


def _trace(plugged: str, *, gap_before: int | None = None) -> pl.DataFrame:
    """One sample each five minutes; '1' is plugged in; a silence of five hours before one of them."""
    at = datetime(2026, 1, 5, 12, tzinfo=UTC)
    rows = []
    for number, mark in enumerate(plugged):
        at += timedelta(hours=5) if number == gap_before else timedelta(minutes=5)
        rows.append(("ev", at, 50.0 + number, mark == "1", 7.0 if mark == "1" else 0.0, 60.0, number == gap_before))
    names = ["asset_id", "timestamp", "soc", "is_plugged_in", "power_kw", "capacity_kwh", "gap_flag"]
    return pl.DataFrame(rows, schema=names, orient="row")


def test_a_session_is_between_the_samples_around_it() -> None:
    session = realism.sessions_of(_trace("0111100"), time_zone="UTC").to_dicts()
    assert len(session) == 1
    assert session[0]["stay_h"] == pytest.approx(20 / 60)
    assert session[0]["soc_arrival_pct"] == 50.0
    assert session[0]["soc_departure_pct"] == 55.0
    assert session[0]["energy_kwh"] == pytest.approx(0.05 * 60 / 0.9)
    assert session[0]["plug_in_h"] == pytest.approx(12 + 7 / 60)


@pytest.mark.parametrize(
    ("plugged", "gap_before", "sessions"),
    [
        ("0110", None, 1),
        ("110", None, 0),  # began before the trace
        ("011", None, 0),  # has not ended
        ("0110", 1, 0),  # plugged in during a silence
        ("0110", 3, 0),  # plugged out during a silence
        ("0110", 2, 1),  # a silence within does not matter
        ("01101110", None, 2),
    ],
)
def test_a_session_with_an_unknown_end_is_left_out(plugged: str, gap_before: int | None, sessions: int) -> None:
    assert realism.sessions_of(_trace(plugged, gap_before=gap_before), time_zone="UTC").height == sessions


@settings(max_examples=30)
@given(a=SAMPLES, b=SAMPLES, shift=st.floats(-9, 9))
def test_distances_are_distances(a: NDArray[Any], b: NDArray[Any], shift: float) -> None:
    from scipy import stats  # noqa: PLC0415 - the independent oracle

    assert realism.wasserstein(a, b) == pytest.approx(stats.wasserstein_distance(a, b), abs=1e-9)
    brute = max(abs(float(np.mean(a <= at)) - float(np.mean(b <= at))) for at in np.concatenate([a, b]))
    assert realism.kolmogorov_smirnov(a, b) == pytest.approx(brute, abs=1e-9)
    assert realism.wasserstein(a, a + shift) == pytest.approx(abs(shift), abs=1e-9)
    assert realism.kolmogorov_smirnov(a, a) == 0.0
