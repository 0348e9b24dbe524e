"""The forecasting reference's method re-implemented, on its own random split and on honest ones, beside ours.

The method: seven features (charge, its difference, hour and day of the week in UTC, three lags by row), targets four
rows later, LightGBM classifier and regressor with 200 trees at 0.05, a random fifth kept for testing, seed 42. Rows
with an unknown feature or target are dropped. No plug state, no elapsed time, no outcome by the clock.

Scored on three splits (random; later time; vehicles never seen, in later time) and two outcomes (its own, four rows
later; by the clock, 15 minutes later). Ours is trained on the same rows and outcomes, at the median lead of four rows
of the training part where the outcome is four rows later. All are scored on the rows that the reference can serve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from benches.registry import Bar, BenchSpec, Outcome, note

from plugcast.features.spec import FeatureSpec
from plugcast.features.targets import outcomes
from plugcast.forecast import scores
from plugcast.forecast.baselines import Climatology, persistence
from plugcast.forecast.boosting import Boosting
from plugcast.forecast.panel import panel
from plugcast.forecast.short import ShortModels
from plugcast.forecast.split import by_time, thin
from plugcast.simulate.telemetry import GeneratorSpec, generate

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugcast.forecast.panel import Panel

SHIFT: Final = 4
"""Rows ahead of its targets; the original calls them 15 minutes."""
SEED: Final = 42
TEST_SHARE: Final = 0.2
CLOCK_MIN: Final = 15.0
TOLERANCE_MIN: Final = 5.0
TREES: Final[dict[str, Any]] = {
    "n_estimators": 200,
    "learning_rate": 0.05,
    "random_state": SEED,
    "n_jobs": 1,
    "verbosity": -1,
}
ENERGY_LOSS: Final = "fair"
"""Near the absolute error, but smooth: chosen on the last part of the training time, on another seed."""
BASELINES: Final = ("persistence", "climatology")
PROMISED: Final = ("plug_auc", "energy_mae_pct")
"""The figures of the reference; the Brier score stands beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Training and test origins with their outcomes, as rows of the panel."""

    split: str
    outcome: str
    lead_min: float
    train: np.ndarray
    train_outcome: np.ndarray
    test: np.ndarray
    test_outcome: np.ndarray
    reference_train: np.ndarray
    """Origins of the reference, whose targets are always four rows later."""


def run(size: str) -> Outcome:
    """Train and compare."""
    fleet, days, most = {"small": (12, 7, 20_000), "full": (200, 28, 400_000)}[size]
    spec = GeneratorSpec(vehicles=fleet, days=days)
    note(f"generating {fleet} vehicles over {days} days")
    known = panel(generate(spec), FeatureSpec())
    features = seven_features(known)
    served = ~np.isnan(features).any(axis=1)
    cases: list[dict[str, Any]] = []
    for task in tasks(known, served):
        note(f"{task.split}, outcome {task.outcome}")
        cases += _compare(known, features, task, most)
    share = float(served.mean())
    return Outcome(
        data=f"generated, seed {spec.seed}: {fleet} vehicles, {days} days, {known.rows} samples; the reference serves "
        f"{share:.1%} of them, and none of the newest {SHIFT} of a vehicle as published",
        cases=cases,
        bars=_bars(cases),
    )


def seven_features(known: Panel) -> np.ndarray:
    """Its inputs; lags go by row, over silences and all, only the difference is masked. Shape (n, 7)."""
    soc, clock = known.soc, known.timestamp_us
    columns = [soc, np.where(_same(known, 1, segment=True), soc - _shifted(soc, 1), np.nan)]
    columns += [(clock // 3_600_000_000) % 24, (clock // 86_400_000_000 + 3) % 7]  # 1970-01-01 was a Thursday
    columns += [np.where(_same(known, back, segment=False), _shifted(soc, back), np.nan) for back in (1, 2, 3)]
    return np.column_stack(columns)


def _shifted(values: np.ndarray, back: int) -> np.ndarray:
    return np.concatenate([np.full(back, np.nan), values[:-back]])


def _same(known: Panel, back: int, *, segment: bool) -> np.ndarray:
    """Whether the row so far back is of the same vehicle (and not beyond a silence)."""
    same = np.zeros(known.rows, bool)
    same[back:] = known.asset[back:] == known.asset[:-back]
    if segment:
        same[back:] &= known.segment[back:] == known.segment[:-back]
    return same


def tasks(known: Panel, served: np.ndarray) -> list[Task]:
    """Three splits by two outcomes."""
    every = np.arange(known.rows)
    shifted = every[:-SHIFT][(known.asset[SHIFT:] == known.asset[:-SHIFT]) & served[:-SHIFT]]
    found = outcomes(known.asset, known.timestamp_us, known.segment, every, CLOCK_MIN, tolerance_min=TOLERANCE_MIN)
    clocked = every[found.found & served]
    honest = by_time(known, test_share=TEST_SHARE, unseen_share=TEST_SHARE)
    at_random = np.random.default_rng(SEED).random(known.rows) < TEST_SHARE
    made = []
    for outcome, origin, landed in (
        ("four rows later", shifted, shifted + SHIFT),
        ("15 min later", clocked, found.row[clocked]),
    ):
        for split in ("random", "later time", "unseen vehicles"):
            if split == "random":
                learn, test = ~at_random[origin], at_random[origin]
                reference = shifted[~at_random[shifted]]
            else:
                learn = honest.train_rows(known, origin, landed)
                test = honest.test_rows(known, origin, unseen=split == "unseen vehicles")
                reference = shifted[honest.train_rows(known, shifted, shifted + SHIFT)]
            lead = CLOCK_MIN if outcome == "15 min later" else _median_lead(known, origin[learn])
            made.append(
                Task(
                    split=split,
                    outcome=outcome,
                    lead_min=lead,
                    train=origin[learn],
                    train_outcome=landed[learn],
                    test=origin[test],
                    test_outcome=landed[test],
                    reference_train=reference,
                )
            )
    return made


def _median_lead(known: Panel, origin: np.ndarray) -> float:
    return float(np.median(known.timestamp_us[origin + SHIFT] - known.timestamp_us[origin]) / 60_000_000)


def _compare(known: Panel, features: np.ndarray, task: Task, most: int) -> list[dict[str, Any]]:
    """AUC and MAE of everyone on the same rows."""
    plugged = known.is_plugged_in[task.test_outcome].astype(float)
    energy = 100.0 - known.soc[task.test_outcome]
    climatology = Climatology.fit(known, task.train)
    usual, nothing = climatology.at(known, task.test, task.lead_min), persistence(known, task.test)
    told: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "ours": _ours(known, task, most)(task.test),
        "reference": _reference(known, features, task, most)(task.test),
        "persistence": (nothing.plug_probability, nothing.energy_to_full_pct),
        "climatology": (usual.plug_probability, usual.energy_to_full_pct),
    }
    figures: dict[str, Callable[[tuple[np.ndarray, np.ndarray]], float]] = {
        "plug_auc": lambda said: scores.auc(said[0], plugged),
        "plug_brier": lambda said: scores.brier(np.clip(said[0], 0, 1), plugged),
        "energy_mae_pct": lambda said: scores.mae(said[1], energy),
    }
    return [
        {
            "split": task.split,
            "outcome": task.outcome,
            "lead_min": round(task.lead_min, 1),
            "figure": name,
            "rows": len(task.test),
            **{who: score(said) for who, said in told.items()},
        }
        for name, score in figures.items()
    ]


def _ours(known: Panel, task: Task, most: int) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The short pair on the task's rows: our features, plug state and history among them, and the change of charge."""
    chosen = thin(np.arange(len(task.train)), most)
    row, outcome = task.train[chosen], task.train_outcome[chosen]
    matrix, boosting = known.matrix(row, task.lead_min), Boosting()
    models = ShortModels(
        lead_min=task.lead_min,
        plug=boosting.fit(matrix, known.is_plugged_in[outcome].astype(float), known.columns, objective="binary"),
        energy=boosting.fit(matrix, known.soc[row] - known.soc[outcome], known.columns, objective=ENERGY_LOSS),
    )
    return lambda test: models.predict(known, test)


