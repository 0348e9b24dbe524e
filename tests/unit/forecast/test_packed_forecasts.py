"""Models answer packed, and as LightGBM would, to the rounding that is promised."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import lightgbm as lgb
import numpy as np
import pytest

from plugcast.errors import ModelError
from plugcast.forecast import horizon, short
from plugcast.forecast.boosting import Boosting, PackedTrees, from_text, to_text
from plugcast.forecast.panel import plug_matrix

if TYPE_CHECKING:
    from plugcast.forecast.panel import Panel

SMALL = Boosting(rounds=40, leaves=15, min_leaf_rows=20)
PROBABILITY, PERCENT = 3e-4, 2e-3


def test_packed_forecasts_are_lightgbms_to_the_promised_rounding(fleet: Panel) -> None:
    pair = short.train(fleet, short.ShortSpec(boosting=SMALL)).models
    long = horizon.train(fleet, horizon.HorizonSpec(boosting=SMALL, max_rows=20_000, anchor_rows=3_000)).model
    row = np.arange(0, fleet.rows, 7)
    lead = np.geomspace(15, 2880, len(row))
    anchor = long.plug.anchors[0]
    short_rows, long_rows, plug_rows = fleet.matrix(row, 15.0), fleet.matrix(row, lead), plug_matrix(fleet, row, lead)
    asked = [(pair.plug, short_rows, PROBABILITY), (pair.energy, short_rows, PERCENT)]
    asked += [(trees, long_rows, PERCENT) for trees in long.energy] + [(anchor.alone, plug_rows, PROBABILITY)]
    for trees, rows, limit in asked:
        assert isinstance(trees, PackedTrees)
        booster = lgb.Booster(model_str=to_text(trees).decode())
        np.testing.assert_allclose(trees.predict(rows), booster.predict(rows, num_threads=1), rtol=0, atol=limit)


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
