"""How a battery fills: constant power up to a knee, then a power that falls in proportion to the room left.

Constant current / constant voltage charging in closed form, so that a state of charge can be read at any instant
without stepping. Below ``knee_pct`` the state of charge rises at ``rate``; above it the rate is scaled by
``(CEILING_PCT - soc) / (CEILING_PCT - knee_pct)``, which makes the rest an exponential towards ``CEILING_PCT``.
The ceiling lies above 100 % so that a full battery is reached in finite time. Charging stops at ``limit_pct``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CEILING_PCT: Final = 102.0
_TOP_KNEE_PCT: Final = 90.0
_BOTTOM_KNEE_PCT: Final = 50.0
_KNEE_SLOPE_PCT_PER_C: Final = 30.0


def rate_pct_per_min(power_kw: float, *, capacity_kwh: float, efficiency: float) -> float:
    """Rise of the state of charge at constant power, % per minute; ``power_kw`` is measured at the plug.

    >>> rate_pct_per_min(6.0, capacity_kwh=54.0, efficiency=0.9) * 60.0
    10.0
    """
    return power_kw * efficiency / capacity_kwh * 100.0 / 60.0


def knee_pct(power_kw: float, *, capacity_kwh: float) -> float:
    """Where the taper begins, %: the harder a battery is charged for its size, the earlier.

    >>> knee_pct(7.2, capacity_kwh=60.0)
    86.4
    >>> knee_pct(100.0, capacity_kwh=60.0)
    50.0
    """
    return max(_BOTTOM_KNEE_PCT, _TOP_KNEE_PCT - _KNEE_SLOPE_PCT_PER_C * power_kw / capacity_kwh)


def minutes_to(target_pct: float, *, start_pct: float, rate: float, knee: float) -> float:
    """Minutes from ``start_pct`` to ``target_pct`` (both below the ceiling); 0 if already there.

    >>> minutes_to(70.0, start_pct=20.0, rate=0.5, knee=80.0)
    100.0
    """
    steady = max(0.0, min(target_pct, knee) - start_pct) / rate
    low = max(start_pct, knee)
    if target_pct <= low:
        return steady
    return steady + (CEILING_PCT - knee) / rate * math.log((CEILING_PCT - low) / (CEILING_PCT - target_pct))


def soc_after(
    minutes: NDArray[np.float64],
    *,
    start_pct: NDArray[np.float64],
    rate: NDArray[np.float64],
    knee: NDArray[np.float64],
    limit_pct: NDArray[np.float64],
) -> NDArray[np.float64]:
    """State of charge after some minutes on the plug, %; element by element, rate in % per minute.

    A battery that starts above its limit stays where it is.
    """
    to_knee = np.maximum(0.0, knee - start_pct) / np.maximum(rate, 1e-12)
    steady = start_pct + rate * minutes
    low = np.maximum(start_pct, knee)
    beyond = np.maximum(0.0, minutes - to_knee)
    tapered = CEILING_PCT - (CEILING_PCT - low) * np.exp(-rate * beyond / (CEILING_PCT - knee))
    risen = np.where(minutes <= to_knee, steady, tapered)
    return np.minimum(risen, np.maximum(limit_pct, start_pct))


def power_after(
    soc_pct: NDArray[np.float64],
    *,
    power_kw: NDArray[np.float64],
    knee: NDArray[np.float64],
    limit_pct: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Charging power at the plug at a state of charge, kW; 0 at or above the limit."""
    taper = np.clip((CEILING_PCT - soc_pct) / (CEILING_PCT - knee), 0.0, 1.0)
    return np.where(soc_pct >= limit_pct - 1e-9, 0.0, power_kw * taper)
