from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from tests.unit.forecast.session_town import MONDAY, town

from plugcast.forecast.sessions_fit import EnsembleSpec
from plugcast.services import expectations
from plugcast.services.expectations import expect_all

CUT = MONDAY + timedelta(days=35)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expectations, "SMALL", EnsembleSpec(rounds=25, seeds=1, thresholds=4, learning_rate=0.2))


def asked(sessions: pl.DataFrame) -> list[str]:
    return sessions.filter(pl.col("arrival_at") >= CUT)["session_id"].sort().to_list()


def test_the_model_serves_where_it_beats_the_kernels_on_the_past() -> None:
    """Drivers who declare one and a half times what comes: kernels do not listen, the model does."""
    sessions, inputs = town(days=40)
    stay_min = (pl.col("departure_at") - pl.col("arrival_at")).dt.total_seconds() / 60
    came = sessions.select("session_id", "energy_delivered_kwh", stay_min.alias("stay_min"))
    inputs = inputs.join(came, on="session_id").with_columns(
        (pl.col("stay_min") * 1.5).alias("minutes_available"),
        (pl.col("energy_delivered_kwh") * 1.5).alias("energy_requested_kwh"),
    )
    names = asked(sessions)
    found = expect_all(sessions, names, cut_at=CUT, time_zone="UTC", user_inputs=inputs)
    assert found.method == "learned"
    assert list(found.forecasts) == names
    for one in found.forecasts.values():
        assert (np.diff(one.stay_h) >= 0).all()
        assert one.comparable > 200


def test_little_past_is_left_to_the_kernels() -> None:
    sessions, inputs = town(days=40)
    few = sessions.filter(pl.col("arrival_at") >= CUT - timedelta(days=12))
    assert few.height < expectations.FEWEST_PAST
    assert expect_all(few, asked(few), cut_at=CUT, time_zone="UTC", user_inputs=inputs).method == "kernel"


def test_neither_choice_nor_forecasts_see_the_future() -> None:
    sessions, inputs = town(days=40)
    names = asked(sessions)[:4]
    last = sessions.filter(pl.col("session_id").is_in(names))["arrival_at"].max()
    other = sessions.with_columns(
        pl.when(pl.col("available_at") > last)
        .then(90.0)
        .otherwise("energy_delivered_kwh")
        .alias("energy_delivered_kwh")
    )
    assert not other.equals(sessions)
    one, two = (expect_all(each, names, cut_at=CUT, time_zone="UTC", user_inputs=inputs) for each in (sessions, other))
    assert one.method == two.method
    for name in names:
        np.testing.assert_array_equal(one.forecasts[name].energy_kwh, two.forecasts[name].energy_kwh)


def test_who_says_nothing_in_time_is_nobody_until_the_record_is_complete() -> None:
    """Two drivers of opposite habits; the finished records name them, but at plug-in neither has spoken yet."""
    sessions, inputs = town(days=40)
    late = inputs.with_columns(pl.col("available_at") + timedelta(minutes=30))
    names = asked(sessions)
    swapped = sessions.with_columns(
        pl.when(pl.col("session_id").is_in(names))
        .then(pl.col("user_id").replace({"u1": "u3", "u3": "u1"}))
        .otherwise("user_id")
        .alias("user_id")
    )
    first = names[:3]  # before any of their records is complete
    one, two = (expect_all(each, first, cut_at=CUT, time_zone="UTC", user_inputs=late) for each in (sessions, swapped))
    assert one.method == two.method
    for name in first:
        np.testing.assert_array_equal(one.forecasts[name].stay_h, two.forecasts[name].stay_h)
