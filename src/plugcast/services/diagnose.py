"""Is this machine fit to run Plugcast? One check a line, each with what was found and what to do about it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module, metadata
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from plugcast import config
from plugcast.errors import ConfigError
from plugcast.services.probes import PROBES
from plugcast.services.threads import cpu_quota

MINIMUM_PYTHON: Final = (3, 11)
PROBE_TIMEOUT_S: Final = 120
IMPORT_NAMES: Final = {"scikit-learn": "sklearn"}
"""Where a distribution's import is not its name with underscores."""
CHROMIUM_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NOT_FOR_USERS: Final = frozenset({"all", "dev"})


class CheckStatus(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong; worth knowing."""
    WARNING = "warning"
    """Plugcast runs, with something less."""
    BROKEN = "broken"
    """Something that Plugcast needs does not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: CheckStatus
    found: str
    action: str = ""
    """What to do; empty where there is nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One line of the package's metadata: ``lightgbm>=4.5; extra == 'x'``."""

    distribution: str
    minimum: str
    extra: str = ""

    @property
    def import_name(self) -> str:
        """The module that the distribution brings."""
        return IMPORT_NAMES.get(self.distribution, self.distribution.replace("-", "_"))


def diagnose(*, settings_path: Path | None = None, directory: Path | None = None) -> tuple[Check, ...]:
    """Look at everything; takes a few seconds, most of it starting the native libraries.

    Args:
        settings_path: The settings file; by default what ``plugcast.config.load`` finds.
        directory: Where results will be written; by default the working directory.
    """
    needed, optional = requirements()
    checks = [check_python(), *check_needed(needed), check_time_zones(), check_threads()]
    checks.append(check_writable(directory or Path.cwd()))
    settings_check, settings = check_settings(settings_path)
    checks += [settings_check, check_port(settings.server.host, settings.server.port)]
    return (*checks, *check_extras(optional), check_chromium())


def requirements() -> tuple[tuple[Requirement, ...], tuple[Requirement, ...]]:
    """What the installed package needs, and what its extras bring, from its own metadata."""
    lines = [_parse(text) for text in metadata.requires("plugcast") or []]
    known = [requirement for requirement in lines if requirement is not None]
    return (
        tuple(r for r in known if not r.extra),
        tuple(r for r in known if r.extra and r.extra not in NOT_FOR_USERS),
    )


def _parse(text: str) -> Requirement | None:
    """The requirement, or None where it is meant for another system."""
    spec, _, marker = text.partition(";")
    found = re.match(r"\s*([A-Za-z0-9._-]+)[^>]*(?:>=\s*([0-9.]+))?", spec)
    if found is None or ("sys_platform" in marker and repr(sys.platform) not in marker.replace('"', "'")):
        return None
    extra = re.search(r"""extra\s*==\s*['"]([^'"]+)""", marker)
    return Requirement(
        distribution=found[1].lower(), minimum=found[2] or "0", extra=extra[1] if extra is not None else ""
    )


def _release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparing.

    >>> _release("4.7.0rc1") >= _release("4.5")
    True
    """
    leading = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in leading[0].split(".")) if leading else (0,)


def check_python() -> Check:
    """The interpreter is new enough."""
    wanted = ".".join(str(part) for part in MINIMUM_PYTHON)
    found = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info < MINIMUM_PYTHON:
        return Check(
            name="Python",
            status=CheckStatus.BROKEN,
            found=found,
            action=f"Install Python {wanted} or newer, and Plugcast into it.",
        )
    return Check(name="Python", status=CheckStatus.OK, found=found)


def check_needed(needed: tuple[Requirement, ...]) -> list[Check]:
    """Every required package is there, new enough, and its native part works; probes run side by side."""
    with ThreadPoolExecutor(max_workers=cpu_quota()) as pool:
        return list(pool.map(_check_package, needed))


def _check_package(requirement: Requirement) -> Check:
    name, minimum = requirement.distribution, requirement.minimum
    install = f"Install it with: {_shown_python()} -m pip install '{name}>={minimum}'"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name=name, status=CheckStatus.BROKEN, found="not installed", action=install)
    if _release(version) < _release(minimum):
        return Check(name=name, status=CheckStatus.BROKEN, found=f"{version}, older than {minimum}", action=install)
    problem = _run_probe(name) if name in PROBES else _try_import(requirement.import_name)
    if problem:
        return Check(name=name, status=CheckStatus.BROKEN, found=f"{version}, but {problem}", action=_repair(name))
    used = f"; {PROBES[name].what}" if name in PROBES else ""
    return Check(name=name, status=CheckStatus.OK, found=f"{version}{used}")


def _repair(name: str) -> str:
    again = f"Install it anew: {_shown_python()} -m pip install --force-reinstall {name}"
    if name == "lightgbm":
        return f"On Debian install the OpenMP library: apt-get install libgomp1. Else: {again}"
    if name == "polars":
        return f"On a CPU without AVX2 install polars-lts-cpu instead. Else: {again}"
    return again


def _shown_python() -> str:
    return Path(sys.executable).name


def _try_import(name: str) -> str:
    """What went wrong on import; empty if nothing did."""
    try:
        import_module(name)
    except Exception as error:  # noqa: BLE001 - whatever a broken package raises is the finding
        return f"importing it failed: {error}"
    return ""


def _run_probe(name: str) -> str:
    """What went wrong in the probe's own process; empty if nothing did."""
    command = [sys.executable, "-m", "plugcast.services.probes", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PROBE_TIMEOUT_S)  # noqa: S603 - our own interpreter and module
    except subprocess.TimeoutExpired:
        return f"it did not answer within {PROBE_TIMEOUT_S} s"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"using it killed the process (signal {-done.returncode}): it is built for another CPU or system"
    return f"using it failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"


def check_time_zones() -> Check:
    """The zone data that local hours are taken from are installed."""
    try:
        ZoneInfo("America/Los_Angeles")
    except (OSError, LookupError) as error:
        return Check(
            name="time zones",
            status=CheckStatus.BROKEN,
            found=f"no zone data: {error}",
            action=f"Install them: {_shown_python()} -m pip install tzdata",
        )
    return Check(name="time zones", status=CheckStatus.OK, found="America/Los_Angeles is known")


def check_threads() -> Check:
    """How much of the machine this process may use."""
    cores, quota = os.cpu_count() or 1, cpu_quota()
    limited = "" if quota == cores else f" (a CPU quota or affinity allows {quota})"
    return Check(name="threads", status=CheckStatus.OK, found=f"{quota} of {cores} cores{limited}")


def check_writable(directory: Path) -> Check:
    """Results can be written where commands write them by default."""
    try:
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        return Check(
            name="directory",
            status=CheckStatus.BROKEN,
            found=f"{directory} cannot be written to: {error.strerror}",
            action="Change to a directory of yours; commands write their results there.",
        )
    return Check(name="directory", status=CheckStatus.OK, found=f"{directory} can be written to")


def check_settings(path: Path | None) -> tuple[Check, config.Settings]:
    """The settings file and the environment make sense; the defaults stand in where they do not."""
    try:
        settings = config.load(path)
    except ConfigError as error:
        broken = Check(
            name="settings",
            status=CheckStatus.BROKEN,
            found=str(error),
            action="Correct it; docs/reference/configuration.md lists every key with its bounds.",
        )
        return broken, config.Settings()
    named = path or os.environ.get("PLUGCAST_CONFIG") or config.DEFAULT_FILE
    found = f"{named} is valid" if Path(named).exists() else "the defaults (no settings file here)"
    return Check(name="settings", status=CheckStatus.OK, found=found), settings


def check_port(host: str, port: int) -> Check:
    """The page's port is free; a taken one is a warning, as it may be our own page."""
    if port == 0:
        return Check(name="port", status=CheckStatus.OK, found="the system chooses a free one (port 0)")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return Check(
            name="port",
            status=CheckStatus.WARNING,
            found=f"{host}:{port} is not free: {error.strerror}",
            action="Set server.port to another one, or to 0 for a free one.",
        )
    return Check(name="port", status=CheckStatus.OK, found=f"{host}:{port} is free")


def check_extras(optional: tuple[Requirement, ...]) -> list[Check]:
    """Which optional parts are installed, and the line that brings the others."""
    extras: dict[str, list[Requirement]] = {}
    for requirement in optional:
        extras.setdefault(requirement.extra, []).append(requirement)
    return [_check_extra(extra, parts) for extra, parts in extras.items()]


def _check_extra(extra: str, parts: list[Requirement]) -> Check:
    versions: list[str] = []
    lacking: list[str] = []
    for part in parts:
        try:
            version = metadata.version(part.distribution)
        except metadata.PackageNotFoundError:
            lacking.append(f"{part.distribution} is not installed")
            continue
        versions.append(f"{part.distribution} {version}")
        if _release(version) < _release(part.minimum):
            lacking.append(f"{part.distribution} {version} is older than {part.minimum}")
    name = f"extra {extra}"
    if not lacking:
        return Check(name=name, status=CheckStatus.OK, found=", ".join(versions))
    return Check(
        name=name,
        status=CheckStatus.NOTE,
        found="; ".join(lacking),
        action=f"If you want it: pip install 'plugcast[{extra}]'",
    )


def check_chromium() -> Check:
    """A browser for the page's tests; users need none."""
    path = next(filter(None, (shutil.which(name) for name in CHROMIUM_NAMES)), None)
    found = f"{path}" if path else "absent; only the project's own page tests use it (make test fetches it)"
    return Check(name="Chromium", status=CheckStatus.NOTE, found=found)
