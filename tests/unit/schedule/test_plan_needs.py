from __future__ import annotations

from datetime import UTC, datetime

import pytest

from plugcast.domain.rejected import RejectReason
from plugcast.errors import MissingColumnsError
from plugcast.schedule.needs import EXAMPLE, needs_from_rows

HEADER = ["session_id", "station_id", "arrival", "departure", "energy_kwh", "max_power_kw"]
GOOD = ["a", "P", "2024-03-05T08:00", "2024-03-05T17:00", "10", "7.4"]


def test_the_example_in_messages_is_readable() -> None:
    lines = [line.split(",") for line in EXAMPLE.splitlines()]
    read = needs_from_rows(lines[0], lines[1:], source="example")
    assert (len(read.needs), read.rejected) == (1, ())


def test_times_without_an_offset_are_local() -> None:
    (need,) = needs_from_rows(HEADER, [GOOD], source="x", time_zone="Europe/Oslo").needs
    assert need.arrival_at.astimezone(UTC) == datetime(2024, 3, 5, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        (0, "", RejectReason.MISSING_VALUE),
        (2, "yesterday", RejectReason.BAD_TIME),
        (2, "1970-01-01T00:00", RejectReason.TIME_OUT_OF_RANGE),
        (3, "2024-03-05T08:00", RejectReason.END_BEFORE_START),
        (4, "many", RejectReason.NOT_A_NUMBER),
        (4, "nan", RejectReason.NOT_A_NUMBER),
        (4, "-1", RejectReason.OUT_OF_RANGE),
        (5, "1e9", RejectReason.OUT_OF_RANGE),
        (5, "", RejectReason.MISSING_VALUE),
    ],
)
def test_a_bad_row_is_kept_with_its_reason_and_the_others_are_read(
    column: int, text: str, reason: RejectReason
) -> None:
    bad = ["b", *GOOD[1:]]
    bad[column] = text
    read = needs_from_rows(HEADER, [bad, GOOD], source="x")
    assert [need.session_id for need in read.needs] == ["a"]
    assert [(one.row, one.reason) for one in read.rejected] == [(1, reason)]


def test_duplicates_are_counted_and_conflicts_rejected() -> None:
    other = [*GOOD[:4], "11", "7.4"]
    read = needs_from_rows(HEADER, [GOOD, GOOD, other, [], ["a"]], source="x")
    assert (len(read.needs), read.duplicates) == (1, 1)
    assert [one.reason for one in read.rejected] == [RejectReason.CONFLICTING_DUPLICATE, RejectReason.MISSING_VALUE]


def test_a_missing_column_is_named_and_the_power_may_come_from_outside() -> None:
    with pytest.raises(MissingColumnsError, match="max-power"):
        needs_from_rows(HEADER[:5], [GOOD[:5]], source="x")
    read = needs_from_rows(HEADER[:5], [GOOD[:5]], source="x", max_power_kw=6.6)
    assert read.needs[0].max_power_kw == 6.6
    with pytest.raises(MissingColumnsError, match="departure"):
        needs_from_rows(["session_id", "station_id"], [], source="x", max_power_kw=6.6)
