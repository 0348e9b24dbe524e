"""What the demo shows: the shipped month, or a user's own sessions or telemetry, with the terms of the site."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plugcast.adapters.memory import MemoryArtifactStore
from plugcast.adapters.prices import JsonTariff, builtin_tariff
from plugcast.errors import NoUsableRowsError
from plugcast.features.occupancy import sessions_of
from plugcast.features.spec import FeatureSpec
from plugcast.ports import SessionsRead
from plugcast.schemas import USER_INPUTS, empty
from plugcast.services import training
from plugcast.services.sources import open_sessions, open_telemetry, require_rows
from plugcast.services.steering import SiteTerms

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from plugcast.config import Settings

SHIPPED: Final = "caltech_2019_03_sessions.csv"
SHIPPED_ZONE: Final = "America/Los_Angeles"
SHIPPED_NAME: Final = "Caltech garage, March 2019"
SHIPPED_SOURCE: Final = (
    "Real charging sessions at Caltech, March 2019: ACN-Data (Lee, Li, Low 2019) by way of "
    "caltech-netlab/acnportal-experiments, (c) 2019 California Institute of Technology, BSD-3-Clause"
)
SHIPPED_PV_KW: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Sessions to work up, and what else the report says of their source."""

    read: SessionsRead
    name: str
    source: str
    time_zone: str
    seconds: float
    """What reading, and learning from telemetry, took."""
    extra: dict[str, Any] = field(default_factory=dict)


def shipped(now: datetime) -> Shown:
    """The month that comes with the package."""
    begun = time.perf_counter()
    with as_file(files("plugcast.adapters") / "data" / SHIPPED) as path:
        read = open_sessions(path, now=now, time_zone=SHIPPED_ZONE, site_id="caltech").read()
    return Shown(
        read=read,
        name=SHIPPED_NAME,
        source=SHIPPED_SOURCE,
        time_zone=SHIPPED_ZONE,
        seconds=time.perf_counter() - begun,
    )


def own_sessions(path: Path, settings: Settings, *, now: datetime, told_zone: bool) -> Shown:
    """A user's sessions; their own zone holds unless the user says otherwise."""
    begun = time.perf_counter()
    read = open_sessions(path, now=now, time_zone=settings.site.time_zone, site_id=settings.site.name).read()
    require_rows(read, source=path.name)
    zones = read.sessions["time_zone"].drop_nulls().mode().sort().to_list()
    zone = settings.site.time_zone if told_zone or not zones else str(zones[0])
    return Shown(
        read=read, name=settings.site.name, source=path.name, time_zone=zone, seconds=time.perf_counter() - begun
    )


def own_telemetry(path: Path, settings: Settings, *, now: datetime, threads: int, say: Callable[[str], None]) -> Shown:
    """A fleet's telemetry: the models' quality, and the visits that it shows."""
    begun = time.perf_counter()
    read = open_telemetry(path, now=now, time_zone=settings.site.time_zone).read()
    require_rows(read, source=path.name)
    report = training.train(read, MemoryArtifactStore(), settings, source=path.name, now=now, threads=threads, say=say)
    spec = FeatureSpec(time_zone=settings.site.time_zone, gap_limit_min=settings.features.gap_limit_min)
    sessions = sessions_of(read.samples, spec, site_id=settings.site.name)
    if sessions.is_empty():
        raise NoUsableRowsError(f"{path.name}: no vehicle was ever plugged in; there is nothing to plan.")
    return Shown(
        read=SessionsRead(sessions=sessions, user_inputs=empty(USER_INPUTS)),
        name=settings.site.name,
        source=path.name,
        time_zone=settings.site.time_zone,
        seconds=time.perf_counter() - begun,
        extra={"telemetry": report.metrics},
    )


def terms(*, tariff: Path | None, time_zone: str, limit_kw: float | None, pv_kw: float) -> SiteTerms:
    """Tariff, limit and PV of the site; no tariff takes the built-in example."""
    sheet = builtin_tariff() if tariff is None else JsonTariff(path=tariff, time_zone=time_zone).tariff()
    if tariff is None:  # the example's hours are those of the site's own clock
        sheet = msgspec.structs.replace(sheet, time_zone=time_zone)
    return SiteTerms(tariff=sheet, limit_kw=limit_kw, pv_peak_kw=pv_kw)
