"""ACN-Data files: the web export, lists, JSON lines and both CSV flavours, plain or gzip, told apart by content."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from plugcast.adapters.acn.fields import Problem
from plugcast.adapters.acn.ledger import Ledger
from plugcast.adapters.acn.records import NATIVE_FIELDS, decode_record
from plugcast.adapters.acn.scan import ArrayScanner, ChunkSource, lines, open_chunks
from plugcast.adapters.acn.table import CsvTable, split_row
from plugcast.domain.rejected import RejectReason
from plugcast.errors import UnreadableInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from plugcast.adapters.acn.records import NativeRecord
    from plugcast.adapters.acn.scan import Piece
    from plugcast.ports import SessionsRead

MAX_RECORD_BYTES: Final = 16_000_000
"""With its time series a session of a day, sampled each second, takes 7 MB; without, none comes near."""
HEAD_BYTES: Final = 262_144
"""How much of the start is looked at to tell the format."""

_BOM: Final = b"\xef\xbb\xbf"
_ITEMS_KEY: Final = re.compile(rb'"_items"\s*:\s*\[')
_JSON_LINE: Final = re.compile(rb'^[ \t]*\{[^\n]*"connectionTime"', re.MULTILINE)
_OTHER_KINDS: Final = {
    b"PAR1": "a Parquet table",
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"\xfd7zXZ": "an xz archive",
    b"BZh": "a bzip2 archive",
    b"SQLite format 3": "an SQLite database",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"<": "a web page or XML",
}
_WANTED: Final = "ACN-Data as JSON, JSON lines or CSV with its native field names, plain or gzip"
_ENOUGH_NAMES: Final = 2


class AcnFile:
    """Sessions of one ACN-Data file. Implements ``ports.SessionSource``; reading twice gives the same rows.

    Args:
        path: The file; its name does not matter.
        now: The present, UTC-aware: times more than a day later are refused.
        max_record_bytes: A longer line or item is refused without being held in memory.

    24,408 sessions take one to two seconds.
    """

    def __init__(self, path: Path | str, *, now: datetime, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        if now.tzinfo is None:
            raise ValueError(f"now: wanted an instant with its offset, found {now!r}")
        self._path = Path(path)
        self._now = now
        self._limit = max_record_bytes

    def read(self) -> SessionsRead:
        """Every session once, with what was refused and why.

        Raises:
            UnreadableInputError: There is no such file, or it holds something other than ACN-Data.
            MissingColumnsError: A table lacks native columns.
        """
        ledger = Ledger(self._path.name, now=self._now)
        with open_chunks(self._path) as source:
            head, chunks = head_of(source, self._path)
            book = _Book(ledger, source)
            if head.lstrip()[:1] == b"[":
                book.array(chunks, limit=self._limit, keyed=False)
            elif is_keyed(head):
                book.array(chunks, limit=self._limit, keyed=True)
            elif head.lstrip()[:1] == b"{":
                book.json_lines(chunks, limit=self._limit)
            elif _is_table(head):
                book.table(chunks, limit=self._limit)
            elif _JSON_LINE.search(head):
                book.json_lines(chunks, limit=self._limit)
            else:
                raise UnreadableInputError(f"{self._path}: wanted {_WANTED}; found {_kind(head)}.")
        return ledger.result()


class _Book:
    """Walks a source's pieces into the ledger; the place where its gzip stream is cut is one refusal."""

    def __init__(self, ledger: Ledger, source: ChunkSource) -> None:
        self._ledger = ledger
        self._source = source
        self._cut_booked = False

    def array(self, chunks: Iterator[bytes], *, limit: int, keyed: bool) -> None:
        scanner = ArrayScanner(limit=limit, keyed=keyed)
        for chunk in chunks:
            for piece in scanner.feed(chunk):
                self._book(piece, decode_record)
        for piece in scanner.finish():
            self._book(piece, decode_record)
        self._end()

    def json_lines(self, chunks: Iterator[bytes], *, limit: int) -> None:
        for piece in lines(chunks, limit=limit):
            if piece.data.strip():
                self._book(piece, decode_record)
        self._end()

    def table(self, chunks: Iterator[bytes], *, limit: int) -> None:
        pieces = (piece for piece in lines(chunks, limit=limit) if piece.problem or piece.data.strip())
        header = next(pieces)
        table = CsvTable(header.data, source=self._ledger.source, limit=limit)
        for piece in table.rows(pieces):
            if piece.unended and (self._source.cut or not table.width_fits(piece.data)):
                # the row's last cell may have lost digits: only a line break proves that it is whole
                self._book(piece._replace(problem=_cut_inside()), table.record)
            else:
                self._book(piece, table.record)
        self._end()

    def _book(self, piece: Piece, decode: Callable[[bytes], NativeRecord | Problem]) -> None:
        record = piece.problem or decode(piece.data)
        if isinstance(record, Problem) and piece.unended and record.reason is RejectReason.UNDECODABLE:
            record = _cut_inside()
        if isinstance(record, Problem) and record.reason is RejectReason.TRUNCATED:
            self._cut_booked = True
        self._ledger.add(record, piece.data)

    def _end(self) -> None:
        if self._source.cut is not None and not self._cut_booked:
            self._ledger.add(self._source.cut, b"")


def _cut_inside() -> Problem:
    return Problem(RejectReason.TRUNCATED, "wanted the end of the record, found the end of the input.")


def head_of(source: ChunkSource, path: Path) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all chunks from the start (byte order mark left out)."""
    chunks = iter(source)
    head = b""
    while len(head) < HEAD_BYTES and (chunk := next(chunks, b"")):
        head += chunk
    head = head.removeprefix(_BOM)
    if not head.strip():
        if source.cut is not None:
            raise UnreadableInputError(f"{path}: {source.cut.detail} Nothing could be read before; fetch it again.")
        raise UnreadableInputError(f"{path}: wanted {_WANTED}; found an empty file.")
    if b"\0" in head:
        raise UnreadableInputError(f"{path}: wanted {_WANTED}; found {_kind(head)}.")
    return head, chain([head], chunks)


def is_keyed(head: bytes) -> bool:
    """Whether this is an object (or several) whose sessions stand in a list named ``_items``."""
    if head.lstrip()[:1] != b"{":
        return False
    first = head.lstrip().split(b"\n", 1)[0]
    try:
        return "_items" in msgspec.json.decode(first, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _ITEMS_KEY.search(head) is not None


def _is_table(head: bytes) -> bool:
    names = split_row(head.lstrip().split(b"\n", 1)[0].rstrip(b"\r")) or []
    return len({name.strip() for name in names} & set(NATIVE_FIELDS)) >= _ENOUGH_NAMES


def _kind(head: bytes) -> str:
    for magic, kind in _OTHER_KINDS.items():
        if head.startswith(magic):
            return kind
    if b"\0" in head:
        return "binary data"
    start = head[:60].decode("utf-8", "replace")
    return f"text that begins with {start!r}"
