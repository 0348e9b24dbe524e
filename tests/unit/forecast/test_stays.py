from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from plugcast import schemas
from plugcast.features.online import micros
from plugcast.features.spec import FeatureSpec
from plugcast.forecast import stays

if TYPE_CHECKING:
    from collections.abc import Sequence

MONDAY = datetime(2026, 3, 2, 8, tzinfo=UTC)
SPEC = FeatureSpec()


def _sessions(rows: Sequence[tuple[datetime, float, float, str | None]]) -> pl.DataFrame:
    made = [
        {
            "session_id": f"s{number}",
            "station_id": "a",
            "arrival_at": at,
            "departure_at": at + timedelta(hours=hours),
            "available_at": at + timedelta(hours=hours),
            "energy_delivered_kwh": energy,
            "user_id": user,
        }
        for number, (at, hours, energy, user) in enumerate(rows)
    ]
    return pl.DataFrame(made, schema=dict(schemas.SESSIONS))


def test_the_drivers_own_habit_outweighs_the_crowd() -> None:
    crowd = [(MONDAY + timedelta(days=d), 2.0, 5.0, f"u{d}") for d in range(12)]
    own = [(MONDAY + timedelta(days=d, minutes=20), 9.0, 30.0, "me") for d in range(3)]
    users: dict[str, int] = {}
    past = stays.Visits.of(_sessions(crowd + own), "UTC", users)
    now = micros(MONDAY + timedelta(days=14))
    mine, stranger = (stays.expect(past, now, user, SPEC) for user in (users["me"], -1))
    middle = stays.LEVELS.index(0.5)
    assert (mine.stay_h[middle], mine.energy_kwh[middle]) == (9.0, 30.0)
    assert (stranger.stay_h[middle], stranger.energy_kwh[middle]) == (2.0, 5.0)


def test_the_first_car_ever_gets_no_forecast() -> None:
    past = stays.Visits.of(_sessions([(MONDAY, 3.0, 8.0, None)]), "UTC", {})
    first = stays.expect(past, micros(MONDAY), -1, SPEC)
    assert first.comparable == 0
    assert np.isnan(first.stay_h).all()


@given(st.integers(0, 2**32 - 1))
def test_visits_that_end_later_move_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [
        (MONDAY + timedelta(hours=float(h)), float(rng.uniform(0.2, 30)), float(rng.uniform(1, 40)), None)
        for h in rng.uniform(0, 300, 30)
    ]
    now = MONDAY + timedelta(hours=200)
    known = [row for row in rows if row[0] + timedelta(hours=row[1]) < now]
    one, other = (
        stays.expect(stays.Visits.of(_sessions(part), "UTC", {}), micros(now), -1, SPEC) for part in (rows, known)
    )
    assert one.comparable == other.comparable == len(known)
    np.testing.assert_array_equal(one.stay_h, other.stay_h)
    np.testing.assert_array_equal(one.energy_kwh, other.energy_kwh)
    assert (np.diff(one.stay_h) >= 0).all()


@given(st.lists(st.tuples(st.floats(-50, 50), st.integers(1, 5)), min_size=1, max_size=30))
def test_weighted_quantiles_are_those_of_the_repeated_sample(pairs: list[tuple[float, int]]) -> None:
    value = np.array([v for v, _ in pairs])
    weight = np.array([w for _, w in pairs], float)
    repeated = np.repeat(value, weight.astype(int))
    expected = np.quantile(repeated, stays.LEVELS, method="inverted_cdf")
    np.testing.assert_allclose(stays.weighted_quantiles(value, weight), expected)
