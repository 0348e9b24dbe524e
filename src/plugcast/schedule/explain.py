"""Why a car charges when it does, in one sentence with numbers, and what stands in the way where a need is not met."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

from plugcast.domain.plan import Shortfall
from plugcast.schedule.problem import ENERGY_TOL_KWH

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from plugcast.schedule.problem import FloatArray, IntArray, PlanProblem

_TOL_KW: Final = 1e-4
_SAME_PRICE: Final = 1e-9
_MANY_WINDOWS: Final = 3
_DAY_H: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What all cars share: computed once, so that a sentence costs microseconds."""

    problem: PlanProblem
    power_kw: FloatArray
    share: FloatArray
    labels: tuple[str, ...]
    """[T + 1] local times of the slots' borders."""
    full: npt.NDArray[np.bool_]
    """[T] the limit leaves nothing more."""
    at_peak: npt.NDArray[np.bool_]
    """[T] the site draws its highest power and a demand charge makes that dear."""
    surplus: npt.NDArray[np.bool_]
    """[T] PV gives more than the base load takes, and the cars draw no more than that."""
    peak_kw: float
    wires: tuple[_Wire, ...] = ()
    """Limits of the network that bind at some time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wire:
    """A circuit or conductor that is loaded to its limit."""

    name: str
    feeds: npt.NDArray[np.bool_]
    """[V] cars that load it."""
    full: npt.NDArray[np.bool_]
    """[T]"""


def explain(
    problem: PlanProblem, power_kw: FloatArray, shortfalls: Mapping[int, Shortfall], *, rule: str = ""
) -> tuple[str, ...]:
    """[V] One sentence a car; ``rule`` says by which rule it charges where prices played no part."""
    scene = _scene(problem, power_kw)
    return tuple(_sentence(scene, car, shortfalls.get(car), rule) for car in range(problem.vehicles))


def shortfalls_of(problem: PlanProblem, power_kw: FloatArray, *, rule: str = "") -> dict[int, Shortfall]:
    """What each car (by its index) misses, and the binding constraint; cars that miss nothing are left out."""
    missing = problem.energy_needed_kwh - power_kw.sum(axis=1) * problem.window.slot_h
    cars = np.flatnonzero(missing > ENERGY_TOL_KWH).tolist()
    if not cars:
        return {}
    scene = _scene(problem, power_kw)
    stay_kwh = problem.stay_limit_kwh()
    return {
        car: Shortfall(
            session_id=problem.session_ids[car],
            energy_kwh=float(missing[car]),
            reason=_reason(scene, car, float(missing[car]), float(stay_kwh[car]), rule),
        )
        for car in cars
    }


def _scene(problem: PlanProblem, power_kw: FloatArray) -> _Scene:
    window = problem.window
    net = power_kw.sum(axis=0) + window.base_load_kw - window.pv_kw
    share = problem.availability()
    while_there = np.divide(power_kw, share, out=np.zeros_like(power_kw), where=share > 0).sum(axis=0)
    peak = max(float(net.max()), 0.0)
    zone = ZoneInfo(window.time_zone)
    borders = [window.start_at + timedelta(minutes=window.slot_min * slot) for slot in range(window.slots + 1)]
    return _Scene(
        problem=problem,
        power_kw=power_kw,
        share=share,
        labels=tuple(_label(border.astimezone(zone), problem) for border in borders),
        full=while_there >= window.headroom_kw - _TOL_KW,
        at_peak=(net >= max(peak, window.peak_so_far_kw) - _TOL_KW) & (window.demand_charge_per_kw > 0),
        surplus=(window.pv_kw > window.base_load_kw) & (net <= _TOL_KW),
        peak_kw=max(peak, window.peak_so_far_kw),
        wires=_wires(problem, np.divide(power_kw, share, out=np.zeros_like(power_kw), where=share > 0)),
    )


def _wires(problem: PlanProblem, while_there: FloatArray) -> tuple[_Wire, ...]:
    network = problem.window.network
    if network is None or not problem.vehicles:
        return ()
    weight = network.of(problem.station_ids)
    full = np.abs(weight @ while_there) >= network.limit[:, None] * (1 - _TOL_KW) - _TOL_KW
    return tuple(
        _Wire(
            name=f"{network.names[line]} ({network.limit[line]:.4g} {network.units[line]})",
            feeds=np.abs(weight[line]) > 0,
            full=full[line],
        )
        for line in np.flatnonzero(full.any(axis=1)).tolist()
    )


def _loaded(scene: _Scene, car: int) -> list[str]:
    """Each wire that keeps a car below its own power, and when."""
    open_to = (scene.share[car] > 0) & _below_own(scene, car)
    return [
        f"{wire.name} binds {_windows(scene, car, slots)}"
        for wire in scene.wires
        if wire.feeds[car] and (slots := np.flatnonzero(wire.full & open_to)).size
    ]


def _wired_up(scene: _Scene, car: int) -> npt.NDArray[np.bool_]:
    """[T] some wire of this car is full."""
    full: npt.NDArray[np.bool_] = np.zeros(scene.problem.window.slots, dtype=np.bool_)
    for wire in scene.wires:
        if wire.feeds[car]:
            full |= wire.full
    return full


def _label(local: datetime, problem: PlanProblem) -> str:
    window = problem.window
    return f"{local:%a %H:%M}" if window.slots * window.slot_h > _DAY_H else f"{local:%H:%M}"


def _sentence(scene: _Scene, car: int, shortfall: Shortfall | None, rule: str) -> str:
    charging = np.flatnonzero(scene.power_kw[car] > _TOL_KW)
    energy = float(scene.power_kw[car].sum()) * scene.problem.window.slot_h
    if scene.problem.energy_needed_kwh[car] <= ENERGY_TOL_KWH:
        return "Needs no energy."
    parts = []
    if charging.size:
        why = rule or _why(scene, car, charging)
        parts.append(f"Charges {energy:.1f} kWh {_windows(scene, car, charging)} {why}".rstrip())
        parts += _held_back(scene, car, charging) if not rule else []
        limited = np.flatnonzero(scene.full & (scene.share[car] > 0) & _below_own(scene, car))
        binds = [f"{_limit(scene, limited)} binds {_windows(scene, car, limited)}"] if limited.size else []
        said = shortfall.reason if shortfall is not None else ""
        parts += [one for one in (*binds, *_loaded(scene, car)) if one not in said]
    else:
        parts.append("Does not charge")
    if shortfall is not None:
        leaves = _local(scene, scene.problem.departure_at[car])
        parts.append(f"{shortfall.energy_kwh:.1f} kWh cannot be met before departure at {leaves}: {shortfall.reason}")
    return "; ".join(parts).rstrip(".") + "."


def _why(scene: _Scene, car: int, charging: IntArray) -> str:
    window = scene.problem.window
    stay = np.flatnonzero(scene.share[car] > 0)
    spare = stay[_below_own(scene, car)[stay] & ~scene.full[stay] & ~_wired_up(scene, car)[stay]]
    if not spare.size:
        held = bool(np.any(_below_own(scene, car)[stay]))
        return "wherever the limit leaves room in its stay" if held else "and needs the whole stay for it"
    if np.all(scene.surplus[charging]):
        return "while the sun gives more than the site takes"
    return _why_price(window.price_per_kwh, charging, stay, spare)


def _why_price(price: FloatArray, charging: IntArray, stay: IntArray, spare: IntArray) -> str:
    """The prices of the charging slots beside those of the stay, and of its slots that have room to spare."""
    low, high = price[charging].min(), price[charging].max()
    paid = f"{low:.3g}" if high - low < _SAME_PRICE else f"{low:.3g} to {high:.3g}"
    elsewhere = float(price[stay].max())
    if elsewhere > high + _SAME_PRICE:
        return f"because a kWh costs {paid} then and up to {elsewhere:.3g} at other times of the stay"
    if float(price[spare].min()) < high - _SAME_PRICE:
        return f"at {paid} a kWh: using more of the cheaper times would raise the peak or come too late"
    if high > low + _SAME_PRICE:
        return f"at {paid} a kWh, every cheaper time of the stay used first"
    if charging[0] > stay[0]:
        return f"as soon as the other cars leave room: a kWh costs {paid}, now or later"
    return f"as early as it can: a kWh costs {paid} and waiting would save nothing"


def _held_back(scene: _Scene, car: int, charging: IntArray) -> list[str]:
    held = charging[scene.at_peak[charging] & _below_own(scene, car)[charging] & ~scene.full[charging]]
    if not held.size:
        return []
    charge = scene.problem.window.demand_charge_per_kw
    when = _windows(scene, car, held)
    return [f"power is held down {when} to keep the peak at {scene.peak_kw:.1f} kW (each kW more costs {charge:.2f})"]


def _reason(scene: _Scene, car: int, missing_kwh: float, stay_kwh: float, rule: str) -> str:
    problem = scene.problem
    window = problem.window
    rating, needed = problem.max_power_kw[car], problem.energy_needed_kwh[car]
    if problem.departure_at[car] <= window.start_at:
        return "it departs before the plan starts"
    if problem.arrival_at[car] >= window.end_at:
        return "it arrives after the plan ends"
    if rating <= 0:
        return "its station or car can take 0 kW"
    reasons = []
    hours = stay_kwh / float(rating)
    taper = problem.needs[car].taper
    taken_kwh = np.inf if taper is None else taper.most_kw(hours) * hours
    beyond_stay = max(float(needed) - min(stay_kwh, taken_kwh), 0.0)
    fills_up = beyond_stay > ENERGY_TOL_KWH and taken_kwh < stay_kwh
    if fills_up:
        reasons.append(f"its battery, nearly full, takes {taken_kwh:.1f} kWh in that time")
    elif beyond_stay > ENERGY_TOL_KWH:
        end = "plan" if problem.departure_at[car] > window.end_at else "stay"
        reasons.append(f"{_hours(hours)} of {end} at {rating:.1f} kW give {stay_kwh:.1f} kWh at most")
    if missing_kwh - beyond_stay <= ENERGY_TOL_KWH:
        return reasons[0] if reasons else "rounding"
    below = _below_own(scene, car)
    limited = np.flatnonzero(scene.full & (scene.share[car] > 0) & below)
    if limited.size:
        reasons.append(f"{_limit(scene, limited)} binds {_windows(scene, car, limited)}")
    reasons += _loaded(scene, car)
    if rule and not limited.size and not scene.wires:
        reasons.append(f"charging {rule} left no room")
    reasons += _choice(scene, car, missing_kwh) if not (rule or fills_up) else []
    return " and ".join(reasons) or "no power was left for it"


def _choice(scene: _Scene, car: int, missing_kwh: float) -> list[str]:
    """What the plan itself decided against, where no limit stands in the way."""
    problem = scene.problem
    step_kwh = float(problem.quantum_kw[car]) * problem.window.slot_h
    if missing_kwh < step_kwh:
        return [f"less is missing than a slot at its least power gives ({step_kwh:.2f} kWh)"]
    if not np.any((scene.share[car] > 0) & _below_own(scene, car) & ~scene.full & ~_wired_up(scene, car)):
        return []
    if problem.needs[car].value_per_kwh is None and step_kwh > 0:
        return ["the powers that its charger can offer fit no better"]
    value = problem.shortfall_price_per_kwh[car]
    return [f"more would cost more than the {value:.3g} that a kWh is worth to it"]


def _below_own(scene: _Scene, car: int) -> npt.NDArray[np.bool_]:
    own = scene.problem.max_power_kw[car] * scene.share[car]
    below: npt.NDArray[np.bool_] = scene.power_kw[car] < own - _TOL_KW
    return below


def _limit(scene: _Scene, slots: IntArray) -> str:
    window = scene.problem.window
    low, high = float(window.limit_kw[slots].min()), float(window.limit_kw[slots].max())
    number = f"{high:.4g}" if high - low < _TOL_KW else f"{low:.4g} to {high:.4g}"
    base = " with its base load" if np.any(window.base_load_kw[slots] > 0) else ""
    return f"the {number} kW limit{base}"


def _windows(scene: _Scene, car: int, slots: IntArray) -> str:
    """``02:15-05:30 and 06:00-06:15``, cut to the car's stay; more than three windows are counted."""
    breaks = np.flatnonzero(np.diff(slots) > 1)
    firsts = slots[np.concatenate([[0], breaks + 1])].tolist()
    lasts = slots[np.concatenate([breaks, [len(slots) - 1]])].tolist()
    if len(firsts) > _MANY_WINDOWS:
        return f"in {len(firsts)} windows between {_from(scene, car, firsts[0])} and {_to(scene, car, lasts[-1])}"
    spans = [f"{_from(scene, car, first)}-{_to(scene, car, last)}" for first, last in zip(firsts, lasts, strict=True)]
    return spans[0] if len(spans) == 1 else ", ".join(spans[:-1]) + " and " + spans[-1]


def _from(scene: _Scene, car: int, slot: int) -> str:
    problem = scene.problem
    midway = slot == problem.first_slot[car] and problem.first_share[car] < 1.0
    return _local(scene, max(problem.arrival_at[car], problem.window.start_at)) if midway else scene.labels[slot]


def _to(scene: _Scene, car: int, slot: int) -> str:
    problem = scene.problem
    midway = slot == problem.last_slot[car] - 1 and problem.last_share[car] < 1.0
    return _local(scene, min(problem.departure_at[car], problem.window.end_at)) if midway else scene.labels[slot + 1]


def _local(scene: _Scene, instant: datetime) -> str:
    return _label(instant.astimezone(ZoneInfo(scene.problem.window.time_zone)), scene.problem)


def _hours(hours: float) -> str:
    span = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
    whole = int(hours)
    return f"{whole} h {span.minute} min" if whole else f"{span.minute} min"
