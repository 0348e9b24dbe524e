"""Many assets folded in batches give the bits of each asset folded alone, wherever the batches are cut."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from zoneinfo import available_timezones

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.domain.telemetry import Sample
from plugcast.errors import InputError
from plugcast.features.asset_slots import DAYS, HOURS, AssetSlots
from plugcast.features.history import same_day_type
from plugcast.features.online import OnlineFeatures, micros
from plugcast.features.online_many import KERNEL, Columns, OnlineMany
from plugcast.features.spec import FeatureSpec
from plugcast.features.zone_clock import ZoneClock
from plugcast.forecast.panel import local_clock

_spec = importlib.util.spec_from_file_location("traces", Path(__file__).parent / "traces.py")
assert _spec is not None
assert _spec.loader is not None
traces = importlib.util.module_from_spec(_spec)
sys.modules["traces"] = traces
_spec.loader.exec_module(traces)


def _samples(seed: int, assets: int = 6, per_trace: int = 25) -> list[Sample]:
    """As they arrive, those of all assets in one queue."""
    frame = traces.random_samples(assets, seed=seed, per_trace=per_trace).sort("available_at", "timestamp")
    rng = np.random.default_rng(seed)
    made = [
        Sample(
            asset_id=row["asset_id"],
            timestamp=row["timestamp"],
            soc=row["soc"],
            is_plugged_in=row["is_plugged_in"],
            power_kw=float("nan") if row["power_kw"] is None else row["power_kw"],
            capacity_kwh=float(rng.choice([float("nan"), 58.0])),
        )
        for row in frame.iter_rows(named=True)
    ]
    # histories of the traces lie years apart; mixed, each asset's own order kept
    at = np.argsort(rng.permutation(len(made)))
    mine: dict[str, list[Sample]] = {}
    for sample in made:
        mine.setdefault(sample.asset_id, []).append(sample)
    queues = {asset: iter(found) for asset, found in mine.items()}
    return [next(queues[made[place].asset_id]) for place in at]


def _alone(samples: list[Sample], spec: FeatureSpec, asked: list[int]) -> tuple[list[bool], np.ndarray, np.ndarray]:
    folds: dict[str, OnlineFeatures] = {}
    taken, rows, counts = [], [], []
    for sample, hour in zip(samples, asked, strict=True):
        fold = folds.setdefault(sample.asset_id, OnlineFeatures(spec))
        row = fold.push(sample)
        taken.append(row is not None)
        if row is not None:
            rows.append(row)
            alike = [h for h in same_day_type(np.array([hour]))[0] if h < 168]
            counts.append([*fold.past([hour]), *fold.past(alike)])
    return taken, np.array(rows, np.float32).reshape(-1, 12), np.array(counts, np.int64).reshape(-1, 8)


class _Fleet:
    """Assets by name over ``OnlineMany``, with a changelog from which another can go on."""

    def __init__(self, spec: FeatureSpec, *, kernel: bool = True) -> None:
        self.spec = spec
        self.kernel = kernel
        self.fold = OnlineMany(spec, kernel=kernel)
        self.slot: dict[str, int] = {}
        self.changelog: dict[tuple[str, int | None], bytes] = {}

    def push(self, samples: list[Sample], asked: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        for sample in samples:
            if sample.asset_id not in self.slot:
                self.slot[sample.asset_id] = self.fold.slots.take()
        batch = Columns(
            slot=np.array([self.slot[sample.asset_id] for sample in samples], np.int64),
            at_us=np.array([micros(sample.timestamp) for sample in samples], np.int64),
            soc=np.array([sample.soc for sample in samples], np.float64),
            is_plugged_in=np.array([sample.is_plugged_in for sample in samples], bool),
            power_kw=np.array([sample.power_kw for sample in samples], np.float64),
            capacity_kwh=np.array([sample.capacity_kwh for sample in samples], np.float64),
        )
        made = self.fold.push(batch, np.array(asked, np.int64))
        self._note(batch, made.taken, made.ended_pages)
        past = [getattr(part, name) for part in (made.same_hour, made.same_type) for name in part.__slots__]
        return made.taken, made.rows[made.taken], np.column_stack(past)[made.taken]

    def _note(self, batch: Columns, taken: np.ndarray, pages: np.ndarray) -> None:
        name = {slot: asset for asset, slot in self.slot.items()}
        slots, days = pages // DAYS, pages % DAYS
        for slot, day, content in zip(slots, days, self.fold.slots.pages(slots, days), strict=True):
            self.changelog[name[slot], int(day)] = content
        touched = np.unique(batch.slot[taken])
        for slot, content in zip(touched, self.fold.slots.heads(touched), strict=True):
            self.changelog[name[slot], None] = content

    def taken_over(self) -> _Fleet:
        other = _Fleet(self.spec, kernel=self.kernel)
        other.changelog = dict(self.changelog)
        for asset in {asset for asset, _ in self.changelog}:
            for _ in range(len(other.slot) % 3):
                other.fold.slots.take()  # other slots than before
            other.slot[asset] = other.fold.slots.take()
        pages = [(asset, day) for asset, day in self.changelog if day is not None]
        other.fold.slots.restore_pages(
            [other.slot[asset] for asset, _ in pages], [day for _, day in pages], [self.changelog[key] for key in pages]
        )
        heads = [asset for asset, day in self.changelog if day is None]
        other.fold.slots.restore_heads(
            [other.slot[asset] for asset in heads], [self.changelog[asset, None] for asset in heads]
        )
        return other


@given(
    seed=st.integers(0, 2**32 - 1),
    gap_limit_min=st.sampled_from([1.0, 239.9, 240.0, 5_000.0]),
    zone=st.sampled_from(["UTC", "America/St_Johns", "Australia/Lord_Howe"]),
    kernel=st.booleans(),
)
def test_a_batch_of_many_equals_each_alone_through_any_cuts_and_take_overs(
    seed: int, gap_limit_min: float, zone: str, *, kernel: bool
) -> None:
    spec = FeatureSpec(time_zone=zone, gap_limit_min=gap_limit_min)
    samples = _samples(seed)
    rng = np.random.default_rng(seed)
    asked = rng.integers(0, 168, len(samples)).tolist()
    taken, rows, counts = _alone(samples, spec, asked)
    fleet, found = _Fleet(spec, kernel=kernel), []
    start = 0
    while start < len(samples):
        end = start + int(rng.choice([1, 2, 17, 60]))
        found.append(fleet.push(samples[start:end], asked[start:end]))
        start = end
        if rng.random() < 0.3:
            fleet = fleet.taken_over()
    if not samples:
        return
    assert np.concatenate([each[0] for each in found]).tolist() == taken
    np.testing.assert_array_equal(np.concatenate([each[1] for each in found]), rows)
    np.testing.assert_array_equal(np.concatenate([each[2] for each in found]), counts)


@pytest.mark.skipif(KERNEL is None, reason="the kernel is not built or is switched off")
@pytest.mark.parametrize(
    ("name", "value"), [("slot", -1), ("slot", 10_000), ("asked", 168), ("asked", -1), ("rows", 0), ("hour", 400)]
)
def test_the_kernel_refuses_what_points_outside(name: str, value: int) -> None:
    fold = OnlineMany(FeatureSpec())
    slot, asked = np.array([fold.slots.take()]), np.zeros(1, np.int64)
    nothing = np.full(1, np.nan)
    if name == "slot":
        slot[0] = value
    elif name == "asked":
        asked[0] = value
    elif name == "hour":
        fold.slots.hour[slot] = value
    batch = Columns(
        slot=slot,
        at_us=np.zeros(1, np.int64),
        soc=nothing,
        is_plugged_in=np.ones(2 if name == "rows" else 1, bool),
        power_kw=nothing,
        capacity_kwh=nothing,
    )
    with pytest.raises(ValueError, match=r"not there|wanted 1 bytes"):
        fold.push(batch, asked)
    assert (fold.slots.counts == 0).all()


def test_an_empty_batch_and_one_that_is_all_late_change_nothing() -> None:
    fleet = _Fleet(FeatureSpec())
    samples = _samples(3)[:40]
    fleet.push(samples, [0] * 40)
    before = dict(fleet.changelog)
    assert not fleet.push(samples, [5] * 40)[0].any()
    assert not len(fleet.push([], [])[0])
    assert fleet.changelog == before


def test_a_freed_slot_has_no_past() -> None:
    fleet = _Fleet(FeatureSpec())
    samples = _samples(4)
    first = fleet.push(samples, [7] * len(samples))
    fleet.fold.slots.free(list(fleet.slot.values()))
    fleet.slot.clear()
    again = fleet.push(samples, [7] * len(samples))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_bytes_that_are_no_state_are_refused() -> None:
    slots = AssetSlots()
    slot = slots.take()
    head = bytearray(80)
    with pytest.raises(InputError, match="80 bytes"):
        slots.restore_heads([slot], [b"short"])
    with pytest.raises(InputError, match="layout"):
        slots.restore_heads([slot], [bytes(head)])
    head[:4] = (1, 0, 255, 255)
    with pytest.raises(InputError, match="hour"):
        slots.restore_heads([slot], [bytes(head)])
    with pytest.raises(InputError, match="layout"):
        slots.restore_pages([slot], [0], [bytes(8 + 32 * HOURS)])


@pytest.mark.parametrize("zone", ["UTC", "Europe/Oslo", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu"])
def test_the_wall_clock_is_that_of_polars(zone: str) -> None:
    assert zone in available_timezones()
    rng = np.random.default_rng(1)
    quarters = np.arange(1_300_000_000, 1_900_000_000, 900) * 1_000_000
    at = np.concatenate([quarters[:: len(quarters) // 20_000], rng.integers(quarters[0], quarters[-1], 5_000)])
    changes = np.array([1_774_746_000, 1_774_745_999, 1_775_318_400, 1_793_494_800]) * 1_000_000  # of clocks, 2026
    at = np.concatenate([at, *(changes + shift for shift in range(-3_600_000_000, 3_600_000_001, 900_000_000))])
    hour, day = ZoneClock(zone).local(at)
    theirs_hour, theirs_day = local_clock(at, zone)
    np.testing.assert_array_equal(hour, theirs_hour)
    np.testing.assert_array_equal(day, theirs_day)
