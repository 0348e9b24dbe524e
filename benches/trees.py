"""Packed trees beside everything else that answers: size, one row, 100,000 rows, error, memory, explanation.

The models are trained on the product's own features of generated telemetry, 19 columns with missing values: 200 trees
of 31 leaves and 500 of 63, a classifier and a regressor each. One thread everywhere. What is not installed is left out
and said so: ``scripts/setup bench`` installs all of it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import lightgbm as lgb
import numpy as np
from benches.registry import Bar, BenchSpec, Outcome, interleave, note
from benches.trees_isolation import isolation_bars, isolation_cases
from benches.trees_memory import memory_bars, memory_cases
from benches.trees_rivals import FastRow, lleaves_of, onnx_converted, onnx_session

from plugcast.features.spec import FeatureSpec
from plugcast.forecast.panel import panel
from plugcast.simulate.telemetry import GeneratorSpec, generate
from plugcast.trees.onnx import lightgbm_to_onnx
from plugcast.trees.packed import layout
from plugcast.trees.packed.pack_lightgbm import pack_lightgbm, read_lightgbm
from plugcast.trees.packed.predictor import Packed, has_kernel
from plugcast.trees.packed.quantise import round_down

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

SHAPES: Final = {"30x15": (30, 15), "200x31": (200, 31), "500x63": (500, 63)}
MISSING, ON_THRESHOLD, ABOVE = 0.1, 0.3, 0.5
"""Shares of the random rows' values."""
OBJECTIVES: Final = {"classifier": "binary", "regressor": "regression_l1"}
ERROR_LIMIT: Final = {"classifier": 3e-4, "regressor": 2e-3}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    vehicles: int
    rows: int
    """Of a batch."""
    slow_rows: int
    """Of a batch for NumPy."""
    calls: int
    """Single rows in one timing."""
    repeats: int
    shapes: tuple[str, ...]


SIZES: Final = {
    "small": _Size(vehicles=8, rows=2_000, slow_rows=500, calls=20, repeats=1, shapes=("30x15",)),
    "full": _Size(vehicles=40, rows=100_000, slow_rows=1_000, calls=1_000, repeats=5, shapes=("200x31", "500x63")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    name: str
    role: str
    booster: lgb.Booster
    text: str
    packed: Packed
    converted: bytes | None
    """By the usual converter."""
    rivals: Mapping[str, Callable[[NDArray[np.float32]], object]]


def run(size: str) -> Outcome:
    """Train, export, compare."""
    wanted = SIZES[size]
    spec = GeneratorSpec(vehicles=wanted.vehicles, days=21, seed=7)
    matrix, targets, columns = _table(spec)
    cases: list[dict[str, Any]] = []
    bars: list[Bar] = []
    for shape in wanted.shapes:
        for role in OBJECTIVES:
            note(f"training and comparing {shape} {role}")
            model = _model(matrix, targets[role], columns, shape, role)
            for part in (_sizes(model), _one_row(model, matrix, wanted), _batch(model, matrix, wanted)):
                cases += part
                bars += _bars(model.name, part)
                for case in part:
                    note(f"  {case}")
            errors = _errors(model, wanted.rows)
            cases.append(errors)
            bars += _error_bars(model, errors)
    with tempfile.TemporaryDirectory() as folder:
        cases += (memory := memory_cases(Path(folder), model.text, model.converted, repeats=wanted.repeats + 2))
        bars += memory_bars(memory)
    cases += (isolation := isolation_cases(size))
    return Outcome(
        data=f"generated telemetry, seed {spec.seed}: {len(matrix)} rows of {len(columns)}; kernel: {has_kernel()}",
        cases=cases,
        bars=bars + isolation_bars(isolation),
    )


def _table(spec: GeneratorSpec) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float64]], tuple[str, ...]]:
    """Features at random leads up to 48 h, whether it was plugged in then, and how the charge had changed."""
    known = panel(generate(spec), FeatureSpec())
    rng = np.random.default_rng(spec.seed)
    row = np.arange(known.rows - 1)
    row = row[known.asset[row] == known.asset[row + 1]]
    ahead = np.minimum(row + rng.integers(1, 300, len(row)), known.rows - 1)
    row, ahead = row[same := known.asset[row] == known.asset[ahead]], ahead[same]
    lead = (known.timestamp_us[ahead] - known.timestamp_us[row]) / 60e6
    change = np.nan_to_num(known.soc[row] - known.soc[ahead])
    targets = {"classifier": known.is_plugged_in[ahead].astype(np.float64), "regressor": change}
    return known.matrix(row, lead), targets, tuple(known.columns)


