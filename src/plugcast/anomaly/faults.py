"""A classifier of faults, trained on faults put into the training period, and a head that names each cause.

It knows what it was shown; what it was not shown is for the unsupervised detectors and the rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.anomaly.forests import align
from plugcast.domain.finding import Cause
from plugcast.errors import ModelError
from plugcast.trees.packed.pack_lightgbm import pack_lightgbm, training_rows
from plugcast.trees.packed.predictor import Packed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ROUNDS: Final = 300
CAUSE_ROUNDS: Final = 60
FAULT_WEIGHT: Final = 0.15
"""All faults together weigh this share of the ordinary sessions."""
LEAST_OF_CAUSE: Final = 8
AS_SEEN: Final[Mapping[Cause, Cause]] = {
    Cause.CHATTER: Cause.DERATING,
    Cause.PHASE_LOSS: Cause.DERATING,
    Cause.SITE_EVENT: Cause.DERATING,
}
"""What a session's record cannot tell apart: all three are low power until the current over time is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaultClassifier:
    """Boosted trees over named features; NaN is a value of its own to them."""

    names: tuple[str, ...]
    trees: Packed
    causes: Mapping[Cause, Packed]
    rows: NDArray[np.float32] | None = None
    """(nodes,) training rows under each node of the trees, for exact Shapley values; None where they were not kept."""

    def score(self, matrix: Floats, names: Sequence[str]) -> Floats:
        """Log-odds of a fault; HIGHER is odder."""
        return self.trees.raw(align(matrix, names, self.names))

    def contributions(self, matrix: Floats, names: Sequence[str]) -> Floats:
        """(rows, features) parts of the log-odds along each row's path; positive makes it odder."""
        return self.trees.contributions(align(matrix, names, self.names))

    def cause_shares(self, matrix: Floats, names: Sequence[str]) -> tuple[tuple[Cause, ...], Floats]:
        """The causes, and (rows, causes) how well each fits, summing to 1 over the causes."""
        values = align(matrix, names, self.names)
        fits = np.column_stack([head.predict(values) for head in self.causes.values()])
        return tuple(self.causes), fits / np.maximum(fits.sum(axis=1, keepdims=True), 1e-12)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything but names, for an npz file."""
        heads = {f"cause.{cause.value}": head for cause, head in self.causes.items()} | {"trees": self.trees}
        made: dict[str, NDArray[Any]] = {name: np.frombuffer(head.to_bytes(), np.uint8) for name, head in heads.items()}
        return made if self.rows is None else made | {"rows": self.rows}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], *, names: Sequence[str]) -> FaultClassifier:
        """Restore and check; raises ModelError where the arrays are no trees over these names."""
        heads = {
            Cause(name.removeprefix("cause.")): Packed.from_bytes(part.tobytes(), names)
            for name, part in sorted(arrays.items())
            if name.startswith("cause.")
        }
        trees = Packed.from_bytes(arrays["trees"].tobytes(), names)
        rows = arrays.get("rows")
        if rows is not None and (rows.shape != trees.forest.right.shape or not bool((rows > 0).all())):
            raise ModelError("The fault classifier's rows are not those of its trees. Train the detector again.")
        return cls(names=tuple(names), trees=trees, causes=heads, rows=rows)


def fit_faults(
    ordinary: Floats,
    faulty: Floats,
    causes: Sequence[Cause],
    names: Sequence[str],
    *,
    seed: int,
    rounds: int = ROUNDS,
    leaves: int = 31,
) -> FaultClassifier:
    """Train on (rows, columns) of real sessions and of faulty ones.

    Args:
        ordinary: Untouched sessions, real oddities among them.
        faulty: Sessions with a fault put in.
        causes: Of the faulty ones.
        names: The columns; sorted first, so that their order does not matter.
        seed: Of the draws of features.
        rounds: Trees.
        leaves: Of each tree at most.
    """
    ordered = tuple(sorted(names))
    rows = np.vstack([align(ordinary, names, ordered), align(faulty, names, ordered)]).astype(np.float32)
    target = np.repeat([0.0, 1.0], [len(ordinary), len(faulty)])
    weight = np.where(target > 0, FAULT_WEIGHT * len(ordinary) / max(len(faulty), 1), 1.0)
    text = _boost(rows, target, ordered, weight=weight, seed=seed, rounds=rounds, leaves=leaves)
    seen = np.array([AS_SEEN.get(cause, cause).value for cause in causes])
    kinds, counts = np.unique(seen, return_counts=True)
    known = [Cause(kind) for kind, count in zip(kinds, counts, strict=True) if count >= LEAST_OF_CAUSE]
    heads = {
        cause: Packed(
            pack_lightgbm(
                _boost(
                    rows[len(ordinary) :],
                    (seen == cause.value).astype(float),
                    ordered,
                    weight=None,
                    seed=seed,
                    rounds=CAUSE_ROUNDS,
                    leaves=15,
                )
            )
        )
        for cause in known
    }
    return FaultClassifier(
        names=ordered,
        trees=Packed(pack_lightgbm(text, explains=True)),
        causes=heads,
        rows=training_rows(text).astype(np.float32),
    )


def _boost(
    rows: NDArray[np.float32],
    target: Floats,
    names: Sequence[str],
    *,
    weight: Floats | None,
    seed: int,
    rounds: int,
    leaves: int,
) -> str:
    """LightGBM's text of the trees."""
    import lightgbm as lgb  # noqa: PLC0415 - training alone needs it

    parameters = {
        "objective": "binary",
        "num_leaves": leaves,
        "learning_rate": 0.08,
        "min_data_in_leaf": min(20, max(1, len(rows) // 50)),
        "feature_fraction": 0.4 if weight is not None else 0.7,
        "lambda_l2": 5.0,
        "max_bin": 127,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    data = lgb.Dataset(rows, target, weight=weight, feature_name=list(names), free_raw_data=True)
    return lgb.train(parameters, data, num_boost_round=rounds).model_to_string()
