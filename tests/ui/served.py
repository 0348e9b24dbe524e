"""The application with a fake feed on a real port, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self

from plugcast.api.app import create_app
from plugcast.api.server import listen, server, url_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from tests.ui.fake_feed import FakeFeed


class Served:
    """A running server; ``url`` ends in a slash. Use as a context manager."""

    def __init__(self, feed: FakeFeed, *, port: int = 0, app: FastAPI | None = None) -> None:
        self.feed = feed
        self.app = app or create_app(feed)
        self._listener = listen("127.0.0.1", port)
        self.url = url_of(self._listener)
        self.port: int = self._listener.getsockname()[1]
        self._server = server(self.app)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._up.set()
        await self._server.serve(sockets=[self._listener])

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._listener.close()
        assert not self._thread.is_alive()

    def call(self, function: Callable[..., object], *arguments: Any, **named: Any) -> None:
        """Run something on the server's loop, where the feed lives, and wait for it."""
        assert self._loop is not None
        done = threading.Event()

        def run() -> None:
            function(*arguments, **named)
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(5)
