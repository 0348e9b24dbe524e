"""Joint futures of plug state and charge over 48 hours: paths that begin, last and end like real stays and trips.

A probability for each quarter of an hour says nothing about how they hang together; drawn one by one they would plug
in and out dozens of times a day. Here every path runs slot by slot through a hazard that knows how long the state
lasts (``hazard``), with the charge carried along (``charging``), and all paths of an asset together agree with the
calibrated probabilities of the horizon model (``reconcile``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from plugcast.domain.units import HORIZON_SLOTS, SLOT_MIN
from plugcast.errors import InputError, ModelError, ModelNotFoundError
from plugcast.forecast import integrity
from plugcast.forecast.boosting import from_text, to_text
from plugcast.forecast.charging import Battery, Charging, Choices, Past, choices
from plugcast.forecast.hazard import COLUMNS, Habits, Hazard, HazardSpec, PooledRates
from plugcast.forecast.panel import local_clock
from plugcast.forecast.reconcile import Course, balance, forward, sigmoid, spread
from plugcast.forecast.slots import AGES, SLOT_US, US_IN_MIN, Slots, age_class, run_start_us, soc_class

if TYPE_CHECKING:
    from plugcast.forecast.panel import Panel
    from plugcast.ports import ArtifactStore

FORMAT: Final = 2
TREES, PARTS = "scenario_hazard_model.txt", "scenarios.json"
POOL: Final = 100
"""At least so many paths are run; where fewer are asked for, they are picked to stand for these."""
CLOCK_STEP: Final = 2
"""The hazard is asked every half hour of the clock."""
AT_ONCE: Final = 128
DONE_AFTER_MIN: Final = 30.0
"""A car that has been plugged in for so long without gaining charge has ended charging."""
_ENDLESS_US: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenarios:
    """Weighted futures of n origins, s each, over 48 h in slots of 15 minutes; entry t is the end of slot t."""

    row: np.ndarray
    """The panel's row that each is issued from. Shape (n,)."""
    plugged: np.ndarray
    """Bool. Shape (n, s, 192)."""
    soc: np.ndarray
    """%, float32, NaN where the origin's is unknown. Shape (n, s, 192)."""
    weight: np.ndarray
    """Each origin's sum to 1. Shape (n, s)."""
    wanted: np.ndarray
    """The probabilities that the paths were reconciled with. Shape (n, 192)."""

    @property
    def lead_min(self) -> np.ndarray:
        """Minutes from the origin to each entry. Shape (192,)."""
        return np.arange(1, HORIZON_SLOTS + 1) * float(SLOT_MIN)

    @property
    def plug_probability(self) -> np.ndarray:
        """Weighted share of paths plugged in. Shape (n, 192)."""
        return np.asarray(np.einsum("ns,nst->nt", self.weight, self.plugged))


