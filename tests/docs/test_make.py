"""The targets that the documents promise are there and keep stdout and stderr apart."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {
    "demo",
    "test",
    "lint",
    "fuzz",
    "bench",
    "services-up",
    "services-down",
    "docs",
    "notebooks",
    "lock",
    "clean",
    "help",
}

BENCHES = sorted(
    found[1]
    for path in (ROOT / "benches").glob("*.py")
    if (
        found := re.search(
            r"^BENCH = BenchSpec\(.*?\bname=\"(\w+)\"", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
    )
)
"""Read, not imported: collecting tests shall not load what benches need."""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def _make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "ARGS"}}
    return subprocess.run(
        ["make", "-s", *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )


def test_help_is_the_default_and_lists_every_target() -> None:
    done = _make()
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony is not None
    assert listed == TARGETS == set(phony[1].split())


@pytest.mark.slow
def test_an_unknown_bench_is_a_usage_error_that_lists_the_known_ones() -> None:
    for arguments in (["NAME=nonsense"], []):
        done = _make("bench", *arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert "startup" in done.stderr


@pytest.mark.slow
def test_an_unknown_size_is_a_usage_error_that_lists_the_known_ones() -> None:
    done = _make("bench", "NAME=startup", "ARGS=--size nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert "small, full" in done.stderr


@pytest.mark.slow
def test_the_benches_are_listed() -> None:
    listed = _make("bench", "ARGS=--list", "NAME=any")
    assert listed.returncode == 0, listed.stderr
    assert "startup" in BENCHES
    assert sorted(listed.stdout.split()) == BENCHES


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHES)
def test_a_bench_gives_one_document_at_its_smallest_size(name: str) -> None:
    done = _make("bench", f"NAME={name}", "ARGS=--size smallest")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["name"] == name
    assert set(document) >= {"name", "machine", "data", "cases", "bars"}
    assert document["machine"]["cores"] >= 1
    assert document["machine"]["cpu"]
    assert document["cases"]
    for bar in document["bars"]:
        assert set(bar) == {"name", "value", "limit", "sense", "holds"}


def test_services_that_never_ran_are_stopped_without_complaint(tmp_path: Path) -> None:
    done = _make("services-down", f"ARGS=--folder {tmp_path}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Nothing ran; nothing to stop.\n"


def test_a_service_that_the_environment_names_is_not_started(tmp_path: Path) -> None:
    environ = {**os.environ, "PLUGCAST_SMTP": "mail.example:25"}
    command = ["scripts/services", "up", "--only", "smtp", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "smtp       yours, by PLUGCAST_SMTP" in done.stdout
    assert "export PLUGCAST_SMTP=mail.example:25\n" in (tmp_path / "env").read_text(encoding="utf-8")
    assert "Nothing ran" in _make("services-down", f"ARGS=--folder {tmp_path}").stdout


@pytest.mark.connected
def test_a_service_is_started_once_found_dead_and_started_again_on_its_port(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "PLUGCAST_SMTP"}
    command = ["scripts/services", "up", "--only", "smtp", "--folder", str(tmp_path)]

    def up() -> tuple[str, int]:
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        address = next(line for line in done.stdout.splitlines() if line.startswith("smtp")).split()[1]
        return address, int((tmp_path / "smtp" / "pid").read_text(encoding="utf-8"))

    try:
        first, again = up(), up()
        assert first == again
        os.kill(first[1], signal.SIGKILL)
        address, pid = up()
        assert (address, pid != first[1]) == (first[0], True)
    finally:
        assert "Stopped: smtp." in _make("services-down", f"ARGS=--folder {tmp_path}").stdout
