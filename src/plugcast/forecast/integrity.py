"""Files of a model belong together: a description keeps the digest of each, and one of itself.

This finds what was cut short, edited or exchanged, not forgery: whoever writes all files can write all digests.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

import msgspec

from plugcast.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugcast.ports import ArtifactStore


_Described = TypeVar("_Described", bound=msgspec.Struct)


def digest(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def sealed(description: _Described) -> _Described:
    """The description with its seal."""
    return msgspec.structs.replace(description, seal=_seal_of(description))


def _seal_of(description: msgspec.Struct) -> str:
    return digest(msgspec.json.encode(msgspec.structs.replace(description, seal=""), order="deterministic"))


def check_seal(description: msgspec.Struct, name: str) -> None:
    """Refuse a description that is not as it was written.

    Raises:
        ModelError: It was edited.
    """
    if getattr(description, "seal", "") != _seal_of(description):
        raise ModelError(f"{name} is not as training wrote it: it was edited. Train again with: plugcast train")


def read(store: ArtifactStore, name: str, digests: Mapping[str, str]) -> bytes:
    """A file that a description names.

    Raises:
        ModelNotFoundError: It is not there.
        ModelError: It is not the one that was written with the description.
    """
    content = store.get(name)
    if digest(content) != digests.get(name):
        raise ModelError(
            f"{name} is not the file that training wrote: it was changed, exchanged or cut short. "
            "Train again with: plugcast train"
        )
    return content
