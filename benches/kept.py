"""Results of a long bench, kept one by one, so that a run that is stopped loses nothing.

A result is read again only by the code that made it: its file carries a digest of the package and the benches.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import TYPE_CHECKING, Any

from benches.registry import ROOT, note

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@cache
def code_digest() -> str:
    """Of all sources that a figure may depend on."""
    digest = hashlib.sha256()
    for folder in ("src", "benches"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".c", ".h"}:
                digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def kept(folder: Path | None, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of an earlier run of the same code, or of the work, which is then kept."""
    if folder is None:
        return work()
    path = folder / f"{name}-{code_digest()}.json"
    if path.exists():
        note(f"  {name}: kept from an earlier run")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    made = work()
    folder.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".tmp")
    half.write_text(json.dumps(made, indent=1), encoding="utf-8")
    half.replace(path)
    return made
