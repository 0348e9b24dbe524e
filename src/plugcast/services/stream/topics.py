"""The topics of a site's stream as they should be made."""

from __future__ import annotations

from plugcast.domain import topics
from plugcast.ports import TopicSpec

KEEP_DAYS = 30.0
"""Of what passes through; the changelogs keep what they need for ever."""


def specs(partitions: int = topics.PARTITIONS) -> tuple[TopicSpec, ...]:
    """All of them, for ``Log.ensure``.

    Args:
        partitions: Of the inputs and of what is made of each; the most detectors that can share the work.
    """
    through = (topics.STATION_DATA, topics.TELEMETRY, topics.FINDINGS, topics.SCORES, topics.FORECASTS)
    return (
        *(TopicSpec(name=name, partitions=partitions, keep_days=KEEP_DAYS) for name in through),
        TopicSpec(name=topics.DETECTOR_STATE, partitions=partitions, compacted=True),
        TopicSpec(name=topics.FORECASTER_STATE, partitions=partitions, compacted=True),
        TopicSpec(name=topics.DEAD_LETTERS, partitions=1, keep_days=KEEP_DAYS),
        TopicSpec(name=topics.TRUTH, partitions=1, keep_days=KEEP_DAYS),
    )
