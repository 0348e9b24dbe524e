"""Settings: an unknown key is an error that names it, the environment wins, values stay inside their bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from plugcast import config
from plugcast.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


def test_without_a_file_the_defaults_hold() -> None:
    assert config.load(environ={}) == config.Settings()


def test_a_file_in_the_working_directory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / config.DEFAULT_FILE).write_text("[site]\nlimit_kw = 42.0\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert config.load(environ={}).site.limit_kw == 42.0


def test_the_environment_names_the_file_and_the_argument_wins(settings_file: Path, tmp_path: Path) -> None:
    settings_file.write_text('[site]\nname = "argument"\n', encoding="utf-8")
    other = tmp_path / "other.toml"
    other.write_text('[site]\nname = "environment"\n', encoding="utf-8")
    environ = {"PLUGCAST_CONFIG": str(other)}
    assert config.load(environ=environ).site.name == "environment"
    assert config.load(settings_file, environ=environ).site.name == "argument"


def test_the_environment_wins_over_the_file(settings_file: Path) -> None:
    settings_file.write_text("[server]\nport = 1000\nhost = '::1'\n", encoding="utf-8")
    settings = config.load(settings_file, environ={"PLUGCAST__SERVER__PORT": "2000", "PLUGCAST__THREADS": "3"})
    assert (settings.server.port, settings.server.host, settings.threads) == (2000, "::1", 3)


@pytest.mark.parametrize(
    ("text", "key"),
    [("limit = 3\n", "limit"), ("[site]\nlimt_kw = 3\n", "site.limt_kw"), ("[sites]\nname = 'x'\n", "sites")],
)
def test_an_unknown_key_is_an_error_that_names_it(settings_file: Path, text: str, key: str) -> None:
    settings_file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"unknown key '{key}'"):
        config.load(settings_file, environ={})


def test_an_unknown_variable_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'server\.prot'"):
        config.load(environ={"PLUGCAST__SERVER__PROT": "1"})


def test_a_variable_that_treats_a_value_as_a_section_is_an_error() -> None:
    with pytest.raises(ConfigError, match="PLUGCAST__THREADS__MANY"):
        config.load(environ={"PLUGCAST__THREADS": "1", "PLUGCAST__THREADS__MANY": "2"})


def test_several_faults_are_named_at_once() -> None:
    environ = {"PLUGCAST__SERVER__PORT": "70000", "PLUGCAST__SITE__LIMIT_KW": "much"}
    with pytest.raises(ConfigError) as caught:
        config.load(environ=environ)
    assert "server.port" in str(caught.value)
    assert "site.limit_kw" in str(caught.value)


@pytest.mark.parametrize("content", [b"[site\n", b"limit_kw = \n", b"\xff\xfe\x00"])
def test_a_broken_file_is_named(settings_file: Path, content: bytes) -> None:
    settings_file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"settings\.toml is not valid TOML"):
        config.load(settings_file, environ={})


def test_a_missing_file_that_was_asked_for_is_an_error(settings_file: Path) -> None:
    with pytest.raises(ConfigError, match="was not found"):
        config.load(settings_file, environ={})


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "../etc/passwd", "CEST"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ConfigError, match=r"site\.time_zone"):
        config.load(environ={"PLUGCAST__SITE__TIME_ZONE": zone})


def test_a_known_time_zone_is_taken() -> None:
    assert config.load(environ={"PLUGCAST__SITE__TIME_ZONE": "Asia/Kathmandu"}).site.time_zone == "Asia/Kathmandu"


@given(st.floats())
def test_a_limit_is_positive_and_bounded_or_refused(limit_kw: float) -> None:
    environ = {"PLUGCAST__SITE__LIMIT_KW": repr(limit_kw)}
    if 0 < limit_kw <= 1_000_000:
        assert config.load(environ=environ).site.limit_kw == limit_kw
    else:
        with pytest.raises(ConfigError, match=r"site\.limit_kw"):
            config.load(environ=environ)


@given(st.integers())
def test_a_port_is_a_port_or_refused(port: int) -> None:
    environ = {"PLUGCAST__SERVER__PORT": str(port)}
    if 0 <= port <= 65_535:
        assert config.load(environ=environ).server.port == port
    else:
        with pytest.raises(ConfigError, match=r"server\.port"):
            config.load(environ=environ)


def test_every_section_is_frozen_and_strict() -> None:
    settings = config.Settings()
    sections = [value for _, value in settings if isinstance(value, BaseModel)]
    assert len(sections) == len(config.Settings.model_fields) - 1  # all but ``threads``
    for section in (settings, *sections):
        assert section.model_config.get("extra") == "forbid"
        name = next(iter(type(section).model_fields))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, name, getattr(section, name))
