"""One step of forecasting: telemetry in; forecasts, dead letters and the changelog of the vehicles' pasts out.

A sample moves its vehicle's state in memory at once; if the step is not committed, the engine drops all of it and folds
it anew from the changelog.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.domain import topics
from plugcast.domain.outgoing import ForecastIssued, encode_outgoing
from plugcast.errors import InputError
from plugcast.features.asset_slots import DAYS
from plugcast.features.online_many import Columns
from plugcast.forecast.live import LiveForecaster
from plugcast.ports import Entry, after
from plugcast.services.stream.refusing import dead_letter
from plugcast.services.stream.steps import Step
from plugcast.services.stream.telemetry_columns import TelemetryBatch, telemetry_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from plugcast.forecast.live import Live, LiveModels
    from plugcast.ports import Stored

_HEAD: Final = "now"
_DAYS: Final = {str(day): day for day in range(DAYS)}


@dataclass(slots=True)
class _Part:
    """A partition's vehicles."""

    slot_of: dict[str, int] = field(default_factory=dict)
    heads: dict[str, bytes] = field(default_factory=dict)
    """Read from the changelog, not restored yet; so are pages, by vehicle and day."""
    pages: dict[tuple[str, int], bytes] = field(default_factory=dict)


class Forecasting:
    """Turns batches of telemetry into forecasts; the engine reads, commits and restores.

    Args:
        models: What answers.
    """

    def __init__(self, models: LiveModels) -> None:
        self._forecaster = LiveForecaster(models)
        self._slots = self._forecaster.fold.slots
        self._version = models.version
        self._lead = timedelta(minutes=models.short.lead_min)
        self._parts: dict[int, _Part] = {}
        self._name: dict[int, tuple[int, str]] = {}
        """Partition and vehicle of each slot."""
        self._gained: frozenset[int] = frozenset()

    @property
    def follows(self) -> bool:
        """Nobody needs the vehicles of others."""
        return False

    def hold(self, parts: Collection[int]) -> None:
        """Forget partitions that are not held any more, and make room for new ones, whose changelog comes next."""
        for part in set(self._parts) - set(parts):
            gone = list(self._parts.pop(part).slot_of.values())
            self._slots.free(gone)
            for slot in gone:
                del self._name[slot]
        self._gained = frozenset(parts) - frozenset(self._parts)
        for part in self._gained:
            self._parts[part] = _Part()

    def apply(self, stored: Stored) -> None:
        """Keep the last entry of each key of a partition that is being taken over."""
        if stored.partition not in self._gained or stored.value is None:
            return
        part = self._parts[stored.partition]
        asset, _, rest = stored.key.decode().rpartition("/")
        if rest == _HEAD:
            part.heads[asset] = stored.value
        elif rest in _DAYS:
            part.pages[asset, _DAYS[rest]] = stored.value
        else:
            raise InputError(f"{topics.FORECASTER_STATE}: found the key {stored.key!r}. Delete the topic and replay.")

    def settle(self) -> None:
        """The changelog has been read: put the pasts back."""
        for number in self._gained:
            part = self._parts[number]
            slots = [self._slot(number, part, asset) for asset, _ in part.pages]
            self._slots.restore_pages(slots, [day for _, day in part.pages], list(part.pages.values()))
            self._slots.restore_heads([self._slot(number, part, asset) for asset in part.heads], [*part.heads.values()])
            part.heads, part.pages = {}, {}
        self._gained = frozenset()

    def step(
        self, entries: Sequence[Stored], *, held: Collection[int], now: datetime, idle: Collection[int] = ()
    ) -> Step:
        """Forecast each sample of a batch.

        Args:
            entries: Of the held partitions, in order within each.
            held: Not asked for: entries come from nowhere else.
            now: The clock: instants far ahead of it are refused.
            idle: Not asked for: no vehicle waits for another.
        """
        del held, idle
        made = Step()
        if not entries:
            return made
        made.positions.update(after(entries))
        made.counts["messages"] = len(entries)
        batch = telemetry_columns(entries, now=now)
        for stored, rejected in batch.rejected:
            made.counts[f"rejected_{rejected.reason}"] += 1
            made.add(topics.DEAD_LETTERS, dead_letter(stored, rejected))
        if batch.messages:
            self._forecast(batch, made)
        return made

    def _forecast(self, batch: TelemetryBatch, made: Step) -> None:
        slot = self._slots_of(batch)
        columns = Columns(
            slot=slot,
            at_us=batch.at_us,
            soc=batch.soc,
            is_plugged_in=batch.is_plugged_in,
            power_kw=batch.power_kw,
            capacity_kwh=batch.capacity_kwh,
        )
        live = self._forecaster.push(columns)
        forecasts = self._told(batch, live)
        if forecasts:
            made.outputs[topics.FORECASTS] = forecasts
            made.outputs[topics.FORECASTER_STATE] = self._changed(slot[live.taken], live.ended_pages)
        made.counts["forecasts"] = len(forecasts)
        if late := len(batch.messages) - len(forecasts):
            made.counts["late"] = late

    def _slots_of(self, batch: TelemetryBatch) -> NDArray[np.int64]:
        slots = {number: part.slot_of for number, part in self._parts.items()}
        where = [
            (stored.partition, message.asset_id) for stored, message in zip(batch.entries, batch.messages, strict=True)
        ]
        found = [slots[number].get(asset, -1) for number, asset in where]
        if -1 in found:
            found = [self._slot(number, self._parts[number], asset) for number, asset in where]
        return np.array(found, np.int64)

    def _slot(self, number: int, part: _Part, asset: str) -> int:
        slot = part.slot_of.get(asset)
        if slot is None:
            slot = part.slot_of[asset] = self._slots.take()
            self._name[slot] = number, asset
        return slot

    def _told(self, batch: TelemetryBatch, live: Live) -> list[Entry]:
        """A forecast for each sample taken, in the partition where the sample stood."""
        kept = np.flatnonzero(live.taken).tolist()
        unknown = np.isnan(live.energy_to_full_pct)
        energy: list[float | None] = live.energy_to_full_pct.tolist()
        for place in np.flatnonzero(unknown).tolist():
            energy[place] = None
        chance = live.plug_probability.tolist()
        unlike = [None] * len(kept) if live.unlike is None else live.unlike.tolist()
        lead, version, entries, messages = self._lead, self._version, batch.entries, batch.messages
        if len(kept) < len(messages):
            messages, entries = [messages[place] for place in kept], [entries[place] for place in kept]
        issued = [
            ForecastIssued(
                v=1,
                asset_id=message.asset_id,
                issued_at=message.timestamp,
                valid_at=message.timestamp + lead,
                plug_probability=plug,
                energy_to_full_pct=need,
                unlike=odd,
                model=version,
            )
            for message, plug, need, odd in zip(messages, chance, energy, unlike, strict=True)
        ]
        return [
            Entry(one.asset_id.encode(), encode_outgoing(one), stored.partition)
            for one, stored in zip(issued, entries, strict=True)
        ]

    def _changed(self, slot: NDArray[np.int64], ended: NDArray[np.int64]) -> list[Entry]:
        """Changelog of a batch: pages with an hour that is over, then the head of each vehicle."""
        of, days = ended // DAYS, ended % DAYS
        made = []
        for place, day, content in zip(of.tolist(), days.tolist(), self._slots.pages(of, days), strict=True):
            number, asset = self._name[place]
            made.append(Entry(f"{asset}/{day}".encode(), content, number))
        touched = np.unique(slot)
        for place, content in zip(touched.tolist(), self._slots.heads(touched), strict=True):
            number, asset = self._name[place]
            made.append(Entry(f"{asset}/{_HEAD}".encode(), content, number))
        return made
