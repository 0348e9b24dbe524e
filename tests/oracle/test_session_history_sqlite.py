"""SQLite says what was known before each session: counts, shares and means by SQL, medians over rows SQL selects."""

from __future__ import annotations

import math
import random
import sqlite3
import statistics
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from plugcast.features.sessions import SessionHistory, session_features
from plugcast.schemas import SESSIONS, USER_INPUTS, empty

ZONE = ZoneInfo("America/Los_Angeles")
START = datetime(2019, 3, 8, tzinfo=UTC)  # clocks change on 10 March


def random_sessions(seed: int, count: int = 150) -> pl.DataFrame:
    rng = random.Random(seed)  # noqa: S311 - sessions, not secrets
    rows = []
    for number in range(count):
        arrival = START + timedelta(minutes=rng.randrange(6 * 1440))
        stay = timedelta(minutes=rng.choice([3, 60, 480, 2000]) + rng.randrange(5))
        rows.append(
            {
                "session_id": f"s{number:03}",
                "site_id": "site",
                "station_id": rng.choice("abcd"),
                "user_id": rng.choice([None, "u", "v", "w"]),
                "time_zone": ZONE.key,
                "arrival_at": arrival,
                "departure_at": arrival + stay,
                "done_charging_at": rng.choice([None, arrival + stay * 0.5]),
                # below direct current, so that the site has one pool
                "energy_delivered_kwh": rng.choice([None, rng.uniform(0.1, 8) * stay / timedelta(hours=1)]),
                "available_at": arrival + stay,
            }
        )
    return pl.DataFrame(rows, schema={n: t for n, t in SESSIONS.items() if n in rows[0]}).with_columns(
        pl.lit(None, t).alias(n) for n, t in SESSIONS.items() if n not in rows[0]
    )


def database(sessions: pl.DataFrame) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE s (id, station, user, arrival, known, cut, done, kwh)")
    for row in sessions.iter_rows(named=True):
        local = row["available_at"].astimezone(ZONE)
        cut = datetime(local.year, local.month, local.day, tzinfo=ZONE)
        done = row["done_charging_at"]
        values = (
            row["session_id"],
            row["station_id"],
            row["user_id"],
            row["arrival_at"].timestamp(),
            row["available_at"].timestamp(),
            cut.timestamp(),
            done and done.timestamp(),
            row["energy_delivered_kwh"],
        )
        connection.execute("INSERT INTO s VALUES (?,?,?,?,?,?,?,?)", values)
    return connection


PAST = """
SELECT a.id,
  (SELECT count(*) FROM s b WHERE b.known < a.cut),
  (SELECT count(*) FROM s b WHERE b.known < a.cut AND b.station = a.station),
  (SELECT count(*) FROM s b WHERE b.known < a.cut AND b.user = a.user),
  (SELECT avg(b.done IS NOT NULL) FROM s b WHERE b.known < a.cut AND b.station = a.station),
  (SELECT avg(b.done IS NOT NULL) FROM s b WHERE b.known < a.cut AND b.user = a.user),
  (SELECT count(*) FROM s b WHERE b.station = a.station AND b.known < a.known AND b.known >= a.known - 3600
     AND b.known - b.arrival < 600)
FROM s a ORDER BY a.id
"""
COUNTED = (
    "site_visits",
    "station_visits",
    "user_visits",
    "station_done_share",
    "user_done_share",
    "station_recent_short",
)


@pytest.mark.parametrize("seed", range(3))
def test_history_is_what_sql_says(seed: int) -> None:
    sessions = random_sessions(seed)
    connection = database(sessions)
    features = session_features(sessions, empty(USER_INPUTS), history=SessionHistory())
    wanted = connection.execute(PAST).fetchall()
    assert sum(row[3] for row in wanted) > 500  # the oracle has something to say
    for row, said in zip(features.iter_rows(named=True), wanted, strict=True):
        assert row["session_id"] == said[0]
        for name, value in zip(COUNTED, said[1:], strict=True):
            assert row[name] == pytest.approx(math.nan if value is None else value, nan_ok=True), name


@pytest.mark.parametrize("seed", range(3))
def test_medians_are_those_of_the_rows_sql_selects(seed: int) -> None:
    sessions = random_sessions(seed)
    connection = database(sessions)
    features = session_features(sessions, empty(USER_INPUTS), history=SessionHistory())
    energy = "SELECT b.kwh FROM s a JOIN s b ON b.known < a.cut AND b.kwh IS NOT NULL AND {} WHERE a.id = ?"
    power = (
        "SELECT b.kwh * 3600 / (coalesce(b.done, b.known) - b.arrival) FROM s a JOIN s b "
        "ON b.known < a.cut AND b.kwh IS NOT NULL AND b.station = a.station WHERE a.id = ?"
    )
    for row in features.iter_rows(named=True):
        assert row["current_type"] == "ac"
        for name, query in (
            ("site_energy_kwh_median", energy.format("true")),
            ("user_energy_kwh_median", energy.format("b.user = a.user")),
            ("station_mean_kw_median", power),
        ):
            values = [value for (value,) in connection.execute(query, (row["session_id"],))]
            median = statistics.median(values) if values else math.nan
            assert row[name] == pytest.approx(median, nan_ok=True), (name, row["session_id"])
