"""How near generated sessions come to real ones: quantiles side by side, and a distance for each measure.

Sessions are taken from a telemetry frame, so that what is checked is what users get. A session whose plug-in or
plug-out lies in a silence is left out, because its times are unknown; this costs mostly long ones.
"""

from __future__ import annotations

import json
from gzip import open as open_gzip
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from plugcast.errors import UnreadableInputError
from plugcast.simulate.calibration import AC_EFFICIENCY, DC_EFFICIENCY
from plugcast.simulate.habits import Person

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from plugcast.simulate.habits import Vehicle

_FEWEST_SESSIONS: Final = 5
_AC_MAX_KW: Final = 22.0
_DAY_BEGINS_H: Final = 4.0
"""Clock hours are compared from 4 h to 28 h, as few plug in or out at 4 h."""
_PANDEMIC: Final = pl.datetime(2020, 3, 1, time_zone="America/Los_Angeles")
_ACN_INSTANT: Final = "%a, %d %b %Y %H:%M:%S GMT"
_SAP_DC_POSTS: Final = ("SAP-Mougins-13", "SAP-Mougins-14", "SAP-Mougins-15")

_CLOCK: Final = ("plug_in_h", "plug_out_h")
MEASURES: Final = {
    "home": (*_CLOCK, "stay_h", "energy_kwh", "per_day"),
    "work": (*_CLOCK, "stay_h", "energy_kwh"),
    "dc": ("stay_h", "energy_kwh", "soc_arrival_pct", "soc_departure_pct"),
}
SOURCES: Final = {"home": "Trondheim private", "work": "ACN Caltech + JPL", "dc": "SAP Labs + EPFL"}


def sessions_of(frame: pl.DataFrame, *, time_zone: str) -> pl.DataFrame:
    """One row a session of a telemetry frame (with ``gap_flag``), in order of vehicle and time.

    Columns: ``asset_id, plug_in_at, plug_out_at, soc_arrival_pct, soc_departure_pct, energy_kwh`` (at the plug, by the
    mean efficiency), ``max_power_kw`` and the measures of hours. Times are the middle between two samples.
    """
    run = pl.col("is_plugged_in").rle_id().over("asset_id").alias("run")
    before, after = (pl.col(name).shift(1).over("asset_id") for name in ("timestamp", "soc"))
    framed = frame.sort("asset_id", "timestamp").with_columns(
        run,
        soc_before=after,
        at_before=before,
        at_next=pl.col("timestamp").shift(-1).over("asset_id"),
        soc_next=pl.col("soc").shift(-1).over("asset_id"),
        gap_next=pl.col("gap_flag").shift(-1).over("asset_id"),
    )
    runs = framed.group_by("asset_id", "run", maintain_order=True).agg(
        pl.col("is_plugged_in", "soc_before", "at_before", "gap_flag", "capacity_kwh").first(),
        pl.col("at_next", "soc_next", "gap_next").last(),
        first_at=pl.col("timestamp").first(),
        last_at=pl.col("timestamp").last(),
        soc_last=pl.col("soc").last(),
        max_power_kw=pl.col("power_kw").max(),
    )
    whole = runs.filter(
        "is_plugged_in", ~pl.col("gap_flag"), ~pl.col("gap_next"), pl.col("at_before").is_not_null()
    ).drop_nulls("at_next")
    efficiency = pl.when(pl.col("max_power_kw") > _AC_MAX_KW).then(DC_EFFICIENCY).otherwise(AC_EFFICIENCY)
    leaving = pl.max_horizontal("soc_next", "soc_last")  # it may have been driven before the next sample
    gained_kwh = (leaving - pl.col("soc_before")).clip(0.0) / 100.0 * pl.col("capacity_kwh")
    return (
        whole.select(
            "asset_id",
            "max_power_kw",
            plug_in_at=pl.col("at_before") + (pl.col("first_at") - pl.col("at_before")) / 2,
            plug_out_at=pl.col("last_at") + (pl.col("at_next") - pl.col("last_at")) / 2,
            soc_arrival_pct="soc_before",
            soc_departure_pct=leaving,
            energy_kwh=gained_kwh / efficiency,
        )
        .with_columns(
            pl.col("plug_in_at", "plug_out_at").dt.convert_time_zone(time_zone),
        )
        .pipe(_with_hours)
    )


