"""Text files as bytes, with bounds checked before any parser sees them."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, cast

from plugcast.errors import UnreadableInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_LINE_BYTES: Final = 1 << 20
"""No row of telemetry or of sessions comes near; a longer line is a broken file or an attack on memory."""
MAX_TEXT_BYTES: Final = 4 << 30
"""Unpacked; a small gzip file can hold a thousand times its size."""
_CHUNK: Final = 1 << 16
_GZIP: Final = b"\x1f\x8b"
_PARQUET: Final = b"PAR1"
_FOREIGN: Final = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet; export it as CSV"),
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
    (b"%PDF", "a PDF; export the table as CSV"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A checked text: the first line and the rest, as bytes of UTF-8 or nearly so."""

    header: bytes
    body: bytes
    quotes_balanced: bool


def check_file(path: Path) -> None:
    """Refuse what is not a non-empty file.

    Raises:
        UnreadableInputError: It is missing, a directory, empty or not permitted.
    """
    try:
        if path.is_dir():
            raise UnreadableInputError(f"{path}: wanted a file, found a directory. Name one file in it.")
        if not path.exists():
            raise UnreadableInputError(f"{path}: there is no such file. Check the path.")
        if path.is_file() and path.stat().st_size == 0:
            raise UnreadableInputError(f"{path}: the file is empty. Wanted a CSV or Parquet table.")
        with path.open("rb") as stream:
            stream.read(1)
    except (OSError, ValueError) as error:
        raise UnreadableInputError(f"{path}: cannot be opened: {error}") from error


def is_parquet(path: Path) -> bool:
    """Whether the file starts as Parquet does."""
    with path.open("rb") as stream:
        return stream.read(len(_PARQUET)) == _PARQUET


def first_bytes(path: Path, count: int = _CHUNK) -> bytes:
    """The beginning of the text, unpacked.

    Raises:
        UnreadableInputError: As ``read_text``, as far as the beginning shows it.
    """
    got = b""
    for chunk in _chunks(path):
        got += chunk
        if len(got) >= count:
            break
    return got[:count]


def header_line(path: Path) -> bytes:
    """The first line of a text, without its line end.

    Raises:
        UnreadableInputError: The line is too long or the file is not text.
    """
    start = first_bytes(path, MAX_LINE_BYTES + 1)
    _refuse_foreign(path, start)
    line = start.split(b"\n", 1)[0]
    if len(line) > MAX_LINE_BYTES:
        raise _too_long(path, 1)
    return _checked_header(path, line)


def read_text(path: Path) -> Text:
    """The whole text; nothing is parsed yet, memory is bounded by MAX_TEXT_BYTES and each line by MAX_LINE_BYTES.

    Raises:
        UnreadableInputError: A line or the file is too long, the gzip stream is broken, or the bytes are not text.
    """
    parts: list[bytes] = []
    size = pending = lines = quotes = 0
    for chunk in _chunks(path):
        if not parts:
            _refuse_foreign(path, chunk)
        if b"\x00" in chunk:
            raise UnreadableInputError(
                f"{path}: wanted text, found binary data (a zero byte). Export the table as CSV."
            )
        first = chunk.find(b"\n")
        pending += len(chunk) if first < 0 else first
        if pending > MAX_LINE_BYTES:
            raise _too_long(path, lines + 1)
        if first >= 0:
            pending = len(chunk) - chunk.rfind(b"\n") - 1
            lines += chunk.count(b"\n")
        quotes += chunk.count(b'"')
        size += len(chunk)
        if size > MAX_TEXT_BYTES:
            raise UnreadableInputError(
                f"{path}: more than {MAX_TEXT_BYTES >> 30} GiB of text. Split it, or use Parquet."
            )
        parts.append(chunk)
    header, _, body = b"".join(parts).partition(b"\n")
    return Text(header=_checked_header(path, header), body=body, quotes_balanced=quotes % 2 == 0)


def _chunks(path: Path) -> Iterator[bytes]:
    """Pieces of the file, unpacked where it is gzip."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(len(_GZIP)) == _GZIP
            raw.seek(0)
            stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
            while chunk := stream.read(_CHUNK):
                yield chunk
    except EOFError as error:
        raise UnreadableInputError(f"{path}: the gzip file is truncated. Copy it again, whole.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableInputError(f"{path}: the gzip file is damaged ({error}). Copy it again.") from error
    except OSError as error:
        raise UnreadableInputError(f"{path}: cannot be read: {error}") from error


def _refuse_foreign(path: Path, start: bytes) -> None:
    for magic, what in _FOREIGN:
        if start.startswith(magic):
            raise UnreadableInputError(f"{path}: wanted CSV or Parquet, found {what}.")
    if start.lstrip()[:1] in {b"{", b"["}:
        raise UnreadableInputError(
            f"{path}: wanted a table (CSV or Parquet), found JSON. Only sessions are read from JSON."
        )


def _checked_header(path: Path, line: bytes) -> bytes:
    header = line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r")
    control = sum(byte < 0x20 and byte != 0x09 for byte in header)  # noqa: PLR2004 - tab is the one control in a header
    if control or not header.strip():
        what = "an empty first line" if not control else "binary data"
        raise UnreadableInputError(f"{path}: wanted a line of column names first, found {what}.")
    return header


def _too_long(path: Path, line: int) -> UnreadableInputError:
    return UnreadableInputError(
        f"{path}: line {line} is longer than {MAX_LINE_BYTES >> 20} MiB. Wanted one short row a line; "
        "the file is damaged or not a table."
    )
