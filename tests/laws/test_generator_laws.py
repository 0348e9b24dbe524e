"""What every generated frame obeys, whoever drives and whatever the seed."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from plugcast import schemas
from plugcast.simulate import telemetry
from plugcast.simulate.calibration import DC_EFFICIENCY
from plugcast.simulate.telemetry import GeneratorSpec, generate

ROUNDING_PCT = 0.0101

SPECS = st.builds(
    GeneratorSpec,
    vehicles=st.integers(1, 4),
    days=st.integers(1, 12),
    start_at=st.datetimes(datetime(2021, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 - bounds
        lambda at: at.replace(microsecond=0)
    ),
    time_zone=st.sampled_from(["UTC", "Europe/Oslo", "America/Los_Angeles", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    seed=st.integers(0, 2**63 - 1),
)


@lru_cache(maxsize=1)
def fleet() -> pl.DataFrame:
    """Sixty vehicles for four weeks: enough of each kind of person."""
    return generate(GeneratorSpec(vehicles=60, days=28, seed=11))


def number(value: object) -> float:
    """What polars aggregates to, once it is known that there are rows."""
    assert isinstance(value, int | float)
    return float(value)


def pairs(frame: pl.DataFrame) -> pl.DataFrame:
    """Neighbouring samples of one vehicle: the later row with what changed since the earlier."""
    before = {
        name: pl.col(name).shift(1).over("asset_id") for name in ("timestamp", "soc", "is_plugged_in", "power_kw")
    }
    return (
        frame.with_columns(**{f"{name}_before": value for name, value in before.items()})
        .drop_nulls("timestamp_before")
        .with_columns(
            minutes=(pl.col("timestamp") - pl.col("timestamp_before")).dt.total_seconds() / 60,
            rise=pl.col("soc") - pl.col("soc_before"),
        )
    )


@given(spec=SPECS)
@settings(max_examples=25)
def test_a_frame_is_physical_and_in_order(spec: GeneratorSpec) -> None:
    frame = generate(spec)
    expected = {**schemas.TELEMETRY, "gap_flag": pl.Boolean()}
    assert dict(frame.schema) == expected
    assert frame.null_count().sum_horizontal().item() == 0
    assert frame["soc"].is_between(3.0, 100.0).all()
    assert frame["power_kw"].is_between(0.0, 150.0).all()
    assert frame["capacity_kwh"].is_between(27.0, 92.0).all()
    assert (frame["available_at"] == frame["timestamp"]).all()
    assert frame["asset_id"].is_sorted()
    since = (frame["timestamp"] - spec.start_at).dt.total_seconds()
    assert number(since.min()) >= 0
    assert number(since.max()) < spec.days * 86_400
    _check_times(frame)
    _check_physics(frame)


def _check_times(frame: pl.DataFrame) -> None:
    steps = pairs(frame)
    assert (steps["gap_flag"] == (steps["minutes"] > 240)).all()
    assert steps.filter(~pl.col("gap_flag"))["minutes"].is_between(1, 10).all()
    assert not frame.group_by("asset_id").first()["gap_flag"].any()


def _check_physics(frame: pl.DataFrame) -> None:
    assert frame.filter(~pl.col("is_plugged_in"), pl.col("power_kw") != 0).is_empty()
    seen = pairs(frame).filter(~pl.col("gap_flag"))
    unplugged = seen.filter(~pl.col("is_plugged_in"), ~pl.col("is_plugged_in_before"))
    assert unplugged.filter(pl.col("rise") > ROUNDING_PCT).is_empty(), "charged without a plug"
    plugged = seen.filter(pl.col("is_plugged_in"), pl.col("is_plugged_in_before"))
    assert plugged.filter(pl.col("rise") < -ROUNDING_PCT).is_empty(), "lost charge on the plug"
    powerless = plugged.filter(pl.col("power_kw") == 0, pl.col("power_kw_before") == 0)
    assert powerless.filter(pl.col("rise").abs() > ROUNDING_PCT).is_empty(), "charged without power"


def test_the_fleet_obeys_the_same_laws() -> None:
    _check_times(fleet())
    _check_physics(fleet())


def log_mean(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    apart = (one - other).abs() > 1e-6
    return pl.when(apart).then((one - other) / (one / other).log()).otherwise(one)


def test_energy_in_the_battery_is_power_times_time_times_efficiency() -> None:
    spec = GeneratorSpec(vehicles=60, days=28, seed=11)
    efficiency = {vehicle.asset_id: vehicle.efficiency for vehicle in telemetry.vehicles(spec)}
    powered = pairs(fleet()).filter(
        ~pl.col("gap_flag"), pl.col("is_plugged_in_before"), pl.col("power_kw") > 0, pl.col("power_kw_before") > 0
    )
    energy = powered.with_columns(
        drawn=(pl.col("power_kw") + pl.col("power_kw_before")) / 2 * pl.col("minutes") / 60,
        least=log_mean(pl.col("power_kw_before"), pl.col("power_kw")) * pl.col("minutes") / 60,
        stored=pl.col("rise") / 100 * pl.col("capacity_kwh"),
        ac=pl.col("asset_id").replace_strict(efficiency, return_dtype=pl.Float64),
    )
    assert energy.height > 5_000
    on_ac = energy.filter(pl.col("power_kw_before") <= 11.0, pl.col("power_kw") <= 11.0)
    # the tail of a DC charge is below 11 kW, so the other efficiency may hold; nothing else may
    for kind, rows in (("ac", on_ac), ("dc", energy.filter(pl.col("power_kw_before") > 11.0))):
        by_ac = (rows["stored"] - rows["drawn"] * rows["ac"]).abs()
        # a taper falls exponentially: its mean lies between the logarithmic mean of its ends and the plain one
        above = rows["stored"] - rows["drawn"] * DC_EFFICIENCY
        below = rows["least"] * DC_EFFICIENCY - rows["stored"]
        by_dc = pl.Series(np.maximum(np.maximum(above.to_numpy(), below.to_numpy()), 0.0))
        nearest = np.minimum(by_ac.to_numpy(), by_dc.to_numpy()) if kind == "ac" else by_dc.to_numpy()
        # rounding of two states of charge and of power, and the bend of the taper between two samples
        allowed = 0.012 + (0.02 if kind == "ac" else 0.08) * rows["drawn"].to_numpy()
        assert (nearest <= allowed).all(), rows.filter(pl.Series(nearest > allowed))
    total = on_ac.select(pl.col("stored").sum() / (pl.col("drawn") * pl.col("ac")).sum()).item()
    assert total == pytest.approx(1.0, abs=0.005)


def test_power_tapers_above_eighty_per_cent_and_more_so_on_dc() -> None:
    people = telemetry.vehicles(GeneratorSpec(vehicles=60, days=28, seed=11))
    one_plug = {vehicle.asset_id: next(iter(vehicle.ac_kw.values())) for vehicle in people if len(vehicle.ac_kw) == 1}
    charging = fleet().filter(pl.col("power_kw") > 0)
    rated = pl.col("asset_id").replace_strict(one_plug, default=None, return_dtype=pl.Float64)
    ac = charging.with_columns(share=pl.col("power_kw") / rated).filter(pl.col("share") <= 1)
    low, high = (number(ac.filter(pl.col("soc").is_between(*span))["share"].median()) for span in ((20, 75), (97, 100)))
    assert low > 0.94
    assert high < 0.5
    dc = charging.filter(pl.col("power_kw") > 22)
    low, high = (number(dc.filter(pl.col("soc").is_between(*x))["power_kw"].median()) for x in ((10, 50), (85, 100)))
    assert high < 0.7 * low


def test_silences_come_every_three_to_five_days_and_some_are_mere_standing() -> None:
    frame = fleet()
    gaps = pairs(frame).filter("gap_flag")
    per_vehicle_days = 60 * 28 / gaps.height
    assert 3.0 <= per_vehicle_days <= 5.5
    hours = gaps["minutes"] / 60
    assert number(hours.max()) > 24
    assert 6 < number(hours.median()) < 14
    still = gaps.filter(~pl.col("is_plugged_in"), ~pl.col("is_plugged_in_before"), pl.col("rise").is_between(-3, 0))
    drift = still.filter(pl.col("rise") < -ROUNDING_PCT)
    assert still.height > 0.3 * gaps.height
    assert drift.height > 0.5 * still.height, "a silent battery loses a little"


def test_more_vehicles_leave_the_earlier_ones_unchanged() -> None:
    few = generate(GeneratorSpec(vehicles=2, days=4))
    many = generate(GeneratorSpec(vehicles=5, days=4))
    assert_frame_equal(few, many.filter(pl.col("asset_id").is_in(few["asset_id"].unique().to_list())))


def test_parts_are_the_whole() -> None:
    spec = GeneratorSpec(vehicles=5, days=3)
    assert_frame_equal(pl.concat(telemetry.generate_parts(spec, vehicles_per_part=2)), generate(spec))


@given(seeds=st.lists(st.integers(0, 10_000), min_size=2, max_size=2, unique=True))
@settings(max_examples=5)
def test_another_seed_is_another_fleet(seeds: list[int]) -> None:
    first, second = (generate(GeneratorSpec(vehicles=1, days=2, seed=seed)) for seed in seeds)
    assert not first.equals(second)


def test_a_charge_that_would_be_full_between_two_samples_does_not_happen() -> None:
    at = datetime(2021, 2, 21, 23, 44, tzinfo=UTC)
    _check_physics(
        generate(GeneratorSpec(vehicles=1, days=3, start_at=at, time_zone="Asia/Kathmandu", seed=562292628020))
    )
