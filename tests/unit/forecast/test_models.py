from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl
import pytest

from plugcast.adapters.memory import MemoryArtifactStore
from plugcast.errors import ModelError, ModelNotFoundError, NoUsableRowsError, SpecMismatchError
from plugcast.features.spec import FeatureSpec
from plugcast.forecast import artefacts, horizon, integrity, short
from plugcast.forecast.availability import AvailabilitySpec
from plugcast.forecast.boosting import Boosting, to_text
from plugcast.forecast.lead_columns import LEAD_COLUMNS
from plugcast.forecast.panel import Panel, panel
from plugcast.forecast.split import by_time, thin, unseen_assets
from plugcast.simulate.telemetry import GeneratorSpec, generate

if TYPE_CHECKING:
    from plugcast.features.grid import StateGrid

SMALL = Boosting(rounds=60, leaves=15)
SHORT = short.ShortSpec(max_rows=40_000, boosting=SMALL)
HORIZON = horizon.HorizonSpec(
    max_rows=30_000,
    unseen_share=0.2,
    anchors_min=(15, 60, 360, 1_440, 2_880),
    anchor_rows=6_000,
    plug=AvailabilitySpec(trees=Boosting(rounds=60, leaves=6, min_leaf_rows=200, column_share=0.5)),
    boosting=SMALL,
)


@pytest.fixture(scope="module")
def pair(fleet: Panel) -> short.Trained:
    return short.train(fleet, SHORT)


@pytest.fixture(scope="module")
def long_range(fleet: Panel) -> horizon.TrainedHorizon:
    return horizon.train(fleet, HORIZON)


def test_a_quarter_hour_ahead_the_models_beat_both_baselines(pair: short.Trained) -> None:
    _beats(pair.metrics["time_split"])


@pytest.mark.slow
def test_on_a_large_fleet_they_do_so_on_unseen_vehicles_too() -> None:
    large = panel(generate(GeneratorSpec(vehicles=200, days=28)), FeatureSpec())
    metrics = short.train(large, short.ShortSpec(max_rows=200_000)).metrics
    assert metrics["vehicles_unseen"] == 40
    _beats(metrics["time_split"])
    _beats(metrics["unseen_vehicles"])


def _beats(block: dict[str, Any]) -> None:
    for name in ("persistence", "climatology"):
        assert block["model"]["plug_brier"] < block[name]["plug_brier"]
        assert block["model"]["plug_auc"] > block[name]["plug_auc"]
        assert block["model"]["energy_mae_pct"] < block[name]["energy_mae_pct"]


def test_hours_ahead_the_model_beats_both_baselines(long_range: horizon.TrainedHorizon) -> None:
    rows = {row["lead_min"]: row for row in long_range.metrics["time_split"]}
    for lead in (60, 360, 1440):
        for name in ("persistence", "climatology"):
            assert rows[lead]["model"]["plug_brier"] < rows[lead][name]["plug_brier"]


def test_quantiles_are_ordered_and_inside_the_battery(fleet: Panel, long_range: horizon.TrainedHorizon) -> None:
    row = fleet.newest_rows()
    for lead in (15.0, 700.0, 2_880.0):
        seen = long_range.model.expect(fleet, row, lead)
        assert seen.energy_low_pct is not None
        assert seen.energy_median_pct is not None
        assert seen.energy_high_pct is not None
        assert (seen.energy_low_pct <= seen.energy_median_pct).all()
        assert (seen.energy_median_pct <= seen.energy_high_pct).all()
        assert ((seen.energy_low_pct >= 0) & (seen.energy_high_pct <= 100)).all()
        assert ((seen.plug_probability > 0) & (seen.plug_probability < 1)).all()


