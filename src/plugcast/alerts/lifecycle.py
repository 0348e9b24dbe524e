"""One alert for each site, station and cause; many stations at once are one alert of the site.

Two clocks. By event time (when a session's record became known) findings belong together or not, so that a replayed
month gives the alerts that the month gave. By the wall clock a new alert is held for a moment, so that an outage is
told once and not station by station, and repeats wait for their interval. Where stations fail over minutes the first
few are told one by one, and then the outage once: all that belong to it are part of it from there on, until a station
fails again long after.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from plugcast.domain.alert import Alert, Notification, Why
from plugcast.domain.finding import Cause, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

Key = tuple[str, str, str]
"""Site, station and cause."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When people are told."""

    least_severity: Severity = Severity.WARNING
    """Findings below it make no alert."""
    hold: timedelta = timedelta(seconds=3)
    """A new alert waits so long for others that belong to it."""
    repeat: timedelta = timedelta(hours=24)
    """An alert that goes on is told again after this at the earliest."""
    resolved_after: timedelta = timedelta(days=7)
    """A finding so much later than the alert's latest one, by event time, begins a new alert."""
    outage_stations: int = 4
    """So many stations of one site within the window are one outage."""
    outage_window: timedelta = timedelta(minutes=15)
    """By event time."""


class Tracked(msgspec.Struct, frozen=True, kw_only=True):
    """An alert and what became of it."""

    alert: Alert
    since: datetime
    """By the wall clock: when the first finding arrived that nobody was told of."""
    told_at: datetime | None = None
    """Of its latest notification; None while it is held."""
    told: int = 0
    """Notifications so far."""
    changed: bool = True
    """Whether a finding joined since it was told."""
    part_of: str | None = None
    """The outage that it belongs to: it is told with that one."""

    @property
    def key(self) -> Key:
        """By which findings join it."""
        return self.alert.site_id, self.alert.station_id, self.alert.cause.value


class Desk:
    """All alerts that may still grow. Feed it findings, each once; ask it now and then what is to be told.

    Args:
        policy: When people are told.
        tracked: What another desk knew: this one goes on where it stood.
    """

    def __init__(self, policy: Policy, tracked: Iterable[Tracked] = ()) -> None:
        self._policy = policy
        self._open: dict[Key, Tracked] = {}
        for each in sorted(tracked, key=lambda each: (each.alert.last_at, each.alert.alert_id)):
            self._open[each.key] = each

    @property
    def open(self) -> tuple[Tracked, ...]:
        """What may still grow, by key."""
        return tuple(each for _, each in sorted(self._open.items()))

    def add(self, finding: Finding, *, now: datetime) -> Tracked | None:
        """Join a finding to its alert, or begin one; None where it is below the least severity.

        Args:
            finding: One that was not added before.
            now: The wall clock.
        """
        if finding.severity.rank > self._policy.least_severity.rank:
            return None
        key = finding.site_id, finding.station_id, finding.cause.value
        found = self._open.get(key)
        if found is not None and finding.observed_at - found.alert.last_at > self._policy.resolved_after:
            found = None
        part_of = self._outage_of(finding)
        if found is None:
            made = Tracked(alert=_begun(finding), since=now, part_of=part_of)
        else:
            if part_of is None and finding.observed_at <= found.alert.last_at:
                part_of = found.part_of  # late news of what it was part of
            waits = found.changed and found.part_of == part_of
            alert, since = _joined(found.alert, finding), found.since if waits else now
            made = structs.replace(found, alert=alert, changed=True, since=since, part_of=part_of)
        self._open[key] = made
        if made.part_of is not None:
            self._grow(made)
        return made

    def due(self, *, now: datetime) -> tuple[list[Notification], list[Tracked]]:
        """What is to be told now, and all that changed with it."""
        changed: dict[str, Tracked] = {}
        by_site = self._single()
        for each in self.open:
            if each.alert.station_id and each.part_of is None and self._waited(each, now):
                for member in self._gather(each, by_site[each.alert.site_id]):
                    changed[member.alert.alert_id] = member
        notifications = []
        for each in self.open:
            if each.part_of is not None or not self._is_due(each, now):
                continue
            why = Why.NEW if each.told == 0 else Why.REPEAT
            told = structs.replace(each, told_at=now, told=each.told + 1, changed=False)
            self._open[told.key] = changed[told.alert.alert_id] = told
            number = f"{told.alert.alert_id}-{told.told}"
            notifications.append(Notification(notification_id=number, alert=told.alert, why=why, made_at=now))
        return notifications, list(changed.values())

    def forget(self, *, before: datetime) -> None:
        """Drop alerts whose latest finding is older, by event time, and that were told."""
        self._open = {
            key: each
            for key, each in self._open.items()
            if each.alert.last_at >= before or (each.told_at is None and each.part_of is None)
        }

    def _waited(self, each: Tracked, now: datetime) -> bool:
        return each.changed and now - each.since >= self._policy.hold

    def _is_due(self, each: Tracked, now: datetime) -> bool:
        return self._waited(each, now) and (each.told_at is None or now - each.told_at >= self._policy.repeat)

    def _single(self) -> dict[str, list[Key]]:
        """Alerts of stations that are part of no outage, by site, the earliest first."""
        found: dict[str, list[Key]] = {}
        for each in sorted(self.open, key=_last_at):
            if each.alert.station_id and each.part_of is None:
                found.setdefault(each.alert.site_id, []).append(each.key)
        return found

    def _gather(self, first: Tracked, single: list[Key]) -> list[Tracked]:
        """Make one outage of the alerts around this one, told or not, if they are of enough stations."""
        window, at = self._policy.outage_window, first.alert.last_at
        start = bisect_left(single, at - window, key=lambda key: self._open[key].alert.last_at)
        end = bisect_right(single, at + window, key=lambda key: self._open[key].alert.last_at)
        near = [self._open[key] for key in single[start:end] if self._open[key].part_of is None]
        if len({each.alert.station_id for each in near}) < self._policy.outage_stations:
            return []
        key = first.alert.site_id, "", Cause.SITE_EVENT.value
        known = self._open.get(key)
        last = near[-1].alert.last_at
        if known is not None and abs(last - known.alert.last_at) <= self._policy.resolved_after:
            again = last - known.alert.last_at > window
            base = structs.replace(known.alert, stations=()) if again else known.alert
            findings = sum(_share(each.alert, window)[1] for each in near)
            outage = structs.replace(known, alert=_with(base, near, findings, window), changed=True)
        else:
            outage = Tracked(alert=_outage(near, window), since=min(each.since for each in near))
        self._open[key] = outage
        parts = [structs.replace(each, part_of=outage.alert.alert_id) for each in near]
        for part in parts:
            self._open[part.key] = part
        return [outage, *parts]

    def _outage_of(self, finding: Finding) -> str | None:
        """The running outage that a new alert of a station belongs to."""
        outage = self._open.get((finding.site_id, "", Cause.SITE_EVENT.value))
        if outage is None or not finding.station_id or not outage.alert.stations:
            return None
        near = abs(finding.observed_at - outage.alert.last_at) <= self._policy.outage_window
        return outage.alert.alert_id if near else None

    def _grow(self, part: Tracked) -> None:
        key = part.alert.site_id, "", Cause.SITE_EVENT.value
        outage = self._open.get(key)
        if outage is not None and outage.alert.alert_id == part.part_of:
            alert = _with(outage.alert, [part], 1, self._policy.outage_window)
            self._open[key] = structs.replace(outage, alert=alert, changed=True)