class Parts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``scenarios.json``: all but the trees."""

    format: int
    columns: tuple[str, ...]
    pooled: PooledRates
    soc_shift: tuple[tuple[float, ...], ...]
    rarity: float
    charging: Charging
    digests: dict[str, str]
    """SHA-256 of the trees' file."""
    seal: str = ""
    """SHA-256 of all of this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A panel ready to be drawn from; build it once where many draws follow."""

    panel: Panel
    slots: Slots
    habits: Habits
    past: Past
    run_start_us: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioModel:
    """Draws scenarios; knows no asset by name, so that one never seen gets the pooled habits."""

    hazard: Hazard
    charging: Charging

    @classmethod
    def fit(cls, panel: Panel, *, until_us: int = _ENDLESS_US, spec: HazardSpec | None = None) -> ScenarioModel:
        """Learn from a panel what was known before an instant (default: all of it).

        Raises:
            NoUsableRowsError: Hardly any plug state changes.
        """
        slots = Slots.of(panel)
        entry = np.flatnonzero(slots.resolved & (slots.at_us < until_us - SLOT_US))
        hazard = Hazard.fit(slots, entry, panel.spec.time_zone, spec or HazardSpec())
        return cls(hazard=hazard, charging=Charging.fit(panel, until_us))

    def prepare(self, panel: Panel) -> Prepared:
        """Index a panel's past. Cost: O(n log n)."""
        slots = Slots.of(panel)
        return Prepared(
            panel=panel,
            slots=slots,
            habits=Habits(slots, panel.spec.time_zone),
            past=Past.of(panel, np.array(self.charging.taper), np.array(self.charging.drain_pct)),
            run_start_us=run_start_us(panel),
        )

    def expect(self, ready: Prepared, row: np.ndarray) -> Course:
        """The hazard's own plug probabilities and expected changes, exactly and without drawing; charge left out."""
        log_odds, plugged, age = self._start(ready, row)
        return forward(log_odds, plugged, age, None, SLOT_MIN)

    def draw(
        self,
        panel: Panel | Prepared,
        row: np.ndarray,
        count: int,
        rng: np.random.Generator,
        marginals: np.ndarray | None = None,
    ) -> Scenarios:
        """Scenarios from what was known at some rows.

        Every origin has a random stream of its own, made from one number of ``rng``, its name and its time: it gets
        the same paths alone as in a batch.

        Args:
            panel: Telemetry up to and including the rows; ``prepare`` it first where many draws follow.
            row: Origins. Shape (n,).
            count: Scenarios of each.
            rng: One number is taken from it.
            marginals: Calibrated plug probabilities at the 192 leads, shape (n, 192); None: the hazard's own.

        Raises:
            InputError: No scenario was asked for, or the marginals do not fit.
        """
        if count < 1:
            raise InputError(f"Wanted at least one scenario, found {count}. Ask for 20 or more.")
        if marginals is not None and marginals.shape != (len(row), HORIZON_SLOTS):
            raise InputError(f"Wanted marginals of shape {(len(row), HORIZON_SLOTS)}, found {marginals.shape}.")
        ready = panel if isinstance(panel, Prepared) else self.prepare(panel)
        seed = int(rng.integers(2**63))
        parts = [
            self._draw(ready, row[low : low + AT_ONCE], count, seed, _part(marginals, low))
            for low in range(0, len(row), AT_ONCE)
        ]
        empty = np.zeros((0, count, HORIZON_SLOTS))
        return Scenarios(
            row=row,
            plugged=np.concatenate([part.plugged for part in parts]) if parts else empty.astype(bool),
            soc=np.concatenate([part.soc for part in parts]) if parts else empty.astype(np.float32),
            weight=np.concatenate([part.weight for part in parts]) if parts else empty[:, :, 0],
            wanted=np.concatenate([part.wanted for part in parts]) if parts else empty[:, 0],
        )

    def _start(self, ready: Prepared, row: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log odds (n, 192, 2, AGES), state and minutes in it at the origins."""
        panel = ready.panel
        at = panel.timestamp_us[row]
        asked = at[:, None] + np.arange(0, HORIZON_SLOTS, CLOCK_STEP) * SLOT_US
        known = ready.slots.known_at(row)
        table = self.hazard.table(ready.habits, panel.asset[row], known, asked, panel.spec.time_zone)
        age = (at - ready.run_start_us[row]) / US_IN_MIN
        return np.repeat(table, CLOCK_STEP, axis=1), panel.is_plugged_in[row].astype(np.int64), age

    def _draw(self, ready: Prepared, row: np.ndarray, count: int, seed: int, marginals: np.ndarray | None) -> Scenarios:
        log_odds, plugged, age = self._start(ready, row)
        wanted = None if marginals is None else np.clip(marginals, 0.0, 1.0)
        usual = forward(log_odds, plugged, age, None, SLOT_MIN)
        course = usual if wanted is None else forward(log_odds, plugged, age, wanted, SLOT_MIN)
        origin = _Origin.of(ready, row, plugged, age, choices(ready.past, self.charging, ready.panel, row))
        chance, pick, start = _streams(ready.panel, row, seed, max(count, POOL))
        charged = bool((~np.isnan(origin.soc)).any())
        if charged:  # the charge moves the hazard; a first run tells by how much on average
            first = self._run(origin, log_odds, course.shift, chance, pick)
            moved = log_odds + first.soc_effect[:, :, :, None]
            usual = forward(moved, plugged, age, None, SLOT_MIN)
            course = usual if wanted is None else forward(moved, plugged, age, wanted, SLOT_MIN)
        pool = self._run(origin, log_odds, course.shift, chance, pick)
        wanted = course.plug_probability if wanted is None else wanted
        plugs, soc, changes = pool.plugged, pool.soc, pool.changes
        weight = balance(plugs, wanted, usual.changes, changes)
        if count < plugs.shape[1]:
            kept = spread(plugs, weight, count, start)
            turns = (weight * changes).sum(axis=1)  # the few stand for the many
            plugs, soc = (np.take_along_axis(part, kept[:, :, None], axis=1) for part in (plugs, soc))
            weight = balance(plugs, wanted, turns, np.take_along_axis(changes, kept, axis=1))
        return Scenarios(row=row, plugged=plugs, soc=soc, weight=weight, wanted=wanted)

    def _run(
        self, origin: _Origin, log_odds: np.ndarray, shift: np.ndarray, chance: np.ndarray, pick: np.ndarray
    ) -> _Paths:
        """Run all paths through the horizon; arrays of shape (n, s, 192)."""
        number, many, slots = chance.shape
        table = log_odds.reshape(number, slots, 2 * AGES)
        ages = age_class(np.arange(slots + 1) * float(SLOT_MIN))
        state = np.repeat(origin.plugged[:, None], many, axis=1)
        entered = np.full((number, many), -1)
        battery = Battery.of(origin.soc, origin.done, origin.choices, pick[:, :, 0])
        paths = _Paths.empty(number, many, slots)
        charged = bool((~np.isnan(origin.soc)).any())
        for slot in range(slots):
            first_age_min = (origin.age_min + slot * SLOT_MIN)[:, None]
            age = np.where(entered < 0, age_class(first_age_min), ages[slot - entered])
            odds = np.take_along_axis(table[:, slot], state * AGES + age, axis=1)
            odds = odds + np.where(state == 1, -1.0, 1.0) * shift[:, slot, None]
            if charged:
                effect = self.hazard.soc_shift[state, soc_class(battery.soc)]
                paths.note_effect(slot, state, effect)
                odds = odds + effect
            changed = chance[:, :, slot] < sigmoid(odds)
            after = np.where(changed, 1 - state, state)
            if charged:
                away = np.where(entered < 0, first_age_min, (slot - entered) * float(SLOT_MIN))
                loss = origin.choices.loss(origin.hour[:, slot], away, pick[:, :, slot])
                battery.step(state, after, loss, pick[:, :, slot])
                paths.soc[:, :, slot] = battery.soc
            entered = np.where(changed, slot + 1, entered)
            state = after
            paths.plugged[:, :, slot] = state == 1
            paths.changes += changed
        return paths

    def save(self, store: ArtifactStore) -> None:
        """Write trees and numbers; the numbers last."""
        trees = to_text(self.hazard.booster)
        store.put(TREES, trees)
        parts = Parts(
            format=FORMAT,
            columns=COLUMNS,
            pooled=self.hazard.pooled,
            soc_shift=tuple(tuple(map(float, part)) for part in self.hazard.soc_shift),
            rarity=self.hazard.rarity,
            charging=self.charging,
            digests={TREES: integrity.digest(trees)},
        )
        store.put(PARTS, msgspec.json.format(msgspec.json.encode(integrity.sealed(parts)), indent=2) + b"\n")

    @classmethod
    def load(cls, store: ArtifactStore) -> ScenarioModel:
        """Read a model.

        Raises:
            ModelNotFoundError: There is none.
            ModelError: It is malformed or of another version.
        """
        try:
            parts = msgspec.json.decode(store.get(PARTS), type=Parts)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(
                f"{error} Scenarios want a few weeks with at least 20 changes of plug state: plugcast train"
            ) from error
        except msgspec.DecodeError as error:
            raise ModelError(f"{PARTS} cannot be read: {error}. Train again with: plugcast train") from error
        if parts.format != FORMAT or parts.columns != COLUMNS:
            raise ModelError(f"{PARTS} is of another version (format {parts.format}, wanted {FORMAT}). Train again.")
        integrity.check_seal(parts, PARTS)
        hazard = Hazard(
            booster=from_text(integrity.read(store, TREES, parts.digests), COLUMNS),
            pooled=parts.pooled,
            soc_shift=np.array(parts.soc_shift),
            rarity=parts.rarity,
        )
        return cls(hazard=hazard, charging=parts.charging)


def _part(marginals: np.ndarray | None, low: int) -> np.ndarray | None:
    return None if marginals is None else marginals[low : low + AT_ONCE]


def _streams(panel: Panel, row: np.ndarray, seed: int, many: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random numbers of each origin, from its name and time: for changes, for picks (n, many, 192), and one more."""
    shape = (many, HORIZON_SLOTS)
    chance, pick = np.empty((len(row), *shape), np.float32), np.empty((len(row), *shape), np.float32)
    start = np.empty(len(row))
    for number, (code, at) in enumerate(zip(panel.asset[row], panel.timestamp_us[row], strict=True)):
        name = int.from_bytes(hashlib.sha256(panel.asset_ids[code].encode()).digest()[:8], "big")
        own = np.random.default_rng([seed, name, int(at) & (2**63 - 1)])
        start[number] = own.random()
        chance[number], pick[number] = own.random(shape, np.float32), own.random(shape, np.float32)
    return chance, pick, start


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """What n origins begin with; shapes (n,)."""

    plugged: np.ndarray
    age_min: np.ndarray
    soc: np.ndarray
    done: np.ndarray
    """Plugged in and charged as far as it goes."""
    hour: np.ndarray
    """Local hour at the start of each slot. Shape (n, 192)."""
    choices: Choices

    @classmethod
    def of(cls, ready: Prepared, row: np.ndarray, plugged: np.ndarray, age: np.ndarray, pasts: Choices) -> _Origin:
        done = (plugged == 1) & ready.past.idle[row] & (age >= DONE_AFTER_MIN)
        at = ready.panel.timestamp_us[row][:, None] + np.arange(HORIZON_SLOTS) * SLOT_US
        hour, _ = local_clock(at.ravel(), ready.panel.spec.time_zone)
        return cls(
            plugged=plugged,
            age_min=age,
            soc=ready.panel.soc[row],
            done=done,
            hour=hour.reshape(at.shape),
            choices=pasts,
        )


@dataclass(slots=True, kw_only=True)
class _Paths:
    """What the paths did."""

    plugged: np.ndarray
    soc: np.ndarray
    changes: np.ndarray
    soc_effect: np.ndarray
    """Mean effect of the charge on the log odds. Shape (n, t, 2)."""

    @classmethod
    def empty(cls, number: int, many: int, slots: int) -> _Paths:
        shape = (number, many, slots)
        return cls(
            plugged=np.zeros(shape, bool),
            soc=np.full(shape, np.nan, np.float32),
            changes=np.zeros((number, many)),
            soc_effect=np.zeros((number, slots, 2)),
        )

    def note_effect(self, slot: int, state: np.ndarray, effect: np.ndarray) -> None:
        for which in (0, 1):
            mine = state == which
            self.soc_effect[:, slot, which] = (effect * mine).sum(axis=1) / np.maximum(mine.sum(axis=1), 1)
