"""Replay, detect and look, as a user types it; killed at any moment it comes to what ``detect`` comes to."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from typer.testing import CliRunner

from plugcast.cli.app import app
from plugcast.errors import ModelNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

PLUGCAST = str(Path(sys.executable).with_name("plugcast"))
ZONE = "America/Los_Angeles"


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_without_a_detector_it_says_what_to_type(tmp_path: Path) -> None:
    found = run("serve", "detect", "--model", str(tmp_path), "--log", str(tmp_path / "a.journal"))
    assert isinstance(found.exception, ModelNotFoundError)
    assert "plugcast detect FILE --model" in str(found.exception)


@pytest.mark.parametrize("place", ["http://somewhere", "/no/such/folder/a.journal"])
def test_a_place_that_cannot_be_is_named(place: str) -> None:
    found = run("tail", "ev-findings", "--log", place)
    assert place in str(found.exception)


class _Service:
    """``plugcast serve detect`` as a process."""

    def __init__(self, folder: Path, spawn: Callable[..., subprocess.Popen[Any]]) -> None:
        words = ["serve", "detect", "--model", "detector", "--log", "a.journal"]  # the zone is that of the training
        self._said = folder / "said.txt"
        with self._said.open("w") as said:
            self.process = spawn([PLUGCAST, *words], cwd=folder, stderr=said)

    def url(self) -> str:
        while not (said := self._said.read_text()):
            assert self.process.poll() is None
            time.sleep(0.05)
        return said.split()[-1]


@pytest.mark.slow
def test_a_detector_killed_again_and_again_comes_to_the_batch(
    tmp_path: Path, spawn: Callable[..., subprocess.Popen[Any]]
) -> None:
    """The replay runs on while detectors die; every session has one score, that of the batch; no finding is lost."""
    with resources.as_file(resources.files("plugcast.adapters") / "data" / "caltech_2019_03_sessions.csv") as found:
        file = shutil.copy(found, tmp_path)
    common = ["--time-zone", ZONE]
    batch = subprocess.run(
        [PLUGCAST, "detect", str(file), *common, "--model", "detector", "--scores", "batch.csv", "--json"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert batch.returncode == 3
    sending = spawn([PLUGCAST, "replay", str(file), *common, "--log", "a.journal", "--speed", "200000"], cwd=tmp_path)
    killed = 0
    while sending.poll() is None:
        service = _Service(tmp_path, spawn)
        time.sleep(1.0 + 0.3 * killed)
        service.process.kill()
        assert service.process.wait() == -signal.SIGKILL
        killed += 1
    assert sending.returncode == 0
    assert killed >= 3
    with (tmp_path / "batch.csv").open() as opened:
        expected = {row["session_id"]: row for row in csv.DictReader(opened)}
    last = _Service(tmp_path, spawn)
    address = last.url()
    until = time.monotonic() + 300
    while len(_lines(tmp_path, "ev-scores")) < len(expected) and time.monotonic() < until:
        time.sleep(1.0)
    while "plugcast_lag_messages{" not in httpx.get(address + "metrics", timeout=30).text:
        assert time.monotonic() < until  # until the lease of the one killed before has run out, it holds no partition
        time.sleep(0.2)
    assert httpx.get(address + "readyz", timeout=30).text == "ok\n"
    os.kill(last.process.pid, signal.SIGTERM)
    assert last.process.wait(120) == 0
    scores = _lines(tmp_path, "ev-scores")
    assert sorted(score["session_id"] for score in scores) == sorted(expected)
    for score in scores:
        assert score["score"] == float(expected[score["session_id"]]["score"])
    raised = sorted(finding["finding_id"] for finding in _lines(tmp_path, "ev-findings"))
    assert raised == sorted(finding["finding_id"] for finding in json.loads(batch.stdout)["findings"])


def _lines(folder: Path, topic: str) -> list[dict[str, Any]]:
    told = run("tail", topic, "--log", str(folder / "a.journal"))
    assert told.exit_code == 0
    return [json.loads(line) for line in told.stdout.splitlines()]
