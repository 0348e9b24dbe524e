"""The file: what goes in comes out, the documented bytes are the bytes, and what is not whole is refused."""

from __future__ import annotations

import dataclasses
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.trees import grown

from plugcast.errors import ModelError
from plugcast.trees.packed import layout
from plugcast.trees.packed.forest import Forest, Link, check, right_children
from plugcast.trees.packed.predictor import Packed, has_kernel


def any_forest(seed: int) -> Forest:
    shape = seed % 4
    if shape == 0:
        return grown.planes(seed)
    if shape == 1:
        return grown.forest(seed, steps=3000, splits=300, trees=2, features=1)
    return grown.forest(seed, explains=shape == 2, features=1 + seed % 9, steps=1 + seed % 70)


def same(one: Forest, other: Forest) -> bool:
    return all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") and a.dtype == b.dtype and a.shape == b.shape
        if isinstance(a, np.ndarray)
        else a == b
        for a, b in ((getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    )


@given(st.integers(0, 2**32 - 1))
def test_what_goes_in_comes_out(seed: int) -> None:
    made = any_forest(seed)
    content = layout.encode(made)
    assert same(layout.decode(content), made)
    assert layout.encode(layout.decode(content)) == content


def test_the_bytes_are_those_of_the_document() -> None:
    """One stump on the second of two features, by hand."""
    inner = np.array([True, False, False])
    root, right = right_children(inner)
    stump = check(
        dataclasses.replace(
            grown.forest(0, trees=1, splits=0, features=2),
            column_feature=np.array([1], np.uint16),
            column_missing=np.array([2], np.uint8),
            column_fill=np.array([0], np.float32),
            cut_start=np.array([0, 0, 2], np.uint32),
            cuts=np.array([0.5, 1.5], np.float32),
            root=root,
            right=right,
            column=np.zeros((3, 1), np.uint16),
            rank=np.array([1, 0, 0], np.uint8),
            value=np.array([0, -2, 3], np.int16),
            shift=np.array([1], np.uint8),
            explains=False,
            base=1.0,
            scale=0.5,
            link=Link.SIGMOID,
            slope=2.0,
        )
    )
    body = b"feature 0\nfeature 1"
    body += struct.pack("<HBBf", 1, 2, 0, 0.0)  # the column
    body += bytes([0, 2]) + struct.pack("<2f", 0.5, 1.5)  # the thresholds
    body += bytes([0b10000000])  # the structure: inner, leaf, leaf
    body += bytes([0b10000000])  # one column needs no bits, two thresholds need one: the second
    body += bytes([1])  # the unit doubled once
    body += struct.pack("<2h", -2, 3)
    head = struct.pack("<8sHBBBBHHHIIIIddd", b"PLUGTREE", 1, 0, 1, 0, 1, 2, 1, 1, 1, 2, 19, 1, 1.0, 0.5, 2.0)
    blank = head + struct.pack("<II", 68 + len(body), 0) + body
    assert layout.encode(stump) == layout.seal(blank)
    assert Packed.from_bytes(layout.seal(blank)).raw(np.array([[0, 1.5], [0, 1.6], [0, np.nan]])).tolist() == [-1, 4, 4]


@pytest.mark.parametrize("seed", range(4))
def test_every_cut_and_every_flipped_bit_is_refused(seed: int) -> None:
    content = layout.encode(any_forest(seed))
    step = max(1, len(content) // 150)
    for place in range(0, len(content), step):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        for wrong in (content[:place], bytes(damaged), content[:place] + b"x" + content[place:]):
            with pytest.raises(ModelError):
                layout.decode(wrong)


@given(
    seed=st.integers(0, 40),
    writes=st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4),
    header=st.booleans(),
)
def test_a_forged_file_is_refused_or_walked_safely(seed: int, writes: list[tuple[int, bytes]], *, header: bool) -> None:
    """The checksum is made right again: only the checks of the content stand between the file and the walk."""
    forged = bytearray(layout.encode(any_forest(seed)))
    for place, bytes_ in writes:
        start = place % (layout.HEADER.size if header else len(forged))
        forged[start : start + len(bytes_)] = bytes_[: len(forged) - start]
    try:
        made = Packed.from_bytes(layout.seal(bytes(forged)))
    except ModelError:
        return
    some = grown.rows(seed, 20, made.forest)
    np.testing.assert_array_equal(made.predict(some), Packed(made.forest, kernel=False).predict(some))


@given(st.binary(max_size=300))
def test_rubbish_is_refused(content: bytes) -> None:
    for some in (content, layout.MAGIC + content):
        with pytest.raises(ModelError):
            layout.decode(some)


def test_other_versions_and_features_are_named() -> None:
    content = layout.encode(any_forest(3))
    newer = layout.seal(content[:8] + b"\x02\x00" + content[10:])
    with pytest.raises(ModelError, match="version 2; this Plugcast reads 1"):
        layout.decode(newer)
    with pytest.raises(ModelError, match="this version gives a, b"):
        Packed.from_bytes(content, ["a", "b"])


@pytest.mark.parametrize(
    "damage",
    [
        {"cuts": np.array([2, 1], np.float32)},
        {"rank": np.array([9, 0, 0], np.uint8)},
        {"column_feature": np.array([7], np.uint16)},
        {"scale": float("nan")},
    ],
)
def test_what_points_outside_is_refused(damage: dict[str, object]) -> None:
    whole = grown.forest(0, trees=1, splits=1, features=1, steps=2)
    seed = 0
    while whole.splits == 0 or len(whole.cuts) != 1:
        seed += 1
        whole = grown.forest(seed, trees=1, splits=1, features=1, steps=2)
    whole = dataclasses.replace(whole, cuts=np.array([1, 2], np.float32), cut_start=np.array([0, 2], np.uint32))
    assert check(whole) is whole
    with pytest.raises((ModelError, ValueError)):
        Packed(check(dataclasses.replace(whole, **damage)))  # type: ignore[arg-type]


def test_structures_without_an_end_are_refused() -> None:
    for inner in ([True], [False, True], [True, False], []):
        with pytest.raises(ModelError, match="not whole"):
            right_children(np.array(inner, bool))


@pytest.mark.skipif(not has_kernel(), reason="the kernel is not built or is switched off")
@pytest.mark.parametrize(
    "damage",
    [
        {"right": [0, 1, 2]},
        {"right": [-1, 1, 2]},
        {"right": [1, 1, 2]},
        {"right": [3, 1, 2]},
        {"right": [2, 1, 1]},
        {"root": [0, 2]},
        {"root": [0, 4]},
        {"root": [3, 0]},
        {"root": [0, 0, 3]},
        {"value": [0]},
        {"shift": []},
        {"shift": [16]},
        {"rank": [0]},
        {"rank": [255, 0, 0]},
        {"column": [1, 0, 0]},
        {"column_feature": [9]},
        {"column_missing": [9]},
        {"cut_start": [0, 9]},
        {"cut_start": [1, 1]},
        {"cut_start": [0]},
    ],
    ids=str,
)
def test_the_kernel_trusts_nobody(damage: dict[str, list[int]]) -> None:
    """Not even arrays that never were a file."""
    seed = next(n for n in range(99) if grown.forest(n, trees=1, splits=1, features=1).splits)
    whole = grown.forest(seed, trees=1, splits=1, features=1)
    ((name, found),) = damage.items()
    part = np.array(found).astype(getattr(whole, name).dtype).reshape(-1, *getattr(whole, name).shape[1:])
    with pytest.raises(ValueError, match=r".*"):
        Packed(dataclasses.replace(whole, **{name: part}))  # type: ignore[arg-type]
