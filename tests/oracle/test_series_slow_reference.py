"""The fold over meter values against whole-list definitions, and against itself in pieces."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from random import Random
from typing import TYPE_CHECKING

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.domain.messages import MeterValues
from plugcast.features.series import SeriesFold, series_features
from plugcast.features.series_watch import GAP_S, OFFERED_A, RING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plugcast.features.series_values import SeriesFeatures

BEGIN = datetime(2026, 3, 2, 7, tzinfo=UTC)
SEEDS = st.integers(0, 2**32).map(Random)


def random_series(rng: Random) -> list[MeterValues]:
    """Anything that passes the wire's bounds: silences, repeats, steps back, unknown values, falling registers."""
    seconds, register, made = 0.0, rng.uniform(0, 50), []
    knows = {name: rng.random() < 0.8 for name in ("pilot", "current", "power", "voltage", "register")}
    pilot, current = rng.choice([0.0, 6.0, 16.0, 32.0]), 0.0
    for _ in range(rng.randrange(0, 120)):
        seconds += rng.choice([0.0, -5.0, 5.0, 20.0, 60.0, 600.0, GAP_S, GAP_S + 1, 4000.0])
        if rng.random() < 0.15:
            pilot = rng.choice([0.0, 5.5, 6.0, 16.0, 32.0])
        if rng.random() < 0.5:
            current = rng.choice([0.0, 0.9, 1.0, 5.0, pilot, pilot + 1.0, pilot + 3.0, 0.4 * pilot, current])
        register += rng.choice([0.0, 0.0, 0.01, 0.2, 3.0]) if rng.random() < 0.97 else -rng.uniform(0, register)
        register = max(register, 0.0)
        values = {
            "offered_current_a": pilot if knows["pilot"] else None,
            "measured_current_a": current if knows["current"] else None,
            "power_kw": current * 0.23 * rng.choice([1, 1, 1, 2, 3]) if knows["power"] else None,
            "voltage_v": 230.0 if knows["voltage"] else None,
            "energy_register_kwh": register if knows["register"] else None,
        }
        kept = {name: value for name, value in values.items() if rng.random() < 0.97}
        at = BEGIN + timedelta(seconds=seconds)
        told = {"type": "meter_values", "v": 1, "site_id": "s", "station_id": "c", "measured_at": at}
        made.append(msgspec.convert({**told, **kept}, MeterValues))
        if rng.random() < 0.05:
            made.append(made[-1])
    return made


@settings(max_examples=150)
@given(SEEDS)
def test_pieces_with_a_stored_state_between_them_give_the_bits_of_the_batch(rng: Random) -> None:
    values = random_series(rng)
    departure_at = BEGIN + timedelta(minutes=rng.randrange(0, 600))
    order = [v for v in values if v.measured_at <= departure_at] + [v for v in values if v.measured_at > departure_at]
    whole = series_features("a", order, departure_at=departure_at)
    fold = SeriesFold("a")
    ended = False
    for value in order:
        if not ended and value.measured_at > departure_at:
            fold.end(departure_at)
            ended = True
        fold.push(value)
        if rng.random() < 0.3:
            fold = SeriesFold.from_bytes(fold.to_bytes())
    fold.end(departure_at)
    assert msgspec.msgpack.encode(fold.features()) == msgspec.msgpack.encode(whole)


@settings(max_examples=60)
@given(SEEDS)
def test_the_state_stays_small_however_long_the_car_stays(rng: Random) -> None:
    fold = SeriesFold("a")
    sizes = []
    for number in range(3):
        for value in random_series(rng):
            fold.push(msgspec.structs.replace(value, measured_at=value.measured_at + timedelta(days=2 * number)))
        sizes.append(len(fold.to_bytes()))
    assert max(sizes) < 2_500 + 2 * RING * 9


@settings(max_examples=150)
@given(SEEDS)
def test_the_fold_agrees_with_definitions_over_the_whole_list(rng: Random) -> None:
    values = random_series(rng)
    found = series_features("a", values)
    for name, slow in slow_reference(values).items():
        got = getattr(found, name)
        assert got == slow or math.isclose(got, slow, rel_tol=1e-9, abs_tol=1e-9), name
    for name, (start_s, end_s) in slow_stretches(values).items():
        got = getattr(found, name)
        assert (got is not None) == (end_s > start_s), name
        if got is not None:
            assert math.isclose(got.seconds, end_s - start_s, abs_tol=1e-6), name


def in_order(values: Sequence[MeterValues]) -> list[MeterValues]:
    kept: list[MeterValues] = []
    for value in values:
        if not kept or value.measured_at > kept[-1].measured_at:
            kept.append(value)
    return kept


def second(value: MeterValues) -> float:
    return (value.measured_at - BEGIN).total_seconds()


def flowing(kept: Sequence[MeterValues]) -> list[bool]:
    told: list[bool] = []
    for value in kept:
        least = 0.5 if told and told[-1] else 1.0
        current, power = value.measured_current_a, value.power_kw
        told.append(current > least if current is not None else power is not None and power > 0.2)
    return told


