"""A site in closed loop: cars come and go as they did, the controller knows only what it could have known.

At every slot the controller sees the cars that are plugged in, with the departure and energy that were expected of
them at plug-in and what they have drawn since; its first slot is applied, and reality answers: stations offer what they
can, batteries slow towards their end, cars leave when they like.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import numpy as np

from plugcast.domain.plan import PlanStatus
from plugcast.domain.units import HORIZON_SLOTS
from plugcast.errors import PlanInputError
from plugcast.schedule.cost import Cost, cost_of
from plugcast.schedule.mpc import HorizonState, PresentCar, RecedingHorizon
from plugcast.schedule.problem import ENERGY_TOL_KWH, POWER_TOL_KW
from plugcast.schedule.response import Response
from plugcast.simulate.cars import Batteries, Car, CarBattery, Expectation, Forecaster, PlugIn, offered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import numpy.typing as npt

    from plugcast.schedule.mpc import Decision
    from plugcast.schedule.problem import FloatArray, IntArray, SiteWindow

__all__ = [
    "Car",
    "CarBattery",
    "Command",
    "Expectation",
    "Forecaster",
    "LoopResult",
    "Moment",
    "PlugIn",
    "SiteController",
    "run_closed_loop",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a controller is shown at the start of a slot."""

    slot: int
    now: datetime
    state: HorizonState
    """The month's peak so far."""
    cars: tuple[PresentCar, ...]
    """Those that are plugged in and want more, with what was expected of them and has been learnt since."""
    expected: Mapping[str, Expectation]
    """What was expected of each at plug-in, in full."""
    window: SiteWindow
    """The site from this slot on, as far as it can be known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a controller answers."""

    power_kw: Mapping[str, float]
    """By session; a car that is left out gets nothing."""
    ahead_kw: FloatArray = field(default_factory=lambda: np.zeros(0))
    """What all cars together are planned to draw, from this slot on."""
    fallback: bool = False
    """The solver gave no answer."""


class SiteController(Protocol):
    """Anything that decides powers slot by slot; ``RecedingHorizon`` need not be wrapped."""

    def command(self, moment: Moment) -> Command:
        """Powers of this slot."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopResult:
    """What the closed loop did; N cars, S slots."""

    power_kw: FloatArray
    """[N, S] what each car drew, slot means, in the order the cars were given."""
    grid_import_kw: FloatArray
    """[S] cars and base load less PV; negative where the site feeds in."""
    cost: Cost
    delivered_kwh: FloatArray
    """[N]"""
    unmet_kwh: FloatArray
    """[N] what a car wanted and had not when it left; 0 for cars still there at the end."""
    unavoidable_kwh: FloatArray
    """[N] the part of it that its stay and rating rule out under any plan."""
    present: npt.NDArray[np.bool_]
    """[N, S] plugged in."""
    done: npt.NDArray[np.bool_]
    """[N, S] plugged in at the slot's start and wanting nothing more."""
    violation_slots: int
    """Slots in which the site drew more than its limit although the cars could have drawn less."""
    violation_kw: float
    """The worst excess."""
    cpu_s: FloatArray
    """[S] the controller's CPU time."""
    fallbacks: int
    """Steps in which the solver gave no answer."""
    starts: IntArray
    """[N] how often each car began to draw."""

    @property
    def total_power_kw(self) -> FloatArray:
        """[S] all cars."""
        total: FloatArray = self.power_kw.sum(axis=0)
        return total