def test_models_come_back_from_files_with_the_same_bits(
    fleet: Panel, pair: short.Trained, long_range: horizon.TrainedHorizon
) -> None:
    store = MemoryArtifactStore()
    artefacts.save(store, _description(fleet, long_range), pair.models, long_range.model, pair.metrics)
    description = artefacts.describe(store)
    row = fleet.newest_rows()
    for ours, theirs in zip(
        pair.models.predict(fleet, row), artefacts.load_short(store, description).predict(fleet, row), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    before = long_range.model.expect(fleet, row, 600.0)
    after = artefacts.load_horizon(store, description).expect(fleet, row, 600.0)
    np.testing.assert_array_equal(before.plug_probability, after.plug_probability)
    np.testing.assert_array_equal(before.energy_high_pct, after.energy_high_pct)
    assert {"plug_model.txt", "energy_model.txt", "metrics.json"} <= set(store.names())


def _description(fleet: Panel, long_range: horizon.TrainedHorizon) -> artefacts.Description:
    model = long_range.model
    return artefacts.Description(
        format=artefacts.FORMAT,
        spec=fleet.spec,
        spec_hash=fleet.spec.hash,
        columns=fleet.columns,
        lead_min=15.0,
        horizon=artefacts.parts_of(model, fleet.plug_columns),
        trained_at=datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
        source="test",
        samples=fleet.rows,
    )


def test_a_model_of_other_features_is_refused(fleet: Panel, long_range: horizon.TrainedHorizon) -> None:
    store = MemoryArtifactStore()
    with pytest.raises(ModelNotFoundError):
        artefacts.describe(store)
    good = _description(fleet, long_range)
    other = replace_spec(fleet.spec)
    for bad in (
        msgspec.structs.replace(good, spec=other, spec_hash=other.hash),
        msgspec.structs.replace(good, spec_hash="0" * 16),
        msgspec.structs.replace(good, format=99),
        msgspec.structs.replace(good, columns=LEAD_COLUMNS),
    ):
        store.put(artefacts.DESCRIPTION, msgspec.json.encode(bad))
        with pytest.raises(SpecMismatchError):
            artefacts.describe(store)
    store.put(artefacts.DESCRIPTION, b"{rubbish")
    with pytest.raises(ModelError):
        artefacts.describe(store)
    store.put(artefacts.DESCRIPTION, msgspec.json.encode(integrity.sealed(good)))
    store.put(artefacts.PLUG, b"not a model")
    store.put(artefacts.ENERGY, b"not a model")
    with pytest.raises(ModelError):
        artefacts.load_short(store, artefacts.describe(store))


def replace_spec(spec: FeatureSpec) -> FeatureSpec:
    return msgspec.structs.replace(spec, features=spec.features[:-1])


def test_one_row_alone_scores_as_in_a_batch(fleet: Panel, pair: short.Trained) -> None:
    row = fleet.newest_rows()
    together, energies = pair.models.predict(fleet, row)
    for place in (0, 7, len(row) - 1):
        alone, energy = pair.models.predict(fleet, row[place : place + 1])
        assert (alone[0], energy[0]) == (together[place], energies[place])


def test_the_future_changes_no_input_of_a_model() -> None:
    samples = generate(GeneratorSpec(vehicles=6, days=8, seed=3))
    cut = datetime(2026, 1, 9, tzinfo=UTC)
    whole, past = panel(samples, FeatureSpec()), panel(samples.filter(pl.col("timestamp") < cut), FeatureSpec())
    known = np.flatnonzero(whole.timestamp_us < int(cut.timestamp() * 1e6))
    for lead in (15.0, 1_440.0):
        np.testing.assert_array_equal(whole.matrix(known, lead), past.matrix(np.arange(past.rows), lead))


@pytest.mark.slow
def test_exchanged_and_edited_files_are_refused(
    fleet: Panel, pair: short.Trained, long_range: horizon.TrainedHorizon
) -> None:
    store = MemoryArtifactStore()
    description = _description(fleet, long_range)
    artefacts.save(store, description, pair.models, long_range.model, {})
    plug, energy = store.get(artefacts.PLUG), store.get(artefacts.ENERGY)
    store.put(artefacts.PLUG, energy)
    store.put(artefacts.ENERGY, plug)
    with pytest.raises(ModelError, match=r"plug_model\.txt is not the file that training wrote"):
        artefacts.load_short(store, artefacts.describe(store))
    low, high = artefacts.HORIZON_ENERGY[0], artefacts.HORIZON_ENERGY[-1]
    store.put(low, store.get(high))
    with pytest.raises(ModelError, match=re.escape(low)):
        artefacts.load_horizon(store, artefacts.describe(store))
    edited = msgspec.json.decode(store.get(artefacts.DESCRIPTION))
    edited["horizon"]["plug"] = edited["horizon"]["plug"][:1]
    store.put(artefacts.DESCRIPTION, msgspec.json.encode(edited))
    with pytest.raises(ModelError, match="it was edited"):
        artefacts.describe(store)


def test_a_model_trained_with_the_future_shuffled_is_the_same(fleet: Panel) -> None:
    split = by_time(fleet, test_share=0.3, unseen_share=0.0)
    after = fleet.timestamp_us >= split.cut_us
    shuffled = replace(
        fleet,
        soc=np.where(after, np.random.default_rng(0).permutation(fleet.soc), fleet.soc),
        is_plugged_in=np.where(after, ~fleet.is_plugged_in, fleet.is_plugged_in),
        grid=replace(fleet.grid, state=_future_shuffled(fleet.grid, split.cut_us)),
    )
    spec = replace(HORIZON, test_share=0.3, unseen_share=0.0)
    one, other = (horizon.measure(given, spec, split).model for given in (fleet, shuffled))
    for ours, theirs in zip(one.plug.anchors, other.plug.anchors, strict=True):
        assert ours.blend == theirs.blend
        assert to_text(ours.correction) == to_text(theirs.correction)
        assert to_text(ours.alone) == to_text(theirs.alone)


def _future_shuffled(grid: StateGrid, cut_us: int) -> np.ndarray:
    state, cut = grid.state.copy(), int(grid.step_at(np.array(cut_us))) + 1
    state[:, cut:] = np.random.default_rng(1).permutation(state[:, cut:].T).T
    return state


def test_who_is_unseen_does_not_hang_on_the_order_of_names() -> None:
    names = [f"car{i}" for i in range(40)]
    chosen = [name for name, out in zip(names, unseen_assets(names, 0.2), strict=True) if out]
    assert len(chosen) == 8
    backwards = [name for name, out in zip(names[::-1], unseen_assets(names[::-1], 0.2), strict=True) if out]
    assert backwards[::-1] == chosen
    assert unseen_assets(["one"], 0.9).tolist() == [False]


def test_thinning_keeps_ends_and_order() -> None:
    kept = thin(np.arange(1_000), 10)
    assert kept[0] == 0
    assert kept[-1] == 999
    assert (np.diff(kept) > 0).all()


def test_too_little_to_learn_from_is_said_plainly() -> None:
    few = panel(generate(GeneratorSpec(vehicles=1, days=1)).head(30), FeatureSpec())
    with pytest.raises(NoUsableRowsError, match="Wanted at least"):
        short.train(few, SHORT)
    with pytest.raises(NoUsableRowsError, match="Wanted at least"):
        horizon.measure(few, HORIZON, by_time(few, test_share=0.2, unseen_share=0.0))
