"""One computation in three places: Polars in batch, Python sample by sample, SQL windows in SQLite."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.domain.telemetry import Sample
from plugcast.features import batch, gaps
from plugcast.features.history import HourlyHistory, same_day_type
from plugcast.features.online import AssetState, OnlineFeatures
from plugcast.features.spec import FeatureSpec

_spec = importlib.util.spec_from_file_location("traces", Path(__file__).parent / "traces.py")
assert _spec is not None
assert _spec.loader is not None
traces = importlib.util.module_from_spec(_spec)
sys.modules["traces"] = traces
_spec.loader.exec_module(traces)


def _online(samples: pl.DataFrame, spec: FeatureSpec, *, restart_every: int = 7) -> tuple[np.ndarray, np.ndarray, int]:
    """Fold every asset online, storing and restoring the state now and then as a service would."""
    rows, counts, late = [], [], 0
    for (_,), trace in traces.in_order_of_arrival(samples).group_by("asset_id", maintain_order=True):
        fold = OnlineFeatures(spec)
        for number, (asset, at, soc, plugged, power, capacity, _known) in enumerate(trace.iter_rows()):
            if number % restart_every == restart_every - 1:
                fold = OnlineFeatures(spec, msgspec.json.decode(msgspec.json.encode(fold.state), type=AssetState))
            nan = float("nan")
            sample = Sample(
                asset_id=asset,
                timestamp=at,
                soc=nan if soc is None else soc,
                is_plugged_in=plugged,
                power_kw=nan if power is None else power,
                capacity_kwh=nan if capacity is None else capacity,
            )
            row = fold.push(sample)
            if row is None:
                late += 1
                continue
            rows.append(row)
            how = int(row[9]) * 24 + int(row[8])
            counts.append([*fold.past([how]), *fold.past([h for h in same_day_type(np.array([how]))[0] if h < 168])])
    width = len(spec.columns)
    return np.array(rows, np.float32).reshape(-1, width), np.array(counts, np.int64).reshape(-1, 8), late


def _batch(samples: pl.DataFrame, spec: FeatureSpec) -> tuple[pl.DataFrame, np.ndarray, int]:
    accepted, late = gaps.accept_in_order(samples)
    frame = batch.features(accepted, spec)
    asset = frame["asset_id"].rle_id().to_numpy().astype(np.int64)
    how = frame["hour_of_week"].to_numpy()
    soc = accepted["soc"].fill_null(float("nan")).to_numpy()
    history = HourlyHistory(asset, how, accepted["is_plugged_in"].to_numpy(), soc)
    row = np.arange(frame.height)
    one, alike = history.before(asset, row, how), history.before(asset, row, same_day_type(how))
    counts = np.column_stack([getattr(p, k) for p in (one, alike) for k in p.__slots__])
    return frame, counts, late.height


@pytest.mark.parametrize("time_zone", ["UTC", "America/Los_Angeles", "Europe/Oslo", "Australia/Lord_Howe"])
def test_a_thousand_random_traces_give_the_same_bits_three_ways(time_zone: str) -> None:
    spec = FeatureSpec(time_zone=time_zone)
    samples = traces.random_samples(250, seed=len(time_zone), per_trace=30)  # four zones x 250 traces
    frame, batch_counts, batch_late = _batch(samples, spec)
    online, online_counts, online_late = _online(samples, spec)
    sql = traces.features_by_sql(samples, time_zone, spec.gap_limit_min)

    ours = frame.select(spec.columns).to_numpy()
    np.testing.assert_array_equal(ours, online)
    np.testing.assert_array_equal(batch_counts, online_counts)
    assert batch_late == online_late > 100
    assert frame.height + batch_late == samples.height

    theirs = np.array([[np.nan if v is None else v for v in row[4:16]] for row in sql], np.float64).astype(np.float32)
    np.testing.assert_array_equal(ours, theirs)
    sql_counts = np.array([[v or 0 for v in row[16:]] for row in sql], np.int64)
    np.testing.assert_array_equal(batch_counts[:, :4], sql_counts)
    assert frame["segment"].to_list() == [row[2] for row in sql]
    assert frame["hour_of_week"].to_list() == [row[3] for row in sql]


@given(seed=st.integers(0, 2**32 - 1), gap_limit_min=st.sampled_from([1.0, 239.9, 240.0, 5_000.0]))
def test_batch_equals_online_whatever_the_gap_limit(seed: int, gap_limit_min: float) -> None:
    spec = FeatureSpec(time_zone="America/St_Johns", gap_limit_min=gap_limit_min)
    samples = traces.random_samples(4, seed=seed, per_trace=25)
    frame, batch_counts, _ = _batch(samples, spec)
    online, online_counts, _ = _online(samples, spec)
    np.testing.assert_array_equal(frame.select(spec.columns).to_numpy(), online)
    np.testing.assert_array_equal(batch_counts, online_counts)


def test_the_future_moves_no_feature() -> None:
    spec = FeatureSpec()
    samples, _ = gaps.accept_in_order(traces.random_samples(30, seed=5))
    whole = batch.features(samples, spec)
    cut = samples["timestamp"].median()
    past = batch.features(samples.filter(pl.col("timestamp") <= cut), spec)
    assert past.equals(whole.filter(pl.col("timestamp") <= cut), null_equal=True)
    assert 0 < past.height < whole.height
