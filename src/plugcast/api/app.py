"""The application: one page, its assets, a small HTTP API and one socket, all about one live feed.

| path | what |
|---|---|
| ``GET /`` | the page, complete without JavaScript |
| ``GET /static/{fingerprint}/{path}`` | its assets |
| ``GET /api/v1/snapshot`` | ``services.live.Frame`` of kind ``snapshot`` |
| ``GET /api/v1/info`` | ``services.live.SiteInfo`` |
| ``POST /api/v1/control`` | change speed, pause or jump |
| ``GET /api/openapi.json`` | this API in OpenAPI 3.1 |
| ``GET /healthz`` | alive |
| ``WS /ws`` | a snapshot, then frames (docs/reference/live-messages.md) |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, JSONResponse, Response

from plugcast import __version__
from plugcast.api import assets, page, problems
from plugcast.api.live import Watchers
from plugcast.api.security import SECURITY_HEADERS, Guard
from plugcast.services.live import Frame, SiteInfo

if TYPE_CHECKING:
    from collections.abc import Collection

    from plugcast.services.live import LiveFeed

SPEED_LIMIT: Final = 1_440.0
"""Minutes of site time a second: a day a second is the fastest that still shows something."""

LOCAL_HOSTS: Final = ("127.0.0.1", "localhost")
GZIP_FROM_BYTES: Final = 1_000

router = APIRouter()


class Control(BaseModel):
    """A wish about the replay; at least one member."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    speed: float | None = Field(default=None, gt=0, le=SPEED_LIMIT, allow_inf_nan=False, strict=True)
    """Minutes of site time a second."""
    playing: StrictBool | None = None
    seek: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False, strict=True)
    """Share of the replay's span to jump to."""

    @model_validator(mode="after")
    def _something(self) -> Control:
        if self.speed is None and self.playing is None and self.seek is None:
            raise ValueError("wanted at least one of speed, playing and seek")
        return self


class ControlState(BaseModel):
    """The replay after a control took effect."""

    at: str
    speed: float
    playing: bool


def create_app(feed: LiveFeed, *, allowed_hosts: Collection[str] = LOCAL_HOSTS) -> FastAPI:
    """The application that shows one feed.

    Args:
        feed: The site to watch; its methods are called on the server's event loop.
        allowed_hosts: Host names (no ports) that requests may name; ``("*",)`` allows all.
    """
    app = FastAPI(
        title="Plugcast",
        version=__version__,
        summary="Watch a charging site: stations, plan, forecast and findings.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.feed = feed
    app.state.watchers = Watchers(feed)
    app.state.assets = assets.load()
    app.state.template = assets.template("page.html")
    app.include_router(router)
    problems.install(app, headers=SECURITY_HEADERS)
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES)
    app.add_middleware(Guard, allowed_hosts=allowed_hosts)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _feed(request: Request) -> LiveFeed:
    return cast("LiveFeed", request.app.state.feed)


def _described(name: str, text: str) -> dict[int | str, dict[str, Any]]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {200: {"description": text, "content": {"application/json": {"schema": schema}}}}


def _problem_described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema = {"$ref": "#/components/schemas/Problem"}
    content = {"content": {problems.MEDIA_TYPE: {"schema": schema}}}
    return {status: {"description": "A problem document (RFC 9457)", **content} for status in statuses}


@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
async def show_page(request: Request) -> Response:
    """The page."""
    feed = _feed(request)
    return HTMLResponse(request.app.state.template.render(page.context(feed.snapshot(), feed.info())))


@router.get("/static/{fingerprint}/{path:path}", include_in_schema=False)
async def static_asset(request: Request, fingerprint: str, path: str) -> Response:
    """One asset of this version."""
    answer = request.app.state.assets.answer(request, fingerprint, path)
    return cast("Response", answer) if answer else problems.problem(404, "There is no such asset in this version.")


@router.get("/api/v1/snapshot", responses=_described("Frame", "Everything as of now"))
async def snapshot(request: Request) -> Response:
    """Everything as of now, as the socket sends it on arrival."""
    return Response(msgspec.json.encode(_feed(request).snapshot()), media_type="application/json")


@router.get("/api/v1/info", responses=_described("SiteInfo", "What does not change"))
async def info(request: Request) -> Response:
    """What does not change while watching: names, span, source, forecast scores."""
    return Response(msgspec.json.encode(_feed(request).info()), media_type="application/json")


@router.post("/api/v1/control", response_model=ControlState, responses=_problem_described(400, 403, 413, 422))
async def control(request: Request, wish: Control) -> Response:
    """Change the replay: minutes a second, play or pause, jump to a share of its span."""
    feed = _feed(request)
    feed.control(speed=wish.speed, playing=wish.playing, seek=wish.seek)
    now = feed.snapshot()
    return JSONResponse({"at": now.at.isoformat(), "speed": now.speed, "playing": now.playing})


@router.api_route("/healthz", methods=["GET", "HEAD"], include_in_schema=False)
async def healthz(request: Request) -> Response:
    """Whether the process answers; and how many watch."""
    return JSONResponse({"status": "ok", "version": __version__, "watchers": request.app.state.watchers.count})


@router.websocket("/ws")
async def watch(socket: WebSocket) -> None:
    """The live socket."""
    await cast("Watchers", socket.app.state.watchers).serve(socket)


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        _, messages = msgspec.json.schema_components([Frame, SiteInfo], ref_template="#/components/schemas/{name}")
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(messages, Problem=problems.PROBLEM_SCHEMA)
        # FastAPI describes its own error shape; ours are problem documents
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        app.openapi_schema = document
    return app.openapi_schema
