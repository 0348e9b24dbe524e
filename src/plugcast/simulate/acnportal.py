"""Our controller inside acnportal's simulator: ``Simulator(network, Plugcast(...), events, start, ...)``.

Needs ``pip install 'plugcast[acn]'``. acnportal gives every algorithm the sessions that are plugged in, with their true
departures unless an event carries an estimate; this controller is told no more than that.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.errors import MissingExtraError, PlanInputError
from plugcast.schedule.controller import Controller
from plugcast.schedule.mpc import Policy, RecedingHorizon
from plugcast.schedule.response import Response
from plugcast.schedule.window import site_window
from plugcast.simulate.acn_translate import Clock, car_of, lowered, pilots_of, site_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from plugcast.schedule.arrays import FloatArray
    from plugcast.schedule.mpc import Decision
    from plugcast.schedule.window import SiteWindow
    from plugcast.simulate.acn_translate import AcnSite, SessionInfo

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # acnportal 0.3.3 looks for its version through pkg_resources
        from acnportal.algorithms import BaseAlgorithm
except ImportError as error:
    raise MissingExtraError("acnportal", "acn") from error

HORIZON_H: Final = 24.0
_BLOCK: Final = 288
"""Periods whose prices are asked for at once: acnportal works each out with decimal numbers."""
_STEADY: Final = 0.02
"""Offers that differ by no more than this share are one offer."""

_EXACT: Final = 0.999
"""The simulator's meter has no error: whatever is missing of an offer the car did not take."""

PeakTerms = tuple[float, tuple[tuple[float, float], ...]]
"""What a kW of peak costs, and the peaks that come anyway: see ``SiteWindow.peak_outlook``."""


