"""The replay clock of a site: plays a recording at an adjustable speed and tells every watcher what changed."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from plugcast.features.online import instant
from plugcast.services import live
from plugcast.services.views import SLOT_US, SiteViews

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from plugcast.services.recording import Recording
    from plugcast.services.views import SiteMoment

TICK_S: Final = 0.5
QUEUE: Final = 4
"""Frames that a watcher may lag behind before it gets a snapshot instead."""
SPEED_RANGE: Final = (0.1, 1_440.0)
START_SPEED: Final = 15.0


class ReplayFeed:
    """A ``live.LiveFeed`` over a recording.

    ``run`` moves the clock; without it the feed stands still. Frames are encoded once for all watchers. It starts at
    ``start_share`` of the span, or where the site first gets busy: an empty car park shows nobody anything.
    """

    def __init__(self, recording: Recording, *, speed: float = START_SPEED, start_share: float | None = None) -> None:
        self._views = SiteViews(recording)
        self._recording = recording
        self._first_us = int(recording.slot_us[0])
        self._last_us = int(recording.slot_us[recording.slots - 1]) + SLOT_US - 1
        self._now_us = _first_busy(recording) if start_share is None else self._at_share(start_share)
        self._speed = speed
        self._playing = True
        self._sequence = 0
        self._watchers: set[asyncio.Queue[bytes | None]] = set()
        self._sent = self._views.at(self._now_us)

    def info(self) -> live.SiteInfo:
        """What does not change."""
        return self._recording.info

    def snapshot(self) -> live.Frame:
        """Everything as of now."""
        return self._frame("snapshot", self._views.at(self._now_us), self._sequence)

    async def frames(self) -> AsyncGenerator[bytes]:
        """Encoded frames from now on; a watcher that fell behind gets a snapshot and goes on from there."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE)
        self._watchers.add(queue)
        try:
            while True:
                message = await queue.get()
                yield msgspec.json.encode(self.snapshot()) if message is None else message
        finally:
            self._watchers.discard(queue)

    def control(self, *, speed: float | None = None, playing: bool | None = None, seek: float | None = None) -> None:
        """Change the replay; numbers out of range are held to it, NaN is ignored.

        Args:
            speed: Minutes of site time a second.
            playing: False pauses.
            seek: Share of the span to jump to, 0 to 1.
        """
        if speed is not None and math.isfinite(speed):
            self._speed = min(max(speed, SPEED_RANGE[0]), SPEED_RANGE[1])
        if playing is not None:
            self._playing = playing
        if seek is not None and math.isfinite(seek):
            self._now_us = self._at_share(min(max(seek, 0.0), 1.0))
            self._sent = self._views.at(self._now_us)
            self._tell(None)
            return
        self._tell(self._encode_changes())

    async def run(self) -> None:
        """Move the clock until cancelled; at the end of the span it pauses there."""
        while True:
            await asyncio.sleep(TICK_S)
            self.tick(TICK_S)

    def tick(self, seconds: float) -> None:
        """Move the clock by some real seconds and tell the watchers what changed."""
        if not self._playing:
            return
        self._now_us = min(self._now_us + round(seconds * self._speed * 60_000_000), self._last_us)
        if self._now_us >= self._last_us:
            self._playing = False
        self._tell(self._encode_changes())

    def _at_share(self, share: float) -> int:
        return self._first_us + round(share * (self._last_us - self._first_us))

    def _encode_changes(self) -> bytes:
        now = self._views.at(self._now_us)
        changed = now.changed_since(self._sent)
        self._sent = now
        self._sequence += 1
        return msgspec.json.encode(self._frame("frame", changed, self._sequence))

    def _frame(self, kind: str, moment: SiteMoment, sequence: int) -> live.Frame:
        return live.Frame(
            version=live.MESSAGE_VERSION,
            kind=kind,
            sequence=sequence,
            at=instant(self._now_us),
            speed=self._speed,
            playing=self._playing,
            stations=list(moment.stations.values()),
            sessions=list(moment.sessions.values()),
            findings=list(moment.findings),
            power=moment.power,
            forecast=moment.forecast,
            totals=moment.totals,
        )

    def _tell(self, message: bytes | None) -> None:
        for queue in self._watchers:
            if queue.full():
                while not queue.empty():
                    with suppress(asyncio.QueueEmpty):
                        queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(message)


def _first_busy(recording: Recording) -> int:
    """The first slot with half as many cars as there ever are, microseconds since 1970."""
    busy = recording.cars * 2 >= recording.cars.max(initial=0)
    return int(recording.slot_us[int(busy.argmax())])
