"""The references that are made from the code are fresh and complete."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from plugcast import config

ROOT = Path(__file__).resolve().parents[2]


def _load() -> Any:
    spec = spec_from_file_location("make_docs", ROOT / "scripts" / "make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_docs = _load()
COMMANDS = list(make_docs.commands())


@pytest.mark.parametrize("path", sorted(make_docs.pages()), ids=lambda path: path.name)
def test_the_page_is_fresh(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == make_docs.pages()[path], f"{path.name} is stale; run: make docs"


@pytest.mark.parametrize(("name", "command", "context"), COMMANDS, ids=[name for name, _, _ in COMMANDS])
def test_a_command_says_what_it_does_and_what_it_takes(name: str, command: Any, context: Any) -> None:
    assert command.help, f"{name} has no help"
    silent = [parameter.name for parameter in command.get_params(context) if not getattr(parameter, "help", None)]
    assert silent == [], f"{name} has parameters without help"


def test_every_command_is_in_the_page() -> None:
    headings = [line.removeprefix("## ") for line in make_docs.cli_page().splitlines() if line.startswith("## ")]
    assert headings == [name for name, _, _ in COMMANDS]


def test_every_setting_is_in_the_page() -> None:
    page = make_docs.configuration_page()
    for name, field in config.Settings.model_fields.items():
        section = make_docs._section(field)
        keys = [name] if section is None else [f"{name}__{key}" for key in section.model_fields]
        for key in keys:
            assert f"`{config.ENV_PREFIX}{key.upper()}`" in page


def test_the_meaning_of_a_setting_is_its_docstring() -> None:
    assert make_docs.attribute_docs(config.ServerSettings)["port"] == "0 takes a free port."


def test_check_fails_on_a_stale_page_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_docs, "REFERENCE", tmp_path / "reference")
    assert make_docs.main(["--check"]) == 1
    assert not (tmp_path / "reference").exists()
    assert "cli.md is stale; run: make docs" in capsys.readouterr().err
    assert make_docs.main([]) == 0
    assert make_docs.main(["--check"]) == 0
