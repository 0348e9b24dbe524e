"""How meter values go wrong: one transform for each fault, a sound series in, the faulty one out, or None.

Magnitudes are drawn wide on purpose, from plain to hard to see. Where the current changes, power and register follow.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.simulate.meter_series import LEAST_OFFER_A, US, MeterSeries, taken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Rng = np.random.Generator

FLOWS_A: Final = 1.0
LEAST_SAMPLES: Final = 10
HALF: Final = 0.5
THREE: Final = 2.5
HIGH, LOW = (1.12, 1.45), (0.55, 0.9)
"""Factors of a register that is off."""


class SeriesFault(StrEnum):
    """One way in which meter values can be faulty."""

    NEVER_DREW = "never_drew"
    DERATED = "derated"
    DERATED_FROM_START = "derated_from_start"
    TRIPPED = "tripped"
    CURRENT_UNOFFERED = "current_unoffered"
    FLOW_AFTER_UNPLUG = "flow_after_unplug"
    REGISTER_HIGH = "register_high"
    REGISTER_LOW = "register_low"
    SENSOR_HIGH = "sensor_high"
    SENSOR_LOW = "sensor_low"
    REGISTER_STUCK = "register_stuck"
    REGISTER_RESET = "register_reset"
    REGISTER_JUMP = "register_jump"
    READINGS_FROZEN = "readings_frozen"
    CLOCK_BACK = "clock_back"
    OVER_PILOT = "over_pilot"
    REPLAYED = "replayed"
    CHATTER = "chatter"
    HUNTING = "hunting"
    PHASE_LOST = "phase_lost"


def sound(series: MeterSeries) -> MeterSeries:
    """Its samples in order, each once: faults are put into what happened, not into how it arrived."""
    _, places = np.unique(series.at_us, return_index=True)
    return taken(series, places)


def _flowing(series: MeterSeries) -> NDArray[np.intp]:
    return np.flatnonzero(series.current_a > FLOWS_A)


def _kw_per_a(series: MeterSeries) -> float:
    """NaN where the station tells no power."""
    flowing = _flowing(series)
    carried = series.power_kw[flowing] / series.current_a[flowing]
    return float(np.median(carried)) if len(carried) else np.nan


def integral(series: MeterSeries) -> float:
    """Energy of its power, kWh."""
    hours = np.diff(series.at_us) / US / 3600
    return float(((series.power_kw[1:] + series.power_kw[:-1]) / 2 * hours).sum())


def charge(series: MeterSeries) -> float:
    """Charge of its current, Ah."""
    hours = np.diff(series.at_us) / US / 3600
    return float(((series.current_a[1:] + series.current_a[:-1]) / 2 * hours).sum())


def _with_current(series: MeterSeries, current: Floats, offered: Floats | None = None) -> MeterSeries:
    """The same with another current: power and register follow."""
    before = np.maximum(series.current_a, 1e-9)
    drawn = np.where(series.current_a > FLOWS_A, series.power_kw / before, _kw_per_a(series)) * current
    power = np.round(np.where(current > FLOWS_A, drawn, 0.0), 3)
    hours = np.diff(series.at_us) / US / 3600
    energy = np.concatenate([[0.0], np.cumsum((power[1:] + power[:-1]) / 2 * hours)])
    register = (
        np.round(series.register_kwh[0] + energy, 3) if np.isfinite(series.register_kwh).any() else series.register_kwh
    )
    return replace(
        series,
        current_a=np.round(current, 1),
        offered_a=series.offered_a if offered is None else offered,
        power_kw=np.where(np.isfinite(series.power_kw), power, np.nan),
        register_kwh=register,
    )


def _slowed(series: MeterSeries, begin: int, factor: float) -> MeterSeries | None:
    """From one sample on the current is a share of what it was, and the need is met later or not at all."""
    at = (series.at_us - series.at_us[0]) / US
    own = at.copy()
    own[begin:] = at[begin] + (at[begin:] - at[begin]) * factor
    current = np.interp(own, at, series.current_a)
    current[begin:] = np.where(current[begin:] > FLOWS_A, current[begin:] * factor, current[begin:])
    held = int(np.searchsorted(at, at[begin]))
    offered = series.offered_a.copy()
    flowing = _flowing(series)
    offered[begin : flowing[-1] + 1] = np.interp(own, at, series.offered_a)[begin : flowing[-1] + 1]
    offered[begin:] = np.maximum(np.where(current[begin:] > FLOWS_A, series.offered_a[held], offered[begin:]), 0.0)
    return _with_current(series, current, offered)


def _derated(series: MeterSeries, rng: Rng) -> MeterSeries | None:
    flowing = _flowing(series)
    peak = series.current_a.max()
    factor = rng.uniform(0.25, 0.55)
    full = flowing[series.current_a[flowing] > 0.9 * min(peak, series.offered_a[flowing].max())]
    if peak * factor < LEAST_OFFER_A or len(full) < 2 * LEAST_SAMPLES:
        return None
    return _slowed(series, int(full[int(len(full) * rng.uniform(0.2, 0.6))]), factor)


def _derated_from_start(series: MeterSeries, rng: Rng) -> MeterSeries | None:
    flowing = _flowing(series)
    factor = rng.uniform(0.25, 0.55)
    return _slowed(series, int(flowing[0]), factor) if len(flowing) > LEAST_SAMPLES else None


def _tripped(series: MeterSeries, rng: Rng) -> MeterSeries | None:
    flowing = _flowing(series)
    if len(flowing) < 2 * LEAST_SAMPLES:
        return None
    place = int(flowing[int(len(flowing) * rng.uniform(0.1, 0.5))])
    current, offered = series.current_a.copy(), series.offered_a.copy()
    current[place:] = 0.0
    offered[place:] = max(offered[place - 1], 6.0)
    return _with_current(series, current, offered)


def _never_drew(series: MeterSeries, rng: Rng) -> MeterSeries:
    current = np.round(rng.uniform(0, 0.4, len(series)), 1)
    offered = np.full(len(series), max(float(series.offered_a.max()), 6.0))
    return _with_current(series, current, offered)


def given_up(series: MeterSeries, rng: Rng) -> MeterSeries:
    """Most drivers leave within the hour."""
    if rng.random() < 0.4:  # noqa: PLR2004 - a share
        return series
    minutes = rng.uniform(8, 50)
    stays = series.at_us <= series.at_us[0] + minutes * 60 * US
    return taken(series, stays) if stays.sum() >= LEAST_SAMPLES else series


def _unoffered(series: MeterSeries, rng: Rng) -> MeterSeries | None:
    """The contactor stays closed when the pilot is taken away."""
    flowing = _flowing(series)
    if len(flowing) < LEAST_SAMPLES:
        return None
    place = int(flowing[int(len(flowing) * rng.uniform(0.3, 0.9))])
    current, offered = series.current_a.copy(), series.offered_a.copy()
    until = len(series) if rng.random() < HALF else min(place + int(rng.integers(5, 90)), len(series))
    offered[place:] = 0.0
    current[place:until] = max(float(current[place]), 6.0) + rng.normal(0, 0.05, until - place)
    current[until:] = 0.0
    return _with_current(series, current, offered)


def _after_unplug(series: MeterSeries, rng: Rng) -> MeterSeries:
    """Samples after the plug-out, with current in them."""
    step = int(np.median(np.diff(series.at_us)))
    count = max(3, int(rng.uniform(180, 2_400) * US / step))
    at = series.at_us[-1] + step * np.arange(1, count + 1)
    amps = np.round(rng.uniform(4, 16) + rng.normal(0, 0.05, count), 1)
    per_a = _kw_per_a(series)
    power = np.round(amps * per_a, 3)
    register = series.register_kwh[-1] + np.round(np.cumsum(power * step / US / 3600), 3)
    return MeterSeries(
        at_us=np.concatenate([series.at_us, at]),
        current_a=np.concatenate([series.current_a, amps]),
        offered_a=np.concatenate([series.offered_a, np.zeros(count)]),
        voltage_v=np.concatenate(
            [
                series.voltage_v,
                series.voltage_v[-count:] if count <= len(series) else np.full(count, series.voltage_v[-1]),
            ]
        ),
        power_kw=np.concatenate([series.power_kw, power]),
        register_kwh=np.concatenate([series.register_kwh, register]),
    )


def _scaled_register(series: MeterSeries, factor: float) -> MeterSeries | None:
    if not np.isfinite(series.register_kwh).all():
        return None
    first = series.register_kwh[0]
    return replace(series, register_kwh=np.round(first + (series.register_kwh - first) * factor, 3))


def _scaled_sensor(series: MeterSeries, factor: float) -> MeterSeries | None:
    made = _with_current(series, np.where(series.current_a > FLOWS_A, series.current_a * factor, series.current_a))
    return made if len(_flowing(made)) > LEAST_SAMPLES else None


def _stuck(series: MeterSeries, rng: Rng) -> MeterSeries | None:
    flowing = _flowing(series)
    if len(flowing) < 2 * LEAST_SAMPLES or not np.isfinite(series.register_kwh).all():
        return None
    place = int(flowing[int(len(flowing) * rng.uniform(0.1, 0.7))])
    register = series.register_kwh.copy()
    register[place:] = register[place]
    return replace(series, register_kwh=register)


def _reset(series: MeterSeries, rng: Rng) -> MeterSeries | None:
    flowing = _flowing(series)
    if len(flowing) < LEAST_SAMPLES or not np.isfinite(series.register_kwh).all():
        return None
    place = int(flowing[int(len(flowing) * rng.uniform(0.1, 0.9))])
    register = series.register_kwh.copy()
    base = 0.0 if rng.random() < HALF else register[place] * rng.uniform(0.2, 0.999)
    register[place:] = np.round(register[place:] - register[place] + base, 3)
    return replace(series, register_kwh=register)


def _jump(series: MeterSeries, rng: Rng) -> MeterSeries | None:
    if not np.isfinite(series.register_kwh).all():
        return None
    place = int(rng.integers(2, len(series) - 2))
    register = series.register_kwh.copy()
    register[place:] += round(rng.uniform(2, 40), 3)
    return replace(series, register_kwh=register)


def _frozen(series: MeterSeries, rng: Rng) -> MeterSeries | None:
    """Current, voltage and power stand at one reading; the register goes on."""
    flowing = _flowing(series)
    if len(flowing) < 4 * LEAST_SAMPLES or not np.isfinite(series.voltage_v).all():
        return None
    place = int(flowing[int(len(flowing) * rng.uniform(0.1, 0.5))])
    columns = {"current_a": series.current_a, "voltage_v": series.voltage_v, "power_kw": series.power_kw}
    held = {name: np.where(np.arange(len(series)) >= place, column[place], column) for name, column in columns.items()}
    return replace(series, **held)


def _clock_back(series: MeterSeries, rng: Rng) -> MeterSeries | None:
    """Part of the samples are dated back."""
    count = int(rng.integers(5, max(6, len(series) // 3)))
    place = int(rng.integers(count, len(series) - 1)) if len(series) > 2 * count else None
    if place is None:
        return None
    at = series.at_us.copy()
    at[place : place + count] -= int(rng.uniform(300, 10_800) * US)
    return replace(series, at_us=at)


def _over_pilot(series: MeterSeries, rng: Rng) -> MeterSeries | None:
    flowing = _flowing(series)
    if len(flowing) < 2 * LEAST_SAMPLES:
        return None
    begin = int(flowing[int(len(flowing) * rng.uniform(0, 0.6))])
    end = begin + int(rng.integers(5, max(6, len(flowing))))
    current = series.current_a.copy()
    span = np.arange(begin, min(end, flowing[-1]))
    span = span[(series.current_a[span] > FLOWS_A) & (series.offered_a[span] >= LEAST_OFFER_A)]
    if len(span) < LEAST_SAMPLES // 2:
        return None
    current[span] = series.offered_a[span] * rng.uniform(1.15, 1.6) + rng.normal(0, 0.05, len(span))
    return _with_current(series, current)


def _chatter(series: MeterSeries, rng: Rng) -> MeterSeries | None:
    """The contactor opens and closes, every few minutes, while the offer stands."""
    flowing = _flowing(series)
    at = (series.at_us - series.at_us[0]) / US
    step = float(np.median(np.diff(at)))
    if len(flowing) < 4 * LEAST_SAMPLES:
        return None
    period = max(rng.uniform(120, 480), 4 * step)
    off = ((at - at[flowing[0]]) % period) > period * rng.uniform(0.4, 0.7)
    off &= (at > at[flowing[int(len(flowing) * rng.uniform(0, 0.4))]]) & (at < at[flowing[-1]])
    offered = np.where(off & (series.offered_a < LEAST_OFFER_A), series.offered_a.max(), series.offered_a)
    return _with_current(series, np.where(off, 0.0, series.current_a), offered)


def _hunting(series: MeterSeries, rng: Rng) -> MeterSeries | None:
    """The current swings between what is offered and much less."""
    flowing = _flowing(series)
    at = (series.at_us - series.at_us[0]) / US
    step = float(np.median(np.diff(at)))
    if len(flowing) < 4 * LEAST_SAMPLES or series.current_a.max() < 10:  # noqa: PLR2004 - too little to swing
        return None
    period = max(rng.uniform(90, 300), 4 * step)
    swing = 1 - rng.uniform(0.35, 0.6) * (np.sin(2 * np.pi * at / period) > 0)
    begin = flowing[int(len(flowing) * rng.uniform(0, 0.4))]
    swing[:begin] = 1.0
    return _with_current(series, np.where(series.current_a > FLOWS_A, series.current_a * swing, series.current_a))


def _phase_lost(series: MeterSeries, rng: Rng) -> MeterSeries | None:
    """Of three phases two or one go on: the same current a phase, less power."""
    flowing = _flowing(series)
    product = series.current_a[flowing] * series.voltage_v[flowing] / 1000
    three = len(flowing) >= 3 * LEAST_SAMPLES and np.median(series.power_kw[flowing] / product) > THREE
    if not three:  # nor where it is not known
        return None
    place = int(flowing[int(len(flowing) * rng.uniform(0.1, 0.6))])
    left = int(rng.integers(1, 3)) / 3
    power = series.power_kw.copy()
    power[place:] = np.round(power[place:] * left, 3)
    register = series.register_kwh.copy()
    register[place:] = np.round(register[place] + (register[place:] - register[place]) * left, 3)
    return replace(series, power_kw=power, register_kwh=register)


BREAK: Final[Mapping[SeriesFault, Callable[[MeterSeries, Rng], MeterSeries | None]]] = {
    SeriesFault.NEVER_DREW: _never_drew,
    SeriesFault.DERATED: _derated,
    SeriesFault.DERATED_FROM_START: _derated_from_start,
    SeriesFault.TRIPPED: _tripped,
    SeriesFault.CURRENT_UNOFFERED: _unoffered,
    SeriesFault.FLOW_AFTER_UNPLUG: _after_unplug,
    SeriesFault.REGISTER_HIGH: lambda series, rng: _scaled_register(series, rng.uniform(*HIGH)),
    SeriesFault.REGISTER_LOW: lambda series, rng: _scaled_register(series, rng.uniform(*LOW)),
    SeriesFault.SENSOR_HIGH: lambda series, rng: _scaled_sensor(series, rng.uniform(1.15, 1.5)),
    SeriesFault.SENSOR_LOW: lambda series, rng: _scaled_sensor(series, rng.uniform(0.5, 0.85)),
    SeriesFault.REGISTER_STUCK: _stuck,
    SeriesFault.REGISTER_RESET: _reset,
    SeriesFault.REGISTER_JUMP: _jump,
    SeriesFault.READINGS_FROZEN: _frozen,
    SeriesFault.CLOCK_BACK: _clock_back,
    SeriesFault.OVER_PILOT: _over_pilot,
    SeriesFault.CHATTER: _chatter,
    SeriesFault.HUNTING: _hunting,
    SeriesFault.PHASE_LOST: _phase_lost,
}
"""All but the replay, which takes another session's series."""
