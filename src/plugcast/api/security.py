"""What every request must pass, and what every answer carries: host, origin, size, headers.

The page listens on a local address. A foreign web page open in the same browser must neither read it (DNS
rebinding: the Host check) nor steer it (cross-site requests: the Origin check).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from plugcast.api.problems import problem

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 4_096
"""The largest request this API has any use for is under 100 bytes."""

WS_POLICY_VIOLATION: Final = 1008
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
ANY_HOST: Final = "*"

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""On every answer that does not say otherwise."""


class Guard:
    """ASGI middleware: refuses strangers with a problem document and dresses every answer in SECURITY_HEADERS.

    Args:
        app: The application behind.
        allowed_hosts: Host names the page may be reached by, without ports; ``"*"`` allows all.
    """

    def __init__(self, app: ASGIApp, *, allowed_hosts: Collection[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower().strip("[]") for name in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        if scope["type"] == "websocket":
            if refusal:
                await receive()
                await send({"type": "websocket.close", "code": WS_POLICY_VIOLATION, "reason": refusal[1]})
            else:
                await self._app(scope, receive, send)
            return

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        app = problem(refusal[0], refusal[1]) if refusal else self._app
        await app(scope, receive, dressed)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if ANY_HOST not in self._allowed and host_name(host) not in self._allowed:
            return 421, f"Wanted one of the hosts {', '.join(sorted(self._allowed))}; found {host[:100]!r}."
        if (scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS) and not same_origin(headers):
            return 403, "Wanted a request from this page itself; this one came from another origin."
        return too_large(headers) if scope["type"] == "http" else None


def host_name(host: str) -> str:
    """The name of a Host header, lower case, without port and brackets; "" where it is malformed.

    >>> host_name("LocalHost:8765"), host_name("[::1]:8765"), host_name("evil@localhost")
    ('localhost', '::1', '')
    """
    if set(host) & set("/@?#\\ "):
        return ""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def same_origin(headers: Headers) -> bool:
    """Whether a browser sent this from our own page; a client that is no browser sends no Origin and passes."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in {"same-origin", "none"}:
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and parts.netloc.lower() == headers.get("host", "").lower()


def too_large(headers: Headers) -> tuple[int, str] | None:
    """Refuse a body that is too long or of undeclared length."""
    if "transfer-encoding" in headers:
        return 411, "Wanted a Content-Length; found a body of unknown length."
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        return 413, f"Wanted at most {MAX_BODY_BYTES} bytes; found {length[:20]}."
    return None
