"""What every detector obeys, whatever it finds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.anomaly.detector import MODEL_FEATURES, Detector
from plugcast.anomaly.forests import fit_forest
from plugcast.features.sessions import SESSION_FEATURES
from plugcast.schemas import SESSIONS, USER_INPUTS, empty

NO_INPUTS = empty(USER_INPUTS)


def made_sessions(seed: int, *, days: int = 60, first_day: int = 0) -> pl.DataFrame:
    """A small workplace: eight drivers with habits of their own, four stations of 6.6 kW."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for day in range(first_day, first_day + days):
        for user in range(8):
            arrival = datetime(2019, 1, 7, 15, tzinfo=UTC) + timedelta(days=day, minutes=10 * user + rng.normal(0, 15))
            power = 3.3 if user % 2 else 6.6
            charging = rng.normal(2 + user / 4, 0.3)
            departure = arrival + timedelta(hours=8 + rng.normal(0, 0.5))
            rows.append(
                {
                    "session_id": f"{day}-{user}",
                    "site_id": "site",
                    "station_id": f"st{(user + day) % 4}",
                    "user_id": f"u{user}",
                    "time_zone": "America/Los_Angeles",
                    "arrival_at": arrival,
                    "departure_at": departure,
                    "done_charging_at": arrival + timedelta(hours=charging),
                    "energy_delivered_kwh": charging * power * rng.normal(0.95, 0.01),
                    "available_at": departure,
                }
            )
    return pl.DataFrame(rows, schema={n: t for n, t in SESSIONS.items() if n in rows[0]}).select(
        pl.col(n) if n in rows[0] else pl.lit(None, t).alias(n) for n, t in SESSIONS.items()
    )


TRAIN = made_sessions(1)
LATER = made_sessions(2, days=10, first_day=60)
DETECTOR = Detector.fit(TRAIN, NO_INPUTS, time_zone="UTC", alarms_per_station_week=0.5, seed=7)
FEATURES = DETECTOR.features(LATER, NO_INPUTS)


def odd_one(**changes: Any) -> pl.DataFrame:
    """The first later session, changed."""
    return LATER.head(1).with_columns([pl.lit(v, SESSIONS[n]).alias(n) for n, v in changes.items()])


def test_scoring_and_detecting_change_nothing() -> None:
    before, history = FEATURES.clone(), DETECTOR.history.to_json()
    first = (DETECTOR.score(FEATURES), DETECTOR.detect(LATER, NO_INPUTS))
    second = (DETECTOR.score(FEATURES), DETECTOR.detect(LATER, NO_INPUTS))
    assert FEATURES.equals(before)
    assert DETECTOR.history.to_json() == history
    assert first[0].equals(second[0])
    assert first[1] == second[1]


def test_a_row_alone_scores_as_in_the_batch_bit_for_bit() -> None:
    whole = DETECTOR.score(FEATURES)
    alone = pl.concat([DETECTOR.score(FEATURES[place]) for place in range(FEATURES.height)])
    assert whole.equals(alone)
    assert DETECTOR.judge_frame(FEATURES) == tuple(
        finding
        for place in FEATURES.sort("observed_at", "site_id", "session_id").iter_slices(1)
        for finding in DETECTOR.judge_frame(place)
    )


@settings(max_examples=15, deadline=None)
@given(st.permutations(list(SESSION_FEATURES)), st.randoms(use_true_random=False))
def test_order_of_columns_and_rows_and_further_columns_do_not_matter(names: list[str], rng: Any) -> None:
    places = list(range(FEATURES.height))
    rng.shuffle(places)
    shuffled = FEATURES.select(names)[places].with_columns(further=pl.lit(1.0))
    assert DETECTOR.score(shuffled).sort("session_id").equals(DETECTOR.score(FEATURES).sort("session_id"))
    assert DETECTOR.judge_frame(shuffled) == DETECTOR.judge_frame(FEATURES)


@settings(max_examples=10, deadline=None)
@given(st.permutations(MODEL_FEATURES))
def test_order_of_features_in_training_does_not_matter(names: list[str]) -> None:
    rows = FEATURES.select(MODEL_FEATURES).to_numpy()
    one = fit_forest(rows, MODEL_FEATURES, seed=1, trees=5)
    other = fit_forest(FEATURES.select(names).to_numpy(), names, seed=1, trees=5)
    np.testing.assert_array_equal(one.score(rows, MODEL_FEATURES), other.score(rows, MODEL_FEATURES))


