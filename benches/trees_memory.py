"""Peak memory of programs that load one model and score a batch, beside bare NumPy."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from benches.registry import Bar, interleave_commands

from plugcast.trees.packed.pack_lightgbm import pack_lightgbm
from plugcast.trees.packed.predictor import Packed

if TYPE_CHECKING:
    from pathlib import Path

LIMIT: Final = 1.3
_ROWS = "import numpy as np, sys; rows = np.zeros((64, int(sys.argv[2])), np.float32); "
PROGRAMS: Final = {
    "bare NumPy": _ROWS,
    "packed": _ROWS
    + "from plugcast.trees.packed.predictor import Packed; "
    + "Packed.from_bytes(open(sys.argv[1], 'rb').read()).predict(rows)",
    "LightGBM": _ROWS + "import lightgbm; lightgbm.Booster(model_file=sys.argv[1]).predict(rows, num_threads=1)",
    "onnxruntime": _ROWS
    + "import onnxruntime; s = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider']); "
    + "s.run(None, {s.get_inputs()[0].name: rows})",
}


def memory_cases(folder: Path, text: str, converted: bytes | None, *, repeats: int) -> list[dict[str, Any]]:
    """Each program's peak resident memory."""
    packed = Packed(pack_lightgbm(text))
    contents = {"bare NumPy": b"", "packed": packed.to_bytes(), "LightGBM": text.encode()}
    if converted is not None and find_spec("onnxruntime") is not None:
        contents["onnxruntime"] = converted
    commands = {}
    for name, content in contents.items():
        place = folder / name.replace(" ", "_")
        place.write_bytes(content)
        commands[name] = (sys.executable, "-c", PROGRAMS[name], str(place), str(len(packed.forest.names)))
    timings = interleave_commands(commands, repeats=repeats)
    bare = timings["bare NumPy"].peak_mb or 0.0
    return [
        {
            "model": "the last of the above",
            "figure": "peak memory of a process that loads and predicts",
            "what": name,
            "peak_mb": timing.peak_mb,
            "of_bare_numpy": (timing.peak_mb or 0.0) / bare,
            "start_cpu_s": timing.median_s,
        }
        for name, timing in timings.items()
    ]


def memory_bars(cases: list[dict[str, Any]]) -> list[Bar]:
    """The promise."""
    value = next(case["of_bare_numpy"] for case in cases if case["what"] == "packed")
    return [Bar(name="peak memory: packed / bare NumPy", value=value, limit=LIMIT, sense="at_most")]
