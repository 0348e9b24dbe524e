from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright
from tests.ui.served import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.ui.fake_feed import FakeFeed

ROOT = Path(__file__).parents[2]
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # per module, not per session: playwright keeps an event loop "running" in this thread, which tests of
    # asyncio code in other modules could not stand
    path = subprocess.run([ROOT / "scripts" / "chromium"], check=True, capture_output=True, text=True).stdout.strip()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


class Watch:
    """What a page did that it should not: console noise, exceptions, requests to elsewhere, CSP violations."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.wrongs: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.wrongs.append(f"exception: {error}"))
        page.on("request", self._request)
        page.on("dialog", lambda dialog: self.wrongs.append(f"dialog: {dialog.message}"))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', e => console.error('CSP ' + e.violatedDirective));"
        )

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning", "assert"}:
            self.wrongs.append(f"console {message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:")):
            self.wrongs.append(f"request to {request.url}")


@pytest.fixture
def serve() -> Iterator[Callable[[FakeFeed], Served]]:
    """Start servers that stop with the test."""
    running: list[Served] = []

    def start(feed: FakeFeed) -> Served:
        served = Served(feed).__enter__()
        running.append(served)
        return served

    yield start
    for served in running:
        served.stop()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a server's page in a fresh context; afterwards nothing may have gone wrong that was not forgiven."""
    watches: list[tuple[Watch, tuple[str, ...]]] = []

    def start(
        served: Served,
        *,
        width: int = 1280,
        height: int = 900,
        scheme: str = "light",
        script: bool = True,
        forgive: tuple[str, ...] = (),
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=script,
        )
        page = context.new_page()
        page.set_default_timeout(8_000)
        watches.append((Watch(page, served.url), forgive))
        page.goto(served.url)
        if script:
            page.wait_for_selector("html[data-sequence]", state="attached")
        return page

    yield start
    for watch, forgiven in watches:
        watch.page.context.close()
        assert [wrong for wrong in watch.wrongs if not any(part in wrong for part in forgiven)] == []


@pytest.fixture
def screenshot() -> Callable[[Page, str], None]:
    """Keep a picture where PLUGCAST_SCREENSHOTS names a folder."""
    folder = os.environ.get("PLUGCAST_SCREENSHOTS")

    def keep(page: Page, name: str) -> None:
        if folder:
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    return keep
