"""A detector at work: sessions in the order of their records, thresholds that roll, alarms that keep to a budget.

Alarms are findings of severity warning and above; notices (info) come beside them and cost nothing. All that changes
is a pure function of what was judged before the last local midnight, but for episodes, which belong to one station.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import numpy as np

from plugcast.anomaly.budget import Episodes, RollingBudget
from plugcast.anomaly.collective import site_events
from plugcast.domain.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plugcast.anomaly.detector import Detector
    from plugcast.features.sessions import SessionFeatures

ALARMING: Final = frozenset({Severity.WARNING, Severity.CRITICAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What one local day came to, of one site and current type."""

    day: int
    site_id: str
    current_type: str
    sessions: int
    alarms: int
    """Episodes that began."""
    allowed: float
    """Of the budget, by the stations in use."""
    alpha: float


class Watch:
    """Judges sessions as a stream would, day after day; not to be shared between threads."""

    def __init__(self, detector: Detector, *, time_zone: str = "UTC") -> None:
        self.detector = detector
        self.days: list[Day] = []
        try:
            self._zone = ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            self._zone = ZoneInfo("UTC")
        self._budgets: dict[tuple[str, str], RollingBudget] = {}
        self._episodes = Episodes()

    def judge(self, rows: Sequence[SessionFeatures]) -> tuple[Finding, ...]:
        """Findings on the rows, which begin no earlier than those judged before; a day is whole in one call."""
        ordered = sorted(rows, key=lambda row: (row.observed_at, row.site_id, row.session_id))
        scored = self.detector.scored(ordered)
        made: list[Finding] = []
        places = iter(range(len(ordered)))
        for day, group in groupby(ordered, key=self._day):
            today = [(row, next(places)) for row in group]
            kinds: defaultdict[tuple[str, str], list[tuple[SessionFeatures, int]]] = defaultdict(list)
            for row, place in today:
                kinds[row.site_id, row.current_type].append((row, place))
            found: list[Finding] = []
            for key, members in sorted(kinds.items()):
                found += self._day_of(key, day, members, scored.broken, scored.total)
            found += site_events([row for row, _ in today], scored.p_value[[place for _, place in today]])
            made += sorted(found, key=lambda finding: (finding.observed_at, finding.session_id))
        return tuple(made)

    def _day(self, row: SessionFeatures) -> int:
        return row.observed_at.astimezone(self._zone).toordinal()

    def _day_of(
        self,
        key: tuple[str, str],
        day: int,
        members: Sequence[tuple[SessionFeatures, int]],
        broken: Sequence[Sequence[object]],
        total: np.ndarray,
    ) -> Iterator[Finding]:
        budget = self._budget(key)
        places = [place for _, place in members]
        scores = total[places]
        if budget is None:
            level_alpha, clear, p_values = 0.0, 0.0, np.full(len(members), np.nan)
        else:
            level = budget.level(day)
            level_alpha, clear, p_values = level.alpha, level.clear_alpha, budget.p_values(scores)
        began = 0
        for (row, place), value, p_value in zip(members, scores.tolist(), p_values.tolist(), strict=True):
            told = self.detector.findings(row, broken[place], value, p_value, level_alpha)  # type: ignore[arg-type]
            alarms = [finding for finding in told if finding.severity in ALARMING]
            first = self._episodes.step(
                row.station_id,
                day,
                found=[(finding.finding_id, finding.cause.value) for finding in alarms],
                cleared=not p_value <= clear,
            )
            began += any(first[finding.finding_id] == finding.finding_id for finding in alarms)
            for finding in told:
                yield msgspec.structs.replace(finding, episode_id=first.get(finding.finding_id))
        if budget is not None:
            allowed = budget.close(
                day, scores=scores.tolist(), stations=[row.station_id for row, _ in members], alarms=began
            )
        else:
            allowed = 0.0
        self.days.append(
            Day(
                day=day,
                site_id=key[0],
                current_type=key[1],
                sessions=len(members),
                alarms=began,
                allowed=allowed,
                alpha=level_alpha,
            )
        )

    def _budget(self, key: tuple[str, str]) -> RollingBudget | None:
        model = self.detector.models.get(key[1])
        if model is None:
            return None
        if key not in self._budgets:
            self._budgets[key] = RollingBudget(model.threshold)
        return self._budgets[key]