def _reference(
    known: Panel, features: np.ndarray, task: Task, most: int
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Its two models, on its own targets whatever they are then scored against."""
    from lightgbm import LGBMClassifier, LGBMRegressor  # noqa: PLC0415 - after the threads are pinned

    row = thin(task.reference_train, most)
    target = row + SHIFT
    plug = LGBMClassifier(**TREES).fit(features[row], known.is_plugged_in[target])
    energy = LGBMRegressor(**TREES).fit(features[row], 100.0 - known.soc[target])
    return lambda test: (
        np.asarray(plug.booster_.predict(features[test], num_threads=1)),
        np.asarray(energy.booster_.predict(features[test], num_threads=1)),
    )


def _bars(cases: list[dict[str, Any]]) -> list[Bar]:
    """Ours beats the reference and both baselines on every honest split."""
    promised = [case for case in cases if case["split"] != "random" and case["figure"] in PROMISED]
    return [
        Bar(
            name=f"{case['split']}, {case['outcome']}: {case['figure']} beside {rival}",
            value=case["ours"],
            limit=case[rival],
            sense="at_least" if case["figure"] == "plug_auc" else "at_most",
        )
        for case in promised
        for rival in ("reference", *BASELINES)
    ]


BENCH = BenchSpec(
    name="forecast_reference",
    description="The forecasting reference's method beside ours, on its random split and on honest ones.",
    run=run,
)
