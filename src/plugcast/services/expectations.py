"""What is expected of each car at plug-in: by the learned model where the past shows that it serves, else kernels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.features.online import micros
from plugcast.features.spec import FeatureSpec
from plugcast.features.stay_visits import StayBook
from plugcast.forecast import scores, stays
from plugcast.forecast.sessions import Lessons, SessionForecaster
from plugcast.forecast.sessions_fit import QUANTILES, EnsembleSpec
from plugcast.schemas import USER_INPUTS, empty

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import polars as pl

FEWEST_PAST: Final = 300
"""Completed sessions below which nothing is learned."""
TRIAL_SHARE: Final = 0.25
"""The newest part of the past, on which model and kernels are compared before either is trusted."""
GRACE: Final = timedelta(minutes=5)
SMALL: Final = EnsembleSpec(rounds=120, seeds=1, leaves=15, learning_rate=0.1)
_SHARED: Final = [QUANTILES.index(level) for level in stays.LEVELS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Forecasts by session and where they come from."""

    forecasts: Mapping[str, stays.StayForecast]
    method: str
    """``learned`` or ``kernel``."""


def expect_all(
    sessions: pl.DataFrame,
    session_ids: Sequence[str],
    *,
    cut_at: datetime,
    time_zone: str,
    user_inputs: pl.DataFrame | None = None,
) -> Expected:
    """Quantiles at ``stays.LEVELS`` for each session, from what was known at its plug-in.

    Args:
        sessions: ``schemas.SESSIONS`` of one site.
        session_ids: Those that are asked for; the model is trained before ``cut_at``, their histories grow on.
        cut_at: Where training ends.
        time_zone: The site's.
        user_inputs: ``schemas.USER_INPUTS``. Where there are any, drivers are known from them alone: a finished record
            names its driver too late.
    """
    told = user_inputs is not None and not user_inputs.is_empty()
    book = StayBook.of(
        sessions,
        user_inputs if told and user_inputs is not None else empty(USER_INPUTS),
        time_zone=time_zone,
        grace=GRACE,
        identified="by_declaration" if told else "at_plug_in",
    )
    spec = FeatureSpec(time_zone=time_zone)
    place = {session_id: row for row, session_id in enumerate(book.session_id)}
    row = np.array([place[session_id] for session_id in session_ids], np.int64)
    past = np.flatnonzero(book.known_us < micros(cut_at))
    if len(past) >= FEWEST_PAST and len(row) and _learned_serves(book, past, spec):
        forecasts = _learned(SessionForecaster.fit([book], cut_at=cut_at, spec=SMALL, going=False), book, row)
        return Expected(forecasts=dict(zip(session_ids, forecasts, strict=True)), method="learned")
    return Expected(forecasts=dict(zip(session_ids, _kernel(book, row, spec), strict=True)), method="kernel")


def _learned_serves(book: StayBook, past: np.ndarray, spec: FeatureSpec) -> bool:
    """Whether the model beat the kernels on the newest quarter of the past, in stay and in energy."""
    trial = past[np.argsort(book.arrival_us[past], kind="stable")][-max(1, int(len(past) * TRIAL_SHARE)) :]
    start_us = int(book.arrival_us[trial].min())
    before = past[book.known_us[past] < start_us]
    if len(before) < FEWEST_PAST // 2:
        return False
    lessons = Lessons.of(book, before, going=False)
    model = SessionForecaster.learn([lessons], cut_us=start_us, spec=SMALL, going=False)
    rivals = (_learned(model, book, trial), _kernel(book, trial, spec))
    stay, energy = ([_loss(made, book, trial, quantity) for made in rivals] for quantity in ("stay", "energy"))
    return stay[0] < stay[1] and energy[0] < energy[1]


def _loss(made: Sequence[stays.StayForecast], book: StayBook, row: np.ndarray, quantity: str) -> float:
    """Mean pinball loss over the levels."""
    stay = quantity == "stay"
    found = np.stack([one.stay_h if stay else one.energy_kwh for one in made])
    truth = (book.stay_h if stay else book.energy_kwh)[row]
    known = ~np.isnan(found[:, 0])
    losses = [scores.pinball(found[known, place], truth[known], level) for place, level in enumerate(stays.LEVELS)]
    return float(np.mean(losses))


def _learned(model: SessionForecaster, book: StayBook, row: np.ndarray) -> list[stays.StayForecast]:
    found = model.at_plug_in(book, row)
    known = np.searchsorted(np.sort(book.past.known_us), book.arrival_us[row], side="left")
    return [
        stays.StayForecast(stay_h=stay[_SHARED], energy_kwh=energy[_SHARED], comparable=int(count))
        for stay, energy, count in zip(found.stay_h, found.energy_kwh, known.tolist(), strict=True)
    ]


def _kernel(book: StayBook, row: np.ndarray, spec: FeatureSpec) -> list[stays.StayForecast]:
    return [stays.expect(book.past, int(book.arrival_us[index]), int(book.user[index]), spec) for index in row.tolist()]
