"""The notebooks run from top to bottom, show what they promise, and complain about nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PICTURES = {"data_exploration": 5, "evaluation": 4, "odd_sessions": 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PICTURES))
def test_a_notebook_runs_and_shows_its_pictures(name: str, tmp_path: Path) -> None:
    environ = os.environ | {"IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    program = [sys.executable, str(ROOT / "scripts" / "notebooks.py"), name, "--out", str(tmp_path)]
    done = subprocess.run(program, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    book = json.loads((tmp_path / f"{name}.ipynb").read_text(encoding="utf-8"))
    outputs = [output for cell in book["cells"] for output in cell.get("outputs", [])]
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []  # where warnings go
    assert sum("image/png" in output.get("data", {}) for output in outputs) == PICTURES[name]


def test_every_notebook_is_expected() -> None:
    assert {path.stem for path in (ROOT / "notebooks").glob("*.py")} == set(PICTURES)
