"""Names of the topics, and the keys that keep what belongs together in one partition and in order."""

from __future__ import annotations

from typing import Final

STATION_DATA: Final = "ev-station-data"
"""What stations say of sessions, by station."""
TELEMETRY: Final = "ev-telemetry"
"""What vehicles say, by vehicle."""
FINDINGS: Final = "ev-findings"
"""What looks wrong, by station."""
SCORES: Final = "ev-scores"
"""Every judged session's score, by session."""
FORECASTS: Final = "ev-forecasts"
"""By vehicle."""
DETECTOR_STATE: Final = "ev-detector-state"
"""The detectors' changelog, compacted: all that another one needs to go on."""
FORECASTER_STATE: Final = "ev-forecaster-state"
"""The forecasters' changelog, compacted."""
DEAD_LETTERS: Final = "ev-dead-letters"
"""What could not be taken, with the reason, by the place where it was."""
TRUTH: Final = "ev-truth"
"""Which replayed sessions have an injected fault, by session: for whoever measures, never for a detector."""

ALERTS_QUEUE: Final = "alerts"
"""The bus's queue of findings that people are told of."""

PARTITIONS: Final = 3
"""Of the topics of a site, so that up to three detectors share it."""


def station_key(site_id: str, station_id: str) -> bytes:
    """The key of all that one station says, in the order in which it says it.

    >>> station_key("0002", "2-39-139-28")
    b'0002/2-39-139-28'
    """
    return f"{site_id}/{station_id}".encode()


def session_key(site_id: str, session_id: str) -> bytes:
    """The key of what is said of one session; two sites may use one id."""
    return f"{site_id}/{session_id}".encode()


def finding_key(severity: str, cause: str, site_id: str) -> str:
    """The routing key of a finding on the bus: words with dots between, the site's name without any.

    >>> finding_key("critical", "meter_fault", "depot 1.2")
    'finding.critical.meter_fault.depot_1_2'
    """
    site = "".join(char if char.isalnum() or char == "-" else "_" for char in site_id)
    return f"finding.{severity}.{cause}.{site.encode()[:128].decode(errors='ignore')}"
