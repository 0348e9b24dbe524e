"""Notifications by webhook, signed as the Standard Webhooks specification says (standardwebhooks.com)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from plugcast.errors import ConfigError
from plugcast.ports import Outcome, Sending

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from plugcast.domain.alert import Notification
    from plugcast.ports import Clock

TIMEOUT_S: Final = 10.0
"""Of a call as a whole."""
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the specification's mark of a secret, no secret
TOLERANCE_S: Final = 300.0
"""A receiver takes no signature that is older, so that what was overheard cannot be sent again later."""
LEAST_SECRET_BYTES: Final = 16
_AGAIN: Final = frozenset({408, 425, 429})
"""Refusals that are not final."""
_SERVER_ERROR: Final = 500
_FULL_HOUR_S: Final = 3600.0


class WebhookChannel:
    """Posts each notification as JSON to one address; follows no redirect.

    Args:
        url: ``https://`` (or ``http://`` within a machine or a closed network).
        secret: At least 16 bytes, shared with the receiver; never logged.
        clock: Dates signatures.

    Raises:
        ConfigError: Neither could be.
    """

    name = "webhook"

    def __init__(self, *, url: str, secret: bytes, clock: Clock) -> None:
        try:
            parts = urlsplit(url)
            good = parts.scheme in {"http", "https"} and bool(httpx.URL(url).host) and parts.port != 0
        except (ValueError, httpx.InvalidURL):
            good = False
        if not good or not parts.hostname:
            raise ConfigError("Webhook: wanted an address like https://example.org/hooks/plugcast (webhook.url).")
        if len(secret) < LEAST_SECRET_BYTES:
            raise ConfigError(f"Webhook: wanted a secret of at least {LEAST_SECRET_BYTES} bytes (webhook.secret).")
        self._url, self._secret, self._clock = url, secret, clock
        self._host = parts.hostname

    async def send(self, notification: Notification) -> Sending:
        """Post it."""
        body = msgspec.json.encode({"type": f"alert.{notification.why}", "v": 1, "data": notification})
        headers = signed(notification.notification_id, body, at=self._clock.now(), secret=self._secret)
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as client,
                client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                return self._judged(answer)  # by its status: however long the body is, nobody reads it
        except (httpx.HTTPError, TimeoutError) as error:
            return Sending(outcome=Outcome.TEMPORARY, detail=f"{self._host}: {type(error).__name__}")

    def _judged(self, answer: httpx.Response) -> Sending:
        if answer.is_success:
            return Sending(outcome=Outcome.SENT)
        again = answer.status_code in _AGAIN or answer.status_code >= _SERVER_ERROR
        return Sending(
            outcome=Outcome.TEMPORARY if again else Outcome.PERMANENT,
            detail=f"{self._host} answered {answer.status_code}",
            retry_after_s=_retry_after(answer) if again else None,
        )


def secret_bytes(given: str) -> bytes:
    """A secret as the specification writes it (``whsec_`` and base64), or any other text as its UTF-8 bytes.

    Raises:
        ConfigError: What follows ``whsec_`` is no base64.
    """
    if not given.startswith(SECRET_PREFIX):
        return given.encode()
    try:
        return base64.b64decode(given.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ConfigError(f"Webhook: wanted base64 after {SECRET_PREFIX} (webhook.secret).") from error


def signed(message_id: str, body: bytes, *, at: datetime, secret: bytes) -> dict[str, str]:
    """The headers of a signed message."""
    stamp = str(int(at.timestamp()))
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{_signature(message_id, stamp, body, secret)}",
    }


def verify(headers: Mapping[str, str], body: bytes, *, secret: bytes, now: datetime) -> bool:
    """Whether a received message is ours and fresh: for receivers. Header names in lower case.

    Takes the same time whether a signature is nearly right or not at all.
    """
    stamp, message_id = headers.get("webhook-timestamp", ""), headers.get("webhook-id", "")
    if not stamp.isdecimal() or len(stamp) > len("99999999999") or abs(now.timestamp() - int(stamp)) > TOLERANCE_S:
        return False
    wanted = f"v1,{_signature(message_id, stamp, body, secret)}".encode()
    given = headers.get("webhook-signature", "").split(" ")
    return any([hmac.compare_digest(wanted, each.encode()) for each in given])  # noqa: C419 - all of them, always


def _signature(message_id: str, stamp: str, body: bytes, secret: bytes) -> str:
    content = f"{message_id}.{stamp}.".encode() + body
    return base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()


def _retry_after(answer: httpx.Response) -> float | None:
    said = answer.headers.get("retry-after", "")
    return min(float(said), _FULL_HOUR_S) if said.isdecimal() else None
