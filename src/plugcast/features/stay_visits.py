"""The sessions of one site as arrays: what each asks at plug-in, and the completed ones as history by availability.

A declaration counts if it was known within a stated grace after plug-in, and only the first one: what a driver amends
later was not known when the forecast was due. The same holds for who the driver is, where a site learns it from the
declaration; the record of a completed visit names its driver from the plug-out on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import polars as pl

from plugcast.schemas import SESSIONS, USER_INPUTS, conform

if TYPE_CHECKING:
    from datetime import timedelta

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
SATURDAY: Final = 5
Identified = Literal["at_plug_in", "by_declaration"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Completed visits as arrays ordered by ``known_us``: what a forecaster may look back on."""

    known_us: np.ndarray
    arrival_us: np.ndarray
    hour: np.ndarray
    """Local clock time of arrival, 0 to 24."""
    day: np.ndarray
    """Local date of arrival, days since 1970-01-01."""
    user: np.ndarray
    """Code of the driver; -1 = unknown."""
    stay_h: np.ndarray
    energy_kwh: np.ndarray
    charging_h: np.ndarray
    """Plug-in to the end of charging; NaN = never reported."""
    declared_h: np.ndarray
    """Stay by the first declaration; NaN = none in time."""
    declared_kwh: np.ndarray

    @property
    def weekend(self) -> np.ndarray:
        """Saturday or Sunday."""
        return weekday(self.day) >= SATURDAY

    @classmethod
    def of(cls, sessions: pl.DataFrame, time_zone: str, users: dict[str, int]) -> Visits:
        """Completed sessions with an energy (``schemas.SESSIONS``), declarations left aside.

        Args:
            sessions: Rows without a plug-out or an energy are left out.
            time_zone: Local zone of the clock.
            users: Codes of drivers; new ones are added.
        """
        undeclared = pl.lit(None, pl.Float64)
        frame = sessions.with_columns(undeclared.alias("declared_h"), undeclared.alias("declared_kwh"))
        return cls._of(frame, time_zone, users)

    @classmethod
    def _of(cls, frame: pl.DataFrame, time_zone: str, users: dict[str, int]) -> Visits:
        done = frame.drop_nulls(["departure_at", "energy_delivered_kwh"]).sort("available_at", "session_id")
        arrival = done["arrival_at"].to_physical().to_numpy()
        hour, day = local(arrival, time_zone)
        end = done["done_charging_at"] if "done_charging_at" in done.columns else pl.Series([None] * done.height)
        charging = (end.cast(done["arrival_at"].dtype) - done["arrival_at"]).dt.total_microseconds()
        return cls(
            known_us=done["available_at"].to_physical().to_numpy(),
            arrival_us=arrival,
            hour=hour,
            day=day,
            user=codes(done["user_id"], users),
            stay_h=(done["departure_at"] - done["arrival_at"]).dt.total_microseconds().to_numpy() / HOUR_US,
            energy_kwh=done["energy_delivered_kwh"].to_numpy(),
            charging_h=floats(charging) / HOUR_US,
            declared_h=floats(done["declared_h"]),
            declared_kwh=floats(done["declared_kwh"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StayBook:
    """Every session of a site as it stood at plug-in, in the order of arrival, and the completed ones to look back on.

    What is asked of row i at an instant rests on visits with ``known_us`` before that instant alone.
    """

    session_id: tuple[str, ...]
    arrival_us: np.ndarray
    known_us: np.ndarray
    """When the record was complete; of a running session the far future."""
    hour: np.ndarray
    day: np.ndarray
    user: np.ndarray
    """Driver as known within the grace; -1 = unknown then."""
    declared_h: np.ndarray
    declared_kwh: np.ndarray
    stay_h: np.ndarray
    """What came; NaN while it runs. A target, never a feature."""
    energy_kwh: np.ndarray
    past: Visits

    @classmethod
    def of(
        cls,
        sessions: pl.DataFrame,
        user_inputs: pl.DataFrame,
        *,
        time_zone: str,
        grace: timedelta,
        identified: Identified = "at_plug_in",
    ) -> StayBook:
        """Sessions of ONE site with their declarations.

        Args:
            sessions: ``schemas.SESSIONS``.
            user_inputs: ``schemas.USER_INPUTS``; only each session's first, known within the grace, counts.
            time_zone: The site's.
            grace: How long after plug-in the forecast waits for a declaration.
            identified: Whether the station knows the driver at plug-in (a card) or from the declaration alone.

        Raises:
            MissingColumnsError: A column of the schemas is absent.
        """
        frame = conform(sessions, SESSIONS, source="sessions").select(list(SESSIONS))
        frame = frame.join(first_declared(frame, user_inputs, grace), on="session_id", how="left")
        frame = frame.sort("arrival_at", "session_id")
        users: dict[str, int] = {}
        asked = frame["user_id"] if identified == "at_plug_in" else frame["declared_user"]
        past = Visits._of(frame, time_zone, users)  # noqa: SLF001 - one module
        arrival = frame["arrival_at"].to_physical().to_numpy()
        hour, day = local(arrival, time_zone)
        complete = frame["departure_at"].is_not_null() & frame["energy_delivered_kwh"].is_not_null()
        known = pl.select(pl.when(complete).then(frame["available_at"].to_physical())).to_series()
        return cls(
            session_id=tuple(frame["session_id"].to_list()),
            arrival_us=arrival,
            known_us=known.fill_null(np.iinfo(np.int64).max).to_numpy(),
            hour=hour,
            day=day,
            user=codes(asked, users),
            declared_h=floats(frame["declared_h"]),
            declared_kwh=floats(frame["declared_kwh"]),
            stay_h=floats((frame["departure_at"] - frame["arrival_at"]).dt.total_microseconds()) / HOUR_US,
            energy_kwh=floats(frame["energy_delivered_kwh"]),
            past=past,
        )

    @property
    def rows(self) -> int:
        """How many sessions."""
        return len(self.arrival_us)


def first_declared(sessions: pl.DataFrame, user_inputs: pl.DataFrame, grace: timedelta) -> pl.DataFrame:
    """Each session's first declaration that was known within ``grace`` of its plug-in.

    Columns: session_id, declared_user, declared_h (stay, hours from plug-in), declared_kwh.
    """
    told = conform(user_inputs, USER_INPUTS, source="user inputs").join(
        sessions.select("session_id", "arrival_at"), on="session_id"
    )
    leaves = pl.coalesce(
        "declared_departure_at", pl.col("arrival_at") + pl.duration(minutes=pl.col("minutes_available"))
    )
    return (
        told.filter(pl.col("available_at") <= pl.col("arrival_at") + grace)
        .sort("session_id", "available_at", maintain_order=True)
        .unique("session_id", keep="first", maintain_order=True)
        .select(
            "session_id",
            pl.col("user_id").alias("declared_user"),
            ((leaves - pl.col("arrival_at")).dt.total_microseconds() / HOUR_US).alias("declared_h"),
            pl.col("energy_requested_kwh").alias("declared_kwh"),
        )
    )


def local(at_us: np.ndarray, time_zone: str) -> tuple[np.ndarray, np.ndarray]:
    """Local hour of day (with fraction) and local date (days since 1970) of UTC instants."""
    clock = pl.Series(at_us).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(time_zone).dt
    wall = clock.replace_time_zone(None).to_physical().to_numpy()
    return wall % DAY_US / HOUR_US, wall // DAY_US


def weekday(day: np.ndarray) -> np.ndarray:
    """Day of the week, Monday = 0, of days since 1970-01-01 (a Thursday)."""
    return np.asarray((day + 3) % 7)


def codes(names: pl.Series, users: dict[str, int]) -> np.ndarray:
    """Codes of drivers, -1 for null; new names are added to ``users``."""
    return np.array([-1 if name is None else users.setdefault(name, len(users)) for name in names.to_list()], np.int64)


def floats(values: pl.Series) -> np.ndarray:
    """Float64 with NaN for null."""
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy()
