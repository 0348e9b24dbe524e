"""What a finished session's meter values add to what its record tells: findings of their own, beside the detector's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from plugcast.anomaly.series_rules import SERIES_RULES_VERSION, SeriesBroken, check_series
from plugcast.anomaly.telling import make_finding
from plugcast.domain.finding import Cause, Finding, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plugcast.anomaly.series_norms import SeriesNorms
    from plugcast.features.series_values import SeriesFeatures
    from plugcast.features.sessions import SessionFeatures


def series_findings(
    row: SessionFeatures, series: SeriesFeatures, norms: SeriesNorms | None = None
) -> tuple[Finding, ...]:
    """One finding for each cause that the meter values prove, the most severe first, with a reason a broken rule.

    A stream calls it once the session has ended and its values have been folded
    (``features.series.SeriesFold``); a batch gets the same from ``features.series.series_features``.

    Args:
        row: The session's own features.
        series: Of its meter values.
        norms: The station's past, which this session then belongs to; call it once a session, in the order of the
            station's records.
    """
    told = check_series(series, row) + (() if norms is None else norms.judge(series, row))
    causes: dict[Cause, list[SeriesBroken]] = {}
    for broken in sorted(told, key=lambda rule: rule.severity.rank):
        causes.setdefault(broken.cause, []).append(broken)
    return tuple(_finding(row, rules) for rules in causes.values())


def with_series(findings: Iterable[Finding], more: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings of records and of meter values as one list, in the order of records.

    Where both name one cause for one session, the finding that meter values prove stands, and the record's sentence
    follows as a further reason: one fault is told once.
    """
    proved = {(found.session_id, found.cause): found for found in more}
    kept: list[Finding] = []
    for found in findings:
        key = found.session_id, found.cause
        if key not in proved:
            kept.append(found)
            continue
        own = proved[key]
        proved[key] = msgspec.structs.replace(
            own,
            episode_id=own.episode_id or found.episode_id,
            p_value=own.p_value if own.p_value is not None else found.p_value,
            severity=min(own.severity, found.severity, key=lambda severity: severity.rank),
            reasons=(*own.reasons, *found.reasons),
        )
    return tuple(sorted((*kept, *proved.values()), key=lambda f: (f.observed_at, f.session_id, f.severity.rank)))


def _finding(row: SessionFeatures, rules: Sequence[SeriesBroken]) -> Finding:
    """Of one cause; the first rule names it."""
    first = rules[0]
    why = tuple(
        Reason(
            feature=rule.feature,
            text=rule.text,
            contribution=1.0 if rule is first else 0.0,
            value=rule.value,
            norm=rule.norm,
            cause=rule.cause,
        )
        for rule in rules
    )
    return make_finding(
        row,
        score=1.0,
        p_value=None,
        cause=first.cause,
        severity=first.severity,
        by=f"rule:{first.rule}",
        version=SERIES_RULES_VERSION,
        why=why,
    )
