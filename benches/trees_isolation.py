"""Isolation forests of 100 trees: ours packed beside coniferest's (Rust) and scikit-learn's; attribution of a row."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from benches.registry import Bar, interleave
from sklearn.ensemble import IsolationForest as SkForest

from plugcast.anomaly.forests import fit_forest
from plugcast.trees.packed.extended import fit_extended
from plugcast.trees.packed.predictor import Packed

if TYPE_CHECKING:
    from collections.abc import Callable

TREES: Final = 100
FEATURES: Final = 10
EXPLAIN_LIMIT_US: Final = 20.0


def isolation_cases(size: str) -> list[dict[str, Any]]:
    """One row, 1,000 rows, and the attribution of one row."""
    calls, repeats = {"small": (5, 1), "full": (300, 7)}[size]
    rng = np.random.default_rng(9)
    train = rng.normal(size=(12_000 if size == "full" else 1_000, FEATURES))
    rows = rng.normal(0, 2, size=(1_000, FEATURES))
    names = tuple(f"f{place}" for place in range(FEATURES))
    ours = fit_forest(train, names, seed=1, trees=TREES).packed
    extended = Packed(fit_extended(train, names, seed=1, terms=2, trees=TREES))
    theirs = SkForest(n_estimators=TREES, max_samples=256, random_state=1, n_jobs=1).fit(train)
    scorers: dict[str, Callable[[Any], object]] = {
        "packed": ours.predict,
        "packed, extended (2 terms)": extended.predict,
        "scikit-learn": theirs.score_samples,
    }
    explainers: dict[str, Callable[[Any], object]] = {"packed": ours.contributions}
    if find_spec("coniferest") is not None:
        from coniferest.isoforest import IsolationForest  # noqa: PLC0415 - optional

        rust = IsolationForest(n_trees=TREES, n_subsamples=256, random_seed=1, n_jobs=1).fit(train)
        scorers["coniferest"] = rust.score_samples
        explainers["coniferest"] = rust.feature_signature
    one = np.ascontiguousarray(rows[:1])
    return [
        *_timed("isolation, one row", scorers, one, calls, repeats),
        *_timed("isolation, 1,000 rows", scorers, rows, max(1, calls // 100), repeats),
        *_timed("isolation, attribution of one row", explainers, one, calls, repeats),
    ]


def _timed(
    figure: str, calls: dict[str, Callable[[Any], object]], rows: np.ndarray, times: int, repeats: int
) -> list[dict[str, Any]]:
    def loop(call: Callable[[Any], object], count: int) -> Callable[[], None]:
        def timed() -> None:
            for _ in range(count):
                call(rows)

        return timed

    counts = {name: max(1, times // 30) if name == "scikit-learn" else times for name in calls}
    timings = interleave({name: loop(call, counts[name]) for name, call in calls.items()}, repeats=repeats)
    per_row = {name: timing.median_s / counts[name] / len(rows) * 1e6 for name, timing in timings.items()}
    return [
        {
            "model": f"{TREES} trees of 256 rows, {FEATURES} features",
            "figure": figure,
            "what": name,
            "us_per_row": us,
            "packed_is_faster": us / per_row["packed"],
        }
        for name, us in per_row.items()
    ]


def isolation_bars(cases: list[dict[str, Any]]) -> list[Bar]:
    """At least as fast as coniferest; an attribution under 20 us."""
    found = {(case["figure"], case["what"]): case for case in cases}
    bars = [
        Bar(name=f"{figure}: coniferest / packed", value=case["packed_is_faster"], limit=1.0, sense="at_least")
        for (figure, what), case in found.items()
        if what == "coniferest" and "attribution" not in figure
    ]
    explained = found["isolation, attribution of one row", "packed"]["us_per_row"]
    return [
        *bars,
        Bar(name="isolation: attribution of one row (us)", value=explained, limit=EXPLAIN_LIMIT_US, sense="at_most"),
    ]
