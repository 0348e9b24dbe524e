from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from plugcast.features.analogs import COLUMNS, features
from plugcast.features.grid import STEPS_PER_DAY, UNKNOWN, StateGrid
from plugcast.features.spec import FeatureSpec
from plugcast.forecast import horizon, scores
from plugcast.forecast.availability import AvailabilitySpec, Blend, basis, fit_anchor
from plugcast.forecast.availability_rolling import Trial, roll, training_origins
from plugcast.forecast.boosting import Boosting
from plugcast.forecast.lead_knots import knots
from plugcast.forecast.linear import Linear, log_odds, probability
from plugcast.forecast.panel import Panel, panel, plug_matrix
from plugcast.simulate.telemetry import GeneratorSpec, generate

QUICK = AvailabilitySpec(trees=Boosting(rounds=30, leaves=6, min_leaf_rows=100, column_share=0.5))


def commuters(*, assets: int = 6, days: int = 42, seed: int = 0) -> StateGrid:
    """Homes: plugged in overnight from about 18 to 7 h UTC, away some nights."""
    rng = np.random.default_rng(seed)
    state = np.zeros((assets, days * STEPS_PER_DAY), np.int8)
    for row in state:
        for day in range(days):
            if rng.random() < 0.8:
                start = day * STEPS_PER_DAY + 72 + rng.integers(-8, 9)
                row[start : day * STEPS_PER_DAY + 124 + rng.integers(-6, 7)] = 1
    return StateGrid(start_us=1_551_398_400_000_000, time_zone="UTC", state=state)


@pytest.fixture(scope="module")
def homes() -> StateGrid:
    return commuters()


def _trial(grid: StateGrid, cut: int, *later: int) -> Trial:
    asset, step = np.nonzero(grid.state[:, cut::7] != UNKNOWN)
    return Trial(asset=asset, step=cut + step * 7, refits=np.array([cut, *later]), every=5, spec=QUICK)


@pytest.mark.parametrize(("lead", "at_most"), [(4, 0.9), (24, 0.9), (96, 1.0)])
def test_commuters_are_forecast_better_than_by_either_plain_baseline(
    homes: StateGrid, lead: int, at_most: float
) -> None:
    result = roll(homes, _trial(homes, 30 * STEPS_PER_DAY), lead)
    brier = {name: scores.brier(chance, result.outcome) for name, chance in result.chance.items()}
    assert brier["model"] < at_most * min(brier["persistence"], brier["hour_of_week"])
    assert brier["model"] < 1.02 * brier["blend"]
    assert scores.ece(result.chance["model"], result.outcome) < 0.12  # six homes over twelve days


def test_what_comes_after_a_refit_changes_no_forecast_made_before_it(homes: StateGrid) -> None:
    cut, later = 30 * STEPS_PER_DAY, 35 * STEPS_PER_DAY
    state = homes.state.copy()
    state[:, later:] = np.random.default_rng(3).permutation(state[:, later:].T).T
    shuffled = StateGrid(start_us=homes.start_us, time_zone=homes.time_zone, state=state)
    one, other = (roll(grid, _trial(grid, cut, later), 12) for grid in (homes, shuffled))
    before = one.step < later
    np.testing.assert_array_equal(one.step, other.step)
    np.testing.assert_array_equal(one.chance["model"][before], other.chance["model"][before])
    np.testing.assert_array_equal(one.chance["blend"][before], other.chance["blend"][before])
    assert (one.chance["model"][~before] != other.chance["model"][~before]).any()


def test_training_targets_are_resolved_before_the_refit(homes: StateGrid) -> None:
    """The states between the last usable outcome and the refit do not matter to a long lead's targets."""
    cut, lead = 30 * STEPS_PER_DAY, 96
    step = training_origins(homes, cut, 5)[1]
    assert (step < cut).all()
    state = homes.state.copy()
    state[:, cut:] = 1 - state[:, cut:]
    flipped = StateGrid(start_us=homes.start_us, time_zone=homes.time_zone, state=state)
    some = (np.array([0, 1]), np.array([cut - 1, cut - 1]))
    trials = [Trial(asset=some[0], step=some[1], refits=np.array([cut - 1]), spec=QUICK) for _ in range(2)]
    one, other = roll(homes, trials[0], lead), roll(flipped, trials[1], lead)
    np.testing.assert_array_equal(one.chance["model"], other.chance["model"])
    assert (one.outcome != other.outcome).all()


def test_an_anchor_comes_back_from_json_with_the_same_bits(homes: StateGrid) -> None:
    asset, step = training_origins(homes, 30 * STEPS_PER_DAY, 7)
    matrix = features(homes, asset, step, step + 24)
    outcome = homes.state[asset, step + 24].astype(float)
    at_us = homes.start_us + step * 900_000_000
    anchor = fit_anchor(matrix, outcome, at_us, COLUMNS, QUICK, lead_min=360.0)
    again = replace(anchor, blend=msgspec.json.decode(msgspec.json.encode(anchor.blend), type=Blend))
    np.testing.assert_array_equal(anchor.odds(matrix), again.odds(matrix))
    assert sum(anchor.blend.share) == pytest.approx(1.0)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_linear_part_is_the_textbook_ridge(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(300, 4)) * [1, 10, 0.1, 3]
    outcome = (rng.random(300) < probability(matrix[:, 0] - 0.2 * matrix[:, 1])).astype(float)
    ours = Linear.fit(matrix, outcome, ridge=2.0)
    scaled = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=2_000).fit(scaled, outcome)
    np.testing.assert_allclose(probability(ours.odds(matrix)), theirs.predict_proba(scaled)[:, 1], atol=1e-3)


