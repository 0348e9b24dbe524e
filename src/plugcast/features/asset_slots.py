"""What the pasts of many assets leave behind, in arrays, one slot an asset; and as bytes for a changelog.

An asset is one *head* (80 bytes: everything about its newest sample, and the counts of that sample's hour of the week)
and seven *pages* (the counts of a local weekday's hours). A head is written whenever the asset has a new sample, a page
only when one of its hours is over; the head's hour overrules the page's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.errors import InputError
from plugcast.features.history import STRIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

NEVER: Final = -(2**62)
"""Before any instant, and far enough from the smallest number to subtract."""
COUNTS: Final = 4
"""Samples, those plugged in, those with a state of charge, and its sum in thousandths of a percent."""
HOURS: Final = 24
DAYS: Final = 7
LAYOUT: Final = 1
"""Of the bytes; another number is refused."""
HEAD: Final = np.dtype(
    [
        ("layout", "u1"),
        ("was_plugged", "u1"),
        ("hour", "<i2"),
        ("segment", "<i4"),
        ("newest_us", "<i8"),
        ("run_start_us", "<i8"),
        ("soc", "<f8", (3,)),
        ("counts", "<i8", (COUNTS,)),
    ]
)
PAGE: Final = np.dtype([("layout", "<i8"), ("counts", "<i8", (HOURS, COUNTS))])
_FIRST: Final = 64


class AssetSlots:
    """State of assets by slot; ``features.online_many`` folds samples into it. An asset costs 5.5 kB."""

    def __init__(self) -> None:
        self.newest_us = np.zeros(0, np.int64)
        self.run_start_us = np.zeros(0, np.int64)
        self.segment = np.zeros(0, np.int32)
        self.was_plugged = np.zeros(0, bool)
        self.soc = np.zeros((3, 0))
        """Newest first, of the running segment, NaN where there is none; the newest is not counted yet."""
        self.hour = np.zeros(0, np.int64)
        """Local hour of the week of the newest sample; -1 before there is one."""
        self.counts = np.zeros((0, COUNTS), np.int64)
        """A row for each slot and hour of the week, STRIDE to a slot, the last of which stays zero."""
        self._free: list[int] = []
        self._used = 0
        self._grow(_FIRST)

    def take(self) -> int:
        """A slot for an asset that has no past."""
        if self._free:
            return self._free.pop()
        if self._used == len(self.hour):
            self._grow(2 * self._used)
        self._used += 1
        return self._used - 1

    def free(self, slots: Sequence[int]) -> None:
        """Forget assets; their slots are given away again."""
        gone = np.array(slots, np.int64)
        self.newest_us[gone], self.run_start_us[gone], self.segment[gone] = NEVER, 0, 0
        self.was_plugged[gone], self.soc[:, gone], self.hour[gone] = False, np.nan, -1
        self.counts.reshape(-1, STRIDE, COUNTS)[gone] = 0
        self._free += gone.tolist()

    def heads(self, slots: Ints) -> list[bytes]:
        """The heads of assets that have had a sample."""
        made = np.empty(len(slots), HEAD)
        made["layout"] = LAYOUT
        made["was_plugged"] = self.was_plugged[slots]
        made["hour"] = self.hour[slots]
        made["segment"] = self.segment[slots]
        made["newest_us"] = self.newest_us[slots]
        made["run_start_us"] = self.run_start_us[slots]
        made["soc"] = self.soc[:, slots].T
        made["counts"] = self.counts[slots * STRIDE + self.hour[slots]]
        return _cut(made.tobytes(), HEAD.itemsize)

    def pages(self, slots: Ints, days: Ints) -> list[bytes]:
        """The counts of some assets on a weekday each."""
        made = np.empty(len(slots), PAGE)
        made["layout"] = LAYOUT
        made["counts"] = self.counts.reshape(-1, STRIDE, COUNTS)[
            slots[:, None], days[:, None] * HOURS + np.arange(HOURS)
        ]
        return _cut(made.tobytes(), PAGE.itemsize)

    def restore_heads(self, slots: Sequence[int], contents: Sequence[bytes]) -> None:
        """Put heads back, each slot at most once; pages of before must be there already.

        Raises:
            InputError: The bytes are no heads, or of another version.
        """
        made = _joined(contents, HEAD)
        at = np.array(slots, np.int64)
        if ((made["hour"] < 0) | (made["hour"] >= DAYS * HOURS)).any():
            raise InputError("A changelog's head names an hour that no week has. Delete the changelog and replay.")
        self.was_plugged[at] = made["was_plugged"] != 0
        self.hour[at] = made["hour"]
        self.segment[at] = made["segment"]
        self.newest_us[at] = made["newest_us"]
        self.run_start_us[at] = made["run_start_us"]
        self.soc[:, at] = made["soc"].T
        self.counts[at * STRIDE + made["hour"]] = made["counts"]

    def restore_pages(self, slots: Sequence[int], days: Sequence[int], contents: Sequence[bytes]) -> None:
        """Put pages back, each page at most once; see ``restore_heads``."""
        made = _joined(contents, PAGE)
        at, on = np.array(slots, np.int64), np.array(days, np.int64)
        by_slot = self.counts.reshape(-1, STRIDE, COUNTS)
        by_slot[at[:, None], on[:, None] * HOURS + np.arange(HOURS)] = made["counts"]

    def _grow(self, slots: int) -> None:
        more = slots - len(self.hour)
        self.newest_us = np.concatenate([self.newest_us, np.full(more, NEVER)])
        self.run_start_us = np.concatenate([self.run_start_us, np.zeros(more, np.int64)])
        self.segment = np.concatenate([self.segment, np.zeros(more, np.int32)])
        self.was_plugged = np.concatenate([self.was_plugged, np.zeros(more, bool)])
        self.soc = np.concatenate([self.soc, np.full((3, more), np.nan)], axis=1)
        self.hour = np.concatenate([self.hour, np.full(more, -1)])
        self.counts = np.concatenate([self.counts, np.zeros((more * STRIDE, COUNTS), np.int64)])


def _cut(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


def _joined(contents: Sequence[bytes], layout: np.dtype[np.void]) -> NDArray[np.void]:
    if any(len(content) != layout.itemsize for content in contents):
        raise InputError(f"A changelog entry is not of {layout.itemsize} bytes. Delete the changelog and replay.")
    made = np.frombuffer(b"".join(contents), layout)
    if (made["layout"] != LAYOUT).any():
        raise InputError(f"A changelog entry is not of layout {LAYOUT}. Delete the changelog and replay.")
    return made
