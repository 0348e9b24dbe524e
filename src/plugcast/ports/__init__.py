"""Where Plugcast meets the world: every input and output is one of these small protocols.

Each states what it delivers, in which order, and whether doing it twice does harm. Adapters implement them, services
choose among them, and one contract test per port runs against its implementations.
"""

from plugcast.ports.bus import Bus, BusMessage, Delivery, Subscription
from plugcast.ports.data import (
    ArtifactStore,
    Clock,
    Counts,
    MeterRead,
    MeterSource,
    PriceSource,
    RejectStore,
    SessionSource,
    SessionsRead,
    SetpointSink,
    TelemetryRead,
    TelemetrySource,
    Topic,
)
from plugcast.ports.log import Entry, Log, LogReader, LogWorker, LogWriter, Place, Stored, TopicSpec, after
from plugcast.ports.notify import Channel, Outcome, Sending

__all__ = [
    "ArtifactStore",
    "Bus",
    "BusMessage",
    "Channel",
    "Clock",
    "Counts",
    "Delivery",
    "Entry",
    "Log",
    "LogReader",
    "LogWorker",
    "LogWriter",
    "MeterRead",
    "MeterSource",
    "Outcome",
    "Place",
    "PriceSource",
    "RejectStore",
    "Sending",
    "SessionSource",
    "SessionsRead",
    "SetpointSink",
    "Stored",
    "Subscription",
    "TelemetryRead",
    "TelemetrySource",
    "Topic",
    "TopicSpec",
    "after",
]
