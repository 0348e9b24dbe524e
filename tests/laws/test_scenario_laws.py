"""What every set of trajectories obeys, whichever fleet and seed it is from."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.features.spec import FeatureSpec
from plugcast.forecast.panel import Panel, panel
from plugcast.forecast.scenarios import Prepared, ScenarioModel, Scenarios
from plugcast.simulate.telemetry import GeneratorSpec, generate

SLOTS = 192
SEEDS = st.integers(0, 2**32 - 1)


@lru_cache(maxsize=1)
def learnt() -> tuple[Panel, ScenarioModel, Prepared]:
    """Twenty generated vehicles over two weeks."""
    known = panel(generate(GeneratorSpec(vehicles=20, days=14, seed=3)), FeatureSpec(time_zone="Europe/Oslo"))
    model = ScenarioModel.fit(known)
    return known, model, model.prepare(known)


def draw(row: np.ndarray, count: int, seed: int, marginals: np.ndarray | None = None) -> Scenarios:
    _, model, ready = learnt()
    return model.draw(ready, row, count, np.random.default_rng(seed), marginals)


def some_rows(seed: int, number: int = 3) -> np.ndarray:
    known = learnt()[0]
    return np.sort(np.random.default_rng(seed).choice(known.rows, number, replace=False))


def waves(seed: int, number: int) -> np.ndarray:
    """Smooth probabilities between 0.05 and 0.95 that move at the pace of a day."""
    rng = np.random.default_rng(seed)
    phase, height = rng.uniform(0, 2 * np.pi, (number, 1)), rng.uniform(0.05, 0.45, (number, 1))
    return np.asarray(0.5 + height * np.sin(np.arange(SLOTS) / 96 * 2 * np.pi + phase))


@given(seed=SEEDS)
@settings(max_examples=2)
def test_the_same_seed_gives_the_same_paths_and_another_seed_others(seed: int) -> None:
    row = some_rows(seed)
    once, again, other = draw(row, 8, seed), draw(row, 8, seed), draw(row, 8, seed + 1)
    for name in ("plugged", "soc", "weight", "wanted"):
        np.testing.assert_array_equal(getattr(once, name), getattr(again, name))
    assert not np.array_equal(once.soc, other.soc, equal_nan=True)


@given(seed=SEEDS)
@settings(max_examples=2)
def test_a_vehicle_alone_gets_the_paths_that_it_gets_in_a_batch(seed: int) -> None:
    row = some_rows(seed, 2)
    marginals = waves(seed, 2)
    batch = draw(row, 6, seed, marginals)
    for place in range(2):
        alone = draw(row[[place]], 6, seed, marginals[[place]])
        np.testing.assert_array_equal(batch.plugged[[place]], alone.plugged)
        np.testing.assert_array_equal(batch.soc[[place]], alone.soc)
        np.testing.assert_allclose(batch.weight[[place]], alone.weight, rtol=1e-6)


@given(seed=SEEDS, count=st.sampled_from([1, 20, 110]))
@settings(max_examples=4)
def test_charge_stays_in_bounds_rises_only_plugged_in_and_falls_only_on_the_road(seed: int, count: int) -> None:
    known = learnt()[0]
    row = some_rows(seed)
    drawn = draw(row, count, seed)
    start = np.broadcast_to(known.soc[row][:, None, None], (*drawn.soc.shape[:2], 1))
    states = np.broadcast_to(known.is_plugged_in[row].astype(bool)[:, None, None], start.shape)
    soc = np.concatenate([start, drawn.soc], axis=2)
    plugged = np.concatenate([states, drawn.plugged], axis=2)
    assert (soc >= 0).all()
    assert (soc <= 100).all()
    change = np.diff(soc, axis=2)
    all_along = plugged[:, :, 1:] & plugged[:, :, :-1]
    assert not (change > 1e-4)[~all_along].any()
    assert not (change < -1e-4)[plugged[:, :, :-1]].any()


@given(seed=SEEDS, count=st.sampled_from([1, 20, 100]))
@settings(max_examples=4)
def test_weights_are_shares(seed: int, count: int) -> None:
    drawn = draw(some_rows(seed), count, seed)
    assert drawn.weight.shape == (3, count)
    assert (drawn.weight >= 0).all()
    np.testing.assert_allclose(drawn.weight.sum(axis=1), 1.0)


@given(seed=SEEDS)
@settings(max_examples=2)
def test_weighted_shares_follow_the_wanted_probabilities(seed: int) -> None:
    """Also where these have nothing to do with the vehicle; the first hours cannot be turned at once."""
    row = some_rows(seed, 8)
    wanted = waves(seed, 8)
    miss = np.abs(draw(row, 100, seed, wanted).plug_probability - wanted)
    assert miss[:, 12:].mean() < 0.05


def test_own_probabilities_are_met_within_two_hundredths() -> None:
    row = some_rows(1, 25)
    for count in (20, 100):
        drawn = draw(row, count, 1)
        assert np.abs(drawn.plug_probability - drawn.wanted).mean() < 0.02


def test_more_scenarios_are_of_the_same_distribution() -> None:
    row = some_rows(2, 30)
    few, many = draw(row, 20, 5), draw(row, 150, 6)
    for ours, theirs in (
        (few.plugged.sum(axis=2), many.plugged.sum(axis=2)),
        (few.soc[:, :, 95], many.soc[:, :, 95]),
    ):
        means = [float((w * each).sum(axis=1).mean()) for w, each in ((few.weight, ours), (many.weight, theirs))]
        spread = float(np.mean(np.std(theirs, axis=1)))
        assert abs(means[0] - means[1]) < 4 * spread / np.sqrt(20 * 30) + 0.02 * abs(means[1])


def test_the_future_of_the_panel_changes_nothing() -> None:
    known, model, ready = learnt()
    row = some_rows(4, 5)
    row = row[known.asset[row] == known.asset[row[0]]]
    later = (known.asset == known.asset[row[0]]) & (np.arange(known.rows) > row[-1])
    other = replace(
        known,
        is_plugged_in=np.where(later, ~known.is_plugged_in.astype(bool), known.is_plugged_in),
        soc=np.where(later, 50.0, known.soc),
    )
    ours = model.draw(ready, row, 6, np.random.default_rng(0))
    theirs = model.draw(other, row, 6, np.random.default_rng(0))
    np.testing.assert_array_equal(ours.plugged, theirs.plugged)
    np.testing.assert_array_equal(ours.soc, theirs.soc)


@pytest.mark.parametrize("plugged", [True, False])
def test_a_single_sample_of_a_new_vehicle_without_charge_survives(plugged: bool) -> None:  # noqa: FBT001 - a case
    _, model, _ = learnt()
    samples = generate(GeneratorSpec(vehicles=1, days=1, seed=9)).head(1)
    lone = panel(
        samples.with_columns(
            pl.lit("new").alias("asset_id"),
            pl.lit(plugged).alias("is_plugged_in"),
            pl.lit(None, pl.Float64).alias("soc"),
        ),
        FeatureSpec(),
    )
    drawn = model.draw(lone, lone.newest_rows(), 5, np.random.default_rng(0))
    assert drawn.plugged.shape == (1, 5, SLOTS)
    assert np.isnan(drawn.soc).all()
    assert np.isfinite(drawn.weight).all()


def test_no_origin_gives_no_scenario() -> None:
    drawn = draw(np.zeros(0, np.int64), 5, 0)
    assert drawn.plugged.shape == (0, 5, SLOTS)
    assert drawn.plug_probability.shape == (0, SLOTS)
