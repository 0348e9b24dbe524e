"""ACN-Data sessions with their time series (the API's ``sessions/{site}/ts``): current and pilot to meter values.

Each record carries ``chargingCurrent`` and ``pilotSignal``, each an object of two lists of one length: ``timestamps``
and the amperes (``current``, ``pilot``). The two are sampled apart; a sample of current gets the pilot that held then.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import polars as pl

from plugcast.adapters.acn.fields import FieldReader, Problem, Scalar, parse_instant
from plugcast.adapters.acn.files import MAX_RECORD_BYTES, head_of, is_keyed
from plugcast.adapters.acn.records import CODE_DIGITS
from plugcast.adapters.acn.scan import ArrayScanner, lines, open_chunks
from plugcast.domain.messages import MAX_CURRENT_A
from plugcast.domain.rejected import RAW_LIMIT, Rejected, RejectReason
from plugcast.domain.units import EARLIEST_AT
from plugcast.errors import UnreadableInputError
from plugcast.ports import MeterRead
from plugcast.schemas import METER_VALUES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from plugcast.adapters.acn.scan import Piece

_AHEAD: Final = timedelta(days=1)

Column = dict[str, list[Scalar]]


class NativeSeries(msgspec.Struct, frozen=True, rename={"id_": "_id"}):
    """What this reader looks at in a record."""

    id_: Scalar = None
    siteID: Scalar = None  # noqa: N815 - ACN-Data's own name
    stationID: Scalar = None  # noqa: N815 - ACN-Data's own name
    chargingCurrent: Column | None = None  # noqa: N815 - ACN-Data's own name
    pilotSignal: Column | None = None  # noqa: N815 - ACN-Data's own name


_RECORD: Final = msgspec.json.Decoder(NativeSeries)


class AcnSeriesFile:
    """A ``ports.MeterSource`` over a file of ACN-Data sessions with their series.

    Args:
        path: A page of the API, a list, or JSON lines; plain or gzip.
        now: The present, UTC-aware.
    """

    def __init__(self, path: Path | str, *, now: datetime) -> None:
        self._path = Path(path)
        self._latest_at = now + _AHEAD

    def read(self) -> MeterRead:
        """Every sample of every session that has any; a sample that cannot be read is refused with its reason.

        Raises:
            UnreadableInputError: There is no such file, or no JSON in it.
        """
        rows: list[tuple[object, ...]] = []
        rejected: list[Rejected] = []
        for number, piece in enumerate(self._pieces(), start=1):
            found = piece.problem or _decoded(piece.data)
            problems = [found] if isinstance(found, Problem) else self._samples(found, rows)
            rejected += [
                Rejected(
                    source=self._path.name,
                    row=number,
                    reason=problem.reason,
                    detail=problem.detail,
                    raw=piece.data[:RAW_LIMIT].decode("utf-8", "replace"),
                )
                for problem in problems
            ]
        return MeterRead(values=pl.DataFrame(rows, schema=dict(METER_VALUES), orient="row"), rejected=tuple(rejected))

    def _pieces(self) -> Iterator[Piece]:
        with open_chunks(self._path) as source:
            head, chunks = head_of(source, self._path)
            keyed = is_keyed(head)
            if keyed or head.lstrip()[:1] == b"[":
                scanner = ArrayScanner(limit=MAX_RECORD_BYTES, keyed=keyed)
                for chunk in chunks:
                    yield from scanner.feed(chunk)
                yield from scanner.finish()
            elif head.lstrip()[:1] == b"{":
                yield from (piece for piece in lines(chunks, limit=MAX_RECORD_BYTES) if piece.data.strip())
            else:
                raise UnreadableInputError(f"{self._path}: wanted ACN-Data sessions with their series, as JSON.")

    def _samples(self, native: NativeSeries, rows: list[tuple[object, ...]]) -> list[Problem]:
        """Add one session's rows; what could not be read."""
        read = FieldReader(latest_at=self._latest_at)
        session_id = read.required("_id", native.id_)
        station_id = read.required("stationID", native.stationID)
        site_id = read.code("siteID", native.siteID, digits=CODE_DIGITS)
        if read.problem is not None:
            return [read.problem]
        current, bad = self._column("chargingCurrent", native.chargingCurrent)
        pilot, more = self._column("pilotSignal", native.pilotSignal)
        held = sorted(pilot, key=lambda sample: sample[0])
        instants = [at for at, _ in held]
        for at, amps in current:
            place = bisect_right(instants, at)
            offered = held[place - 1][1] if place else None
            rows.append((session_id, site_id, station_id, at, None, offered, amps, None, None))
        return bad + more

    def _column(self, name: str, column: Column | None) -> tuple[list[tuple[datetime, float]], list[Problem]]:
        """Instants and amperes, in the order given."""
        if not column:
            return [], []
        told = [key for key in column if key != "timestamps"]
        times = column.get("timestamps", [])
        if len(told) != 1 or len(column[told[0]]) != len(times):
            wanted = f"{name}: wanted as many amperes as timestamps"
            return [], [
                Problem(RejectReason.UNDECODABLE, f"{wanted}, found {[len(part) for part in column.values()]}.")
            ]
        kept: list[tuple[datetime, float]] = []
        bad: list[Problem] = []
        for at_text, value in zip(times, column[told[0]], strict=True):
            at = parse_instant(at_text) if isinstance(at_text, str) else None
            amps = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
            if at is None or at.tzinfo is None:
                bad.append(Problem(RejectReason.BAD_TIME, f"{name}: wanted an instant, found {at_text!r}."[:RAW_LIMIT]))
            elif not EARLIEST_AT <= at <= self._latest_at:
                bad.append(Problem(RejectReason.TIME_OUT_OF_RANGE, f"{name}: found {at.isoformat()}."))
            elif not 0 <= amps <= MAX_CURRENT_A:
                bad.append(
                    Problem(RejectReason.OUT_OF_RANGE, f"{name}: wanted 0 to {MAX_CURRENT_A:g} A, found {value}.")
                )
            else:
                kept.append((at, amps))
        return kept, bad


def _decoded(data: bytes) -> NativeSeries | Problem:
    try:
        return _RECORD.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Problem(
            RejectReason.UNDECODABLE, f"wanted an ACN-Data session with its series, found: {error}."[:RAW_LIMIT]
        )
