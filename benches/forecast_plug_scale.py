"""How fast and how large: a fleet's 48 h in one batch, and training on a million samples in a process of its own.

python -m benches.forecast_plug_scale VEHICLES DAYS ROWS_OF_AN_ANCHOR   # prints rows, CPU seconds, peak memory
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from benches.registry import ROOT, Bar, interleave, note

from plugcast.features.spec import FeatureSpec
from plugcast.forecast import horizon
from plugcast.forecast.panel import Panel, panel, plug_matrix
from plugcast.simulate.telemetry import GeneratorSpec, generate

MOST_CPU_S, MOST_MB = 20.0, 2_048.0
LEADS_MIN = np.arange(1, 193) * 15.0


def _fleet(vehicles: int, days: int) -> Panel:
    return panel(generate(GeneratorSpec(vehicles=vehicles, days=days)), FeatureSpec())


def batch(vehicles: int, days: int, anchor_rows: int) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Every vehicle's newest sample at 192 leads: calibrated forecast beside one plain LightGBM on the same rows."""
    model = horizon.train(_fleet(12, 14), _spec(anchor_rows)).model
    fleet = _fleet(vehicles, days)
    newest = fleet.newest_rows()
    row, lead = np.repeat(newest, len(LEADS_MIN)), np.tile(LEADS_MIN, len(newest))
    plain, matrix = model.energy[1], fleet.matrix(row, lead)
    timing = interleave(
        {
            "plug state and energy, calibrated": lambda: model.expect_paths(fleet, newest, LEADS_MIN),
            "every lead asked of the trees": lambda: model.expect(fleet, row, lead),
            "inputs alone": lambda: plug_matrix(fleet, row, lead),
            "LightGBM's predict, 150 trees of 31 leaves": lambda: plain.predict(matrix, num_threads=1),
        },
        repeats=3,
    )
    cases = [
        {
            "part": "one batch",
            "variant": name,
            "vehicles": len(newest),
            "rows": len(row),
            "cpu_s": each.median_s,
            "rows_per_s": len(row) / each.median_s,
            "peak_mb": each.peak_mb,
        }
        for name, each in timing.items()
    ]
    ours = timing["plug state and energy, calibrated"].median_s
    return cases, [
        Bar(name=f"{len(newest)} vehicles x 192 leads, CPU s", value=ours, limit=MOST_CPU_S, sense="at_most")
    ]


def _spec(anchor_rows: int) -> horizon.HorizonSpec:
    return horizon.HorizonSpec(anchor_rows=anchor_rows, max_rows=min(25 * anchor_rows, horizon.HorizonSpec().max_rows))


def training(vehicles: int, days: int, anchor_rows: int) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Train in a child process and take its peak resident memory."""
    note(f"training on {vehicles} vehicles over {days} days in a process of its own")
    done = subprocess.run(
        [sys.executable, "-m", "benches.forecast_plug_scale", str(vehicles), str(days), str(anchor_rows)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the training process ended with {done.returncode}: {done.stderr.strip()}")
    case = json.loads(done.stdout)
    bar = Bar(
        name=f"training on {case['rows']} samples, peak MB", value=case["peak_mb"], limit=MOST_MB, sense="at_most"
    )
    return [case], [bar]


def main() -> None:
    """Train on a generated fleet and print what it took."""
    vehicles, days, anchor_rows = map(int, sys.argv[1:4])
    samples = generate(GeneratorSpec(vehicles=vehicles, days=days))
    generated_mb, started = _peak_mb(), time.process_time()
    known = panel(samples, FeatureSpec())
    horizon.train(known, _spec(anchor_rows))
    case = {
        "part": "training",
        "vehicles": vehicles,
        "rows": known.rows,
        "cpu_s": time.process_time() - started,
        "peak_mb": _peak_mb(),
        "peak_mb_of_the_generator": generated_mb,
    }
    sys.stdout.write(json.dumps(case) + "\n")


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
