"""Which reader a file of meter values needs, decided by what is in it; a folder holds one file a session."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Final

import polars as pl

from plugcast.adapters.tables.meter import MeterFile
from plugcast.adapters.tables.text import check_file
from plugcast.errors import NoUsableRowsError, UnreadableInputError
from plugcast.ports import MeterRead

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    from plugcast.ports import MeterSource

HEAD_BYTES: Final = 65_536
ENDINGS: Final = (".csv", ".csv.gz", ".parquet", ".json", ".json.gz", ".jsonl", ".jsonl.gz")


def open_meter(path: Path, *, now: datetime, time_zone: str) -> MeterSource:
    """A reader of one file: a table, messages of a topic, or ACN-Data sessions with their series.

    Raises:
        UnreadableInputError: There is no readable file.
    """
    check_file(path)
    head = _head(path).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head[:1] not in {b"{", b"["}:
        return MeterFile(path, now=now, time_zone=time_zone)
    first = head.split(b"\n", 1)[0]
    if b'"meter_values"' in first or b'"session_started"' in first or b'"session_ended"' in first:
        from plugcast.adapters.meter_lines import MeterLines  # noqa: PLC0415 - tables need none of it

        return MeterLines(path, now=now)
    from plugcast.adapters.acn.series import AcnSeriesFile  # noqa: PLC0415 - tables need none of it

    return AcnSeriesFile(path, now=now)


def read_meter(path: Path, *, now: datetime, time_zone: str) -> MeterRead:
    """All meter values of a file, or of all the files of a folder in the order of their names.

    Raises:
        UnreadableInputError: There is no such file or folder.
        NoUsableRowsError: Nothing in it could be used; the message says what the first refused row lacked.
    """
    paths = _files(path) if path.is_dir() else [path]
    reads = [open_meter(each, now=now, time_zone=time_zone).read() for each in paths]
    read = MeterRead(
        values=pl.concat([each.values for each in reads]),
        rejected=tuple(rejected for each in reads for rejected in each.rejected),
    )
    if not read.counts.accepted:
        first = f" The first is row {read.rejected[0].row}: {read.rejected[0].detail}" if read.rejected else ""
        raise NoUsableRowsError(f"{path}: none of {read.counts.read:,} meter values could be used.{first}")
    return read


def _files(folder: Path) -> list[Path]:
    found = sorted(_ending(folder.iterdir()))
    if not found:
        raise UnreadableInputError(f"{folder}: wanted files of meter values ({', '.join(ENDINGS)}), found none.")
    return found


def _ending(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.is_file() and path.name.lower().endswith(ENDINGS)]


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            return (gzip.GzipFile(fileobj=raw) if packed else raw).read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""  # the reader will say what is wrong with it
