"""CSV exports of ACN-Data: rows to native records, whichever tool wrote them.

Two flavours are about: ``userInputs`` as JSON and as Python prints it. Index columns without a name, or with pandas'
name for none, are passed over, like any other column that is not native.
"""

from __future__ import annotations

import csv
from collections import deque
from typing import TYPE_CHECKING, Final

from plugcast.adapters.acn.fields import Problem
from plugcast.adapters.acn.records import NATIVE_FIELDS, NativeRecord
from plugcast.domain.rejected import RejectReason
from plugcast.errors import MissingColumnsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugcast.adapters.acn.scan import Piece

REQUIRED: Final = ("_id", "connectionTime", "disconnectTime", "kWhDelivered", "siteID", "stationID", "timezone")
"""Columns that a table must have; cells may still be empty where a null says something."""
_JOIN_LINES: Final = 1024
"""Lines that one row may span; 25 pretty-printed declarations take 252. A stray quote costs no row but its own."""


class CsvTable:
    """Rows of one table, by its header.

    Raises:
        MissingColumnsError: A required column is absent.
    """

    def __init__(self, header: bytes, *, source: str, limit: int) -> None:
        names = [name.strip() for name in split_row(header) or []]
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            hint = "This reader takes ACN-Data's native columns; a comma separates them, and none is renamed."
            raise MissingColumnsError(source, missing=missing, found=[name for name in names if name], hint=hint)
        self._width = len(names)
        self._limit = limit
        # the first of two columns with one name counts
        self._places = [(name, names.index(name)) for name in NATIVE_FIELDS if name in names]

    def width_fits(self, data: bytes) -> bool:
        """Whether the text is one whole row."""
        cells = split_row(data)
        return cells is not None and len(cells) == self._width

    def record(self, data: bytes) -> NativeRecord | Problem:
        """The native record of one row; cells stay text, as the checks of the fields take either."""
        cells = split_row(data)
        if cells is None:
            return Problem(
                RejectReason.UNDECODABLE, "wanted a row of comma-separated UTF-8 text, found broken quoting."
            )
        if len(cells) != self._width:
            return Problem(RejectReason.UNDECODABLE, f"wanted {self._width} columns, found {len(cells)}.")
        values = {("id_" if name == "_id" else name): cells[place] for name, place in self._places}
        return NativeRecord(**values)

    def rows(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Lines joined to rows: a quoted field may hold line breaks, if the row then has the header's width."""
        ahead: deque[Piece] = deque()
        while True:
            piece = ahead.popleft() if ahead else next(pieces, None)
            if piece is None:
                return
            if piece.problem is None and piece.data.count(b'"') % 2:
                yield self._joined(piece, ahead, pieces)
            else:
                yield piece

    def _joined(self, first: Piece, ahead: deque[Piece], pieces: Iterator[Piece]) -> Piece:
        """The row that begins with ``first``; lines that were looked at in vain go back to ``ahead``."""
        text = first.data
        for count in range(1, _JOIN_LINES):
            if len(ahead) < count:
                following = next(pieces, None)
                if following is None:
                    break
                ahead.append(following)
            if ahead[count - 1].problem is not None or len(text) > self._limit:
                break
            text += b"\n" + ahead[count - 1].data
            if ahead[count - 1].data.count(b'"') % 2:
                if not self.width_fits(text):
                    break
                joined = first._replace(data=text, unended=ahead[count - 1].unended)
                for _ in range(count):
                    ahead.popleft()
                return joined
        return first


def split_row(data: bytes) -> list[str] | None:
    """The cells of one row, or None where the text is not UTF-8 or its quotes do not match."""
    try:
        rows = list(csv.reader([data.decode("utf-8")], strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    return rows[0] if len(rows) == 1 else None
