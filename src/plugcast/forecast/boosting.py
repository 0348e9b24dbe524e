"""LightGBM as we use it: pinned threads, one seed, text in and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import lightgbm as lgb

from plugcast.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

COMPLETE: Final = (b"\nend of trees", b"\nend of parameters", b"\npandas_categorical:")
"""Marks that a whole model text carries, the last one in its last line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boosting:
    """Size and speed of an ensemble."""

    rounds: int = 200
    leaves: int = 31
    learning_rate: float = 0.05
    min_leaf_rows: int = 100
    column_share: float = 1.0
    """Columns drawn for each tree."""
    bins: int = 255
    """Steps that a column is cut into; fewer are faster."""
    seed: int = 42
    threads: int = 1
    """Pinned: LightGBM takes every core it sees and spins on those it does not get."""

    def fit(
        self,
        matrix: np.ndarray,
        target: np.ndarray,
        columns: Sequence[str],
        *,
        objective: str,
        level: float = 0.5,
        offset: np.ndarray | None = None,
        row_weight: np.ndarray | None = None,
    ) -> lgb.Booster:
        """Train on float32 rows with named columns.

        Args:
            matrix: Shape (n, len(columns)); NaN = unknown.
            target: Shape (n,).
            columns: Names of the columns, stored in the model.
            objective: LightGBM's name: ``binary``, ``regression_l1``, ``quantile`` ...
            level: Quantile level, for ``quantile``.
            offset: Raw score to start from; predictions leave it out. Shape (n,).
            row_weight: Shape (n,); all 1 by default.
        """
        parameters: dict[str, Any] = {
            "objective": objective,
            "alpha": level,
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": min(self.min_leaf_rows, max(1, len(target) // 20)),
            "feature_fraction": self.column_share,
            "max_bin": self.bins,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": self.threads,
            "verbosity": -1,
        }
        data = lgb.Dataset(
            matrix, target, weight=row_weight, init_score=offset, feature_name=list(columns), free_raw_data=True
        )
        return lgb.train(parameters, data, num_boost_round=self.rounds)


def to_text(booster: lgb.Booster) -> bytes:
    """LightGBM's own text form, from which ``from_text`` gives the same predictions to the last bit."""
    return str(booster.model_to_string()).encode()


def from_text(content: bytes, columns: Sequence[str]) -> lgb.Booster:
    """Read a model and check that it was trained on these columns.

    Raises:
        ModelError: The text is no model, or one with other inputs.
    """
    if not content.startswith(b"tree\n") or any(mark not in content for mark in COMPLETE):
        # LightGBM reads past the end of a text that was cut short
        raise ModelError("This is not a whole LightGBM text model. Train again with: plugcast train")
    try:
        booster = lgb.Booster(model_str=content.decode("utf-8"))
    except (lgb.basic.LightGBMError, UnicodeDecodeError, ValueError) as error:
        raise ModelError(f"This is not a LightGBM text model: {error}. Train again with: plugcast train") from error
    if booster.feature_name() != list(columns):
        found = ", ".join(booster.feature_name())
        raise ModelError(f"The model wants the inputs {found}; this version gives {', '.join(columns)}. Train again.")
    return booster
