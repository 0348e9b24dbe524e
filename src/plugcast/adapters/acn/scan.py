"""Bytes in bounded pieces: chunks of a file, lines of a text, items of a JSON array; nothing is ever held whole.

Memory is bounded by the longest record allowed plus one chunk, however long a line or a document is.
"""

from __future__ import annotations

import gzip
import re
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from plugcast.adapters.acn.fields import Problem
from plugcast.domain.rejected import RAW_LIMIT, RejectReason
from plugcast.errors import UnreadableInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES: Final = 65_536
GZIP_MAGIC: Final = b"\x1f\x8b"

_OUTSIDE: Final = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
"""Everything up to the next brace or bracket that is no part of a string, or to a string that does not end here."""
_WITHIN: Final = re.compile(
    rb"""(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+"|[{\[](?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+[}\]])*+""", re.DOTALL
)
"""The same inside an item, where whole innermost objects and arrays are stepped over as well."""
_INSIDE: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
"""The rest of a string up to its closing quote."""
_ITEMS_KEY: Final = re.compile(rb'"_items"\s*:\s*\[')
_KEY_TAIL: Final = 256
"""Bytes kept while looking for the key, so that a chunk's border cannot hide it."""
_BLANK: Final = b" \t\r\n"


class Piece(NamedTuple):
    """One record's bytes, or the start of what could not be taken and why."""

    data: bytes
    problem: Problem | None = None
    unended: bool = False
    """The input ended before the record's own end mark (for a line: its line break)."""


