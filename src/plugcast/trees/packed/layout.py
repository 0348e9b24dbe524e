"""The bytes of a packed forest. docs/reference/packed-trees.md has the same table for readers of other languages.

Little-endian, no padding between sections; they follow the 68-byte header in this order, and the file ends with the
last of them. Bit streams put the high bit first and fill their last byte with zeros.

====================  ==========================================  =============================================
section               size                                        content
====================  ==========================================  =============================================
names                 ``names_bytes``                             features, UTF-8, one a line, no newline at the end
columns               8 bytes a column                            u16 feature, u8 missing rule, u8 zero, f32 fill
threshold counts      1 byte a feature (RANKED)                   u8
thresholds            4 bytes each (RANKED)                       f32, rising within each feature
structure             2 * splits + trees bits                     preorder, 1 = inner, 0 = leaf
node columns          bits(columns) for each term of each split   index of the column
node ranks            bits(thresholds of its feature) a split     index of the threshold (RANKED)
node thresholds       4 bytes a split (DIRECT, HYPERPLANE)        f32
node weights          4 bytes a term (HYPERPLANE)                 f32
shifts                1 byte a tree                               u8, doublings of the tree's unit
leaves                2 bytes a leaf                              i16, in units of ``scale * 2 ** shift``
expectations          2 bytes a split (flag 1)                    i16, the same units
====================  ==========================================  =============================================

``bits(n)`` is how many bits the numbers 0 to n - 1 need: 0 for 1, 5 for 27, 8 for 255.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from plugcast.errors import ModelError
from plugcast.trees.packed.forest import MOST_TERMS, Forest, Kind, Link, check, right_children

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC: Final = b"PLUGTREE"
VERSION: Final = 1
HEADER: Final = struct.Struct("<8sHBBBBHHHIIIIdddII")
"""magic, version, kind, link, flags, terms, features, columns, trees, splits, thresholds, names_bytes, rank_bytes,
base, scale, slope, file length, CRC-32 of the whole file with this last field zero."""
EXPLAINS: Final = 1
COLUMN: Final = np.dtype([("feature", "<u2"), ("missing", "u1"), ("zero", "u1"), ("fill", "<f4")])
MOST_SPLITS: Final = 2**26


class Header(NamedTuple):
    """The first 68 bytes."""

    magic: bytes
    version: int
    kind: int
    link: int
    flags: int
    terms: int
    features: int
    columns: int
    trees: int
    splits: int
    thresholds: int
    names_bytes: int
    rank_bytes: int
    base: float
    scale: float
    slope: float
    length: int
    crc: int

    @property
    def sections(self) -> dict[str, int]:
        """Bytes of every section, in order."""
        ranked = self.kind == Kind.RANKED
        return {
            "names": self.names_bytes,
            "columns": self.columns * COLUMN.itemsize,
            "threshold_counts": self.features * ranked,
            "thresholds": self.thresholds * 4,
            "structure": -(-(2 * self.splits + self.trees) // 8),
            "node_columns": -(-self.splits * self.terms * bits(self.columns) // 8),
            "node_ranks": self.rank_bytes,
            "node_thresholds": self.splits * 4 * (not ranked),
            "node_weights": self.splits * self.terms * 4 * (self.kind == Kind.HYPERPLANE),
            "shifts": self.trees,
            "leaves": (self.splits + self.trees) * 2,
            "expectations": self.splits * 2 * (self.flags & EXPLAINS),
        }


def encode(forest: Forest) -> bytes:
    """The file's bytes; the same forest gives the same bytes.

    Raises:
        ModelError: The forest breaks a limit of the format.
    """
    check(forest)
    leaf = forest.leaf
    inner = ~leaf
    if any("\n" in name for name in forest.names):
        raise ModelError("A feature's name has a line break in it. Rename the feature.")
    names = "\n".join(forest.names).encode()
    columns = np.zeros(len(forest.column_feature), COLUMN)
    columns["feature"], columns["missing"] = forest.column_feature, forest.column_missing
    columns["fill"] = forest.column_fill
    ranked = forest.kind == Kind.RANKED
    ranks = _pack_bits(forest.rank[inner], _rank_bits(forest)[forest.column[inner, 0]]) if ranked else b""
    sections: tuple[bytes, ...] = (
        names,
        columns.tobytes(),
        np.diff(forest.cut_start).astype("u1").tobytes() if ranked else b"",
        forest.cuts.astype("<f4").tobytes() if ranked else b"",
        np.packbits(inner).tobytes(),
        _pack_bits(forest.column[inner].ravel(), bits(len(columns))),
        ranks,
        b"" if ranked else forest.threshold[inner].astype("<f4").tobytes(),
        forest.weight[inner].astype("<f4").tobytes() if forest.kind == Kind.HYPERPLANE else b"",
        forest.shift.tobytes(),
        forest.value[leaf].astype("<i2").tobytes(),
        forest.value[inner].astype("<i2").tobytes() if forest.explains else b"",
    )
    header = Header(
        magic=MAGIC,
        version=VERSION,
        kind=forest.kind,
        link=forest.link,
        flags=EXPLAINS if forest.explains else 0,
        terms=forest.column.shape[1],
        features=len(forest.names),
        columns=len(columns),
        trees=forest.trees,
        splits=forest.splits,
        thresholds=len(forest.cuts) if ranked else 0,
        names_bytes=len(names),
        rank_bytes=len(ranks),
        base=forest.base,
        scale=forest.scale,
        slope=forest.slope,
        length=HEADER.size + sum(map(len, sections)),
        crc=0,
    )
    return seal(HEADER.pack(*header) + b"".join(sections))


def seal(content: bytes) -> bytes:
    """The content with its CRC-32 put in; it finds damage, not tampering: that is a signature's task."""
    blank = content[: HEADER.size - 4] + bytes(4) + content[HEADER.size :]
    return blank[: HEADER.size - 4] + struct.pack("<I", zlib.crc32(blank)) + blank[HEADER.size :]


