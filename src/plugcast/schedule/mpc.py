"""Receding horizon: at every slot, plan for the cars that are there, apply the first slot, look again.

Pure: the instant, the cars and the site come in, the decision and the new state go out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

from plugcast.domain.plan import PlanStatus
from plugcast.domain.units import HORIZON_SLOTS
from plugcast.schedule.heuristics import earliest_departure_first, least_laxity_first, uncontrolled
from plugcast.schedule.outcome import plan_of, setpoints
from plugcast.schedule.problem import ENERGY_TOL_KWH, VehicleNeed, build_problem
from plugcast.schedule.solve import Solution, solve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from plugcast.domain.plan import ChargingPlan, Setpoint
    from plugcast.schedule.problem import FloatArray, PlanProblem, SiteWindow


class Policy(StrEnum):
    """How powers are found."""

    LP = "lp"
    """Cheapest inside the limits."""
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

    def setpoints(self, slots: int = 1) -> tuple[Setpoint, ...]:
        """The commands of the first slots."""
        return setpoints(self.problem, self.solution.power_kw, slots=slots)

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

    def decide(self, state: HorizonState, now: datetime, cars: Sequence[PresentCar], window: SiteWindow) -> Decision:
        """Powers for the cars that are there, over a window whose first slot is the present one.

        The window is cut after the last expected departure, and after ``horizon_slots``.
        """
        needs = self.needs(now, cars)
        last = max((need.departure_at for need in needs), default=now)
        slots = int(np.ceil((last - window.start_at).total_seconds() / 60.0 / window.slot_min))
        cut = window.part(0, min(max(slots, 1), self.horizon_slots))
        month = f"{now.astimezone(ZoneInfo(window.time_zone)):%Y-%m}"
        peak = state.peak_kw if month == state.month else 0.0
        problem = build_problem(needs, replace(cut, peak_so_far_kw=max(peak, window.peak_so_far_kw)))
        return decide(problem, self.policy, time_limit_s=self.time_limit_s)

    def step(self, state: HorizonState, now: datetime, cars: Sequence[PresentCar], window: SiteWindow) -> ChargingPlan:
        """``decide``, as an explained plan."""
        return self.decide(state, now, cars, window).as_plan(self.site_id, now)

    def needs(self, now: datetime, cars: Sequence[PresentCar]) -> list[VehicleNeed]:
        """What each car is expected to want from now on, expectations extended where reality outran them."""
        return [
            VehicleNeed(
                session_id=car.session_id,
                station_id=car.station_id,
                arrival_at=min(car.arrival_at, now),
                departure_at=(
                    car.departure_expected_at
                    if car.departure_expected_at > now
                    else now + timedelta(minutes=self.overstay_min)
                ),
                energy_needed_kwh=self._remaining_kwh(car),
                max_power_kw=car.max_power_kw,
                value_per_kwh=car.value_per_kwh,
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


def decide(problem: PlanProblem, policy: Policy, *, time_limit_s: float = 5.0) -> Decision:
    """Powers by any policy."""
    if policy is Policy.LP:
        return Decision(problem=problem, solution=solve(problem, time_limit_s=time_limit_s))
    powers, rule = _HEURISTICS[policy]
    note = f"As asked, nothing was optimised: cars charge {rule}."
    solution = Solution(power_kw=powers(problem), status=PlanStatus.HEURISTIC, note=note)
    return Decision(problem=problem, solution=solution, rule=rule)
