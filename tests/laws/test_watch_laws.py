"""A stream in pieces, over any partitions, comes to what the batch comes to, bit for bit."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.anomaly.collective import LEAST_STATIONS
from plugcast.anomaly.detector import Detector
from plugcast.anomaly.judgement import Judgement, WatchState
from plugcast.anomaly.watch import ALARMING, Watch
from plugcast.domain.finding import Cause
from plugcast.errors import InputError
from plugcast.features.sessions import SessionFeatures, rows_of
from plugcast.services.showcase import SHIPPED_ZONE, shipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugcast.domain.finding import Finding

T = TypeVar("T")
SEEDS = st.integers(0, 2**32).map(Random)
"""Thousands of choices a case: one seed for all, since each drawn alone would be too much to shrink."""
NOW = datetime(2026, 11, 27, tzinfo=UTC)
OUTAGE_DAY = 3
"""Of the days reported on: every session but a few is made odd, so that there is an event of the site."""


class Case:
    """A detector of the shipped month's first part, its later rows by local day, and the batch's outcome."""

    def __init__(self) -> None:
        read = shipped(NOW).read
        known = pl.coalesce("available_at", "departure_at", "arrival_at")
        begin = datetime(2019, 3, 20, 7, tzinfo=UTC)
        self.detector = Detector.fit(
            read.sessions.filter(known < begin),
            read.user_inputs,
            time_zone=SHIPPED_ZONE,
            alarms_per_station_week=0.5,
            seed=1,
        )
        features = self.detector.features(read.sessions, read.user_inputs)
        rows = sorted(rows_of(features.filter(pl.col("observed_at") >= begin)), key=lambda r: r.observed_at)
        days = [list(group) for _, group in groupby(rows, key=self.watch().day_of)]
        days[OUTAGE_DAY] = [_cut_off(row) for row in days[OUTAGE_DAY]]
        self.days = days
        batch = self.watch()
        self.findings = batch.judge([row for day in days for row in day])
        self.state = batch.to_state()

    def watch(self) -> Watch:
        return Watch(self.detector, time_zone=SHIPPED_ZONE)


def _cut_off(row: SessionFeatures) -> SessionFeatures:
    """As in an outage: a fifth of the usual power, and far from the driver's habits."""
    return msgspec.structs.replace(
        row,
        mean_kw=row.mean_kw / 5,
        user_mean_kw_z=-9.0,
        user_energy_kwh_z=-9.0,
        station_mean_kw_z=-9.0,
        early_stop=0.9,
    )


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def _batches(rows: Sequence[SessionFeatures], draw: Random) -> list[list[SessionFeatures]]:
    """Cut anywhere; stations overtake each other, the records of one station keep their order."""
    waiting: dict[str, list[SessionFeatures]] = {}
    for row in sorted(rows, key=lambda r: (r.observed_at, r.site_id, r.session_id)):
        waiting.setdefault(row.station_id, []).append(row)
    made: list[list[SessionFeatures]] = [[]]
    while waiting:
        station = draw.choice(sorted(waiting))
        made[-1].append(waiting[station].pop(0))
        if not waiting[station]:
            del waiting[station]
        if draw.random() < 0.1:
            made.append([])
    return made


def _again(kept: T, kind: type[T], draw: Random) -> T:
    """Through a wire or a disk."""
    form: Any = draw.choice([msgspec.json, msgspec.msgpack])
    back: T = form.decode(form.encode(kept), type=kind)
    assert back == kept
    return back


def _streamed(case: Case, watches: list[Watch], draw: Random, *, restarts: bool) -> tuple[list[Finding], list[Watch]]:
    places: dict[str, int] = {}
    findings: dict[str, Finding] = {}
    for rows in case.days:
        judgements: list[Judgement] = []
        for place in range(len(watches)):
            own = [r for r in rows if places.setdefault(r.station_id, draw.randrange(len(watches))) == place]
            for batch in _batches(own, draw):
                found, judged = watches[place].judge_open(batch)
                assert not any(f.cause == Cause.SITE_EVENT for f in found)
                assert not findings.keys() & {f.finding_id for f in found}
                findings |= {f.finding_id: f for f in found}
                judgements += [_again(judgement, Judgement, draw) for judgement in judged]
                if restarts and draw.random() < 0.3:
                    state = _again(watches[place].to_state(), WatchState, draw)
                    watches[place] = Watch.from_state(case.detector, state)
        events = set()
        for watch in watches:
            draw.shuffle(judgements)
            closed = watch.close_day(watch.day_of(rows[0]), judgements)
            findings |= {f.finding_id: f for f in closed}
            events.add(msgspec.json.encode(closed))
        assert len(events) == 1
    return list(findings.values()), watches


