"""Kernel, NumPy and plain Python walk every forest to the same bits; explanations add up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.trees import grown

from plugcast.errors import ModelError
from plugcast.trees.packed import walk_numpy
from plugcast.trees.packed.forest import Forest, Kind, Link, Missing
from plugcast.trees.packed.predictor import LEVELS, Packed, has_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

kernel = pytest.mark.skipif(not has_kernel(), reason="the kernel is not built or is switched off")
SHAPES: dict[str, dict[str, Any]] = {
    "ranked": {"trees": 9, "splits": 30},
    "ranked of many leaves": {"trees": 5, "splits": 200},
    "direct": {"trees": 9, "splits": 80, "steps": 4000, "features": 1},
    "stumps": {"trees": 20, "splits": 1},
    "leaves": {"trees": 3, "splits": 0},
    "127 splits": {"trees": 30, "splits": 127, "steps": 200},
}


def by_hand(made: Forest, row: NDArray[np.float32]) -> int:
    """The definition, one node at a time."""
    total = 0
    for start, shift in zip(made.root[:-1].tolist(), made.shift.tolist(), strict=True):
        node = start
        while made.right[node] != node:
            column = made.column[node, 0]
            feature, rule = made.column_feature[column], made.column_missing[column]
            value = row[feature]
            if np.isnan(value) and rule == Missing.ZERO:
                value = np.float32(0)
            if made.kind == Kind.RANKED:
                bound = made.cuts[made.cut_start[feature] + made.rank[node]]
            else:
                bound = made.threshold[node]
            left = rule == Missing.LEFT if np.isnan(value) else value <= bound
            node = node + 1 if left else int(made.right[node])
        total += int(made.value[node]) << shift
    return total


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_numpy_walks_as_the_definition_says(shape: dict[str, Any]) -> None:
    made = grown.forest(3, **shape)
    some = grown.rows(4, 60, made)
    assert walk_numpy.sums(made, some).tolist() == [by_hand(made, row) for row in some]


@kernel
@pytest.mark.parametrize("vectors", [name for name in LEVELS if name != "best"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 300), wide=st.booleans(), link=st.sampled_from(Link))
def test_kernel_and_numpy_give_the_same_bits(
    shape: dict[str, Any], vectors: str, seed: int, count: int, link: Link, *, wide: bool
) -> None:
    made = grown.forest(seed, link=link, **shape)
    some = grown.rows(seed, count, made).astype(np.float64 if wide else np.float32)
    fast, slow = Packed(made, vectors=vectors), Packed(made, kernel=False)
    np.testing.assert_array_equal(fast.predict(some), slow.predict(some))
    np.testing.assert_array_equal(fast.raw(some), slow.raw(some))
    np.testing.assert_array_equal(fast.contributions(some[:20]), slow.contributions(some[:20]))
    np.testing.assert_array_equal(Packed(made, vectors=vectors, sliced=False).predict(some), slow.predict(some))
    for row, answer in zip(some[:5], fast.predict(some), strict=False):
        assert fast.predict_row(row) == slow.predict_row(row) == answer


@kernel
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 100), terms=st.integers(1, 6))
def test_hyperplanes_are_the_same_bits_too(seed: int, count: int, terms: int) -> None:
    made = grown.planes(seed, terms=terms)
    some = grown.rows(seed, count, made)
    np.testing.assert_array_equal(Packed(made).predict(some), Packed(made, kernel=False).predict(some))


def test_a_row_alone_scores_as_in_a_batch_and_in_any_number_of_threads() -> None:
    made = Packed(grown.forest(8, trees=30, splits=30))
    some = grown.rows(8, 501, made.forest)
    together = made.predict(some)
    np.testing.assert_array_equal(together, np.concatenate([made.predict(row[None]) for row in some]))
    for threads in (2, 5):
        np.testing.assert_array_equal(together, made.predict(some, num_threads=threads))


@given(seed=st.integers(0, 2**32 - 1), plane=st.booleans())
def test_contributions_add_up_to_the_raw_score(seed: int, *, plane: bool) -> None:
    made = Packed(grown.planes(seed) if plane else grown.forest(seed))
    some = grown.rows(seed, 40, made.forest)
    added = made.base + made.contributions(some).sum(axis=1)
    np.testing.assert_allclose(added, made.raw(some), rtol=1e-12, atol=1e-12)


def test_without_expectations_there_is_no_explanation() -> None:
    plain = Packed(grown.forest(1, explains=False))
    for ask in (lambda: plain.base, lambda: plain.contributions(np.zeros((1, 4)))):
        with pytest.raises(ModelError, match="--explain"):
            ask()


@pytest.mark.parametrize("walk", [True, False], ids=["kernel", "numpy"])
def test_wrong_shapes_and_types_are_refused_before_anything_is_read(*, walk: bool) -> None:
    made = Packed(grown.forest(1), kernel=walk)
    good, out = np.zeros((3, 4)), np.zeros(3)
    for rows in (np.zeros((3, 5)), np.zeros((3, 4), np.int64), np.zeros((3, 4, 1)), np.zeros(3)):
        with pytest.raises(ValueError, match="wanted rows of 4"):
            made.predict_into(rows, out)
    shorts: tuple[NDArray[Any], ...] = (np.zeros(2), np.zeros(4), np.zeros(3, np.float32))
    for short in shorts:
        with pytest.raises(ValueError, match="output of 3"):
            made.predict_into(good, short)
    with pytest.raises((ValueError, BufferError)):
        made.predict_into(good, np.zeros(6)[::2])


@given(st.floats(-700, 700))
def test_exp_is_within_two_units_in_the_last_place(value: float) -> None:
    ours = float(walk_numpy.exp(np.array([value]))[0])
    assert abs(ours - math.exp(value)) <= 2 * math.ulp(ours)


def test_exp_at_the_ends() -> None:
    assert walk_numpy.exp(np.array([0.0, -1e9, 1e9])).tolist() == pytest.approx([1.0, math.exp(-708), math.exp(708)])


def test_numbers_beyond_float32_become_its_largest() -> None:
    made = Packed(grown.forest(5))
    huge = np.array([[1e300, -1e300, 1e39, -1e39]])
    most = np.float64(np.finfo(np.float32).max)
    np.testing.assert_array_equal(made.predict(huge), made.predict(np.array([[most, -most, most, -most]])))
    np.testing.assert_array_equal(made.predict(np.array([[1, 0, 2, 0]])), made.predict(np.array([[1.0, 0, 2, 0]])))
