"""Where do messages stay on one machine? In a SQLite file: a durable log with partitions, groups and transactions."""

from plugcast.adapters.journal.log import JournalLog
from plugcast.adapters.journal.store import Bounds

__all__ = ["Bounds", "JournalLog"]
