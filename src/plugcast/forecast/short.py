"""The two short-lead models: will it be plugged in, and how far from full, a quarter of an hour from now.

The energy model learns the change of charge: added to 'nothing changes', so that trees need not draw a straight line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.errors import NoUsableRowsError
from plugcast.features.targets import outcomes
from plugcast.forecast import scores
from plugcast.forecast.baselines import Climatology, persistence
from plugcast.forecast.boosting import Boosting, Trees
from plugcast.forecast.split import Split, by_time, thin

if TYPE_CHECKING:
    from plugcast.forecast.panel import Panel

FEWEST_ROWS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortSpec:
    """What to train."""

    lead_min: float = 15.0
    tolerance_min: float = 5.0
    test_share: float = 0.2
    unseen_share: float = 0.2
    max_rows: int = 400_000
    boosting: Boosting = field(default_factory=Boosting)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortModels:
    """A classifier of the plug state and a regressor of the change of charge, for one lead."""

    lead_min: float
    plug: Trees
    energy: Trees

    def predict(self, panel: Panel, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probability of being plugged in, and energy to full in % (NaN without a state of charge), at the lead."""
        return self.answer(panel.matrix(row, self.lead_min), panel.soc[row])

    def answer(self, matrix: np.ndarray, soc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same from the models' input, shape (m, columns), and the state of charge at each origin in %."""
        probability = np.asarray(self.plug.predict(matrix, num_threads=1))
        change = np.asarray(self.energy.predict(matrix, num_threads=1))
        return probability, np.clip(100.0 - soc + change, 0.0, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The models for use, trained on everything, and how the same recipe did on what it had not seen."""

    models: ShortModels
    metrics: dict[str, Any]


def train(panel: Panel, spec: ShortSpec) -> Trained:
    """Measure on a time split, seen and unseen assets apart, then train on every row.

    Raises:
        NoUsableRowsError: Too few samples have an outcome at the lead.
    """
    origin = np.arange(panel.rows)
    found = outcomes(
        panel.asset, panel.timestamp_us, panel.segment, origin, spec.lead_min, tolerance_min=spec.tolerance_min
    )
    row, outcome_row = origin[found.found], found.row[found.found]
    if len(row) < FEWEST_ROWS:
        raise NoUsableRowsError(
            f"Wanted at least {FEWEST_ROWS} samples with an outcome {spec.lead_min:g} min later (within "
            f"{spec.tolerance_min:g} min, no gap between); found {len(row)} among {panel.rows} samples. "
            "Give a longer or denser telemetry file."
        )
    split = by_time(panel, test_share=spec.test_share, unseen_share=spec.unseen_share)
    learn = split.train_rows(panel, row, outcome_row)
    if learn.sum() < FEWEST_ROWS // 2:
        raise NoUsableRowsError(
            f"Only {learn.sum()} samples with an outcome lie before the test part. Give a longer telemetry file."
        )
    models = _fit(panel, row[learn], outcome_row[learn], spec)
    climatology = Climatology.fit(panel, row[learn])
    blocks = {
        name: _compare(panel, models, climatology, row[chosen], outcome_row[chosen])
        for name, chosen in (
            ("time_split", split.test_rows(panel, row, unseen=False)),
            ("unseen_vehicles", split.test_rows(panel, row, unseen=True)),
        )
    }
    metrics = {
        "lead_min": spec.lead_min,
        "tolerance_min": spec.tolerance_min,
        **_described(panel, split, learn, row),
        **blocks,
    }
    return Trained(models=_fit(panel, row, outcome_row, spec), metrics=metrics)


def _fit(panel: Panel, row: np.ndarray, outcome_row: np.ndarray, spec: ShortSpec) -> ShortModels:
    chosen = thin(np.arange(len(row)), spec.max_rows)
    row, outcome_row = row[chosen], outcome_row[chosen]
    matrix = panel.matrix(row, spec.lead_min)
    change = panel.soc[row] - panel.soc[outcome_row]
    known = ~np.isnan(change)
    if not known.any():
        raise NoUsableRowsError("No sample carries a state of charge: the energy model has nothing to learn from.")
    return ShortModels(
        lead_min=spec.lead_min,
        plug=spec.boosting.fit(
            matrix, panel.is_plugged_in[outcome_row].astype(float), panel.columns, objective="binary"
        ),
        energy=spec.boosting.fit(matrix[known], change[known], panel.columns, objective="fair"),
    )


def _compare(
    panel: Panel, models: ShortModels, climatology: Climatology, row: np.ndarray, outcome_row: np.ndarray
) -> dict[str, Any]:
    """Model, persistence and climatology on the same rows; empty where there are none."""
    if len(row) == 0:
        return {"rows": 0}
    probability, energy = models.predict(panel, row)
    nothing, usual = persistence(panel, row), climatology.at(panel, row, models.lead_min)
    plugged = panel.is_plugged_in[outcome_row].astype(float)
    truth = 100.0 - panel.soc[outcome_row]
    known = ~np.isnan(truth) & ~np.isnan(panel.soc[row])
    result: dict[str, Any] = {"rows": len(row), "vehicles": len(np.unique(panel.asset[row]))}
    for name, chance, need in (
        ("model", probability, energy),
        ("persistence", nothing.plug_probability, nothing.energy_to_full_pct),
        ("climatology", usual.plug_probability, usual.energy_to_full_pct),
    ):
        result[name] = {
            "plug_brier": scores.brier(chance, plugged),
            "plug_auc": scores.auc(chance, plugged),
            "plug_log_loss": scores.log_loss(chance, plugged),
            "energy_mae_pct": scores.mae(need[known], truth[known]),
        }
    return result


def _described(panel: Panel, split: Split, learn: np.ndarray, row: np.ndarray) -> dict[str, Any]:
    return {
        "vehicles": len(panel.asset_ids),
        "vehicles_unseen": int(split.unseen.sum()),
        "samples": panel.rows,
        "samples_late": panel.late,
        "samples_with_outcome": len(row),
        "training_rows": int(learn.sum()),
        "test_from": str(np.datetime64(split.cut_us, "us")) + "Z",
    }
