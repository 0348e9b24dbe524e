"""A modelled PV array under a clear sky: good enough to show a plan that follows the sun, never a measurement.

Solar position by Cooper's declination and the equation of time (Duffie and Beckman, Solar Engineering of Thermal
Processes, ch. 1); irradiance by Haurwitz (1945).
"""

from __future__ import annotations

from typing import Final

import numpy as np

PERFORMANCE: Final = 0.8
"""Array output at 1 kW/m2, a share of its rating: heat, inverter and wiring."""


def clear_sky_kw(timestamp_us: np.ndarray, *, peak_kw: float, latitude: float, longitude: float) -> np.ndarray:
    """Power of a flat array at UTC instants.

    Args:
        timestamp_us: Microseconds since 1970. Shape (n,).
        peak_kw: Rating at 1 kW/m2.
        latitude: Degrees north.
        longitude: Degrees east.

    Returns:
        kW, shape (n,); 0 at night.

    >>> noon = np.array([1_553_284_800_000_000])  # 2019-03-22 20:00 UTC, noon in Pasadena
    >>> clear_sky_kw(noon, peak_kw=100.0, latitude=34.1, longitude=-118.1).round().tolist()
    [68.0]
    """
    days = timestamp_us / 8.64e10
    year_angle = 2 * np.pi * ((days % 365.2425) - 81 + 1) / 364
    equation_min = 9.87 * np.sin(2 * year_angle) - 7.53 * np.cos(year_angle) - 1.5 * np.sin(year_angle)
    solar_hour = (days % 1) * 24 + longitude / 15 + equation_min / 60
    hour_angle = np.deg2rad(15 * (solar_hour - 12))
    declination = np.deg2rad(23.45) * np.sin(2 * np.pi * (284 + days % 365.2425 + 1) / 365)
    tilt = np.deg2rad(latitude)
    cos_zenith = np.sin(tilt) * np.sin(declination) + np.cos(tilt) * np.cos(declination) * np.cos(hour_angle)
    above = np.maximum(cos_zenith, 1e-3)
    irradiance_kw_m2 = np.where(cos_zenith > 0, 1.098 * above * np.exp(-0.057 / above), 0.0)
    return np.asarray(peak_kw * PERFORMANCE * irradiance_kw_m2)
