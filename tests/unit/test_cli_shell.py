"""The shell around the verbs: light to start, one JSON document, exit codes that mean something."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

import plugcast
from plugcast.cli import app as shell
from plugcast.cli.output import emit_json
from plugcast.domain.telemetry import Sample
from plugcast.errors import PlugcastError

HEAVY = {
    "fastapi",
    "highspy",
    "httpx",
    "lightgbm",
    "matplotlib",
    "msgspec",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "pydantic",
    "rich",
    "scipy",
    "sklearn",
    "starlette",
    "uvicorn",
}


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from plugcast.cli.app import main; main()"
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)


def _main_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """The exit code of ``main`` when a verb raises."""
    app = typer.Typer()

    @app.command()
    def verb() -> None:
        raise error

    monkeypatch.setattr(shell, "app", app)
    monkeypatch.setattr(sys, "argv", ["plugcast"])
    with pytest.raises(SystemExit) as caught:
        shell.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from plugcast.cli.app import main\n"
        "try:\n    main()\n"
        "finally:\n    print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage:")
    loaded = set(done.stdout.split("LOADED ")[1].split())
    assert loaded & HEAVY == set()
    assert "typer" in loaded  # the list is real


def test_version_is_the_packages() -> None:
    done = _run("--version")
    assert (done.returncode, done.stdout) == (0, f"plugcast {plugcast.__version__}\n")


@pytest.mark.parametrize("arguments", [("nonsense",), ("--nonsense",), ("doctor", "--nonsense")])
def test_what_is_not_understood_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    done = _run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "nonsense" in done.stderr


def test_a_plugcast_error_is_one_line_and_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main_with(monkeypatch, PlugcastError("wanted a, found b. Do c.")) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "plugcast: wanted a, found b. Do c.\n")


def test_any_other_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        _main_with(monkeypatch, ZeroDivisionError())


def test_every_verb_can_be_typed() -> None:
    commands = getattr(typer.main.get_command(shell.app), "commands", {})
    assert set(shell.VERBS) - set(commands) == set()


def test_json_turns_what_is_not_finite_into_null(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    emit_json(
        {
            "a": float("nan"),
            "b": [float("inf"), 1.5],
            "c": Sample(asset_id="x", timestamp=at, soc=1.0, is_plugged_in=True),
        }
    )
    assert json.loads(capsys.readouterr().out) == {
        "a": None,
        "b": [None, 1.5],
        "c": {
            "asset_id": "x",
            "timestamp": "2024-01-02T03:04:05Z",
            "soc": 1.0,
            "is_plugged_in": True,
            "power_kw": None,
            "capacity_kwh": None,
        },
    }


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON_VALUES)
def test_whatever_is_emitted_is_one_strict_json_document(value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        written: list[str] = []
        patch.setattr(sys, "stdout", type("Out", (), {"write": lambda _, text: written.append(text)})())
        emit_json(value)

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    json.loads("".join(written), parse_constant=refuse)
    assert "".join(written).endswith("\n")
