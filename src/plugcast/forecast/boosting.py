"""Boosted trees as we use them: trained by LightGBM with pinned threads and one seed, kept as text, walked packed.

Every model answers through ``trees.packed``, one just trained to the same bits as when it is read again: a third of a
microsecond a row, without loading LightGBM, and as LightGBM does but for leaves rounded to 16 bits (at most 3e-4 of a
probability, 2e-3 % of charge; see the bench ``trees``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from plugcast.errors import ModelError
from plugcast.trees.packed.pack_lightgbm import pack_lightgbm
from plugcast.trees.packed.predictor import Packed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lightgbm as lgb
    import numpy as np

COMPLETE: Final = (b"\nend of trees", b"\nend of parameters", b"\npandas_categorical:")
"""Marks that a whole model text carries, the last one in its last line."""


class Trees(Protocol):
    """What answers rows: packed trees, or a LightGBM booster whose splits cannot be packed."""

    def predict(self, data: np.ndarray, *, raw_score: bool = False, num_threads: int = 1) -> Any:  # noqa: ANN401 - LightGBM says no more
        """Answers, or scores before the link, shape (n,), of float32 rows, shape (n, columns); NaN = unknown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedTrees:
    """Packed to answer, and the text that they came from."""

    packed: Packed
    text: bytes

    def predict(self, data: np.ndarray, *, raw_score: bool = False, num_threads: int = 1) -> np.ndarray:
        """See Trees."""
        ask = self.packed.raw if raw_score else self.packed.predict
        return ask(data, num_threads=num_threads)


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
    ) -> Trees:
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
        import lightgbm as lgb  # noqa: PLC0415 - training alone needs it; forecasts do without

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
        trained = lgb.train(parameters, data, num_boost_round=self.rounds)
        return pack(trained, columns)


def pack(booster: lgb.Booster, columns: Sequence[str]) -> Trees:
    """What was just trained, to answer as it will when it is read again."""
    return from_text(to_text(booster), columns)


def to_text(trees: Trees) -> bytes:
    """LightGBM's own text form, whole numbers and all."""
    if isinstance(trees, PackedTrees):
        return trees.text
    booster: Any = trees
    return str(booster.model_to_string()).encode()


def from_text(content: bytes, columns: Sequence[str]) -> Trees:
    """Read a model, packed where it can be, and check that it was trained on these columns.

    Raises:
        ModelError: The text is no model, or one with other inputs.
    """
    if not content.startswith(b"tree\n") or any(mark not in content for mark in COMPLETE):
        # LightGBM reads past the end of a text that was cut short
        raise ModelError("This is not a whole LightGBM text model. Train again with: plugcast train")
    try:
        forest = pack_lightgbm(content.decode("utf-8"))
    except (ModelError, UnicodeDecodeError):
        return _booster(content, columns)  # splits that cannot be packed, or damage, of which LightGBM says what it is
    _check_columns(forest.names, columns)
    return PackedTrees(packed=Packed(forest), text=content)


def _booster(content: bytes, columns: Sequence[str]) -> lgb.Booster:
    import lightgbm as lgb  # noqa: PLC0415 - see Boosting.fit

    try:
        booster = lgb.Booster(model_str=content.decode("utf-8"))
    except (lgb.basic.LightGBMError, UnicodeDecodeError, ValueError) as error:
        raise ModelError(f"This is not a LightGBM text model: {error}. Train again with: plugcast train") from error
    _check_columns(booster.feature_name(), columns)
    return booster


def _check_columns(found: Sequence[str], columns: Sequence[str]) -> None:
    if list(found) != list(columns):
        wanted, given = ", ".join(found), ", ".join(columns)
        raise ModelError(f"The model wants the inputs {wanted}; this version gives {given}. Train again.")
