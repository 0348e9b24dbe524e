"""Which channels the settings ask for, and when people are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from plugcast.adapters.clock import SystemClock
from plugcast.alerts.lifecycle import Policy
from plugcast.domain.alert import Alert, Notification, Why
from plugcast.domain.finding import Cause, Severity

if TYPE_CHECKING:
    from plugcast.config import Settings
    from plugcast.ports import Channel

SAMPLE_REASON: Final = "took 1.4 kW; the driver's median over 31 sessions is 6.6 kW, the station's over 212 is 6.2 kW"


def channels_of(settings: Settings) -> list[Channel]:
    """Mail and webhook, as far as they are set; each receiver has a mail of their own.

    So a receiver whose server asks to come again later is tried again alone, and nobody else has the mail twice.

    Raises:
        ConfigError: An address or secret could not be.
        MissingExtraError: The mail client is not installed.
    """
    made: list[Channel] = []
    mail, hook = settings.mail, settings.webhook
    if mail.host and mail.to:
        from plugcast.adapters.notify.mail import MailChannel  # noqa: PLC0415 - an extra

        made += [
            MailChannel(
                host=mail.host,
                port=mail.port,
                sender=mail.sender,
                receivers=[receiver],
                time_zone=settings.site.time_zone,
                security=mail.security,
                username=mail.username,
                password=mail.password.get_secret_value(),
                name=f"mail:{receiver}",
            )
            for receiver in dict.fromkeys(mail.to)
        ]
    if hook.url:
        from plugcast.adapters.notify.webhook import WebhookChannel, secret_bytes  # noqa: PLC0415 - brings an HTTP stack

        secret = secret_bytes(hook.secret.get_secret_value())
        made.append(WebhookChannel(url=hook.url, secret=secret, clock=SystemClock()))
    return made


def policy_of(settings: Settings) -> Policy:
    """When people are told."""
    told = settings.alerts
    return Policy(
        least_severity=Severity(told.least_severity),
        hold=timedelta(seconds=told.hold_s),
        repeat=timedelta(hours=told.repeat_h),
        outage_stations=told.outage_stations,
    )


def sample(*, now: datetime | None = None) -> Notification:
    """A notification that looks like a real one, to try the channels with."""
    at = now or datetime.now(UTC)
    alert = Alert(
        alert_id="test",
        site_id="test site",
        station_id="test station",
        cause=Cause.DERATING,
        severity=Severity.WARNING,
        first_at=at,
        last_at=at,
        count=1,
        finding_id="test",
        reasons=("This is a test: nothing is wrong.", SAMPLE_REASON),
    )
    return Notification(notification_id=f"test-{at:%Y%m%dT%H%M%S%f}", alert=alert, why=Why.NEW, made_at=at)
