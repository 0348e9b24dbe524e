"""Every port in memory: for tests, for the demo, and as the plainest statement of what each port promises."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from plugcast.errors import ModelNotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from plugcast.domain.rejected import Rejected
    from plugcast.domain.site import Tariff
    from plugcast.ports import SessionsRead, TelemetryRead

TOPIC_CAPACITY: Final = 1_024
"""Messages that a slow subscriber may fall behind before the oldest are dropped."""


class ManualClock:
    """A ``ports.Clock`` that stands still until it is moved; sleepers wake in order of their instants.

    Args:
        start_at: The first instant, with a time zone.
    """

    def __init__(self, start_at: datetime) -> None:
        if start_at.tzinfo is None:
            raise ValueError("wanted an instant with a time zone")
        self._now = start_at
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Where the clock was last moved to."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved so far; zero and less only lets others run."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        sleeper = (self._now + timedelta(seconds=seconds), woken)
        self._sleepers.append(sleeper)
        try:
            await woken
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self.move_to(self._now + timedelta(seconds=seconds))

    def move_to(self, instant: datetime) -> None:
        """Move the clock to an instant and wake whoever slept until then.

        Raises:
            ValueError: The instant lies in the past.
        """
        if instant < self._now:
            raise ValueError(f"a clock never goes backwards: it is {self._now}, wanted {instant}")
        self._now = instant
        due = sorted((sleeper for sleeper in self._sleepers if sleeper[0] <= instant), key=lambda sleeper: sleeper[0])
        for sleeper in due:
            self._sleepers.remove(sleeper)
            if not sleeper[1].done():
                sleeper[1].set_result(None)


class MemorySessionSource:
    """A ``ports.SessionSource`` of what it was given."""

    def __init__(self, given: SessionsRead) -> None:
        self._given = given

    def read(self) -> SessionsRead:
        """The same rows every time."""
        return self._given


class MemoryTelemetrySource:
    """A ``ports.TelemetrySource`` of what it was given."""

    def __init__(self, given: TelemetryRead) -> None:
        self._given = given

    def read(self) -> TelemetryRead:
        """The same rows every time."""
        return self._given


class MemoryPriceSource:
    """A ``ports.PriceSource`` of one tariff."""

    def __init__(self, tariff: Tariff) -> None:
        self._tariff = tariff

    def tariff(self) -> Tariff:
        """The same tariff every time."""
        return self._tariff


class MemoryArtifactStore:
    """A ``ports.ArtifactStore`` that forgets with the process."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    def put(self, name: str, content: bytes) -> None:
        """Keep a copy under the name; the same name again replaces."""
        self._contents[name] = bytes(content)

    def get(self, name: str) -> bytes:
        """Read one.

        Raises:
            ModelNotFoundError: There is none of this name.
        """
        if name not in self._contents:
            raise ModelNotFoundError(f"{name}: wanted in memory, found {', '.join(self.names()) or 'nothing'}.")
        return self._contents[name]

    def names(self) -> list[str]:
        """What is there, sorted."""
        return sorted(self._contents)


class MemoryRejectStore:
    """A ``ports.RejectStore`` that forgets with the process."""

    def __init__(self) -> None:
        self._kept: list[Rejected] = []

    def keep(self, rejected: Iterable[Rejected]) -> int:
        """Append; returns how many were kept."""
        before = len(self._kept)
        self._kept.extend(rejected)
        return len(self._kept) - before

    def kept(self) -> list[Rejected]:
        """Everything kept so far, in order of arrival; the list is the caller's own."""
        return list(self._kept)


class Subscription:
    """One subscriber's messages, from the moment of ``subscribe`` on; ends when closed."""

    def __init__(self, capacity: int) -> None:
        self._waiting: deque[bytes] = deque(maxlen=capacity)
        self._arrived = asyncio.Event()
        self._closed = False
        self.dropped = 0
        """Messages that this subscriber was too slow for."""

    def put(self, message: bytes) -> None:
        """Take a message; the oldest makes room where there is none."""
        if self._closed:
            return
        self.dropped += len(self._waiting) == self._waiting.maxlen
        self._waiting.append(message)
        self._arrived.set()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        """Take no more messages; those that wait are still given out."""
        self._closed = True
        self._arrived.set()


class InProcessTopic:
    """A ``ports.Topic`` within one event loop; publish from that loop's thread.

    Args:
        capacity: Messages a subscriber may fall behind before it loses the oldest.
    """

    def __init__(self, capacity: int = TOPIC_CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"wanted a capacity of at least 1, found {capacity}")
        self._capacity = capacity
        # weak: a subscriber that is gone without a word takes its queue along
        self._subscriptions: WeakSet[Subscription] = WeakSet()

    def publish(self, message: bytes) -> None:
        """Hand a message to every present subscriber; never blocks."""
        for subscription in tuple(self._subscriptions):
            subscription.put(message)

    def subscribe(self) -> Subscription:
        """Messages from now on, whether or not the first is awaited yet."""
        subscription = Subscription(self._capacity)
        self._subscriptions.add(subscription)
        return subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a station was asked."""

    station_id: str
    power_kw: float
    until: datetime


class RecordingSetpointSink:
    """A ``ports.SetpointSink`` that remembers what holds and everything that was sent."""

    def __init__(self) -> None:
        self.sent: list[Command] = []
        """Every command, in order."""
        self._in_force: dict[tuple[str, datetime], Command] = {}

    def send(self, station_id: str, power_kw: float, *, until: datetime) -> None:
        """Take a command; the last one for a station and time wins.

        Raises:
            ValueError: The instant has no time zone.
        """
        if until.tzinfo is None:
            raise ValueError("wanted an instant with a time zone")
        command = Command(station_id=station_id, power_kw=power_kw, until=until)
        self.sent.append(command)
        self._in_force[station_id, until] = command

    def in_force(self) -> list[Command]:
        """The command that counts for each station and time, by station, then time."""
        return [self._in_force[key] for key in sorted(self._in_force)]
