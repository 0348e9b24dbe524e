"""SQLite says what was known of a driver at each plug-in: counts by SQL, medians over rows that SQL selects."""

from __future__ import annotations

import math
import random
import sqlite3
import statistics
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from plugcast.features.stay_features import column, stay_features
from plugcast.features.stay_visits import StayBook
from plugcast.schemas import SESSIONS, USER_INPUTS, empty

START = datetime(2026, 3, 2, tzinfo=UTC)


def random_sessions(seed: int, count: int = 120) -> pl.DataFrame:
    rng = random.Random(seed)  # noqa: S311 - sessions, not secrets
    rows = []
    for number in range(count):
        arrival = START + timedelta(seconds=rng.randrange(9 * 86_400))
        end = arrival + timedelta(minutes=rng.choice([30, 300, 1500]) + rng.randrange(60))
        rows.append(
            {
                "session_id": f"s{number:03}",
                "site_id": "site",
                "station_id": "a",
                "user_id": rng.choice([None, "u", "v", "w"]),
                "arrival_at": arrival,
                "departure_at": end,
                "energy_delivered_kwh": rng.uniform(0.5, 40),
                "available_at": end + timedelta(minutes=rng.choice([0, 45])),
            }
        )
    return pl.DataFrame(rows, schema=dict(SESSIONS))


def database(sessions: pl.DataFrame) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE s (id, user, arrival, known, stay, kwh)")
    for row in sessions.iter_rows(named=True):
        stay_h = (row["departure_at"] - row["arrival_at"]) / timedelta(hours=1)
        at, known = (row[name].timestamp() for name in ("arrival_at", "available_at"))
        values = (row["session_id"], row["user_id"], at, known, stay_h, row["energy_delivered_kwh"])
        connection.execute("INSERT INTO s VALUES (?,?,?,?,?,?)", values)
    return connection


PAST = """
SELECT a.id,
  (SELECT count(*) FROM s b WHERE b.user = a.user AND b.known < a.arrival + :gone),
  (SELECT max(b.kwh) FROM s b WHERE b.user = a.user AND b.known < a.arrival + :gone),
  (SELECT b.kwh FROM s b WHERE b.user = a.user AND b.known < a.arrival + :gone ORDER BY b.known DESC LIMIT 1),
  (SELECT (a.arrival + :gone - max(b.known)) / 3600 FROM s b WHERE b.user = a.user AND b.known < a.arrival + :gone),
  (SELECT nullif(count(*), 0) FROM s b WHERE b.user = a.user AND b.known < a.arrival + :gone
     AND b.arrival > a.arrival + :gone - 7 * 86400)
FROM s a WHERE a.stay * 3600 > :gone ORDER BY a.arrival, a.id
"""
COUNTED = ("own_visits", "own_max_kwh", "last_energy_kwh", "hours_since_leaving", "visits_7d")
OWN = "FROM s a JOIN s b ON b.user = a.user AND b.known < a.arrival + :gone AND b.stay > :h"
POOL = OWN.replace("b.user = a.user", "(b.user IS NULL) = (a.user IS NULL)")
MIDDLES = (
    ("stay_all_q50", "SELECT b.stay " + OWN),
    ("energy_all_q50", "SELECT b.kwh " + OWN),
    ("pool_stay_all", "SELECT b.stay " + POOL),
)


@pytest.mark.parametrize("hours", [0.0, 3.0])
def test_own_and_pooled_history_is_what_sql_says(hours: float) -> None:
    sessions = random_sessions(int(hours))
    connection = database(sessions)
    book = StayBook.of(sessions, empty(USER_INPUTS), time_zone="UTC", grace=timedelta(0))
    row = np.flatnonzero(book.stay_h > hours)
    features = stay_features(book, row, hours)
    said = connection.execute(PAST, {"gone": hours * 3600}).fetchall()
    assert [book.session_id[index] for index in row] == [line[0] for line in said]
    known = [line for line in said if line[1]]
    assert len(known) > 30
    for place, name in enumerate(COUNTED, 1):
        for value, line in zip(column(features, name), said, strict=True):
            if name == "own_visits" and line[1] == 0:
                assert math.isnan(value) or value == 0
            elif line[1]:
                assert value == pytest.approx(line[place] or 0.0, rel=1e-5, abs=1e-3), name
    for name, query in MIDDLES:
        for index, value in zip(row.tolist(), column(features, name), strict=True):
            asked = {"id": book.session_id[index], "gone": hours * 3600, "h": hours}
            values = [found for (found,) in connection.execute(query + " WHERE a.id = :id", asked)]
            # the smallest value that half of the weight reaches: the lower of two middle ones
            wanted = statistics.median_low(values) if values else math.nan
            assert value == pytest.approx(wanted, rel=1e-5, nan_ok=True), name
