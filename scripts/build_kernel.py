"""Build the C kernels (packed forests, live features) where there is a C compiler; without one NumPy does their work.

Run by hatchling for wheels and editable installs, and by hand after a change of the C: ``scripts/build_kernel.py``.
``CC`` and ``CFLAGS`` are heard; ``PLUGCAST_NO_KERNEL=1`` leaves them out.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "plugcast"
SOURCES = {
    PACKAGE / "trees" / "packed" / "_kernel.abi3.so": PACKAGE / "trees" / "packed" / "kernel" / "_kernel.c",
    PACKAGE / "features" / "_fold.abi3.so": PACKAGE / "features" / "kernel" / "_fold.c",
}
"""What is built, from what."""
FLAGS = (
    "-std=c11",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",  # no fused multiply-add: the bits must be NumPy's
    "-fno-math-errno",
)


def command(target: Path, *more: str) -> list[str] | None:
    """The compiler's command line; None where there is no compiler or no Python.h."""
    compiler = shlex.split(os.environ.get("CC", ""))
    compiler = compiler or [name for name in ("cc", "gcc", "clang") if shutil.which(name)][:1]
    include = Path(sysconfig.get_paths()["include"])
    if not compiler or os.name == "nt" or not (include / "Python.h").is_file():
        return None
    shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    own = shlex.split(os.environ.get("CFLAGS", ""))
    source = str(SOURCES[target])
    return [*compiler, *own, *FLAGS, *more, *shared, f"-I{include}", source, "-o", str(target), "-lm"]


def build(*more: str) -> bool:
    """Compile all; says on stderr why not, where not."""
    built = [_build(target, *more) for target in SOURCES]
    return all(built)


def _build(target: Path, *more: str) -> bool:
    wanted = None if os.environ.get("PLUGCAST_NO_KERNEL") else command(target, *more)
    if wanted is None:
        target.unlink(missing_ok=True)
        sys.stderr.write(
            f"Plugcast: no {target.name} (no compiler, no Python.h, or switched off); NumPy does its work.\n"
        )
        return False
    half = target.with_suffix(".tmp")  # a process that has the old one mapped keeps it
    wanted[wanted.index(str(target))] = str(half)
    try:
        subprocess.run(wanted, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        target.unlink(missing_ok=True)
        said = getattr(error, "stderr", None) or error
        sys.stderr.write(f"Plugcast: {target.name} was not built; NumPy does its work.\n{said}\n")
        return False
    half.replace(target)
    return True


class KernelHook(BuildHookInterface[Any]):
    """Hatchling's way in."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build beside the sources; a wheel with a kernel names its platform and the stable ABI."""
        if self.target_name != "wheel" or not build():
            return
        build_data["artifacts"] += [f"/{target.relative_to(ROOT).as_posix()}" for target in SOURCES]
        if version != "editable":
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{platform}"


if __name__ == "__main__":
    raise SystemExit(0 if build(*sys.argv[1:]) else 1)
