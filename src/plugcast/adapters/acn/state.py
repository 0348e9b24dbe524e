"""What a download has got so far, so that an interrupted one goes on where it stopped.

A directory with one JSON-lines file for each finished page and a small ``progress.json``, each replaced atomically,
the page before the progress: whatever is killed when, a page counts only once it is whole, and is never counted twice.
The token is not part of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import msgspec

from plugcast.errors import ConfigError, UnreadableInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

STATE_VERSION: Final = 1
_PROGRESS: Final = "progress.json"


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What is being fetched; instants as ISO 8601 texts in UTC."""

    base_url: str
    site: str
    since: str
    until: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a download has come."""

    window: Window
    version: int = STATE_VERSION
    pages: int = 0
    """Finished pages."""
    next_url: str | None = None
    """The page to fetch next; None before the first page and after the last."""
    total: int = 0
    """Records that the service announced last."""
    repeats: int = 0
    """Records that came again, byte for byte, and were not kept twice."""
    complete: bool = False


class PageStore:
    """The pages of one download, in memory, or in a directory that outlives the process.

    Raises:
        ConfigError: The directory belongs to another site or window.
        UnreadableInputError: It cannot be read or written, or holds something else.
    """

    def __init__(self, path: Path | None, window: Window) -> None:
        self._path = path
        self._pages: list[tuple[bytes, ...]] = []
        self.progress = Progress(window=window)
        if path is not None:
            self._open(path, window)

    def _open(self, path: Path, window: Window) -> None:
        try:
            if not (path / _PROGRESS).exists():
                return
            found = msgspec.json.decode((path / _PROGRESS).read_bytes(), type=Progress)
            if found.window != window:
                raise ConfigError(
                    f"{path} holds the beginning of another download ({found.window.site}, {found.window.since} to "
                    f"{found.window.until}). Finish that one, name another state directory, or start afresh."
                )
            self._pages = [
                tuple((path / _page_name(number)).read_bytes().split(b"\n")[:-1]) for number in range(found.pages)
            ]
        except (OSError, msgspec.MsgspecError) as error:
            raise UnreadableInputError(
                f"{path}: wanted the state of a download, found: {error}. Delete the directory to start afresh."
            ) from error
        self.progress = found

    def add(self, records: Sequence[bytes], progress: Progress) -> None:
        """Keep one finished page (compact JSON, one record each) and the progress that it makes."""
        if self._path is not None:
            self._replace(_page_name(self.progress.pages), b"".join(record + b"\n" for record in records))
            self._replace(_PROGRESS, msgspec.json.encode(progress))
        self._pages.append(tuple(records))
        self.progress = progress

    def restart(self) -> None:
        """Forget all pages: the next run begins at the first."""
        self._pages = []
        self.progress = Progress(window=self.progress.window)
        if self._path is not None:
            self._replace(_PROGRESS, msgspec.json.encode(self.progress))

    def records(self) -> Iterator[bytes]:
        """Everything kept, in order of arrival."""
        for page in self._pages:
            yield from page

    def _replace(self, name: str, content: bytes) -> None:
        if self._path is None:
            return
        target = self._path / name
        draft = target.with_suffix(".part")
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except OSError as error:
            raise UnreadableInputError(
                f"{target}: could not keep the page: {error}. Check space and rights."
            ) from error


def discard(path: Path) -> None:
    """Remove a download's state; other files in the directory stay, and so does the directory then."""
    if not path.is_dir():
        return
    for pattern in (_PROGRESS, "page-*.jsonl", "*.part"):
        for file in path.glob(pattern):
            file.unlink(missing_ok=True)
    if not any(path.iterdir()):
        path.rmdir()


def _page_name(number: int) -> str:
    return f"page-{number:06d}.jsonl"