def read_header(content: bytes) -> Header:
    """The header, if it and the checksum can be believed.

    Raises:
        ModelError: This is no packed forest, one of another version, or a damaged one.
    """
    if content[: len(MAGIC)] != MAGIC:
        raise ModelError("This is not a packed model: it does not begin with PLUGTREE. Make one: plugcast model export")
    if len(content) < HEADER.size:
        raise ModelError(f"The packed model is cut short: {len(content)} bytes are no header. Copy it again.")
    header = Header(*HEADER.unpack_from(content))
    if header.version != VERSION:
        raise ModelError(
            f"The packed model has format version {header.version}; this Plugcast reads {VERSION}. Export it again."
        )
    known = header.kind in set(Kind) and header.link in set(Link) and header.flags in {0, EXPLAINS}
    one_term = header.terms == 1 or (header.kind == Kind.HYPERPLANE and 1 <= header.terms <= MOST_TERMS)
    small = header.splits <= MOST_SPLITS and (header.kind == Kind.RANKED or header.thresholds == header.rank_bytes == 0)
    if not (known and one_term and small):
        raise ModelError("The packed model's header names a kind, link or size that does not exist. Export it again.")
    wanted = HEADER.size + sum(header.sections.values())
    if header.length != wanted or len(content) != wanted:
        raise ModelError(
            f"The packed model should have {wanted} bytes and has {len(content)}: it is cut short or damaged. "
            "Copy or export it again."
        )
    if header.crc != zlib.crc32(content[HEADER.size :], zlib.crc32(content[: HEADER.size - 4] + bytes(4))):
        raise ModelError("The packed model's checksum is wrong: it is damaged. Copy or export it again.")
    return header


def decode(content: bytes) -> Forest:
    """Read and check a file. What it says is believed nowhere: lengths, indices and ranks are checked before use.

    Raises:
        ModelError: The file is damaged, cut short, of another version, or no packed forest.
    """
    header = read_header(content)
    parts, start = {}, HEADER.size
    for name, size in header.sections.items():
        parts[name] = content[start : start + size]
        start += size
    inner = np.unpackbits(np.frombuffer(parts["structure"], np.uint8))
    nodes = 2 * header.splits + header.trees
    if inner[nodes:].any() or int(inner.sum()) != header.splits:
        raise ModelError("The packed model's structure has another number of splits than its header. Export it again.")
    marks = inner[:nodes].astype(np.bool_)
    root, right = right_children(marks)
    if len(root) - 1 != header.trees:
        raise ModelError("The packed model's structure has another number of trees than its header. Export it again.")
    return check(_unfold(header, parts, marks, root, right))


