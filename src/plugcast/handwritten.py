"""Files that people write by hand (settings, tariffs, sites, needs): bounded before they are read."""

from __future__ import annotations

import csv
import io
import stat
from typing import TYPE_CHECKING, Final

from plugcast.errors import UnreadableInputError

if TYPE_CHECKING:
    from pathlib import Path

UNDECODABLE: Final = "\ufffd"
"""Stands for bytes that are not UTF-8; no name or number that a person writes has it."""
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
    """The rows of a CSV file, its header first; what is not UTF-8 below the header becomes ``UNDECODABLE``.

    Raises:
        UnreadableInputError: As ``read_bytes``; or it is empty, no CSV, or its header is not UTF-8.
    """
    try:
        text = read_bytes(path, what=what).decode("utf-8-sig", errors="replace")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise _no_csv(path, what, str(error)) from error
    if rows and any(UNDECODABLE in name for name in rows[0]):
        raise _no_csv(path, what, "its header is not UTF-8")
    if not rows:
        raise UnreadableInputError(f"{what} {path} is empty; wanted a header and rows.")
    return rows


def _no_csv(path: Path, what: str, why: str) -> UnreadableInputError:
    return UnreadableInputError(f"{what} {path} cannot be read as CSV: {why}. Check the path and the encoding.")
