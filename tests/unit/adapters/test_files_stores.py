"""Atomic writes: a name holds its old content or its new one, also when the writer dies in between."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from plugcast.adapters.files import LocalArtifacts, RejectFile, atomic_path, write_atomic
from plugcast.domain.rejected import Rejected, RejectReason
from plugcast.errors import InputError, ModelNotFoundError

if TYPE_CHECKING:
    from pathlib import Path


def _row(number: int) -> Rejected:
    return Rejected(source="t.csv", row=number, reason=RejectReason.BAD_TIME, detail="wanted a time", raw="æ,\n")


def test_a_failing_block_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    write_atomic(path, b"old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["x.bin"]


def test_who_is_reading_goes_on_reading_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    write_atomic(path, b"old content")
    with path.open("rb", buffering=0) as stream:
        assert stream.read(3) == b"old"
        write_atomic(path, b"new")
        assert stream.read() == b" content"
    assert path.read_bytes() == b"new"


def test_a_killed_writer_leaves_the_old_content(tmp_path: Path) -> None:
    store = LocalArtifacts(tmp_path)
    store.put("model", b"old")
    code = (
        "import os, sys, pathlib\n"
        "from plugcast.adapters.files import atomic_path\n"
        "with atomic_path(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    os._exit(9)\n"
    )
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path / "model")], check=False)
    assert died.returncode == 9
    assert store.get("model") == b"old"
    assert store.names() == ["model"]
    assert len(list(tmp_path.iterdir())) == 2  # the torn file is there, hidden: the fault happened


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x", ".hidden", "a/.x", "a//b", "a\\b", "a\x00", "a/"])
def test_names_stay_inside(tmp_path: Path, name: str) -> None:
    store = LocalArtifacts(tmp_path / "store")
    with pytest.raises(InputError):
        store.put(name, b"x")
    with pytest.raises(InputError):
        store.get(name)
    assert not list(tmp_path.rglob("*"))


def test_folders_in_names(tmp_path: Path) -> None:
    store = LocalArtifacts(tmp_path)
    store.put("models/plug.json", b"x")
    assert (tmp_path / "models" / "plug.json").read_bytes() == b"x"
    assert store.names() == ["models/plug.json"]
    with pytest.raises(ModelNotFoundError, match=r"found models/plug\.json"):
        store.get("models")


def test_a_place_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be written"):
        write_atomic(tmp_path / "file" / "x", b"")
    with pytest.raises(InputError, match="found a directory"):
        write_atomic(tmp_path, b"")
    with pytest.raises(InputError, match="cannot be written"):
        RejectFile(tmp_path / "file" / "x").keep([_row(1)])


def test_a_line_torn_by_a_crash_is_not_counted_and_not_built_upon(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    store = RejectFile(path)
    store.keep([_row(1)])
    with path.open("ab") as stream:
        stream.write(b'{"source": "t.csv", "ro' + b"w" * 10_000)
    assert store.kept() == [_row(1)]
    store.keep([_row(2)])
    assert store.kept() == [_row(1), _row(2)]
    path.write_bytes(b"torn")
    store.keep([_row(3)])
    assert store.kept() == [_row(3)]


def test_a_foreign_line_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    path.write_bytes(b'{"something": "else"}\n')
    with pytest.raises(InputError, match="one refused row a line"):
        RejectFile(path).kept()
