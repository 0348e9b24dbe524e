"""Models that were read answer packed, and as the boosters that were trained, to the rounding that is promised."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import lightgbm as lgb
import numpy as np
import pytest

from plugcast.adapters.memory import MemoryArtifactStore
from plugcast.errors import ModelError
from plugcast.forecast import artefacts, horizon, short
from plugcast.forecast.boosting import Boosting, ReadTrees, from_text, to_text

if TYPE_CHECKING:
    from plugcast.forecast.panel import Panel

SMALL = Boosting(rounds=40, leaves=15, min_leaf_rows=20)
PROBABILITY, PERCENT = 3e-4, 2e-3


def test_forecasts_of_read_models_are_those_of_the_trained_ones(fleet: Panel) -> None:
    trained = short.train(fleet, short.ShortSpec(boosting=SMALL)).models
    long = horizon.train(fleet, horizon.HorizonSpec(boosting=SMALL, max_rows=20_000)).model
    store = MemoryArtifactStore()
    description = artefacts.Description(
        format=artefacts.FORMAT,
        spec=fleet.spec,
        spec_hash=fleet.spec.hash,
        columns=fleet.columns,
        lead_min=15.0,
        horizon=artefacts.parts_of(long, fleet.plug_columns),
        trained_at="2026-01-01T00:00:00Z",
        source="generated",
        samples=fleet.rows,
    )
    artefacts.save(store, description, trained, long, {})
    read, read_long = artefacts.load_short(store, description), artefacts.load_horizon(store, description)
    assert isinstance(read.plug, ReadTrees)
    assert all(isinstance(trees, ReadTrees) for trees in (read.energy, *read_long.energy))
    row = np.arange(0, fleet.rows, 7)
    for ours, theirs, limit in zip(
        read.predict(fleet, row), trained.predict(fleet, row), (PROBABILITY, PERCENT), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=limit)
    lead = np.geomspace(15, 2880, len(row))
    expected, wanted = read_long.expect(fleet, row, lead), long.expect(fleet, row, lead)
    assert all(isinstance(each.alone, ReadTrees) for each in read_long.plug.anchors)
    np.testing.assert_allclose(expected.plug_probability, wanted.plug_probability, rtol=0, atol=PROBABILITY)
    for name in ("energy_low_pct", "energy_median_pct", "energy_high_pct"):
        np.testing.assert_allclose(getattr(expected, name), getattr(wanted, name), rtol=0, atol=PERCENT)
    assert to_text(read.plug) == store.get(artefacts.PLUG)


def test_what_cannot_be_packed_is_answered_by_lightgbm() -> None:
    rows = np.random.default_rng(1).integers(0, 4, (500, 2)).astype(np.float32)
    linear = lgb.train(
        {"objective": "regression", "linear_tree": True, "verbosity": -1, "num_threads": 1},
        lgb.Dataset(rows, rows[:, 0] * 2.0, feature_name=["a", "b"]),
        num_boost_round=3,
    )
    read = from_text(to_text(linear), ["a", "b"])
    assert isinstance(read, lgb.Booster)
    with pytest.raises(ModelError, match="this version gives x"):
        from_text(to_text(linear), ["x"])


def test_reading_and_answering_load_no_lightgbm() -> None:
    program = (
        "import sys, numpy as np; from plugcast.forecast.boosting import from_text; "
        "text = sys.stdin.buffer.read(); trees = from_text(text, ['a', 'b']); "
        "trees.predict(np.zeros((3, 2), np.float32)); "
        "print(sorted({'lightgbm', 'sklearn', 'scipy', 'polars', 'pandas'} & set(sys.modules)))"
    )
    rows = np.random.default_rng(1).normal(size=(300, 2)).astype(np.float32)
    text = to_text(SMALL.fit(rows, rows[:, 0].copy(), ["a", "b"], objective="regression_l1"))
    done = subprocess.run([sys.executable, "-c", program], input=text, capture_output=True, check=True)
    assert done.stdout == b"[]\n"
