"""plugcast model export and inspect, as a user types them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

from plugcast.cli.app import app
from plugcast.errors import ModelError, ModelNotFoundError
from plugcast.forecast.boosting import Boosting, to_text
from plugcast.trees.packed.predictor import Packed

if TYPE_CHECKING:
    from pathlib import Path

ROWS = np.random.default_rng(2).normal(size=(600, 3)).astype(np.float32)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    boosting = Boosting(rounds=12, leaves=7, min_leaf_rows=5)
    for name, objective in (("plug", "binary"), ("energy", "regression_l1")):
        target = (ROWS[:, 0] > 0).astype(float) if objective == "binary" else ROWS[:, 0] * 10
        trees = boosting.fit(ROWS, target, ["soc", "hour", "power_kw"], objective=objective)
        (tmp_path / f"{name}_model.txt").write_bytes(to_text(trees))
    return tmp_path


def run(*words: str, ok: int = 0) -> Any:
    result = CliRunner().invoke(app, ["model", *words])
    if result.exit_code != ok:
        raise result.exception or AssertionError(result.output)
    return json.loads(result.stdout) if "--json" in words else result.stdout


@pytest.mark.parametrize("explain", [True, False])
def test_a_folder_is_packed_and_looked_into(models: Path, tmp_path: Path, *, explain: bool) -> None:
    out = tmp_path / "small"
    written = run("export", str(models), "--out", str(out), "--json", *["--explain"] * explain)["written"]
    assert [one["source"] for one in written] == ["energy_model", "plug_model"]
    for one in written:
        assert (out / f"{one['source']}.plugtree").stat().st_size == one["bytes"] < one["source_bytes"] / 5
    (seen,) = run("inspect", written[1]["file"], "--json")["models"]
    assert seen["features"] == ["soc", "hour", "power_kw"]
    assert (seen["trees"], seen["link"], seen["explains"]) == (12, "sigmoid", explain)
    assert 68 + sum(seen["section_bytes"].values()) == seen["bytes"]
    told = run("inspect", written[1]["file"])
    assert "12 trees" in told
    (as_text,) = run("inspect", str(models / "plug_model.txt"), "--json")["models"]
    assert as_text["format"] == "LightGBM text"


def test_a_folder_is_looked_into_file_by_file_and_no_trees_are_left_out(models: Path, tmp_path: Path) -> None:
    (models / "horizon_plug_0015min_alone.txt").write_bytes((models / "plug_model.txt").read_bytes())
    every = run("inspect", str(models), "--json")["models"]
    assert [one["file"] for one in every] == sorted(map(str, models.glob("*.txt")))
    assert run("inspect", str(models)).count("12 trees") == 3
    written = run("export", str(models), "--out", str(tmp_path / "small"), "--json")["written"]
    assert [one["source"] for one in written] == ["energy_model", "horizon_plug_0015min_alone", "plug_model"]


@pytest.mark.parametrize("precision", ["double", "float"])
def test_onnx_of_texts_and_of_packed_files(models: Path, tmp_path: Path, precision: str) -> None:
    told = run("export", str(models / "plug_model.txt"), "--out", str(tmp_path / "small"))
    assert "plugcast model inspect" in told
    packed = tmp_path / "small" / "plug_model.plugtree"
    wanted = Packed.from_bytes(packed.read_bytes()).predict(ROWS)
    for source in (models / "plug_model.txt", packed):
        run("export", str(source), "--format", "onnx", "--precision", precision, "--out", str(tmp_path / "graph"))
        session = onnxruntime.InferenceSession((tmp_path / "graph" / "plug_model.onnx").read_bytes())
        got = session.run(None, {"rows": ROWS.astype(np.float64 if precision == "double" else np.float32)})[0]
        np.testing.assert_allclose(got[:, 0], wanted, atol=1e-4)


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="Train first"):
        run("export", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match="Train first"):
        run("inspect", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match="cannot be read"):
        run("inspect", str(tmp_path / "nothing"))
    wrong = tmp_path / "wrong.txt"
    for content in (b"hello", b"tree\n\xff", b"tree\n", b"PLUGTREE"):
        wrong.write_bytes(content)
        with pytest.raises(ModelError):
            run("inspect", str(wrong))
