from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl
import pytest

from plugcast.services import live, showcase
from plugcast.services.replay import QUEUE, SPEED_RANGE, ReplayFeed
from plugcast.services.views import SLOT_US
from plugcast.services.workup import Place, WorkUp, work_up

if TYPE_CHECKING:
    from plugcast.ports import SessionsRead

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def done() -> WorkUp:
    """The first half of the shipped month."""
    read = showcase.shipped(NOW).read
    early = read.sessions.filter(pl.col("arrival_at") < datetime(2019, 3, 15, 7, tzinfo=UTC))
    return _work_up(replace(read, sessions=early))


def _work_up(read: SessionsRead) -> WorkUp:
    shown = showcase.shipped(NOW)
    place = Place(
        name=shown.name,
        time_zone=shown.time_zone,
        source=shown.source,
        terms=showcase.terms(tariff=None, time_zone=shown.time_zone, limit_kw=50.0, pv_kw=20.0),
    )
    return work_up(read, place, threads=1)


@pytest.mark.slow
def test_the_report_keeps_the_books_and_shows_the_plans_worth() -> None:
    report = msgspec.json.decode(msgspec.json.encode(_work_up(showcase.shipped(NOW).read).report))
    assert report["sessions"] == {"read": 954, "accepted": 954, "rejected": 0, "duplicates": 0}
    plan, free = report["plan"]["plan"], report["plan"]["uncontrolled"]
    assert plan["cost"] < 0.75 * free["cost"]
    assert plan["peak_kw"] <= 50.0 + 1e-6 < free["peak_kw"]
    assert plan["slots_over_limit"] == 0 < free["slots_over_limit"]
    assert 0.95 < plan["delivered_kwh"] / free["delivered_kwh"] <= 1.0
    for row in report["forecast"]["cars"]:
        assert row["model_mae"] < row["persistence_mae"]
    for row in report["forecast"]["station"]["time_split"]:
        assert row["model"]["plug_brier"] < min(row[name]["plug_brier"] for name in ("persistence", "climatology"))
    assert report["findings"]
    assert all(finding["reasons"][0]["text"] for finding in report["findings"])
    assert set(report["seconds"]) == {"read", "forecast", "plan", "detect", "record"}


def test_the_bill_so_far_ends_at_the_bill(done: WorkUp) -> None:
    recording, plan = done.recording, done.report["plan"]
    assert recording.plan_cost[-1] == pytest.approx(plan["plan"]["cost"])
    assert recording.uncontrolled_cost[-1] == pytest.approx(plan["uncontrolled"]["cost"])
    assert (np.diff(recording.plan_cost) >= -1e-9).all()


def test_frames_add_up_to_the_snapshot(done: WorkUp) -> None:
    feed = ReplayFeed(done.recording, speed=60.0, start_share=0.0)
    frames = _collect(feed, 40)
    stations = {view.station_id: view for view in feed_start(done).stations}
    sessions, findings = {view.session_id: view for view in feed_start(done).sessions}, set()
    for frame in frames:
        stations |= {view.station_id: view for view in frame.stations}
        sessions |= {view.session_id: view for view in frame.sessions}
        findings |= {finding.finding_id for finding in frame.findings}
    now = feed.snapshot()
    assert stations == {view.station_id: view for view in now.stations}
    assert sessions.items() >= {view.session_id: view for view in now.sessions}.items()
    assert findings >= {finding.finding_id for finding in now.findings}
    assert [frame.sequence for frame in frames] == sorted(frame.sequence for frame in frames)
    assert now.at > frames[0].at


def feed_start(done: WorkUp) -> live.Frame:
    return ReplayFeed(done.recording, start_share=0.0).snapshot()


def _collect(feed: ReplayFeed, ticks: int) -> list[live.Frame]:
    async def run() -> list[live.Frame]:
        watcher = feed.frames()
        got = []
        for _ in range(ticks):
            first = asyncio.ensure_future(anext(watcher))
            await asyncio.sleep(0)
            feed.tick(1.0)
            got.append(msgspec.json.decode(await first, type=live.Frame))
        await watcher.aclose()
        return got

    return asyncio.run(run())


