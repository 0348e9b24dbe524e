"""What would the forecasts have been worth? Rolling origins, each with nothing but what was known by then.

A model is fitted on a ``Window``, which holds the samples that were available at its origin and cannot be asked for
more. It then forecasts from every sample of its fold; ``audit`` repeats some of these forecasts from windows cut at
those very samples, and refuses a model whose answer depended on what came later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import polars as pl

from plugcast.errors import LeakageError, NoUsableRowsError
from plugcast.features.gaps import accept_in_order
from plugcast.features.targets import outcomes
from plugcast.forecast.panel import Panel, panel
from plugcast.forecast.split import thin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from plugcast.features.spec import FeatureSpec
    from plugcast.forecast.folds import Fold

LEADS_MIN: Final = (15.0, 60.0, 180.0, 360.0, 720.0, 1440.0, 2880.0)
MOST_ROWS: Final = 20_000
"""Origins scored at each lead, evenly spaced."""
AUDITED: Final = 4
"""Origins forecast again from a window of their own."""
ALIKE: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """For some origins and leads; every array has shape (m,). Energies are None where a model has none."""

    plug_probability: np.ndarray
    energy_low_pct: np.ndarray | None = None
    """10 % quantile of energy to full; None for a forecast without spread."""
    energy_median_pct: np.ndarray | None = None
    energy_high_pct: np.ndarray | None = None

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Those that are there, in order."""
        every = (self.plug_probability, self.energy_low_pct, self.energy_median_pct, self.energy_high_pct)
        return tuple(each for each in every if each is not None)


class Forecaster(Protocol):
    """A fitted model."""

    def forecast(self, known: Panel, row: np.ndarray, lead_min: np.ndarray) -> Forecast:
        """From each origin (a row of the panel) its lead ahead, using rows up to the origin alone."""
        ...


class Contender(Protocol):
    """A recipe that can be fitted on whatever was known at an origin."""

    @property
    def name(self) -> str:
        """Its name in tables."""
        ...

    def fit(self, window: Window) -> Forecaster:
        """Learn from the window."""
        ...


class Window:
    """The samples that were known at an origin. It never holds others, so nothing behind it can look ahead.

    Args:
        samples: ``schemas.TELEMETRY``; rows that became available after the origin are left out here and now.
        origin_at: Inclusive.
        spec: Features for ``panel``.
        hidden: Assets that a fitted model must not have seen.

    >>> import polars as pl
    >>> from datetime import UTC, datetime, timedelta
    >>> from plugcast.features.spec import FeatureSpec
    >>> noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    >>> known = Window(pl.DataFrame({"asset_id": "a", "available_at": [noon, noon + timedelta(hours=1)]}), noon,
    ...                FeatureSpec())
    >>> known.samples.height
    1
    >>> known.until(noon + timedelta(hours=1))
    Traceback (most recent call last):
    plugcast.errors.LeakageError: Wanted samples known at ...
    """

    __slots__ = ("_panel", "origin_at", "samples", "spec")

    def __init__(
        self, samples: pl.DataFrame, origin_at: datetime, spec: FeatureSpec, *, hidden: frozenset[str] = frozenset()
    ) -> None:
        kept = pl.col("available_at") <= origin_at
        if hidden:
            kept &= ~pl.col("asset_id").is_in(sorted(hidden))
        self.samples = samples.filter(kept)
        self.origin_at = origin_at
        self.spec = spec
        self._panel: Panel | None = None

    def until(self, at: datetime) -> Window:
        """What was known even earlier.

        Raises:
            LeakageError: ``at`` is past the origin.
        """
        if at > self.origin_at:
            raise LeakageError(
                f"Wanted samples known at {at.isoformat()}; this window ends at {self.origin_at.isoformat()}. "
                "A model may look back from its origin, never ahead."
            )
        return Window(self.samples, at, self.spec)

    def panel(self) -> Panel:
        """The window as a panel, built once.

        Raises:
            NoUsableRowsError: Nothing was known yet.
        """
        if self.samples.is_empty():
            raise NoUsableRowsError(
                f"Nothing was known at {self.origin_at.isoformat()}: there is nothing to learn from. "
                "Give a later date or a longer file."
            )
        if self._panel is None:
            self._panel = panel(self.samples, self.spec)
        return self._panel


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What was forecast at one lead, and what came. Arrays of shape (m,)."""

    lead_min: float
    row: np.ndarray
    """Origins in the panel."""
    fold: np.ndarray
    asset: np.ndarray
    timestamp_us: np.ndarray
    plugged: np.ndarray
    """0 or 1 at origin + lead."""
    energy_pct: np.ndarray
    """Energy to full at origin + lead, NaN where unknown there or at the origin."""
    forecasts: dict[str, Forecast]
    """By contender."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """Everything that was forecast, by lead, and what it was forecast with."""

    panel: Panel
    folds: tuple[Fold, ...]
    leads: tuple[Scored, ...]
    fitted: tuple[dict[str, Forecaster], ...] = field(repr=False)
    """Of each fold, by contender."""
    audited: int
    """Origins whose forecasts were repeated from a window of their own, and agreed."""
    fit_rows: tuple[int, ...]
    """Samples that each fold's models could learn from."""


