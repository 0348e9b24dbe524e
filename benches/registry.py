"""What a bench is, and the tools that all of them share.

A bench is a value: ``benches/<file>.py`` holds ``BENCH = BenchSpec(...)``, and ``discover`` finds it. Its ``run`` takes
one of its sizes, times every variant beside its reference in the same process, and returns an ``Outcome``.
"""

from __future__ import annotations

import gc
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
PINNED: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
"""Each is set to 1 before a bench is loaded: more threads than cores measure the machine, not the code."""

Sense = Literal["at_most", "at_least"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One figure that the project promises, as computed in this run."""

    name: str
    value: float
    limit: float
    sense: Sense
    holds: bool = field(init=False)

    def __post_init__(self) -> None:
        """Compare; a value that is not a number holds nothing."""
        kept = self.value <= self.limit if self.sense == "at_most" else self.value >= self.limit
        object.__setattr__(self, "holds", kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a bench found: every case beside its reference, and the bars computed from them."""

    data: str
    """The data set by name, or how the input was made and from which seed."""
    cases: Sequence[Mapping[str, Any]]
    bars: Sequence[Bar] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Some of a long bench's work; empty means all."""

    parts: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    keep: Path | None = None
    """Results are kept here one by one as they come, and read again by a later run of the same code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSpec:
    """A bench as a value."""

    name: str
    description: str
    run: Callable[[str], Outcome]
    """Called with one of ``sizes``."""
    sizes: tuple[str, ...] = ("small", "full")
    """Smallest first; the smallest is the one that every test run executes."""
    default_size: str = "full"
    parts: tuple[str, ...] = ()
    """Of a bench that can be run in parts."""
    run_chosen: Callable[[str, Choice], Outcome] | None = None
    """For ``--part``, ``--seeds`` and ``--keep``; None where the bench is one piece."""

    def __post_init__(self) -> None:
        """Refuse a default that cannot be run."""
        if self.default_size not in self.sizes:
            raise ValueError(f"bench {self.name}: default size {self.default_size!r} is not one of {self.sizes}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """CPU seconds of one variant over the repeats, and the memory that it needed on top of what was there."""

    median_s: float
    low_s: float
    high_s: float
    repeats: int
    peak_mb: float | None
    """None where the system does not tell (only Linux does)."""


def discover() -> dict[str, BenchSpec]:
    """Every bench of this folder by name.

    Raises:
        ValueError: Two files claim one name.
    """
    found: dict[str, BenchSpec] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem in {"__init__", "registry", "run"}:
            continue
        spec = getattr(import_module(f"benches.{path.stem}"), "BENCH", None)
        if not isinstance(spec, BenchSpec):
            continue  # a module that benches share
        if spec.name in found:
            raise ValueError(f"two benches are called {spec.name!r}; rename the one in {path.name}")
        found[spec.name] = spec
    return found


def machine() -> dict[str, Any]:
    """Cores, CPU model and interpreter: what a reader needs to judge a figure."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": usable,
        "cpu": _cpu_model(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def interleave(
    variants: Mapping[str, Callable[[], object]], *, repeats: int = 7, warm_up: int = 1
) -> dict[str, Timing]:
    """Time variants side by side in CPU seconds of this process; the order rotates so that drift hits all alike.

    Children are not counted; see ``interleave_commands`` for programs. The first rounds warm caches and are dropped.
    """
    names = list(variants)
    samples: dict[str, list[float]] = {name: [] for name in names}
    peaks: dict[str, float | None] = {}
    for turn in range(warm_up + repeats):
        for name in _rotated(names, turn):
            gc.collect()
            if turn == 0:
                peaks[name] = peak_memory_mb(variants[name])
                continue
            started = time.process_time()
            variants[name]()
            if turn >= warm_up:
                samples[name].append(time.process_time() - started)
        note(f"  round {turn + 1} of {warm_up + repeats}")
    return {name: _timing(samples[name], peaks[name]) for name in names}


def interleave_commands(commands: Mapping[str, Sequence[str]], *, repeats: int = 11) -> dict[str, Timing]:
    """Time whole programs side by side: user and system CPU seconds and the peak resident memory of each.

    Raises:
        RuntimeError: A program failed; the message carries what it wrote to stderr.
    """
    names = list(commands)
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(repeats + 1):
        for name in _rotated(names, turn):
            sample = _measure(name, commands[name])
            if turn > 0:  # the first round fills the page cache
                samples[name].append(sample)
    return {
        name: _timing([cpu_s for cpu_s, _ in samples[name]], max(peak_mb for _, peak_mb in samples[name]))
        for name in names
    }


# A process inherits its parent's high-water mark over exec, so a bare interpreter starts the program, not the bench.
_STARTER: Final = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0o600)])
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
"""


def _measure(name: str, command: Sequence[str]) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _STARTER, *command], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name} could not be started: {done.stderr.strip()}")
    code, cpu_s, peak_mb = done.stdout.split()
    if code != "0":
        raise RuntimeError(f"{name} ended with {code}: {done.stderr.strip()}")
    return float(cpu_s), float(peak_mb)


def peak_memory_mb(work: Callable[[], object]) -> float | None:
    """MB of resident memory that a piece of work needed at its peak beyond what was resident before it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the high-water mark
        before_kb = _status_kb("VmRSS")
    except (OSError, KeyError):
        work()
        return None
    work()
    return max(0.0, (_status_kb("VmHWM") - before_kb) / 1024)


def _status_kb(key: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise KeyError(key)


def _rotated(names: list[str], turn: int) -> list[str]:
    start = turn % len(names)
    return names[start:] + names[:start]


def _timing(samples: Sequence[float], peak_mb: float | None) -> Timing:
    return Timing(
        median_s=statistics.median(samples),
        low_s=min(samples),
        high_s=max(samples),
        repeats=len(samples),
        peak_mb=peak_mb,
    )


def note(text: str) -> None:
    """Progress, on stderr; stdout belongs to the document."""
    sys.stderr.write(text + "\n")


def document(spec: BenchSpec, size: str, outcome: Outcome) -> str:
    """The bench's JSON document; NaN and infinity become null."""
    tree = {
        "name": spec.name,
        "description": spec.description,
        "size": size,
        "machine": machine(),
        "data": outcome.data,
        "cases": [dict(case) for case in outcome.cases],
        "bars": [
            {"name": bar.name, "value": bar.value, "limit": bar.limit, "sense": bar.sense, "holds": bar.holds}
            for bar in outcome.bars
        ],
    }
    return json.dumps(_finite(tree), indent=2, ensure_ascii=False)


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
