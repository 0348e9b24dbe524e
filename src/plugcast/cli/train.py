"""``plugcast train``: telemetry in, models and metrics out."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plugcast.cli import inputs, output

if TYPE_CHECKING:
    from rich.table import Table


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(train)


def train(
    *,
    telemetry: inputs.TelemetryOption = inputs.DEFAULT_TELEMETRY,
    models: inputs.ModelsOption = inputs.DEFAULT_MODELS,
    time_zone: inputs.TimeZoneOption = None,
    config: inputs.ConfigOption = None,
    horizon: Annotated[bool, typer.Option(help="Also train the model for 15 minutes to 48 hours ahead.")] = True,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads. [default: the CPU quota]")] = None,
    as_json: inputs.JsonOption = False,
) -> None:
    """Train the plug-in and energy models and measure them.

    Model, persistence and climatology stand side by side, on a later part of the time and on vehicles that training
    never saw. Writes plug_model.txt, energy_model.txt and metrics.json, among others, into the models folder.
    """
    from plugcast.adapters.files import LocalArtifacts
    from plugcast.services import training

    settings = inputs.settings_for(config, time_zone)
    say = output.err()
    store = LocalArtifacts(models)
    store.require_place()
    read = inputs.read_telemetry(telemetry, settings)
    with say.status("reading") as status:
        report = training.train(
            read,
            store,
            settings,
            source=telemetry.name,
            now=datetime.now(UTC),
            threads=inputs.threads_for(settings, threads),
            with_horizon=horizon,
            say=status.update,
        )
    note = inputs.keep_rejected(report.rejected, models / "rejected.jsonl")
    for sentence in report.notes:
        say.print(sentence, highlight=False)
    if note:
        say.print(note)
    if as_json:
        output.emit_json(report.metrics)
        return
    out = output.out()
    out.print(short_table(report.metrics))
    if "horizon" in report.metrics:
        out.print(horizon_table(report.metrics["horizon"]["time_split"]))
    after = inputs.command("predict", telemetry=telemetry, models=models)
    out.print(f"Models and metrics.json are in {models}/. Next: {after}", highlight=False)


def short_table(metrics: dict[str, Any]) -> Table:
    """Model beside baselines at the short lead."""
    from rich.table import Table

    table = Table(title=f"+{metrics['lead_min']:g} min, on what training never saw (Brier and MAE: lower is better)")
    for name in ("part", "rows", "", "plug Brier", "plug AUC", "energy MAE %"):
        table.add_column(name, justify="left" if name in {"part", ""} else "right")
    for part, title in (("time_split", "later time"), ("unseen_vehicles", "unseen vehicles")):
        block = metrics[part]
        for name in ("model", "persistence", "climatology"):
            if name in block:
                row = block[name]
                table.add_row(
                    title if name == "model" else "",
                    f"{block['rows']:,}" if name == "model" else "",
                    name,
                    f"{row['plug_brier']:.4f}",
                    _auc(row["plug_auc"]),
                    f"{row['energy_mae_pct']:.3f}",
                )
    return table


def _auc(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else ""


def horizon_table(rows: list[dict[str, Any]]) -> Table:
    """Model beside baselines at each reported lead."""
    from rich.table import Table

    table = Table(title="15 min to 48 h, later time: plug Brier (persistence, climatology), energy MAE %, 80 % band")
    for name in ("lead", "model", "persistence", "climatology", "energy MAE", "persistence ", "coverage"):
        table.add_column(name, justify="right")
    for row in rows:
        ours, nothing = row["model"], row["persistence"]
        table.add_row(
            f"{row['lead_min'] / 60:g} h",
            f"{ours['plug_brier']:.4f}",
            f"{nothing['plug_brier']:.4f}",
            f"{row['climatology']['plug_brier']:.4f}",
            f"{ours['energy_mae_pct']:.3f}" if "energy_mae_pct" in ours else "",
            f"{nothing['energy_mae_pct']:.3f}" if "energy_mae_pct" in nothing else "",
            f"{ours['energy_coverage_80']:.2f}" if "energy_coverage_80" in ours else "",
        )
    return table
