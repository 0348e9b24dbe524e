from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.adapters.acn.scan import ArrayScanner, lines

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAVES = st.one_of(st.none(), st.integers(), st.text(max_size=6), st.sampled_from(['"', "\\", '\\"', "]", '}"', "[{"]))
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
ITEMS = st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=3), max_size=6)


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@settings(max_examples=60)
@given(items=ITEMS, size=st.integers(1, 40), keyed=st.booleans(), indent=st.sampled_from([None, 1]))
def test_the_scanner_agrees_with_json_however_the_text_is_cut(
    *, items: list[Any], size: int, keyed: bool, indent: int | None
) -> None:
    whole: Any = {"_meta": {"a": "]"}, "_items": items, "_links": {}} if keyed else items
    scanner = ArrayScanner(limit=10_000, keyed=keyed)
    text = json.dumps(whole, indent=indent).encode()
    pieces = [piece for chunk in chunks(text, size) for piece in scanner.feed(chunk)]
    pieces += scanner.finish()
    assert [piece.problem for piece in pieces] == [None] * len(items)
    assert [json.loads(piece.data) for piece in pieces] == items


@settings(max_examples=60)
@given(data=st.binary(max_size=120), size=st.integers(1, 40), limit=st.integers(1, 30))
def test_lines_agree_with_split_however_the_text_is_cut(data: bytes, size: int, limit: int) -> None:
    data = data.replace(b"\r", b"\n")
    wanted = data.split(b"\n")
    if not wanted[-1]:
        wanted.pop()
    pieces = list(lines(chunks(data, size), limit=limit))
    assert len(pieces) == len(wanted)
    for piece, line in zip(pieces, wanted, strict=True):
        assert (piece.problem is not None) == (len(line) > limit)
        assert line.startswith(piece.data)
        assert piece.data == line or piece.problem
