"""Isolation forests as plain arrays: fitted with scikit-learn, walked and explained by ``trees.packed``.

A score does not depend on what else is in the batch, nor on the machine, bit for bit. Packing rounds path lengths to
16 bits: a score is off by a few millionths at most, and no row takes another way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.errors import SpecMismatchError
from plugcast.trees.packed.pack_isolation import pack_isolation
from plugcast.trees.packed.predictor import Packed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]

TREES: Final = 200
SUBSAMPLE: Final = 256
"""Liu, Ting and Zhou's (ICDM 2008): more brings masking, not accuracy."""
ARRAYS: Final = ("feature", "threshold", "left", "right", "depth", "root", "median")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IsolationForest:
    """Trees in one node table; a leaf's children are itself.

    Missing values, the declared rule: to fit, a missing value is drawn (seeded) from the values that the feature has
    elsewhere, so that no split can tell missing from present; to score, it is the feature's training median, so that
    what is not known does not make a session odd. Where missing itself matters, it is a feature of its own.
    """

    names: tuple[str, ...]
    """The features, sorted; what else a caller has is not looked at, and what it lacks counts as missing."""
    feature: Ints
    """(nodes,) index into ``names`` that a node splits on; 0 in leaves."""
    threshold: Floats
    """(nodes,) a value of at most this goes left."""
    left: Ints
    right: Ints
    depth: Floats
    """(nodes,) expected path length of a training row that reaches the node; a leaf's is its own path length."""
    root: Ints
    """(trees,) where each tree starts."""
    median: Floats
    """(features,) of training; 0 where a feature was never there."""
    subsample: int
    packed: Packed = field(init=False, repr=False)
    """The same trees, as they are walked."""

    def __post_init__(self) -> None:
        """Pack the trees."""
        forest = pack_isolation(
            self.names,
            **{name: getattr(self, name) for name in ("feature", "threshold", "left", "right", "depth", "root")},
            fill=self.median,
            usual_depth=average_path_length(self.subsample),
        )
        object.__setattr__(self, "packed", Packed(forest))

    @property
    def base_depth(self) -> float:
        """Expected path length over all trees before a row has shown anything."""
        return self.packed.base

    def score(self, matrix: Floats, names: Sequence[str]) -> Floats:
        """Isolation scores in (0, 1]; HIGHER is odder, 0.5 is ordinary.

        Args:
            matrix: (rows, columns); NaN = missing. Not changed.
            names: The columns; order and extra columns do not matter.
        """
        return self.packed.predict(align(matrix, names, self.names))

    def depths(self, matrix: Floats, names: Sequence[str]) -> Floats:
        """Mean path length of each row over the trees; shorter is odder."""
        return self.packed.raw(align(matrix, names, self.names))

    def contributions(self, matrix: Floats, names: Sequence[str]) -> Floats:
        """(rows, features) change of the expected path length by each feature's splits, averaged over the trees.

        Exactly additive: ``base_depth + contributions.sum(axis=1) == depths``, to rounding. Negative makes a row
        odder. The path attribution of Saabas (2014), with path length in the place of the response.
        """
        return self.packed.contributions(align(matrix, names, self.names))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything but names and counts, for an npz file."""
        return {name: getattr(self, name) for name in ARRAYS}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], *, names: Sequence[str], subsample: int
    ) -> IsolationForest:
        """Restore and check; raises SpecMismatchError where the arrays are no forest."""
        if not _sound(arrays, len(names)):
            raise SpecMismatchError(
                f"Wanted a forest over {len(names)} features; found arrays that point outside of it. "
                "The model is damaged: train it again."
            )
        return cls(
            names=tuple(names),
            subsample=subsample,
            **{name: arrays[name] for name in ARRAYS},
        )


def fit_forest(
    matrix: Floats, names: Sequence[str], *, seed: int, trees: int = TREES, subsample: int = SUBSAMPLE
) -> IsolationForest:
    """Fit on (rows, columns) of ordinary sessions, a few odd ones among them; the same seed gives the same forest.

    Columns are sorted by name first, so that their order does not matter. At least two rows.
    """
    from sklearn.ensemble import IsolationForest as SkForest  # noqa: PLC0415 - a second of import, for training only

    ordered = tuple(sorted(names))
    values = align(matrix, names, ordered)
    present = np.isfinite(values)
    median = np.array(
        [np.median(column[there]) if there.any() else 0.0 for column, there in zip(values.T, present.T, strict=True)]
    )
    design = design_matrix(_drawn(values, present, seed), median)
    model = SkForest(n_estimators=trees, max_samples=min(subsample, len(design)), random_state=seed, n_jobs=1)
    model.fit(design)
    parts = [_extract(estimator.tree_) for estimator in model.estimators_]
    start = np.cumsum([0, *(len(part["left"]) for part in parts)])[:-1]
    shifted = {
        name: np.concatenate([part[name] + offset for part, offset in zip(parts, start, strict=True)]).astype(np.int32)
        for name in ("left", "right")
    }
    root = start.astype(np.int32)
    return IsolationForest(
        names=ordered,
        feature=np.concatenate([part["feature"] for part in parts]).astype(np.int32),
        threshold=np.concatenate([part["threshold"] for part in parts]),
        depth=np.concatenate([part["depth"] for part in parts]),
        root=root,
        median=median,
        subsample=int(model.max_samples_),
        **shifted,
    )


def average_path_length(rows: int) -> float:
    """c(n): mean path length of an unsuccessful search in a binary search tree of n rows (Liu et al., eq. 1).

    >>> average_path_length(1), average_path_length(2), round(average_path_length(256), 4)
    (0.0, 1.0, 10.2448)
    """
    if rows <= 1:
        return 0.0
    if rows == 2:  # noqa: PLR2004 - the formula's own special case
        return 1.0
    return 2.0 * (math.log(rows - 1.0) + np.euler_gamma) - 2.0 * (rows - 1.0) / rows


def align(matrix: Floats, names: Sequence[str], wanted: Sequence[str]) -> Floats:
    """The wanted columns in the wanted order, as a new array; an absent one is all NaN."""
    place = {name: index for index, name in enumerate(names)}
    made = np.full((len(matrix), len(wanted)), np.nan)
    for index, name in enumerate(wanted):
        if name in place:
            made[:, index] = matrix[:, place[name]]
    return made


def design_matrix(values: Floats, median: Floats) -> Floats:
    """Medians for what is missing; rounded to float32, as the trees' thresholds expect."""
    filled = np.where(np.isfinite(values), values, median)
    limit = float(np.finfo(np.float32).max)
    rounded: Floats = np.clip(filled, -limit, limit).astype(np.float32).astype(np.float64)
    return rounded


