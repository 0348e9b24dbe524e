"""Irregular telemetry of electric vehicles: seeded, with long silences, charging habits and a battery that tapers.

Each vehicle is drawn from its own child of the seed, so the first ones stay the same when more are asked for.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import numpy as np
import polars as pl

from plugcast import schemas
from plugcast.errors import ConfigError
from plugcast.simulate.habits import draw_vehicle, plan_legs
from plugcast.simulate.life import live, observe

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from plugcast.simulate.habits import Leg, Vehicle

DEFAULT_START_AT: Final = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday; fixed, so that two runs of the same command write the same bytes."""
GAP_LIMIT_MIN: Final = 240.0
SHORTEST_STEP_S: Final = 60
LONGEST_STEP_S: Final = 600
MAX_VEHICLES: Final = 99_999
MAX_DAYS: Final = 3_660

CSV_COLUMNS: Final = ("asset_id", "timestamp", "soc", "is_plugged_in", "power_kw", "capacity_kwh", "gap_flag")
CSV_INSTANT: Final = "%Y-%m-%dT%H:%M:%SZ"

_WARM_UP_DAYS: Final = 7
_DAY_MIN: Final = 1440.0
_DAY_S: Final = 86_400
_STILL_SHARE: Final = 0.4
"""The share of silences that are vehicles that stand still; in the others life goes on unreported."""


class GeneratorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to generate.

    Raises:
        ConfigError: A number is out of its bounds or the time zone is unknown.
    """

    vehicles: int = 50
    days: int = 28
    start_at: datetime = DEFAULT_START_AT
    time_zone: str = "UTC"
    """Habits follow the wall clock of this zone; timestamps stay in UTC."""
    seed: int = 42

    def __post_init__(self) -> None:
        _within("vehicles", self.vehicles, 1, MAX_VEHICLES)
        _within("days", self.days, 1, MAX_DAYS)
        _within("seed", self.seed, 0, 2**63 - 1)
        if self.start_at.tzinfo is None:
            raise ConfigError(f"start_at: wanted an instant with a time zone, found {self.start_at.isoformat()}.")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigError(
                f"time_zone: {self.time_zone!r} is not a time zone. Write one like 'Europe/Oslo' or 'UTC'."
            ) from error


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name}: wanted {low} to {high}, found {value}.")


def generate(spec: GeneratorSpec) -> pl.DataFrame:
    """All samples by vehicle, then time: the columns of ``schemas.TELEMETRY`` and ``gap_flag``.

    ``soc`` is rounded to 0.01 %, timestamps to a second. ``gap_flag`` is true on the first sample after a silence of
    more than 240 minutes. Cost: about 1 s and 1.3 M rows for 200 vehicles over 28 days on one core.
    """
    return pl.concat(generate_parts(spec))


def generate_parts(spec: GeneratorSpec, *, vehicles_per_part: int = 50) -> Iterator[pl.DataFrame]:
    """The same rows in the same order, some vehicles at a time, for outputs that do not fit into memory."""
    clock = _LocalClock(spec)
    for first in range(0, spec.vehicles, vehicles_per_part):
        last = min(spec.vehicles, first + vehicles_per_part)
        yield pl.concat([_one_vehicle(spec, clock, index) for index in range(first, last)])


def write_csv(spec: GeneratorSpec, path: Path) -> Generator[pl.DataFrame]:
    """Write the public telemetry file part by part and yield each part once it is written.

    The file appears under its name only when the last part has been taken; until then, and if anything fails, what
    stood there stays.

    Raises:
        OSError: The folder is missing or cannot be written to.
    """
    part_path = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part_path.open("wb") as file:
            for number, part in enumerate(generate_parts(spec)):
                part.select(CSV_COLUMNS).write_csv(file, include_header=number == 0, datetime_format=CSV_INSTANT)
                yield part
            file.flush()
            os.fsync(file.fileno())
        part_path.replace(path)
    finally:
        part_path.unlink(missing_ok=True)


def vehicles(spec: GeneratorSpec) -> list[Vehicle]:
    """The vehicles and habits behind ``generate(spec)``: the truth that its frame does not tell."""
    return [draw_vehicle(_asset_id(index), _streams(spec, index)[0]) for index in range(spec.vehicles)]


def _asset_id(index: int) -> str:
    return f"ev-{index + 1:05d}"


def _streams(spec: GeneratorSpec, index: int) -> list[np.random.Generator]:
    """Independent sources of chance of one vehicle: habits, plan, life, reporting."""
    child = np.random.SeedSequence(entropy=spec.seed, spawn_key=(index,))
    return [np.random.default_rng(stream) for stream in child.spawn(4)]


def _one_vehicle(spec: GeneratorSpec, clock: _LocalClock, index: int) -> pl.DataFrame:
    habits, plan, life, reporting = _streams(spec, index)
    vehicle = draw_vehicle(_asset_id(index), habits)
    at_s, gap_flag = _report_times(reporting, spec.days * _DAY_S)
    still = _still_times(reporting, at_s, gap_flag)
    legs = plan_legs(
        vehicle,
        plan,
        first_weekday=clock.first_weekday,
        first_day=-_WARM_UP_DAYS,
        days=_WARM_UP_DAYS + spec.days + 1,
    )
    legs = _without(clock.to_utc(legs), still)
    stretches = live(
        vehicle,
        legs,
        life,
        start_min=-(_WARM_UP_DAYS + 2) * _DAY_MIN,
        end_min=(spec.days + 3) * _DAY_MIN,
        midnight_min=clock.midnight_min,
    )
    state = observe(stretches, at_s / 60.0)
    start_us = int(spec.start_at.timestamp()) * 1_000_000
    instants = pl.Series(start_us + at_s * 1_000_000, dtype=pl.Int64).cast(schemas.INSTANT)
    return pl.DataFrame(
        {
            "asset_id": pl.Series([vehicle.asset_id], dtype=pl.String).new_from_index(0, len(at_s)),
            "timestamp": instants,
            "soc": np.round(state.soc_pct, 2),
            "is_plugged_in": state.is_plugged_in,
            "power_kw": np.round(state.power_kw, 2) + 0.0,
            "capacity_kwh": np.full(len(at_s), vehicle.capacity_kwh),
            "available_at": instants,
            "gap_flag": gap_flag,
        }
    )


def _report_times(rng: np.random.Generator, span_s: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Seconds of all reports within the span, and which of them end a long silence."""
    mean_step_s = (SHORTEST_STEP_S + LONGEST_STEP_S) / 2
    count = int(span_s / mean_step_s * 1.2) + 50
    steps = rng.integers(SHORTEST_STEP_S, LONGEST_STEP_S, size=count, endpoint=True)
    every_days = rng.uniform(3.0, 5.0)
    silent = rng.random(count) < mean_step_s / (every_days * _DAY_S)
    hours = np.clip(9.0 * rng.lognormal(0.0, 0.9, size=count), GAP_LIMIT_MIN / 60 + 0.1, 96.0)
    steps[silent] = (hours[silent] * 3600).astype(np.int64)
    silent[0] = False
    steps[0] = rng.integers(0, LONGEST_STEP_S)
    at_s = np.cumsum(steps)
    inside = at_s < span_s
    return at_s[inside], silent[inside]


