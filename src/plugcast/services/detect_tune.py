"""A search that means something: sizes and weights by how well faults are found that were put into later sessions.

Everything happens inside the sessions given: detectors learn from the earlier part, faults go into the later one, and
each fault type is also looked for by a classifier that never saw it.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from plugcast.anomaly.stack import NAMES, StackSpec, weigh
from plugcast.services.detection import declared, train_detector
from plugcast.simulate.faults import FaultType
from plugcast.simulate.inject import inject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TRAIN_SHARE: Final = 0.7
PREVALENCE: Final = 0.05
WEIGHTS: Final = tuple(
    (forest, extended, near, faults, rules)
    for (forest, extended, near), faults, rules in itertools.product(
        ((0.2, 0.2, 0.6), (0.4, 0.4, 0.4), (1.0, 0.0, 1.0), (0.0, 1.0, 1.0)), (1.0, 3.0), (1.0, 2.0)
    )
)
SIZES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"forest_subsample": 512},
    {"extended_terms": 4},
    {"neighbours": 10},
    {"references": 512},
)


def tune(
    sessions: pl.DataFrame,
    user_inputs: pl.DataFrame,
    *,
    time_zone: str,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
    left_out: tuple[FaultType, ...] = (
        FaultType.TRIP,
        FaultType.OVERSTAY,
        FaultType.METER_HIGH,
        FaultType.TOKEN_MISUSE,
    ),
) -> dict[str, Any]:
    """Every candidate with its figures, best first.

    Args:
        sessions: ``schemas.SESSIONS``.
        user_inputs: ``schemas.USER_INPUTS``.
        time_zone: Of sessions that name none.
        seed: Of faults and detectors.
        say: Told the progress.
        left_out: Fault types to leave out in turn: those that are hard to find unseen.
    """
    cut = sessions["available_at"].sort()[int(sessions.height * TRAIN_SHARE)]
    train = sessions.filter(pl.col("available_at") < cut)
    later = sessions.filter(pl.col("available_at") >= cut)
    put_in = inject(sessions, seed=seed, per_type=max(3, later.height // 120), hosts=later["session_id"])
    inputs = declared(user_inputs, put_in.labels)
    after = put_in.sessions.filter(pl.col("available_at") >= cut)
    search: list[dict[str, Any]] = []
    for size in SIZES:
        spec = StackSpec(**size)
        say(f"sizes {size or 'as they are'}")
        evidence: dict[str, tuple[Mapping[str, Floats], pl.Series]] = {}
        for absent in (None, *left_out):
            types = tuple(kind for kind in FaultType if kind != absent)
            detector = train_detector(train, user_inputs, time_zone=time_zone, seed=seed, types=types, spec=spec)
            test = detector.features(after, inputs).join(put_in.labels, on="session_id", how="left")
            scored = detector.score(test)
            known = scored["score"].is_not_nan()
            parts = {
                name.removeprefix("evidence_"): scored.filter(known)[name].to_numpy()
                for name in scored.columns
                if name.startswith("evidence_")
            }
            evidence[absent or ""] = (parts, test.filter(known)["fault"])
        search += [_judged(replace(spec, weights=weights), evidence) for weights in WEIGHTS]
    search.sort(key=lambda trial: -(trial["ap"] + trial["ap_left_out"]))
    return {"features": len(NAMES), "sessions": sessions.height, "cut_at": cut, "search": search}


def _judged(spec: StackSpec, evidence: Mapping[str, tuple[Mapping[str, Floats], pl.Series]]) -> dict[str, Any]:
    """Figures of one candidate."""
    absent_ap, absent_auroc = [], []
    for absent, (parts, fault) in evidence.items():
        score = weigh(parts, spec.weights)
        ordinary = fault.is_null().to_numpy()
        if not absent:
            ap, _ = precision_and_auroc(~ordinary, score)
            continue
        own = (fault == absent).fill_null(value=False).to_numpy()
        kept = ordinary | own
        if own.any():
            found = precision_and_auroc(own[kept], score[kept])
            absent_ap.append(found[0])
            absent_auroc.append(found[1])
    return {
        "ap": ap,
        "ap_left_out": float(np.mean(absent_ap)) if absent_ap else float("nan"),
        "lowest_auroc": min(absent_auroc, default=float("nan")),
        "spec": asdict(spec),
    }


def precision_and_auroc(odd: NDArray[np.bool_], score: Floats) -> tuple[float, float]:
    """Average precision as if 5 % were odd, and the area under the ROC curve."""
    from sklearn.metrics import average_precision_score, roc_auc_score  # noqa: PLC0415 - a second of import

    share = PREVALENCE / (1 - PREVALENCE) * int((~odd).sum()) / max(int(odd.sum()), 1)
    weight = np.where(odd, share, 1.0)
    return float(average_precision_score(odd, score, sample_weight=weight)), float(roc_auc_score(odd, score))
