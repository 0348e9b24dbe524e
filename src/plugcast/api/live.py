"""The socket: a snapshot on arrival, then the feed's frames, as JSON text.

A slow watcher costs at most ``OUTBOX_LIMIT`` frames of memory: when its outbox is full the frames in it are
dropped, and it gets a snapshot when it is ready again. Frames are deltas, so that dropping single ones would leave
the watcher with a wrong picture; a snapshot never does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.websockets import WebSocketDisconnect

if TYPE_CHECKING:
    from fastapi import WebSocket

    from plugcast.services.live import LiveFeed

OUTBOX_LIMIT: Final = 4
PING_S: Final = 10.0
"""Silence after which a ping is sent; the page takes three times as much for a lost connection."""
PING: Final = '{"kind":"ping"}'
MAX_WATCHERS: Final = 200
CLOSE_GOING_AWAY: Final = 1001
CLOSE_TRY_LATER: Final = 1013


class Outbox:
    """What waits to be sent to one watcher; bounded, the latest wins. It starts out behind: a snapshot is due."""

    def __init__(self, limit: int = OUTBOX_LIMIT) -> None:
        self._limit = limit
        self._frames: deque[bytes] = deque()
        self._behind = True
        self._ready = asyncio.Event()
        self._ready.set()

    def put(self, frame: bytes) -> None:
        """Add a frame; where there is no room, drop all and owe a snapshot instead."""
        if self._behind:
            return
        if len(self._frames) >= self._limit:
            self._frames.clear()
            self._behind = True
        else:
            self._frames.append(frame)
        self._ready.set()

    async def take(self) -> bytes | None:
        """The next frame, waiting for it; None where a snapshot is due."""
        await self._ready.wait()
        if self._behind:
            self._behind = False
            self._ready.clear()
            return None
        frame = self._frames.popleft()
        if not self._frames:
            self._ready.clear()
        return frame


class Watchers:
    """Serves sockets of one feed, up to a number of them."""

    def __init__(self, feed: LiveFeed, *, limit: int = MAX_WATCHERS, ping_s: float = PING_S) -> None:
        self._feed = feed
        self._limit = limit
        self._ping_s = ping_s
        self.count = 0

    async def serve(self, socket: WebSocket) -> None:
        """Serve one socket until either side goes away."""
        await socket.accept()
        if self.count >= self._limit:
            await socket.close(CLOSE_TRY_LATER, "too many watchers")
            return
        self.count += 1
        outbox = Outbox()
        # in this order: the pump subscribes before the first snapshot is taken, so that nothing falls between
        tasks = [asyncio.create_task(part) for part in (self._pump(outbox), self._send(socket, outbox), _gone(socket))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.count -= 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if tasks[2] in done:
            return
        try:
            await socket.close(CLOSE_GOING_AWAY)
        except (WebSocketDisconnect, RuntimeError):
            return  # it went away in the same moment
        finally:
            for task in done:
                _raise_unforeseen(task)

    async def _pump(self, outbox: Outbox) -> None:
        async for frame in self._feed.frames():
            outbox.put(frame)

    async def _send(self, socket: WebSocket, outbox: Outbox) -> None:
        while True:
            try:
                frame = await asyncio.wait_for(outbox.take(), self._ping_s)
            except TimeoutError:
                await socket.send_text(PING)
                continue
            encoded = msgspec.json.encode(self._feed.snapshot()) if frame is None else frame
            await socket.send_text(encoded.decode())


async def _gone(socket: WebSocket) -> None:
    """Wait until the watcher leaves; what it says is not listened to."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _raise_unforeseen(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, WebSocketDisconnect | RuntimeError):
        raise error
