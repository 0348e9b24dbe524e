"""How many threads are worth starting, and libraries held to that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

ONE_EACH: Final = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Linear algebra: our matrices are small, and its threads spin while they wait (30 times the time, where cores are
shared)."""
BY_QUOTA: Final = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS")


def pin(environment: MutableMapping[str, str] = os.environ) -> None:
    """Hold libraries to the CPU quota, before they are loaded; what the user has set stays."""
    for name in ONE_EACH:
        environment.setdefault(name, "1")
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait must not burn what others need
    if any(name not in environment for name in BY_QUOTA):
        quota = str(cpu_quota())
        for name in BY_QUOTA:
            environment.setdefault(name, quota)


def cpu_quota(*, root: Path = Path("/"), cores: int | None = None) -> int:
    """How many threads are worth starting: the usable cores, or the control group's CPU quota where that is less.

    A container with 2 CPUs on a machine of 64 cores answers 2. Fractions round down, to 1 at least: half a thread
    would only be throttled. Knows control groups of version 2 (``cpu.max``) and 1 (``cpu.cfs_quota_us``), and takes
    the tightest limit from the process's own group up to the top.

    Args:
        root: The file system's root; another one in tests.
        cores: The usable cores; by default what the scheduler lets this process use.
    """
    usable = cores or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    return max(1, min([usable, *(int(limit) for limit in _group_limits(root))]))


def _group_limits(root: Path) -> Iterator[float]:
    """CPU limits of this process's control groups, in cores."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        mounts: tuple[str, ...]
        if controllers == "":
            mounts = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
        elif "cpu" in controllers.split(","):
            mounts = ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/cpuacct,cpu")
        else:
            continue
        own = Path(group.lstrip("/"))
        for mount in mounts:
            for level in (own, *own.parents):  # the last parent is the mount itself, the whole truth in a container
                yield from _limit(root / mount / level)


def _limit(group: Path) -> Iterator[float]:
    fields = _text(group / "cpu.max").split() or [
        _text(group / "cpu.cfs_quota_us").strip(),
        _text(group / "cpu.cfs_period_us").strip(),
    ]
    if len(fields) == 2 and all(field.isdigit() for field in fields) and int(fields[1]) > 0:  # noqa: PLR2004 - quota, period
        yield int(fields[0]) / int(fields[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
