"""``plugcast read`` as a user types it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import polars as pl
import pytest

from plugcast.cli.app import main
from plugcast.schemas import SESSIONS, TELEMETRY

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "car,time,soc,plugged\nev,2024-01-01 10:00,50,1\nev,2024-01-01 10:05,51,1\n"
MIXED = GOOD + "ev,2024-01-01 10:10,[red]101[/red],1\nev,2024-01-01 10:05,51,1\n"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


class Run:
    """Types a command and gives back code, stdout and stderr."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *words: object) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["plugcast", "read", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = self._capsys.readouterr()
        code = caught.value.code
        assert code is None or isinstance(code, int)
        return code or 0, captured.out, captured.err


def _write(folder: Path, content: str) -> Path:
    path = folder / "t.csv"
    path.write_text(content, encoding="utf-8")
    return path


def test_counts_reasons_and_files(tmp_path: Path, run: Run) -> None:
    out, rejects = tmp_path / "new" / "t.parquet", tmp_path / "r.jsonl"
    code, stdout, stderr = run(_write(tmp_path, MIXED), "--out", out, "--rejects", rejects, "--json")
    assert (code, stderr) == (0, "")
    document = json.loads(stdout)
    assert [document[name] for name in ("kind", "read", "accepted", "rejected", "duplicates", "assets")] == [
        "telemetry",
        4,
        2,
        1,
        1,
        1,
    ]
    assert document["first_at"] == "2024-01-01T10:00:00Z"
    assert document["reasons"][0]["reason"] == "not_a_number"
    assert document["reasons"][0]["examples"][0]["row"] == 3
    assert dict(pl.read_parquet_schema(out)) == dict(TELEMETRY)
    assert [json.loads(line)["row"] for line in rejects.read_text(encoding="utf-8").splitlines()] == [3]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["r.jsonl", "t.csv", "t.parquet"]


def test_a_person_reads_the_same(tmp_path: Path, run: Run) -> None:
    code, stdout, _ = run(_write(tmp_path, MIXED))
    assert code == 0
    assert "not_a_number: 1" in stdout
    assert "found '[red]101[/red]'" in stdout
    assert "2024-01-01 10:00 to 2024-01-01 10:05 UTC" in stdout


def test_sessions(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "s.parquet"
    path = _write(tmp_path, "id,start,end,kwh\n1,01/02/2024 10:00,,5\n")
    code, _, stderr = run(path, "--asset-id", "A")
    assert (code, "--date-order" in stderr) == (1, True)
    code, stdout, _ = run(path, "--asset-id", "A", "--date-order", "dmy", "--out", out, "--json")
    assert code == 0
    assert json.loads(stdout)["running"] == 1
    assert json.loads(stdout)["first_at"] == "2024-02-01T10:00:00Z"
    assert dict(pl.read_parquet_schema(out)) == dict(SESSIONS)


def test_declared_columns(tmp_path: Path, run: Run) -> None:
    path = _write(tmp_path, "car,time,charge,plugged\nev,2024-01-01 10:00,50,1\n")
    assert run(path)[0] == 1
    assert run(path, "--column", "soc=charge")[0] == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        ("", "empty"),
        ("car,time,soc,plugged\n", "no record"),
        ("colour\nred\n", "found colour"),
        ("car,time,soc,plugged\nev,2024-01-01 10:00,101,1\n", "none of 1 rows"),
        ("time,soc,plugged\n2024-01-01 10:00,10,1\n", "--asset-id"),
    ],
)
def test_what_cannot_be_used_fails_with_a_message_and_writes_no_rows(
    tmp_path: Path, run: Run, content: str | None, said: str
) -> None:
    path = tmp_path / "t.csv" if content is None else _write(tmp_path, content)
    out = tmp_path / "out.parquet"
    code, _, stderr = run(path, "--out", out)
    assert (code, said in stderr, "Traceback" in stderr) == (1, True, False), stderr
    assert not out.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--time-zone", "Mars/Olympus"],
        ["--date-order", "sometimes"],
        ["--kind", "poems"],
        ["--column", "soc"],
        ["--out", "{file}"],
        ["--out", "{file}.x", "--rejects", "{file}.x"],
    ],
)
def test_misuse_is_told_apart(tmp_path: Path, run: Run, words: list[str]) -> None:
    path = _write(tmp_path, GOOD)
    assert run(path, *(word.format(file=path) for word in words))[0] == 2
    assert path.read_text(encoding="utf-8") == GOOD
