"""Outcomes by time against a correlated query in SQLite."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.features.targets import US_IN_MINUTE, outcomes

NEAREST = """
SELECT origin, outcome FROM (
  SELECT o.row AS origin, t.row AS outcome, o.seg = t.seg AS together,
    ROW_NUMBER() OVER (PARTITION BY o.row ORDER BY ABS(t.ts - o.ts - :lead), t.ts) AS place
  FROM s AS o JOIN s AS t ON t.asset = o.asset AND t.ts > o.ts AND ABS(t.ts - o.ts - :lead) <= :tolerance)
WHERE place = 1 AND together
"""


@given(
    seed=st.integers(0, 2**32 - 1),
    lead_min=st.sampled_from([0.5, 15.0, 60.0, 300.0]),
    tolerance_min=st.sampled_from([0.0, 5.0, 7.5, 40.0]),
)
def test_outcomes_are_those_that_sql_finds(seed: int, lead_min: float, tolerance_min: float) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    asset = np.sort(rng.integers(0, 3, n))
    ts = np.empty(n, np.int64)
    segment = np.empty(n, np.int64)
    for code in np.unique(asset):
        mine = asset == code
        steps = rng.choice([1, 5, 10, 15, 300], mine.sum()) * US_IN_MINUTE
        ts[mine] = 10**15 + np.cumsum(steps)
        segment[mine] = np.cumsum(steps > 240 * US_IN_MINUTE)
    found = outcomes(asset, ts, segment, np.arange(n), lead_min, tolerance_min=tolerance_min)

    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE s (row, asset, ts, seg)")
        rows = zip(range(n), asset.tolist(), ts.tolist(), segment.tolist(), strict=True)
        connection.executemany("INSERT INTO s VALUES (?,?,?,?)", rows)
        wanted = {"lead": int(lead_min * US_IN_MINUTE), "tolerance": int(tolerance_min * US_IN_MINUTE)}
        expected = dict(connection.execute(NEAREST, wanted).fetchall())
    connection.close()
    ours = {origin: row for origin, (ok, row) in enumerate(zip(found.found, found.row.tolist(), strict=True)) if ok}
    assert ours == expected


def test_no_rows_no_outcomes() -> None:
    none = np.zeros(0, np.int64)
    assert outcomes(none, none, none, none, 15.0, tolerance_min=5.0).found.size == 0


@pytest.mark.parametrize(("lead", "expected"), [(15.0, 3), (20.0, 3), (9.0, 2), (8.5, 1)])
def test_nearest_of_irregular_samples(lead: float, expected: int) -> None:
    ts = np.array([0, 7, 10, 16, 400]) * US_IN_MINUTE
    segment = np.array([0, 0, 0, 0, 1])
    found = outcomes(np.zeros(5, np.int64), ts, segment, np.array([0]), lead, tolerance_min=5.0)
    assert found.found[0]
    assert found.row[0] == expected
