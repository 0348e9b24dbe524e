"""Random forests for tests: of any kind and shape, without training anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from plugcast.trees.packed.forest import Forest, Kind, Link, check, right_children
from plugcast.trees.packed.nodes import Nodes, pack_nodes
from plugcast.trees.packed.quantise import expected

if TYPE_CHECKING:
    from numpy.typing import NDArray


def marks(rng: np.random.Generator, splits: int) -> list[bool]:
    """Preorder marks of one random tree."""
    made, waiting = [], [splits]
    while waiting:
        left = waiting.pop()
        made.append(left > 0)
        if left:
            share = int(rng.integers(0, left))
            waiting += [left - 1 - share, share]
    return made


def nodes(seed: int, *, trees: int = 5, splits: int = 20, features: int = 4, steps: int = 30) -> Nodes:
    """Trees with up to ``splits`` splits on thresholds from a grid of ``steps``; some features share rules."""
    rng = np.random.default_rng(seed)
    inner = np.array([mark for _ in range(trees) for mark in marks(rng, int(rng.integers(0, splits + 1)))])
    root, right = right_children(inner)
    count = len(inner)
    grid = np.sort(rng.normal(size=steps))
    return Nodes(
        names=tuple(f"feature {place}" for place in range(features)),
        right=right,
        root=root,
        feature=np.where(inner, rng.integers(0, features, count), 0),
        missing=np.where(inner, rng.integers(0, 3, count), 0).astype(np.uint8),
        threshold=np.where(inner, grid[rng.integers(0, steps, count)], 0.0),
        answer=expected(
            rng.normal(size=count) * 10 ** rng.uniform(-2, 2, count),
            rng.integers(1, 50, count).astype(float),
            ~inner,
            right,
        ),
        fill=np.zeros(features),
    )


def forest(seed: int, *, link: Link = Link.IDENTITY, explains: bool = True, **shape: int) -> Forest:
    """A RANKED forest, or a DIRECT one where ``steps`` is large."""
    return pack_nodes(nodes(seed, **shape), link=link, slope=1.5, explains=explains)


def planes(seed: int, *, trees: int = 5, splits: int = 20, features: int = 4, terms: int = 3) -> Forest:
    """A forest of hyperplanes."""
    rng = np.random.default_rng(seed)
    inner = np.array([mark for _ in range(trees) for mark in marks(rng, int(rng.integers(0, splits + 1)))])
    root, right = right_children(inner)
    count = len(inner)
    column = np.where(inner[:, None], rng.integers(0, features, (count, terms)), 0)
    return check(
        Forest(
            kind=Kind.HYPERPLANE,
            names=tuple(f"feature {place}" for place in range(features)),
            column_feature=np.arange(features, dtype=np.uint16),
            column_missing=np.full(features, 3, np.uint8),
            column_fill=rng.normal(size=features).astype(np.float32),
            cut_start=np.zeros(features + 1, np.uint32),
            cuts=np.zeros(0, np.float32),
            root=root,
            right=right,
            column=column.astype(np.uint16),
            rank=np.zeros(0, np.uint8),
            threshold=np.where(inner, rng.normal(size=count), np.nan).astype(np.float32),
            weight=np.where(inner[:, None], rng.normal(size=(count, terms)), 0).astype(np.float32),
            value=rng.integers(-32767, 32768, count).astype(np.int16),
            shift=rng.integers(0, 5, trees).astype(np.uint8),
            explains=True,
            base=1.0,
            scale=1e-4,
            link=Link.EXP,
            slope=-0.1,
        )
    )


def rows(seed: int, count: int, made: Forest) -> NDArray[np.float32]:
    """Rows that hurt: missing values, infinities, zeros, and values that equal thresholds or miss them by one bit."""
    rng = np.random.default_rng(seed)
    some = rng.normal(size=(count, len(made.names))).astype(np.float32)
    edges = made.cuts if made.kind == Kind.RANKED else made.threshold[np.isfinite(made.threshold)]
    if len(edges):
        picked = rng.choice(edges, some.shape)
        picked = np.where(rng.random(some.shape) < 0.3, np.nextafter(picked, np.float32(np.inf)), picked)
        some = np.where(rng.random(some.shape) < 0.4, picked, some)
    odd = np.array([np.nan, np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38, 1e-45], np.float32)
    return np.where(rng.random(some.shape) < 0.3, rng.choice(odd, some.shape), some).astype(np.float32)
