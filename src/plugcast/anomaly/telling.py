"""What is said of a session: a finding with its cause, its severity and its reasons."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.anomaly.rules import RULES_VERSION, Broken
from plugcast.domain.finding import Cause, Finding, Reason, Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plugcast.features.sessions import SessionFeatures

    Floats = NDArray[np.float64]

HALF_SCORE: Final = 10.0
"""Evidence that makes a score of one half."""
URGENT: Final = frozenset({Cause.STUCK_ON, Cause.OVER_RATING})
"""A live socket or too much current may hurt somebody."""
EITHER: Final = frozenset({Cause.METER_FAULT, Cause.OVER_RATING})
"""What too much energy may mean."""
OTHERWISE: Final = {
    Cause.METER_FAULT: "or the meter, or the clock of the end of charging, is wrong",
    Cause.OVER_RATING: "or the station really gave more power than its rating",
}


def squashed(total: Floats) -> Floats:
    """Evidence into [0, 1), in order."""
    return np.asarray(total / (total + HALF_SCORE), dtype=np.float64)


def rule_finding(row: SessionFeatures, broken: Broken) -> Finding:
    """The finding of a broken rule: certain, with the rule's own sentence."""
    reason = Reason(
        feature=broken.feature,
        text=broken.text,
        contribution=1.0,
        value=broken.value,
        norm=broken.norm,
        cause=broken.cause,
    )
    return make_finding(
        row,
        score=1.0,
        p_value=None,
        cause=broken.cause,
        severity=broken.severity,
        by=f"rule:{broken.rule}",
        version=RULES_VERSION,
        why=(reason,),
    )


def make_finding(
    row: SessionFeatures,
    *,
    score: float,
    p_value: float | None,
    cause: Cause,
    severity: Severity,
    by: str,
    version: str,
    why: tuple[Reason, ...],
) -> Finding:
    """A finding whose id tells session, detector, cause and who found it: the same finding has the same id anywhere."""
    text = f"{row.site_id}\x1f{row.session_id}\x1f{version}\x1f{cause.value}\x1f{by}"
    return Finding(
        finding_id=hashlib.sha256(text.encode()).hexdigest()[:16],
        session_id=row.session_id,
        site_id=row.site_id,
        station_id=row.station_id,
        user_id=row.user_id,
        observed_at=row.observed_at,
        score=score,
        p_value=p_value,
        cause=cause,
        severity=severity,
        by=by,
        reasons=why,
    )
