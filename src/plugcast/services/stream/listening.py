"""A subscriber of findings: each is handed on once, then acknowledged; what is no finding is a dead letter."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from plugcast.domain.outgoing import decode_finding
from plugcast.errors import BusError
from plugcast.services.pauses import pause_s, rest

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from plugcast.adapters.subscriber.seen_ids import SeenIds
    from plugcast.domain.outgoing import FindingRaised
    from plugcast.ports import Bus, Clock, Delivery, Subscription

TICK_S: Final = 0.25
LONGEST_PAUSE_S: Final = 15.0


class Listener:
    """One of the subscribers that share a queue.

    Args:
        bus: Whence findings come.
        queue: Its name; made if missing, and it collects findings while nobody listens.
        bindings: Which findings, e.g. ``finding.critical.#``.
        handle: Called with each finding and its bytes, once; if it raises, the finding comes again, some times.
        seen: Ids dealt with before.
        clock: Dates them.
    """

    def __init__(
        self,
        bus: Bus,
        queue: str,
        *,
        bindings: Sequence[str],
        handle: Callable[[FindingRaised, bytes], None],
        seen: SeenIds,
        clock: Clock,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """``handled``, ``repeats``, ``unreadable``, ``given_back``, ``failures``."""
        self._bus, self._queue, self._bindings = bus, queue, tuple(bindings)
        self._handle, self._seen, self._clock = handle, seen, clock

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until told to stop; a broker that is away is tried again, with growing pauses."""
        failures = 0
        while not stop.is_set():
            try:
                async with self._bus.subscribe(self._queue, bindings=self._bindings) as subscription:
                    while not stop.is_set():
                        await self._take(subscription)
                        failures = 0
            except BusError as error:
                self.counts["failures"] += 1
                logging.getLogger(__name__).warning("%s", error)
                failures += 1
                await rest(stop, pause_s(failures, most_s=LONGEST_PAUSE_S))

    async def _take(self, subscription: Subscription) -> None:
        delivery = await subscription.take(wait_s=TICK_S)
        if delivery is None:
            return
        message = delivery.message
        finding = decode_finding(message.body)
        if finding is None:
            self.counts["unreadable"] += 1
            await delivery.reject()
        elif self._seen.unseen([message.message_id]):
            await self._first(delivery, finding)
        else:
            self.counts["repeats"] += 1
            await delivery.ack()

    async def _first(self, delivery: Delivery, finding: FindingRaised) -> None:
        try:
            self._handle(finding, delivery.message.body)
        except OSError:
            raise  # nobody reads what is written: an end, not a fault of this finding
        except Exception:
            logging.getLogger(__name__).exception("A finding could not be handled; it comes again.")
            self.counts["given_back"] += 1
            await delivery.give_back()
            return
        self._seen.mark([delivery.message.message_id], now=self._clock.now())
        self.counts["handled"] += 1
        await delivery.ack()
