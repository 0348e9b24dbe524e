"""Execute the notebooks: ``make notebooks`` writes them with their results into out/notebooks/."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import jupytext  # type: ignore[import-untyped]  # ships no types
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT: Final = Path(__file__).resolve().parent.parent
NOTEBOOKS: Final = ROOT / "notebooks"
TIMEOUT_S: Final = 600
"""For one cell; a busy machine is slow, a hanging one is stopped."""


def execute(path: Path, *, folder: Path) -> Any:  # noqa: ANN401 - nbformat has no types
    """Run every cell in a fresh kernel that works in the folder, and return the notebook with its results.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    book = jupytext.read(path)
    kernel = AsyncKernelManager(kernel_name="python3", transport_encryption="auto")
    client = NotebookClient(book, km=kernel, timeout=TIMEOUT_S, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return book


def main(argv: list[str] | None = None) -> int:
    """The named ones, or all, in order of their names."""
    parser = argparse.ArgumentParser(description="Execute notebooks.")
    parser.add_argument("name", nargs="*", help="notebooks, without .py; all by default")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "notebooks", help="where the results go")
    wanted = parser.parse_args(argv)
    known = {path.stem: path for path in sorted(NOTEBOOKS.glob("*.py"))}
    unknown = sorted(set(wanted.name) - set(known))
    if unknown:
        parser.error(f"no notebook is called {', '.join(unknown)}; there are {', '.join(known)}")
    wanted.out.mkdir(parents=True, exist_ok=True)
    for name in wanted.name or known:
        print(f"executing {name}", file=sys.stderr)
        target = wanted.out / f"{name}.ipynb"
        jupytext.write(execute(known[name], folder=wanted.out), target)
        print(target)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
