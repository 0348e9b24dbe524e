"""``plugcast doctor``: one table or one JSON document, and an exit code that scripts can use."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

from plugcast.cli import doctor
from plugcast.services import diagnose
from plugcast.services.diagnose import Check, CheckStatus

if TYPE_CHECKING:
    from collections.abc import Callable

FINE = Check(name="Python", status=CheckStatus.OK, found="3.11")
ODD = Check(name="port", status=CheckStatus.WARNING, found="8765 is taken", action="Take another.")
SICK = Check(name="lightgbm", status=CheckStatus.BROKEN, found="absent [1]", action="Install it: pip install 'a[b]'")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    app = typer.Typer()
    app.callback()(lambda: None)
    doctor.register(app)

    def invoke(checks: tuple[Check, ...], *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(diagnose, "diagnose", lambda **_: checks)
        result = CliRunner().invoke(app, ["doctor", *arguments])
        return result.exit_code, result.stdout

    return invoke


def test_warnings_are_fine(run: Callable[..., tuple[int, str]]) -> None:
    code, text = run((FINE, ODD))
    assert code == 0
    assert "warning  port    8765 is taken" in text
    assert "-> Take another." in text
    assert text.endswith("Fit to run.\n")


def test_something_broken_is_exit_1_with_its_remedy_word_for_word(run: Callable[..., tuple[int, str]]) -> None:
    code, text = run((FINE, SICK))
    assert code == 1
    assert "absent [1]" in text
    assert "pip install 'a[b]'" in text
    assert text.endswith("1 of 2 checks failed.\n")


@pytest.mark.parametrize(("checks", "code"), [((FINE, ODD), 0), ((FINE, SICK), 1)])
def test_json_is_one_document(run: Callable[..., tuple[int, str]], checks: tuple[Check, ...], code: int) -> None:
    found, text = run(checks, "--json")
    document = json.loads(text)
    assert (found, document["ok"]) == (code, code == 0)
    assert document["threads"] >= 1
    assert [check["name"] for check in document["checks"]] == [check.name for check in checks]
    assert set(document["checks"][1]) == {"name", "status", "found", "action"}


@pytest.mark.slow
def test_this_machine_is_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    doctor.register(app)
    monkeypatch.delenv("PLUGCAST_CONFIG", raising=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PLUGCAST__SERVER__PORT", str(free.getsockname()[1]))  # a demo may have the usual one
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0, result.stdout
    document = json.loads(result.stdout)
    probed = {check["name"]: check["found"] for check in document["checks"]}
    assert "trained a model" in probed["lightgbm"]
