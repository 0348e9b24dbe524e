"""What a finished session's meter values add to what its record tells: findings of their own, beside the detector's."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from plugcast.anomaly.series_rules import SERIES_RULES_VERSION, SeriesBroken, check_series
from plugcast.domain.finding import Cause, Finding, Reason, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plugcast.anomaly.series_norms import SeriesNorms
    from plugcast.features.series_values import SeriesFeatures
    from plugcast.features.sessions import SessionFeatures

RANK: Final = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


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
    for broken in sorted(told, key=lambda rule: RANK[rule.severity]):
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
            severity=min(own.severity, found.severity, key=lambda severity: RANK[severity]),
            reasons=(*own.reasons, *found.reasons),
        )
    return tuple(sorted((*kept, *proved.values()), key=lambda f: (f.observed_at, f.session_id, RANK[f.severity])))


def _finding(row: SessionFeatures, rules: Sequence[SeriesBroken]) -> Finding:
    """Of one cause; the first rule names it."""
    first = rules[0]
    by = f"rule:{first.rule}"
    text = f"{row.site_id}\x1f{row.session_id}\x1f{SERIES_RULES_VERSION}\x1f{first.cause.value}\x1f{by}"
    return Finding(
        finding_id=hashlib.sha256(text.encode()).hexdigest()[:16],
        session_id=row.session_id,
        site_id=row.site_id,
        station_id=row.station_id,
        user_id=row.user_id,
        observed_at=row.observed_at,
        score=1.0,
        p_value=None,
        cause=first.cause,
        severity=first.severity,
        by=by,
        reasons=tuple(
            Reason(
                feature=rule.feature,
                text=rule.text,
                contribution=1.0 if rule is first else 0.0,
                value=rule.value,
                norm=rule.norm,
                cause=rule.cause,
            )
            for rule in rules
        ),
    )
