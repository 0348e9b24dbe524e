"""The adaptive charging algorithm as published (Lee et al., arXiv 2012.02636), written anew in CVXPY as a reference.

Maximise revenue less energy cost less demand charge, spread over the days that are left, with a little for charging
early and for equal shares; three-phase limits as second-order cones over all stations and the horizon. ``quick`` is
its other objective, energy as early as possible. ``practical`` adds what its authors add for real hardware: a maximum
rate that follows the car down, the least current in the first period, pilots rounded down, and what that loses given
back one step at a time where it is lost most.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from benches.acn_cone import Aim, solve

if TYPE_CHECKING:
    import numpy.typing as npt

Foreign: TypeAlias = Any
"""Of acnportal, which ships no types."""
REVENUE = 0.30
STEP_TOL_A = 0.05


def installed() -> bool:
    """Whether CVXPY and acnportal are there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import acnportal  # noqa: F401, PLC0415
            import cvxpy  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


class Asa:
    """Plugs into acnportal as ``BaseAlgorithm`` does."""

    def __init__(
        self, *, quick: bool = False, practical: bool = False, only_taken: bool = False, modelled: bool = True
    ) -> None:
        self.quick, self.practical = quick, practical
        self.modelled = modelled
        """Through CVXPY as its authors do; else the same programme straight to the same solver (``acn_cone``)."""
        self.only_taken = only_taken
        """Leave stations without a car out: the same optimum in a fraction of the time. The original carries them."""
        self.max_recompute = 1 if practical else None
        self.solve_stats: list[Any] = []
        self.interface: Any = None
        self.rampdown: Any = None

    def register_interface(self, interface: Foreign) -> None:
        """As acnportal wants it."""
        from acnportal.algorithms import SimpleRampdown  # noqa: PLC0415

        self.interface = interface
        if self.practical:
            self.rampdown = SimpleRampdown()
            self.rampdown.register_interface(interface)

    def schedule(self, sessions: list[Any]) -> dict[str, list[float]]:
        """Currents of all stations over the horizon, or for one period where pilots are finite."""
        from acnportal.algorithms import preprocessing  # noqa: PLC0415

        if not sessions:
            return {}
        site = self.interface.infrastructure_info()
        sessions = preprocessing.enforce_pilot_limit(sessions, site)
        if self.practical:
            # acnportal 0.3.3 looks its own estimates up by station, where they stand by session: done right here
            estimate = self.rampdown.get_maximum_rates(sessions)
            for one in sessions:
                one.max_rates = np.minimum(one.max_rates, estimate[one.session_id])
            sessions = preprocessing.apply_minimum_charging_rate(sessions, site, self.interface.period)
        rates = self._solve(sessions, site)
        if self.practical:
            rates = self._whole(rates[:, 0], sessions, site)[:, None]
        return {station: rates[row].tolist() for row, station in enumerate(site.station_ids)}

    def _solve(self, sessions: list[Any], site: Foreign) -> npt.NDArray[np.float64]:
        slots = max(one.arrival_offset + one.remaining_time for one in sessions)
        return self._through_cvxpy(sessions, site, slots) if self.modelled else self._straight(sessions, site, slots)

    def _straight(self, sessions: list[Any], site: Foreign, slots: int) -> npt.NDArray[np.float64]:
        interface, early = self.interface, (slots - np.arange(slots)) / slots
        if self.quick:
            worth, price, floor = np.tile(early, (len(site.voltages), 1)), 0.0, 0.0
        else:
            earned = (REVENUE - interface.get_prices(slots)) * interface.period / 60.0
            worth = site.voltages[:, None] / 1e3 * earned + 1e-6 * early
            price = interface.get_demand_charge() / max(30 - interface.current_datetime.day, 1)
            floor = interface.get_prev_peak() * float(site.voltages.max()) / 1e3
        aim = Aim(per_ampere=worth, peak_price=price, peak_floor_kw=floor, shared=1e-12)
        return solve(sessions, site, interface.period / 60.0, aim)

    def _through_cvxpy(self, sessions: list[Any], site: Foreign, slots: int) -> npt.NDArray[np.float64]:
        import cvxpy as cp  # noqa: PLC0415

        interface = self.interface
        kept = np.arange(len(site.station_ids))
        if self.only_taken:
            kept = np.unique([site.get_station_index(one.station_id) for one in sessions])
        place = {int(row): index for index, row in enumerate(kept)}
        rates = cp.Variable((len(kept), slots))
        low, high = np.zeros(rates.shape), np.zeros(rates.shape)
        constraints, hours = [], interface.period / 60.0
        for one in sessions:
            index = site.get_station_index(one.station_id)
            row = place[index]
            span = slice(one.arrival_offset, one.arrival_offset + one.remaining_time)
            low[row, span], high[row, span] = one.min_rates, one.max_rates
            energy = cp.sum(rates[row, span]) * float(site.voltages[index]) * hours / 1e3
            constraints.append(energy <= one.remaining_demand)
        constraints += [rates >= low, rates <= np.maximum(high, low)]
        angle = np.deg2rad(site.phases)
        for weight, limit in zip(site.constraint_matrix, site.constraint_limits, strict=True):
            parts = np.stack([weight * np.cos(angle), weight * np.sin(angle)])[:, kept]
            if not np.any(parts):
                continue
            constraints.append(cp.norm(parts @ rates, axis=0) <= limit)
        power = cp.sum(cp.multiply(rates, site.voltages[kept, None] / 1e3), axis=0)
        early = (slots - np.arange(slots)) / slots
        quick = early @ cp.sum(rates, axis=0)
        shared = -1e-12 * cp.sum_squares(rates)
        if self.quick:
            aim = quick + shared
        else:
            left = max(30 - interface.current_datetime.day, 1)
            peak = cp.maximum(cp.max(power), interface.get_prev_peak() * float(site.voltages.max()) / 1e3)
            earned = (REVENUE - interface.get_prices(slots)) @ power * hours
            aim = earned - interface.get_demand_charge() / left * peak + 1e-6 * quick + shared
        problem = cp.Problem(cp.Maximize(aim), constraints)
        problem.solve(solver="CLARABEL")
        # an interior point stops a hair outside; the original cuts at the pilots' range alone
        found = np.zeros((len(site.station_ids), slots))
        found[kept] = np.clip(rates.value, 0.0, site.max_pilot[kept, None])
        return found

    def _whole(self, wanted: npt.NDArray[np.float64], sessions: list[Any], site: Foreign) -> npt.NDArray[np.float64]:
        """Rounded down, then up again by steps where most is lost, while the sum planned is not exceeded."""
        pilots = [np.unique(np.append(one, 0.0)) for one in site.allowable_pilots]
        chosen = np.array(
            [
                steps[np.searchsorted(steps, rate + STEP_TOL_A, side="right") - 1]
                for steps, rate in zip(pilots, wanted, strict=True)
            ]
        )
        turned = site.constraint_matrix * np.exp(1j * np.deg2rad(site.phases))
        order = sorted(
            (site.get_station_index(one.station_id) for one in sessions), key=lambda row: chosen[row] - wanted[row]
        )
        most = {site.get_station_index(one.station_id): float(one.max_rates[0]) for one in sessions}
        for row in order:
            above = pilots[row][pilots[row] > chosen[row]]
            if not above.size or wanted[row] <= chosen[row] or above[0] > most[row] + STEP_TOL_A:
                continue
            tried = chosen.copy()
            tried[row] = above[0]
            if tried.sum() <= wanted.sum() and np.all(np.abs(turned @ tried) <= site.constraint_limits):
                chosen = tried
        return chosen
