"""Servers for development and tests, on free ports of 127.0.0.1: see ``scripts/services``, which calls this."""

from __future__ import annotations

import argparse
import fcntl
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scripts.dev_servers import HOST, PATH, ROOT, SERVICES, START_S, Service, ServiceError, State, born

if TYPE_CHECKING:
    from collections.abc import Iterator

PORTS: Final = range(20_000, 32_000)
"""Below what Linux gives to outgoing connections, so that none of those takes a port between choice and use."""
STOP_S: Final = 20.0
FREED_S: Final = 20.0
"""A process that was killed may hold its ports a moment longer; clients have their addresses."""


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _become_free(ports: tuple[int, ...]) -> bool:
    until_s = time.monotonic() + FREED_S
    while not all(map(_is_free, ports)):
        if time.monotonic() > until_s:
            return False
        time.sleep(0.05)
    return True


def _free_ports(count: int) -> tuple[int, ...]:
    found: set[int] = set()
    while len(found) < count:
        port = random.choice(PORTS)  # noqa: S311 - no secret
        if _is_free(port):
            found.add(port)
    return tuple(found)


def start(service: Service, folder: Path) -> None:
    """Start a server that does not run, on the ports that it had before unless something else has taken them."""
    folder.mkdir(parents=True, exist_ok=True)
    state = State.read(folder)
    if not state.alive():
        kept = len(state.ports) == service.ports and _become_free(state.ports)
        ports = state.ports if kept else _free_ports(service.ports)
        command, more = service.command(folder, list(ports))
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**environ, "PATH": PATH, **more},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        State(ports=ports, pid=process.pid, born=born(process.pid)).write(folder)


def wait(service: Service, folder: Path) -> State:
    """Wait until a started server works; one that does not in time is stopped, and what it said is told."""
    state = State.read(folder)
    until_s = time.monotonic() + START_S
    while not service.healthy(state.ports[0]):
        if not state.alive() or time.monotonic() > until_s:
            said = (folder / "log").read_bytes()[-3000:].decode("utf-8", "replace")
            what = "did not become healthy within" if state.alive() else "ended within"
            stop(folder)
            raise ServiceError(f"{service.name} {what} {START_S:g} s. The end of {folder / 'log'}:\n{said}")
        time.sleep(0.1)
    return state


def stop(folder: Path) -> bool:
    """End a server that ``start`` started: politely, then not; returns whether there was one."""
    state = State.read(folder)
    if not state.alive():
        return False
    for wish, wait_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, STOP_S)):
        os.kill(state.pid, signal.SIGCONT)  # a stopped process would not hear
        os.kill(state.pid, wish)
        until_s = time.monotonic() + wait_s
        while time.monotonic() < until_s:
            if not state.alive():
                return True
            time.sleep(0.05)
    raise ServiceError(f"Process {state.pid} ({folder.name}) does not end.")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One caller at a time per folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _users_own(variable: str, folder: Path) -> str:
    """The server that the environment names, unless it is one that we started."""
    named = os.environ.get(variable, "")
    for service in SERVICES:
        known = State.read(folder / service.name).ports
        if service.variable == variable and not service.part and known and named == service.address(known[0]):
            return ""
    return named


def up(folder: Path, only: set[str]) -> None:
    """Start what is wanted, all at once, and write ``env``; a server named by the user is left alone."""
    lines = [f"export PLUGCAST_SERVICES={shlex.quote(str(folder))}"]
    wanted = {service.variable for service in SERVICES if service.name in only}
    own = {service.variable: _users_own(service.variable, folder) for service in SERVICES}
    ours = [service for service in SERVICES if not own[service.variable]]
    ours = [each for each in ours if each.variable in wanted or State.read(folder / each.name).alive()]
    for service in ours:
        start(service, folder / service.name)
    for service in SERVICES:
        place = folder / service.name
        if service in ours:
            state = wait(service, place)
            address = service.address(state.ports[0])
            print(f"{service.name:10} {address:40} pid {state.pid}", flush=True)
        elif address := own[service.variable]:
            print(f"{service.name:10} yours, by {service.variable}")
        if address and not service.part:
            lines.append(f"export {service.variable}={shlex.quote(address)}")
        if service in ours and service.name == "smtp":
            lines.append(f"export PLUGCAST_MAIL={shlex.quote(str(place / 'mail'))}")
    (folder / "env").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"In a shell: . {shlex.quote(str(folder / 'env'))}")


def down(folder: Path) -> None:
    """Stop in the reverse order and forget the addresses."""
    stopped = [service.name for service in reversed(SERVICES) if stop(folder / service.name)]
    (folder / "env").unlink(missing_ok=True)
    print(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing ran; nothing to stop.")


def status(folder: Path) -> None:
    """One line for each server."""
    for service in SERVICES:
        state = State.read(folder / service.name)
        print(f"{service.name:10} " + (f"{service.address(state.ports[0])} pid {state.pid}" if state.alive() else "-"))


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/services", description="Servers for development and tests.")
    parser.add_argument("verb", choices=("up", "down", "status"))
    parser.add_argument("--folder", type=Path, default=ROOT / ".cache" / "services", help="data, logs, pids and env")
    names = [service.name for service in SERVICES if not service.part]
    parser.add_argument("--only", default=",".join(names), help="which, by commas; all by default")
    options = parser.parse_args()
    only = set(options.only.split(","))
    if unknown := only - set(names):
        parser.error(f"no service is called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    folder = options.folder.resolve()
    try:
        with _alone(folder):
            if options.verb == "up":
                up(folder, only)
            else:
                {"down": down, "status": status}[options.verb](folder)
    except (ServiceError, OSError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
