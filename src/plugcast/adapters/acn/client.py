"""One GET with patience: time-outs, retries with full jitter, Retry-After, a bounded body, no foreign hosts."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeVar

import httpx
import msgspec

from plugcast.errors import ConfigError, RemoteError, RemoteRefusedError, RemoteUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

TOKEN_HELP: Final = (
    "Register at https://ev.caltech.edu/register for a token of your own and set PLUGCAST_ACN_TOKEN to it."  # noqa: S105 - words for people, no secret
)
T = TypeVar("T")

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_TOO_MANY: Final = 429
_TIMED_OUT: Final = 408
_SERVER_ERROR: Final = 500
_SHOWN_BYTES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How patient the client is."""

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    """The longest silence; the service can think long over a large window."""
    attempts: int = 6
    """For each page, the first included."""
    backoff_first_s: float = 1.0
    """The first wait is uniform in [0, this]; the bound doubles with every attempt."""
    backoff_max_s: float = 60.0
    retry_after_max_s: float = 120.0
    """A service that asks for a longer pause is left alone instead."""
    max_response_bytes: int = 32_000_000
    page_size: int = 100
    """The service serves no more than 100 records a page."""


class _Retry(NamedTuple):
    """Why an attempt failed in a way that may pass."""

    why: str
    after_s: float | None = None


class PatientClient:
    """GETs JSON below one base address with the token as basic-auth user name and an empty password.

    Args:
        base_url: Ends in a slash; plain http is allowed for this machine only, as the token travels with each request.
        token: Never logged, never part of a message.
        settings: How patient to be.
        sleep: Waits some seconds.
        rng: Draws the jitter.
        now: The present, for a Retry-After that names a date.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        settings: ClientSettings,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._base = _checked_base(base_url)
        self._token = token
        self._settings = settings
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._now = now
        self._client = httpx.Client(
            auth=httpx.BasicAuth(token, ""),
            timeout=httpx.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
            headers={"Accept": "application/json"},
            follow_redirects=False,
            # plain http, on this machine only, has no certificate to check, and loading the roots costs 30 ms
            verify=self._base.scheme == "https",
            trust_env=self._base.host not in _LOOPBACK,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def resolve(self, href: str) -> str:
        """A link of the service as a full address.

        Raises:
            RemoteError: It leads to another origin, where the token must not go.
        """
        try:
            url = self._base.join(href)
        except (httpx.InvalidURL, ValueError) as error:
            raise RemoteError(f"{self._base}: wanted a link to the next page, found one that is no address.") from error
        if (url.scheme, url.host, url.port) != (self._base.scheme, self._base.host, self._base.port) or url.userinfo:
            raise RemoteError(
                f"{self._base}: the link to the next page leads to {url.host}; wanted the same origin. Not followed."
            )
        return str(url)

    def get(self, url: str, decoder: msgspec.json.Decoder[T]) -> T:
        """The decoded answer, after as many attempts as the settings allow.

        Raises:
            RemoteRefusedError: The service refuses; repeating will not help.
            RemoteUnavailableError: No usable answer after all attempts, or it asks for a longer pause than allowed.
            RemoteError: The answer is larger than allowed.
        """
        last = _Retry("nothing was tried")
        for attempt in range(self._settings.attempts):
            if attempt:
                self._sleep(self._pause_s(last, attempt))
            outcome = self._once(url, decoder)
            if not isinstance(outcome, _Retry):
                return outcome
            last = outcome
        raise RemoteUnavailableError(
            f"{self._base.host}: no usable answer after {self._settings.attempts} attempts; the last: {last.why}. "
            "Try again later; a download with a state directory goes on where it stopped."
        )

    def _pause_s(self, last: _Retry, attempt: int) -> float:
        if last.after_s is None:
            bound = min(self._settings.backoff_max_s, self._settings.backoff_first_s * 2 ** (attempt - 1))
            return self._rng.uniform(0.0, bound)
        if last.after_s > self._settings.retry_after_max_s:
            raise RemoteUnavailableError(
                f"{self._base.host}: {last.why}, and it asks to wait {last.after_s:.0f} s. Try again after that; "
                "a download with a state directory goes on where it stopped."
            )
        return last.after_s

    def _once(self, url: str, decoder: msgspec.json.Decoder[T]) -> T | _Retry:
        try:
            with self._client.stream("GET", url) as response:
                body = self._body(response)
        except httpx.TransportError as error:
            return _Retry(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        except httpx.DecodingError as error:
            return _Retry(f"a damaged body: {error}")
        if response.status_code in {_TOO_MANY, _TIMED_OUT} or response.status_code >= _SERVER_ERROR:
            return _Retry(f"it answered {response.status_code}", self._retry_after_s(response))
        if not response.is_success:
            raise self._refusal(response, body)
        try:
            return decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return _Retry(f"an answer that is not the documented JSON: {error}")

    def _body(self, response: httpx.Response) -> bytes:
        parts: list[bytes] = []
        size = 0
        for part in response.iter_bytes():
            size += len(part)
            if size > self._settings.max_response_bytes:
                raise RemoteError(
                    f"{self._base.host}: wanted an answer of at most {self._settings.max_response_bytes} bytes, "
                    "found a larger one. Ask for smaller pages."
                )
            parts.append(part)
        return b"".join(parts)

    def _retry_after_s(self, response: httpx.Response) -> float | None:
        text = response.headers.get("Retry-After", "").strip()
        if text.isascii() and text.isdigit():
            return min(float(text), 1e9)
        try:
            until = parsedate_to_datetime(text)
            return max(0.0, (until - self._now()).total_seconds())
        except (ValueError, TypeError, OverflowError):
            return None

    def _refusal(self, response: httpx.Response, body: bytes) -> RemoteRefusedError:
        status = response.status_code
        said = body[:_SHOWN_BYTES].decode("utf-8", "replace").strip().replace(self._token, "***")
        if status in {401, 403}:
            return RemoteRefusedError(f"{self._base.host} refused the token ({status}). {TOKEN_HELP}")
        if status == httpx.codes.NOT_FOUND:
            return RemoteRefusedError(
                f"{self._base.host} knows nothing at {response.request.url.path} (404). "
                "Check the site's name: caltech, jpl or office001."
            )
        if response.is_redirect:
            return RemoteRefusedError(
                f"{self._base.host} redirects elsewhere ({status}); not followed, as the token would go along."
            )
        return RemoteRefusedError(f"{self._base.host} refused the request ({status}): {said or 'no reason given'}")


def _checked_base(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url if base_url.endswith("/") else base_url + "/")
    except httpx.InvalidURL as error:
        raise ConfigError(
            f"base_url: wanted an address like https://ev.caltech.edu/api/v1/, found {base_url!r}."
        ) from error
    if url.scheme != "https" and not (url.scheme == "http" and url.host in _LOOPBACK):
        raise ConfigError(f"base_url: wanted an https address, found {base_url!r}: the token would travel in clear.")
    return url
