"""Meter values as a topic carries them (``domain.messages.MeterValues``), one JSON message a line."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from plugcast.domain.messages import MeterValues
from plugcast.domain.rejected import Rejected
from plugcast.domain.wire import MAX_MESSAGE_BYTES, decode
from plugcast.errors import UnreadableInputError
from plugcast.ports import MeterRead
from plugcast.schemas import METER_VALUES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_GZIP: Final = b"\x1f\x8b"


class MeterLines:
    """A ``ports.MeterSource`` over messages in a file; messages of other types are passed over.

    Args:
        path: JSON lines, plain or gzip.
        now: The reader's clock.
    """

    def __init__(self, path: Path | str, *, now: datetime) -> None:
        self._path = Path(path)
        self._now = now

    def read(self) -> MeterRead:
        """Every meter value, in the file's order, and what was refused with its reason.

        Raises:
            UnreadableInputError: There is no such file, or it is damaged.
        """
        rows: list[tuple[object, ...]] = []
        rejected: list[Rejected] = []
        for number, line in enumerate(self._lines(), start=1):
            if not line.strip():
                continue
            found = decode(line, now=self._now, source=self._path.name, row=number)
            if isinstance(found, Rejected):
                rejected.append(found)
            elif isinstance(found, MeterValues):
                rows.append(tuple(getattr(found, name) for name in METER_VALUES))
        return MeterRead(values=pl.DataFrame(rows, schema=dict(METER_VALUES), orient="row"), rejected=tuple(rejected))

    def _lines(self) -> Iterator[bytes]:
        """Lines; one longer than a message may be comes in pieces, which no reader takes for a message."""
        try:
            with self._path.open("rb") as raw:
                packed = raw.read(len(_GZIP)) == _GZIP
                raw.seek(0)
                stream = gzip.GzipFile(fileobj=raw) if packed else raw
                while line := stream.readline(MAX_MESSAGE_BYTES + 2):
                    yield line
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableInputError(f"{self._path}: wanted readable JSON lines, found: {error}.") from error
