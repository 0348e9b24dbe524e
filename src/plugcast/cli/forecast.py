"""``plugcast forecast``: the next 48 hours of one vehicle or of a fleet."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from plugcast.cli import inputs, output
from plugcast.domain.units import SLOT_MIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl
    from rich.table import Table

BAR: Final = 20
"""Characters of a full bar."""
SHOWN: Final = 5
"""Scenarios in the terminal."""
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
    scenarios: Annotated[
        int, typer.Option(min=0, max=1000, help="Joint 48 h futures of each vehicle to draw as well.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scenarios.")] = 0,
    config: inputs.ConfigOption = None,
    time_zone: inputs.TimeZoneOption = None,
    as_json: inputs.JsonOption = False,
) -> None:
    """Forecast plug state and energy to full for the next 48 hours, in steps of 15 minutes.

    Energy to full comes as its 10, 50 and 90 % quantiles, in % of the battery. Scenarios are weighted trajectories of
    plug state and charge that agree with the plug probabilities; --json has them in full.
    """
    from plugcast.adapters.files import LocalArtifacts
    from plugcast.services import training
    from plugcast.services.tables import write_csv

    settings = inputs.settings_for(config, time_zone)
    read = inputs.read_telemetry(telemetry, settings)
    frame = training.forecast(read, LocalArtifacts(models), assets=asset or ())
    drawn = training.scenarios(read, LocalArtifacts(models), frame, scenarios, seed=seed) if scenarios else []
    if out is not None:
        write_csv(frame, out)
    if as_json:
        document: dict[str, object] = {"written": None if out is None else str(out), "forecasts": frame.to_dicts()}
        output.emit_json(document | ({"scenarios": drawn} if scenarios else {}))
        return
    console = output.out()
    vehicles = frame["asset_id"].unique(maintain_order=True).to_list()
    shown = vehicles if asset else vehicles[:1]
    for name in shown:
        console.print(table_of(frame, name, settings.site.time_zone))
        for paths in (record for record in drawn if record["asset_id"] == name):
            console.print(lines_of(paths, most=SHOWN))
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


def lines_of(paths: Mapping[str, Any], *, most: int) -> str:
    """The heaviest scenarios of a vehicle, one a line: a mark for every two hours, full where plugged in."""
    order = sorted(range(len(paths["weight"])), key=lambda place: -paths["weight"][place])[:most]
    lines = [f"{len(paths['weight'])} scenarios of 48 h, the heaviest:"]
    for place in order:
        states = paths["plugged_in"][place][EVERY_MIN // SLOT_MIN - 1 :: EVERY_MIN // SLOT_MIN]
        end = paths["soc_pct"][place][-1]
        charge = "" if math.isnan(end) else f"  {end:.0f} % at the end"
        lines.append(f"{paths['weight'][place]:5.1%}  {''.join('█' if state else '·' for state in states)}{charge}")
    return "\n".join(lines)
