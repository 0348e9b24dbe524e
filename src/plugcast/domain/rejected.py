"""Bad rows as values: why a row was not taken, and what it said."""

from __future__ import annotations

from enum import StrEnum

import msgspec

RAW_LIMIT = 200
"""Characters of the offending text that a rejection keeps."""


class RejectReason(StrEnum):
    """The closed list of reasons; the text form is what files and JSON carry."""

    UNDECODABLE = "undecodable"
    TOO_LONG = "too_long"
    TRUNCATED = "truncated"
    MISSING_VALUE = "missing_value"
    NOT_A_NUMBER = "not_a_number"
    OUT_OF_RANGE = "out_of_range"
    BAD_TIME = "bad_time"
    AMBIGUOUS_TIME = "ambiguous_time"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    END_BEFORE_START = "end_before_start"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"
    LATE = "late"
    TRACE_TOO_SHORT = "trace_too_short"
    WRONG_VERSION = "wrong_version"


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """One row that was read and not taken."""

    source: str
    row: int
    """1-based position of the record in its source (a table's header is not counted)."""
    reason: RejectReason
    detail: str
    """What was wanted and what was found, in one sentence."""
    raw: str = ""
    """The start of the offending record, at most RAW_LIMIT characters."""
