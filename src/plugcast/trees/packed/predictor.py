"""``Packed``: a packed forest that scores and explains rows, by the kernel or by NumPy, with the same bits."""

from __future__ import annotations

import itertools
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plugcast.errors import ModelError
from plugcast.trees.packed import layout, walk_numpy
from plugcast.trees.packed.forest import Forest, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def _built() -> Any:  # noqa: ANN401 - a C type, there or not
    """The kernel's class; None where no compiler was at installation."""
    try:
        return import_module("plugcast.trees.packed._kernel").Forest
    except ImportError:
        return None


KERNEL: Final = _built()
NO_KERNEL: Final = "PLUGCAST_NO_KERNEL"
"""Set in the environment, it makes every forest walk in NumPy: to compare, or to rule the kernel out."""
LEVELS: Final = {"best": -1, "plain": 0, "avx2": 1, "avx512": 2}


def has_kernel() -> bool:
    """Whether rows go through the C kernel."""
    return KERNEL is not None and not os.environ.get(NO_KERNEL)


class Packed:
    """A packed forest, ready to score. Immutable; safe to use from several threads.

    ``predict_into(rows, out)`` is the shortest way: C-contiguous float32 or float64 rows, a float64 output of as many
    values, nothing allocated. ``predict`` takes any matrix and makes the output.
    """

    __slots__ = ("_contributions_into", "_raw_into", "forest", "predict_into", "predict_row", "way")

    forest: Forest
    predict_into: Callable[[NDArray[Any], Floats], None]
    """Answers of (rows, features), or of one row of (features,), into a float64 buffer. ValueError for other shapes."""
    predict_row: Callable[[NDArray[Any]], float]
    """The answer of one row of (features,)."""
    way: str
    """How batches are scored: ``numpy``, or the kernel's ``sliced-`` or ``walked-`` and its vectors."""

    def __init__(self, forest: Forest, *, vectors: str = "best", sliced: bool = True, kernel: bool = True) -> None:
        """Take a checked forest.

        Args:
            forest: See ``layout.decode``, ``pack_lightgbm``, ``pack_isolation``.
            vectors: ``best`` that the machine has, or ``plain``, ``avx2``, ``avx512`` at most.
            sliced: False walks every row, also where slicing is possible and faster.
            kernel: False for NumPy.
        """
        self.forest = forest
        if kernel and has_kernel():
            walk = _kernel_of(forest, LEVELS[vectors], sliced=sliced)
            self.predict_into, self.predict_row, self._raw_into = walk.predict_into, walk.predict_row, walk.raw_into
            self._contributions_into = walk.contributions_into
            self.way = walk.way()
        else:
            self.predict_into, self.predict_row, self._raw_into = (
                self._numpy_into,
                self._numpy_row,
                self._numpy_raw_into,
            )
            self._contributions_into = self._numpy_contributions_into
            self.way = "numpy"
        if forest.kind == Kind.HYPERPLANE:
            self._contributions_into = self._numpy_contributions_into

    @classmethod
    def from_bytes(cls, content: bytes, columns: Sequence[str] | None = None) -> Packed:
        """Load a file's bytes.

        Args:
            content: What ``to_bytes`` gave.
            columns: The features that rows will have; refused where the model wants others.

        Raises:
            ModelError: Damaged, cut short, hostile, of another version, or of other features.
        """
        forest = layout.decode(content)
        if columns is not None and forest.names != tuple(columns):
            found, given = ", ".join(forest.names), ", ".join(columns)
            raise ModelError(f"The model wants the inputs {found}; this version gives {given}. Train again.")
        return cls(forest)

    def to_bytes(self) -> bytes:
        """The file's bytes; the same forest gives the same bytes."""
        return layout.encode(self.forest)

    def predict(self, matrix: NDArray[Any], *, num_threads: int = 1) -> Floats:
        """Answers, shape (rows,).

        Args:
            matrix: (rows, features), any numbers; compared as float32. NaN = missing.
            num_threads: More than one share a large batch; the answers are the same.
        """
        return self._run(self.predict_into, self.rows_of(matrix), num_threads)

    def raw(self, matrix: NDArray[Any], *, num_threads: int = 1) -> Floats:
        """Scores before the link (log-odds of a classifier), shape (rows,)."""
        return self._run(self._raw_into, self.rows_of(matrix), num_threads)

    @property
    def base(self) -> float:
        """The raw score before a row has shown anything: what ``contributions`` start from."""
        self._must_explain()
        return self.forest.base + self.forest.scale * int(
            (self.forest.value[self.forest.root[:-1]].astype(np.int64) << self.forest.shift).sum()
        )

    def contributions(self, matrix: NDArray[Any]) -> Floats:
        """Parts of each raw score by feature, shape (rows, features): ``base + parts.sum(axis=1) == raw``, to rounding.

        The change of the expected answer at each split of a row's path (Saabas, 2014), summed in whole numbers.

        Raises:
            ModelError: The model was packed without expectations.
        """
        self._must_explain()
        rows = self.rows_of(matrix)
        out = np.empty((len(rows), len(self.forest.names)))
        self._contributions_into(rows, out)
        return out

    def rows_of(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """The matrix as ``predict_into`` takes it; itself where it can be."""
        rows = np.asarray(matrix)
        if rows.dtype.char not in "fd":  # comparing types would take as long as a hundred trees
            rows = rows.astype(np.float64)
        if rows.ndim == 1:
            rows = rows[None]
        return rows if rows.flags.c_contiguous else np.ascontiguousarray(rows)

    def _run(self, into: Callable[[NDArray[Any], Floats], None], rows: NDArray[Any], threads: int) -> Floats:
        out = np.empty(len(rows))
        if threads <= 1 or len(rows) < 2 * threads:
            into(rows, out)
            return out
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - for those who ask for threads only

        edges = np.linspace(0, len(rows), threads + 1).astype(np.int64)
        with ThreadPoolExecutor(threads) as pool:
            parts = [pool.submit(into, rows[a:b], out[a:b]) for a, b in itertools.pairwise(edges)]
        for part in parts:
            part.result()
        return out

    def _must_explain(self) -> None:
        if not self.forest.explains:
            raise ModelError("The model was packed without what explains it. Export it again with --explain.")

    def _numpy_rows(self, matrix: NDArray[Any]) -> NDArray[np.float32]:
        rows = np.atleast_2d(matrix)
        features = len(self.forest.names)
        if rows.ndim != 2 or rows.shape[1] != features or rows.dtype not in (np.float32, np.float64):  # noqa: PLR2004
            raise ValueError(f"wanted rows of {features} float32 or float64 values")
        return walk_numpy.as_float32(rows)

    def _numpy_raw_into(self, matrix: NDArray[Any], out: Floats) -> None:
        rows = self._numpy_rows(matrix)
        if out.dtype != np.float64 or out.size != len(rows) or not out.flags.c_contiguous:
            raise ValueError(f"wanted a writable float64 output of {len(rows)} values")
        total = walk_numpy.sums(self.forest, rows).astype(np.float64)
        out[...] = (self.forest.base + self.forest.scale * total).reshape(out.shape)

    def _numpy_into(self, matrix: NDArray[Any], out: Floats) -> None:
        self._numpy_raw_into(matrix, out)
        out[...] = walk_numpy.linked(out, self.forest.link, self.forest.slope)

    def _numpy_row(self, row: NDArray[Any]) -> float:
        out = np.empty(1)
        self._numpy_into(row, out)
        return float(out[0])

    def _numpy_contributions_into(self, matrix: NDArray[Any], out: Floats) -> None:
        out[...] = walk_numpy.contributions(self.forest, self._numpy_rows(matrix)) * self.forest.scale


def _kernel_of(forest: Forest, level: int, *, sliced: bool) -> Any:  # noqa: ANN401 - see KERNEL
    return KERNEL(
        int(forest.kind),
        int(forest.link),
        forest.column.shape[1],
        len(forest.names),
        forest.base,
        forest.scale,
        forest.slope,
        level,
        sliced,
        *_arrays(forest),
    )


def _arrays(forest: Forest) -> tuple[NDArray[Any], ...]:
    """In the order that the kernel takes them."""
    return (
        forest.column_feature,
        forest.column_missing,
        forest.column_fill,
        forest.cut_start,
        forest.cuts,
        forest.root,
        forest.right,
        forest.column,
        forest.rank,
        forest.threshold,
        forest.weight,
        forest.value,
        forest.shift,
    )
