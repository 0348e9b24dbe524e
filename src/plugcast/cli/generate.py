"""``plugcast generate``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from plugcast.cli.output import emit_json, err, out, progress

if TYPE_CHECKING:
    import polars as pl

    from plugcast.simulate.telemetry import GeneratorSpec

DEFAULT_OUT = Path("synthetic_ev_data.csv")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("generate")(generate)


def generate(
    *,
    vehicles: Annotated[int, typer.Option(min=1, max=99_999, help="How many vehicles.")] = 50,
    days: Annotated[int, typer.Option(min=1, max=3_660, help="How many days.")] = 28,
    start: Annotated[
        str, typer.Option(help="First instant, ISO 8601; without an offset it is local time of --time-zone.")
    ] = "2026-01-05",
    time_zone: Annotated[str, typer.Option(help="Habits follow the wall clock of this zone, such as Europe/Oslo.")] = (
        "UTC"
    ),
    seed: Annotated[int, typer.Option(min=0, help="The same seed writes the same bytes.")] = 42,
    target: Annotated[Path, typer.Option("--out", help="The CSV file to write.")] = DEFAULT_OUT,
    check: Annotated[
        Path | None,
        typer.Option(metavar="DATA_DIR", help="Compare with the real sessions in this folder; keeps all rows at hand."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as one JSON document on stdout.")] = False,
) -> None:
    """Write synthetic telemetry of electric vehicles: irregular, with silences, charged by habit."""
    zone = _zone(time_zone)
    start_at = _instant(start, zone)
    if target.is_dir():
        raise typer.BadParameter(f"{target} is a folder; name a file.", param_hint="--out")
    if check is not None and not check.is_dir():
        raise typer.BadParameter(f"{check} is not a folder.", param_hint="--check")

    from plugcast.errors import ConfigError
    from plugcast.simulate.telemetry import GeneratorSpec

    try:
        spec = GeneratorSpec(vehicles=vehicles, days=days, start_at=start_at, time_zone=time_zone, seed=seed)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    report, kept = _write(spec, target, keep=check is not None)
    comparison = _compare(spec, kept, check) if check is not None else None
    if as_json:
        emit_json(report | ({} if comparison is None else {"comparison": comparison.to_dicts()}))
        return
    out().print(
        f"Wrote {report['rows']:,} samples of {vehicles} vehicles to {target}"
        f" ({report['gaps']:,} silences; {report['first_at']:%Y-%m-%d %H:%M} to"
        f" {report['last_at']:%Y-%m-%d %H:%M} UTC).",
        highlight=False,
    )
    if comparison is not None:
        _show(comparison)
    zone_option = "" if time_zone == "UTC" else f" --time-zone {time_zone}"
    err().print(f"Next: plugcast train --telemetry {target}{zone_option}", highlight=False)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise typer.BadParameter(
            f"{name!r} is not a time zone; write one like 'Europe/Oslo' or 'UTC'.", param_hint="--time-zone"
        ) from error


def _instant(text: str, zone: ZoneInfo) -> datetime:
    from plugcast.domain.units import EARLIEST_AT, LATEST_AT

    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not an ISO 8601 instant; write one like 2026-01-05 or 2026-01-05T06:00+01:00.",
            param_hint="--start",
        ) from error
    found = found if found.tzinfo is not None else found.replace(tzinfo=zone)
    if not EARLIEST_AT.timestamp() <= found.timestamp() < LATEST_AT.timestamp():
        raise typer.BadParameter(f"{text} lies outside the years 2005 to 2099.", param_hint="--start")
    return found.astimezone(UTC).replace(microsecond=0)


def _write(spec: GeneratorSpec, target: Path, *, keep: bool) -> tuple[dict[str, Any], list[pl.DataFrame]]:
    """Write part by part into a file beside the target, then rename; a failure leaves the target as it was."""
    import polars as pl

    from plugcast.errors import PlugcastError
    from plugcast.simulate.telemetry import write_csv

    kept: list[pl.DataFrame] = []
    spans: list[tuple[datetime, datetime]] = []
    rows = gaps = 0
    try:
        with progress() as bar:
            task = bar.add_task("Vehicles", total=spec.vehicles)
            for part in write_csv(spec, target):
                rows += part.height
                gaps += int(part["gap_flag"].sum())
                spans.append(part.select(pl.col("timestamp").min(), last=pl.col("timestamp").max()).row(0))
                bar.advance(task, part["asset_id"].n_unique())
                if keep:
                    kept.append(part)
    except OSError as error:
        raise PlugcastError(
            f"{target} could not be written: {error.strerror or error}. Name another with --out."
        ) from error
    report = {
        "path": str(target),
        "rows": rows,
        "vehicles": spec.vehicles,
        "days": spec.days,
        "seed": spec.seed,
        "time_zone": spec.time_zone,
        "gaps": gaps,
        "first_at": min(first for first, _ in spans),
        "last_at": max(last for _, last in spans),
    }
    return report, kept


def _compare(spec: GeneratorSpec, parts: list[pl.DataFrame], data_dir: Path) -> pl.DataFrame:
    import polars as pl

    from plugcast.simulate.realism import compare_with_real
    from plugcast.simulate.telemetry import vehicles

    return compare_with_real(pl.concat(parts), vehicles(spec), time_zone=spec.time_zone, data_dir=data_dir)


def _show(comparison: pl.DataFrame) -> None:
    from rich.table import Table

    sizes: list[str] = []
    table = Table(
        title="Sessions: 10 %, 50 %, 90 % quantiles; W = Wasserstein distance in the unit of the measure",
        title_justify="left",
    )
    table.add_column("measure", no_wrap=True)
    for name in ("real", "generated", "W", "KS"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in comparison.iter_rows(named=True):
        deciles = (
            " ".join(_figure(row[f"{kind}_p{level}"]) for level in (10, 50, 90)) for kind in ("real", "generated")
        )
        name = f"{row['group']} {row['measure']}"
        table.add_row(name, *deciles, _figure(row["wasserstein"]), _figure(row["ks"]))
        if row["measure"] == "stay_h":
            sizes.append(f"{row['source']} {row['n_real']:,} | {row['n_generated']:,}")
    out().print(table)
    out().print(f"Number of sessions: {'; '.join(sizes)}.", highlight=False)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004 - three digits say enough
