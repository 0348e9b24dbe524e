"""A coverage-guided fuzzer of the packed format: python tests/fuzz/fuzz_packed.py FOLDER -max_total_time=600.

Bytes are read as they come and once more with their checksum made right, so that everything behind it is reached. What
the loader accepts is walked by the kernel and by NumPy, and both must agree. Needs ``pip install atheris``; run by
``scripts/fuzz``, which starts it under sanitisers where it can.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import atheris
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["plugcast.trees"]):
    from tests.unit.trees import grown

    from plugcast.errors import ModelError
    from plugcast.trees.packed import layout
    from plugcast.trees.packed.predictor import Packed

MOST_NODES, MOST_WORK = 20_000, 4_000_000


def seeds(folder: Path) -> None:
    """Small files of every kind to start from."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(12):
        shape: dict[str, Any] = {"trees": 1 + seed % 3, "splits": 6, "features": 1 + seed % 4}
        made = grown.planes(seed) if seed % 4 == 0 else grown.forest(seed, steps=3 if seed % 3 else 900, **shape)
        (folder / f"seed{seed}").write_bytes(layout.encode(made))


def check(content: bytes) -> None:
    """Refused with our error, or walked to the same bits by both."""
    try:
        packed = Packed.from_bytes(content)
    except ModelError:
        return
    forest = packed.forest
    if len(forest.right) > MOST_NODES or len(forest.right) * len(forest.names) > MOST_WORK:
        return
    rows = grown.rows(len(content), 20, forest)
    slow = Packed(forest, kernel=False)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(packed.predict(rows), slow.predict(rows))
        if forest.explains:
            np.testing.assert_array_equal(packed.contributions(rows), slow.contributions(rows))


def one_input(data: bytes) -> None:
    """What the fuzzer calls."""
    check(data)
    if len(data) >= layout.HEADER.size:
        length = data[: layout.HEADER.size - 8] + len(data).to_bytes(4, "little") + data[layout.HEADER.size - 4 :]
        check(layout.seal(length))


if __name__ == "__main__":
    seeds(Path(sys.argv[1]))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
