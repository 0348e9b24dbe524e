"""Few notifications, none lost: whatever the order, the repeats and the restarts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from plugcast.alerts.lifecycle import Desk, Policy, Tracked
from plugcast.domain.alert import Why
from plugcast.domain.finding import Cause, Finding, Reason, Severity

if TYPE_CHECKING:
    from plugcast.domain.alert import Alert, Notification

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = Policy()
LATER = NOW + POLICY.hold
CAUSES = [Cause.METER_FAULT, Cause.DERATING, Cause.FAILED_START]


def finding(
    number: int,
    *,
    site: str = "depot",
    station: str = "post-1",
    cause: Cause = Cause.METER_FAULT,
    minutes: float = 0.0,
    severity: Severity = Severity.WARNING,
) -> Finding:
    return Finding(
        finding_id=f"f{number:04}",
        session_id=f"s{number:04}",
        site_id=site,
        station_id=station,
        user_id=None,
        observed_at=NOW + timedelta(minutes=minutes),
        score=0.9,
        p_value=None,
        cause=cause,
        severity=severity,
        by="rule:x",
        reasons=(Reason(feature="x", text=f"reason {number}", contribution=1.0),),
    )


FINDINGS = st.lists(
    st.builds(
        finding,
        st.integers(0, 9_999),
        station=st.sampled_from(["post-1", "post-2", "post-3"]),
        cause=st.sampled_from(CAUSES),
        minutes=st.floats(0, 600),
        severity=st.sampled_from(Severity),
    ),
    max_size=25,
    unique_by=lambda made: made.finding_id,
)


def told(findings: list[Finding], *, desk: Desk | None = None, now: datetime = NOW) -> list[Notification]:
    """All at once, then the hold-off passes."""
    desk = desk or Desk(POLICY)
    for each in findings:
        desk.add(each, now=now)
    return desk.due(now=now + POLICY.hold)[0]


def without_id(alert: Alert) -> Alert:
    return msgspec.structs.replace(alert, alert_id="")


@given(findings=FINDINGS)
def test_each_key_is_told_once_with_all_its_findings(findings: list[Finding]) -> None:
    loud = [each for each in findings if each.severity.rank <= POLICY.least_severity.rank]
    made = told(findings)
    keys = [(n.alert.site_id, n.alert.station_id, n.alert.cause) for n in made]
    assert sorted(keys) == sorted({(each.site_id, each.station_id, each.cause) for each in loud})
    assert sum(n.alert.count for n in made) == len(loud)
    for n in made:
        mine = [e for e in loud if (e.station_id, e.cause) == (n.alert.station_id, n.alert.cause)]
        newest = max(mine, key=lambda e: (e.observed_at, e.finding_id))
        assert n.alert.reasons == tuple(reason.text for reason in newest.reasons)
        assert n.alert.severity == min((e.severity for e in mine), key=lambda each: each.rank)
        assert (n.alert.first_at, n.alert.last_at) == (min(e.observed_at for e in mine), newest.observed_at)
        assert n.why is Why.NEW


@given(data=st.data(), findings=FINDINGS)
def test_the_order_within_the_hold_does_not_matter(data: st.DataObject, findings: list[Finding]) -> None:
    one, other = told(findings), told(data.draw(st.permutations(findings)))
    assert sorted(map(repr, (without_id(n.alert) for n in one))) == sorted(
        map(repr, (without_id(n.alert) for n in other))
    )


@given(findings=FINDINGS, hours=st.lists(st.floats(0, 40), min_size=1, max_size=12))
def test_nobody_is_told_of_a_key_twice_within_the_repeat_interval(findings: list[Finding], hours: list[float]) -> None:
    desk, last = Desk(POLICY), dict[str, datetime]()
    for place, at_h in enumerate(sorted(hours)):
        now = NOW + timedelta(hours=at_h)
        for each in findings[place::12]:
            desk.add(each, now=now)
        for notification in desk.due(now=now)[0]:
            alert_id = notification.alert.alert_id
            assert alert_id not in last or now - last[alert_id] >= POLICY.repeat
            last[alert_id] = now
        assert desk.due(now=now)[0] == []


@given(findings=FINDINGS, cut=st.integers(0, 25))
def test_a_desk_restored_goes_on_where_the_other_stood(findings: list[Finding], cut: int) -> None:
    whole, first = Desk(POLICY), Desk(POLICY)
    for each in findings[:cut]:
        whole.add(each, now=NOW)
        first.add(each, now=NOW)
    document = msgspec.json.encode(first.open)
    second = Desk(POLICY, msgspec.json.decode(document, type=tuple[Tracked, ...]))
    for each in findings[cut:]:
        whole.add(each, now=NOW)
        second.add(each, now=NOW)
    assert whole.due(now=LATER) == second.due(now=LATER)
    assert whole.open == second.open


def test_what_goes_on_is_told_again_after_the_interval_and_only_if_it_goes_on() -> None:
    desk = Desk(POLICY)
    assert len(told([finding(1)], desk=desk)) == 1
    assert desk.due(now=NOW + 3 * POLICY.repeat)[0] == []
    desk.add(finding(2, minutes=60), now=NOW + timedelta(hours=1))
    assert desk.due(now=NOW + timedelta(hours=2))[0] == []
    (again,) = desk.due(now=LATER + POLICY.repeat)[0]
    assert (again.why, again.alert.count, again.alert.reasons) == (Why.REPEAT, 2, ("reason 2",))


def test_a_finding_long_after_the_last_begins_a_new_alert() -> None:
    desk = Desk(POLICY)
    (first,) = told([finding(1)], desk=desk)
    days = POLICY.resolved_after / timedelta(minutes=1) + 1
    (second,) = told([finding(2, minutes=days)], desk=desk, now=NOW + POLICY.resolved_after)
    assert first.alert.alert_id != second.alert.alert_id
    assert (second.why, second.alert.count) == (Why.NEW, 1)


def test_twenty_stations_out_at_once_are_one_notification() -> None:
    findings = [finding(n, station=f"post-{n:02}", minutes=n / 4) for n in range(20)]
    desk = Desk(POLICY)
    (outage,) = told(findings, desk=desk)
    assert outage.alert.cause is Cause.SITE_EVENT
    assert outage.alert.severity is Severity.CRITICAL
    assert outage.alert.stations == tuple(f"post-{n:02}" for n in range(20))
    assert outage.alert.count == 20
    assert "20 stations at once" in outage.alert.reasons[0]
    # a straggler joins it, and nobody is told of it
    desk.add(finding(50, station="post-77", minutes=6), now=LATER)
    assert desk.due(now=LATER + POLICY.hold)[0] == []
    (grown,) = [each for each in desk.open if not each.alert.station_id]
    assert grown.alert.count == 21
    assert "post-77" in grown.alert.stations


def test_the_same_stations_hours_apart_are_no_outage() -> None:
    findings = [finding(n, station=f"post-{n:02}", minutes=30.0 * n) for n in range(20)]
    assert len(told(findings)) == 20


def over_minutes(desk: Desk, *, stations: int = 20) -> list[Notification]:
    """Stations fail one after the other, half a minute apart by either clock."""
    made = []
    for n in range(stations):
        now = NOW + timedelta(minutes=n / 2)
        desk.add(finding(n, station=f"post-{n:02}", minutes=n / 2), now=now)
        made += desk.due(now=now + POLICY.hold)[0]
    return made


def test_an_outage_over_minutes_is_told_once_after_the_first_few_stations() -> None:
    desk = Desk(POLICY)
    *single, outage = over_minutes(desk)
    assert len(single) == POLICY.outage_stations - 1
    assert outage.alert.cause is Cause.SITE_EVENT
    (grown,) = [each.alert for each in desk.open if each.part_of is None]
    assert (grown.count, len(grown.stations)) == (20, 20)


def test_stations_that_were_told_of_before_are_one_outage_too() -> None:
    desk = Desk(POLICY)
    for n in range(20):
        told([finding(n, station=f"post-{n:02}", minutes=60 * n)], desk=desk, now=NOW + timedelta(hours=n))
    at = timedelta(days=3)
    again = [finding(100 + n, station=f"post-{n:02}", minutes=at / timedelta(minutes=1)) for n in range(20)]
    (outage,) = told(again, desk=desk, now=NOW + at)
    assert (outage.alert.cause, outage.alert.count, outage.why) == (Cause.SITE_EVENT, 20, Why.NEW)
    assert outage.alert.first_at == NOW + at


def test_a_station_that_fails_long_after_an_outage_is_told_by_itself() -> None:
    desk = Desk(POLICY)
    told([finding(n, station=f"post-{n:02}") for n in range(20)], desk=desk)
    at = timedelta(days=3)
    (single,) = told([finding(99, station="post-05", minutes=at / timedelta(minutes=1))], desk=desk, now=NOW + at)
    assert (single.alert.station_id, single.alert.cause) == ("post-05", Cause.METER_FAULT)


def test_a_second_outage_names_its_own_stations() -> None:
    desk = Desk(POLICY)
    told([finding(n, station=f"post-{n:02}") for n in range(20)], desk=desk)
    at = timedelta(days=3)
    later = [finding(100 + n, station=f"post-{n:02}", minutes=at / timedelta(minutes=1)) for n in range(5)]
    (outage,) = told(later, desk=desk, now=NOW + at)
    assert (outage.why, outage.alert.stations) == (Why.REPEAT, tuple(f"post-{n:02}" for n in range(5)))


def test_late_news_of_an_outage_stays_with_it() -> None:
    desk = Desk(POLICY)
    told([finding(n, station=f"post-{n:02}", minutes=60) for n in range(20)], desk=desk)
    assert told([finding(99, station="post-05", minutes=10)], desk=desk, now=LATER) == []


@given(
    arrivals=st.lists(st.tuples(st.integers(0, 9), st.floats(0, 6_000), st.floats(-20, 20)), max_size=40),
    cut=st.integers(0, 40),
)
def test_outages_or_not_no_key_is_told_twice_within_the_interval_and_restarts_change_nothing(
    arrivals: list[tuple[int, float, float]], cut: int
) -> None:
    """Findings as they come by the wall clock, some minutes off by event time; the desk is restored at one of them."""
    desk, never, last = Desk(POLICY), Desk(POLICY), dict[tuple[str, str, str], datetime]()
    for place, (station, at, off) in enumerate(sorted(arrivals, key=lambda each: each[1])):
        now = NOW + timedelta(minutes=at)
        if place == cut:
            desk = Desk(POLICY, msgspec.json.decode(msgspec.json.encode(desk.open), type=tuple[Tracked, ...]))
        for each in (desk, never):
            each.add(finding(place, station=f"post-{station}", minutes=at + off), now=now)
        made = desk.due(now=now + POLICY.hold)
        assert made == never.due(now=now + POLICY.hold)
        for told_now in made[0]:
            key = told_now.alert.site_id, told_now.alert.station_id, told_now.alert.cause.value
            assert key not in last or told_now.made_at - last[key] >= POLICY.repeat
            last[key] = told_now.made_at
    assert all(each.told or each.part_of for each in desk.open)


def test_two_sites_have_outages_of_their_own() -> None:
    findings = [finding(n, site=f"site-{n % 2}", station=f"post-{n}") for n in range(20)]
    assert sorted(n.alert.site_id for n in told(findings)) == ["site-0", "site-1"]
