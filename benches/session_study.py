"""The two sites, what is learnt from them, and the forecasts as they would have been issued."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
from benches.registry import note

from plugcast.features.stay_visits import DAY_US
from plugcast.forecast import session_scores
from plugcast.forecast.sessions import QUANTITIES, Lessons
from plugcast.forecast.sessions_roll import Refit, adapt, roll

if TYPE_CHECKING:
    from benches.session_sets import Site

    from plugcast.forecast.sessions_fit import EnsembleSpec, Quantity

WEEK_US: Final = 7 * DAY_US
WARM_FROM, TEST_FROM, TEST_TO, LAST = (
    int(datetime(*day, 8, tzinfo=UTC).timestamp() * 1e6)
    for day in ((2019, 6, 10), (2019, 9, 1), (2020, 1, 1), (2020, 12, 1))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Studied:
    """A site, its rows to learn from, and what was forecast for them."""

    site: Site
    lessons: Lessons
    found: dict[Quantity, np.ndarray]
    """By quantity: quantiles at plug-in, corrected."""

    def outcome(self, quantity: Quantity) -> np.ndarray:
        """What came, by lesson."""
        return self.lessons.stay_h if quantity == "stay" else self.lessons.energy_kwh

    def baselines(self, quantity: Quantity, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """The baselines' forecasts for the chosen lessons."""
        return session_scores.baselines(self.lessons.matrix[chosen], quantity)


def lessons_of(site: Site, *, small: bool) -> Lessons:
    """Every completed session; small takes the weeks around the start of the test."""
    book = site.book
    first = TEST_FROM - 4 * WEEK_US if small else 0
    complete = (book.known_us < LAST) & (book.arrival_us >= first)
    last = (book.arrival_us < TEST_FROM + WEEK_US) if small else np.ones(book.rows, bool)
    return Lessons.of(book, np.flatnonzero(complete & last))


def forecast(sites: list[Site], lessons: list[Lessons], spec: EnsembleSpec, *, small: bool) -> list[Studied]:
    """Refits before, in and after the test; small makes one, and forecasts a week."""
    if small:
        refits, until = [Refit(at_us=TEST_FROM)], TEST_FROM + WEEK_US
    else:
        warm = [Refit(at_us=at) for at in range(WARM_FROM, TEST_FROM - WEEK_US, 4 * WEEK_US)]
        weeks = range(TEST_FROM, TEST_TO - WEEK_US, 2 * WEEK_US)
        test = [Refit(at_us=at, pooled=number % 2 == 0) for number, at in enumerate(weeks)]
        after = [Refit(at_us=at) for at in range(TEST_TO, LAST, 24 * WEEK_US)]
        refits, until = [*warm, *test, *after], LAST
    plugged, _ = roll(lessons, refits, until, spec, on_refit=lambda number: note(f"  refit {number + 1}/{len(refits)}"))
    made = []
    for site, part, raw in zip(sites, lessons, plugged, strict=True):
        found = {q: _adapted(site, part, raw.stay_h if q == "stay" else raw.energy_kwh, q) for q in QUANTITIES}
        made.append(Studied(site=site, lessons=part, found=found))
    return made


def _adapted(site: Site, part: Lessons, raw: np.ndarray, quantity: Quantity) -> np.ndarray:
    whole = np.full((site.book.rows, raw.shape[1]), np.nan)
    matrix = np.full((site.book.rows, part.matrix.shape[1]), np.nan, np.float32)
    whole[part.row], matrix[part.row] = raw, part.matrix
    return np.asarray(adapt(site.book, matrix, whole, quantity)[part.row])


def tested(part: Studied) -> np.ndarray:
    """Lessons of the test part."""
    lessons = part.lessons
    forecast = ~np.isnan(part.found["stay"][:, 0])
    return np.asarray(forecast & (lessons.arrival_us >= TEST_FROM) & (lessons.arrival_us < TEST_TO))
