"""A local directory as a store of artefacts, a JSONL file as a store of refused rows, and atomic writes for both.

A name holds its old content or its new one: content goes to a hidden file beside it, is synced and renamed.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import msgspec

from plugcast.domain.rejected import Rejected
from plugcast.errors import InputError, ModelNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HIDDEN: Final = "."
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Rejected)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and vanishes when it does not.

    Raises:
        InputError: The place cannot be written to.
    """
    temporary = path.parent / f"{_HIDDEN}{path.name[:100]}.{uuid4().hex}.tmp"
    try:
        if path.is_dir():
            raise InputError(f"{path}: wanted a file to write, found a directory. Name a file in it.")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: {error}. Check the directory, its rights and its space."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file's content as a whole.

    Raises:
        InputError: The place cannot be written to.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _sync(path: Path) -> None:
    """Force a file or directory to the disk; where directories cannot be opened, the rename alone must do."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LocalArtifacts:
    """A ``ports.ArtifactStore`` on a local directory; a name may have folders, ``models/plug_model.json``.

    Args:
        directory: Made on the first write.
    """

    def __init__(self, directory: Path | str) -> None:
        self._directory = Path(directory)

    def require_place(self) -> None:
        """Refuse before long work what would fail after it.

        Raises:
            InputError: The directory is none, or could not be made or written to.
        """
        there = next(path for path in (self._directory, *self._directory.absolute().parents) if path.exists())
        if not there.is_dir():
            raise InputError(f"{self._directory}: wanted a directory to write to, found the file {there}.")
        if not os.access(there, os.W_OK | os.X_OK):
            raise InputError(f"{self._directory}: {there} cannot be written to. Name another directory.")

    def put(self, name: str, content: bytes) -> None:
        """Write atomically; the same name again replaces.

        Raises:
            InputError: The name leads out of the directory, or the place cannot be written to.
        """
        write_atomic(self._place(name), content)

    def get(self, name: str) -> bytes:
        """Read one.

        Raises:
            ModelNotFoundError: There is none of this name.
            InputError: The name leads out of the directory.
        """
        try:
            return self._place(name).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            there = ", ".join(self.names()[:20]) or "nothing"
            raise ModelNotFoundError(f"{name}: wanted in {self._directory}, found {there}.") from error

    def names(self) -> list[str]:
        """What is there, sorted; hidden files are none of ours."""
        if not self._directory.is_dir():
            return []
        found = (path.relative_to(self._directory) for path in self._directory.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in found if not any(part.startswith(_HIDDEN) for part in path.parts))

    def _place(self, name: str) -> Path:
        parts = PurePosixPath(name).parts
        sound = name and "\x00" not in name and "\\" not in name and PurePosixPath(name).as_posix() == name
        if not sound or name.startswith("/") or any(part.startswith(_HIDDEN) for part in parts):
            raise InputError(f"{name!r}: wanted a name inside the store, like 'models/plug_model.json'.")
        return self._directory.joinpath(*parts)


class RejectFile:
    """A ``ports.RejectStore`` as one JSON object a line; one writer at a time.

    Rows are appended and synced; a line that a crash left half written was never acknowledged, and is cut off
    before the next append.

    Args:
        path: Made on the first write.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)

    def keep(self, rejected: Iterable[Rejected]) -> int:
        """Append; returns how many were kept.

        Raises:
            InputError: The place cannot be written to.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as stream:
                _cut_torn_line(stream.fileno())
                count = 0
                for item in rejected:
                    stream.write(_ENCODER.encode(item) + b"\n")
                    count += 1
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error}.") from error
        return count

    def kept(self) -> list[Rejected]:
        """Everything kept so far, in order of arrival; a half-written last line does not count.

        Raises:
            InputError: A whole line is not ours.
        """
        try:
            whole = self._path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        try:
            return [_DECODER.decode(line) for line in whole]
        except msgspec.MsgspecError as error:
            raise InputError(f"{self._path}: wanted one refused row a line, found {error}.") from error


def _cut_torn_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    end = size
    while end:
        start = max(0, end - 4_096)
        os.lseek(descriptor, start, os.SEEK_SET)
        newline = os.read(descriptor, end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)