def _still_times(
    rng: np.random.Generator, at_s: NDArray[np.int64], gap_flag: NDArray[np.bool_]
) -> list[tuple[float, float]]:
    """The silences, in minutes, during which the vehicle is not driven off."""
    ends = np.flatnonzero(gap_flag)
    chosen = ends[rng.random(len(ends)) < _STILL_SHARE]
    return [(at_s[end - 1] / 60.0, at_s[end] / 60.0) for end in chosen]


def _without(legs: list[Leg], still: list[tuple[float, float]]) -> list[Leg]:
    """The legs but for the outings that would begin within a time of standing still."""
    dropped: set[int] = set()
    seen: set[int] = set()
    for leg in legs:
        if leg.outing not in seen and any(begin <= leg.start_min < end for begin, end in still):
            dropped.add(leg.outing)
        seen.add(leg.outing)
    return [leg for leg in legs if leg.outing not in dropped]


class _LocalClock:
    """From local wall minutes (after the midnight that begins the first local day) to minutes after the start.

    A wall time that a change to summer time skips moves forward; of one that occurs twice, the first is meant.
    """

    def __init__(self, spec: GeneratorSpec) -> None:
        zone = ZoneInfo(spec.time_zone)
        local = spec.start_at.astimezone(zone)
        midnight = datetime(local.year, local.month, local.day)  # noqa: DTZ001 - a wall time; the zone follows
        self.first_weekday = midnight.weekday()
        self._first_hour = -24 * (_WARM_UP_DAYS + 3)
        hours = range(self._first_hour, 24 * (spec.days + 4))
        walls = [midnight + timedelta(hours=hour) for hour in hours]
        begun = spec.start_at.timestamp()
        self._at_min = np.array([(wall.replace(tzinfo=zone).timestamp() - begun) / 60.0 for wall in walls])
        self.midnight_min = np.maximum.accumulate(self._at_min[::24])

    def to_utc(self, legs: list[Leg]) -> list[Leg]:
        """The legs with their start in minutes after the start of the run, UTC."""
        wall = np.array([leg.start_min for leg in legs])
        hour = np.floor(wall / 60.0).astype(np.int64)
        at_min = self._at_min[hour - self._first_hour] + (wall - hour * 60.0)
        return [leg._replace(start_min=float(at)) for leg, at in zip(legs, at_min, strict=True)]
