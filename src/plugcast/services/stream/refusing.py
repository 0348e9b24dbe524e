"""A message that is not taken, as an entry of the topic of dead letters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from plugcast.domain.outgoing import DeadLetter, encode_outgoing
from plugcast.ports import Entry

if TYPE_CHECKING:
    from plugcast.domain.rejected import Rejected
    from plugcast.ports import Stored

LATEST_APPENDED_US: Final = 253_402_300_799_000_000
"""A sender may stamp its messages as it likes; this is the last instant that can be written down."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def dead_letter(stored: Stored, rejected: Rejected) -> Entry:
    """The reason, the place and the beginning of what stood there; its key is the place."""
    letter = DeadLetter.of(
        rejected,
        stored.value or b"",
        topic=stored.topic,
        partition=stored.partition,
        offset=stored.offset,
        at=_EPOCH + timedelta(microseconds=min(max(stored.at_us, 0), LATEST_APPENDED_US)),
    )
    return Entry(f"{stored.topic}/{stored.partition}/{stored.offset}".encode(), encode_outgoing(letter))
