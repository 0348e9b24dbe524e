"""The page for everybody: axe finds nothing serious, nothing scrolls sideways, motion can be off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from tests.ui.fake_feed import FakeFeed

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page
    from tests.ui.served import Served

pytestmark = pytest.mark.ui


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (400, 800)])
def test_axe_and_width(  # noqa: PLR0917 - pytest passes them by name
    scheme: str,
    width: int,
    height: int,
    serve: Callable[[FakeFeed], Served],
    open_page: Callable[..., Page],
    screenshot: Callable[[Page, str], None],
) -> None:
    feed = FakeFeed(tick_s=None, at_h=37.3)
    page = open_page(serve(feed), scheme=scheme, width=width, height=height)
    screenshot(page, f"page-{scheme}-{width}")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = Axe().run(page).response["violations"]
    assert [(item["id"], item["nodes"][0]["target"]) for item in found] == []
    wide, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner


def test_axe_with_a_lost_connection_and_long_ids(
    serve: Callable[[FakeFeed], Served], open_page: Callable[..., Page]
) -> None:
    served = serve(FakeFeed(tick_s=None, at_h=37.3, prefix="averyveryverylongprefixwithoutanyplacetobreak"))
    page = open_page(served, width=400, height=800, forgive=("ERR_CONNECTION", "WebSocket"))
    served.stop()
    page.wait_for_selector("#banner:visible")
    assert [item["id"] for item in Axe().run(page).response["violations"]] == []
    wide, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner


def test_every_control_can_be_reached_by_keyboard(
    serve: Callable[[FakeFeed], Served], open_page: Callable[..., Page]
) -> None:
    page = open_page(serve(FakeFeed(tick_s=None)))
    seen = []
    for _ in range(14):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", seen[-1]
    assert seen[0] == "skip"
    assert {"play", "speed", "scrub", "theme", "findings-scroll"} <= set(seen)
