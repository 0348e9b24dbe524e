"""The page of alerts: what is wrong at which station and why, as it comes from the stream; with health and metrics.

| path | what |
|---|---|
| ``GET /`` | the page, complete without JavaScript |
| ``GET /list`` | its list alone, for the script |
| ``GET /events`` | server-sent events: ``changed``, whenever an alert begins or grows |
| ``GET /api/v1/alerts`` | the alerts as JSON |
| ``GET /healthz``, ``/readyz``, ``/metrics`` | as every service |
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import msgspec
from fastapi import Request, Response
from starlette.responses import HTMLResponse, StreamingResponse

from plugcast.api import assets
from plugcast.api.app import LOCAL_HOSTS
from plugcast.api.health import health_app
from plugcast.api.problems import install, problem
from plugcast.api.security import SECURITY_HEADERS, Guard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

    from fastapi import FastAPI
    from prometheus_client import CollectorRegistry

    from plugcast.alerts.lifecycle import Tracked

SHOWN: Final = 200
MOST_WATCHERS: Final = 64
PING_S: Final = 15.0


class Board:
    """What the page shows, and who waits for news of it. To be used on one event loop.

    Args:
        name: Of the site.
        time_zone: Of the instants shown.
        alerts: What there is now.
        tells: Whether there is a channel that people are told by.
    """

    def __init__(
        self, name: str, *, time_zone: str, alerts: Callable[[], Sequence[Tracked]], tells: bool = True
    ) -> None:
        self.tells = tells
        self.name = name
        self.zone = ZoneInfo(time_zone)
        self._alerts = alerts
        self._watchers: set[asyncio.Event] = set()

    def tell(self, _: object = None) -> None:
        """Something changed: every watcher looks again."""
        for watcher in self._watchers:
            watcher.set()

    def shown(self) -> list[Tracked]:
        """The newest alerts first; those that are part of an outage are told with it."""
        rows = [each for each in self._alerts() if each.part_of is None]
        rows.sort(key=lambda each: (each.alert.last_at, each.alert.alert_id), reverse=True)
        return rows[:SHOWN]

    async def events(self) -> AsyncIterator[bytes]:
        """Server-sent events; a comment now and then keeps the connection open."""
        watcher = asyncio.Event()
        self._watchers.add(watcher)
        try:
            yield b"event: changed\ndata: now\n\n"
            while True:
                try:
                    await asyncio.wait_for(watcher.wait(), PING_S)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                watcher.clear()
                yield b"event: changed\ndata: now\n\n"
                await asyncio.sleep(0.25)  # a burst is one look
        finally:
            self._watchers.discard(watcher)

    @property
    def full(self) -> bool:
        """Whether no further watcher is taken."""
        return len(self._watchers) >= MOST_WATCHERS


def alerts_app(
    board: Board,
    *,
    ready: Callable[[], bool],
    registry: CollectorRegistry,
    allowed_hosts: Collection[str] = LOCAL_HOSTS,
) -> FastAPI:
    """The page with its health and metrics.

    Args:
        board: What it shows.
        ready: Whether the service does its share now.
        registry: Of its metrics.
        allowed_hosts: Host names that requests may name.
    """
    app = health_app(ready=ready, registry=registry)
    held = assets.load()
    install(app, headers=SECURITY_HEADERS)
    app.add_middleware(Guard, allowed_hosts=allowed_hosts)

    @app.api_route("/", methods=["GET", "HEAD"])
    async def page() -> Response:
        return HTMLResponse(assets.template("alerts.html").render(_context(board)))

    @app.get("/list")
    async def fragment() -> Response:
        return HTMLResponse(assets.template("alert_list.html").render(_context(board)))

    @app.get("/api/v1/alerts")
    async def document() -> Response:
        rows = [{"alert": each.alert, "notified_at": each.told_at, "notified": each.told} for each in board.shown()]
        return Response(msgspec.json.encode({"alerts": rows}), media_type="application/json")

    @app.get("/events")
    async def events() -> Response:
        if board.full:
            return problem(503, "Too many watch already. Close a page, or try again later.")
        return StreamingResponse(board.events(), media_type="text/event-stream")

    @app.get("/static/{fingerprint}/{path:path}")
    async def static_asset(request: Request, fingerprint: str, path: str) -> Response:
        return held.answer(request, fingerprint, path) or problem(404, "There is no such asset in this version.")

    return app


def _context(board: Board) -> dict[str, Any]:
    rows = []
    for each in board.shown():
        alert = each.alert
        place = alert.station_id or (f"{len(alert.stations)} stations" if alert.stations else "whole site")
        rows.append(
            {
                "id": alert.alert_id,
                "severity": alert.severity.value,
                "cause": alert.cause.value.replace("_", " ").capitalize(),
                "place": f"{alert.site_id} · {place}",
                "stations": ", ".join(alert.stations),
                "at": alert.last_at.isoformat(),
                "when": f"{alert.last_at.astimezone(board.zone):%a %d %b %Y %H:%M}",
                "count": alert.count,
                "reasons": alert.reasons,
                "told": ""
                if each.told_at is None or not board.tells
                else "told once"
                if each.told == 1
                else f"told {each.told} times",
            }
        )
    return {"name": board.name, "zone": str(board.zone), "rows": rows}