class Plugcast(BaseAlgorithm):  # type: ignore[misc] # acnportal ships no types
    """Receding horizon over the sessions that are plugged in.

    Args:
        value_per_kwh: What a delivered kWh earns; the plan leaves out what costs more. None: all needs are served as
            far as the limits let them.
        peak: From the present instant to what a kW of peak weighs now, and the outlook; None: the tariff's demand
            charge over the days that the month still has. Without a tariff a peak costs nothing.
        spec: The horizon's settings; whole pilots are kept to on their own wherever stations have them.
        waiting_price_per_kwh_h: What charging an hour earlier is worth.
        max_recompute: Periods after which to plan again without an event; None: on events only. Stations with
            finite pilots want 1: only the currents of the present period are settled.
    """

    def __init__(
        self,
        *,
        value_per_kwh: float | None = None,
        peak: Callable[[datetime], PeakTerms] | None = None,
        spec: RecedingHorizon | None = None,
        waiting_price_per_kwh_h: float = 0.0,
        max_recompute: int | None = None,
    ) -> None:
        super().__init__()
        self.max_recompute = max_recompute
        self.value_per_kwh = value_per_kwh
        self.peak = peak
        self.waiting_price_per_kwh_h = waiting_price_per_kwh_h
        self.controller = Controller(spec or RecedingHorizon(), unknown=Response(below=_EXACT))
        self.last: Decision | None = None
        """The newest decision, to be explained with ``as_plan``."""
        self._site: AcnSite | None = None
        self._prices: dict[int, FloatArray] = {}
        self._offered: dict[str, tuple[int, float, FloatArray]] = {}

    def register_interface(self, interface: Any) -> None:  # noqa: ANN401 - acnportal's own
        """Look at the site once.

        Raises:
            PlanInputError: Stations have finite pilots, and the schedule would not be renewed every period; or periods
                are no whole minutes.
        """
        super().register_interface(interface)
        period = float(interface.period)
        if period < 1 or not period.is_integer():
            raise PlanInputError(f"The simulation's periods are {period:g} minutes; wanted a whole number of them.")
        self._site = site_of(interface.infrastructure_info())
        if self._site.finite:
            if self.max_recompute != 1:
                raise PlanInputError(
                    f"Stations offer only certain currents, and max_recompute is {self.max_recompute}; wanted 1."
                )
            if self.controller.spec.policy is Policy.LP:
                self.controller.spec = replace(self.controller.spec, policy=Policy.WHOLE)

    def schedule(self, active_sessions: Sequence[SessionInfo]) -> dict[str, list[float]]:
        """Currents in A by station, one a period from now on."""
        now = int(self.interface.current_time)
        site = self._site
        assert site is not None  # noqa: S101 - an interface was registered
        self._learn(active_sessions, now, site)
        if not active_sessions:
            return {}
        clock = Clock(start_at=self.interface.current_datetime, period_min=float(self.interface.period))
        shifted = Clock(start_at=clock.at(-now), period_min=clock.period_min)
        cars = [car_of(session, site, shifted, value_per_kwh=self.value_per_kwh) for session in active_sessions]
        last = max(session.estimated_departure for session in active_sessions)
        window = self._window(now, last, shifted, site)
        self.last = self.controller.decide(window.start_at, cars, window)
        return self._commands(self.last, {session.session_id: session for session in active_sessions}, now, site)

    def _window(self, now: int, last: int, clock: Clock, site: AcnSite) -> SiteWindow:
        spec = self.controller.spec
        ahead = min(spec.horizon_slots, int(HORIZON_H * 60 / clock.period_min))
        slots = ahead if spec.policy is Policy.LP and self.peak is None else min(max(last - now, 1), ahead)
        charge, outlook = self._peak_terms(clock.at(now))
        return site_window(
            start_at=clock.at(now),
            slot_min=round(clock.period_min),
            price_per_kwh=self._price(now, slots),
            limit_kw=np.inf,
            demand_charge_per_kw=charge,
            peak_so_far_kw=float(self.interface.get_prev_peak()) * float(site.voltage_v.max()) / 1000.0,
            peak_outlook=outlook,
            waiting_price_per_kwh_h=self.waiting_price_per_kwh_h,
            network=site.network,
        )

    def _peak_terms(self, at: datetime) -> PeakTerms:
        if self.peak is not None:
            return self.peak(at)
        try:
            charge = float(self.interface.get_demand_charge())
        except (ValueError, TypeError, KeyError):  # the simulation has no tariff
            return 0.0, ()
        day = self.interface.current_datetime.day
        return charge / max(30 - day, 1), ()

    def _price(self, now: int, slots: int) -> FloatArray:
        rows = []
        for block in range(now // _BLOCK, (now + slots - 1) // _BLOCK + 1):
            if block not in self._prices:
                self._prices[block] = self._asked(block)
            rows.append(self._prices[block])
        begin = now % _BLOCK
        return np.concatenate(rows)[begin : begin + slots]

    def _asked(self, block: int) -> FloatArray:
        try:
            return np.asarray(self.interface.get_prices(_BLOCK, start=block * _BLOCK), dtype=np.float64)
        except (ValueError, TypeError, KeyError):  # the simulation has no tariff
            return np.zeros(_BLOCK)

    def _learn(self, sessions: Sequence[SessionInfo], now: int, site: AcnSite) -> None:
        """Tell the controller how each car answered what it was offered since the last look."""
        hour = float(self.interface.period) / 60.0
        for session in sessions:
            before = self._offered.get(session.session_id)
            if before is None or now <= before[0]:
                continue
            at, delivered, offers = before
            offered = offers[: now - at] * (float(site.voltage_v[site.place[session.station_id]]) / 1000.0)
            if len(offered) < now - at or float(np.ptp(offered)) > _STEADY * float(offered.max()):
                continue
            self.controller.responded(
                session.session_id,
                offered_kw=float(offered.mean()),
                drawn_kw=(session.energy_delivered - delivered) / (hour * (now - at)),
                delivered_kwh=session.energy_delivered,
            )

    def _commands(
        self, decision: Decision, sessions: Mapping[str, SessionInfo], now: int, site: AcnSite
    ) -> dict[str, list[float]]:
        problem = decision.problem
        mine = [row for row, session in enumerate(problem.session_ids) if session in sessions]
        stations = [problem.station_ids[row] for row in mine]
        power = decision.solution.power_kw[mine] / np.maximum(problem.availability()[mine], 1e-9)
        if self.controller.spec.policy is Policy.WHOLE:
            amperes = pilots_of(site, stations, power[:, :1])
            amperes[:, 0] = lowered(site, stations, amperes[:, 0])
        else:
            amperes = pilots_of(site, stations, power)
        self._offered = {
            problem.session_ids[row]: (now, sessions[problem.session_ids[row]].energy_delivered, amperes[index])
            for index, row in enumerate(mine)
        }
        return {station: amperes[index].tolist() for index, station in enumerate(stations)}