def run(
    samples: pl.DataFrame,
    spec: FeatureSpec,
    folds: Sequence[Fold],
    contenders: Sequence[Contender],
    *,
    leads_min: Sequence[float] = LEADS_MIN,
    tolerance_min: float = 7.5,
    most_rows: int = MOST_ROWS,
    audited: int = AUDITED,
    say: Callable[[str], None] = lambda _: None,
) -> Backtest:
    """Fit at each fold's origin, forecast from the fold's samples, and keep what came.

    A model is fitted anew only where the origin or the hidden assets change.

    Args:
        samples: ``schemas.TELEMETRY``.
        spec: Features.
        folds: Where to fit and where to test (``forecast.folds``).
        contenders: Recipes, the model first; all are scored on the same rows.
        leads_min: Minutes ahead.
        tolerance_min: How far an outcome may lie from origin + lead.
        most_rows: Origins scored at each lead at most, over all folds.
        audited: Origins to forecast again from a window of their own.
        say: Told what is being done.

    Raises:
        NoUsableRowsError: There is nothing to learn from, or nothing to test.
        LeakageError: A forecast changed with what came after its origin.
    """
    known = panel(samples, spec)
    available_us = accept_in_order(samples)[0]["available_at"].to_physical().to_numpy()
    fitted: list[dict[str, Forecaster]] = []
    fit_rows: list[int] = []
    for number, fold in enumerate(folds):
        if number and fold.learns_like(folds[number - 1]):
            fitted.append(fitted[-1])
            fit_rows.append(fit_rows[-1])
            continue
        say(f"fold {number + 1} of {len(folds)}: learning from what was known at {fold.origin_at:%Y-%m-%d %H:%M} UTC")
        window = Window(samples, fold.origin_at, spec, hidden=fold.hidden)
        fitted.append({each.name: each.fit(window) for each in contenders})
        fit_rows.append(window.samples.height)
    say("forecasting")
    most = -(-most_rows // len(folds))
    origins = [np.flatnonzero(_tested(known, available_us, fold)) for fold in folds]
    leads = tuple(_score(known, origins, fitted, lead, tolerance_min=tolerance_min, most=most) for lead in leads_min)
    leads = tuple(each for each in leads if len(each.row))
    if not leads:
        raise NoUsableRowsError(
            f"No sample of the test part ({folds[0].start_at:%Y-%m-%d} to {folds[-1].end_at:%Y-%m-%d}) has an outcome "
            f"at any of the leads. Give a longer or denser file."
        )
    say("repeating some forecasts from windows of their own")
    times = audit(
        samples, known, available_us, list(zip(origins, fitted, strict=True)), leads_min=leads_min, wanted=audited
    )
    return Backtest(
        panel=known, folds=tuple(folds), leads=leads, fitted=tuple(fitted), audited=times, fit_rows=tuple(fit_rows)
    )


def _tested(known: Panel, available_us: np.ndarray, fold: Fold) -> np.ndarray:
    """Bool per row: an origin of the fold."""
    inside = (available_us >= _us(fold.start_at)) & (available_us < _us(fold.end_at))
    if fold.tested is None:
        return np.asarray(inside)
    chosen = np.array([name in fold.tested for name in known.asset_ids])
    return np.asarray(inside & chosen[known.asset])


def _score(
    known: Panel,
    origins: Sequence[np.ndarray],
    fitted: Sequence[Mapping[str, Forecaster]],
    lead: float,
    *,
    tolerance_min: float,
    most: int,
) -> Scored:
    """All folds at one lead."""
    rows, landed, folds = [], [], []
    forecasts: dict[str, list[Forecast]] = {name: [] for name in fitted[0]}
    for number, (origin, models) in enumerate(zip(origins, fitted, strict=True)):
        found = outcomes(known.asset, known.timestamp_us, known.segment, origin, lead, tolerance_min=tolerance_min)
        place = thin(np.flatnonzero(found.found), most)
        if len(place) == 0:
            continue
        row = origin[place]
        rows.append(row)
        landed.append(found.row[place])
        folds.append(np.full(len(row), number))
        for name, model in models.items():
            forecasts[name].append(model.forecast(known, row, np.full(len(row), lead)))
    nothing = np.zeros(0, np.int64)
    row, outcome = (np.concatenate(each) if each else nothing for each in (rows, landed))
    energy = 100.0 - known.soc[outcome]
    return Scored(
        lead_min=lead,
        row=row,
        fold=np.concatenate(folds) if folds else nothing,
        asset=known.asset[row],
        timestamp_us=known.timestamp_us[row],
        plugged=known.is_plugged_in[outcome].astype(float),
        energy_pct=np.where(np.isnan(known.soc[row]), np.nan, energy),
        forecasts={name: _joined(parts) for name, parts in forecasts.items() if parts},
    )


def _joined(parts: Sequence[Forecast]) -> Forecast:
    """One after the other; an energy that any part lacks is lacking."""

    def column(name: str) -> np.ndarray | None:
        arrays = [getattr(part, name) for part in parts]
        return None if any(each is None for each in arrays) else np.concatenate(arrays)

    return Forecast(
        plug_probability=np.concatenate([part.plug_probability for part in parts]),
        energy_low_pct=column("energy_low_pct"),
        energy_median_pct=column("energy_median_pct"),
        energy_high_pct=column("energy_high_pct"),
    )


def audit(
    samples: pl.DataFrame,
    known: Panel,
    available_us: np.ndarray,
    folds: Sequence[tuple[np.ndarray, Mapping[str, Forecaster]]],
    *,
    leads_min: Sequence[float],
    wanted: int,
) -> int:
    """Forecast some origins again from a window that ends at the origin; the answers must be the same.

    Args:
        samples: All of them.
        known: Their panel.
        available_us: When each row of the panel became known.
        folds: Origins and fitted models of each fold.
        leads_min: Minutes ahead.
        wanted: How many origins, evenly spread over the folds.

    Returns:
        How many were repeated.

    Raises:
        LeakageError: An answer differs: the model's forecast used rows past its origin.
    """
    every = [(row, models) for origin, models in folds for row in thin(origin, max(1, wanted // len(folds)))]
    lead = np.array(leads_min, dtype=float)
    for row, models in every[:wanted]:
        origin_at = pl.Series([available_us[row]]).cast(pl.Datetime("us", "UTC")).item()
        narrow = Window(samples, origin_at, known.spec).panel()
        asset = narrow.asset_ids.index(known.asset_ids[known.asset[row]])
        same = np.flatnonzero((narrow.asset == asset) & (narrow.timestamp_us == known.timestamp_us[row]))
        for name, model in models.items():
            wide = model.forecast(known, np.full(len(lead), row), lead)
            again = model.forecast(narrow, np.full(len(lead), same[0]), lead)
            for here, there in zip(wide.arrays(), again.arrays(), strict=True):
                if not np.allclose(here, there, rtol=0, atol=ALIKE, equal_nan=True):
                    raise LeakageError(
                        f"{name}: the forecast of {known.asset_ids[known.asset[row]]} issued at "
                        f"{origin_at.isoformat()} changed by up to {np.nanmax(np.abs(here - there)):.3g} when what "
                        "came later was taken away. Its figures would be worth nothing; look for a feature that "
                        "reads past its origin."
                    )
    return min(wanted, len(every))


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1e6)
