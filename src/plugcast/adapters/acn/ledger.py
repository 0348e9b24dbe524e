"""The books of a read: each session once, what was refused with its reason, and the frames made from both."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec
import polars as pl

from plugcast.adapters.acn.fields import Problem
from plugcast.adapters.acn.records import Visit, parse_visit
from plugcast.domain.rejected import RAW_LIMIT, Rejected, RejectReason
from plugcast.ports import SessionsRead
from plugcast.schemas import INSTANT, SESSIONS, USER_INPUTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plugcast.adapters.acn.records import NativeRecord
    from plugcast.domain.session import Session, UserInput

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_PROVISIONAL: Final = frozenset({"energy_delivered_kwh", "done_charging_at"})
"""What still changes while the car is there."""


class Ledger:
    """Takes native records one by one; ``result`` balances: accepted + rejected + duplicates = read.

    A record seen before (same ``_id``) is a duplicate if it adds nothing, completes nulls, closes a session that was
    open, or amends the declarations; what it adds is merged in. Anything else conflicts: the first is kept.
    """

    def __init__(self, source: str, *, now: datetime) -> None:
        self.source = source
        self._now = now
        self._visits: dict[str, Visit] = {}
        self._rejected: list[Rejected] = []
        self._duplicates = 0
        self._read = 0

    @property
    def read(self) -> int:
        """Records seen so far."""
        return self._read

    def add(self, record: NativeRecord | Problem, raw: bytes) -> None:
        """Book one record, or the reason why it could not even be decoded."""
        self._read += 1
        visit = record if isinstance(record, Problem) else parse_visit(record, now=self._now)
        if isinstance(visit, Problem):
            self._reject(visit, raw)
            return
        key = visit.session.session_id
        first = self._visits.get(key)
        if first is None:
            self._visits[key] = visit
            return
        merged = merge(first, visit)
        if isinstance(merged, Problem):
            self._reject(merged, raw)
            return
        self._visits[key] = merged
        self._duplicates += 1

    def repeated(self, count: int) -> None:
        """Book exact repeats that were already dropped on their way here."""
        self._read += count
        self._duplicates += count

    def _reject(self, problem: Problem, raw: bytes) -> None:
        self._rejected.append(
            Rejected(
                source=self.source,
                row=self._read,
                reason=problem.reason,
                detail=problem.detail,
                raw=raw[: 4 * RAW_LIMIT].decode("utf-8", "replace")[:RAW_LIMIT],
            )
        )

    def result(self) -> SessionsRead:
        """The frames and the books."""
        visits = self._visits.values()
        return SessionsRead(
            sessions=sessions_frame([visit.session for visit in visits]),
            user_inputs=inputs_frame([item for visit in visits for item in visit.inputs]),
            rejected=tuple(self._rejected),
            duplicates=self._duplicates,
        )


def merge(first: Visit, later: Visit) -> Visit | Problem:
    """Two records of one session as one, or what they contradict each other in."""
    if first == later:
        return first
    one, two = first.session, later.session
    closed = one if one.departure_at is not None else two
    half_open = (one.departure_at is None) != (two.departure_at is None)
    changes: dict[str, object] = {}
    for name in one.__struct_fields__:
        old, new = getattr(one, name), getattr(two, name)
        if old == new or new is None:
            continue
        if half_open and name in _PROVISIONAL:
            final = getattr(closed, name)
            changes[name] = old if final is None else final
        elif old is None:
            changes[name] = new
        else:
            detail = f"{one.session_id}: a record seen before says {name} = {old}, this one {new}; the first is kept."
            return Problem(RejectReason.CONFLICTING_DUPLICATE, detail)
    inputs = _merge_inputs(first.inputs, later.inputs)
    if isinstance(inputs, Problem):
        return inputs
    return Visit(msgspec.structs.replace(one, **changes), inputs)


def _merge_inputs(first: tuple[UserInput, ...], later: tuple[UserInput, ...]) -> tuple[UserInput, ...] | Problem:
    """The declarations of both, each as often as in the record that has it more often.

    Two different declarations of one instant within a record are history; across records they contradict each other.
    """
    extra = list((Counter(later) - Counter(first)).elements())
    taken = {item.available_at for item in first}
    known = set(first)
    for item in extra:
        if item.available_at in taken and item not in known:
            detail = f"{item.session_id}: two records tell different declarations of {item.available_at.isoformat()}."
            return Problem(RejectReason.CONFLICTING_DUPLICATE, detail)
    return tuple(sorted((*first, *extra), key=lambda item: item.available_at)) if extra else first


def sessions_frame(sessions: Iterable[Session]) -> pl.DataFrame:
    """``schemas.SESSIONS``; a completed session is known from its plug-out on, a running one from its plug-in."""
    rows = list(sessions)
    columns = {name: [getattr(row, name) for row in rows] for name in SESSIONS if name != "available_at"}
    columns["available_at"] = [row.departure_at or row.arrival_at for row in rows]
    return _frame(columns, SESSIONS).sort("arrival_at", "session_id")


def inputs_frame(inputs: Iterable[UserInput]) -> pl.DataFrame:
    """``schemas.USER_INPUTS``; declarations of one instant stay in the order given."""
    rows = list(inputs)
    columns = {name: [getattr(row, name) for row in rows] for name in USER_INPUTS}
    return _frame(columns, USER_INPUTS).sort("session_id", "available_at", maintain_order=True)


def _frame(columns: dict[str, list[object]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame([_series(name, columns[name], dtype) for name, dtype in schema.items()])


def _series(name: str, values: list[object], dtype: pl.DataType) -> pl.Series:
    if dtype != INSTANT:
        return pl.Series(name, values, dtype=dtype)
    # whole microseconds go in ten times faster than datetime objects, and exactly
    ticks = [(value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else None for value in values]
    return pl.Series(name, ticks, dtype=pl.Int64).cast(INSTANT)
