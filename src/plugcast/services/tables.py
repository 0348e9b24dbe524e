"""Writing tables for people and spreadsheets: whole or not at all."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from plugcast.adapters.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl


def write_csv(frame: pl.DataFrame, path: Path) -> None:
    """Write a CSV file with UTC instants in ISO 8601; an existing one is replaced in one step."""
    buffer = io.BytesIO()
    frame.write_csv(buffer, datetime_format="%Y-%m-%dT%H:%M:%S%.fZ")
    write_atomic(path, buffer.getvalue())
