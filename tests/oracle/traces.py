"""Random telemetry with everything that goes wrong with it, and the same features by SQL windows."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from plugcast import schemas

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def random_samples(traces: int, seed: int, *, per_trace: int = 40) -> pl.DataFrame:
    """Traces with gaps of hours and days, equal and late timestamps, duplicates, unknown states of charge."""
    rng = np.random.default_rng(seed)
    assets, times, soc, plugged, power, known = [], [], [], [], [], []
    for trace in range(traces):
        n = int(rng.integers(0, per_trace + 1))
        step_s = rng.choice([0.0, 60.0, 300.0, 599.123456, 3_600.0, 14_400.0, 14_400.5, 100_000.0], n)
        start = EPOCH + timedelta(seconds=float(rng.integers(1_300_000_000, 1_900_000_000)))
        at = [start + timedelta(seconds=float(s)) for s in np.cumsum(step_s)]
        state = np.cumsum(rng.random(n) < 0.3) % 2 == 1
        charge = np.round(rng.uniform(0, 100, n), rng.integers(0, 6))
        charge[rng.random(n) < 0.1] = np.nan
        for i in range(n):
            seen = at[i] + timedelta(seconds=float(rng.choice([0, 0, 0, 30, 4_000, 90_000])))
            for _ in range(1 + (rng.random() < 0.1)):  # now and then a row is sent twice
                assets.append(f"car-{trace:04d}")
                times.append(at[i])
                soc.append(float(charge[i]))
                plugged.append(bool(state[i]))
                power.append(float(rng.uniform(0, 11)) if rng.random() < 0.5 else None)
                known.append(seen)
    frame = pl.DataFrame(
        {
            "asset_id": assets,
            "timestamp": times,
            "soc": soc,
            "is_plugged_in": plugged,
            "power_kw": power,
            "capacity_kwh": [None] * len(assets),
            "available_at": known,
        },
        schema=dict(schemas.TELEMETRY),
    )
    return frame.sample(fraction=1.0, shuffle=True, seed=seed)


def in_order_of_arrival(samples: pl.DataFrame) -> pl.DataFrame:
    """As a live system would receive them."""
    return samples.sort("asset_id", "available_at", "timestamp", maintain_order=True)


SQL = """
WITH arrived AS (
  SELECT *, MAX(ts) OVER (PARTITION BY asset ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newest
  FROM samples
), taken AS (
  SELECT * FROM arrived WHERE newest IS NULL OR ts > newest
), gapped AS (
  SELECT *, ts - LAG(ts) OVER a AS silence FROM taken WINDOW a AS (PARTITION BY asset ORDER BY ts)
), cut AS (
  SELECT *, SUM(CASE WHEN silence > :gap_us THEN 1 ELSE 0 END) OVER (PARTITION BY asset ORDER BY ts) AS seg FROM gapped
), lagged AS (
  SELECT *,
    LAG(soc, 1) OVER s AS lag1, LAG(soc, 2) OVER s AS lag2, LAG(soc, 3) OVER s AS lag3,
    CASE WHEN LAG(plugged) OVER s IS NOT plugged THEN 1 ELSE 0 END AS turned
  FROM cut WINDOW s AS (PARTITION BY asset, seg ORDER BY ts)
), runs AS (
  SELECT *, SUM(turned) OVER (PARTITION BY asset, seg ORDER BY ts) AS run FROM lagged
)
SELECT asset, ts, seg, how, soc, soc - lag1, lag1, lag2, lag3, silence / 60000000.0, plugged,
  (ts - MIN(ts) OVER (PARTITION BY asset, seg, run)) / 60000000.0, within_day / 3600000000.0, how / 24, power, capacity,
  COUNT(*) OVER h, SUM(plugged) OVER h, COUNT(soc) OVER h, SUM(milli) OVER h
FROM runs
WINDOW h AS (PARTITION BY asset, how ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
ORDER BY asset, ts
"""


def features_by_sql(samples: pl.DataFrame, time_zone: str, gap_limit_min: float) -> list[tuple[object, ...]]:
    """Key columns, the twelve features and the four counts at the origin's own hour of the week, by SQLite windows.

    Only the wall clock comes from Python's zoneinfo: SQLite knows no zones.
    """
    zone = ZoneInfo(time_zone)
    rows = []
    for seq, (asset, at, soc, plugged, power, capacity, _) in enumerate(in_order_of_arrival(samples).iter_rows()):
        local = at.astimezone(zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        within_day = (local.replace(tzinfo=None) - midnight) // timedelta(microseconds=1)
        charge = None if soc is None or soc != soc else soc  # noqa: PLR0124 - NaN alone differs from itself
        milli = None if charge is None else round(charge * 1000)
        how = local.weekday() * 24 + local.hour
        ts = (at - EPOCH) // timedelta(microseconds=1)
        rows.append((seq, asset, ts, charge, int(plugged), power, capacity, within_day, how, milli))
    with sqlite3.connect(":memory:") as connection:
        connection.execute(
            "CREATE TABLE samples (seq, asset, ts, soc, plugged, power, capacity, within_day, how, milli)"
        )
        connection.executemany("INSERT INTO samples VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
        result = connection.execute(SQL, {"gap_us": int(gap_limit_min * 60_000_000)}).fetchall()
    connection.close()
    return result