def compare_with_real(
    frame: pl.DataFrame, people: Iterable[Vehicle], *, time_zone: str, data_dir: Path
) -> pl.DataFrame:
    """A row a measure: deciles of real and generated sessions, Wasserstein distance (in the measure's unit) and KS.

    Home is compared on vehicles that charge at home only, work on those that charge at work only, both on AC; DC on
    all sessions above 22 kW. ``per_day`` is sessions per day of each vehicle or user with at least 5 of them.

    Raises:
        UnreadableInputError: A file of the real sets is missing.
    """
    person = {vehicle.asset_id: vehicle.person for vehicle in people}
    generated = _generated_groups(sessions_of(frame, time_zone=time_zone), person)
    real = {
        "home": read_home_sessions(data_dir),
        "work": read_work_sessions(data_dir),
        "dc": read_dc_sessions(data_dir),
    }
    rows = []
    for group, measures in MEASURES.items():
        for measure in measures:
            values = [_values(sessions, measure) for sessions in (real[group], generated[group])]
            rows.append({"group": group, "measure": measure, "source": SOURCES[group]} | _distances(*values))
    return pl.DataFrame(rows)


def _generated_groups(sessions: pl.DataFrame, person: Mapping[str, Person]) -> dict[str, pl.DataFrame]:
    ids = {kind: [name for name, its in person.items() if its is kind] for kind in (Person.HOME, Person.WORK)}
    on_ac = pl.col("max_power_kw") <= _AC_MAX_KW
    return {
        "home": sessions.filter(on_ac, pl.col("asset_id").is_in(ids[Person.HOME])),
        "work": sessions.filter(on_ac, pl.col("asset_id").is_in(ids[Person.WORK])),
        # posts report whole percents
        "dc": sessions.filter(~on_ac).with_columns(pl.col("soc_arrival_pct", "soc_departure_pct").round(0)),
    }


def _values(sessions: pl.DataFrame, measure: str) -> NDArray[np.float64]:
    if measure == "per_day":
        span = (pl.col("plug_in_at").max() - pl.col("plug_in_at").min()).dt.total_seconds() / 86_400
        users = sessions.group_by("asset_id").agg(pl.len(), span=span).filter(pl.col("len") >= _FEWEST_SESSIONS)
        found = users.select(pl.col("len") / pl.col("span")).to_series()
    else:
        found = sessions[measure].drop_nulls()
    values: NDArray[np.float64] = found.to_numpy().astype(np.float64)
    return values[np.isfinite(values)]


def _distances(real: NDArray[np.float64], generated: NDArray[np.float64]) -> dict[str, float | int | None]:
    row: dict[str, float | int | None] = {"n_real": len(real), "n_generated": len(generated)}
    for name, values in (("real", real), ("generated", generated)):
        for level in (10, 50, 90):
            row[f"{name}_p{level}"] = float(np.quantile(values, level / 100)) if len(values) else None
    row["wasserstein"] = wasserstein(real, generated) if len(generated) else None
    row["ks"] = kolmogorov_smirnov(real, generated) if len(generated) else None
    return row


