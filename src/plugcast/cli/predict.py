"""``plugcast predict``: one row for every vehicle's newest sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plugcast.cli import inputs, output


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(predict)


def predict(
    *,
    telemetry: inputs.TelemetryOption = inputs.DEFAULT_TELEMETRY,
    models: inputs.ModelsOption = inputs.DEFAULT_MODELS,
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV file to write.")] = Path("predictions.csv"),
    config: inputs.ConfigOption = None,
    time_zone: inputs.TimeZoneOption = None,
    as_json: inputs.JsonOption = False,
) -> None:
    """Predict plug state and energy to full for every vehicle's newest sample.

    Writes asset_id, timestamp, plug_probability and predicted_energy_to_full (%), at the lead that the models were
    trained for (15 minutes by default). Needs no label and leaves no vehicle out.
    """
    from plugcast.adapters.files import LocalArtifacts
    from plugcast.services import training
    from plugcast.services.tables import write_csv

    settings = inputs.settings_for(config, time_zone)
    read = inputs.read_telemetry(telemetry, settings)
    predictions = training.predict(read, LocalArtifacts(models))
    write_csv(predictions, out)
    note = inputs.keep_rejected(read.rejected, out.with_name(out.stem + "_rejected.jsonl"))
    if note:
        output.err().print(note)
    if as_json:
        output.emit_json({"written": str(out), "predictions": predictions.to_dicts()})
        return
    chance = predictions["plug_probability"].mean()
    about = f", {chance:.0%} of them plugged in on average" if isinstance(chance, float) else ""
    after = inputs.command("forecast", telemetry=telemetry, models=models)
    output.out().print(f"{predictions.height:,} vehicles predicted{about}: {out}. Next: {after}")
