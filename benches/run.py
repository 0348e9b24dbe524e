"""Run one bench by name: progress on stderr, one JSON document on stdout.

    make -s bench NAME=startup ARGS="--size small"

Exit codes: 0 done, bars kept or not; 1 the bench failed; 2 the name or the size is not known.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path

from benches.registry import PINNED, BenchSpec, Choice, Outcome, discover, document, note

for _name in PINNED:
    os.environ[_name] = "1"


def main(argv: list[str] | None = None) -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="make -s bench NAME=", description="Run one bench.")
    parser.add_argument("name", nargs="?", default="", help="the bench; leave it out to see which there are")
    parser.add_argument("--size", help="one of the bench's sizes; 'smallest' for its first")
    parser.add_argument("--part", nargs="+", default=[], help="some parts of a long bench")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], help="some of its seeds: --seeds 0 1")
    parser.add_argument("--keep", type=Path, help="a folder that keeps each result, so that a stopped run goes on")
    parser.add_argument("--list", action="store_true", help="print the names, one a line, and stop")
    wanted = parser.parse_args(argv)
    specs = discover()
    if wanted.list:
        sys.stdout.write("".join(f"{name}\n" for name in specs))
        return 0
    spec = specs.get(wanted.name)
    if spec is None:
        note(f"No bench is called {wanted.name!r}. There are:" if wanted.name else "Name a bench: make -s bench NAME=x")
        for each in specs.values():
            note(f"  {each.name:<16} {each.description} Sizes: {', '.join(each.sizes)}.")
        return 2
    size = spec.sizes[0] if wanted.size == "smallest" else wanted.size or spec.default_size
    if size not in spec.sizes:
        note(f"Bench {spec.name} has no size {size!r}; it has {', '.join(spec.sizes)}.")
        return 2
    choice = Choice(parts=tuple(wanted.part), seeds=tuple(wanted.seeds), keep=wanted.keep)
    refused = _refused(spec, choice)
    if refused:
        note(refused)
        return 2
    note(f"{spec.name} ({size}): {spec.description}")
    with contextlib.redirect_stdout(sys.stderr):  # a bench or a library that prints must not spoil the document
        outcome = _run(spec, size, choice)
    for bar in outcome.bars:
        relation = "<=" if bar.sense == "at_most" else ">="
        note(f"  {'holds' if bar.holds else 'BROKEN':<7} {bar.name}: {bar.value:.4g} {relation} {bar.limit:g}")
    sys.stdout.write(document(spec, size, outcome) + "\n")
    return 0


def _refused(spec: BenchSpec, choice: Choice) -> str:
    if choice != Choice() and spec.run_chosen is None:
        return f"Bench {spec.name} runs as a whole: leave --part, --seeds and --keep out."
    unknown = [part for part in choice.parts if part not in spec.parts]
    return f"Bench {spec.name} has no part {unknown[0]!r}; it has {', '.join(spec.parts)}." if unknown else ""


def _run(spec: BenchSpec, size: str, choice: Choice) -> Outcome:
    return spec.run(size) if spec.run_chosen is None or choice == Choice() else spec.run_chosen(size, choice)


if __name__ == "__main__":
    raise SystemExit(main())
