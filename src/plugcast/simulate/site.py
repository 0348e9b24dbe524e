"""A site in closed loop: cars come and go as they did, the controller knows only what it could have known.

At every slot the controller sees the cars that are plugged in, with the departure and energy that were expected of
them at plug-in and what they have drawn since; its first slot is applied, and reality answers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import numpy as np

from plugcast.domain.plan import PlanStatus
from plugcast.errors import PlanInputError
from plugcast.schedule.cost import Cost, cost_of
from plugcast.schedule.mpc import HorizonState, PresentCar
from plugcast.schedule.problem import ENERGY_TOL_KWH, POWER_TOL_KW

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import numpy.typing as npt

    from plugcast.schedule.mpc import RecedingHorizon
    from plugcast.schedule.problem import FloatArray, IntArray, SiteWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class Car:
    """What really happened at one plug; arrival and departure are taken to the nearest slot, at least one apart."""

    session_id: str
    station_id: str
    arrival_at: datetime
    departure_at: datetime
    energy_kwh: float
    """What it takes before it is done."""
    max_power_kw: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What was expected of a car when it plugged in."""

    departure_at: datetime
    energy_kwh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugIn:
    """All that is known of a car when it plugs in; its future is not in here."""

    session_id: str
    station_id: str
    arrival_at: datetime
    max_power_kw: float


class Forecaster(Protocol):
    """Asked once a car, in the slot of its plug-in."""

    def __call__(self, plug_in: PlugIn, now: datetime) -> Expectation:
        """Expected departure and energy."""
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

    @property
    def total_power_kw(self) -> FloatArray:
        """[S] all cars."""
        total: FloatArray = self.power_kw.sum(axis=0)
        return total


def run_closed_loop(
    cars: Sequence[Car],
    forecast: Forecaster,
    window: SiteWindow,
    controller: RecedingHorizon,
    *,
    slots: int | None = None,
    cpu_clock: Callable[[], float] = time.process_time,
    on_plan: Callable[[int, FloatArray], None] | None = None,
) -> LoopResult:
    """Drive the cars through ``slots`` slots of the window (all by default), one decision a slot.

    Let the window reach a horizon past ``slots``, so that the last decisions see prices as far as the first. Its
    demand charge is billed once, on the highest slot of the run; the controller starts a new peak with each month.
    ``on_plan`` is told, after each slot, what all cars together were planned to draw from that slot on.

    Raises:
        PlanInputError: ``slots`` is beyond the window, or a session appears twice.
    """
    count = window.slots if slots is None else slots
    if not 0 < count <= window.slots:
        raise PlanInputError(f"{count} slots to drive; the window has {window.slots}.")
    if len({car.session_id for car in cars}) < len(cars):
        raise PlanInputError("A session appears twice among the cars. Give each stay its own session.")
    loop = _Loop(cars=cars, forecast=forecast, window=window, controller=controller, clock=cpu_clock, count=count)
    for slot in range(count):
        planned_kw = loop.step(slot)
        if on_plan is not None:
            on_plan(slot, planned_kw)
    return loop.result()


class _Loop:
    """The running record of one drive."""

    def __init__(
        self,
        *,
        cars: Sequence[Car],
        forecast: Forecaster,
        window: SiteWindow,
        controller: RecedingHorizon,
        clock: Callable[[], float],
        count: int,
    ) -> None:
        self.cars, self.forecast, self.controller, self.clock, self.count = cars, forecast, controller, clock, count
        self.window = window
        self.ahead = replace(window, peak_so_far_kw=0.0)  # the state carries the peak, and lets it go with the month
        self.first, self.last = _stays(cars, window)
        slot = np.arange(count)
        self.present = (slot >= self.first[:, None]) & (slot < self.last[:, None])
        self.wants = np.array([car.energy_kwh for car in cars], dtype=np.float64)
        self.rating = np.array([car.max_power_kw for car in cars], dtype=np.float64)
        self.power = np.zeros((len(cars), count))
        self.delivered = np.zeros(len(cars))
        self.done = np.zeros((len(cars), count), dtype=np.bool_)
        self.cpu = np.zeros(count)
        self.expected: dict[int, Expectation] = {}
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
        room = np.maximum(self.wants[active] - self.delivered[active], 0.0) / window.slot_h
        drawn = np.minimum(np.minimum(asked, self.rating[active]), room)
        self.power[active, slot] = drawn
        self.delivered[active] += drawn * window.slot_h
        site_kw = float(drawn.sum() + window.base_load_kw[slot] - window.pv_kw[slot])
        self.state = self.state.seen(now, site_kw, window.time_zone)
        return planned_kw

    def _ask(self, active: list[int], slot: int, now: datetime) -> tuple[FloatArray, FloatArray]:
        """The controller's powers for the active cars, in their order, and their sum over the slots ahead."""
        if not active:
            return np.zeros(0), np.zeros(self.controller.horizon_slots)
        seen = [
            PresentCar(
                session_id=self.cars[index].session_id,
                station_id=self.cars[index].station_id,
                arrival_at=self.cars[index].arrival_at,
                departure_expected_at=self.expected[index].departure_at,
                energy_expected_kwh=self.expected[index].energy_kwh,
                energy_delivered_kwh=float(self.delivered[index]),
                max_power_kw=self.cars[index].max_power_kw,
            )
            for index in active
        ]
        begun = self.clock()
        decision = self.controller.decide(self.state, now, seen, self.ahead.part(slot, self.controller.horizon_slots))
        self.cpu[slot] = self.clock() - begun
        self.fallbacks += int(decision.solution.status is PlanStatus.FALLBACK)
        row = {session_id: position for position, session_id in enumerate(decision.problem.session_ids)}
        commands = decision.solution.power_kw[:, 0]
        asked = np.array([commands[row[self.cars[index].session_id]] for index in active])
        return asked, decision.solution.power_kw.sum(axis=0)

    def result(self) -> LoopResult:
        """Close the books."""
        cut = self.window.part(0, self.count)
        together: FloatArray = self.power.sum(axis=0)
        excess = together - cut.headroom_kw
        over = (excess > POWER_TOL_KW) & (together > 0)
        gone = (self.last <= self.count) & (self.last > self.first)
        missing = np.maximum(self.wants - self.delivered, 0.0) * gone
        at_most = self.rating * np.maximum(self.last - self.first, 0) * cut.slot_h
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
        )


def _plug_in(car: Car) -> PlugIn:
    return PlugIn(
        session_id=car.session_id,
        station_id=car.station_id,
        arrival_at=car.arrival_at,
        max_power_kw=car.max_power_kw,
    )


def _stays(cars: Sequence[Car], window: SiteWindow) -> tuple[IntArray, IntArray]:
    """First slot and slot after the last of each car; a car that is there already is met in the first slot."""
    origin, slot_s = window.start_at.timestamp(), window.slot_min * 60.0
    arrives = np.array([(car.arrival_at.timestamp() - origin) / slot_s for car in cars], dtype=np.float64)
    leaves = np.array([(car.departure_at.timestamp() - origin) / slot_s for car in cars], dtype=np.float64)
    first = np.maximum(np.round(arrives), 0).astype(np.int64)
    last = np.round(leaves).astype(np.int64)
    return first, np.where(leaves > 0, np.maximum(last, first + 1), last)