def _in_order(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda f: f.finding_id)


def test_the_case_has_all_that_the_laws_are_about(case: Case) -> None:
    causes = {finding.cause for finding in case.findings}
    assert Cause.SITE_EVENT in causes
    assert any(f.by.startswith("model:") for f in case.findings)
    assert any(f.episode_id not in {None, f.finding_id} for f in case.findings), "an episode of several findings"
    assert any(kept.budget.debt != 0 for kept in case.state.budgets)
    assert case.state.episodes


def test_what_many_stations_had_on_one_day_is_one_episode_on_the_next(case: Case) -> None:
    watch = Watch(case.detector.with_budget(5.0), time_zone=SHIPPED_ZONE)  # alarms go on after many
    for day in case.days[: OUTAGE_DAY - 1]:
        watch.judge(day)
    first, second = case.days[OUTAGE_DAY - 1], case.days[OUTAGE_DAY + 2]
    some = sorted({row.station_id for row in first})[: 2 * LEAST_STATIONS]
    found = watch.judge([_cut_off(row) if row.station_id in some else row for row in first])
    alarms = [f for f in found if f.severity in ALARMING and f.station_id]
    cause = max({f.cause for f in alarms}, key=lambda cause: len({f.station_id for f in alarms if f.cause == cause}))
    having = [f for f in alarms if f.cause == cause]
    assert len({f.station_id for f in having}) >= LEAST_STATIONS
    begun = [f for f in alarms if f.episode_id == f.finding_id]
    assert watch.days[-1].alarms <= len(begun) - LEAST_STATIONS + 1  # to the budget they are one
    watch = Watch.from_state(watch.detector, watch.to_state())  # whoever goes on knows of it
    more = watch.judge([_cut_off(row) if row.station_id not in some else row for row in second])
    later = [f for f in more if f.severity in ALARMING and f.cause == cause and f.station_id not in some]
    assert later
    assert {f.episode_id for f in later} == {having[0].finding_id}


@settings(max_examples=8)
@given(watches=st.integers(1, 4), draw=SEEDS, restarts=st.booleans())
def test_any_batches_over_any_watches_come_to_the_batch(
    case: Case, *, watches: int, draw: Random, restarts: bool
) -> None:
    findings, used = _streamed(case, [case.watch() for _ in range(watches)], draw, restarts=restarts)
    assert _in_order(findings) == _in_order(case.findings)
    for watch in used:
        state = watch.to_state()
        assert state.budgets == case.state.budgets
        assert state.days == case.state.days
        assert state.troubles == case.state.troubles
        assert state.closed_day == case.state.closed_day
    episodes = sorted((e for w in used for e in w.to_state().episodes), key=lambda e: (e.station_id, e.cause))
    assert episodes == sorted(case.state.episodes, key=lambda e: (e.station_id, e.cause))


@settings(max_examples=8)
@given(cut=st.integers(0, 11), draw=SEEDS)
def test_a_watch_taken_up_again_goes_on_the_same(case: Case, cut: int, draw: Random) -> None:
    first = case.watch()
    before = first.judge([row for day in case.days[:cut] for row in day])
    second = Watch.from_state(case.detector, _again(first.to_state(), WatchState, draw))
    after = second.judge([row for day in case.days[cut:] for row in day])
    assert before + after == case.findings
    assert second.to_state() == case.state


def test_closed_days_mixed_days_and_foreign_states_are_refused(case: Case) -> None:
    watch = case.watch()
    with pytest.raises(ValueError, match="one local day"):
        watch.judge_open([case.days[0][0], case.days[1][0]])
    assert watch.judge_open([]) == ((), ())
    _, judgements = watch.judge_open(case.days[1])
    with pytest.raises(ValueError, match="alone"):
        watch.close_day(judgements[0].day + 1, judgements)
    watch.close_day(judgements[0].day, judgements)
    with pytest.raises(ValueError, match="closed"):
        watch.judge_open(case.days[0])
    foreign = msgspec.structs.replace(watch.to_state(), detector_version="another")
    with pytest.raises(InputError, match="another"):
        Watch.from_state(case.detector, foreign)
