"""What the bench of the packed trees measures against, each as a function of rows; None where it is not installed."""

from __future__ import annotations

import ctypes
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import lightgbm as lgb
    from numpy.typing import NDArray

FLOAT32 = 0
NORMAL = 0


class FastRow:
    """LightGBM's own fastest way for one row: ``LGBM_BoosterPredictForMatSingleRowFast``, prepared once."""

    def __init__(self, booster: lgb.Booster, features: int) -> None:
        from lightgbm.basic import _LIB  # type: ignore[attr-defined]  # noqa: PLC0415 - the C interface has no public name in Python

        self._addresses: dict[int, tuple[ctypes.c_void_p, NDArray[np.float32]]] = {}
        self._call = _LIB.LGBM_BoosterPredictForMatSingleRowFast
        self._config = ctypes.c_void_p()
        done = _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
            booster._handle,  # noqa: SLF001 - the same
            ctypes.c_int(NORMAL),
            ctypes.c_int(0),
            ctypes.c_int(-1),
            ctypes.c_int(FLOAT32),
            ctypes.c_int32(features),
            ctypes.c_char_p(b"num_threads=1"),
            ctypes.byref(self._config),
        )
        if done != 0:
            raise RuntimeError("LightGBM's fast path could not be prepared")
        self._length = ctypes.c_int64()
        self._out = np.empty(1)
        self._rest = (ctypes.byref(self._length), self._out.ctypes.data_as(ctypes.POINTER(ctypes.c_double)))

    def predict(self, row: NDArray[np.float32]) -> float:
        """One row's answer; where a row lies is asked once, for NumPy takes longer to say than the trees to answer."""
        known = self._addresses.get(id(row))
        if known is None:
            known = self._addresses[id(row)] = (ctypes.c_void_p(row.ctypes.data), row)
        self._call(self._config, known[0], *self._rest)
        return float(self._out[0])


def onnx_converted(booster: lgb.Booster, features: int) -> bytes | None:
    """The graph of onnxmltools with its defaults, probabilities as a plain tensor."""
    if find_spec("onnxmltools") is None or find_spec("onnxruntime") is None:
        return None
    from onnxmltools.convert import convert_lightgbm  # noqa: PLC0415 - seconds of import
    from onnxmltools.convert.common.data_types import FloatTensorType  # noqa: PLC0415 - the same

    kinds = [("rows", FloatTensorType([None, features]))]
    return bytes(convert_lightgbm(booster, initial_types=kinds, zipmap=False).SerializeToString())


def onnx_session(content: bytes) -> Callable[[NDArray[np.float32]], Any]:
    """Run a graph on one thread."""
    import onnxruntime  # noqa: PLC0415 - optional

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    last = [session.get_outputs()[-1].name]
    return lambda rows: session.run(last, {name: rows})[0]


def lleaves_of(text: str) -> Callable[[NDArray[np.float32]], Any] | None:
    """The model compiled by LLVM; float32 rows are what it takes fastest."""
    if find_spec("lleaves") is None:
        return None
    import lleaves  # noqa: PLC0415 - optional

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model.txt"
        place.write_text(text, encoding="utf-8")
        model = lleaves.Model(model_file=str(place))
        model.compile()
    return lambda rows: model.predict(rows, n_jobs=1)
