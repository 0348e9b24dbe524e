"""``site.toml``: the place that is planned for, with its limits, stations and tariff."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from plugcast.domain.site import Circuit, Connector, CurrentType, Evse, PhaseLimits, Site, Station, Storage, conductors
from plugcast.errors import ConfigError
from plugcast.handwritten import read_bytes

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFile:
    """What a site file says."""

    site: Site
    tariff_path: Path | None = None
    """Absolute, or relative to the site file's folder."""
    feed_in_per_kwh: float | None = None
    """Overrides the tariff's."""
    base_load_kw: float = 0.0


class _StationEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    station_id: str
    max_power_kw: float
    current_type: CurrentType = CurrentType.AC
    min_power_kw: float = 0.0
    pilots_kw: tuple[float, ...] = ()
    circuit: str | None = None
    connection: str = "L1-L2-L3"


class _CircuitEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    circuit_id: str
    limit_kw: float
    parent: str | None = None


class _PhasesEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit_a: float
    voltage_v: float = 230.0
    unbalance_limit_a: float | None = None


class _BatteryEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    capacity_kwh: float
    charge_kw: float
    discharge_kw: float
    energy_kwh: float = 0.0
    charge_efficiency: float = 0.95
    discharge_efficiency: float = 0.95
    reserve_kwh: float = 0.0
    wear_price_per_kwh: float = 0.0


class _TariffEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    file: str | None = None
    feed_in_per_kwh: float | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    site_id: str
    time_zone: str
    limit_kw: float
    base_load_kw: float = 0.0
    tariff: _TariffEntry = _TariffEntry()
    stations: list[_StationEntry] = []
    circuits: list[_CircuitEntry] = []
    phases: _PhasesEntry | None = None
    battery: _BatteryEntry | None = None


def read_site(path: Path) -> SiteFile:
    """Read a site file; an unknown key is an error.

    Raises:
        UnreadableInputError: The file is missing.
        ConfigError: It is malformed, or a value is out of its range; the message names it.
    """
    try:
        read = msgspec.toml.decode(read_bytes(path, what="Site file"), type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(
            f"Site file {path}: {error}. It needs site_id, time_zone and limit_kw; it may have "
            "base_load_kw, [tariff] file and feed_in_per_kwh, [[stations]] with station_id and max_power_kw, "
            "[[circuits]], [phases] and [battery]."
        ) from error
    _check(read, path)
    return SiteFile(
        site=Site(
            site_id=read.site_id,
            time_zone=read.time_zone,
            limit_kw=read.limit_kw,
            stations=tuple(_station(entry) for entry in read.stations),
            circuits=tuple(
                Circuit(circuit_id=entry.circuit_id, limit_kw=entry.limit_kw, parent_id=entry.parent)
                for entry in read.circuits
            ),
            phases=PhaseLimits(**msgspec.structs.asdict(read.phases)) if read.phases else None,
            storage=Storage(**msgspec.structs.asdict(read.battery)) if read.battery else None,
        ),
        tariff_path=path.parent / read.tariff.file if read.tariff.file else None,
        feed_in_per_kwh=read.tariff.feed_in_per_kwh,
        base_load_kw=read.base_load_kw,
    )


def _station(entry: _StationEntry) -> Station:
    connector = Connector(
        connector_id=1, max_power_kw=entry.max_power_kw, min_power_kw=entry.min_power_kw, pilots_kw=entry.pilots_kw
    )
    return Station(
        station_id=entry.station_id,
        current_type=entry.current_type,
        evses=(Evse(evse_id=1, connectors=(connector,)),),
        circuit_id=entry.circuit,
        connection=entry.connection,
    )


def _check(read: _File, path: Path) -> None:
    try:
        ZoneInfo(read.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"Site file {path}: {read.time_zone!r} is not a time zone; write one like 'UTC'.") from error
    numbers = {"limit_kw": read.limit_kw, "base_load_kw": read.base_load_kw}
    for entry in read.stations:
        numbers[f"max_power_kw of station {entry.station_id!r}"] = entry.max_power_kw
        numbers[f"min_power_kw of station {entry.station_id!r}"] = entry.min_power_kw
    for circuit in read.circuits:
        numbers[f"limit_kw of circuit {circuit.circuit_id!r}"] = circuit.limit_kw
    for name, value in numbers.items():
        if not (isfinite(value) and value >= 0):
            raise ConfigError(f"Site file {path}: {name} is {value}; wanted a number that is not negative.")
    circuits = {circuit.circuit_id for circuit in read.circuits}
    for entry in read.stations:
        if entry.circuit and entry.circuit not in circuits:
            raise ConfigError(
                f"Site file {path}: station {entry.station_id!r} hangs on circuit {entry.circuit!r}, which is not "
                "there. Add a [[circuits]] of that circuit_id, or mend the name."
            )
        if not conductors(entry.connection):
            raise ConfigError(
                f"Site file {path}: station {entry.station_id!r} is connected to {entry.connection!r}; wanted L1, "
                "L1-L2 or L1-L2-L3."
            )
    ids = [entry.station_id for entry in read.stations]
    if len(set(ids)) < len(ids):
        raise ConfigError(f"Site file {path}: a station stands there twice. Give each its own station_id.")
