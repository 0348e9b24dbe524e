"""Needs at the changes of the clock, and stations that cap their cars."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from plugcast.domain.rejected import RejectReason
from plugcast.schedule.needs import NeedsRead, needs_from_rows

HEADER = ["session_id", "station_id", "arrival", "departure", "energy_kwh", "max_power_kw"]


def _read(arrival: str, departure: str, zone: str, **more: object) -> NeedsRead:
    row = ["car", "A1", arrival, departure, "5", "11"]
    return needs_from_rows(HEADER, [row], source="t", time_zone=zone, **more)  # type: ignore[arg-type]


def test_a_night_across_the_autumn_change_is_an_hour_longer() -> None:
    (need,) = _read("2026-10-25T01:30", "2026-10-25T09:00", "Europe/Oslo").needs
    assert need.arrival_at == datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
    assert (need.departure_at - need.arrival_at).total_seconds() == 8.5 * 3600


@pytest.mark.parametrize(
    ("arrival", "zone", "reason"),
    [
        ("2026-03-08T02:30", "America/Los_Angeles", RejectReason.BAD_TIME),
        ("2026-11-01T01:30", "America/Los_Angeles", RejectReason.AMBIGUOUS_TIME),
    ],
)
def test_a_time_that_is_skipped_or_comes_twice_is_refused(arrival: str, zone: str, reason: RejectReason) -> None:
    read = _read(arrival, "2026-12-01T09:00", zone)
    assert [row.reason for row in read.rejected] == [reason]
    assert not read.needs
    offset = _read(arrival + "-07:00", "2026-12-01T09:00", zone)
    assert len(offset.needs) == 1


def test_a_station_caps_its_cars() -> None:
    stations = {"A1": 3.7}
    (need,) = _read("2026-05-01T08:00", "2026-05-01T17:00", "UTC", station_kw=stations).needs
    assert need.max_power_kw == 3.7
    row = [["car", "A1", "2026-05-01T08:00", "2026-05-01T17:00", "5"]]
    (need,) = needs_from_rows(HEADER[:-1], row, source="t", station_kw=stations).needs
    assert need.max_power_kw == 3.7
