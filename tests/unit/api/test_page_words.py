from __future__ import annotations

import doctest
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ui.fake_feed import FakeFeed

from plugcast.api import page, security, wording
from plugcast.domain.finding import Cause, Finding, Reason, Severity
from plugcast.services import live

ROOT = Path(__file__).parents[3]
LOS_ANGELES = ZoneInfo("America/Los_Angeles")


@pytest.mark.parametrize("module", [wording, security])
def test_examples_hold(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0


def test_every_code_has_words() -> None:
    assert set(wording.CAUSES) == {cause.value for cause in Cause}
    assert len(set(wording.CAUSES.values())) == len(wording.CAUSES)
    assert set(wording.SEVERITIES) == {severity.value for severity in Severity}
    assert set(wording.STATUSES) == {status.value for status in live.StationStatus}


@given(st.floats(allow_nan=True, allow_infinity=True), st.integers(0, 4))
def test_a_number_reads_back_within_half_its_last_digit(value: float, digits: int) -> None:
    text = wording.number(value, digits)
    if text == wording.MISSING:
        assert not abs(value) < 1e15
    else:
        assert not text.startswith("-0") or float(text.replace(",", "")) != 0
        read = float(text.replace(",", ""))
        assert abs(read - value) <= 0.5 * 10.0**-digits * (1 + 1e-9) + abs(value) * 1e-15


def test_local_time_follows_the_site_through_the_change_of_clocks() -> None:
    before = datetime(2019, 3, 10, 9, 59, tzinfo=UTC)
    assert wording.when(before, LOS_ANGELES) == "Sun 10 Mar 01:59"
    assert wording.when(before + timedelta(minutes=1), LOS_ANGELES) == "Sun 10 Mar 03:00"
    assert wording.near(before, before + timedelta(days=1), LOS_ANGELES) == "Sun 10 Mar 01:59"


def test_sessions_stand_present_first_then_latest_to_leave() -> None:
    rows = FakeFeed(stations=30).snapshot().sessions
    ordered = page.ordered(rows)
    assert sorted(row.session_id for row in ordered) == sorted(row.session_id for row in rows)
    gone = [row.departure_at for row in ordered if row.departure_at is not None]
    assert ordered[-len(gone) :] == [row for row in ordered if row.departure_at is not None]
    assert gone == sorted(gone, reverse=True)


def test_a_finding_shows_two_reasons_and_opens_the_rest() -> None:
    reasons = tuple(Reason(feature="f", text=f"reason {index}", contribution=0.1) for index in range(3))
    finding = Finding(
        finding_id="1", session_id="s", site_id="x", station_id="st", user_id=None,
        observed_at=datetime(2019, 3, 4, 20, tzinfo=UTC), score=0.9, p_value=0.01, cause=Cause.DERATING,
        severity=Severity.WARNING, by="model:forest", reasons=reasons,
    )  # fmt: skip
    shown = page.finding(finding, LOS_ANGELES)
    assert (shown.reasons, shown.more) == (("reason 0", "reason 1"), ("reason 2",))
    assert shown.more_label == "1 more reason, and how it was found"
    assert shown.how == "Found by model:forest, score 0.90, p = 0.010; session s."


@pytest.mark.parametrize(
    ("plan", "wanted", "headline", "note"),
    [(80.0, 100.0, "20 % less", "$0.800/kWh, not $1.000"), (0.0, 0.0, wording.MISSING, "")],
)
def test_key_figures(plan: float, wanted: float, headline: str, note: str) -> None:
    totals = live.Totals(
        plan_cost=plan, uncontrolled_cost=wanted, plan_peak_kw=50, uncontrolled_peak_kw=40, plan_energy_kwh=wanted,
        uncontrolled_energy_kwh=wanted, unmet_kwh=0, currency="USD",
    )  # fmt: skip
    cost = page.kpis(totals)["cost"]
    assert (cost.headline, cost.note) == (headline, note)
    assert page.kpis(totals)["peak"].headline == "25 % more"
    assert page.kpis(totals)["peak"].note == "10.0 kW higher"


@given(st.floats(-1e6, 1e6), st.none() | st.floats(-1e6, 1e6))
def test_a_bar_stays_in_its_box(part: float, whole: float | None) -> None:
    assert 0 <= page.bar(part, whole) <= 100


def test_the_slot_of_an_instant_is_the_last_that_began() -> None:
    starts = [900, 1800, 2700]
    at = [datetime.fromtimestamp(second, UTC) for second in (899, 900, 1799, 1800, 9999)]
    assert [page.slot(starts, moment) for moment in at] == [None, 0, 0, 1, 2]


def test_the_message_reference_names_every_field() -> None:
    text = (ROOT / "docs" / "reference" / "live-messages.md").read_text(encoding="utf-8")
    kinds = (live.Frame, live.SiteInfo, live.StationView, live.SessionView, live.PowerSeries)
    for kind in (*kinds, live.ForecastSeries, live.Totals, live.Score, Finding, Reason):
        part = text.partition(f"## {kind.__name__}\n")[2].partition("\n## ")[0]
        for field in msgspec.structs.fields(kind):
            assert f"| `{field.name}` |" in part, (kind.__name__, field.name)
