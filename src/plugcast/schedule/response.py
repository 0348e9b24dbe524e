"""What a car's answers teach: the most that it really takes, and how it slows towards the end.

A charger offers, the car decides. Whoever plans with the rating of the plug plans energy that never comes: 6.6 kW of
battery behind 6.66 kW of pilot, or the last tenth of a charge at a fraction of the power.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from plugcast.schedule.problem import Taper

BELOW_OFFER: Final = 0.97
"""A car that draws less than this share of its offer sets its own limit."""
KEPT: Final = 8
"""Answers that are remembered."""
FALLING: Final = 0.93
"""A share of its own maximum below which a car that limits itself is slowing down."""
TO_FIT: Final = 2
"""Answers that a straight line needs."""
LEFT_OPEN: Final = 0.02
"""Share of its rating that a tapering car may always be offered."""
LONGEST_H: Final = 6.0
"""A slower end than this is a car with a lower maximum, not a taper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What has been learnt of one car in its stay.

    >>> seen = Response().saw(offered_kw=7.4, drawn_kw=6.6, delivered_kwh=1.6)
    >>> seen.most_kw(7.4)
    6.6
    >>> for delivered, drawn in ((8.0, 6.0), (9.5, 4.5), (10.6, 3.4)):
    ...     seen = seen.saw(offered_kw=7.4, drawn_kw=drawn, delivered_kwh=delivered)
    >>> slow = seen.taper(10.6)
    >>> round(slow.full_kwh, 2), round(slow.time_h, 2)
    (3.4, 1.0)
    """

    answers: tuple[tuple[float, float], ...] = ()
    """Energy delivered and power drawn, of answers in which the car set the limit."""
    highest_kw: float = 0.0
    """Ever drawn."""
    below: float = BELOW_OFFER
    """A share of its offer below which a car sets its own limit; nearer to 1 where the meter is exact."""

    def saw(self, *, offered_kw: float, drawn_kw: float, delivered_kwh: float) -> Response:
        """After one more answer: mean powers over some minutes, and the energy delivered by their end."""
        highest = max(self.highest_kw, drawn_kw)
        if offered_kw <= 0 or drawn_kw <= 0 or drawn_kw >= self.below * offered_kw:
            return replace(self, highest_kw=highest)
        return replace(self, answers=(*self.answers, (delivered_kwh, drawn_kw))[-KEPT:], highest_kw=highest)

    def most_kw(self, rating_kw: float, *, delivered_kwh: float | None = None, hours: float = 0.25) -> float:
        """The most that the car takes, as far as is known; with ``delivered_kwh`` in the next ``hours``, tapering.

        A car that slows never takes more again: what it takes next also bounds all that follows. A little is left to
        it in any case, for a taper may be misjudged, and only an offer can show that.
        """
        if not self.answers:
            return rating_kw
        most = min(rating_kw, max(self.highest_kw, *(drawn for _, drawn in self.answers)))
        slow = None if delivered_kwh is None else self.taper(delivered_kwh)
        return most if slow is None else min(most, max(slow.most_kw(hours), LEFT_OPEN * rating_kw))

    def taper(self, delivered_kwh: float) -> Taper | None:
        """How it slows from now on, if it does: a straight line of power over energy through its last answers."""
        top = max((drawn for _, drawn in self.answers), default=0.0)
        slowing = [answer for answer in self.answers if answer[1] < FALLING * max(top, self.highest_kw)]
        if len(slowing) < TO_FIT:
            return None
        energy, power = np.array(slowing).T
        if float(np.ptp(energy)) <= 0:
            return None
        slope, level = np.polyfit(energy, power, 1)
        if slope >= -1.0 / LONGEST_H:
            return None
        left = max(float(-level / slope) - delivered_kwh, 0.0)
        return Taper(full_kwh=left, time_h=float(-1.0 / slope))
