"""Which partitions a member of a Kafka group holds, and how far its caller has come in each.

librdkafka's calls about partitions end here, within the member's own ``poll``. This object knows no consumer: a
consumer that is freed together with what it calls would wait for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition

    from plugcast.ports import Place


class Holding:
    """The partitions of one member.

    Args:
        prefix: Before the log's own names.
    """

    def __init__(self, prefix: str) -> None:
        self._cut = len(prefix)
        self.places: set[Place] = set()
        self.taken: dict[Place, int] = {}
        """The next offset after what the caller was given, since the place is held."""
        self.committed: dict[Place, int] = {}
        """Where the group stands, as far as it is known."""
        self.reached: dict[Place, int] = {}
        """How far each place is known to be read."""
        self.gone: set[Place] = set()
        """Taken away during the present poll."""
        self.joined = False
        self.moved = False
        """Whether partitions came or went during the present poll."""
        self.over = ""
        """Why this member is of no use any more."""

    def _named(self, partitions: list[TopicPartition]) -> list[Place]:
        return [(each.topic[self._cut :], each.partition) for each in partitions]

    def given(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """More partitions, or none at the end of a change."""
        self.joined = self.moved = True
        for place in self._named(partitions):
            if place in self.gone:
                self.over = self.over or "a partition was taken over by another member and came back"
            self.places.add(place)

    def revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """These go to others; what was read of them and not committed will be read by those."""
        for place in self._named(partitions):
            if self.taken.get(place, 0) > self.committed.get(place, 0):
                self.over = self.over or "what was read and not committed has been taken over by another member"
            self._forget(place)

    def lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """These have gone to others already."""
        if partitions:
            self.over = self.over or "this member was silent for too long, and another has taken over"
        for place in self._named(partitions):
            self._forget(place)

    def _forget(self, place: Place) -> None:
        self.moved = True
        self.gone.add(place)
        self.places.discard(place)
        for known in (self.taken, self.committed, self.reached):
            known.pop(place, None)
