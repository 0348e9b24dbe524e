"""Notifications by mail, over SMTP."""

from __future__ import annotations

from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import aiosmtplib

from plugcast.adapters.notify.wording import html, subject, text
from plugcast.errors import ConfigError
from plugcast.ports import Outcome, Sending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugcast.domain.alert import Notification

TIMEOUT_S: Final = 20.0
PERMANENT_FROM: Final = 500
"""SMTP replies from here on are final; those in the 400s ask to come again."""


class MailChannel:
    """Sends each notification as one mail to all receivers.

    The Message-ID is the notification's: a mail that is sent twice, because the server's answer was lost, is one mail
    to whoever files by it.

    Args:
        host: Of the server.
        port: Its port.
        sender: The address that mails come from.
        receivers: At least one address.
        time_zone: Of the instants in the text.
        security: ``none``, ``starttls`` or ``tls``.
        username: Empty for none.
        password: Never logged.
        name: For logs and the outbox.

    Raises:
        ConfigError: An address is none.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        sender: str,
        receivers: Sequence[str],
        time_zone: str = "UTC",
        security: str = "none",
        username: str = "",
        password: str = "",
        name: str = "mail",
    ) -> None:
        self.name = name
        if not receivers:
            raise ConfigError("Mail: wanted at least one receiver (mail.to).")
        self._sender, *self._receivers = (_address(each) for each in (sender, *receivers))
        self._zone = ZoneInfo(time_zone)
        self._host, self._port, self._security = host, port, security
        self._username, self._password = username, password

    def message(self, notification: Notification) -> EmailMessage:
        """The mail: text, and HTML beside it."""
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self._sender
        mail["To"] = self._receivers
        mail["Subject"] = subject(notification)
        mail["Date"] = format_datetime(notification.made_at)
        mail["Message-ID"] = f"<{notification.notification_id}@plugcast.{self._sender.domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(text(notification, self._zone))
        mail.add_alternative(html(notification, self._zone), subtype="html")
        return mail

    async def send(self, notification: Notification) -> Sending:
        """Hand it to the server."""
        try:
            refused, _ = await aiosmtplib.send(
                self.message(notification),
                hostname=self._host,
                port=self._port,
                use_tls=self._security == "tls",
                start_tls=self._security == "starttls",
                username=self._username or None,
                password=self._password or None,
                timeout=TIMEOUT_S,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [each.code for each in error.recipients]
            return _answered(min(codes, default=PERMANENT_FROM), f"every receiver was refused ({codes})")
        except aiosmtplib.SMTPAuthenticationError as error:  # a password may be set right; Postfix waits for it too
            return Sending(outcome=Outcome.TEMPORARY, detail=f"the server refused user name or password ({error.code})")
        except aiosmtplib.SMTPResponseException as error:
            return _answered(error.code, f"{error.code} {error.message}")
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            return Sending(outcome=Outcome.TEMPORARY, detail=f"{self._host}:{self._port}: {type(error).__name__}")
        detail = f"refused for {len(refused)} of {len(self._receivers)} receivers" if refused else ""
        return Sending(outcome=Outcome.SENT, detail=detail)


def _answered(code: int, detail: str) -> Sending:
    outcome = Outcome.PERMANENT if code >= PERMANENT_FROM else Outcome.TEMPORARY
    return Sending(outcome=outcome, detail=detail[:300])


def _address(given: str) -> Address:
    try:
        found = Address(addr_spec=given)
    except (ValueError, IndexError, MessageError) as error:
        raise ConfigError(f"Mail: wanted an address like operator@example.org, found {given!r}.") from error
    if not found.domain or not found.username:
        raise ConfigError(f"Mail: wanted an address like operator@example.org, found {given!r}.")
    return found
