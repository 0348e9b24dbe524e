"""A notification in words: subject, text and HTML, with the reasons and their numbers."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from plugcast.domain.alert import Why

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from plugcast.domain.alert import Alert, Notification

MOST_STATIONS: Final = 40
"""Named in a message; of more, how many there are."""


def subject(notification: Notification) -> str:
    """One line without control characters, whatever a station calls itself."""
    alert = notification.alert
    again = "still " if notification.why is Why.REPEAT else ""
    line = f"[{alert.severity.value}] {_place(alert)}: {again}{_cause(alert)}"
    return "".join(char if char.isprintable() else " " for char in line)[:200]


def text(notification: Notification, zone: ZoneInfo) -> str:
    """For mail readers without HTML."""
    alert = notification.alert
    lines = [f"{_place(alert)}: {_cause(alert)} ({alert.severity.value})", "", "Why:"]
    lines += [f"  {number}. {reason}" for number, reason in enumerate(alert.reasons, 1)]
    lines += ["", *(f"{name}: {value}" for name, value in _facts(alert, zone))]
    lines += ["", "Sent by Plugcast.", ""]
    return "\n".join(lines)


def html(notification: Notification, zone: ZoneInfo) -> str:
    """For the others; no pictures, no links, nothing that is fetched."""
    alert = notification.alert
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in alert.reasons)
    facts = "".join(
        f'<tr><th align="left" scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in _facts(alert, zone)
    )
    return (
        '<!doctype html><html lang="en"><body style="font-family:sans-serif">'
        f"<h2>{escape(_place(alert))}: {escape(_cause(alert))}</h2>"
        f"<p>Severity: <strong>{escape(alert.severity.value)}</strong></p>"
        f'<h3>Why</h3><ol>{reasons}</ol><table cellpadding="4">{facts}</table>'
        "<p>Sent by Plugcast.</p></body></html>"
    )


def _facts(alert: Alert, zone: ZoneInfo) -> list[tuple[str, str]]:
    facts = [("Site", alert.site_id)]
    if alert.stations:
        named = ", ".join(alert.stations[:MOST_STATIONS])
        more = len(alert.stations) - MOST_STATIONS
        facts.append((f"Stations ({len(alert.stations)})", named + (f" and {more} more" if more > 0 else "")))
    elif alert.station_id:
        facts.append(("Station", alert.station_id))
    if alert.session_id:
        facts.append(("Latest session", alert.session_id))
    facts += [("First", _when(alert.first_at, zone)), ("Latest", _when(alert.last_at, zone))]
    facts += [("Findings so far", str(alert.count)), ("Alert", alert.alert_id), ("Latest finding", alert.finding_id)]
    return facts


def _when(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M %Z}"


def _place(alert: Alert) -> str:
    if alert.stations:
        return f"{alert.site_id}, {len(alert.stations)} stations"
    return f"{alert.site_id}, {alert.station_id}" if alert.station_id else alert.site_id


def _cause(alert: Alert) -> str:
    return alert.cause.value.replace("_", " ")