def _model(
    matrix: NDArray[np.float32], target: NDArray[np.float64], columns: tuple[str, ...], shape: str, role: str
) -> _Model:
    rounds, leaves = SHAPES[shape]
    parameters = {
        "objective": OBJECTIVES[role],
        "num_leaves": leaves,
        "learning_rate": 0.05,
        "min_data_in_leaf": 20,
        "seed": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    booster = lgb.train(parameters, lgb.Dataset(matrix, target, feature_name=list(columns)), num_boost_round=rounds)
    text = booster.model_to_string()
    converted = onnx_converted(booster, len(columns))
    return _Model(
        name=f"{shape} {role}",
        role=role,
        booster=booster,
        text=text,
        packed=Packed.from_bytes(Packed(pack_lightgbm(text)).to_bytes()),
        converted=converted,
        rivals=_rivals(text, converted),
    )


def _sizes(model: _Model) -> list[dict[str, Any]]:
    """Written files, as they lie on the disk."""
    contents = {
        "LightGBM text": model.text.encode(),
        "ONNX, usual converter": model.converted,
        "ONNX, ours, double": lightgbm_to_onnx(model.text),
        "ONNX, ours, float": lightgbm_to_onnx(model.text, double=False),
        "packed": model.packed.to_bytes(),
        "packed, explains": layout.encode(pack_lightgbm(model.text, explains=True)),
    }
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model"
        found = {}
        for name, content in contents.items():
            if content is not None:
                place.write_bytes(content)
                found[name] = place.stat().st_size
    return [
        {
            "model": model.name,
            "figure": "file",
            "what": name,
            "bytes": size,
            "packed_is_smaller": size / found["packed"],
        }
        for name, size in found.items()
    ]


def _one_row(model: _Model, matrix: NDArray[np.float32], wanted: _Size) -> list[dict[str, Any]]:
    """One row through the public Python call, a new row each time."""
    rows = [np.ascontiguousarray(row[None]) for row in matrix[:: max(1, len(matrix) // 64)][:64]]
    booster, packed, out = model.booster, model.packed, np.empty(1)
    fast = FastRow(booster, matrix.shape[1])
    numpy_only = Packed(packed.forest, kernel=False)
    variants: dict[str, Callable[[NDArray[np.float32]], object]] = {
        "packed": packed.predict,
        "packed, predict_into": lambda row: packed.predict_into(row, out),
        "LightGBM": lambda row: booster.predict(row, num_threads=1),
        "LightGBM, C fast path": fast.predict,
        "packed, NumPy only": numpy_only.predict,
        **model.rivals,
    }
    few = {"packed, NumPy only"}
    calls = {name: max(2, wanted.calls // (20 if name in few else 1)) for name in variants}

    def loop(name: str) -> Callable[[], None]:
        call, times = variants[name], calls[name]

        def timed() -> None:
            for place in range(times):
                call(rows[place & 63 if len(rows) == 64 else 0])  # noqa: PLR2004 - see rows

        return timed

    timings = interleave({name: loop(name) for name in variants}, repeats=wanted.repeats)
    return [
        {
            "model": model.name,
            "figure": "one row",
            "what": name,
            "us": (us := timing.median_s / calls[name] * 1e6),
            "low_us": timing.low_s / calls[name] * 1e6,
            "packed_is_faster": us / (timings["packed"].median_s / calls["packed"] * 1e6),
        }
        for name, timing in timings.items()
    ]


def _rivals(text: str, converted: bytes | None) -> dict[str, Callable[[NDArray[np.float32]], object]]:
    """onnxruntime on two graphs and lleaves, as far as they are installed."""
    found: dict[str, Callable[[NDArray[np.float32]], object]] = {}
    if converted is not None:
        found["onnxruntime, usual converter"] = onnx_session(converted)
        found["onnxruntime, our graph, float"] = onnx_session(lightgbm_to_onnx(text, double=False))
    if (compiled := lleaves_of(text)) is not None:
        found["lleaves"] = compiled
    return found


def _batch(model: _Model, matrix: NDArray[np.float32], wanted: _Size) -> list[dict[str, Any]]:
    rng = np.random.default_rng(3)
    rows = np.ascontiguousarray(matrix[rng.integers(0, len(matrix), wanted.rows)])
    slow = rows[: wanted.slow_rows]
    out = np.empty(len(rows))
    booster, packed = model.booster, model.packed
    numpy_only = Packed(packed.forest, kernel=False)
    variants: dict[str, Callable[[], object]] = {
        "packed": lambda: packed.predict(rows),
        "LightGBM": lambda: booster.predict(rows, num_threads=1),
        "packed, NumPy only": lambda: numpy_only.predict(slow),
    }
    if has_kernel():
        for vectors in ("plain", "avx2"):
            narrower = Packed(packed.forest, vectors=vectors)
            variants[f"packed, sliced, {vectors}"] = lambda narrower=narrower: narrower.predict_into(rows, out)  # type: ignore[misc]
        walked = Packed(packed.forest, sliced=False)
        variants["packed, walked 8 at once"] = lambda: walked.predict_into(rows, out)
    for name, rival in model.rivals.items():
        variants[name] = lambda rival=rival: rival(rows)  # type: ignore[misc]
    timings = interleave(variants, repeats=wanted.repeats)
    per_row = {
        name: timing.median_s / (len(slow) if "NumPy" in name else len(rows)) * 1e6 for name, timing in timings.items()
    }
    return [
        {
            "model": model.name,
            "figure": f"{wanted.rows:,} rows",
            "what": name,
            "us_per_row": us,
            "packed_is_faster": us / per_row["packed"],
            "way": packed.way if name == "packed" else None,
        }
        for name, us in per_row.items()
    ]


def _bars(model: str, cases: list[dict[str, Any]]) -> list[Bar]:
    """Promised ratios of one figure."""
    figure = cases[0]["figure"]
    ratios = {case["what"]: case.get("packed_is_smaller", case.get("packed_is_faster", 0.0)) for case in cases}
    limits: Mapping[str, float] = {
        "file": {"LightGBM text": 20.0, "ONNX, usual converter": 14.0},
        "one row": {"LightGBM": 6.0, "onnxruntime, usual converter": 2.5, "LightGBM, C fast path": 1.0},
    }.get(figure, {"LightGBM": 2.5, "onnxruntime, usual converter": 2.0})
    return [
        Bar(name=f"{model}, {figure}: {what} / packed", value=ratios[what], limit=limit, sense="at_least")
        for what, limit in limits.items()
        if what in ratios
    ]


def _errors(model: _Model, count: int) -> dict[str, Any]:
    """Against LightGBM on random rows, a tenth of the values missing, three tenths on a threshold or one bit above."""
    nodes, _, _ = read_lightgbm(model.text)
    rng = np.random.default_rng(5)
    rows = np.empty((count, len(nodes.names)), np.float32)
    for feature in range(rows.shape[1]):
        mine = (nodes.feature == feature) & ~nodes.leaf
        edges = np.clip(round_down(nodes.threshold[mine]), -1e30, 1e30) if mine.any() else np.zeros(1, np.float32)
        near = rng.choice(edges, count)
        near = np.where(rng.random(count) < ABOVE, near, np.nextafter(near, np.float32(np.inf)))
        free = rng.uniform(edges.min() - 1, min(float(edges.max()) + 1, 1e6), count).astype(np.float32)
        rows[:, feature] = np.where(rng.random(count) < ON_THRESHOLD, near, free)
    rows[rng.random(rows.shape) < MISSING] = np.nan
    ours = model.packed.predict(rows)
    few = rows[:3000]
    return {
        "model": model.name,
        "figure": "error",
        "what": f"packed against LightGBM, {count:,} random rows",
        "largest": float(np.abs(ours - np.asarray(model.booster.predict(rows, num_threads=1))).max()),
        "unit": "probability" if model.role == "classifier" else "%",
        "numpy_same_bits": bool(np.array_equal(Packed(model.packed.forest, kernel=False).predict(few), ours[:3000])),
        "narrower_same_bits": all(
            np.array_equal(Packed(model.packed.forest, vectors=vectors).predict(rows), ours)
            for vectors in ("plain", "avx2")
        ),
    }


def _error_bars(model: _Model, errors: dict[str, Any]) -> list[Bar]:
    same = errors["numpy_same_bits"] and errors["narrower_same_bits"]
    return [
        Bar(
            name=f"{model.name}, largest error ({errors['unit']})",
            value=errors["largest"],
            limit=ERROR_LIMIT[model.role],
            sense="at_most",
        ),
        Bar(name=f"{model.name}, NumPy and narrower vectors: same bits", value=float(same), limit=1, sense="at_least"),
    ]


BENCH = BenchSpec(
    name="trees",
    description="Packed trees beside LightGBM, onnxruntime, lleaves, coniferest: size, speed, error, memory.",
    run=run,
)