class ChunkSource:
    """The chunks of an open file, decompressed if it is gzip; ``cut`` tells afterwards how the stream was damaged."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._name = name
        magic = file.read(len(GZIP_MAGIC))
        file.seek(0)
        self.compressed = magic == GZIP_MAGIC
        self._file = gzip.GzipFile(fileobj=file) if self.compressed else file
        self.cut: Problem | None = None

    def __iter__(self) -> Iterator[bytes]:
        """Chunks until the end or the damage."""
        while chunk := self._next():
            yield chunk

    def _next(self) -> bytes:
        try:
            return (
                self._file.read1(CHUNK_BYTES) if isinstance(self._file, gzip.GzipFile) else self._file.read(CHUNK_BYTES)
            )
        except EOFError:
            self.cut = Problem(
                RejectReason.TRUNCATED, "wanted the end of the gzip stream, found that the file is cut off."
            )
        except (gzip.BadGzipFile, zlib.error) as error:
            self.cut = Problem(RejectReason.TRUNCATED, f"wanted intact gzip data to the end, found damage: {error}.")
        except OSError as error:
            raise UnreadableInputError(f"{self._name}: reading failed: {error}.") from error
        return b""


@contextmanager
def open_chunks(path: Path) -> Iterator[ChunkSource]:
    """Open a file for chunkwise reading.

    Raises:
        UnreadableInputError: It does not exist, is no file or may not be read.
    """
    try:
        file = path.open("rb")
    except (OSError, ValueError) as error:
        raise UnreadableInputError(f"{path}: wanted a readable file, found: {error}. Check the path.") from error
    with file:
        yield ChunkSource(file, str(path))


def too_long(limit: int) -> Problem:
    """A record longer than the bound."""
    return Problem(RejectReason.TOO_LONG, f"wanted a record of at most {limit} bytes, found a longer one.")


def lines(chunks: Iterator[bytes], *, limit: int) -> Iterator[Piece]:
    """Lines without their line breaks; one longer than the limit is a problem with its first bytes."""
    pending = b""
    skipping = False
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            if skipping:
                skipping, pending = False, b""
                continue
            yield _line(pending + line, limit)
            pending = b""
        if skipping:
            continue
        pending += rest
        if len(pending) > limit:
            yield Piece(pending[:RAW_LIMIT], too_long(limit))
            skipping, pending = True, b""
    if pending and not skipping:
        yield _line(pending, limit)._replace(unended=True)


def _line(data: bytes, limit: int) -> Piece:
    return Piece(data[:RAW_LIMIT], too_long(limit)) if len(data) > limit else Piece(data.removesuffix(b"\r"))


class ArrayScanner:
    """Cuts the items out of a JSON array that arrives in chunks.

    Args:
        limit: Bytes of the longest item.
        keyed: False: the text itself is the array. True: it is the value of an object's key ``_items``;
            further such objects may follow, as when pages of an API are written one after another.
    """

    def __init__(self, *, limit: int, keyed: bool) -> None:
        self._limit = limit
        self._keyed = keyed
        self._buffer = b""
        self._pos = 0
        """Where scanning goes on; everything before has been looked at."""
        self._start = 0
        """Where the present item, or the gap between two, begins."""
        self._depth = -1
        """-1 outside the array, 0 between its items, more within one."""
        self._in_string = False
        self._skipping = False
        self._opened = False
        self._trailing = b""
        """The start of what follows the end of a bare array, where nothing should."""

    def feed(self, chunk: bytes) -> Iterator[Piece]:
        """Take a chunk and give the items that end in it."""
        self._buffer = self._buffer[self._start :] + chunk
        self._pos -= self._start
        self._start = 0
        while True:
            if self._depth < 0 and not self._open():
                return
            brace = self._next_brace()
            if not brace:
                yield from self._bound()
                return
            yield from self._turn(brace)

    def finish(self) -> Iterator[Piece]:
        """What is left when the input has ended."""
        rest = self._buffer[self._start :]
        if self._depth > 0 and not self._skipping:
            problem = Problem(RejectReason.TRUNCATED, "wanted the end of the record, found the end of the input.")
            yield Piece(rest[:RAW_LIMIT], problem, unended=True)
        elif self._depth == 0:
            problem = Problem(RejectReason.TRUNCATED, "wanted the end of the list, found the end of the input.")
            yield Piece(rest[:RAW_LIMIT], problem, unended=True)
        elif self._trailing:
            yield _stray(self._trailing)

    def _open(self) -> bool:
        """Find the array's start; False where it is not (yet) in the buffer."""
        if not self._keyed:
            end = 0 if self._opened else self._buffer.find(b"[") + 1
            keep = 0
        else:
            match = _ITEMS_KEY.search(self._buffer, self._pos)
            end = match.end() if match else 0
            keep = _KEY_TAIL
        if not end:
            if self._opened and not self._keyed and not self._trailing:
                self._trailing = self._buffer[self._pos :].strip(_BLANK)[:RAW_LIMIT]
            self._pos = self._start = max(self._start, len(self._buffer) - keep)
            return False
        self._pos = self._start = end
        self._depth = 0
        self._opened = True
        return True

    def _next_brace(self) -> bytes:
        """The next brace or bracket outside strings, stepped over; empty at the end of the buffer."""
        data, pos = self._buffer, self._pos
        while True:
            if self._in_string:
                pos = _end(_INSIDE, data, pos)
                if data[pos : pos + 1] != b'"':
                    break  # the string goes on, or its last backslash waits for what it escapes
                self._in_string = False
                pos += 1
            pos = _end(_WITHIN if self._depth > 0 else _OUTSIDE, data, pos)
            found = data[pos : pos + 1]
            if not found:
                break
            pos += 1
            if found != b'"':
                self._pos = pos
                return found
            self._in_string = True
        self._pos = pos
        return b""

    def _turn(self, brace: bytes) -> Iterator[Piece]:
        """Go one level up or down at a brace that has just been stepped over."""
        if brace in b"{[":
            if self._depth == 0:
                yield from self._gap()
                self._start = self._pos - 1
            self._depth += 1
        elif self._depth > 1:
            self._depth -= 1
        elif self._depth == 1:
            if not self._skipping:
                data = self._buffer[self._start : self._pos]
                yield Piece(data[:RAW_LIMIT], too_long(self._limit)) if len(data) > self._limit else Piece(data)
            self._close(0)
        else:
            yield from self._gap()
            self._close(-1 if brace == b"]" else 0)

    def _close(self, depth: int) -> None:
        self._depth = depth
        self._skipping = False
        self._start = self._pos

    def _gap(self) -> Iterator[Piece]:
        """Whatever stands between items other than a comma is no record, and is not passed over in silence."""
        gap = self._buffer[self._start : self._pos - 1]
        if not self._skipping and gap.strip(_BLANK) not in {b"", b","}:
            yield _stray(gap)
        self._skipping = False

    def _bound(self) -> Iterator[Piece]:
        """Give up the present item once it is too long: tell so, and keep none of it."""
        held = self._pos - self._start
        if self._skipping:
            self._start = self._pos
        elif held > self._limit:
            begin = self._buffer[self._start : self._start + RAW_LIMIT]
            blank = self._depth == 0 and not self._buffer[self._start : self._pos].strip(_BLANK + b",")
            self._start = self._pos
            if not blank:
                self._skipping = True
                yield Piece(begin, too_long(self._limit))


def _end(pattern: re.Pattern[bytes], data: bytes, pos: int) -> int:
    match = pattern.match(data, pos)
    return match.end() if match else pos


def _stray(data: bytes) -> Piece:
    found = data.strip(_BLANK + b",")
    return Piece(found[:RAW_LIMIT], Problem(RejectReason.UNDECODABLE, "wanted a session object, found something else."))