def offers(value: MeterValues) -> bool:
    return value.offered_current_a is not None and value.offered_current_a >= OFFERED_A


def slow_reference(values: Sequence[MeterValues]) -> dict[str, float]:
    kept = in_order(values)
    on = {id(value): flows for value, flows in zip(kept, flowing(kept), strict=True)}

    def flows(value: MeterValues) -> bool:
        return on[id(value)]

    pairs = [(a, b, second(b) - second(a)) for a, b in pairwise(kept)]
    near = [(a, b, s) for a, b, s in pairs if s <= GAP_S]
    power = [(a.power_kw, b.power_kw, s) for a, b, s in near if a.power_kw is not None and b.power_kw is not None]
    known = [(a.energy_register_kwh, b.energy_register_kwh) for a, b, _ in pairs]
    counted = [b - a for a, b in known if a is not None and b is not None]
    charge = [
        (a.measured_current_a + b.measured_current_a) / 2 * s
        for a, b, s in near
        if a.measured_current_a is not None and b.measured_current_a is not None and (flows(a) or flows(b))
    ]
    return {
        "samples": len(values),
        "late": len(values) - len(kept),
        "span_h": (second(kept[-1]) - second(kept[0])) / 3600 if kept else 0.0,
        "gap_h": sum(s for _, _, s in pairs if s > GAP_S) / 3600,
        "flow_h": sum(s for a, b, s in near if flows(a) and flows(b)) / 3600,
        "offered_h": sum(s for a, b, s in near if offers(a) and offers(b)) / 3600,
        "charge_ah": sum(charge) / 3600,
        "energy_kwh": sum((a + b) / 2 * s for a, b, s in power) / 3600,
        "register_kwh": sum(more for more in counted if more > 0),
        "pauses": own_pauses(kept, flows),
    }


def own_pauses(kept: Sequence[MeterValues], flows: Callable[[MeterValues], bool]) -> int:
    """Stretches of no flow between flows, within reach of one another, with the offer standing throughout."""
    count = 0
    block: list[MeterValues] = []
    parts: list[list[MeterValues]] = []
    for value in kept:
        if block and second(value) - second(block[-1]) > GAP_S:
            parts.append(block)
            block = []
        block.append(value)
    for part in [*parts, block]:
        runs = [(on, list(group)) for on, group in groupby(part, key=flows)]
        for before, (on, still), after in zip(runs, runs[1:], runs[2:], strict=False):
            if not on and before[0] and after[0]:
                count += all(map(offers, [before[1][-1], *still]))
    return count


def slow_stretches(values: Sequence[MeterValues]) -> dict[str, tuple[float, float]]:
    kept = in_order(values)
    since: list[float] = []
    for place, value in enumerate(kept):
        before = kept[place - 1].offered_current_a if place else None
        now = value.offered_current_a
        same = before is not None and now is not None and abs(before - now) < 0.5
        since.append(since[-1] if same else second(value))

    def over(place: int) -> bool:
        current, offered = kept[place].measured_current_a, kept[place].offered_current_a
        if current is None or offered is None or not offers(kept[place]):
            return False
        return current - offered > 1.0 + 0.05 * offered and second(kept[place]) - since[place] >= 10

    on = flowing(kept)

    def unoffered(place: int) -> bool:
        offered = kept[place].offered_current_a
        waited = second(kept[place]) - since[place] >= 10
        return on[place] and offered is not None and offered < OFFERED_A and waited

    return {"over": longest(kept, over), "unoffered": longest(kept, unoffered)}


def longest(kept: Sequence[MeterValues], holds: Callable[[int], bool]) -> tuple[float, float]:
    best = (0.0, 0.0)
    start: int | None = None
    for place in range(len(kept)):
        near = place > 0 and second(kept[place]) - second(kept[place - 1]) <= GAP_S
        if not holds(place):
            start = None
        elif start is None or not near:
            start = place
        elif second(kept[place]) - second(kept[start]) > best[1] - best[0]:
            best = (second(kept[start]), second(kept[place]))
    return best


def test_a_register_of_sessions_begins_anew_without_a_fault() -> None:
    def at(minute: int, current: float, register: float) -> MeterValues:
        return MeterValues(
            v=1,
            site_id="s",
            station_id="c",
            measured_at=BEGIN + timedelta(minutes=minute),
            measured_current_a=current,
            energy_register_kwh=register,
        )

    ends: SeriesFeatures = series_features("a", [at(0, 0, 0), at(1, 16, 0.1), at(2, 0, 0.2), at(3, 0, 0.0)])
    assert (ends.falls, ends.register_kwh) == (0, 0.2)
    falls = series_features("a", [at(0, 16, 5.0), at(1, 16, 5.1), at(2, 16, 0.0)])
    assert falls.falls == 1
    assert falls.fall is not None
    assert (falls.fall.value, falls.fall.beside) == (5.1, 0.0)
