"""A site steered in doubt: what cars may do is weighed, not guessed.

A forecast of a stay is a distribution, and with every slot that a car is still there it is another one. ``InDoubt``
plans with what is left of it: a departure that most cars outlast, each earlier one with its probability, and the energy
that few need more than. What a missed kWh is worth decides how much dearer an early kWh may be.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.errors import PlanInputError
from plugcast.schedule.mpc import Future, RecedingHorizon
from plugcast.simulate.site import Command, Moment, command_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from plugcast.schedule.mpc import PresentCar
    from plugcast.simulate.cars import Expectation

Chances = tuple[tuple[float, float], ...]
LEAST_SHARE: Final = 0.3
"""Of the lowest known quantile: where a distribution is taken to begin."""


def still(chances: Chances, beyond: float) -> Chances:
    """What is left of a distribution once its value is known to exceed ``beyond``; empty if nothing is.

    >>> still(((1.0, 0.25), (2.0, 0.25), (3.0, 0.5)), 1.5)
    ((2.0, 0.3333333333333333), (3.0, 0.6666666666666666))
    """
    left = tuple((value, chance) for value, chance in chances if value > beyond)
    total = sum(chance for _, chance in left)
    return tuple((value, chance / total) for value, chance in left) if total > 0 else ()


def quantile(chances: Chances, level: float) -> float:
    """The lowest value that is not exceeded with probability ``level``.

    >>> quantile(((1.0, 0.25), (2.0, 0.25), (3.0, 0.5)), 0.5)
    2.0
    """
    reached = 0.0
    for value, chance in sorted(chances):
        reached += chance
        if reached >= level - 1e-9:
            return value
    return max(value for value, _ in chances)


def masses(levels: Sequence[float], values: Sequence[float]) -> Chances:
    """Quantiles as points with probabilities: each stands for what lies nearest to it.

    >>> masses((0.1, 0.5, 0.9), (2.0, 5.0, 8.0))
    ((2.0, 0.3), (5.0, 0.39999999999999997), (8.0, 0.30000000000000004))
    """
    middle = [0.0, *((low + high) / 2 for low, high in pairwise(levels)), 1.0]
    return tuple((float(value), high - low) for value, low, high in zip(values, middle[:-1], middle[1:], strict=True))


def spread(levels: Sequence[float], values: Sequence[float], points: int) -> Chances:
    """Quantiles as equally probable points of the straight lines between them, so that no hour is without a risk.

    Few quantiles leave hours between them in which, taken as points, nobody would ever leave. Above the highest the
    last line goes on; below the lowest it ends at ``LEAST_SHARE`` of it.

    >>> spread((0.1, 0.5, 0.9), (2.0, 5.0, 8.0), 4)
    ((2.1875, 0.25), (4.0625, 0.25), (5.9375, 0.25), (7.8125, 0.25))
    """
    last = values[-1] + (values[-1] - values[-2]) / (levels[-1] - levels[-2]) * (1.0 - levels[-1])
    middle = (np.arange(points) + 0.5) / points
    found = np.interp(middle, [0.0, *levels, 1.0], [LEAST_SHARE * values[0], *values, last])
    return tuple((float(value), 1.0 / points) for value in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class InDoubt:
    """Steers by what is left of each car's distribution (``Expectation.departures`` and ``energies``).

    A car without a distribution is planned as expected. With ``scenarios`` whole futures of all cars are drawn and the
    first slot is the best for them together (``RecedingHorizon.stages`` weighs the worst); else each car's early
    departures are priced inside one programme, which costs a tenth of the time.
    """

    horizon: RecedingHorizon = field(default_factory=RecedingHorizon)
    value_per_kwh: float | None = None
    """What a kWh that a driver misses is worth; None: ten times what any kWh can cost, which charges at once."""
    stay_level: float = 0.75
    """Plans reach to this quantile of departure."""
    energy_level: float = 0.75
    """Plans provide for this quantile of energy; a car that is full stops by itself."""
    scenarios: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse levels that are none."""
        if not (0 < self.stay_level <= 1 and 0 < self.energy_level <= 1 and self.scenarios >= 0):
            raise PlanInputError(
                f"Levels {self.stay_level} and {self.energy_level}, {self.scenarios} scenarios; wanted shares above 0, "
                "up to 1, and a number that is not negative."
            )

    def command(self, moment: Moment) -> Command:
        """Powers of this slot."""
        known = [self._known(car, moment) for car in moment.cars]
        window = moment.window.part(0, self.horizon.horizon_slots)
        futures = self._futures(known, moment) if self.scenarios else ()
        cars = [car for car, _ in known]
        if futures:
            cars = [replace(car, early_departures=()) for car in cars]
        return command_of(self.horizon.decide(moment.state, moment.now, cars, window, futures=futures))

    def _known(self, car: PresentCar, moment: Moment) -> tuple[PresentCar, Chances]:
        """The car as planned, and what is left of its departures: hours from now."""
        expected = moment.expected[car.session_id]
        stays = still(_hours(expected, moment.now), 0.0)
        energies = still(expected.energies, car.energy_delivered_kwh)
        leaves, needs = car.departure_expected_at, car.energy_expected_kwh
        early: tuple[tuple[datetime, float], ...] = ()
        if stays:
            last = quantile(stays, self.stay_level)
            leaves = moment.now + timedelta(hours=last)
            early = tuple((moment.now + timedelta(hours=hours), chance) for hours, chance in stays if hours < last)
        if energies:
            needs = quantile(energies, self.energy_level)
        planned = replace(
            car,
            departure_expected_at=leaves,
            energy_expected_kwh=needs,
            early_departures=early,
            value_per_kwh=self.value_per_kwh,
        )
        return planned, stays

    def _futures(self, known: Sequence[tuple[PresentCar, Chances]], moment: Moment) -> tuple[Future, ...]:
        """Departures of all cars at once, stratified so that few draws cover each car's distribution.

        The energy is that of ``energy_level`` in all: a power shared by scenarios would else be held below the least.
        """
        random = np.random.default_rng((self.seed, moment.slot))
        level = (np.arange(self.scenarios) + 0.5) / self.scenarios
        leaves: list[dict[str, datetime]] = [{} for _ in level]
        for car, stays in known:
            for drawn, chance in enumerate(random.permutation(level).tolist()):
                if stays:
                    leaves[drawn][car.session_id] = moment.now + timedelta(hours=quantile(stays, chance))
        share = 1.0 / self.scenarios
        return tuple(Future(probability=share, departure_at=drawn) for drawn in leaves)


def _hours(expected: Expectation, now: datetime) -> Chances:
    return tuple(((at - now).total_seconds() / 3600.0, chance) for at, chance in expected.departures)
