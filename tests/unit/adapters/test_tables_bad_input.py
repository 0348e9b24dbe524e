"""Files that are none: each is refused with a message, before it costs memory."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.adapters.tables import SessionsFile, TelemetryFile
from plugcast.adapters.tables.text import MAX_LINE_BYTES
from plugcast.errors import ConfigError, InputError, MissingColumnsError, UnreadableInputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime(2024, 6, 1, tzinfo=UTC)
HEADER = b"asset_id,timestamp,soc,is_plugged_in\n"
ROW = b"ev,2024-01-01 10:00,50,1\n"


def _parquet_start(path: Path) -> None:
    pl.DataFrame({"asset_id": ["ev"] * 1_000}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])


BROKEN: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path,
    "directory": lambda path: path.mkdir(),
    "empty": lambda path: path.write_bytes(b""),
    "blank first line": lambda path: path.write_bytes(b"\n" + HEADER + ROW),
    "truncated gzip": lambda path: path.write_bytes(gzip.compress(HEADER + os.urandom(9_000).hex().encode())[:-2_000]),
    "damaged gzip": lambda path: path.write_bytes(b"\x1f\x8b\x08\x00" + b"rubbish" * 50),
    "empty gzip": lambda path: path.write_bytes(gzip.compress(b"")),
    "truncated parquet": _parquet_start,
    "zero bytes": lambda path: path.write_bytes(HEADER + b"ev\x00,2024\n"),
    "binary": lambda path: path.write_bytes(bytes(range(256)) * 20),
    "utf-16": lambda path: path.write_bytes((HEADER + ROW).decode().encode("utf-16")),
    "zip": lambda path: path.write_bytes(b"PK\x03\x04" + HEADER + ROW),
    "json": lambda path: path.write_bytes(b'  [{"asset_id": 1}]'),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("reader", [TelemetryFile, SessionsFile])
def test_what_is_no_table_is_unreadable(tmp_path: Path, kind: str, reader: type[TelemetryFile | SessionsFile]) -> None:
    path = tmp_path / "t.csv"
    BROKEN[kind](path)
    with pytest.raises(UnreadableInputError, match=r"t\.csv: \w"):
        reader(path, now=NOW).read()


def test_wrong_columns_name_wanted_and_found(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"colour,shape\nred,round\n")
    with pytest.raises(
        MissingColumnsError, match=r"wanted .*asset_id, timestamp, soc, is_plugged_in; found colour, shape"
    ):
        TelemetryFile(path, now=NOW).read()
    with pytest.raises(MissingColumnsError, match="station_id, arrival_at, departure_at, energy_delivered_kwh; found"):
        SessionsFile(path, now=NOW).read()


def test_a_header_alone_is_an_empty_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for content in (HEADER, HEADER.rstrip(), HEADER + b"\n\n\n"):
        path.write_bytes(content)
        read = TelemetryFile(path, now=NOW).read()
        assert read.counts.read == 0
    path.write_bytes(b"station,start,end,kwh\n")
    assert SessionsFile(path, now=NOW).read().counts.read == 0


def test_an_unknown_zone_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Mars"):
        TelemetryFile(tmp_path / "t.csv", now=NOW, time_zone="Mars/Olympus")


@pytest.mark.parametrize("where", ["header", "row"])
def test_a_line_beyond_the_bound_is_refused(tmp_path: Path, where: str) -> None:
    path = tmp_path / "t.csv"
    long = b"x" * (MAX_LINE_BYTES + 70_000)
    path.write_bytes(long + b"\n" if where == "header" else HEADER + ROW + long + b"\n" + ROW)
    with pytest.raises(UnreadableInputError, match=f"line {1 if where == 'header' else 3} is longer than 1 MiB"):
        TelemetryFile(path, now=NOW).read()


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_64_mb_in_one_line_cost_little_memory(tmp_path: Path, *, packed: bool) -> None:
    path = tmp_path / "t.csv"
    with gzip.open(path, "wb", compresslevel=1) if packed else path.open("wb") as stream:
        for _ in range(64):
            stream.write(b"x" * 1_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableInputError, match="longer than"):
            TelemetryFile(path, now=NOW).read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000


@given(rubbish=st.binary(max_size=300), headed=st.booleans())
def test_any_bytes_end_in_an_error_of_ours_or_in_balanced_books(
    tmp_path_factory: pytest.TempPathFactory, rubbish: bytes, *, headed: bool
) -> None:
    path = tmp_path_factory.mktemp("any") / "t.csv"
    path.write_bytes((HEADER if headed else b"") + rubbish)
    try:
        read = TelemetryFile(path, now=NOW).read()
    except InputError:
        return
    assert headed
    assert read.counts.accepted + read.counts.rejected + read.counts.duplicates == read.counts.read
    assert all(len(item.raw) <= 200 for item in read.rejected)
