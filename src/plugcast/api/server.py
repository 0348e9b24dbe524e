"""Runs the application on an address of this machine."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from plugcast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import FastAPI

SHUTDOWN_S: Final = 2
WS_MESSAGE_BYTES: Final = 1_024
"""Watchers only listen; what they send is small or a mistake."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that a port of 0 is known before the server starts.

    Raises:
        ConfigError: The address cannot be taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ConfigError(
            f"Wanted to listen on {host}:{port}; found: {error.strerror or error}. "
            "Choose another port, or 0 for a free one."
        ) from error


def url_of(listener: socket.socket) -> str:
    """The address to open in a browser; for one that listens on all addresses, this machine's own."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def server(app: FastAPI) -> uvicorn.Server:
    """A server that speaks HTTP and WebSocket, says nothing about itself and logs only trouble."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            ws="websockets-sansio",
            ws_max_size=WS_MESSAGE_BYTES,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
    )


def serve(
    app: FastAPI,
    *,
    host: str,
    port: int,
    ready: Callable[[str], None],
    background: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Serve until interrupted.

    Args:
        app: What ``create_app`` made.
        host: Address to listen on.
        port: Its port; 0 takes a free one.
        ready: Told the page's address as soon as it can be opened.
        background: Runs beside the server on its loop (a feed's clock); if it fails, the server stops with its error.

    Raises:
        ConfigError: The address cannot be taken.
    """
    with listen(host, port) as listener:
        ready(url_of(listener))
        asyncio.run(_serve(server(app), listener, background))


async def _serve(
    running: uvicorn.Server, listener: socket.socket, background: Callable[[], Coroutine[Any, Any, None]] | None
) -> None:
    def failed(task: asyncio.Task[None]) -> None:
        running.should_exit = running.should_exit or (not task.cancelled() and task.exception() is not None)

    beside = asyncio.create_task(background()) if background else None
    if beside is not None:
        beside.add_done_callback(failed)
    try:
        await running.serve(sockets=[listener])
    finally:
        if beside is not None and not beside.done():
            beside.cancel()
    if beside is not None:
        with suppress(asyncio.CancelledError):
            await beside
