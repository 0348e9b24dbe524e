from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast import schemas
from plugcast.adapters.memory import MemoryArtifactStore
from plugcast.errors import InputError, ModelError, ModelNotFoundError, NoUsableRowsError
from plugcast.features.spec import FeatureSpec
from plugcast.forecast import copula
from plugcast.forecast.panel import Panel, panel
from plugcast.forecast.reconcile import balance, forward, sigmoid, spread
from plugcast.forecast.scenarios import PARTS, TREES, ScenarioModel
from plugcast.forecast.slots import AGES, SLOT_US, Slots, age_class


def trace(states: str, *, minutes: int = 15, soc: float | None = None) -> Panel:
    """One asset, a sample for each letter: P plugged in, u not, anything else silence."""
    start = datetime(2026, 1, 5, tzinfo=UTC)
    at = [start + timedelta(minutes=minutes * place) for place, letter in enumerate(states) if letter in "Pu"]
    frame = pl.DataFrame(
        {
            "asset_id": ["a"] * len(at),
            "timestamp": at,
            "soc": [soc] * len(at),
            "is_plugged_in": [letter == "P" for letter in states if letter in "Pu"],
            "power_kw": [None] * len(at),
            "capacity_kwh": [None] * len(at),
            "available_at": at,
        }
    )
    return panel(schemas.conform(frame, schemas.TELEMETRY), FeatureSpec())


@pytest.fixture(scope="module")
def model(fleet: Panel) -> ScenarioModel:
    return ScenarioModel.fit(fleet)


def test_slots_carry_the_newest_sample_but_not_over_a_silence() -> None:
    slots = Slots.of(trace("uPP" + "." * 20 + "Pu"))
    at = (slots.at_us - slots.at_us[0]) // SLOT_US
    assert at.tolist() == [0, 1, 2, 23, 24]
    assert slots.is_plugged_in.tolist() == [False, True, True, True, False]
    assert slots.age_min.tolist() == [0.0, 0.0, 15.0, 0.0, 0.0]
    assert slots.resolved.tolist() == [True, True, False, True, False]
    assert slots.switched.tolist() == [True, False, False, True, False]


def test_slots_between_two_samples_repeat_the_first() -> None:
    slots = Slots.of(trace("Pu", minutes=60))
    assert slots.is_plugged_in.tolist() == [True] * 4 + [False]
    assert slots.age_min.tolist() == [0.0, 15.0, 30.0, 45.0, 0.0]
    assert slots.known_at(np.array([0, 1])).tolist() == [4, 5]


@given(seed=st.integers(0, 2**32 - 1), plugged=st.integers(0, 1), age=st.floats(0, 5_000))
@settings(max_examples=20)
def test_forward_equals_the_sum_over_all_possible_courses(seed: int, plugged: int, age: float) -> None:
    slots = 6
    log_odds = np.random.default_rng(seed).normal(-1, 1.5, (1, slots, 2, AGES))
    course = forward(log_odds, np.array([plugged]), np.array([age]), None, 15)
    chance, changes = np.zeros(slots), 0.0
    for turns in itertools.product((False, True), repeat=slots):
        state, since, weight, path = plugged, age, 1.0, []
        for slot, turn in enumerate(turns):
            risk = float(sigmoid(log_odds[0, slot, state, age_class(np.array(since))]))
            weight *= risk if turn else 1 - risk
            state, since = (1 - state, 0.0) if turn else (state, since + 15)
            path.append(state)
        chance += weight * np.array(path)
        changes += weight * sum(turns)
    np.testing.assert_allclose(course.plug_probability[0], chance, atol=1e-12)
    assert course.changes[0] == pytest.approx(changes)


def test_forward_meets_wanted_probabilities_that_can_be_reached() -> None:
    rng = np.random.default_rng(0)
    log_odds = rng.normal(-3, 1, (20, 40, 2, AGES))
    start = rng.integers(0, 2, 20)
    wanted = 0.5 + (start - 0.5)[:, None] * np.exp(-np.arange(1, 41) / 15)
    met = forward(log_odds, start, np.zeros(20), wanted, 15)
    assert np.abs(met.plug_probability - wanted).max() < 0.03
    assert np.abs(met.shift).max() > 0.1


def test_balance_finds_the_shares_that_give_the_wanted_probabilities() -> None:
    rng = np.random.default_rng(1)
    paths = rng.random((3, 400, 16)) < 0.5
    wanted = np.repeat([[0.6, 0.4, 0.5, 0.7]], 4, axis=1) * np.ones((3, 1))
    count = paths[:, :, 1:] ^ paths[:, :, :-1]
    turns = count.sum(axis=2).astype(float)
    weight = balance(paths, wanted, turns.mean(axis=1), turns)
    hourly = np.einsum("ns,nsht->nh", weight, paths.reshape(3, 400, 4, 4)) / 4
    np.testing.assert_allclose(hourly, wanted[:, ::4], atol=0.05)
    np.testing.assert_allclose(weight.sum(axis=1), 1)
    assert np.ptp(balance(paths, paths.mean(axis=1), turns.mean(axis=1), turns)) < 1e-3  # nothing to do: even weights


def test_spread_picks_paths_in_proportion_to_their_weight() -> None:
    paths = np.zeros((1, 4, 8), bool)
    paths[0, 2:] = True
    weight = np.array([[0.2, 0.05, 0.7, 0.05]])
    starts = np.linspace(0, 0.999, 200)
    kept = spread(np.repeat(paths, 200, axis=0), np.repeat(weight, 200, axis=0), 20, starts)
    share = np.bincount(kept.ravel(), minlength=4) / kept.size
    np.testing.assert_allclose(share, weight[0], atol=0.02)


