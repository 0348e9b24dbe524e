"""Packed LightGBM models answer as LightGBM does, to the rounding of their leaves; what cannot be packed is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import pytest

from plugcast.errors import ModelError
from plugcast.trees.packed.forest import Kind
from plugcast.trees.packed.pack_lightgbm import pack_lightgbm, read_lightgbm
from plugcast.trees.packed.predictor import Packed
from plugcast.trees.packed.quantise import round_down

if TYPE_CHECKING:
    from numpy.typing import NDArray


def table(rows: int, *, missing: bool = True, features: int = 6) -> NDArray[np.float32]:
    rng = np.random.default_rng(rows)
    made = rng.normal(size=(rows, features)).astype(np.float32)
    made[:, 1] = np.round(made[:, 1] * 3)
    if missing:
        made[rng.random(made.shape) < 0.1] = np.nan
        made[:, 2] = np.nan_to_num(made[:, 2])  # one feature with no rule for missing values
    return made


def train(rows: NDArray[np.float32], objective: str, rounds: int = 30, **more: Any) -> lgb.Booster:
    known = np.nan_to_num(rows)
    target = known[:, 0] * known[:, 1] + np.sin(2 * known[:, 2]) + known[:, 3] - np.isnan(rows[:, 4])
    if objective == "binary":
        target = (target > 0).astype(float)
    if objective in {"poisson", "gamma", "tweedie"}:
        target = np.exp(target / 4)
    parameters = {"objective": objective, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, "seed": 3}
    return lgb.train(parameters | more, lgb.Dataset(rows, target), num_boost_round=rounds)


def hard(text: str, count: int) -> NDArray[np.float32]:
    """Rows of NaN, infinities, zeros and values that equal a threshold or miss it by one bit."""
    nodes, _, _ = read_lightgbm(text)
    rng = np.random.default_rng(count)
    some = table(count)
    picked = np.zeros_like(some)
    for feature in range(some.shape[1]):
        edges = round_down(nodes.threshold[(nodes.feature == feature) & ~nodes.leaf])
        if len(edges):
            near = rng.choice(edges, count)
            picked[:, feature] = np.where(rng.random(count) < 0.5, near, np.nextafter(near, np.float32(np.inf)))
    some = np.where(rng.random(some.shape) < 0.4, picked, some)
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-35, -1e-35, 2e-35, -2e-35], np.float32)
    return np.where(rng.random(some.shape) < 0.2, rng.choice(odd, some.shape), some)


@pytest.mark.parametrize(
    ("objective", "more"),
    [
        ("binary", {}),
        ("binary", {"sigmoid": 0.5, "use_missing": False}),
        ("regression", {}),
        ("regression_l1", {"num_leaves": 63}),
        ("fair", {"feature_fraction": 0.5}),
        ("quantile", {"alpha": 0.9}),
        ("huber", {"num_leaves": 300, "min_data_in_leaf": 1}),
        ("poisson", {}),
        ("tweedie", {"max_bin": 2000, "num_leaves": 100}),
    ],
)
def test_answers_are_lightgbms(objective: str, more: dict[str, Any]) -> None:
    booster = train(table(3000), objective, **more)
    text = booster.model_to_string()
    packed = Packed(pack_lightgbm(text))
    rows = hard(text, 4000)
    raw = booster.predict(rows, raw_score=True, num_threads=1)
    # a row that went to another leaf would be off by more than all roundings together
    np.testing.assert_allclose(packed.raw(rows), raw, rtol=0, atol=packed.forest.leaf_error * (1 + 1e-9))
    np.testing.assert_allclose(packed.predict(rows), booster.predict(rows, num_threads=1), rtol=5e-3, atol=5e-3)
    again = Packed.from_bytes(packed.to_bytes())
    np.testing.assert_array_equal(again.predict(rows), packed.predict(rows))


def test_routing_loses_nothing() -> None:
    """With leaves on whole steps there is nothing to round: the sums must be LightGBM's."""
    booster = train(table(3000), "regression")
    for tree, facts in enumerate(booster.dump_model()["tree_info"]):
        for leaf in range(facts["num_leaves"]):
            booster.set_leaf_output(tree, leaf, float(leaf))
    text = booster.model_to_string()
    packed = Packed(pack_lightgbm(text))
    rows = hard(text, 5000)
    np.testing.assert_array_equal(np.rint(packed.raw(rows)), booster.predict(rows, raw_score=True, num_threads=1))


def test_eight_bits_where_they_do_and_floats_where_not() -> None:
    assert pack_lightgbm(train(table(2000), "regression").model_to_string()).kind == Kind.RANKED
    fine = train(table(2000, features=5), "regression", rounds=60, max_bin=1900, min_data_in_bin=1, num_leaves=63)
    assert pack_lightgbm(fine.model_to_string()).kind == Kind.DIRECT


def test_the_base_of_explanations_is_lightgbms_expected_value() -> None:
    booster = train(table(3000), "regression")
    packed = Packed(pack_lightgbm(booster.model_to_string(), explains=True))
    expected = np.asarray(booster.predict(table(5), pred_contrib=True, num_threads=1))
    assert packed.base == pytest.approx(expected[0, -1], abs=packed.forest.leaf_error)


def test_constant_models_and_one_leaf_trees_are_packed() -> None:
    constant = lgb.train(
        {"objective": "regression", "verbosity": -1, "num_threads": 1},
        lgb.Dataset(np.zeros((100, 2)), np.full(100, 4.5)),
        num_boost_round=3,
    )
    packed = Packed.from_bytes(Packed(pack_lightgbm(constant.model_to_string())).to_bytes())
    assert packed.predict(np.ones((2, 2))).tolist() == pytest.approx([4.5, 4.5])


def test_what_cannot_be_packed_is_named() -> None:
    rows = np.abs(np.round(table(1000, missing=False) * 3))
    target = rows[:, 0] + (rows[:, 1] == 2)
    quiet = {"verbosity": -1, "num_threads": 1, "objective": "regression", "num_leaves": 7}
    cases: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "by category": ({"min_data_per_group": 1, "cat_smooth": 1}, {"categorical_feature": [0, 1]}),
        "linear trees": ({"linear_tree": True}, {}),
        "zeros for missing": ({"zero_as_missing": True}, {}),
        "several classes": ({"objective": "multiclass", "num_class": 3}, {}),
        "averages its trees": ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, {}),
        "cannot be packed": ({"objective": "regression", "reg_sqrt": True}, {}),
    }
    for said, (parameters, options) in cases.items():
        wanted = np.clip(target, 0, 2) if "classes" in said else target
        booster = lgb.train(quiet | parameters, lgb.Dataset(rows, wanted, **options), num_boost_round=3)
        with pytest.raises(ModelError, match=said):
            pack_lightgbm(booster.model_to_string())


def test_damaged_texts_are_refused() -> None:
    text = train(table(500), "regression", rounds=3).model_to_string()
    children = next(line for line in text.splitlines() if line.startswith("left_child="))
    for wrong in (
        "",
        "tree\n",
        text[: len(text) // 2],
        text.replace(children, "left_child=" + "0 " * (children.count(" ") + 1), 1),
        text.replace("right_child=", "right_child=900 ", 1),
        text.replace("leaf_value=", "leaf_value=nan ", 1),
        text.replace("split_feature=", "split_feature=99 ", 1),
        text.replace("num_cat=0", "num_cat=many", 1),
    ):
        assert wrong != text
        with pytest.raises(ModelError):
            pack_lightgbm(wrong)
