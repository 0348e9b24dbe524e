"""``plugcast forecast``: the next 48 hours of one vehicle or of a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from plugcast.cli import inputs, output

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

BAR: Final = 20
"""Characters of a full bar."""
EVERY_MIN: Final = 120
"""The table shows a row for every two hours; files hold every quarter of an hour."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(forecast)


def forecast(
    *,
    asset: Annotated[
        list[str] | None, typer.Option("--asset", "-a", help="Vehicle; may be given again. [default: all]")
    ] = None,
    telemetry: inputs.TelemetryOption = inputs.DEFAULT_TELEMETRY,
    models: inputs.ModelsOption = inputs.DEFAULT_MODELS,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV file to write, a row a vehicle and quarter hour.")
    ] = None,
    config: inputs.ConfigOption = None,
    time_zone: inputs.TimeZoneOption = None,
    as_json: inputs.JsonOption = False,
) -> None:
    """Forecast plug state and energy to full for the next 48 hours, in steps of 15 minutes.

    Energy to full comes as its 10, 50 and 90 % quantiles, in % of the battery.
    """
    from plugcast.adapters.files import LocalArtifacts
    from plugcast.services import training
    from plugcast.services.tables import write_csv

    settings = inputs.settings_for(config, time_zone)
    read = inputs.read_telemetry(telemetry, settings)
    frame = training.forecast(read, LocalArtifacts(models), assets=asset or ())
    if out is not None:
        write_csv(frame, out)
    if as_json:
        output.emit_json({"written": None if out is None else str(out), "forecasts": frame.to_dicts()})
        return
    console = output.out()
    vehicles = frame["asset_id"].unique(maintain_order=True).to_list()
    shown = vehicles if asset else vehicles[:1]
    for name in shown:
        console.print(table_of(frame, name, settings.site.time_zone))
    if len(shown) < len(vehicles):
        console.print(
            f"... and {len(vehicles) - len(shown):,} more vehicles: name one with --asset, or write all with --out."
        )
    if out is not None:
        console.print(f"{frame.height:,} rows: {out}")


def table_of(frame: pl.DataFrame, asset_id: str, time_zone: str) -> Table:
    """One vehicle's forecast for people."""
    import polars as pl
    from rich.table import Table

    mine = frame.filter((pl.col("asset_id") == asset_id) & (pl.col("lead_min") % EVERY_MIN == 0))
    issued = mine["issued_at"].dt.convert_time_zone(time_zone)[0]
    table = Table(title=f"{asset_id}, issued {issued:%a %Y-%m-%d %H:%M} ({time_zone})")
    for name in ("local time", "plugged in", "", "% to full", "80 % band"):
        table.add_column(name, justify="left" if not name else "right")
    mine = mine.with_columns(pl.col("valid_at").dt.convert_time_zone(time_zone))
    for row in mine.iter_rows(named=True):
        chance = row["plug_probability"]
        low, need, high = (row[f"energy_to_full{kind}_pct"] for kind in ("_low", "", "_high"))
        table.add_row(
            f"{row['valid_at']:%a %H:%M}",
            f"{chance:.0%}",
            "█" * round(chance * BAR),
            "" if need is None else f"{need:.0f}",
            "" if low is None or high is None else f"{low:.0f} - {high:.0f}",
        )
    return table
