"""A site's controller between two looks: the model kept warm, the month's peak, and what each car has taught.

``RecedingHorizon`` is pure and says how a step is decided; this holds what one step hands to the next, and says when
the next is due. The instant comes in with every call.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plugcast.domain.units import MAX_SITE_VALUE
from plugcast.schedule.live import LiveModel
from plugcast.schedule.mpc import Decision, HorizonState, Policy, PresentCar, RecedingHorizon
from plugcast.schedule.response import Response

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from plugcast.schedule.mpc import Future
    from plugcast.schedule.problem import VehicleNeed
    from plugcast.schedule.window import SiteWindow

REPLAN_MIN: Final = 15.0
_MOVED_MIN: Final = 5.0
"""Minutes by which an expected departure must have moved to be an event."""
_MOVED_KWH: Final = 0.5
_MOVED_KW: Final = 0.5


class Controller:
    """One site under control; not for use by two threads at once."""

    def __init__(
        self, spec: RecedingHorizon | None = None, *, replan_min: float = REPLAN_MIN, unknown: Response | None = None
    ) -> None:
        self.spec = spec or RecedingHorizon()
        self.replan_min = replan_min
        self.state = HorizonState()
        self.live = LiveModel()
        self.unknown = unknown or Response()
        """What is known of a car that has not answered yet."""
        self.rejected_readings = 0
        """Readings that are no numbers, or absurd ones: nothing is learnt from them."""
        self._responses: dict[str, Response] = {}
        self._decided_at: datetime | None = None
        self._known: dict[str, PresentCar] = {}
        self._limit_kw = float("nan")

    def seen(self, at: datetime, grid_import_kw: float, time_zone: str) -> None:
        """What the site drew in a slot that is over: raises the month's peak."""
        if not self._sound(grid_import_kw):
            return
        self.state = self.state.seen(at, grid_import_kw, time_zone)

    def responded(self, session_id: str, *, offered_kw: float, drawn_kw: float, delivered_kwh: float) -> None:
        """How a car answered an offer: mean powers since the last answer, and all energy delivered to it."""
        if not self._sound(offered_kw, drawn_kw, delivered_kwh):
            return
        before = self._responses.get(session_id, self.unknown)
        self._responses[session_id] = before.saw(offered_kw=offered_kw, drawn_kw=drawn_kw, delivered_kwh=delivered_kwh)

    def _sound(self, *readings: float) -> bool:
        good = all(abs(reading) <= MAX_SITE_VALUE for reading in readings)  # NaN is not
        self.rejected_readings += not good
        return good

    def response(self, session_id: str) -> Response:
        """What has been learnt of a car."""
        return self._responses.get(session_id, self.unknown)

    def due(self, now: datetime, cars: Sequence[PresentCar], window: SiteWindow) -> str:
        """Why to plan again now, or the empty string: the first time, time passed, or something happened."""
        if self._decided_at is None:
            return "nothing is planned yet"
        if now - self._decided_at >= timedelta(minutes=self.replan_min):
            return f"{self.replan_min:g} minutes have passed"
        limit = float(window.limit_kw[0])
        if limit != self._limit_kw:
            return f"the limit is {limit:g} kW now"
        present = {car.session_id for car in cars}
        gone = sorted(set(self._known) - present)
        if gone:
            return f"{gone[0]} has left"
        return next((event for car in cars if (event := self._event(car))), "")

    def _event(self, car: PresentCar) -> str:
        before = self._known.get(car.session_id)
        if before is None:
            return f"{car.session_id} has come"
        if car.done and not before.done:
            return f"{car.session_id} is full"
        moved = abs((car.departure_expected_at - before.departure_expected_at).total_seconds()) / 60.0
        if moved > _MOVED_MIN:
            return f"{car.session_id} is expected to leave at another time"
        if abs(car.energy_expected_kwh - before.energy_expected_kwh) > _MOVED_KWH:
            return f"{car.session_id} is expected to want another energy"
        learnt = self.response(car.session_id).most_kw(car.max_power_kw)
        if learnt < before.response.most_kw(before.max_power_kw) - _MOVED_KW:
            return f"{car.session_id} takes no more than {learnt:.1f} kW"
        return ""

    def decide(
        self,
        now: datetime,
        cars: Sequence[PresentCar],
        window: SiteWindow,
        *,
        coming: Sequence[VehicleNeed] = (),
        futures: Sequence[Future] = (),
        drawn_kw: float = 0.0,
    ) -> Decision:
        """Plan anew; arguments as for ``RecedingHorizon.decide``. Give a window as long as the horizon to keep warm."""
        known = [replace(car, response=self.response(car.session_id)) for car in cars]
        self._responses = {
            car.session_id: self._responses[car.session_id] for car in cars if car.session_id in self._responses
        }
        self._known = {car.session_id: car for car in known}
        self._decided_at, self._limit_kw = now, float(window.limit_kw[0])
        warm = self.live if self.spec.policy is Policy.LP and window.slots >= self.spec.horizon_slots else None
        return self.spec.decide(
            self.state, now, known, window, coming=coming, futures=futures, drawn_kw=drawn_kw, live=warm
        )