def wasserstein(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The mean distance that mass must move to make one sample the other, in the samples' unit.

    >>> wasserstein(np.array([0.0, 1.0]), np.array([0.5, 1.5]))
    0.5
    """
    both = np.sort(np.concatenate([a, b]))
    share_a, share_b = (np.searchsorted(np.sort(x), both[:-1], side="right") / len(x) for x in (a, b))
    return float(np.sum(np.abs(share_a - share_b) * np.diff(both)))


def kolmogorov_smirnov(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The largest difference of the two samples' distribution functions, 0 to 1.

    >>> kolmogorov_smirnov(np.array([0.0, 1.0]), np.array([0.5, 1.5]))
    0.5
    """
    both = np.concatenate([a, b])
    share_a, share_b = (np.searchsorted(np.sort(x), both, side="right") / len(x) for x in (a, b))
    return float(np.max(np.abs(share_a - share_b)))


def _with_hours(sessions: pl.DataFrame) -> pl.DataFrame:
    def clock(name: str) -> pl.Expr:
        hour = pl.col(name).dt.hour() + pl.col(name).dt.minute() / 60.0
        return (hour - _DAY_BEGINS_H) % 24.0 + _DAY_BEGINS_H

    return sessions.with_columns(
        plug_in_h=clock("plug_in_at"),
        plug_out_h=clock("plug_out_at"),
        stay_h=(pl.col("plug_out_at") - pl.col("plug_in_at")).dt.total_seconds() / 3600.0,
    )


# --- the real sets: each reader returns asset_id, plug_in_at, plug_out_at, energy_kwh and the measures of hours


def _parquet(data_dir: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(_existing(data_dir, name))


def _existing(data_dir: Path, name: str) -> Path:
    path = data_dir / name
    if not path.is_file():
        raise UnreadableInputError(
            f"{path} was not found. The comparison needs the folder of the real data sets; name it with --check."
        )
    return path


def read_home_sessions(data_dir: Path) -> pl.DataFrame:
    """Private charging points of Trondheim; hours are local."""
    table = _parquet(data_dir, "trondheim_residential_sessions.parquet").filter(pl.col("User_type") == "Private")
    instant = "%d.%m.%Y %H:%M"
    return table.select(
        asset_id="User_ID",
        plug_in_at=pl.col("Start_plugin").str.to_datetime(instant, strict=False),
        plug_out_at=pl.col("End_plugout").str.to_datetime(instant, strict=False),
        energy_kwh=pl.col("El_kWh").str.replace(",", ".", literal=True).cast(pl.Float64, strict=False),
    ).pipe(_with_hours)


def read_work_sessions(data_dir: Path) -> pl.DataFrame:
    """Caltech and JPL before the pandemic; hours are Los Angeles'."""
    with open_gzip(_existing(data_dir, "acn_caltech_sessions.jsonl.gz"), "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    caltech = pl.DataFrame(
        {
            "asset_id": [record["userID"] for record in records],
            "plug_in_at": [record["connectionTime"] for record in records],
            "plug_out_at": [record["disconnectTime"] for record in records],
            "energy_kwh": [record["kWhDelivered"] for record in records],
        },
        schema_overrides={"asset_id": pl.String},
    ).with_columns(pl.col("plug_in_at", "plug_out_at").str.to_datetime(_ACN_INSTANT))
    jpl = (
        _parquet(data_dir, "acn_jpl_sessions.parquet")
        .unique("Session")
        .select(
            asset_id="UserID",
            plug_in_at=pl.col("ConnectionStartDateTime").cast(pl.Datetime("us")),
            plug_out_at=pl.col("ConnectionEndDateTime").cast(pl.Datetime("us")),
            energy_kwh="Energy",
        )
    )
    local = pl.col("plug_in_at", "plug_out_at").dt.replace_time_zone("UTC").dt.convert_time_zone("America/Los_Angeles")
    both = pl.concat([caltech, jpl]).with_columns(local)
    return both.filter(pl.col("plug_in_at") < _PANDEMIC).pipe(_with_hours)


def read_dc_sessions(data_dir: Path) -> pl.DataFrame:
    """DC posts of SAP Labs and EPFL with the state of charge on arrival and departure."""
    sap = (
        _parquet(data_dir, "sap_labs_transactions.parquet")
        .filter(pl.col("ID borne").is_in(_SAP_DC_POSTS))
        .select(
            soc_arrival_pct=pl.col("Charge batterie demarrage (%)").cast(pl.Float64, strict=False),
            soc_departure_pct=pl.col("Charge batterie fin (%)").cast(pl.Float64, strict=False),
            energy_kwh=pl.col("Consommation totale (Wh)").cast(pl.Float64, strict=False) / 1000.0,
            stay_h=pl.col("Duree totale (s)").cast(pl.Float64, strict=False) / 3600.0,
        )
        .filter(pl.col("soc_arrival_pct") > 0, pl.col("soc_departure_pct") > pl.col("soc_arrival_pct"))
    )
    epfl = _parquet(data_dir, "desl_ccs_sessions_soc.parquet").select(
        soc_arrival_pct=pl.col("SOC arrival").cast(pl.Float64),
        soc_departure_pct=pl.col("SOC departure").cast(pl.Float64),
        energy_kwh=pl.col("Energy (Wh)").cast(pl.Float64) / 1000.0,
        stay_h=pl.col("Stay (min)").cast(pl.Float64) / 60.0,
    )
    return pl.concat([sap, epfl])
