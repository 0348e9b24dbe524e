"""Exported graphs are valid ONNX and say in onnxruntime what LightGBM and the packed forests say."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from tests.unit.trees import grown
from tests.unit.trees.test_pack_lightgbm import hard, table, train

from plugcast.errors import ModelError
from plugcast.trees.onnx import lightgbm_to_onnx, packed_to_onnx
from plugcast.trees.packed.forest import Link
from plugcast.trees.packed.pack_lightgbm import pack_lightgbm
from plugcast.trees.packed.predictor import Packed


def run(content: bytes, rows: np.ndarray) -> np.ndarray:
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"rows": rows})[0])[:, 0]


@pytest.mark.parametrize(
    ("objective", "more"),
    [("binary", {}), ("binary", {"use_missing": False, "sigmoid": 2.0}), ("regression_l1", {}), ("poisson", {})],
)
def test_lightgbm_in_double_is_exact_and_in_float_close(objective: str, more: dict[str, Any]) -> None:
    booster = train(table(2000), objective, **more)
    text = booster.model_to_string()
    rows = hard(text, 3000)
    wanted = booster.predict(rows, num_threads=1)
    np.testing.assert_allclose(run(lightgbm_to_onnx(text), rows.astype(np.float64)), wanted, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(run(lightgbm_to_onnx(text, double=False), rows), wanted, rtol=5e-5, atol=5e-6)


@pytest.mark.parametrize("shape", [{}, {"steps": 4000, "splits": 300, "features": 1}, {"splits": 1, "trees": 40}])
def test_a_packed_raw_score_in_double_has_the_same_bits(shape: dict[str, Any]) -> None:
    made = grown.forest(5, **shape)
    rows = grown.rows(6, 1000, made)
    np.testing.assert_array_equal(run(packed_to_onnx(made), rows.astype(np.float64)), Packed(made).raw(rows))
    np.testing.assert_allclose(
        run(packed_to_onnx(made, double=False), rows), Packed(made).raw(rows), rtol=1e-6, atol=1e-4
    )


@pytest.mark.parametrize("link", [Link.SIGMOID, Link.EXP])
def test_links_are_in_the_graph(link: Link) -> None:
    made = grown.forest(7, link=link)
    rows = grown.rows(8, 200, made)
    np.testing.assert_allclose(
        run(packed_to_onnx(made), rows.astype(np.float64)), Packed(made).predict(rows), rtol=1e-9, atol=1e-15
    )


def test_features_are_named_and_the_file_is_small() -> None:
    text = train(table(2000), "binary").model_to_string()
    content = lightgbm_to_onnx(text, double=False)
    model = onnx.load_from_string(content)
    assert model.metadata_props[0].value.split("\n") == list(pack_lightgbm(text).names)
    assert len(content) < len(text) / 4


def test_hyperplanes_have_no_operator() -> None:
    with pytest.raises(ModelError, match="Export it as packed"):
        packed_to_onnx(grown.planes(1))
