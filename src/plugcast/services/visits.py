"""Backtest of visits: when would each car have left, with how much, as known at its plug-in, beside plain medians."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.errors import NoUsableRowsError
from plugcast.features.stay_features import column
from plugcast.features.stay_visits import DAY_US, StayBook
from plugcast.forecast import session_scores
from plugcast.forecast.sessions import QUANTITIES, Lessons
from plugcast.forecast.sessions_fit import EnsembleSpec
from plugcast.forecast.sessions_roll import Refit, adapt, roll
from plugcast.schemas import USER_INPUTS, empty

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from plugcast.forecast.sessions_fit import Quantity

GRACE: Final = timedelta(minutes=5)
"""How long after plug-in a forecast waits for the driver's first declaration."""
WARM_SHARE, TEST_SHARE = 0.15, 0.25
"""Parts of the visits: the corrections learn in the first, the second is scored."""
FEWEST: Final = 150
SPEC: Final = EnsembleSpec(rounds=120, seeds=1, leaves=15, learning_rate=0.1)
UNITS: Final[dict[Quantity, str]] = {"stay": "h", "energy": "kWh"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitsPlan:
    """How to test."""

    time_zone: str
    folds: int = 3
    """Models are fitted anew at the start of each part of the test time."""
    spec: EnsembleSpec = SPEC


def backtest_visits(
    sessions: pl.DataFrame,
    user_inputs: pl.DataFrame | None,
    plan: VisitsPlan,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Forecast the last quarter of the visits from what was known at its plug-in, and score it.

    Args:
        sessions: ``schemas.SESSIONS`` of one site.
        user_inputs: ``schemas.USER_INPUTS``; where there are any, drivers are known from them alone.
        plan: How.
        say: Told what is being done.

    Returns:
        ``sessions``, ``tested_from``, ``tested_until``, ``fitted`` and a list ``groups``: one for each quantity and
        for all, known, new and unidentified drivers, with the model's and the baselines' errors on the same rows.

    Raises:
        NoUsableRowsError: Too few visits are complete.
    """
    told = user_inputs is not None and not user_inputs.is_empty()
    book = StayBook.of(
        sessions,
        user_inputs if told and user_inputs is not None else empty(USER_INPUTS),
        time_zone=plan.time_zone,
        grace=GRACE,
        identified="by_declaration" if told else "at_plug_in",
    )
    complete = np.flatnonzero(~np.isnan(book.stay_h) & ~np.isnan(book.energy_kwh))
    if len(complete) < FEWEST:
        raise NoUsableRowsError(
            f"Wanted at least {FEWEST} complete visits to learn from and to test; found {len(complete)}. "
            "Give a longer file."
        )
    say("reading what was known at each plug-in")
    lessons = Lessons.of(book, complete, going=False)
    first, last = int(lessons.arrival_us.min()), int(lessons.arrival_us.max()) + 1
    # by the number of visits, not by the calendar: a site may close for months
    shares = [1 - TEST_SHARE - WARM_SHARE, *np.linspace(1 - TEST_SHARE, 1, plan.folds + 1)[:-1]]
    starts = [int(at) for at in np.quantile(lessons.arrival_us, shares)]
    refits, test_us = [Refit(at_us=at) for at in starts], starts[1]
    found, _ = roll(
        [lessons], refits, last, plan.spec, on_refit=lambda number: say(f"fitted {number + 1} of {len(refits)} times")
    )
    tested = (lessons.arrival_us >= test_us) & ~np.isnan(found[0].stay_h[:, 0])
    groups = []
    for quantity in QUANTITIES:
        raw = found[0].stay_h if quantity == "stay" else found[0].energy_kwh
        groups += _groups(book, lessons, _adapted(book, lessons, raw, quantity), quantity, tested)
    return {
        "sessions": len(complete),
        "days": round((last - first) / DAY_US, 1),
        "tested_from": str(np.datetime64(test_us, "us")) + "Z",
        "tested_until": str(np.datetime64(last, "us")) + "Z",
        "fitted": len(refits),
        "groups": groups,
    }


def _groups(
    book: StayBook, lessons: Lessons, quantiles: np.ndarray, quantity: Quantity, tested: np.ndarray
) -> list[dict[str, Any]]:
    outcome = lessons.stay_h if quantity == "stay" else lessons.energy_kwh
    identified = column(lessons.matrix, "identified") > 0
    parts = {
        "all": tested,
        "known": tested & lessons.own,
        "new": tested & identified & ~lessons.own,
        "unidentified": tested & ~identified,
    }
    return [
        {"drivers": name, "quantity": quantity, "unit": UNITS[quantity]}
        | session_scores.table(
            quantiles[rows],
            outcome[rows],
            session_scores.baselines(lessons.matrix[rows], quantity),
            driver=book.user[lessons.row[rows]],
            arrival_us=lessons.arrival_us[rows],
        )
        for name, rows in parts.items()
        if rows.any()
    ]


def _adapted(book: StayBook, lessons: Lessons, raw: np.ndarray, quantity: Quantity) -> np.ndarray:
    """The same with every level moved by the errors that were known before each plug-in."""
    whole = np.full((book.rows, raw.shape[1]), np.nan)
    matrix = np.full((book.rows, lessons.matrix.shape[1]), np.nan, np.float32)
    whole[lessons.row], matrix[lessons.row] = raw, lessons.matrix
    return np.asarray(adapt(book, matrix, whole, quantity)[lessons.row])
