"""A local service that behaves as ACN-Data's API is documented, and misbehaves on request."""

from __future__ import annotations

import base64
import json
import operator
import re
import threading
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

TOKEN = "dyqqDFzf-test-token"  # noqa: S105 - this server's only token
SERIES = {
    "chargingCurrent": {"current": [15.5, 15.6], "timestamps": ["Fri, 01 Mar 2019 08:01:00 GMT"] * 2},
    "pilotSignal": {"pilot": [16], "timestamps": ["Fri, 01 Mar 2019 08:00:00 GMT"]},
}
"""What each record has in addition where the series are asked for."""
SITES = ("caltech", "jpl", "office001")
_OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}
_CONDITION = re.compile(r'connectionTime\s*(>=|<=|==|>|<)\s*"([^"]+)"')


@dataclass
class Service:
    """What the server serves, how it fails, and what it was asked."""

    records: list[dict[str, Any]]
    port: int = 0
    token: str = TOKEN
    faults: dict[int, list[str]] = field(default_factory=dict)
    """Page -> faults, each used up by one request: 503, 429, 500, cut (mid-body), drop, rubbish, hang."""
    retry_after: str | None = None
    lie_about_total: int = 0
    """Added to every announced total."""
    foreign_next: str | None = None
    """A next link to serve instead of the true one."""
    before_page: dict[int, Any] = field(default_factory=dict)
    """Page -> a function called once before it is served."""
    asked: list[tuple[str, int]] = field(default_factory=list)
    """(site, page) of every request that was let in."""
    release: threading.Event = field(default_factory=threading.Event)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1/"

    def matching(self, where: str) -> list[dict[str, Any]]:
        """The records for which every condition of the filter holds, in order of connectionTime."""
        conditions = []
        for part in where.split(" and "):
            match = _CONDITION.fullmatch(part.strip())
            assert match, f"the service cannot evaluate {part!r}"
            conditions.append((_OPERATORS[match[1]], parsedate_to_datetime(match[2])))
        chosen = [
            record
            for record in self.records
            if all(holds(parsedate_to_datetime(record["connectionTime"]), bound) for holds, bound in conditions)
        ]
        return sorted(chosen, key=lambda record: parsedate_to_datetime(record["connectionTime"]))

    def page(self, site: str, query: dict[str, list[str]]) -> dict[str, Any]:
        """One page as Eve, the service's framework, writes it: links relative to the API's root."""
        number, size = int(query["page"][0]), min(100, int(query["max_results"][0]))
        where = query["where"][0]
        chosen = self.matching(where)
        links: dict[str, Any] = {"self": {"title": "sessions", "href": f"sessions/{site}"}}
        if number * size < len(chosen):
            args = {"where": where, "sort": "connectionTime", "max_results": size, "page": number + 1}
            href = self.foreign_next or f"sessions/{site}?{urlencode(args)}"
            links["next"] = {"title": "next page", "href": href}
        shown = chosen[(number - 1) * size : number * size]
        return {
            "_items": [dict(record, **SERIES) if site.endswith("/ts") else record for record in shown],
            "_links": links,
            "_meta": {"page": number, "max_results": size, "total": len(chosen) + self.lie_about_total},
        }


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        service = self.server.service
        wanted = "Basic " + base64.b64encode(f"{service.token}:".encode()).decode()
        if self.headers.get("Authorization") != wanted:
            self._answer(401, b'{"_status": "ERR", "_error": {"code": 401}}')
            return
        split = urlsplit(self.path)
        site = split.path.removeprefix("/api/v1/sessions/").strip("/")
        if site.removesuffix("/ts") not in SITES:
            self._answer(404, b"{}")
            return
        query = parse_qs(split.query)
        number = int(query["page"][0])
        if hook := service.before_page.pop(number, None):
            hook()
        service.asked.append((site, number))
        body = json.dumps(service.page(site, query)).encode()
        faults = service.faults.get(number) or [""]
        self._fail_or_answer(faults.pop(0), body)

    def _fail_or_answer(self, fault: str, body: bytes) -> None:
        if fault.isdigit():
            self._answer(int(fault), b"busy", retry_after=self.server.service.retry_after)
        elif fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
        elif fault == "rubbish":
            self._answer(200, body[: len(body) // 2])
        elif fault == "hang":
            self.server.service.release.wait(20)
        elif fault != "drop":
            self._answer(200, body)
        self.close_connection = True

    def _answer(self, status: int, body: bytes, *, retry_after: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        if status in {301, 302}:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Silent."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, service: Service) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = service

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is part of the play."""


def serving(records: list[dict[str, Any]]) -> AbstractContextManager[Service]:
    """The service on a free port of this machine, until the block ends."""
    from contextlib import contextmanager  # noqa: PLC0415 - keeps the module's face to two names

    @contextmanager
    def block() -> Iterator[Service]:
        service = Service(records=records)
        server = _Server(service)
        service.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield service
        finally:
            service.release.set()
            server.shutdown()
            server.server_close()
            thread.join()

    return block()