def _unfold(
    header: Header,
    parts: dict[str, bytes],
    inner: NDArray[np.bool_],
    root: NDArray[np.int32],
    right: NDArray[np.int32],
) -> Forest:
    columns = np.frombuffer(parts["columns"], COLUMN)
    if columns["zero"].any():
        raise ModelError("The packed model has something where zeros belong. Export it again.")
    nodes, terms = len(inner), header.terms
    explains = bool(header.flags & EXPLAINS)
    value = np.zeros(nodes, np.int16)
    value[~inner] = np.frombuffer(parts["leaves"], "<i2")
    if explains:
        value[inner] = np.frombuffer(parts["expectations"], "<i2")
    ranked, plane, none = header.kind == Kind.RANKED, header.kind == Kind.HYPERPLANE, np.zeros(0, np.bool_)
    splits = _unpack_bits(parts["node_columns"], np.full(header.splits * terms, bits(header.columns)), "columns")
    if (header.splits and splits.max() >= header.columns) or (columns["feature"] >= header.features).any():
        raise ModelError("The packed model holds a node or column of what is not there. Export it again.")
    cut_start = _cut_start(header, parts["threshold_counts"])
    rank = np.zeros(0, np.uint8)
    if ranked:
        width = _width(np.diff(cut_start)[columns["feature"]])
        rank = _unpack_bits(parts["node_ranks"], width[splits], "ranks").astype(np.uint8)
    return Forest(
        kind=Kind(header.kind),
        names=_names(parts["names"], header.features),
        column_feature=columns["feature"].astype(np.uint16),
        column_missing=columns["missing"].copy(),
        column_fill=columns["fill"].astype(np.float32),
        cut_start=cut_start,
        cuts=np.frombuffer(parts["thresholds"], "<f4").astype(np.float32),
        root=root,
        right=right,
        column=_spread(splits.reshape(-1, terms), inner, np.uint16, 0),
        rank=_spread(rank, inner if ranked else none, np.uint8, 0),
        threshold=_spread(
            np.frombuffer(parts["node_thresholds"], "<f4"), none if ranked else inner, np.float32, np.nan
        ),
        weight=_spread(
            np.frombuffer(parts["node_weights"], "<f4").reshape(-1, terms), inner if plane else none, np.float32, 0
        ),
        value=value,
        shift=np.frombuffer(parts["shifts"], "u1").copy(),
        explains=explains,
        base=header.base,
        scale=header.scale,
        link=Link(header.link),
        slope=header.slope,
    )


def _names(content: bytes, features: int) -> tuple[str, ...]:
    try:
        names = tuple(content.decode().split("\n"))
    except UnicodeDecodeError as error:
        raise ModelError(f"The packed model's feature names are no text ({error}). Export it again.") from error
    if len(names) != features:
        raise ModelError(f"The packed model has {len(names)} names for {features} features. Export it again.")
    return names


def _cut_start(header: Header, counts: bytes) -> NDArray[np.uint32]:
    if header.kind != Kind.RANKED:
        return np.zeros(header.features + 1, np.uint32)
    start = np.concatenate([[0], np.cumsum(np.frombuffer(counts, "u1"), dtype=np.uint32)]).astype(np.uint32)
    if start[-1] != header.thresholds:
        raise ModelError("The packed model's threshold counts do not add up. Export it again.")
    return start


def bits(count: int) -> int:
    """How many bits the numbers 0 to ``count - 1`` need."""
    return max(count - 1, 0).bit_length()


def _width(counts: NDArray[Any]) -> NDArray[np.int64]:
    return np.array([bits(count) for count in counts.tolist()], np.int64)


def _rank_bits(forest: Forest) -> NDArray[np.int64]:
    """(columns,)."""
    return _width(np.diff(forest.cut_start)[forest.column_feature])


def _pack_bits(values: NDArray[Any], width: NDArray[np.int64] | int) -> bytes:
    """Numbers one after another, each in its own number of bits."""
    widths = np.broadcast_to(np.asarray(width, np.int64), values.shape)
    start = np.cumsum(widths) - widths
    stream = np.zeros(int(widths.sum()), np.uint8)
    for place in range(int(widths.max(initial=0))):  # the place-th bit from the right of all that have one
        there = widths > place
        stream[(start + widths - 1 - place)[there]] = values[there] >> place & 1
    return np.packbits(stream).tobytes()


def _unpack_bits(content: bytes, widths: NDArray[np.int64], what: str) -> NDArray[np.int64]:
    """The inverse; refuses a stream of another length or with something behind its end."""
    stream = np.unpackbits(np.frombuffer(content, np.uint8))
    total = int(widths.sum())
    if len(content) != -(-total // 8) or stream[total:].any():
        raise ModelError(f"The packed model's {what} are not as long as its nodes need. Export it again.")
    end = np.cumsum(widths)
    values = np.zeros(len(widths), np.int64)
    for place in range(int(widths.max(initial=0))):
        there = widths > place
        values[there] |= stream[(end - 1 - place)[there]].astype(np.int64) << place
    return values


def _spread(found: NDArray[Any], inner: NDArray[np.bool_], dtype: type[np.generic], rest: float) -> NDArray[Any]:
    """Values of splits in their places among all nodes."""
    spread = np.full((len(inner), *found.shape[1:]), rest, dtype)
    spread[inner] = found
    return spread
