"""``plugcast forecast --scenarios``, with a forecast that is given instead of trained."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from plugcast.adapters.files import LocalArtifacts
from plugcast.cli.app import app
from plugcast.features.spec import FeatureSpec
from plugcast.forecast import artefacts
from plugcast.forecast.panel import panel
from plugcast.forecast.scenarios import ScenarioModel
from plugcast.services import training
from plugcast.simulate.telemetry import GeneratorSpec, generate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plugcast.ports import ArtifactStore, TelemetryRead

CHANCE = 0.5 + 0.3 * np.cos(np.arange(192) / 96 * 2 * np.pi)


def given_forecast(read: TelemetryRead, _: ArtifactStore, *, assets: Sequence[str] = ()) -> pl.DataFrame:
    newest = read.samples.group_by("asset_id", maintain_order=True).agg(pl.col("timestamp").max())
    chosen = newest.filter(pl.col("asset_id").is_in(list(assets)) if assets else pl.lit(value=True))
    lead = pl.Series("lead_min", np.arange(1, 193) * 15.0)
    chances = pl.DataFrame({"lead_min": lead, "plug_probability": CHANCE})
    frame = chosen.join(chances, how="cross").rename({"timestamp": "issued_at"})
    return frame.with_columns(
        (pl.col("issued_at") + pl.duration(minutes=pl.col("lead_min"))).alias("valid_at"),
        *[pl.lit(50.0).alias(f"energy_to_full{kind}_pct") for kind in ("_low", "", "_high")],
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    samples = generate(GeneratorSpec(vehicles=6, days=14, seed=2))
    samples.drop("gap_flag", "available_at").write_csv(tmp_path / "fleet.csv")
    ScenarioModel.fit(panel(samples, FeatureSpec())).save(LocalArtifacts(tmp_path / "models"))
    monkeypatch.setattr(training, "forecast", given_forecast)
    monkeypatch.setattr(artefacts, "describe", lambda _: SimpleNamespace(spec=FeatureSpec()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["forecast", "--telemetry", "fleet.csv", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.usefixtures("folder")
def test_the_document_has_weighted_futures_that_agree_with_the_forecast() -> None:
    document = json.loads(run("--asset", "ev-00002", "--scenarios", "100", "--json"))
    (one,) = document["scenarios"]
    assert one["asset_id"] == "ev-00002"
    assert one["issued_at"] == document["forecasts"][0]["issued_at"]
    weight, plugged = np.array(one["weight"]), np.array(one["plugged_in"])
    assert (plugged.shape, np.array(one["soc_pct"], float).shape) == ((100, 192), (100, 192))
    assert weight.sum() == pytest.approx(1, abs=1e-4)
    assert np.abs(weight @ plugged - CHANCE)[24:].mean() < 0.08


@pytest.mark.usefixtures("folder")
def test_a_seed_repeats_them_for_one_vehicle_as_for_all() -> None:
    alone = json.loads(run("--asset", "ev-00002", "--scenarios", "5", "--seed", "3", "--json"))["scenarios"]
    fleet = json.loads(run("--scenarios", "5", "--seed", "3", "--json"))["scenarios"]
    assert len(fleet) == 6
    assert [record["plugged_in"] for record in fleet if record["asset_id"] == "ev-00002"] == [alone[0]["plugged_in"]]


@pytest.mark.usefixtures("folder")
def test_people_see_the_heaviest_and_no_one_sees_any_unasked() -> None:
    shown = run("--asset", "ev-00002", "--scenarios", "20")
    assert "20 scenarios of 48 h" in shown
    assert len([line for line in shown.splitlines() if "at the end" in line]) == 5
    assert "scenarios" not in json.loads(run("--asset", "ev-00002", "--json"))
