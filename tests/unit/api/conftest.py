from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from tests.ui.fake_feed import FakeFeed
from tests.ui.served import Served

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def feed() -> FakeFeed:
    return FakeFeed(tick_s=None, stations=6, at_h=13.3)


@pytest.fixture
def served(feed: FakeFeed) -> Iterator[Served]:
    """The application on a real port: what is tested is what goes over the wire."""
    with Served(feed) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, trust_env=False) as session:
        yield session
