"""The page in a real Chromium: it moves, obeys, survives and never leaves its origin."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from playwright.sync_api import expect
from tests.ui.fake_feed import START, FakeFeed, make_finding
from tests.ui.served import Served

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    Open = Callable[..., Page]
    Serve = Callable[[FakeFeed], Served]

pytestmark = pytest.mark.ui

OPEN_ALL = "document.querySelectorAll('details').forEach(d => d.open = true)"
READ_ALL = """() => {
  document.querySelectorAll('noscript').forEach(n => n.remove());
  return [...document.querySelectorAll('main section, .clock')].map(s => s.textContent.replace(/\\s+/g, ''));
}"""


def still(**named: object) -> FakeFeed:
    feed = FakeFeed(tick_s=None, **named)  # type: ignore[arg-type]  # forwarded as they are
    feed.playing = False
    return feed


def test_the_live_page_says_exactly_what_the_server_drew(serve: Serve, open_page: Open) -> None:
    served = serve(still(at_h=37.3))
    drawn = open_page(served, script=False)
    live = open_page(served)
    live.evaluate(OPEN_ALL)
    live.wait_for_timeout(200)  # an opened table is filled by an event
    before, after = drawn.evaluate(READ_ALL), live.evaluate(READ_ALL)
    assert len(after) == 9
    assert after == before


def test_without_script_everything_can_be_read(serve: Serve, open_page: Open) -> None:
    feed = still(at_h=37.3)
    page = open_page(serve(feed), script=False)
    assert page.locator(".tile").count() == 50
    expect(page.locator("#clock")).to_have_text("13:18")
    first = feed.snapshot().findings[0]
    expect(page.locator(".finding").first).to_contain_text(first.reasons[0].text)
    expect(page.locator("#scores")).to_contain_text("Climatology")
    expect(page.locator("#play")).to_be_hidden()
    expect(page.locator("noscript .empty:visible")).to_have_count(2)


def test_a_frame_moves_the_clock_a_tile_and_the_totals(serve: Serve, open_page: Open) -> None:
    feed = still()
    served = serve(feed)
    page = open_page(served)
    charging = page.locator('.tile[data-status="charging"]').first
    station = charging.get_attribute("data-station")
    tile = page.locator(f'.tile[data-station="{station}"]')
    before = tile.inner_text()
    cost = page.locator("#kpi-cost .compare b").first.inner_text()
    expect(page.locator("#clock")).to_have_text("13:18")
    served.call(feed.step, 45)
    expect(page.locator("#clock")).to_have_text("14:03")
    expect(tile).not_to_have_text(before, use_inner_text=True)
    assert page.locator("#kpi-cost .compare b").first.inner_text() != cost


def test_a_playing_feed_keeps_moving_and_both_charts_are_drawn(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(FakeFeed(tick_s=0.1)))
    first = page.locator("#clock").get_attribute("datetime")
    expect(page.locator("#clock")).not_to_have_attribute("datetime", str(first))
    assert page.locator(".plot canvas").count() == 2
    # something else than background was painted on each
    painted = """c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
                 const seen = new Set();
                 for (let i = 0; i < d.length; i += 4) seen.add(d[i] + ',' + d[i + 1]);
                 return seen.size; }"""
    for canvas in page.locator(".plot canvas").all():
        assert canvas.evaluate(painted) > 20


def test_controls_reach_the_feed(serve: Serve, open_page: Open) -> None:
    feed = still()
    page = open_page(serve(feed))
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    assert feed.playing
    page.get_by_label("Speed").select_option("240.0")
    expect(page.locator("html")).to_have_attribute("data-sequence", "2")
    assert feed.speed == 240
    scrub = page.get_by_label("Position in the data")
    scrub.focus()
    page.keyboard.press("Home")
    expect(page.locator("#clock")).to_have_text("00:00")
    expect(page.locator("html")).to_have_attribute("data-sequence", "3")
    assert feed.at == START
    page.keyboard.press("End")
    expect(page.locator("#clock-day")).to_have_text("Thu 7 Mar 2019")
    expect(page.locator("html")).to_have_attribute("data-sequence", "4")
    assert feed.at == feed.ends_at
    assert scrub.get_attribute("aria-valuetext") == "Thu 7 Mar 2019 00:00"


def test_at_the_end_play_starts_again(serve: Serve, open_page: Open) -> None:
    feed = still(at_h=72)
    page = open_page(serve(feed))
    page.get_by_role("button", name="Play again from the start").click()
    expect(page.locator("#clock-day")).to_have_text("Mon 4 Mar 2019")
    assert feed.playing


def test_hostile_text_is_shown_as_text(serve: Serve, open_page: Open) -> None:
    hostile = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>{{7*7}}"
    feed = still(prefix=hostile, at_h=37)
    served = serve(feed)
    for script in (True, False):
        page = open_page(served, script=script)
        expect(page.locator("h1")).to_have_text(f"{hostile}Arroyo campus garage")
        expect(page.locator(".tile-id").first).to_have_text(f"{hostile}CA-300")
        assert hostile in page.locator(".finding .reasons li").first.inner_text()
        assert page.locator("img[src=x]").count() == 0
        assert page.locator("script:not([src])").count() == 0
    served.call(feed.step, 30)
    expect(page.locator("h1")).to_have_text(f"{hostile}Arroyo campus garage")


def test_a_lost_connection_is_said_and_comes_back(serve: Serve, open_page: Open) -> None:
    feed = still()
    served = serve(feed)
    page = open_page(served, forgive=("ERR_CONNECTION_REFUSED", "WebSocket", "ERR_CONNECTION_RESET"))
    expect(page.locator("#banner")).to_be_hidden()
    served.stop()
    expect(page.locator("#banner")).to_contain_text("Connection lost, retrying")
    expect(page.locator(".tile")).to_have_count(50)
    feed.at += timedelta(hours=2)  # the world went on meanwhile
    with Served(feed, port=served.port):
        expect(page.locator("#banner")).to_be_hidden(timeout=15_000)
        expect(page.locator("#clock")).to_have_text("15:18")
        page.context.close()


def test_a_snapshot_replaces_all_and_an_old_frame_is_left_out(serve: Serve, open_page: Open) -> None:
    feed = still(at_h=40)
    served = serve(feed)
    page = open_page(served)
    served.call(feed.control, seek=0.0)  # back to midnight: no car, no finding, no session
    expect(page.locator("#clock")).to_have_text("00:00")
    expect(page.locator('.tile[data-status="free"]')).to_have_count(50)
    expect(page.locator("#sessions-empty")).to_be_visible()
    expect(page.locator("#findings-empty")).to_be_visible()

    def repeat_an_old_frame() -> None:
        feed.sequence -= 2
        feed.step(60)
        feed.sequence += 10
        feed.step(60)

    served.call(repeat_an_old_frame)
    expect(page.locator("#clock")).to_have_text("02:00")


def test_a_new_finding_is_on_top_announced_and_opens_by_keyboard(serve: Serve, open_page: Open) -> None:
    feed = still()
    served = serve(feed)
    page = open_page(served)
    stay = feed.stays[3]
    many = msgspec.structs.replace(make_finding(stay), finding_id="new", observed_at=feed.at)
    reasons = tuple(msgspec.structs.replace(many.reasons[0], text=f"Reason number {index}.") for index in range(5))
    served.call(feed.add_finding, msgspec.structs.replace(many, reasons=reasons))
    item = page.locator(".finding").first
    expect(item).to_contain_text("Reason number 1.")
    expect(page.locator("#announce")).to_contain_text("New finding.")
    expect(item.get_by_text("Reason number 4.")).to_be_hidden()
    item.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(item.get_by_text("Reason number 4.")).to_be_visible()
    served.call(feed.step, 5)
    expect(page.locator("#clock")).to_have_text("13:23")
    expect(item.get_by_text("Reason number 4.")).to_be_visible()  # a frame does not close what was opened


def test_filters_show_one_status(serve: Serve, open_page: Open) -> None:
    feed = still()
    page = open_page(serve(feed))
    waiting = sum(station.status == "waiting" for station in feed.snapshot().stations)
    page.get_by_role("button", name="Waiting").click()
    expect(page.locator(".tile:visible")).to_have_count(waiting)
    expect(page.get_by_role("button", name="Waiting")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="All").click()
    expect(page.locator(".tile:visible")).to_have_count(50)


def test_an_empty_site_says_so(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(still(stations=0)))
    for text in ("No station to show.", "Nothing odd so far.", "No session yet.", "No forecast yet."):
        expect(page.get_by_text(text, exact=True).first).to_be_visible()
    expect(page.locator("#kpi-cost .headline span")).to_have_text("\u2014")


def test_the_chosen_theme_stays(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(still()))
    html = page.locator("html")
    expect(html).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(html).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(html).to_have_attribute("data-theme", "dark")
