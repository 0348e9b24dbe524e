"""A server of one's own, for tests and benches that kill it: in a folder apart, on the same ports and data again."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Final, Self

ROOT: Final = Path(__file__).resolve().parent.parent
VARIABLES: Final = {"kafka": "PLUGCAST_KAFKA", "rabbitmq": "PLUGCAST_RABBITMQ"}
DEAD_S: Final = 10.0


class OwnServer:
    """Running once made; as a context it is stopped at the end.

    Args:
        name: ``kafka`` or ``rabbitmq``.
        folder: Its data; made if missing.

    Raises:
        subprocess.CalledProcessError: It did not start; standard error says why.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> None:
        """Start it, or start it again; returns once it does its work."""
        environ = {name: value for name, value in os.environ.items() if name not in VARIABLES.values()}
        command = ["scripts/services", "up", "--only", self.name, "--folder", str(self.folder)]
        subprocess.run(command, cwd=ROOT, env=environ, check=True, stdout=subprocess.DEVNULL)

    def down(self) -> None:
        """Stop it."""
        command = ["scripts/services", "down", "--folder", str(self.folder)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    @property
    def address(self) -> str:
        """As its variable has it."""
        told = (shlex.split(line)[1] for line in (self.folder / "env").read_text(encoding="utf-8").splitlines())
        return next(line.partition("=")[2] for line in told if line.startswith(f"{VARIABLES[self.name]}="))

    @property
    def pid(self) -> int:
        """Of its process."""
        return int((self.folder / self.name / "pid").read_text(encoding="utf-8"))

    def kill(self) -> int:
        """Kill it, and see that it is dead; returns what its pid was.

        Raises:
            RuntimeError: It is still there.
        """
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        until_s = time.monotonic() + DEAD_S
        while state_of(pid):
            if time.monotonic() > until_s:
                raise RuntimeError(f"{self.name} {pid} was not killed")
            time.sleep(0.01)
        return pid


def state_of(pid: int) -> str:
    """Of a process, as the kernel has it: T is stopped; empty where there is none or only its remains."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return ""
    return "" if state in "ZX" else state
