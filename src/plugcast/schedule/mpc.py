"""Receding horizon: at every slot, plan for the cars that are there, apply the first slot, look again.

Pure: the instant, the cars and the site come in, the decision and the new state go out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

from plugcast.domain.plan import PlanStatus
from plugcast.domain.units import HORIZON_SLOTS, MAX_SITE_VALUE, SLOT_MIN
from plugcast.errors import PlanInputError
from plugcast.schedule.extensive import Stages
from plugcast.schedule.heuristics import earliest_departure_first, least_laxity_first, uncontrolled
from plugcast.schedule.integral import Exact, exact, repair
from plugcast.schedule.levels import offers
from plugcast.schedule.outcome import plan_of, setpoints
from plugcast.schedule.problem import ENERGY_TOL_KWH, SLIVER, VehicleNeed, build_problem
from plugcast.schedule.response import Response
from plugcast.schedule.solve import Solution, solve
from plugcast.schedule.stochastic import solve_scenarios

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plugcast.domain.plan import ChargingPlan, Setpoint
    from plugcast.schedule.live import LiveModel
    from plugcast.schedule.problem import Discharge, FloatArray, PlanProblem, SiteWindow
    from plugcast.schedule.stochastic import ManyFutures


class Policy(StrEnum):
    """How powers are found."""

    LP = "lp"
    """Cheapest inside the limits."""
    WHOLE = "whole"
    """The same with powers that the chargers can offer (6 A at least, whole pilots), by repair."""
    EXACT = "exact"
    """The same by search: slower, and the best there is."""
    EDF = "edf"
    """Earliest departure first."""
    LLF = "llf"
    """Least laxity first."""
    UNCONTROLLED = "uncontrolled"
    """Full power on arrival, limits ignored."""


_HEURISTICS: Final[Mapping[Policy, tuple[Callable[[PlanProblem], FloatArray], str]]] = {
    Policy.EDF: (earliest_departure_first, "in order of departure"),
    Policy.LLF: (least_laxity_first, "in order of the time to spare"),
    Policy.UNCONTROLLED: (uncontrolled, "at full power from arrival on"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentCar:
    """A car at its plug, as the site sees it."""

    session_id: str
    station_id: str
    arrival_at: datetime
    departure_expected_at: datetime
    energy_expected_kwh: float
    """For the whole session, as forecast at plug-in."""
    energy_delivered_kwh: float
    max_power_kw: float
    done: bool = False
    """The car has stopped drawing: it needs nothing more, whatever was forecast."""
    value_per_kwh: float | None = None
    min_power_kw: float = 0.0
    pilots_kw: tuple[float, ...] = ()
    early_departures: tuple[tuple[datetime, float], ...] = ()
    discharge: Discharge | None = None
    response: Response = field(default_factory=Response)
    """What its answers have taught so far; ``controller`` keeps it."""

    def __post_init__(self) -> None:
        """Refuse what is no energy or power."""
        for name in ("energy_expected_kwh", "energy_delivered_kwh", "max_power_kw"):
            value = getattr(self, name)
            if not 0 <= value <= MAX_SITE_VALUE:  # NaN is not
                raise PlanInputError(
                    f"Session {self.session_id!r}: {name} is {value}; wanted a number from 0 to {MAX_SITE_VALUE:g}."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Future:
    """One way in which the horizon may turn out; what is left out is as expected."""

    probability: float
    departure_at: Mapping[str, datetime] = field(default_factory=dict)
    """By session, of cars that are there."""
    energy_kwh: Mapping[str, float] = field(default_factory=dict)
    """For the whole session, by session, of cars that are there."""
    coming: tuple[VehicleNeed, ...] | None = None
    """Cars that plug in later."""
    pv_kw: FloatArray | None = None
    """[T] of the window."""
    base_load_kw: FloatArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonState:
    """What one step hands to the next: the peak of the local month so far."""

    month: str = ""
    """``YYYY-MM`` in the site's zone."""
    peak_kw: float = 0.0

    def seen(self, at: datetime, grid_import_kw: float, time_zone: str) -> HorizonState:
        """The state after a slot that drew ``grid_import_kw``; a new month starts from zero."""
        month = f"{at.astimezone(ZoneInfo(time_zone)):%Y-%m}"
        before = self.peak_kw if month == self.month else 0.0
        return HorizonState(month=month, peak_kw=max(before, grid_import_kw))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One step's problem and its powers."""

    problem: PlanProblem
    solution: Solution
    rule: str = ""
    futures: ManyFutures | None = None
    """What each scenario would do and cost, where there were any."""
    whole: bool = False
    """Powers are such as chargers can offer."""

    def setpoints(self, slots: int = 1) -> tuple[Setpoint, ...]:
        """The commands of the first slots."""
        return setpoints(self.problem, self.offered_kw(slots), slots=slots)

    def offered_kw(self, slots: int = 1) -> FloatArray:
        """[V, slots] What stations offer: where whole powers are asked for never less than the least that exists.

        A car whose last 0.2 kWh would take a slot at 0.8 kW is offered 6 A, and stops when it is full.
        """
        power = self.solution.power_kw[:, :slots]
        if not self.whole or self.solution.status is PlanStatus.FALLBACK:
            return power
        share = self.problem.availability()[:, :slots]
        return offers(self.problem, power / np.maximum(share, SLIVER)) * share

    def as_plan(self, site_id: str, issued_at: datetime) -> ChargingPlan:
        """The whole horizon, explained."""
        return plan_of(
            self.problem,
            self.solution.power_kw,
            site_id=site_id,
            issued_at=issued_at,
            status=self.solution.status,
            notes=(self.solution.note,) if self.solution.note else (),
            rule=self.rule,
            battery_kw=self.solution.battery_kw,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecedingHorizon:
    """Model-predictive control of one site.

    A car that stays past its expected departure is expected to stay ``overstay_min`` more; one that has had its
    expected energy and still draws is expected to want ``top_up_share`` of what it has had, at least ``top_up_kwh``.
    """

    site_id: str = "site"
    policy: Policy = Policy.LP
    horizon_slots: int = HORIZON_SLOTS
    time_limit_s: float = 5.0
    overstay_min: float = 60.0
    top_up_share: float = 0.25
    top_up_kwh: float = 1.0
    whole_slots: int | None = 1
    """Slots that ``Policy.WHOLE`` settles: those about to be commanded; None: all."""
    stages: Stages = field(default_factory=Stages)
    """What futures share, and how their worst weigh."""

    def decide(
        self,
        state: HorizonState,
        now: datetime,
        cars: Sequence[PresentCar],
        window: SiteWindow,
        *,
        coming: Sequence[VehicleNeed] = (),
        futures: Sequence[Future] = (),
        drawn_kw: float = 0.0,
        live: LiveModel | None = None,
    ) -> Decision:
        """Powers for the cars that are there, over a window whose first slot is the present one.

        The window is cut after the last expected departure, and after ``horizon_slots``; with a ``live`` model it keeps
        its length, so that the model can be kept. Where the present slot has already begun, cars charge in the rest of
        it, and ``drawn_kw`` is what they have drawn of its mean so far.

        Args:
            state: The month's peak so far.
            now: Inside the window's first slot.
            cars: Those at their plugs.
            window: The site from the present slot on.
            coming: Cars that are expected to plug in.
            futures: Scenarios; the first step is then the best for all of them, and the plan that of the expectation.
            drawn_kw: Mean over the present slot of what cars have drawn in it.
            live: A model that goes on from its last step.
        """
        began = now > window.start_at
        needs = [*self.needs(now, cars, began=began, slot_h=window.slot_h), *coming]
        last = max((need.departure_at for need in needs), default=now)
        slots = int(np.ceil((last - window.start_at).total_seconds() / 60.0 / window.slot_min))
        cut = window.part(0, self.horizon_slots if live is not None else min(max(slots, 1), self.horizon_slots))
        month = f"{now.astimezone(ZoneInfo(window.time_zone)):%Y-%m}"
        peak = state.peak_kw if month == state.month else 0.0
        here = replace(cut, peak_so_far_kw=max(peak, window.peak_so_far_kw))
        if drawn_kw:
            here = replace(here, base_load_kw=_first_raised(here.base_load_kw, drawn_kw))
        problem = build_problem(needs, here)
        if futures and self.policy in {Policy.LP, Policy.WHOLE}:
            return self._for_all(problem, now, cars, coming, futures, began=began)
        return decide(problem, self.policy, time_limit_s=self.time_limit_s, whole_slots=self.whole_slots, live=live)

    def _for_all(
        self,
        nominal: PlanProblem,
        now: datetime,
        cars: Sequence[PresentCar],
        coming: Sequence[VehicleNeed],
        futures: Sequence[Future],
        *,
        began: bool,
    ) -> Decision:
        """The expectation with what the futures leave of probability, and each future."""
        problems, weights = [nominal], [1.0 - sum(future.probability for future in futures)]
        for future in futures:
            changed = [
                replace(
                    car,
                    departure_expected_at=future.departure_at.get(car.session_id, car.departure_expected_at),
                    energy_expected_kwh=future.energy_kwh.get(car.session_id, car.energy_expected_kwh),
                )
                for car in cars
            ]
            later = coming if future.coming is None else future.coming
            window, slots = nominal.window, nominal.window.slots
            there = replace(
                window,
                pv_kw=window.pv_kw if future.pv_kw is None else future.pv_kw[:slots],
                base_load_kw=window.base_load_kw if future.base_load_kw is None else future.base_load_kw[:slots],
            )
            problems.append(
                build_problem([*self.needs(now, changed, began=began, slot_h=window.slot_h), *later], there)
            )
            weights.append(future.probability)
        weights[0] = max(weights[0], 0.0)
        many = solve_scenarios(problems, weights, self.stages, time_limit_s=self.time_limit_s)
        return Decision(problem=nominal, solution=many.nominal, futures=many)

    def step(self, state: HorizonState, now: datetime, cars: Sequence[PresentCar], window: SiteWindow) -> ChargingPlan:
        """``decide``, as an explained plan."""
        return self.decide(state, now, cars, window).as_plan(self.site_id, now)

    def needs(
        self, now: datetime, cars: Sequence[PresentCar], *, began: bool = False, slot_h: float = SLOT_MIN / 60.0
    ) -> list[VehicleNeed]:
        """What each car is expected to want from now on, expectations extended where reality outran them.

        ``began``: the present slot has begun, and nothing can be charged in the part that is over.
        """
        return [
            VehicleNeed(
                session_id=car.session_id,
                station_id=car.station_id,
                arrival_at=now if began else min(car.arrival_at, now),
                departure_at=(
                    car.departure_expected_at
                    if car.departure_expected_at > now
                    else now + timedelta(minutes=self.overstay_min)
                ),
                energy_needed_kwh=self._remaining_kwh(car),
                max_power_kw=car.response.most_kw(
                    car.max_power_kw, delivered_kwh=car.energy_delivered_kwh, hours=slot_h
                ),
                value_per_kwh=car.value_per_kwh,
                min_power_kw=car.min_power_kw,
                pilots_kw=car.pilots_kw,
                early_departures=tuple(one for one in car.early_departures if one[0] > now),
                discharge=car.discharge,
                taper=car.response.taper(car.energy_delivered_kwh),
            )
            for car in cars
        ]

    def _remaining_kwh(self, car: PresentCar) -> float:
        if car.done:
            return 0.0
        left = car.energy_expected_kwh - car.energy_delivered_kwh
        if left > ENERGY_TOL_KWH:
            return left
        return max(self.top_up_kwh, self.top_up_share * car.energy_delivered_kwh)


def decide(
    problem: PlanProblem,
    policy: Policy,
    *,
    time_limit_s: float = 5.0,
    whole_slots: int | None = None,
    live: LiveModel | None = None,
) -> Decision:
    """Powers by any policy; ``whole_slots`` limits ``Policy.WHOLE`` to the first slots."""
    if policy is Policy.LP:
        solver = live.solve if live is not None else solve
        return Decision(problem=problem, solution=solver(problem, time_limit_s=time_limit_s))
    if policy is Policy.WHOLE:
        solution = repair(problem, time_limit_s=time_limit_s, slots=whole_slots)
        return Decision(problem=problem, solution=solution, whole=True)
    if policy is Policy.EXACT:
        return Decision(problem=problem, solution=exact(problem, Exact(time_limit_s=time_limit_s)), whole=True)
    powers, rule = _HEURISTICS[policy]
    note = f"As asked, nothing was optimised: cars charge {rule}."
    solution = Solution(power_kw=powers(problem), status=PlanStatus.HEURISTIC, note=note)
    return Decision(problem=problem, solution=solution, rule=rule)


def _first_raised(row: FloatArray, by: float) -> FloatArray:
    raised = row.copy()
    raised[0] += by
    return raised