def run_closed_loop(
    cars: Sequence[Car],
    forecast: Forecaster,
    window: SiteWindow,
    controller: RecedingHorizon | SiteController,
    *,
    slots: int | None = None,
    cpu_clock: Callable[[], float] = time.process_time,
    on_plan: Callable[[int, FloatArray], None] | None = None,
    known: Callable[[datetime, SiteWindow], SiteWindow] | None = None,
) -> LoopResult:
    """Drive the cars through ``slots`` slots of the window (all by default), one decision a slot.

    Let the window reach a horizon past ``slots``, so that the last decisions see prices as far as the first. Its
    demand charge is billed once, on the highest slot of the run; the controller starts a new peak with each month.

    Args:
        cars: What really happens.
        forecast: What is expected of each car when it plugs in.
        window: Prices, limits, sun and base load as they come.
        controller: Who decides.
        slots: How many to drive.
        cpu_clock: Measures the controller.
        on_plan: Told, after each slot, what all cars together were planned to draw from that slot on.
        known: Makes of the window from a slot on, as it comes, what is known of it then (prices not yet published,
            tomorrow's sun); by default all is known. Its first slot is measured: leave that as it is.

    Raises:
        PlanInputError: ``slots`` is beyond the window, or a session appears twice.
    """
    count = window.slots if slots is None else slots
    if not 0 < count <= window.slots:
        raise PlanInputError(f"{count} slots to drive; the window has {window.slots}.")
    if len({car.session_id for car in cars}) < len(cars):
        raise PlanInputError("A session appears twice among the cars. Give each stay its own session.")
    told = known or (lambda _now, ahead: ahead)
    steering = _Receding(controller) if isinstance(controller, RecedingHorizon) else controller
    loop = _Loop(cars, forecast, window, steering, clock=cpu_clock, count=count, known=told)
    for slot in range(count):
        planned_kw = loop.step(slot)
        if on_plan is not None:
            on_plan(slot, planned_kw)
    return loop.result()


class _Receding:
    """The receding horizon as a controller."""

    def __init__(self, horizon: RecedingHorizon) -> None:
        self.horizon = horizon

    def command(self, moment: Moment) -> Command:
        window = moment.window.part(0, self.horizon.horizon_slots)
        return command_of(self.horizon.decide(moment.state, moment.now, moment.cars, window))


def command_of(decision: Decision) -> Command:
    """The first slot of a decision, for every car that is in it."""
    solution = decision.solution
    return Command(
        power_kw=dict(zip(decision.problem.session_ids, decision.offered_kw()[:, 0].tolist(), strict=True)),
        ahead_kw=solution.power_kw.sum(axis=0),
        fallback=solution.status is PlanStatus.FALLBACK,
    )


