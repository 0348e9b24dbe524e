"""A detector at work: sessions in the order of their records, thresholds that roll, alarms that keep to a budget.

Alarms are findings of severity warning and above; notices (info) come beside them and cost nothing. All that changes
is a pure function of what was judged before the last local midnight, but for episodes, which belong to one station.
A fault that several stations of a site got on one day counts once, and is the site's trouble: on the next days whoever
else gets it belongs to that episode. So one lost link does not spend the budget of a month.
So a day can be judged in pieces (:meth:`Watch.judge_open`), by as many watches as a stream has partitions; when it is
over, each is told the judgements of all (:meth:`Watch.close_day`), and all agree on the next day.
"""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import numpy as np

from plugcast.anomaly.budget import DayLevel, Episodes, RollingBudget
from plugcast.anomaly.collective import shared, site_events
from plugcast.anomaly.judgement import STATE_VERSION, Alarm, Day, Judgement, SiteBudget, SiteTrouble, WatchState, known
from plugcast.domain.finding import Finding, Severity
from plugcast.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from plugcast.anomaly.detector import Detector, Judged
    from plugcast.anomaly.judgement import OpenEpisode
    from plugcast.features.sessions import SessionFeatures

ALARMING: Final = frozenset({Severity.WARNING, Severity.CRITICAL})
NO_LEVEL: Final = DayLevel(alpha=0.0, clear_alpha=0.0)
TROUBLE_DAYS: Final = 3
"""So long after many stations had a fault on one day, it counts as the site's: a weekend in between ends nothing."""


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
        self._troubles: dict[tuple[str, str], SiteTrouble] = {}
        """By site and cause."""
        self._closed: int | None = None

    def judge(self, rows: Sequence[SessionFeatures]) -> tuple[Finding, ...]:
        """Findings on whole days, later ones than those judged before: each is opened, then closed."""
        return tuple(finding for found, _ in self.judge_days(rows) for finding in found)

    def judge_days(
        self, rows: Sequence[SessionFeatures]
    ) -> Iterator[tuple[tuple[Finding, ...], tuple[Judgement, ...]]]:
        """As :meth:`judge`, day by day, with the judgements."""
        ordered = _in_order(rows)
        scored = self.detector.scored(ordered)  # all at once is quicker, and gives the same bits
        places = iter(range(len(ordered)))
        for day, group in groupby(ordered, key=self.day_of):
            today = list(group)
            found, judgements = self._open(day, today, scored, [next(places) for _ in today])
            found += self.close_day(day, judgements)
            yield tuple(sorted(found, key=lambda finding: (finding.observed_at, finding.session_id))), judgements

    def judge_open(self, rows: Sequence[SessionFeatures]) -> tuple[tuple[Finding, ...], tuple[Judgement, ...]]:
        """Findings on some sessions of the open day, without the site's events, and what closing the day needs.

        Args:
            rows: Of one local day that is not closed; each station's in the order of their records over all calls.

        Raises:
            ValueError: The rows are of several days, or of one that is closed.
        """
        ordered = _in_order(rows)
        days = {self.day_of(row) for row in ordered}
        if len(days) > 1:
            raise ValueError(f"wanted rows of one local day, found {len(days)} days")
        if not days:
            return (), ()
        found, judgements = self._open(days.pop(), ordered, self.detector.scored(ordered), range(len(ordered)))
        return tuple(found), judgements

    def close_day(self, day: int, judgements: Iterable[Judgement]) -> tuple[Finding, ...]:
        """End a local day: the site's events (the same ones in every partition), and budgets for the next day.

        Args:
            day: Its running number.
            judgements: Of ALL partitions, each session's once, in any order.

        Raises:
            ValueError: The day is closed already, or a judgement is of another one.
        """
        self._require_open(day)
        ordered = sorted(judgements, key=lambda judgement: judgement.order)
        if any(judgement.day != day for judgement in ordered):
            raise ValueError(f"wanted judgements of day {day} alone")
        kinds: defaultdict[tuple[str, str], list[Judgement]] = defaultdict(list)
        for judgement in ordered:
            kinds[judgement.site_id, judgement.current_type].append(judgement)
        for key, members in sorted(kinds.items()):
            self.days.append(self._close_kind(key, day, members))
        self._settle_troubles(day, ordered)
        self._closed = day
        return site_events(ordered)

    def day_of(self, row: SessionFeatures) -> int:
        """The running number of the local day to which the row's record belongs."""
        return row.observed_at.astimezone(self._zone).toordinal()

    def episodes_of(self, site_id: str, station_id: str) -> tuple[OpenEpisode, ...]:
        """What is open at a station: to be handed to the watch that judges it next."""
        return self._episodes.of((site_id, station_id))

    def take_episodes(self, site_id: str, station_id: str, episodes: Iterable[OpenEpisode]) -> None:
        """Go on with a station where another watch stood."""
        self._episodes.put((site_id, station_id), episodes)

    def to_state(self) -> WatchState:
        """All that :meth:`from_state` needs to go on, at any moment."""
        return WatchState(
            detector_version=self.detector.version,
            time_zone=self._zone.key,
            closed_day=self._closed,
            budgets=tuple(
                SiteBudget(site_id=site, current_type=kind, budget=budget.to_state())
                for (site, kind), budget in sorted(self._budgets.items())
            ),
            episodes=self._episodes.to_state(),
            days=tuple(self.days),
            troubles=tuple(trouble for _, trouble in sorted(self._troubles.items())),
        )

    @classmethod
    def from_state(cls, detector: Detector, state: WatchState) -> Self:
        """A watch that goes on where another one stood.

        Raises:
            InputError: The state is of another detector, whose scores mean something else, or of another layout.
        """
        if (state.version, state.detector_version) != (STATE_VERSION, detector.version):
            raise InputError(
                f"Wanted the state (layout {STATE_VERSION}) of a watch with detector {detector.version}; found layout "
                f"{state.version} of detector {state.detector_version}. Start a new watch, or load that detector."
            )
        made = cls(detector, time_zone=state.time_zone)
        made.days = list(state.days)
        made._closed = state.closed_day
        made._episodes = Episodes.from_state(state.episodes)
        made._troubles = {(kept.site_id, kept.cause): kept for kept in state.troubles}
        for kept in state.budgets:
            threshold = detector.models[kept.current_type].threshold
            made._budgets[kept.site_id, kept.current_type] = RollingBudget.from_state(threshold, kept.budget)
        return made

    def _open(
        self, day: int, rows: Sequence[SessionFeatures], scored: Judged, places: Sequence[int]
    ) -> tuple[list[Finding], tuple[Judgement, ...]]:
        """Rows of one day in order, and where each stands in ``scored``."""
        self._require_open(day)
        levels: dict[tuple[str, str], tuple[DayLevel, RollingBudget | None]] = {}
        found: list[Finding] = []
        judgements = []
        for row, place in zip(rows, places, strict=True):
            key = row.site_id, row.current_type
            if key not in levels:
                budget = self._budget(key)
                levels[key] = (NO_LEVEL if budget is None else budget.level(day)), budget
            level, budget = levels[key]
            total = float(scored.total[place])
            p_value = math.nan if budget is None else float(budget.p_values(np.array([total]))[0])
            told = self._told(
                row, day, level, self.detector.findings(row, scored.broken[place], total, p_value, level.alpha), p_value
            )
            found += told
            judgements.append(
                Judgement(
                    session_id=row.session_id,
                    site_id=row.site_id,
                    station_id=row.station_id,
                    current_type=row.current_type,
                    day=day,
                    observed_at=row.observed_at,
                    total=known(total),
                    p_value=known(float(scored.p_value[place])),
                    p_value_of_day=known(p_value),
                    done_missing=row.done_missing == 1.0,
                    user_mean_kw_z=known(row.user_mean_kw_z),
                    alarms=tuple(_alarm(finding) for finding in told if finding.severity in ALARMING),
                )
            )
        return found, tuple(judgements)

    def _told(
        self, row: SessionFeatures, day: int, level: DayLevel, told: Sequence[Finding], p_value: float
    ) -> list[Finding]:
        """A session's findings with their episodes."""
        alarms = [finding for finding in told if finding.severity in ALARMING]
        first = self._episodes.step(
            (row.site_id, row.station_id),
            day,
            found=[(finding.finding_id, finding.cause.value) for finding in alarms],
            cleared=not p_value <= level.clear_alpha,
            under=self._of_the_site(row.site_id, day),
        )
        return [msgspec.structs.replace(f, episode_id=first.get(f.finding_id)) for f in told]

    def _of_the_site(self, site_id: str, day: int) -> dict[str, str]:
        """The site's troubles of these days: cause and first finding."""
        return {
            cause: trouble.finding_id
            for (site, cause), trouble in self._troubles.items()
            if site == site_id and day - trouble.day <= TROUBLE_DAYS
        }

    def _settle_troubles(self, day: int, ordered: Sequence[Judgement]) -> None:
        """What so many stations had today that it is the site's from tomorrow on."""
        alarms = [
            ((judgement.site_id, alarm.cause), judgement.station_id, alarm)
            for judgement in ordered
            for alarm in judgement.alarms
        ]
        self._troubles = {key: kept for key, kept in self._troubles.items() if day - kept.day <= TROUBLE_DAYS}
        for key in shared((key, station) for key, station, _ in alarms):
            if key in self._troubles:
                first = self._troubles[key].finding_id
            else:
                having = [alarm for of, _, alarm in alarms if of == key]
                first = next((alarm for alarm in having if alarm.began), having[0]).episode_id
            self._troubles[key] = SiteTrouble(site_id=key[0], cause=key[1], finding_id=first, day=day)

    def _close_kind(self, key: tuple[str, str], day: int, members: Sequence[Judgement]) -> Day:
        budget = self._budget(key)
        alarms = _alarms_of(members)
        alpha, allowed = 0.0, 0.0
        if budget is not None:
            alpha = budget.level(day).alpha
            allowed = budget.close(
                day,
                scores=[judgement.total for judgement in members if judgement.total is not None],
                stations=[judgement.station_id for judgement in members],
                alarms=alarms,
            )
        return Day(
            day=day,
            site_id=key[0],
            current_type=key[1],
            sessions=len(members),
            alarms=alarms,
            allowed=allowed,
            alpha=alpha,
        )

    def _require_open(self, day: int) -> None:
        if self._closed is not None and day <= self._closed:
            raise ValueError(f"day {day} is over: day {self._closed} is closed")

    def _budget(self, key: tuple[str, str]) -> RollingBudget | None:
        model = self.detector.models.get(key[1])
        if model is None:
            return None
        if key not in self._budgets:
            self._budgets[key] = RollingBudget(model.threshold)
        return self._budgets[key]


def _alarms_of(members: Sequence[Judgement]) -> int:
    """Episodes that began on a day, as people count them: what many stations got at once is one."""
    begun = [{alarm.cause for alarm in judgement.alarms if alarm.began} for judgement in members]
    common = shared(
        (cause, judgement.station_id) for judgement, causes in zip(members, begun, strict=True) for cause in causes
    )
    return sum(bool(causes - common) for causes in begun) + len(common)


def _alarm(finding: Finding) -> Alarm:
    first = finding.episode_id or finding.finding_id
    return Alarm(cause=finding.cause.value, episode_id=first, began=first == finding.finding_id)


def _in_order(rows: Iterable[SessionFeatures]) -> list[SessionFeatures]:
    return sorted(rows, key=lambda row: (row.observed_at, row.site_id, row.session_id))