def test_the_linear_part_survives_unknown_constant_and_separable_inputs() -> None:
    matrix = np.column_stack([np.arange(40.0), np.full(40, 7.0), np.full(40, np.nan)])
    outcome = (np.arange(40) >= 20).astype(float)
    fitted = Linear.fit(matrix, outcome, ridge=1e-3)
    chance = probability(fitted.odds(matrix))
    assert np.isfinite(chance).all()
    assert ((chance > 0.5) == (outcome == 1)).all()
    np.testing.assert_allclose(probability(log_odds(np.array([0.1, 0.9]))), [0.1, 0.9])


@pytest.fixture(scope="module")
def quick(fleet: Panel) -> horizon.HorizonModel:
    spec = horizon.HorizonSpec(
        anchors_min=(15, 360, 1_440), anchor_rows=2_000, max_rows=2_000, plug=QUICK, boosting=QUICK.trees
    )
    return horizon.train(fleet, spec).model


def test_a_vehicle_never_seen_is_forecast_from_all_the_others(quick: horizon.HorizonModel) -> None:
    samples = generate(GeneratorSpec(vehicles=10, days=20, seed=11))
    newest = samples["timestamp"].max()
    assert isinstance(newest, datetime)
    name = samples["asset_id"][0]
    stranger = (pl.col("asset_id") != name) | (pl.col("timestamp") > newest - timedelta(hours=6))
    known = panel(samples.filter(stranger), FeatureSpec())
    row = known.newest_rows()
    expected = quick.expect(known, row, 720.0)
    assert expected.basis.tolist() == [
        "pooled" if known.asset_ids[code] == name else "own history" for code in known.asset[row]
    ]
    assert ((expected.plug_probability > 0) & (expected.plug_probability < 1)).all()


def test_a_forecast_does_not_jump_between_anchors(fleet: Panel, quick: horizon.HorizonModel) -> None:
    row = np.repeat(fleet.newest_rows()[:5], 192)
    lead = np.tile(np.arange(1, 193) * 15.0, 5)
    chance = quick.expect(fleet, row, lead).plug_probability.reshape(5, 192)
    at_anchor = quick.plug.anchors[1]
    matrix = plug_matrix(fleet, fleet.newest_rows()[:5], 360.0)
    np.testing.assert_allclose(chance[:, 23], probability(at_anchor.odds(matrix)))
    assert np.abs(np.diff(chance, axis=1)).max() < 0.6


def test_paths_are_what_single_leads_are_at_the_knots_and_between_them_elsewhere(
    fleet: Panel, quick: horizon.HorizonModel
) -> None:
    row, leads = fleet.newest_rows()[:4], np.arange(1, 193) * 15.0
    paths = quick.expect_paths(fleet, row, leads)
    single = quick.expect(fleet, np.repeat(row, len(leads)), np.tile(leads, len(row)))
    asked = knots(leads)
    for name in ("plug_probability", "energy_low_pct", "energy_median_pct", "energy_high_pct"):
        ours, exact = (getattr(each, name).reshape(len(row), -1) for each in (paths, single))
        np.testing.assert_allclose(ours[:, asked], exact[:, asked], rtol=1e-6, atol=1e-6)
    chance = paths.plug_probability.reshape(len(row), -1)
    left, right = chance[:, asked[:-1]], chance[:, asked[1:]]
    for place in np.setdiff1d(np.arange(192), asked):
        side = np.searchsorted(asked, place) - 1
        low, high = np.minimum(left[:, side], right[:, side]), np.maximum(left[:, side], right[:, side])
        assert ((chance[:, place] >= low - 1e-12) & (chance[:, place] <= high + 1e-12)).all()
    assert paths.basis.tolist() == single.basis.tolist()


def test_the_panel_says_of_a_station_what_its_grid_does(fleet: Panel) -> None:
    row = fleet.newest_rows()
    matrix = plug_matrix(fleet, row, 60.0)
    assert matrix.shape == (len(row), len(fleet.plug_columns))
    np.testing.assert_array_equal(matrix[:, COLUMNS.index("state")], fleet.is_plugged_in[row])
    assert set(basis(matrix).tolist()) <= {"own history", "pooled"}


def test_the_future_changes_no_input_of_the_plug_model() -> None:
    samples = generate(GeneratorSpec(vehicles=6, days=12, seed=3))
    first = samples["timestamp"].min()
    assert isinstance(first, datetime)
    cut = datetime(first.year, first.month, first.day, 9, 7, tzinfo=UTC) + timedelta(days=8)
    whole, past = panel(samples, FeatureSpec()), panel(samples.filter(pl.col("timestamp") < cut), FeatureSpec())
    known = np.flatnonzero(whole.timestamp_us < int(cut.timestamp() * 1e6))
    for lead in (15.0, 1_440.0):
        np.testing.assert_array_equal(
            plug_matrix(whole, known[::17], lead), plug_matrix(past, np.arange(past.rows)[::17], lead)
        )
