"""Session forecasts as they would have been issued: models refitted as time goes, corrections as outcomes come in."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.features.stay_features import column
from plugcast.features.stay_visits import DAY_US
from plugcast.forecast.conformal import Adaptive
from plugcast.forecast.sessions import SessionForecaster, StayQuantiles
from plugcast.forecast.sessions_fit import QUANTILES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plugcast.features.stay_visits import StayBook
    from plugcast.forecast.sessions import Lessons
    from plugcast.forecast.sessions_fit import EnsembleSpec, Quantity

EXPERTS: Final[dict[Quantity, tuple[tuple[str, str], ...]]] = {
    "stay": (("stay_near_q50", "pool_stay_q50"), ("stay_all_q50", "pool_stay_all")),
    "energy": (("energy_near_q50", "pool_energy_q50"), ("energy_all_q50", "pool_energy_all")),
}
"""Beside the model: the kernel-weighted and the plain median, own where there is one, else the site's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """When the models are trained anew."""

    at_us: int
    pooled: bool = True
    """False trains the model of returning drivers alone and keeps the other: it moves slower."""
    going: bool = False


def roll(
    lessons: Sequence[Lessons],
    refits: Sequence[Refit],
    until_us: int,
    spec: EnsembleSpec,
    *,
    on_refit: Callable[[int], None] | None = None,
) -> tuple[list[StayQuantiles], list[StayQuantiles]]:
    """Forecasts at plug-in of every lesson, and as it goes on of every later point, by the newest model of the time.

    Args:
        lessons: One a site; all sites train one model.
        refits: In order of time; the first with the pooled model.
        until_us: Sessions that arrive from here on are left out.
        spec: Size of the models.
        on_refit: Told the number of each refit.

    Returns:
        Two lists with one entry a site: rows as in the lessons (at plug-in) and in ``going``; NaN before the first
        refit and from ``until_us`` on.
    """
    plugged = [_empty(len(part.row)) for part in lessons]
    later = [_empty(len(part.going[0])) for part in lessons]
    model: SessionForecaster | None = None
    for number, refit in enumerate(refits):
        end_us = refits[number + 1].at_us if number + 1 < len(refits) else until_us
        fresh = SessionForecaster.learn(lessons, cut_us=refit.at_us, spec=spec, going=refit.going, pooled=refit.pooled)
        model = _with_kept(fresh, model)
        for part, at_once, going in zip(lessons, plugged, later, strict=True):
            here = (part.arrival_us >= refit.at_us) & (part.arrival_us < min(end_us, until_us))
            _put(at_once, here, model.predict(part.matrix[here]))
            at, matrix = part.going
            if model.going:
                _put(going, here[at], model.predict_going(matrix[here[at]]))
        if on_refit is not None:
            on_refit(number)
    return plugged, later


def adapt(
    book: StayBook, matrix: np.ndarray, raw: np.ndarray, quantity: Quantity, state: Adaptive | None = None
) -> np.ndarray:
    """The raw quantiles, shape (n, 7), corrected by what had become known before each plug-in.

    Args:
        book: The site's sessions, n of them.
        matrix: Their features at plug-in.
        raw: Rows of NaN are passed over.
        quantity: Which of the two.
        state: Where to start, changed in place; a new one by default.
    """
    state = Adaptive() if state is None else state
    outcome = book.stay_h if quantity == "stay" else book.energy_kwh
    experts = expert_medians(matrix, quantity)
    found = np.full_like(raw, np.nan)
    running: list[tuple[int, int]] = []
    for row in np.flatnonzero(~np.isnan(raw[:, 0])).tolist():
        while running and running[0][0] < book.arrival_us[row]:
            done = heappop(running)[1]
            state.learn(*_class(book, done), raw[done], float(outcome[done]), tuple(experts[done].tolist()))
        found[row] = state.adjusted(*_class(book, row), raw[row], tuple(experts[row].tolist()))
        if not np.isnan(outcome[row]):
            # a day after plug-in at the earliest: were short stays heard first, all mornings would look short
            heappush(running, (max(int(book.known_us[row]), int(book.arrival_us[row]) + DAY_US), row))
    return found


def expert_medians(matrix: np.ndarray, quantity: Quantity) -> np.ndarray:
    """Shape (n, 2): the plain forecasts that stand beside the model."""
    pairs = [(column(matrix, own), column(matrix, pooled)) for own, pooled in EXPERTS[quantity]]
    return np.stack([np.where(np.isnan(own), pooled, own) for own, pooled in pairs], axis=1)


def _class(book: StayBook, row: int) -> tuple[str, str | None]:
    user = int(book.user[row])
    return ("known", str(user)) if user >= 0 else ("unknown", None)


def _empty(rows: int) -> StayQuantiles:
    shape = (rows, len(QUANTILES))
    return StayQuantiles(stay_h=np.full(shape, np.nan), energy_kwh=np.full(shape, np.nan), own=np.zeros(rows, bool))


def _put(whole: StayQuantiles, where: np.ndarray, part: StayQuantiles) -> None:
    whole.stay_h[where], whole.energy_kwh[where], whole.own[where] = part.stay_h, part.energy_kwh, part.own


def _with_kept(fresh: SessionForecaster, old: SessionForecaster | None) -> SessionForecaster:
    """The fresh models, with the old ones where the refit made none."""
    if old is None:
        return fresh
    return SessionForecaster(pooled=fresh.pooled or old.pooled, own=fresh.own, going=fresh.going or old.going)
