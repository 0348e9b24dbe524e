"""The real sets of the session benches, read with the project's own readers; their places are told by PLUGCAST_DATA."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl
from benches import data_folder

from plugcast.adapters.acn.files import AcnFile
from plugcast.adapters.tables import SessionsFile
from plugcast.features.stay_visits import Identified, StayBook
from plugcast.forecast.sessions_soc import ChargeVisits
from plugcast.schemas import USER_INPUTS

ZONE: Final = "America/Los_Angeles"
GRACE: Final = timedelta(minutes=5)
"""How long after plug-in a forecast waits for the driver's first declaration."""
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
DC_STATIONS: Final = ("2-39-81-4550",)
SAP_DC_POSTS: Final = ("SAP-Mougins-13", "SAP-Mougins-14", "SAP-Mougins-15")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A site's sessions, declarations joined."""

    name: str
    sessions: pl.DataFrame
    user_inputs: pl.DataFrame
    book: StayBook
    dc: np.ndarray
    """Direct current, by row of the book."""


def caltech(*, grace: timedelta = GRACE) -> Site:
    """Who plugged in is known from the first declaration, never from the finished record."""
    read = AcnFile(data_folder.needed() / "acn_caltech_sessions.jsonl.gz", now=NOW).read()
    book = StayBook.of(read.sessions, read.user_inputs, time_zone=ZONE, grace=grace, identified="by_declaration")
    return Site(name="caltech", sessions=read.sessions, user_inputs=read.user_inputs, book=book, dc=_dc(read.sessions))


def jpl() -> Site:
    """The declarations carry no time of their own there: drivers and declarations count as known at plug-in."""
    sessions = (
        SessionsFile(data_folder.needed() / "acn_jpl_sessions.parquet", now=NOW, site_id="jpl", site_time_zone=ZONE)
        .read()
        .sessions
    )
    wishes = SessionsFile(data_folder.needed() / "acn_jpl_requests.parquet", now=NOW, time_zone=ZONE).read()
    station = pl.col("session_id").str.extract(r"^(\d+_\d+_\d+_\d+)").str.replace_all("_", "-", literal=True)
    at = ["station_id", "arrival_at"]
    keys = wishes.sessions.select("session_id", station.alias("station_id"), "arrival_at").unique(at)
    ours = sessions.select(pl.col("session_id").alias("ours"), "station_id", pl.col("arrival_at").dt.round("1s"))
    joined = keys.join(ours.unique(at), on=at).select("session_id", "ours")
    told = wishes.user_inputs.join(joined, on="session_id").with_columns(pl.col("ours").alias("session_id"))
    inputs = told.select(list(USER_INPUTS)).sort("session_id", "available_at")
    book = StayBook.of(sessions, inputs, time_zone=ZONE, grace=GRACE)
    return Site(name="jpl", sessions=sessions, user_inputs=inputs, book=book, dc=_dc(sessions))


def since(site: Site, start: datetime) -> Site:
    """The site as if it had opened at ``start``."""
    sessions = site.sessions.filter(pl.col("arrival_at") >= start)
    identified: Identified = "by_declaration" if site.name == "caltech" else "at_plug_in"
    book = StayBook.of(sessions, site.user_inputs, time_zone=ZONE, grace=GRACE, identified=identified)
    return Site(name=site.name, sessions=sessions, user_inputs=site.user_inputs, book=book, dc=_dc(sessions))


def sap_dc_posts() -> tuple[ChargeVisits, str]:
    """The three DC posts that read the state of charge."""
    raw = pl.read_parquet(data_folder.needed() / "sap_labs_transactions.parquet").filter(
        pl.col("ID borne").is_in(SAP_DC_POSTS)
    )
    start, end = "Charge batterie demarrage (%)", "Charge batterie fin (%)"
    frame = raw.select(
        pl.col("Date demarrage").str.to_datetime(time_zone="UTC", strict=False).alias("arrival_at"),
        pl.col("Date fin").str.to_datetime(time_zone="UTC", strict=False).alias("departure_at"),
        pl.col("ID borne").alias("station"),
        pl.col(start).cast(pl.Float64, strict=False).alias("start_soc"),
        pl.col(end).cast(pl.Float64, strict=False).alias("end_soc"),
        pl.lit(None, pl.Float64).alias("capacity_kwh"),
    )
    return _charge_visits(frame), "Europe/Paris"


def epfl_fast_charger() -> tuple[ChargeVisits, str]:
    """One station of two plugs; capacity as the car tells it, without its placeholder of 10 kWh."""
    raw = pl.read_parquet(data_folder.needed() / "desl_ccs_sessions_soc.parquet")
    told = pl.col("TotalCapacity").cast(pl.Float64, strict=False) / 1000
    frame = raw.select(
        _utc("Arrival").alias("arrival_at"),
        _utc("Departure").alias("departure_at"),
        pl.col("CCS").alias("station"),
        pl.col("SOC arrival").cast(pl.Float64).alias("start_soc"),
        pl.col("SOC departure").cast(pl.Float64).alias("end_soc"),
        pl.when(told != 10.0).then(told).alias("capacity_kwh"),  # noqa: PLR2004 - the placeholder
    )
    return _charge_visits(frame), "Europe/Zurich"


def _utc(name: str) -> pl.Expr:
    local = pl.col(name).cast(pl.Datetime("us"))
    return local.dt.replace_time_zone("Europe/Zurich", ambiguous="earliest", non_existent="null").dt.convert_time_zone(
        "UTC"
    )


def _charge_visits(frame: pl.DataFrame) -> ChargeVisits:
    usable = (pl.col("start_soc") > 0) & (pl.col("end_soc") >= pl.col("start_soc")) & (pl.col("end_soc") <= 100)  # noqa: PLR2004 - %
    kept = frame.drop_nulls(["arrival_at", "departure_at", "start_soc", "end_soc"]).filter(usable).sort("arrival_at")
    return ChargeVisits(
        arrival_us=kept["arrival_at"].cast(pl.Datetime("us", "UTC")).to_physical().to_numpy(),
        known_us=kept["departure_at"].cast(pl.Datetime("us", "UTC")).to_physical().to_numpy(),
        station=kept["station"].rank("dense").to_numpy(),
        start_soc=kept["start_soc"].to_numpy(),
        end_soc=kept["end_soc"].to_numpy(),
        capacity_kwh=kept["capacity_kwh"].fill_null(np.nan).to_numpy(),
    )


def _dc(sessions: pl.DataFrame) -> np.ndarray:
    ordered = sessions.sort("arrival_at", "session_id")
    return ordered["station_id"].is_in(DC_STATIONS).to_numpy()
