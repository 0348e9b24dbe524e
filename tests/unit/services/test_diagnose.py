"""What doctor looks at: each check tells a healthy machine from a sick one and says what to do."""

from __future__ import annotations

import socket
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.services import diagnose, probes
from plugcast.services.diagnose import Check, CheckStatus, Requirement

if TYPE_CHECKING:
    from pathlib import Path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def _must_act(check: Check, status: CheckStatus) -> None:
    assert check.status is status
    assert check.action


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lightgbm>=4.5", Requirement(distribution="lightgbm", minimum="4.5")),
        ("aio-pika>=9.5; extra == 'rabbitmq'", Requirement(distribution="aio-pika", minimum="9.5", extra="rabbitmq")),
        ('ocpp>=2.0 ; extra == "ocpp"', Requirement(distribution="ocpp", minimum="2.0", extra="ocpp")),
        ("Jinja2", Requirement(distribution="jinja2", minimum="0")),
        ("tzdata>=2025.1; sys_platform == 'nowhere'", None),
    ],
)
def test_a_requirement_is_read(text: str, expected: Requirement | None) -> None:
    assert diagnose._parse(text) == expected


def test_the_packages_own_metadata_are_understood() -> None:
    needed, optional = diagnose.requirements()
    assert {"lightgbm", "highspy", "polars", "typer", "scikit-learn"} <= {each.distribution for each in needed}
    assert all(each.minimum != "0" for each in needed)
    assert "kafka" in {each.extra for each in optional}
    assert not {"dev", "all"} & {each.extra for each in optional}
    assert set(probes.PROBES) <= {each.distribution for each in needed}


@given(st.lists(st.integers(0, 99), min_size=1, max_size=4), st.lists(st.integers(0, 99), min_size=1, max_size=4))
def test_versions_compare_by_number(one: list[int], other: list[int]) -> None:
    left, right = (".".join(map(str, version)) for version in (one, other))
    assert (diagnose._release(left) < diagnose._release(right)) == (one < other)


def test_a_package_that_is_absent_or_old_or_broken_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    absent, old = diagnose.check_needed(
        (
            Requirement(distribution="plugcast-nonsense", minimum="1.0"),
            Requirement(distribution="typer", minimum="999.0"),
        )
    )
    _must_act(absent, CheckStatus.BROKEN)
    _must_act(old, CheckStatus.BROKEN)
    assert "pip install 'plugcast-nonsense>=1.0'" in absent.action
    assert "older than 999.0" in old.found
    (tmp_path / "plugcast_broken.py").write_text("raise OSError('libgomp.so.1 is not there')\n", encoding="ascii")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(metadata, "version", lambda _: "1.0")
    (broken,) = diagnose.check_needed((Requirement(distribution="plugcast-broken", minimum="1.0"),))
    _must_act(broken, CheckStatus.BROKEN)
    assert "libgomp.so.1 is not there" in broken.found


def test_a_library_that_kills_the_process_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.CompletedProcess[str](args=[], returncode=-4, stdout="", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: killed)
    (check,) = diagnose.check_needed((Requirement(distribution="polars", minimum="1.0"),))
    _must_act(check, CheckStatus.BROKEN)
    assert "signal 4" in check.found


@pytest.mark.parametrize("name", sorted(probes.PROBES))
def test_every_probe_passes_here(name: str) -> None:
    probes.probe(name)


def test_a_probe_tells_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = probes.Probe(what="answered", run=lambda: float("nan"))
    monkeypatch.setitem(probes.PROBES, "wrong", wrong)
    with pytest.raises(ArithmeticError, match="wrong answered nan"):
        probes.probe("wrong")
    with pytest.raises(LookupError, match="no probe is called 'nonsense'"):
        probes.probe("nonsense")


def test_a_probe_runs_in_a_process_of_its_own() -> None:
    assert diagnose._run_probe("numpy") == ""
    assert "no probe is called" in diagnose._run_probe("nonsense")


def test_an_old_python_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert diagnose.check_python().status is CheckStatus.OK
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    _must_act(diagnose.check_python(), CheckStatus.BROKEN)


def test_a_directory_that_cannot_be_written_to_is_broken(tmp_path: Path) -> None:
    assert diagnose.check_writable(tmp_path).status is CheckStatus.OK
    assert list(tmp_path.iterdir()) == []
    _must_act(diagnose.check_writable(tmp_path / "absent"), CheckStatus.BROKEN)


def test_wrong_settings_are_broken_and_the_defaults_stand_in(tmp_path: Path) -> None:
    path = tmp_path / "plugcast.toml"
    path.write_text("[server]\nprot = 1\n", encoding="utf-8")
    check, settings = diagnose.check_settings(path)
    _must_act(check, CheckStatus.BROKEN)
    assert "server.prot" in check.found
    assert settings.server.port == 8765
    path.write_text("[server]\nport = 0\n", encoding="utf-8")
    check, settings = diagnose.check_settings(path)
    assert (check.status, settings.server.port) == (CheckStatus.OK, 0)


def test_a_taken_port_is_a_warning() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        _must_act(diagnose.check_port("127.0.0.1", port), CheckStatus.WARNING)
    assert diagnose.check_port("127.0.0.1", port).status is CheckStatus.OK
    assert diagnose.check_port("127.0.0.1", 0).status is CheckStatus.OK


def test_an_absent_extra_is_a_note_with_the_line_that_brings_it() -> None:
    present, absent = diagnose.check_extras(
        (
            Requirement(distribution="typer", minimum="0.1", extra="shell"),
            Requirement(distribution="plugcast-nonsense", minimum="1.0", extra="kafka"),
        )
    )
    assert present.status is CheckStatus.OK
    _must_act(absent, CheckStatus.NOTE)
    assert "pip install 'plugcast[kafka]'" in absent.action


def test_everything_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnose, "_run_probe", lambda _: "")
    checks = diagnose.diagnose(directory=tmp_path)
    names = [check.name for check in checks]
    assert len(names) == len(set(names))
    assert {"Python", "lightgbm", "time zones", "threads", "directory", "settings", "port", "Chromium"} <= set(names)
    assert [check for check in checks if check.status is CheckStatus.BROKEN] == []