def test_vanished_and_new_columns_of_a_matrix_are_survived() -> None:
    forest = DETECTOR.models["ac"].stack.forest
    rows = FEATURES.select(MODEL_FEATURES[:-1]).to_numpy()
    missing = FEATURES.with_columns(pl.lit(np.nan).alias(MODEL_FEATURES[-1])).select(MODEL_FEATURES).to_numpy()
    np.testing.assert_array_equal(
        forest.score(np.column_stack([rows, rows[:, :1]]), (*MODEL_FEATURES[:-1], "new")),
        forest.score(missing, MODEL_FEATURES),
    )


def test_the_same_seed_finds_the_same_and_another_seed_is_another_version() -> None:
    again = Detector.fit(TRAIN, NO_INPUTS, time_zone="UTC", alarms_per_station_week=0.5, seed=7)
    other = Detector.fit(TRAIN, NO_INPUTS, time_zone="UTC", alarms_per_station_week=0.5, seed=8)
    assert again.version == DETECTOR.version != other.version
    assert again.detect(LATER, NO_INPUTS) == DETECTOR.detect(LATER, NO_INPUTS)


def test_the_order_of_training_rows_does_not_matter() -> None:
    shuffled = Detector.fit(
        TRAIN.sample(fraction=1.0, shuffle=True, seed=3),
        NO_INPUTS,
        time_zone="UTC",
        alarms_per_station_week=0.5,
        seed=7,
    )
    assert shuffled.version == DETECTOR.version


@pytest.mark.parametrize("train", [TRAIN, TRAIN.head(5), empty(SESSIONS)], ids=["many", "few", "none"])
@pytest.mark.parametrize("rows", [LATER, empty(SESSIONS)], ids=["some", "none"])
def test_little_and_empty_input_is_survived(train: pl.DataFrame, rows: pl.DataFrame) -> None:
    detector = Detector.fit(train, NO_INPUTS, time_zone="UTC", seed=0)
    assert detector.score(detector.features(rows, NO_INPUTS)).height == rows.height
    detector.detect(rows, NO_INPUTS)
    assert ("ac" in detector.models) == (train.height > 5)


@pytest.mark.parametrize(
    "changes",
    [
        dict.fromkeys(["energy_delivered_kwh", "done_charging_at", "user_id", "time_zone"]),
        {"departure_at": None, "available_at": None, "done_charging_at": None},
        {"energy_delivered_kwh": float("nan")},
        {"energy_delivered_kwh": float("inf")},
        {"station_id": "never seen", "user_id": "never seen", "site_id": "never seen"},
    ],
)
def test_missing_and_unseen_values_are_survived(changes: dict[str, Any]) -> None:
    rows = odd_one(**changes)
    scored = DETECTOR.score(DETECTOR.features(rows, NO_INPUTS))
    running = changes.get("departure_at", 0) is None
    assert scored["model_score"].is_nan().all() == running
    assert not (running and DETECTOR.detect(rows, NO_INPUTS))


def test_constant_training_is_survived() -> None:
    same = pl.concat([TRAIN.head(1)] * 300).with_columns(session_id=pl.int_range(300).cast(pl.String))
    detector = Detector.fit(same, NO_INPUTS, time_zone="UTC", seed=0)
    scores = detector.score(detector.features(LATER, NO_INPUTS))["model_score"]
    assert scores.is_finite().all()


def test_an_odder_session_scores_higher() -> None:
    arrival, departure = LATER["arrival_at"][0], LATER["departure_at"][0]
    derated = odd_one(session_id="slow", energy_delivered_kwh=3.0, done_charging_at=departure)
    stayed = odd_one(
        session_id="stayed", departure_at=arrival + timedelta(hours=23), available_at=arrival + timedelta(hours=23)
    )
    ordinary = DETECTOR.score(DETECTOR.features(LATER.head(1), NO_INPUTS))["model_score"][0]
    for rows in (derated, stayed):
        assert DETECTOR.score(DETECTOR.features(rows, NO_INPUTS))["model_score"][0] > ordinary + 0.1


def test_findings_have_reasons_a_stable_id_and_one_of_the_model_at_most() -> None:
    broken = odd_one(
        session_id="broken", energy_delivered_kwh=0.0, done_charging_at=LATER["arrival_at"][0] - timedelta(minutes=9)
    )
    findings = DETECTOR.detect(pl.concat([LATER, broken]), NO_INPUTS)
    assert {"rule:failed_start", "rule:clock_fault"} <= {f.by for f in findings if f.session_id == "broken"}
    assert len({f.finding_id for f in findings}) == len(findings)
    of_model = [f.session_id for f in findings if f.by.startswith("model:")]
    assert len(of_model) == len(set(of_model))
    assert all(f.reasons and all("nan" not in reason.text for reason in f.reasons) for f in findings)
    assert all((f.p_value is None) == f.by.startswith("rule:") and 0 <= f.score <= 1 for f in findings)
