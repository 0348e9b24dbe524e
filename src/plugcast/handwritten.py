"""Files that people write by hand (settings, tariffs, sites, needs): bounded before they are read."""

from __future__ import annotations

import csv
import io
import stat
from typing import TYPE_CHECKING, Final

from plugcast.errors import UnreadableInputError

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_BYTES: Final = 64_000_000
"""No person writes more; what is larger is some other file, and is refused before it fills the memory."""


def read_bytes(path: Path, *, what: str, limit: int = LIMIT_BYTES) -> bytes:
    """The content of a regular file.

    Args:
        path: The file.
        what: What it is, for the message: "Tariff", "Site file".
        limit: Bytes at most.

    Raises:
        UnreadableInputError: It is missing, not a regular file, not to be read, or larger than the limit.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableInputError(f"{what} {path} is not a file. Check the path.")
        if found.st_size > limit:
            raise UnreadableInputError(
                f"{what} {path} has {found.st_size:,} bytes; wanted at most {limit:,}. Is it the right file?"
            )
        return path.read_bytes()
    except OSError as error:
        raise UnreadableInputError(f"{what} {path} cannot be read: {error.strerror}. Check the path.") from error


def read_csv_rows(path: Path, *, what: str) -> list[list[str]]:
    """The rows of a CSV file, its header first.

    Raises:
        UnreadableInputError: As ``read_bytes``; or it is empty, not UTF-8, or no CSV.
    """
    try:
        text = read_bytes(path, what=what).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableInputError(
            f"{what} {path} cannot be read as CSV: {error}. Check the path and the encoding."
        ) from error
    if not rows:
        raise UnreadableInputError(f"{what} {path} is empty; wanted a header and rows.")
    return rows
