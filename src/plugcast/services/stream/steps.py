"""What processing a batch comes to: outputs and positions of one transaction, and what to count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugcast.ports import Entry, Place


@dataclass(slots=True)
class Step:
    """What a step comes to."""

    outputs: dict[str, list[Entry]] = field(default_factory=dict)
    positions: dict[Place, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    """``messages``, ``rejected_<reason>``, ``duplicates``, ``late``, ``trained``, ``judged``, ``findings``."""
    more: bool = False
    """Whether a further step may get on without a further message."""
    waiting: int = 0
    """Finished sessions that wait for their day to open."""

    def add(self, topic: str, entry: Entry) -> None:
        """One more output."""
        self.outputs.setdefault(topic, []).append(entry)
