from __future__ import annotations

import gzip
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from plugcast.adapters.acn import AcnFile
from plugcast.cli.app import app
from plugcast.errors import RemoteRefusedError, RemoteUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.adapters.acn_server import Service
    from typer.testing import Result

NOW = datetime(2024, 1, 1, tzinfo=UTC)
TOKEN = "dyqqDFzf-test-token"  # noqa: S105 - the local server's only token


def fetch(service: Service, out: Path, *more: str, token: str = TOKEN) -> Result:
    window = ["--since", "2019-03-01", "--until", "2019-04-01", "--base-url", service.base_url, "--attempts", "1"]
    args = ["fetch", "acn", "--site", "caltech", *window, "--out", str(out), *more]
    return CliRunner().invoke(app, args, env={"PLUGCAST_ACN_TOKEN": token})


@pytest.mark.parametrize("name", ["sessions.jsonl", "sessions.jsonl.gz"])
def test_fetch_writes_native_lines(
    name: str, acn_service: Service, acn_records: list[dict[str, Any]], tmp_path: Path
) -> None:
    result = fetch(acn_service, tmp_path / name, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["counts"] == {"read": 250, "accepted": 250, "rejected": 0, "duplicates": 0}
    content = (tmp_path / name).read_bytes()
    text = gzip.decompress(content) if name.endswith(".gz") else content
    assert [json.loads(line) for line in text.splitlines()] == acn_records
    assert AcnFile(tmp_path / name, now=NOW).read().counts.accepted == 250
    assert [file.name for file in tmp_path.iterdir()] == [name]  # no draft, no state is left


def test_fetch_tells_people_what_it_did(acn_service: Service, tmp_path: Path) -> None:
    acn_service.records[3]["kWhDelivered"] = -1
    result = fetch(acn_service, tmp_path / "a.jsonl")
    assert re.search(r"250 sessions read, 249 accepted, 1 rejected, 0 duplicates", result.stdout)
    assert "record 4: out_of_range: kWhDelivered" in result.stderr


def test_fetch_goes_on_where_it_stopped(acn_service: Service, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    out.write_text("old content\n")
    acn_service.faults[3] = ["503"]
    result = fetch(acn_service, out)
    assert isinstance(result.exception, RemoteUnavailableError)
    assert out.read_text() == "old content\n"
    assert (tmp_path / "a.jsonl.state").is_dir()
    result = fetch(acn_service, out, "--json")
    document = json.loads(result.stdout)
    assert (document["resumed_pages"], document["counts"]["read"]) == (2, 250)
    assert [page for _, page in acn_service.asked] == [1, 2, 3, 3]
    assert not (tmp_path / "a.jsonl.state").exists()
    acn_service.faults[2] = ["503"]
    fetch(acn_service, out)
    result = fetch(acn_service, out, "--fresh", "--json")
    assert json.loads(result.stdout)["resumed_pages"] == 0


def test_fetch_refuses_what_cannot_work(acn_service: Service, tmp_path: Path) -> None:
    result = fetch(acn_service, tmp_path / "a.jsonl", token="wrong-secret")  # noqa: S106 - wrong on purpose
    assert isinstance(result.exception, RemoteRefusedError)
    assert "wrong-secret" not in result.output + str(result.exception)
    for out, more in (
        (tmp_path / "a.csv", ()),
        (tmp_path / "none" / "a.jsonl", ()),
        (tmp_path / "a.jsonl", ("--since", "March")),
        (tmp_path / "a.jsonl", ("--since", "2019-03-01T10:00")),
    ):
        assert fetch(acn_service, out, *more).exit_code == 2
    assert acn_service.asked == []
    assert list(tmp_path.iterdir()) == []  # nothing is left of what never began