def _begun(finding: Finding) -> Alert:
    return Alert(
        alert_id=_name(finding.site_id, finding.station_id, finding.cause.value, finding.finding_id),
        site_id=finding.site_id,
        station_id=finding.station_id,
        cause=finding.cause,
        severity=finding.severity,
        first_at=finding.observed_at,
        last_at=finding.observed_at,
        count=1,
        finding_id=finding.finding_id,
        reasons=tuple(reason.text for reason in finding.reasons),
        session_id=finding.session_id,
    )


def _joined(alert: Alert, finding: Finding) -> Alert:
    """The same whichever finding came first, but for the alert's id."""
    later = (finding.observed_at, finding.finding_id) > (alert.last_at, alert.finding_id)
    newest = (
        {
            "finding_id": finding.finding_id,
            "session_id": finding.session_id,
            "reasons": tuple(reason.text for reason in finding.reasons),
        }
        if later
        else {}
    )
    return structs.replace(
        alert,
        severity=min(alert.severity, finding.severity, key=lambda each: each.rank),
        first_at=min(alert.first_at, finding.observed_at),
        last_at=max(alert.last_at, finding.observed_at),
        count=alert.count + 1,
        **newest,
    )


def _last_at(each: Tracked) -> tuple[datetime, Key]:
    return each.alert.last_at, each.key


def _share(alert: Alert, window: timedelta) -> tuple[datetime, int]:
    """Since when an alert belongs to an outage, with how many findings: of one that is older, its latest alone."""
    if alert.last_at - alert.first_at <= window:
        return alert.first_at, alert.count
    return alert.last_at, 1


def _outage(parts: list[Tracked], window: timedelta) -> Alert:
    alerts = [part.alert for part in parts]
    newest = max(alerts, key=lambda alert: (alert.last_at, alert.finding_id))
    stations = tuple(sorted({alert.station_id for alert in alerts}))
    return Alert(
        alert_id=_name(newest.site_id, *sorted(alert.alert_id for alert in alerts)),
        site_id=newest.site_id,
        station_id="",
        cause=Cause.SITE_EVENT,
        severity=Severity.CRITICAL,
        first_at=min(_share(alert, window)[0] for alert in alerts),
        last_at=newest.last_at,
        count=sum(_share(alert, window)[1] for alert in alerts),
        finding_id=newest.finding_id,
        reasons=_in_words(stations, newest),
        session_id=newest.session_id,
        stations=stations,
    )


def _with(outage: Alert, parts: list[Tracked], findings: int, window: timedelta) -> Alert:
    """An outage that stations have joined, with so many further findings."""
    alerts = [part.alert for part in parts]
    newest = max(alerts, key=lambda alert: (alert.last_at, alert.finding_id))
    stations = tuple(sorted({*outage.stations, *(alert.station_id for alert in alerts)}))
    return structs.replace(
        outage,
        severity=Severity.CRITICAL,
        first_at=min(outage.first_at, *(_share(alert, window)[0] for alert in alerts)),
        last_at=max(outage.last_at, newest.last_at),
        count=outage.count + findings,
        reasons=_in_words(stations, newest),
        stations=stations,
    )


def _in_words(stations: tuple[str, ...], newest: Alert) -> tuple[str, ...]:
    when = newest.last_at.astimezone(UTC)
    return (
        f"{len(stations)} stations at once, around {when:%Y-%m-%d %H:%M} UTC: an event of the site, not of a station",
        *(f"{newest.station_id}: {reason}" for reason in newest.reasons[:1]),
    )


def _name(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


__all__ = ["Desk", "Policy", "Tracked"]