def test_nothing_of_the_future_is_shown(done: WorkUp) -> None:
    recording = done.recording
    for share in (0.2, 0.5, 0.9):
        feed = ReplayFeed(recording, start_share=share)
        seen = feed.snapshot()
        assert all(view.arrival_at <= seen.at for view in seen.sessions)
        assert all(view.departure_at is None or view.departure_at <= seen.at for view in seen.sessions)
        assert all(finding.observed_at <= seen.at for finding in seen.findings)
        assert seen.power is not None
        assert seen.forecast is not None
        now = seen.at.timestamp()
        known = zip(seen.power.start_at, seen.power.uncontrolled_kw, strict=True)
        assert all((drawn is None) == (start > now) for start, drawn in known)
        known = zip(seen.forecast.valid_at, seen.forecast.actual, strict=True)
        assert all(drawn is None for start, drawn in known if start > now)
        assert seen.forecast.issued_at <= seen.at


def test_stations_agree_with_the_sessions_there(done: WorkUp) -> None:
    feed = ReplayFeed(done.recording, start_share=0.4)
    now = feed.snapshot()
    present = {view.session_id for view in now.sessions if view.departure_at is None}
    taken = {view.session_id for view in now.stations if view.status is not live.StationStatus.FREE}
    assert taken == present
    assert now.power is not None
    slot = now.power.start_at.index(int(now.at.timestamp() // (SLOT_US / 1e6) * (SLOT_US / 1e6)))
    planned = now.power.plan_kw[slot]
    assert planned == pytest.approx(sum(view.power_kw for view in now.stations), abs=0.3)


def test_it_starts_where_the_site_first_gets_busy(done: WorkUp) -> None:
    recording, seen = done.recording, ReplayFeed(done.recording).snapshot()
    present = sum(view.departure_at is None for view in seen.sessions)
    assert present * 2 >= recording.cars.max()
    before = recording.cars[recording.slot_us[: recording.slots] < int(seen.at.timestamp() * 1e6)]
    assert (before * 2 < recording.cars.max()).all()


def test_control_is_bounded(done: WorkUp) -> None:
    feed = ReplayFeed(done.recording)
    feed.control(speed=1e9)
    assert feed.snapshot().speed == SPEED_RANGE[1]
    feed.control(speed=math.nan, seek=math.nan, playing=False)
    assert not feed.snapshot().playing
    before = feed.snapshot().at
    feed.tick(10.0)
    assert feed.snapshot().at == before
    feed.control(seek=7.0, playing=True)
    assert feed.snapshot().at <= done.recording.info.ends_at
    feed.tick(1.0)
    assert not feed.snapshot().playing  # the end of the span pauses


def test_a_watcher_that_fell_behind_gets_a_snapshot(done: WorkUp) -> None:
    async def run() -> list[str]:
        feed = ReplayFeed(done.recording)
        watcher = feed.frames()
        first = asyncio.ensure_future(anext(watcher))
        await asyncio.sleep(0)
        feed.tick(1.0)
        kinds = [msgspec.json.decode(await first, type=live.Frame).kind]
        for _ in range(QUEUE + 1):
            feed.tick(1.0)
        kinds.append(msgspec.json.decode(await anext(watcher), type=live.Frame).kind)
        feed.tick(1.0)
        kinds.append(msgspec.json.decode(await anext(watcher), type=live.Frame).kind)
        await watcher.aclose()
        return kinds

    assert asyncio.run(run()) == ["frame", "snapshot", "frame"]


def test_the_replay_moves_on_its_own_clock(done: WorkUp) -> None:
    feed = ReplayFeed(done.recording, speed=15.0)
    begun = feed.snapshot().at
    feed.tick(2.0)
    assert feed.snapshot().at - begun == timedelta(minutes=30)


def test_the_cars_counted_are_those_in_the_books(done: WorkUp) -> None:
    sessions = showcase.shipped(NOW).read.sessions
    at = done.recording.slot_us[100]
    instant = datetime.fromtimestamp(at / 1e6, UTC)
    there = sessions.filter((pl.col("arrival_at") <= instant) & (pl.col("departure_at") > instant)).height
    assert done.recording.cars[100] == there
