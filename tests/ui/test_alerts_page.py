"""The page of alerts in a real browser: alive, for everybody, and not to be abused."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from prometheus_client import CollectorRegistry
from tests.ui.fake_feed import FakeFeed
from tests.ui.served import Served

from plugcast.alerts.lifecycle import Desk, Policy
from plugcast.api.alerts_page import Board, alerts_app
from plugcast.domain.finding import Cause, Finding, Reason, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

pytestmark = pytest.mark.ui
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Site:
    """A desk, its page, and a way to add findings while somebody looks."""

    desk: Desk = field(default_factory=lambda: Desk(Policy()))

    def __post_init__(self) -> None:
        self.board = Board("Depot & Söhne", time_zone="Europe/Oslo", alerts=lambda: self.desk.open)
        app = alerts_app(self.board, ready=lambda: True, registry=CollectorRegistry())
        self.served = Served(FakeFeed(tick_s=None), app=app)

    def add(self, *findings: Finding) -> None:
        for finding in findings:
            self.desk.add(finding, now=NOW)
        self.desk.due(now=NOW + timedelta(minutes=1))
        self.board.tell()


def finding(number: int, **changed: Any) -> Finding:
    values: dict[str, Any] = {
        "finding_id": f"f{number}",
        "session_id": f"s{number}",
        "site_id": "depot",
        "station_id": f"post-{number}",
        "user_id": None,
        "observed_at": NOW + timedelta(minutes=number),
        "score": 0.9,
        "p_value": None,
        "cause": Cause.METER_FAULT,
        "severity": Severity.CRITICAL,
        "by": "rule:x",
        "reasons": (Reason(feature="x", text=f"delivered {number} kWh in 2.7 h", contribution=1.0),),
    }
    return Finding(**{**values, **changed})


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    with made.served:
        yield made


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (400, 800)])
def test_axe_and_width(  # noqa: PLR0917 - pytest passes them by name
    scheme: str,
    width: int,
    height: int,
    site: Site,
    open_page: Callable[..., Page],
    screenshot: Callable[[Page, str], None],
) -> None:
    site.add(
        finding(1),
        finding(2, severity=Severity.WARNING, cause=Cause.DERATING, observed_at=NOW - timedelta(hours=9)),
        finding(3, station_id="averyveryverylongnamewithoutanyplacetobreak" * 2, observed_at=NOW - timedelta(hours=5)),
        *(finding(n, observed_at=NOW + timedelta(days=1, seconds=n)) for n in range(100, 130)),
    )
    page = open_page(site.served, scheme=scheme, width=width, height=height)
    screenshot(page, f"alerts-{scheme}-{width}")
    assert page.locator("[data-alert]").count() == 4
    assert "30 stations at once" in (page.locator("[data-alert]").first.text_content() or "")
    found = Axe().run(page).response["violations"]
    assert [(item["id"], item["nodes"][0]["target"]) for item in found] == []
    wide, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner


def test_an_alert_appears_as_it_comes_and_says_why(site: Site, open_page: Callable[..., Page]) -> None:
    page = open_page(site.served)
    page.wait_for_selector("text=Nothing is wrong")
    site.served.call(site.add, finding(7))
    page.wait_for_selector("text=delivered 7 kWh in 2.7 h", timeout=5_000)
    assert "Meter fault" in (page.locator("#announce").text_content() or "")
    site.served.call(site.add, finding(8, station_id="post-7", cause=Cause.METER_FAULT))
    page.wait_for_selector("text=2 findings", timeout=5_000)
    assert page.locator("[data-alert]").count() == 1


def test_names_that_are_html_stay_text(site: Site, open_page: Callable[..., Page]) -> None:
    evil = "<img src=x onerror=alert(1)>"
    site.add(finding(1, station_id=evil, reasons=(Reason(feature="x", text=evil, contribution=1.0),)))
    page = open_page(site.served)
    site.served.call(site.add, finding(2, station_id=evil, cause=Cause.DERATING, observed_at=NOW))
    page.wait_for_selector("text=Derating", timeout=5_000)
    assert page.locator("#list img").count() == 0


def test_strangers_are_refused_and_every_answer_is_dressed(site: Site) -> None:
    answer = httpx.get(site.served.url)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert httpx.get(site.served.url, headers={"host": "evil.example"}).status_code == 421
    assert httpx.get(f"{site.served.url}readyz").text == "ok\n"
    assert httpx.get(f"{site.served.url}api/v1/alerts").json() == {"alerts": []}


@pytest.mark.parametrize("path", ["", "healthz", "readyz"])
def test_a_monitor_may_ask_for_heads_alone(path: str, site: Site) -> None:
    answer = httpx.head(site.served.url + path)
    assert (answer.status_code, answer.content) == (200, b"")
