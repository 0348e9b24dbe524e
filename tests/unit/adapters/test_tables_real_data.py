"""Real files of eight producers, read whole; every row is accounted for."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from plugcast.adapters.tables import SessionsFile, TelemetryFile
from plugcast.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)
pytestmark = pytest.mark.data


def test_one_real_car(data_dir: Path) -> None:
    path = data_dir / "kia_vehicle_telemetry.parquet"
    raw = pl.read_parquet(path)
    assert (raw.height, raw.unique().height) == (385, 333)
    read = TelemetryFile(path, now=NOW, asset_id="kia").read()
    # 52 rows repeat whole; 8 more repeat the sample and differ only in a column that is not ours
    assert (read.counts.read, read.counts.accepted, read.counts.rejected, read.duplicates) == (385, 325, 0, 60)
    assert raw.unique(["datetime", "SOC%", "plugged"]).height == 325
    assert read.samples["timestamp"].min() == datetime(2022, 9, 17, 13, 0, 55, tzinfo=UTC)
    assert "12V%" in read.samples.columns


@pytest.mark.parametrize(
    ("name", "options", "counts", "reasons"),
    [
        ("acn_jpl_sessions.parquet", {}, (33_309, 25_655, 7_654), {}),
        ("acn_jpl_requests.parquet", {}, (14_519, 14_519, 0), {}),
        ("shippable/caltech_2019_03_sessions.csv", {}, (954, 954, 0), {}),
        ("trondheim_residential_sessions.parquet", {"time_zone": "Europe/Oslo"}, (5_043, 5_043, 0), {}),
        ("boulder_sessions.parquet", {}, (19_711, 19_711, 0), {}),
        ("sap_labs_transactions.parquet", {}, (22_312, 22_312, 0), {}),
        ("desl_ccs_sessions_soc.parquet", {"time_zone": "Europe/Zurich"}, (1_430, 1_430, 0), {}),
        (
            "acn_caltech_gap_rows_noid.parquet",
            {"station_id": "any", "columns": {"arrival_at": "Start"}, "time_zone": "America/Los_Angeles"},
            (3_729, None, None),
            None,  # without a station several cars share a minute
        ),
        (
            "dundee_sessions.parquet",
            {"date_order": "swapped", "time_zone": "Europe/London"},
            (33_525, 33_506, 0),
            {"out_of_range": 16, "missing_value": 2, "time_out_of_range": 1},
        ),
        (
            "perth_kinross_sessions.parquet",
            {"date_order": "swapped", "time_zone": "Europe/London"},
            (33_953, 33_913, 0),
            {"conflicting_duplicate": 38, "time_out_of_range": 1, "out_of_range": 1},
        ),
    ],
)
def test_sessions_of_many_producers(
    data_dir: Path,
    name: str,
    options: dict[str, Any],
    counts: tuple[int, int | None, int | None],
    reasons: dict[str, int] | None,
) -> None:
    read = SessionsFile(data_dir / name, now=NOW, **options).read()
    assert read.counts.read == counts[0]
    if reasons is not None:
        assert (read.counts.accepted, read.duplicates) == counts[1:]
        assert Counter(item.reason.value for item in read.rejected) == reasons
    assert read.sessions["session_id"].is_unique().all()
    assert (read.sessions["departure_at"] >= read.sessions["arrival_at"]).all()


@pytest.mark.parametrize("name", ["dundee_sessions", "perth_kinross_sessions"])
def test_exchanged_days_are_never_read_in_silence(data_dir: Path, name: str) -> None:
    with pytest.raises(InputError, match="--date-order swapped"):
        SessionsFile(data_dir / f"{name}.parquet", now=NOW).read()


def test_shared_points_and_own_points(data_dir: Path) -> None:
    sessions = SessionsFile(data_dir / "trondheim_residential_sessions.parquet", now=NOW).read().sessions
    own = sessions.filter(pl.col("station_id") == pl.col("user_id"))
    assert own.height == 3_918
    assert sessions["cluster_id"].null_count() == 0


def test_claimed_wishes_only(data_dir: Path) -> None:
    read = SessionsFile(data_dir / "acn_jpl_requests.parquet", now=NOW).read()
    assert read.user_inputs.height == 14_519 - 453
