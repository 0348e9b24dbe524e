"""Alarms keep to a budget, episodes are told once, and nobody can talk a site silent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np
import polars as pl
import pytest

from plugcast.anomaly.budget import CLEAR_AFTER, MOST_GENEROUS, WINDOW, Episodes, RollingBudget
from plugcast.anomaly.collective import LEAST_STATIONS, binomial_tail
from plugcast.anomaly.feedback import MOST_LEANING, Entry, Feedback, Verdict
from plugcast.anomaly.scale import RobustScale
from plugcast.anomaly.threshold import Tail, calibrate
from plugcast.domain.finding import Cause, Finding, Reason, Severity
from plugcast.errors import InputError
from plugcast.services.detect_run import DetectReport

STATIONS = [f"s{number}" for number in range(20)]
AT = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_alarms_keep_to_the_budget_also_when_all_scores_drift(drift: float) -> None:
    rng = np.random.default_rng(1)
    budget = RollingBudget(calibrate(rng.normal(size=2000), station_weeks=100.0, alarms_per_station_week=0.2))
    alarms, allowed = 0, 0.0
    for day in range(1, 181):
        scores = rng.normal(size=100) + (drift if day > 60 else 0.0)
        level = budget.level(day)
        told = int((budget.p_values(scores) <= level.alpha).sum())
        budget.close(day, scores=scores.tolist(), stations=STATIONS, alarms=told)
        if not 60 < day <= 88:  # four weeks to learn the new regime
            alarms, allowed = alarms + told, allowed + 0.2 * len(STATIONS) / 7
    assert 1 / 1.25 < alarms / allowed < 1.25


def test_silent_days_save_nothing_up_and_no_level_is_absurd() -> None:
    """A month without records is followed by the level of the day before; a quiet month asks for a bounded level."""
    rng = np.random.default_rng(3)
    budget = RollingBudget(calibrate(rng.normal(size=2000), station_weeks=100.0, alarms_per_station_week=0.2))
    for day in range(1, 15):
        budget.close(day, scores=rng.normal(size=100).tolist(), stations=STATIONS, alarms=0)
    saved, before = budget.debt, budget.level(15)
    assert budget.level(45).alpha <= before.alpha
    assert budget.debt == saved
    usual = 0.2 / 7  # a session a station and day
    assert before.alpha == pytest.approx(MOST_GENEROUS * usual)


def test_a_window_of_many_held_out_scores_begins_like_the_whole() -> None:
    scores = np.random.default_rng(4).normal(size=3 * WINDOW)
    threshold = calibrate(scores, station_weeks=100.0, alarms_per_station_week=0.2)
    budget = RollingBudget(threshold)
    for day in range(1, 4):  # enough new scores for the tail to be fitted anew, to the window
        budget.close(day, scores=np.random.default_rng(day).normal(size=100).tolist(), stations=STATIONS, alarms=0)
    probes = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(budget.p_values(probes), threshold.p_values(probes), rtol=0.25)


def test_the_tail_goes_on_where_ranks_end_and_is_calibrated() -> None:
    rng = np.random.default_rng(2)
    tail = Tail(held_out=np.sort(rng.exponential(size=2000)))
    p_values = tail.p_values(np.array([0.5, 6.0, 9.0, 12.0]))
    assert (np.diff(p_values) < 0).all()
    assert p_values[-1] < 1 / 2001
    fresh = tail.p_values(rng.exponential(size=200_000))
    for level in (0.1, 0.01, 0.001):
        assert 0.5 < (fresh <= level).mean() / level < 2.0


def test_the_same_fault_is_one_episode_until_the_station_is_ordinary() -> None:
    episodes = Episodes()
    assert episodes.step(("site", "s"), 1, found=[("f1", "derating")], cleared=False) == {"f1": "f1"}
    assert episodes.step(("site", "s"), 2, found=[("f2", "derating")], cleared=False) == {"f2": "f1"}
    assert episodes.step(("site", "s"), 2, found=[("f3", "overstay")], cleared=False) == {"f3": "f3"}
    for _ in range(CLEAR_AFTER):
        episodes.step(("site", "s"), 3, found=[], cleared=True)
    assert episodes.step(("site", "s"), 4, found=[("f4", "derating")], cleared=False) == {"f4": "f4"}


def _entry(name: str, verdict: Verdict, value: float) -> Entry:
    return Entry(
        finding_id=name, session_id=name, verdict=verdict, said_by="me", said_at=AT, values={"a": value, "b": 0.0}
    )


def test_a_verdict_leans_near_its_session_within_bounds_and_the_trail_is_kept() -> None:
    names = ("a", "b")
    scale = RobustScale.fit(np.random.default_rng(0).normal(size=(100, 2)), names)
    told = Feedback().said(_entry("x", Verdict.FALSE_ALARM, 2.0)).said(_entry("y", Verdict.TRUE, -6.0))
    near, other, far = told.leaning(np.array([[2.0, 0.0], [-6.0, 0.0], [600.0, -600.0]]), names, scale)  # type: ignore[misc]
    assert near < 1 < other
    assert abs(far - 1) < abs(near - 1)
    hostile = Feedback(entries=tuple(_entry(str(n), Verdict.FALSE_ALARM, 2.0) for n in range(500)))
    (low,) = hostile.leaning(np.array([[2.0, 0.0]]), names, scale)  # type: ignore[misc]
    assert low >= np.exp(-MOST_LEANING)
    changed = told.said(_entry("x", Verdict.KNOWN_WORK, 2.0))
    assert len(changed.entries) == 3
    assert changed.unusable == {"x", "y"}
    assert Feedback.from_lines(changed.to_lines()) == changed
    with pytest.raises(InputError, match="Line 2"):
        Feedback.from_lines(told.to_lines()[:-30] + b"\n")


def test_binomial_tail() -> None:
    assert binomial_tail(0, 7, 0.3) == pytest.approx(1.0)
    assert binomial_tail(7, 7, 0.3) == pytest.approx(0.3**7)


def test_what_many_stations_got_on_one_local_day_is_one_alarm_of_a_report() -> None:
    evening = datetime(2020, 1, 24, 22, tzinfo=UTC)  # 14:00 at the site, whose day ends ten hours later

    def finding(station: int, *, cause: Cause = Cause.NEVER_DONE, hours: float = 0.0, **changed: Any) -> Finding:
        name = f"{cause.value}-{station}-{hours}"
        values: dict[str, Any] = {
            "finding_id": name,
            "session_id": name,
            "site_id": "garage",
            "station_id": f"post-{station}",
            "user_id": None,
            "observed_at": evening + timedelta(hours=hours),
            "score": 0.9,
            "p_value": 0.001,
            "cause": cause,
            "severity": Severity.WARNING,
            "by": "model:stack",
            "reasons": (Reason(feature="x", text="x", contribution=1.0),),
            "episode_id": name,
        }
        return Finding(**(values | changed))

    lost = [finding(station, hours=2.5 * station) for station in range(LEAST_STATIONS)]  # over midnight in UTC
    few = [finding(station, cause=Cause.DERATING) for station in range(LEAST_STATIONS - 1)]
    next_day = finding(0, hours=24.0)
    quiet = [finding(9, severity=Severity.INFO), finding(8, episode_id=lost[0].finding_id)]
    report = DetectReport(
        detector=cast("Any", None),
        findings=(few[0], *lost, *few[1:], *quiet, next_day),
        features=pl.DataFrame(),
        rejected=0,
        from_at=None,
        station_weeks=10.0,
        budget=0.1,
        training="",
        time_zone="America/Los_Angeles",
    )
    assert report.alarms == (few[0], lost[0], *few[1:], next_day)
    assert report.alarm_rate == pytest.approx(len(report.alarms) / 10.0)
