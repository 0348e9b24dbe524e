"""What people say of findings: kept for ever, and leaned on within bounds.

Sessions like one that was called a false alarm rank lower, sessions like a true one higher: each verdict acts near its
session, on the robust scale of the neighbours, as in active anomaly detection (Das et al. 2016) with a kernel in place
of weights of leaves. No verdict changes a rule, and the leaning is bounded, so that nobody can talk a site silent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from plugcast.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from plugcast.anomaly.scale import RobustScale

    Floats = NDArray[np.float64]

REACH: Final = 1.0
"""Distance, in robust standard deviations over all features, at which a verdict counts e^-0.5."""
MOST_LEANING: Final = 0.6
"""Evidence is changed by a factor of exp(0.6), 1.8, at most: chosen, with the reach, on March to August 2019, where
verdicts that reach twice as far lift ordinary neighbours of true faults with them."""


class Verdict(StrEnum):
    """What somebody found out."""

    TRUE = "true"
    FALSE_ALARM = "false_alarm"
    KNOWN_WORK = "known_work"
    """A technician was there: neither a fault nor an ordinary session."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict in the audit trail; a later one on the same finding takes its place, and both are kept."""

    finding_id: str
    session_id: str
    verdict: Verdict
    said_by: str
    said_at: datetime
    values: dict[str, float | None]
    """The session's relative features, so that the verdict means the same after every training."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """The audit trail, in the order in which it was said."""

    entries: tuple[Entry, ...] = ()

    def said(self, entry: Entry) -> Feedback:
        """The trail with one more entry."""
        return Feedback(entries=(*self.entries, entry))

    def standing(self) -> tuple[Entry, ...]:
        """The last verdict on each finding."""
        return tuple({entry.finding_id: entry for entry in self.entries}.values())

    @property
    def unusable(self) -> frozenset[str]:
        """Sessions that are no norm for later ones: true faults and known work."""
        return frozenset(entry.session_id for entry in self.standing() if entry.verdict != Verdict.FALSE_ALARM)

    def leaning(self, matrix: Floats, names: Sequence[str], scale: RobustScale) -> Floats | None:
        """(rows,) factors of the learnt evidence, 1 where nobody said anything of sessions like it; None for none."""
        told = [entry for entry in self.standing() if entry.verdict != Verdict.KNOWN_WORK]
        if not told:
            return None
        known = np.array([[_number(entry.values.get(name)) for name in scale.names] for entry in told])
        points = scale.apply(known, scale.names)
        signs = [1.0 if entry.verdict == Verdict.TRUE else -1.0 for entry in told]
        rows = scale.apply(matrix, names)
        made = np.ones(len(rows))
        for place, row in enumerate(rows):
            gaps = points - row
            near = [math.exp(-0.5 * math.fsum(gap) / REACH**2) for gap in (gaps * gaps).tolist()]
            mean = math.fsum(sign * weight for sign, weight in zip(signs, near, strict=True))
            made[place] = math.exp(MOST_LEANING * mean / (1.0 + math.fsum(near)))
        return made

    def to_lines(self) -> bytes:
        """JSON lines, one an entry; append-only files can be joined."""
        return b"".join(msgspec.json.encode(entry) + b"\n" for entry in self.entries)

    @classmethod
    def from_lines(cls, content: bytes) -> Feedback:
        """Read the trail back.

        Raises:
            InputError: A line is no entry; its number is in the message.
        """
        return cls(entries=tuple(_entries(content.splitlines())))


def _entries(lines: Sequence[bytes]) -> Iterable[Entry]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield msgspec.json.decode(line, type=Entry)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"Line {number} of the feedback is no verdict ({error}). Mend or remove it.") from error


def _number(value: float | None) -> float:
    return math.nan if value is None else value
