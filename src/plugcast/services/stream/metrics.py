"""An engine's counts in Prometheus' terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugcast.ports import Place

STEP_S: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_LABELLED: Final = {"rejected": "reason", "findings": "severity"}
"""A count's first word that is a metric, whose rest is a label."""


class EngineMetrics:
    """Fed by the engine's thread, read by whoever scrapes."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self._service = service
        self._counters: dict[str, Counter] = {}
        self._lag = Gauge(
            "plugcast_lag_messages",
            "Messages not committed yet, of each partition held.",
            ("topic", "partition"),
            registry=self.registry,
        )
        self._step = Histogram(
            "plugcast_step_seconds",
            "From poll to commit, of steps with messages.",
            buckets=STEP_S,
            registry=self.registry,
        )

    def stepped(self, counts: Mapping[str, int], lag: Mapping[Place, int], seconds: float) -> None:
        """After each committed step."""
        for name, count in counts.items():
            self.count(name, count)
        if counts.get("messages"):
            self._step.observe(seconds)
        self._lag.clear()  # partitions that have moved on are somebody else's to tell
        for (topic, partition), behind in lag.items():
            self._lag.labels(topic, str(partition)).set(behind)

    def count(self, name: str, count: int = 1) -> None:
        """Add to ``plugcast_<service>_<name>_total``; ``rejected_late`` counts as ``rejected`` with a reason."""
        word, _, rest = name.partition("_")
        label = _LABELLED.get(word)
        key = word if label else name
        if key not in self._counters:
            labels = (label,) if label else ()
            self._counters[key] = Counter(
                f"plugcast_{self._service}_{key}", f"{key.replace('_', ' ')} so far.", labels, registry=self.registry
            )
        counter = self._counters[key]
        (counter.labels(rest) if label else counter).inc(count)
