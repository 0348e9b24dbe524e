from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from plugcast.api.app import create_app
from plugcast.api.live import OUTBOX_LIMIT, Outbox, Watchers
from plugcast.api.server import listen, serve, url_of
from plugcast.errors import ConfigError, PlugcastError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.ui.fake_feed import FakeFeed
    from tests.ui.served import Served


def join(served: Served, **named: Any) -> ClientConnection:
    socket: ClientConnection = connect(served.url.replace("http", "ws") + "ws", proxy=None, **named)
    return socket


def hear(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(timeout=5))
    return message


def test_a_snapshot_first_then_every_frame(served: Served, feed: FakeFeed) -> None:
    with join(served) as socket:
        first = hear(socket)
        assert (first["kind"], first["sequence"], len(first["stations"])) == ("snapshot", 0, 6)
        for _ in range(3):
            served.call(feed.step, 5)
        assert [hear(socket)["sequence"] for _ in range(3)] == [1, 2, 3]


def test_watchers_see_the_same_frames_and_leave_nothing_behind(served: Served, feed: FakeFeed) -> None:
    with join(served) as one, join(served) as two:
        assert hear(one) == hear(two)
        served.call(feed.step, 5)
        assert hear(one) == hear(two)
    for _ in range(50):
        if not feed._watchers:
            break
        served.call(lambda: None)
        asyncio.run(asyncio.sleep(0.02))
    assert not feed._watchers
    assert served.app.state.watchers.count == 0


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}])
def test_a_foreign_page_gets_no_socket(served: Served, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus) as refused, join(served, additional_headers=headers):
        pass
    assert refused.value.response.status_code in {400, 403}


def test_the_own_page_gets_a_socket(served: Served) -> None:
    with join(served, origin=served.url.rstrip("/")) as socket:
        assert hear(socket)["kind"] == "snapshot"


def test_silence_is_broken_by_pings_and_words_are_ignored(served: Served, feed: FakeFeed) -> None:
    served.app.state.watchers = Watchers(feed, ping_s=0.05)
    with join(served) as socket:
        assert hear(socket)["kind"] == "snapshot"
        socket.send("anything")
        assert hear(socket) == {"kind": "ping"}
        assert hear(socket) == {"kind": "ping"}


def test_too_many_watchers_are_told_to_come_later(served: Served, feed: FakeFeed) -> None:
    served.app.state.watchers = Watchers(feed, limit=1)
    with join(served) as first, join(served) as second:
        hear(first)
        with pytest.raises(ConnectionClosed) as closed:
            second.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013


def test_a_feed_that_ends_closes_the_socket(served: Served, feed: FakeFeed) -> None:
    async def over() -> AsyncIterator[bytes]:
        yield b'{"kind": "frame"}'
        await asyncio.sleep(0.05)

    feed.frames = over  # type: ignore[method-assign]
    with join(served) as socket:
        assert [hear(socket)["kind"]] == ["snapshot"]
        with pytest.raises(ConnectionClosed) as closed:
            hear(socket)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001


def test_a_full_outbox_forgets_its_frames_and_owes_a_snapshot() -> None:
    async def story() -> list[bytes | None]:
        outbox = Outbox()
        outbox.put(b"before the first snapshot")
        seen = [await outbox.take()]
        for number in range(OUTBOX_LIMIT + 3):
            outbox.put(b"%d" % number)
        seen.append(await outbox.take())
        outbox.put(b"after")
        seen.append(await outbox.take())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(outbox.take(), 0.01)
        return seen

    assert asyncio.run(story()) == [None, None, b"after"]


def test_an_outbox_with_room_keeps_order() -> None:
    async def story() -> list[bytes | None]:
        outbox = Outbox()
        await outbox.take()
        for number in range(OUTBOX_LIMIT):
            outbox.put(b"%d" % number)
        return [await outbox.take() for _ in range(OUTBOX_LIMIT)]

    assert asyncio.run(story()) == [b"%d" % number for number in range(OUTBOX_LIMIT)]


def test_a_taken_port_is_a_config_error_that_says_what_to_do() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert url_of(taken) == f"http://127.0.0.1:{port}/"
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}.*Choose another port, or 0"):
            listen("127.0.0.1", port)


def test_serving_runs_the_clock_beside_and_stops_with_its_error(feed: FakeFeed) -> None:
    seen: list[str] = []

    async def clock() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(100):
                await asyncio.sleep(0.02)
                try:
                    seen.append((await client.get(f"{seen[0]}healthz")).json()["status"])
                    break
                except httpx.TransportError:
                    continue
        raise PlugcastError("the clock stopped")

    with pytest.raises(PlugcastError, match="the clock stopped"):
        serve(create_app(feed), host="127.0.0.1", port=0, ready=seen.append, background=clock)
    assert seen[1:] == ["ok"]
