"""A linear programme as plain arrays, put together block by block and laid out by columns in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from plugcast.schedule.arrays import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """minimise cost.x subject to row_lower <= A x <= row_upper, lower <= x <= upper; A by columns."""

    start: npt.NDArray[np.int32]
    index: npt.NDArray[np.int32]
    value: FloatArray
    cost: FloatArray
    lower: FloatArray
    upper: FloatArray
    row_lower: FloatArray
    row_upper: FloatArray

    @property
    def columns(self) -> int:
        """How many."""
        return len(self.cost)

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.row_lower)

    def column_of_entry(self) -> IntArray:
        """[nonzeros] the column of each entry."""
        return np.repeat(np.arange(self.columns), np.diff(self.start))

    def times(self, x: FloatArray) -> FloatArray:
        """A x."""
        terms = self.value * x[self.column_of_entry()]
        return np.bincount(self.index, weights=terms, minlength=self.rows).astype(np.float64, copy=False)


class Builder:
    """Collects blocks of columns, rows and entries; indices are given as they come."""

    def __init__(self) -> None:
        self.count = 0
        self.row_count = 0
        self._columns: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        self._rows: list[tuple[FloatArray, FloatArray]] = []
        self._entries: list[tuple[IntArray, IntArray, FloatArray]] = []

    def columns(
        self, count: int, *, cost: FloatArray | float = 0.0, lower: FloatArray | float = 0.0, upper: FloatArray | float
    ) -> int:
        """Add a block; its first index."""
        first = self.count
        self._columns.append((_filled(cost, count), _filled(lower, count), _filled(upper, count)))
        self.count += count
        return first

    def rows(self, count: int, *, lower: FloatArray | float = -np.inf, upper: FloatArray | float = np.inf) -> int:
        """Add a block; its first index."""
        first = self.row_count
        self._rows.append((_filled(lower, count), _filled(upper, count)))
        self.row_count += count
        return first

    def add(self, rows: IntArray | int, columns: IntArray | int, values: FloatArray | float) -> None:
        """Entries, one an element; whichever is single is repeated. No place may get two."""
        count = max(np.size(rows), np.size(columns))
        self._entries.append((_whole(rows, count), _whole(columns, count), _filled(values, count)))

    def finish(self) -> Programme:
        """The programme by columns."""
        column = np.concatenate([entry[1] for entry in self._entries])
        # blocks come in ascending columns: a stable sort merges them in almost linear time
        order = np.argsort(column, kind="stable")
        start = np.zeros(self.count + 1, dtype=np.int32)
        np.cumsum(np.bincount(column, minlength=self.count), out=start[1:])
        cost, lower, upper = (np.concatenate([block[part] for block in self._columns]) for part in range(3))
        return Programme(
            start=start,
            index=np.concatenate([entry[0] for entry in self._entries])[order].astype(np.int32),
            value=np.concatenate([entry[2] for entry in self._entries])[order],
            cost=cost,
            lower=lower,
            upper=upper,
            row_lower=np.concatenate([block[0] for block in self._rows]),
            row_upper=np.concatenate([block[1] for block in self._rows]),
        )


def _filled(value: FloatArray | float, count: int) -> FloatArray:
    if isinstance(value, np.ndarray) and value.shape == (count,):
        return value
    filled = np.empty(count)
    filled[:] = value
    return filled


def _whole(value: IntArray | int, count: int) -> IntArray:
    return value if isinstance(value, np.ndarray) else np.full(count, value, dtype=np.int64)