class _Loop:
    """The running record of one drive."""

    def __init__(
        self,
        cars: Sequence[Car],
        forecast: Forecaster,
        window: SiteWindow,
        controller: SiteController,
        *,
        clock: Callable[[], float],
        count: int,
        known: Callable[[datetime, SiteWindow], SiteWindow],
    ) -> None:
        self.cars, self.forecast, self.controller, self.clock, self.count = cars, forecast, controller, clock, count
        self.window, self.known, self.batteries = window, known, Batteries(cars)
        self.ahead = replace(window, peak_so_far_kw=0.0)  # the state carries the peak, and lets it go with the month
        self.first, self.last = stays_in(cars, window)
        slot = np.arange(count)
        self.present = (slot >= self.first[:, None]) & (slot < self.last[:, None])
        self.wants = self.batteries.wants
        self.power = np.zeros((len(cars), count))
        self.delivered = np.zeros(len(cars))
        self.done = np.zeros((len(cars), count), dtype=np.bool_)
        self.cpu = np.zeros(count)
        self.expected: dict[int, Expectation] = {}
        self.learnt: dict[int, Response] = {}
        self.fallbacks = 0
        self.state = HorizonState().seen(window.start_at, window.peak_so_far_kw, window.time_zone)

    def step(self, slot: int) -> FloatArray:
        """Show the controller the cars, apply its first slot, let reality answer; gives the plan of the cars' sum."""
        window, here = self.window, np.flatnonzero(self.present[:, slot])
        now = window.start_at + timedelta(minutes=window.slot_min * slot)
        self.done[here, slot] = self.wants[here] - self.delivered[here] <= ENERGY_TOL_KWH
        for index in here[self.first[here] == slot].tolist():
            self.expected[index] = self.forecast(_plug_in(self.cars[index]), now)
        active = here[~self.done[here, slot]]
        asked, planned_kw = self._ask(active.tolist(), slot, now)
        offer = np.array([offered(self.cars[car], kw) for car, kw in zip(active.tolist(), asked, strict=True)])
        drawn = self.batteries.drawn_kw(active, offer, self.delivered[active], window.slot_h)
        self.power[active, slot] = drawn
        self.delivered[active] += drawn * window.slot_h
        for car, given, taken in zip(active.tolist(), offer.tolist(), drawn.tolist(), strict=True):
            self.learnt[car] = self.learnt.get(car, Response()).saw(
                offered_kw=given, drawn_kw=taken, delivered_kwh=float(self.delivered[car])
            )
        site_kw = float(drawn.sum() + window.base_load_kw[slot] - window.pv_kw[slot])
        self.state = self.state.seen(now, site_kw, window.time_zone)
        return planned_kw

    def _ask(self, active: list[int], slot: int, now: datetime) -> tuple[list[float], FloatArray]:
        """The controller's powers for the active cars, in their order, and their sum over the slots ahead."""
        if not active:
            return [], np.zeros(HORIZON_SLOTS)
        moment = Moment(
            slot=slot,
            now=now,
            state=self.state,
            cars=tuple(self._seen(index) for index in active),
            expected={self.cars[index].session_id: self.expected[index] for index in active},
            window=self.known(now, self.ahead.part(slot, self.window.slots)),
        )
        begun = self.clock()
        answer = self.controller.command(moment)
        self.cpu[slot] = self.clock() - begun
        self.fallbacks += int(answer.fallback)
        return [answer.power_kw.get(self.cars[index].session_id, 0.0) for index in active], answer.ahead_kw

    def _seen(self, index: int) -> PresentCar:
        car, expected = self.cars[index], self.expected[index]
        return PresentCar(
            session_id=car.session_id,
            station_id=car.station_id,
            arrival_at=car.arrival_at,
            departure_expected_at=expected.departure_at,
            energy_expected_kwh=expected.energy_kwh,
            energy_delivered_kwh=float(self.delivered[index]),
            max_power_kw=car.max_power_kw,
            min_power_kw=car.min_power_kw,
            pilots_kw=car.pilots_kw,
            response=self.learnt.get(index, Response()),
        )

    def result(self) -> LoopResult:
        """Close the books."""
        cut = self.window.part(0, self.count)
        together: FloatArray = self.power.sum(axis=0)
        excess = together - cut.headroom_kw
        over = (excess > POWER_TOL_KW) & (together > 0)
        gone = (self.last <= self.count) & (self.last > self.first)
        missing = np.maximum(self.wants - self.delivered, 0.0) * gone
        at_most = self.batteries.rating * np.maximum(self.last - self.first, 0) * cut.slot_h
        return LoopResult(
            power_kw=self.power,
            grid_import_kw=together + cut.base_load_kw - cut.pv_kw,
            cost=cost_of(
                together,
                cut.price_per_kwh,
                cut.demand_charge_per_kw,
                slot_min=cut.slot_min,
                base_load_kw=cut.base_load_kw,
                pv_kw=cut.pv_kw,
                feed_in_per_kwh=cut.feed_in_per_kwh,
                peak_so_far_kw=cut.peak_so_far_kw,
            ),
            delivered_kwh=self.delivered,
            unmet_kwh=missing,
            unavoidable_kwh=np.minimum(missing, np.maximum(self.wants - at_most, 0.0)),
            present=self.present,
            done=self.done,
            violation_slots=int(over.sum()),
            violation_kw=float(excess[over].max(initial=0.0)),
            cpu_s=self.cpu,
            fallbacks=self.fallbacks,
            starts=_starts(self.power),
        )


def _starts(power_kw: FloatArray) -> IntArray:
    drawing = power_kw > POWER_TOL_KW
    before = np.zeros_like(drawing)
    before[:, 1:] = drawing[:, :-1]
    count: IntArray = (drawing & ~before).sum(axis=1)
    return count


def _plug_in(car: Car) -> PlugIn:
    return PlugIn(
        session_id=car.session_id,
        station_id=car.station_id,
        arrival_at=car.arrival_at,
        max_power_kw=car.max_power_kw,
    )


def stays_in(cars: Sequence[Car], window: SiteWindow) -> tuple[IntArray, IntArray]:
    """First slot and slot after the last of each car; a car that is there already is met in the first slot."""
    origin, slot_s = window.start_at.timestamp(), window.slot_min * 60.0
    arrives = np.array([(car.arrival_at.timestamp() - origin) / slot_s for car in cars], dtype=np.float64)
    leaves = np.array([(car.departure_at.timestamp() - origin) / slot_s for car in cars], dtype=np.float64)
    first = np.maximum(np.round(arrives), 0).astype(np.int64)
    last = np.round(leaves).astype(np.int64)
    return first, np.where(leaves > 0, np.maximum(last, first + 1), last)
