"""How do tables of other people become ours? CSV and Parquet files, read by declared column names, row by row checked.

``TelemetryFile`` and ``SessionsFile`` are the two sources; nothing is guessed that the file does not decide.
"""

from __future__ import annotations

from plugcast.adapters.tables.sessions import SessionsFile
from plugcast.adapters.tables.telemetry import TelemetryFile
from plugcast.adapters.tables.times import DateOrder

__all__ = ["DateOrder", "SessionsFile", "TelemetryFile"]
