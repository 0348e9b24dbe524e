"""One model for every lead from 15 minutes to 48 hours.

The plug state has small models at anchor leads (``availability``); the energy has trees with the lead as an input,
whose training leads are drawn log-uniformly, so that short ones, where most decisions are made, weigh most. The last
part of the training time is kept for calibration: stretched odds for the probability, conformal widening for the
quantiles.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.errors import NoUsableRowsError
from plugcast.features.targets import outcomes
from plugcast.forecast import scores
from plugcast.forecast.availability import (
    ANCHORS_MIN,
    TREES,
    Anchor,
    Availability,
    AvailabilitySpec,
    Blend,
    basis,
    fit_anchor,
)
from plugcast.forecast.baselines import Climatology, persistence
from plugcast.forecast.boosting import Boosting, Trees
from plugcast.forecast.calibrate import Widening
from plugcast.forecast.lead_knots import Between, knots
from plugcast.forecast.linear import log_odds, probability
from plugcast.forecast.panel import plug_matrix
from plugcast.forecast.split import Split, by_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugcast.forecast.panel import Panel

LEVELS: Final = (0.1, 0.5, 0.9)
COVERAGE: Final = 0.8
LEADS_MIN: Final = (15, 60, 180, 360, 720, 1440, 2880)
"""Leads at which quality is reported."""
FEWEST_ROWS: Final = 200
LONGEST_MIN: Final = 2880


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonSpec:
    """What to train."""

    tolerance_min: float = 7.5
    test_share: float = 0.2
    unseen_share: float = 0.0
    calibration_share: float = 0.2
    """Last part of the training time, not trained on."""
    leads_per_origin: int = 3
    max_rows: int = 150_000
    seed: int = 42
    anchors_min: tuple[int, ...] = ANCHORS_MIN
    anchor_rows: int = 12_000
    """Training rows of each anchor."""
    plug: AvailabilitySpec = field(default_factory=lambda: AvailabilitySpec(trees=replace(TREES, bins=63)))
    boosting: Boosting = field(default_factory=lambda: Boosting(rounds=150))
    """Of the energy's trees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Forecasts for some origins and leads; every array has shape (m,). Energy is None for assets without charge."""

    plug_probability: np.ndarray
    basis: np.ndarray
    """``own history`` or ``pooled``: an asset (nearly) new is forecast from all the others."""
    energy_low_pct: np.ndarray | None
    energy_median_pct: np.ndarray | None
    energy_high_pct: np.ndarray | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonModel:
    """Calibrated plug probability and energy-to-full quantiles at any lead."""

    plug: Availability
    energy: tuple[Trees, ...]
    """One for each of LEVELS; empty where no state of charge was seen."""
    energy_widening: Widening | None

    def expect(self, panel: Panel, row: np.ndarray, lead_min: np.ndarray | float) -> Expectation:
        """What was to be expected at origin + lead, from what was known at each origin."""
        lead = np.broadcast_to(np.asarray(lead_min, np.float64), row.shape)
        inputs = plug_matrix(panel, row, lead)
        return self._stated(
            panel,
            row,
            lead,
            chance=self.plug.probability(inputs, lead),
            change=self._change(panel, inputs),
            rests_on=basis(inputs),
        )

    def expect_paths(self, panel: Panel, row: np.ndarray, lead_min: np.ndarray) -> Expectation:
        """The same for every origin at each of some increasing leads, origin by origin; shape (len(row) * len(lead),).

        Trees are asked at ``knots`` of the leads; in between, log-odds and energy are interpolated.
        """
        lead_min = np.asarray(lead_min, np.float64)
        knot, many = knots(lead_min), (len(row), len(lead_min))
        asked_row, asked_lead = np.repeat(row, len(knot)), np.tile(lead_min[knot], len(row))
        inputs = plug_matrix(panel, asked_row, asked_lead)
        between = Between.of(lead_min[knot], lead_min)
        odds = log_odds(self.plug.probability(inputs, asked_lead), floor=1e-6)
        change = self._change(panel, inputs)
        rests_on = np.repeat(basis(inputs).reshape(-1, len(knot))[:, 0], many[1])
        return self._stated(
            panel,
            np.repeat(row, many[1]),
            np.tile(lead_min, many[0]),
            chance=probability(between.apply(odds)),
            change=None if change is None else np.array([between.apply(each) for each in change]),
            rests_on=rests_on,
        )

    def _change(self, panel: Panel, inputs: np.ndarray) -> np.ndarray | None:
        """Quantiles of the change of energy to full; shape (levels, m)."""
        if not self.energy or self.energy_widening is None:
            return None
        matrix = np.ascontiguousarray(inputs[:, -len(panel.columns) :])
        return np.sort([np.asarray(booster.predict(matrix, num_threads=1)) for booster in self.energy], axis=0)

    def _stated(
        self,
        panel: Panel,
        row: np.ndarray,
        lead: np.ndarray,
        *,
        chance: np.ndarray,
        change: np.ndarray | None,
        rests_on: np.ndarray,
    ) -> Expectation:
        if change is None or self.energy_widening is None:
            return Expectation(
                plug_probability=chance,
                basis=rests_on,
                energy_low_pct=None,
                energy_median_pct=None,
                energy_high_pct=None,
            )
        low, median, high = 100.0 - panel.soc[row] + change
        wider = self.energy_widening.at(lead)
        return Expectation(
            plug_probability=chance,
            basis=rests_on,
            energy_low_pct=np.clip(np.minimum(low - wider, median), 0, 100),
            energy_median_pct=np.clip(median, 0, 100),
            energy_high_pct=np.clip(np.maximum(high + wider, median), 0, 100),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedHorizon:
    """The model for use, and how the same recipe did on the part it had not seen."""

    model: HorizonModel
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Origins with a lead and an outcome each."""

    row: np.ndarray
    outcome: np.ndarray
    lead: np.ndarray

    def where(self, chosen: np.ndarray) -> _Rows:
        return _Rows(row=self.row[chosen], outcome=self.outcome[chosen], lead=self.lead[chosen])


def train(panel: Panel, spec: HorizonSpec) -> TrainedHorizon:
    """Measure on the last part of the time (see ``measure``), then train for use on all of it.

    Raises:
        NoUsableRowsError: Too few samples have an outcome.
    """
    split = by_time(panel, test_share=spec.test_share, unseen_share=spec.unseen_share)
    measured = measure(panel, spec, split)
    model = _fit(panel, _draw(panel, spec), spec, None, settled=measured.model.plug)
    return TrainedHorizon(model=model, metrics=measured.metrics)


def fit(panel: Panel, spec: HorizonSpec, split: Split) -> HorizonModel:
    """Train on what was known before the split's cut.

    Raises:
        NoUsableRowsError: Too few samples have an outcome before the cut.
    """
    return _fit(panel, _before(panel, spec, split), spec, split)


def _before(panel: Panel, spec: HorizonSpec, split: Split) -> _Rows:
    rows = _draw(panel, spec)
    learn = split.train_rows(panel, rows.row, rows.outcome)
    if learn.sum() < FEWEST_ROWS:
        raise NoUsableRowsError(
            f"Wanted at least {FEWEST_ROWS} samples with an outcome up to 48 h later, before the test part; found "
            f"{learn.sum()}. Give a longer or denser file."
        )
    return rows.where(learn)


def measure(panel: Panel, spec: HorizonSpec, split: Split) -> TrainedHorizon:
    """Train on what was known before the split's cut, and compare with the baselines on what came after it.

    Raises:
        NoUsableRowsError: Too few samples have an outcome before the cut.
    """
    rows = _before(panel, spec, split)
    model = _fit(panel, rows, spec, split)
    climatology = Climatology.fit(panel, np.unique(rows.row))
    metrics = {
        "time_split": _by_lead(panel, model, climatology, split, spec, unseen=False),
        **(
            {"unseen_vehicles": _by_lead(panel, model, climatology, split, spec, unseen=True)}
            if split.unseen.any()
            else {}
        ),
        "training_rows": len(rows.row),
        "test_from": str(np.datetime64(split.cut_us, "us")) + "Z",
    }
    return TrainedHorizon(model=model, metrics=metrics)


def _fit(
    panel: Panel, rows: _Rows, spec: HorizonSpec, split: Split | None, settled: Availability | None = None
) -> HorizonModel:
    """Train on the earlier outcomes and calibrate on the later ones."""
    at = panel.timestamp_us[rows.outcome]
    cut = np.quantile(at, 1.0 - spec.calibration_share)
    early, late = rows.where(at < cut), rows.where(panel.timestamp_us[rows.row] >= cut)
    if min(len(early.row), len(late.row)) < FEWEST_ROWS // 4:  # too short to keep a part: calibrate in sample
        early = late = rows
    energy, widening = _fit_energy(panel, early, late, spec)
    return HorizonModel(plug=_fit_plug(panel, spec, split, settled), energy=energy, energy_widening=widening)


def _fit_plug(panel: Panel, spec: HorizonSpec, split: Split | None, settled: Availability | None) -> Availability:
    """Models of the anchors, as many at once as there are threads: each is too small to be worth more than one.

    ``settled`` are models of the earlier part of the time, whose weights and calibration are kept.
    """
    earlier = {} if settled is None else {each.blend.lead_min: each.blend for each in settled.anchors}
    with ThreadPoolExecutor(max_workers=spec.boosting.threads) as pool:
        found = list(pool.map(lambda place: _fit_one(panel, spec, split, place, earlier), range(len(spec.anchors_min))))
    models = tuple(each for each in found if each is not None)
    if not models:
        raise NoUsableRowsError(
            f"Wanted at least {FEWEST_ROWS // 4} samples with an outcome at one of the leads up to 48 h; found fewer. "
            "Give a longer or denser file."
        )
    return Availability(anchors=models)


def _fit_one(
    panel: Panel, spec: HorizonSpec, split: Split | None, place: int, earlier: Mapping[float, Blend]
) -> Anchor | None:
    """Half of an anchor's rows have its lead, the others one between its neighbours; None where there are too few."""
    rng = np.random.default_rng((spec.seed, place))
    anchors = np.array(spec.anchors_min, np.float64)
    between = np.concatenate([anchors[:1], np.sqrt(anchors[1:] * anchors[:-1]), anchors[-1:]])
    # one origin in so many: a prime number above it visits every hour of regular series
    origin = np.arange(0, panel.rows, next_prime(panel.rows // spec.anchor_rows))
    spread = np.exp(rng.uniform(np.log(between[place]), np.log(between[place + 1]), len(origin)))
    lead = np.where(rng.random(len(origin)) < 0.5, anchors[place], spread)  # noqa: PLR2004 - half of the rows
    found = outcomes(panel.asset, panel.timestamp_us, panel.segment, origin, lead, tolerance_min=spec.tolerance_min)
    ok = found.found.copy()
    if split is not None:
        ok &= split.train_rows(panel, origin, np.where(ok, found.row, 0))
    row, outcome, lead = origin[ok], found.row[ok], lead[ok]
    if len(row) < FEWEST_ROWS // 4:
        return None
    return fit_anchor(
        plug_matrix(panel, row, lead),
        panel.is_plugged_in[outcome].astype(float),
        panel.timestamp_us[row],
        panel.plug_columns,
        spec.plug,
        lead_min=float(anchors[place]),
        settled=earlier.get(float(anchors[place])),
    )


def next_prime(number: int) -> int:
    """The smallest prime not below a number; 1 for numbers below 2.

    >>> next_prime(14)
    17
    """
    candidate = max(number, 1)
    while candidate > 1 and any(candidate % divisor == 0 for divisor in range(2, int(candidate**0.5) + 1)):
        candidate += 1
    return candidate


def _fit_energy(
    panel: Panel, early: _Rows, late: _Rows, spec: HorizonSpec
) -> tuple[tuple[Trees, ...], Widening | None]:
    change = panel.soc[early.row] - panel.soc[early.outcome]
    known = ~np.isnan(change)
    later_change = panel.soc[late.row] - panel.soc[late.outcome]
    later_known = ~np.isnan(later_change)
    if known.sum() < FEWEST_ROWS // 4 or not later_known.any():
        return (), None
    matrix, later = panel.matrix(early.row, early.lead), panel.matrix(late.row, late.lead)
    boosters = tuple(
        spec.boosting.fit(matrix[known], change[known], panel.columns, objective="quantile", level=level)
        for level in LEVELS
    )
    low, _, high = np.sort([np.asarray(b.predict(later[later_known], num_threads=1)) for b in boosters], axis=0)
    widening = Widening.fit(low, high, later_change[later_known], late.lead[later_known], coverage=COVERAGE)
    return boosters, widening


def _draw(panel: Panel, spec: HorizonSpec) -> _Rows:
    """Origins evenly spaced over all rows, each with some log-uniform leads, kept where there is an outcome."""
    rng = np.random.default_rng(spec.seed)
    wanted = max(1, spec.max_rows // spec.leads_per_origin)
    step = max(1, panel.rows // wanted)
    origin = np.repeat(np.arange(0, panel.rows, step), spec.leads_per_origin)
    lead = np.exp(rng.uniform(np.log(15.0), np.log(LONGEST_MIN), len(origin)))
    found = outcomes(panel.asset, panel.timestamp_us, panel.segment, origin, lead, tolerance_min=spec.tolerance_min)
    ok = found.found
    return _Rows(row=origin[ok], outcome=found.row[ok], lead=lead[ok])


def _by_lead(
    panel: Panel, model: HorizonModel, climatology: Climatology, split: Split, spec: HorizonSpec, *, unseen: bool
) -> list[dict[str, Any]]:
    """Model beside the baselines at each of LEADS_MIN, on the same rows."""
    origin = np.flatnonzero(split.test_rows(panel, np.arange(panel.rows), unseen=unseen))
    table = []
    for lead in LEADS_MIN:
        found = outcomes(panel.asset, panel.timestamp_us, panel.segment, origin, lead, tolerance_min=spec.tolerance_min)
        row, outcome = origin[found.found], found.row[found.found]
        if len(row):
            keep = np.unique(np.linspace(0, len(row) - 1, min(len(row), 20_000)).astype(np.int64))
            rows = _Rows(row=row[keep], outcome=outcome[keep], lead=np.full(len(keep), float(lead)))
            table.append({"lead_min": lead, **_at_lead(panel, model, climatology, rows)})
    return table


def _at_lead(panel: Panel, model: HorizonModel, climatology: Climatology, rows: _Rows) -> dict[str, Any]:
    row, outcome = rows.row, rows.outcome
    ours, nothing = model.expect(panel, row, rows.lead), persistence(panel, row)
    usual = climatology.at(panel, row, rows.lead)
    plugged = panel.is_plugged_in[outcome].astype(float)
    result: dict[str, Any] = {"rows": len(row)}
    chances = {
        "model": ours.plug_probability,
        "persistence": nothing.plug_probability,
        "climatology": usual.plug_probability,
    }
    for name, chance in chances.items():
        result[name] = {"plug_brier": scores.brier(chance, plugged), "plug_auc": scores.auc(chance, plugged)}
    result["model"]["plug_ece"] = scores.ece(ours.plug_probability, plugged)
    truth = 100.0 - panel.soc[outcome]
    known = ~np.isnan(truth) & ~np.isnan(panel.soc[row])
    if ours.energy_median_pct is not None and known.any():
        assert ours.energy_low_pct is not None  # noqa: S101 - the three come together
        assert ours.energy_high_pct is not None  # noqa: S101 - the same
        result["model"]["energy_mae_pct"] = scores.mae(ours.energy_median_pct[known], truth[known])
        result["model"]["energy_coverage_80"] = scores.coverage(
            ours.energy_low_pct[known], ours.energy_high_pct[known], truth[known]
        )
        result["persistence"]["energy_mae_pct"] = scores.mae(nothing.energy_to_full_pct[known], truth[known])
        result["climatology"]["energy_mae_pct"] = scores.mae(usual.energy_to_full_pct[known], truth[known])
    return result
