"""generate, train, predict and forecast in an empty folder, as a newcomer types them."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from typer.testing import CliRunner

from plugcast.cli.app import app
from plugcast.errors import InputError, ModelError, ModelNotFoundError, NoUsableRowsError, UnreadableInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer.testing import Result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        _run("generate", "--vehicles", "8", "--days", "10")
        with Path("synthetic_ev_data.csv").open("a", encoding="utf-8") as file:
            file.write("ev-new,2026-01-14T12:00:00Z,55.5,true,7.2,60.0,false\n")  # a car that has just joined
            file.write("ev-bad,2026-01-14T12:00:00Z,155.5,true,7.2,60.0,false\n")
        Path("plugcast.toml").write_text("[forecast]\nmax_rows = 8000\n", encoding="utf-8")  # small models are quick
        _run("train", "--threads", "1")
        _run("predict")
        yield place


def _run(*words: str, ok: int = 0) -> Result:
    result = CliRunner().invoke(app, list(words))
    if result.exit_code != ok:
        raise result.exception or AssertionError(result.output)
    return result


def test_every_vehicle_has_one_prediction_for_its_newest_sample(folder: Path) -> None:
    with (folder / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["asset_id", "timestamp", "plug_probability", "predicted_energy_to_full"]
    data = pl.read_csv(folder / "synthetic_ev_data.csv").filter(pl.col("soc") <= 100)
    newest = dict(data.group_by("asset_id").agg(pl.col("timestamp").max()).iter_rows())
    assert {row["asset_id"]: row["timestamp"] for row in rows} == newest
    assert len(newest) == 9
    for row in rows:
        assert 0 <= float(row["plug_probability"]) <= 1
        assert 0 <= float(row["predicted_energy_to_full"]) <= 100


def test_training_leaves_models_metrics_and_the_rejected_rows(folder: Path) -> None:
    models = folder / "models"
    assert {"plug_model.txt", "energy_model.txt", "metrics.json", "model.json"} <= {p.name for p in models.iterdir()}
    metrics = json.loads((models / "metrics.json").read_text(encoding="utf-8"))
    for part in ("time_split", "unseen_vehicles"):
        assert {"model", "persistence", "climatology"} <= set(metrics[part])
    kept = [json.loads(line) for line in (models / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["reason"] for row in kept} == {"out_of_range", "trace_too_short"}
    books = metrics["books"]
    assert books["accepted"] + books["rejected"] + books["duplicates"] == books["read"]
    assert books["vehicles_too_short"] == 1


@pytest.mark.usefixtures("folder")
def test_a_forecast_covers_48_hours_in_quarter_hours() -> None:
    document = json.loads(_run("forecast", "--asset", "ev-new", "--json").stdout)
    rows = document["forecasts"]
    assert [row["lead_min"] for row in rows] == [15.0 * step for step in range(1, 193)]
    for row in rows:
        assert row["energy_to_full_low_pct"] <= row["energy_to_full_pct"] <= row["energy_to_full_high_pct"]


@pytest.mark.usefixtures("folder")
def test_json_is_the_only_thing_on_stdout() -> None:
    document = json.loads(_run("predict", "--json", "--out", "again.csv").stdout)
    assert Path("again.csv").read_bytes() == Path("predictions.csv").read_bytes()
    assert len(document["predictions"]) == 9


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (["train", "--telemetry", "absent.csv"], UnreadableInputError, "plugcast generate"),
        (["predict", "--models", "nowhere"], ModelNotFoundError, "plugcast train"),
        (["forecast", "--asset", "nobody"], InputError, "nobody"),
        (["train", "--telemetry", "one.csv", "--models", "m1"], NoUsableRowsError, "20 samples"),
        (["train", "--telemetry", "short.csv", "--models", "m2"], NoUsableRowsError, "Wanted at least"),
        (["train", "--models", "one.csv"], InputError, "wanted a directory"),
        (["train", "--models", "one.csv/inside"], InputError, "found the file"),
    ],
)
def test_errors_say_what_to_do(words: list[str], error: type[Exception], says: str) -> None:
    lines = Path("synthetic_ev_data.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    Path("one.csv").write_text("".join(lines[:2]), encoding="utf-8")
    Path("short.csv").write_text("".join(lines[:60]), encoding="utf-8")
    with pytest.raises(error, match=says):
        _run(*words)
    assert not Path("m1").exists()
    assert not Path("m2").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_a_model_without_horizon_says_so() -> None:
    _run("train", "--no-horizon", "--threads", "1", "--models", "short")
    with pytest.raises(ModelError, match="--no-horizon"):
        _run("forecast", "--models", "short")


@pytest.mark.usefixtures("folder")
def test_what_telemetry_cannot_teach_is_told_and_what_to_type_next_works() -> None:
    telemetry = pl.read_csv("synthetic_ev_data.csv").with_columns(is_plugged_in=pl.lit("true"))
    telemetry.write_csv("always in.csv")
    told = _run("train", "--no-horizon", "--threads", "1", "--telemetry", "always in.csv", "--models", "always")
    assert "Every sample is plugged in" in told.stderr
    assert json.loads(Path("always/metrics.json").read_bytes())["notes"]
    assert "nan" not in told.stdout
    words = shlex.split(told.stdout.partition("Next: plugcast ")[2])
    assert words == ["predict", "--telemetry", "always in.csv", "--models", "always"]
    assert (
        "Next: plugcast forecast --telemetry 'always in.csv' --models always"
        in _run(*words, "--out", "always.csv").stdout
    )


def test_an_unknown_zone_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["train", "--time-zone", "Mars/Olympus"]).exit_code == 2