def test_learnt_stays_are_as_long_as_real_ones(fleet: Panel, model: ScenarioModel) -> None:
    """Independent draws change state ten times as often."""
    row = np.flatnonzero(np.arange(fleet.rows) % 2003 == 0)
    drawn = model.draw(fleet, row, 20, np.random.default_rng(0))
    state = fleet.is_plugged_in[row].astype(bool)
    turns = float((drawn.weight * copula.changes(drawn.plugged, state)).sum(axis=1).mean())
    slots = Slots.of(fleet)
    real = 192 * float(slots.switched[slots.resolved].mean())
    assert real / 1.3 < turns < real * 1.3
    apart = copula.independent(drawn.wanted, 20, np.random.default_rng(0))
    assert copula.changes(apart, state).mean() > 5 * turns


def test_a_car_that_plugs_in_every_night_is_seen_to_do_so() -> None:
    day = "P" * 28 + "u" * 44 + "P" * 24  # in until 7 h, out until 18 h
    known = trace(day * 21, soc=60.0)
    drawn = ScenarioModel.fit(known).draw(known, known.newest_rows(), 50, np.random.default_rng(0))
    chance = drawn.plug_probability[0]
    assert chance[12] > 0.9  # 3 h
    assert chance[50] < 0.5  # noon
    assert chance[88] > 0.75  # 22 h
    assert chance[146] < 0.55  # noon of the second day


def test_a_stored_model_draws_the_same(fleet: Panel, model: ScenarioModel) -> None:
    store = MemoryArtifactStore()
    model.save(store)
    assert store.names() == sorted([TREES, PARTS])
    row = fleet.newest_rows()[:3]
    ours, theirs = (each.draw(fleet, row, 5, np.random.default_rng(0)) for each in (model, ScenarioModel.load(store)))
    np.testing.assert_array_equal(ours.plugged, theirs.plugged)
    np.testing.assert_array_equal(ours.soc, theirs.soc)
    np.testing.assert_array_equal(ours.weight, theirs.weight)


def test_a_broken_or_absent_model_says_so(model: ScenarioModel) -> None:
    store = MemoryArtifactStore()
    with pytest.raises(ModelNotFoundError):
        ScenarioModel.load(store)
    model.save(store)
    edited = msgspec.json.decode(store.get(PARTS))
    edited["charging"]["taper"] = []
    store.put(PARTS, msgspec.json.encode(edited))
    with pytest.raises(ModelError, match="it was edited"):
        ScenarioModel.load(store)
    store.put(PARTS, b"{}")
    with pytest.raises(ModelError, match="Train again"):
        ScenarioModel.load(store)


def test_wrong_wishes_are_refused(fleet: Panel, model: ScenarioModel) -> None:
    row = fleet.newest_rows()[:2]
    with pytest.raises(InputError, match="at least one scenario"):
        model.draw(fleet, row, 0, np.random.default_rng(0))
    with pytest.raises(InputError, match="shape"):
        model.draw(fleet, row, 5, np.random.default_rng(0), np.zeros((2, 191)))
    with pytest.raises(NoUsableRowsError, match="changes of plug state"):
        ScenarioModel.fit(trace("P" * 50))


def test_copula_keeps_the_marginals_and_persists_with_phi() -> None:
    marginals = np.tile(0.2 + 0.6 * np.arange(48) / 47, (4, 1))
    rng = np.random.default_rng(0)
    loose, tight = (copula.gaussian_copula(marginals, 2_000, phi, rng) for phi in (0.5, 0.99))
    for paths in (loose, tight, copula.independent(marginals, 2_000, rng)):
        assert np.abs(paths.mean(axis=1) - marginals).max() < 0.05
    start = np.zeros(4, bool)
    assert copula.changes(tight, start).mean() < copula.changes(loose, start).mean() / 3


def test_scores_reward_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, 3_000)
    even = np.full((3_000, 50), 1 / 50)
    right, wide, off = rng.normal(0, 1, (3_000, 50)), rng.normal(0, 3, (3_000, 50)), rng.normal(1, 1, (3_000, 50))
    best = copula.crps_weighted(right, even, truth).mean()
    assert best < copula.crps_weighted(wide, even, truth).mean()
    assert best < copula.crps_weighted(off, even, truth).mean()
    paths, came = rng.random((200, 30, 12)) < 0.3, rng.random((200, 12)) < 0.3
    weight = np.full((200, 30), 1 / 30)
    score = copula.energy_score(paths, weight, came).mean()
    assert score < copula.energy_score(rng.random((200, 30, 12)) < 0.7, weight, came).mean()


def test_weights_count_like_repeated_members() -> None:
    members, weight = np.array([[1.0, 4.0, 9.0]]), np.array([[0.5, 0.25, 0.25]])
    repeated = np.array([[1.0, 1.0, 4.0, 9.0]])
    ours = copula.crps_weighted(members, weight, np.array([3.0]))
    assert ours == pytest.approx(copula.crps_weighted(repeated, np.full((1, 4), 0.25), np.array([3.0])))


def test_events_of_a_path() -> None:
    path = np.array([[[False, False, True, True], [True, True, True, True]]])
    state = np.array([True])
    assert copula.changes(path, state).tolist() == [[2, 0]]
    assert copula.first_change(path, state).tolist() == [[0, 4]]
    assert copula.first_arrival(path, state).tolist() == [[2, 4]]