def _drawn(values: Floats, present: NDArray[np.bool_], seed: int) -> Floats:
    """The training values, with those missing drawn from the same feature's others; never there stays missing."""
    filled = values.copy()
    for column in range(values.shape[1]):
        there = present[:, column]
        if there.any() and not there.all():
            rng = np.random.default_rng((seed, column))
            filled[~there, column] = rng.choice(values[there, column], size=int((~there).sum()))
    return filled


def _extract(tree: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401 - scikit-learn's tree has no type
    """One tree with leaves that lead to themselves, and expected path lengths from the rows under each node."""
    nodes = tree.node_count
    leaf = tree.children_left < 0
    own = np.arange(nodes)
    left = np.where(leaf, own, tree.children_left)
    right = np.where(leaf, own, tree.children_right)
    level = np.zeros(nodes)
    for node in range(nodes):  # parents stand before their children
        if not leaf[node]:
            level[left[node]] = level[right[node]] = level[node] + 1
    rows = tree.n_node_samples
    depth = level + np.array([average_path_length(int(n)) for n in rows])
    for node in range(nodes - 1, -1, -1):
        if not leaf[node]:
            a, b = left[node], right[node]
            depth[node] = (rows[a] * depth[a] + rows[b] * depth[b]) / rows[node]
    return {
        "feature": np.where(leaf, 0, tree.feature),
        "threshold": np.where(leaf, np.inf, tree.threshold).astype(np.float64),
        "left": left,
        "right": right,
        "depth": depth,
    }


def _sound(arrays: Mapping[str, NDArray[Any]], features: int) -> bool:
    """Whether every index points inside, and every way leads down: a child stands behind its parent."""
    nodes = len(arrays["threshold"])
    own = np.arange(nodes)
    within = all(
        len(part) == size and bool(np.all((part >= least) & (part < limit)))
        for part, size, least, limit in (
            (arrays["left"], nodes, own, nodes),
            (arrays["right"], nodes, own, nodes),
            (arrays["feature"], nodes, 0, max(features, 1)),
            (arrays["root"], len(arrays["root"]), 0, nodes),
        )
    )
    return within and len(arrays["root"]) > 0 and len(arrays["depth"]) == nodes and len(arrays["median"]) == features
