"""Array types and tolerances that every part of the room shares."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
ComplexArray: TypeAlias = npt.NDArray[np.complex128]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

SLIVER: Final = 1e-3
"""A share of a slot (0.9 s of 15 min) below which a car counts as absent: nothing can be charged in it."""
ENERGY_TOL_KWH: Final = 1e-3
"""A watt-hour: what is missing below it is rounding, not a shortfall."""
POWER_TOL_KW: Final = 1e-6
