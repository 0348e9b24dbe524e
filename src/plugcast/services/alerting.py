"""Findings from the bus to people: taken in durably before they are acknowledged, sent until somebody has them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from plugcast.alerts.lifecycle import Desk, Policy, Tracked
from plugcast.domain.outgoing import decode_finding
from plugcast.domain.topics import ALERTS_QUEUE
from plugcast.errors import BusError, LogError
from plugcast.ports import Outcome
from plugcast.services.pauses import pause_s, rest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime

    from plugcast.adapters.subscriber.outbox import Outbox, Queued
    from plugcast.domain.alert import Notification
    from plugcast.domain.finding import Finding
    from plugcast.ports import Bus, Channel, Clock, Delivery, Sending, Subscription
    from plugcast.services.stream.metrics import EngineMetrics

BINDINGS: Final = ("finding.#",)
BATCH: Final = 100
TICK_S: Final = 0.5
FIRST_RETRY_S: Final = 2.0
LAST_RETRY_S: Final = 600.0
LONGEST_PAUSE_S: Final = 15.0
GIVE_UP: Final = timedelta(days=3)
"""A notification that could not be sent for so long is given up, and kept with its reason."""
KEEP: Final = timedelta(days=30)
"""Of ids seen and of what was sent."""
TIDY_S: Final = 3600.0
STAND_BY_S: Final = 1.0
"""Between looks at whether the process that sends from the outbox is gone."""


class Alerting:
    """The service; of several on one outbox one works, and the others stand by.

    Args:
        bus: Whence findings come.
        outbox: What is durable.
        channels: How people are told; with none alerts are kept and shown all the same.
        clock: The wall clock.
        policy: When people are told.
        told: Called with every alert that changed, for a page; must not block.
        metrics: Told of what happens.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        outbox: Outbox,
        channels: Sequence[Channel],
        clock: Clock,
        policy: Policy | None = None,
        told: Callable[[Tracked], None] = lambda _: None,
        metrics: EngineMetrics | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.ready = False
        self.standing_by = False
        self._policy = policy or Policy()
        self._desk = Desk(self._policy, [msgspec.json.decode(document, type=Tracked) for document in outbox.alerts()])
        self._bus, self._outbox, self._channels, self._clock = bus, outbox, tuple(channels), clock
        self._told, self._metrics = told, metrics
        self._wake = asyncio.Event()
        self._at_work = asyncio.Lock()
        """Findings join and notifications are made one after the other: each leaves desk and outbox alike."""

    @property
    def alerts(self) -> tuple[Tracked, ...]:
        """All that may still grow."""
        return self._desk.open

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop. What was not acknowledged comes again; what was not sent is sent next time."""
        await self.stand_by(stop)
        tasks = [asyncio.create_task(self._listen(stop)), asyncio.create_task(self._tick(stop))]
        tasks += [asyncio.create_task(self._deliver(channel, stop)) for channel in self._channels]
        for task in tasks:
            task.add_done_callback(lambda _: stop.set())  # a defect in one ends all
        await stop.wait()
        self._wake.set()
        await asyncio.gather(*tasks)

    async def stand_by(self, stop: asyncio.Event) -> None:
        """Until no other process sends from the outbox; meanwhile what that one keeps can be looked at here."""
        while not stop.is_set():
            try:
                owned = await asyncio.to_thread(self._outbox.own)
                self._restore()
            except LogError as error:
                logging.getLogger(__name__).warning("%s", error)
            else:
                if owned:
                    break
                if not self.standing_by:
                    self.standing_by = self.ready = True
                    logging.getLogger(__name__).warning(
                        "Another process tells people of this outbox's alerts; this one stands by to take over."
                    )
            await rest(stop, STAND_BY_S)
        self.standing_by = self.ready = False

    async def _listen(self, stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                async with self._bus.subscribe(ALERTS_QUEUE, bindings=BINDINGS, prefetch=BATCH) as subscription:
                    failures = 0
                    while not stop.is_set():
                        self.ready = True
                        await self._take(subscription)
            except (BusError, LogError) as error:
                self.ready = False
                self._count("failures")
                logging.getLogger(__name__).warning("%s", error)
                failures += 1
                await rest(stop, pause_s(failures, first_s=FIRST_RETRY_S, most_s=LONGEST_PAUSE_S))

    async def _take(self, subscription: Subscription) -> None:
        """A batch of findings into the outbox, then acknowledged."""
        deliveries: list[Delivery] = []
        wait_s = TICK_S
        while len(deliveries) < BATCH and (delivery := await subscription.take(wait_s=wait_s)) is not None:
            deliveries.append(delivery)
            wait_s = 0.0
        if not deliveries:
            return
        now = self._clock.now()
        readable: dict[str, Finding] = {}
        for delivery in deliveries:
            found = decode_finding(delivery.message.body)
            if found is None:
                self._count("unreadable")
                await delivery.reject()
            else:
                readable[found.finding_id] = found.finding()
        new = await asyncio.to_thread(self._outbox.unseen, list(readable)) if readable else set()
        async with self._at_work:
            changed = [self._desk.add(finding, now=now) for name, finding in readable.items() if name in new]
            kept = {each.alert.alert_id: each for each in changed if each is not None}
            try:
                await self._keep(kept.values(), seen=readable)
            except LogError:
                self._restore()
                raise
        for delivery in deliveries:
            await delivery.ack()
        self._count("taken", len(new))
        self._count("repeats", len(readable) - len(new))

    async def _keep(
        self, changed: Collection[Tracked], *, seen: Iterable[str] = (), tell: Sequence[Notification] = ()
    ) -> None:
        kept = (*changed, *self._outages(changed))
        documents = {each.alert.alert_id: msgspec.json.encode(each) for each in kept}
        channels = [channel.name for channel in self._channels]
        await asyncio.to_thread(
            self._outbox.take,
            now=self._clock.now(),
            seen=list(seen),
            alerts=documents,
            notifications=list(tell),
            channels=channels,
        )
        for each in kept:
            self._told(each)

    def _outages(self, changed: Collection[Tracked]) -> list[Tracked]:
        """Outages that grew with a part of theirs."""
        parents = {each.part_of for each in changed if each.part_of is not None}
        return [each for each in self._desk.open if each.alert.alert_id in parents]

    def _restore(self) -> None:
        """Know what the outbox keeps, and nothing else."""
        self._desk = Desk(self._policy, [msgspec.json.decode(each, type=Tracked) for each in self._outbox.alerts()])

    async def _tick(self, stop: asyncio.Event) -> None:
        """Tell what is due, and tidy up now and then."""
        tidied = self._clock.now()
        while not stop.is_set():
            now = self._clock.now()
            async with self._at_work:
                await self._tell(now)
                if (now - tidied).total_seconds() > TIDY_S:
                    tidied = now
                    try:
                        await self._tidy(now)
                    except LogError as error:
                        logging.getLogger(__name__).warning("%s", error)
            await rest(stop, TICK_S)

    async def _tell(self, now: datetime) -> None:
        notifications, changed = self._desk.due(now=now)
        if not changed:
            return
        try:
            await self._keep(changed, tell=notifications)
        except LogError as error:
            logging.getLogger(__name__).warning("%s", error)
            self._restore()
        else:
            self._count("notifications", len(notifications) * len(self._channels))
            self._wake.set()

    async def _tidy(self, now: datetime) -> None:
        kept = [msgspec.json.decode(each, type=Tracked) for each in await asyncio.to_thread(self._outbox.alerts)]
        newest = max((each.alert.last_at for each in self._desk.open), default=now)
        self._desk.forget(before=newest - KEEP)
        gone = {each.alert.alert_id for each in kept} - {each.alert.alert_id for each in self._desk.open}
        await asyncio.to_thread(self._outbox.drop_alerts, gone)
        await asyncio.to_thread(self._outbox.tidy, now=now, keep=KEEP)

    async def _deliver(self, channel: Channel, stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                waiting = await asyncio.to_thread(self._outbox.due, channel.name, now=self._clock.now())
                for queued in waiting:
                    if stop.is_set():
                        return
                    await self._send(channel, queued, stop)
            except LogError as error:  # nothing is sent that cannot be written down
                self._count("failures")
                logging.getLogger(__name__).warning("%s: %s", channel.name, error)
                failures += 1
                await rest(stop, pause_s(failures, first_s=FIRST_RETRY_S, most_s=LONGEST_PAUSE_S))
                continue
            failures = 0
            if not waiting:
                self._wake.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), TICK_S)

    async def _send(self, channel: Channel, queued: Queued, stop: asyncio.Event) -> None:
        delay_s = pause_s(queued.attempts + 1, first_s=FIRST_RETRY_S, most_s=LAST_RETRY_S)
        again_at = self._clock.now() + timedelta(seconds=delay_s)
        await asyncio.to_thread(self._outbox.claim, queued, retry_at=again_at)
        sending = await channel.send(queued.notification)
        now, retry_at = self._clock.now(), None
        if sending.outcome is Outcome.TEMPORARY and now - queued.notification.made_at < GIVE_UP:
            retry_at = now + timedelta(seconds=sending.retry_after_s or delay_s)
        await self._settle(queued, sending, retry_at, stop)
        self._count(f"{channel.name.partition(':')[0]}_{sending.outcome}")  # no addresses among the metrics
        if sending.outcome is not Outcome.SENT:
            logging.getLogger(__name__).warning(
                "%s: notification %s: %s (%s)",
                channel.name,
                queued.notification.notification_id,
                sending.detail,
                "will be tried again" if retry_at is not None else "given up",
            )

    async def _settle(self, queued: Queued, sending: Sending, retry_at: datetime | None, stop: asyncio.Event) -> None:
        """Mark it, however long the disk refuses: an unmarked one would be sent again."""
        failures = 0
        while True:
            try:
                return await asyncio.to_thread(self._outbox.settle, queued, sending, retry_at=retry_at)
            except LogError:
                if stop.is_set():
                    raise
                failures += 1
                await rest(stop, pause_s(failures, first_s=FIRST_RETRY_S, most_s=LONGEST_PAUSE_S))

    def _count(self, name: str, count: int = 1) -> None:
        self.counts[name] += count
        if self._metrics is not None and count:
            self._metrics.count(name, count)


__all__ = ["BINDINGS", "Alerting"]
