"""What a course of site power costs under a tariff; the one place where a bill is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A bill in the tariff's currency."""

    energy_cost: float
    """Energy bought less energy fed in, base load included."""
    demand_cost: float
    """Demand charge on the higher of ``peak_kw`` and the peak so far."""
    peak_kw: float
    """Highest slot mean drawn from the grid; 0 for a site that only feeds in."""

    @property
    def total(self) -> float:
        """Energy and demand."""
        return self.energy_cost + self.demand_cost


def cost_of(
    power_kw: npt.ArrayLike,
    price_per_kwh: npt.ArrayLike,
    demand_charge_per_kw: float = 0.0,
    *,
    slot_min: float = 15,
    base_load_kw: npt.ArrayLike = 0.0,
    pv_kw: npt.ArrayLike = 0.0,
    feed_in_per_kwh: npt.ArrayLike = 0.0,
    peak_so_far_kw: float = 0.0,
) -> Cost:
    """The bill for cars drawing ``power_kw`` [T] (slot means) beside a base load and PV.

    >>> cost_of([4.0, 8.0], [0.10, 0.20], 10.0, slot_min=60)
    Cost(energy_cost=2.0, demand_cost=80.0, peak_kw=8.0)
    """
    net = np.asarray(power_kw, dtype=np.float64) + np.asarray(base_load_kw) - np.asarray(pv_kw)
    bought = np.maximum(net, 0.0)
    energy = np.sum(bought * np.asarray(price_per_kwh) - np.maximum(-net, 0.0) * np.asarray(feed_in_per_kwh))
    peak = float(bought.max(initial=0.0))
    return Cost(
        energy_cost=float(energy) * slot_min / 60.0,
        demand_cost=demand_charge_per_kw * max(peak, peak_so_far_kw),
        peak_kw=peak,
    )
