"""Many stations odd on one day are one event of the site: an outage, a cut, a lost link."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Hashable
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from plugcast.domain.finding import Cause, Finding, Reason, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plugcast.anomaly.judgement import Judgement

Fault = TypeVar("Fault", bound=Hashable)
ODD_P: Final = 0.05
"""A station is odd that day if its oddest session is among the oddest of twenty."""
LEAST_STATIONS: Final = 4
LEAST_SHARE: Final = 0.4
ONCE_IN: Final = 1e-6
"""Independent stations would show so many odd ones less often than on one day in a million."""


def shared(having: Iterable[tuple[Fault, str]]) -> set[Fault]:
    """What so many stations have that it is the site's, not theirs.

    Args:
        having: A fault, in any terms that tell it from others, and a station that has it.
    """
    stations: defaultdict[Fault, set[str]] = defaultdict(set)
    for fault, station in having:
        stations[fault].add(station)
    return {fault for fault, those in stations.items() if len(those) >= LEAST_STATIONS}


def site_events(judgements: Iterable[Judgement]) -> tuple[Finding, ...]:
    """At most one finding a site, on the judgements of one local day, in any order."""
    sites: defaultdict[str, list[tuple[Judgement, float]]] = defaultdict(list)
    for judgement in judgements:
        if judgement.p_value is not None:
            sites[judgement.site_id].append((judgement, judgement.p_value))
    found = (_event(site, members) for site, members in sorted(sites.items()))
    return tuple(event for event in found if event is not None)


def _event(site_id: str, members: Sequence[tuple[Judgement, float]]) -> Finding | None:
    stations = sorted({row.station_id for row, _ in members})
    odd = sorted({row.station_id for row, p_value in members if p_value <= ODD_P})
    sessions = len(members)
    odd_sessions = sum(p_value <= ODD_P for _, p_value in members)
    if len(odd) < LEAST_STATIONS or len(odd) < LEAST_SHARE * len(stations):
        return None
    chance = binomial_tail(odd_sessions, sessions, ODD_P)
    if chance > ONCE_IN:
        return None
    last = max((row for row, _ in members), key=lambda row: row.order)
    silent = sum(row.done_missing for row, p_value in members if p_value <= ODD_P)
    normed = [row.user_mean_kw_z for row, p in members if p <= ODD_P and row.user_mean_kw_z is not None]
    slow = float(np.median(normed)) if normed else math.nan
    about = (
        f"; {silent} of them reported no end of charging"
        if silent > odd_sessions / 2
        else f"; their power is {slow:+.1f} robust standard deviations from their drivers' norm"
    )
    text = (
        f"{len(odd)} of {len(stations)} stations were odd on one day ({odd_sessions} of {sessions} sessions, where "
        f"{ODD_P * sessions:.0f} are to be expected){about}: an event of the site, not of its stations"
    )
    day = last.observed_at.date().isoformat()
    return Finding(
        finding_id=hashlib.sha256(f"{site_id}\x1f{day}\x1fsite_event".encode()).hexdigest()[:16],
        session_id=last.session_id,
        site_id=site_id,
        station_id="",
        user_id=None,
        observed_at=last.observed_at,
        score=1.0,
        p_value=chance,
        cause=Cause.SITE_EVENT,
        severity=Severity.CRITICAL,
        by="site:event",
        reasons=(
            Reason(
                feature="stations",
                text=text,
                contribution=1.0,
                value=float(len(odd)),
                norm=ODD_P * sessions,
                cause=Cause.SITE_EVENT,
            ),
        ),
    )


def binomial_tail(least: int, trials: int, share: float) -> float:
    """P(X >= least) of a binomial.

    >>> round(binomial_tail(2, 3, 0.5), 6)
    0.5
    """
    return math.fsum(
        math.comb(trials, count) * share**count * (1 - share) ** (trials - count) for count in range(least, trials + 1)
    )
