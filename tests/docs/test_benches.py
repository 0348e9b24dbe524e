"""Every bench runs, at its smallest size, and prints one document as CONTRIBUTING has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from benches.registry import discover

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")]


@pytest.mark.parametrize("name", sorted(discover()))
def test_it_gives_one_document_at_its_smallest_size(name: str) -> None:
    environ = {key: value for key, value in os.environ.items() if key not in {"MAKEFLAGS", "MAKELEVEL", "ARGS"}}
    command = ["make", "-s", "bench", f"NAME={name}", "ARGS=--size smallest"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["name"] == name
    assert set(document) >= {"name", "machine", "data", "cases", "bars"}
    assert document["machine"]["cores"] >= 1
    assert document["machine"]["cpu"]
    assert document["cases"]
    for bar in document["bars"]:
        assert set(bar) == {"name", "value", "limit", "sense", "holds"}
