"""Where the real data sets lie."""

from __future__ import annotations

import os
from pathlib import Path

from benches.registry import ROOT


def data_dir() -> Path:
    """PLUGCAST_DATA, or shared/data beside the checkout; it need not exist."""
    named = os.environ.get("PLUGCAST_DATA")
    return Path(named) if named else ROOT.parent / "shared" / "data"


def needed() -> Path:
    """The same.

    Raises:
        FileNotFoundError: It is not there.
    """
    folder = data_dir()
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder. Set PLUGCAST_DATA to that of the real data sets.")
    return folder
