"""The ACN-Data service: sessions of one site and window, page by page, complete or an error.

Documented request: ``GET sessions/{site}?where=...&sort=connectionTime&max_results=100``, the token as basic-auth user
name with an empty password. The answer holds ``_items``, ``_links.next.href`` (relative to the API's root) and
``_meta.total``.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec

from plugcast.adapters.acn.client import TOKEN_HELP, ClientSettings, PatientClient
from plugcast.adapters.acn.ledger import Ledger
from plugcast.adapters.acn.records import decode_record
from plugcast.adapters.acn.state import PageStore, Progress, Window
from plugcast.errors import ConfigError, IncompleteDownloadError, RemoteError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from plugcast.ports import SessionsRead

BASE_URL: Final = "https://ev.caltech.edu/api/v1/"
SERIES_PAGE: Final = 5
"""Sessions of a page with series: each takes up to some MB."""
_SITE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class _Link(msgspec.Struct, frozen=True):
    href: str


class _Links(msgspec.Struct, frozen=True):
    next: _Link | None = None


class _Meta(msgspec.Struct, frozen=True):
    total: int


class Page(msgspec.Struct, frozen=True, rename={"items": "_items", "links": "_links", "meta": "_meta"}):
    """One answer; the records stay as they came."""

    items: list[msgspec.Raw]
    meta: _Meta
    links: _Links = _Links()


class _Named(msgspec.Struct, frozen=True, rename={"id_": "_id"}):
    id_: str | int | None = None


_PAGE: Final = msgspec.json.Decoder(Page)
_NAMED: Final = msgspec.json.Decoder(_Named)


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """All records of a window, as compact JSON, in the service's order."""

    records: tuple[bytes, ...]
    repeats: int
    """Records that came again, byte for byte, and are not among ``records``."""
    pages: int
    resumed_pages: int
    """Pages that an earlier run had fetched."""
    total: int
    """What the service announced."""


class AcnApi:
    """Sessions that began in ``[since, until)``. Implements ``ports.SessionSource``.

    Args:
        site: caltech, jpl or office001.
        token: The service's token; never logged, never kept.
        base_url: The API's root.
        since: First instant of ``connectionTime``, UTC-aware, whole seconds.
        until: First instant after the window.
        settings: Time-outs, attempts, bounds.
        series: Whether each record comes with its ``chargingCurrent`` and ``pilotSignal``
            (``adapters.acn.series`` reads them).
        state_path: A directory for finished pages; an interrupted download goes on from there, for the same window.
        progress: Called with (records so far, records announced) after every page.
        sleep: Waits some seconds between attempts.
        rng: Draws the jitter of the waits.
        now: The present; later times in records are refused.
    """

    def __init__(
        self,
        site: str,
        token: str,
        *,
        since: datetime,
        until: datetime,
        base_url: str = BASE_URL,
        settings: ClientSettings | None = None,
        series: bool = False,
        state_path: Path | None = None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not _SITE.fullmatch(site):
            raise ConfigError(f"site: wanted a name like caltech, jpl or office001, found {site!r}.")
        if not token or not token.isprintable() or ":" in token:
            raise ConfigError(
                f"token: wanted ACN-Data's API token, found none or one with odd characters. {TOKEN_HELP}"
            )
        self._since, self._until = _checked("since", since), _checked("until", until)
        if self._since >= self._until:
            raise ConfigError(f"until: wanted an instant after {since.isoformat()}, found {until.isoformat()}.")
        self._site = site
        self._resource = f"sessions/{site}/ts" if series else f"sessions/{site}"
        self._settings = settings or ClientSettings()
        self._page_size = min(self._settings.page_size, SERIES_PAGE) if series else self._settings.page_size
        self._base_url, self._token = base_url, token
        self._sleep, self._rng = sleep, rng
        self._window = Window(
            base_url=base_url,
            site=f"{site}/ts" if series else site,
            since=self._since.isoformat(),
            until=self._until.isoformat(),
        )
        self._state_path = state_path
        self._progress = progress
        self._now = now

    def read(self) -> SessionsRead:
        """Every session of the window once, with what was refused and why. A window without sessions is no error.

        Raises:
            RemoteRefusedError: Bad token or unknown site.
            RemoteUnavailableError: No usable answer after all attempts.
            IncompleteDownloadError: Fewer records came than the service announced.
            ConfigError: The state directory belongs to another window.
        """
        return self.booked(self.download())

    def booked(self, download: Download) -> SessionsRead:
        """The frames of a download."""
        ledger = Ledger(f"acn:{self._site}", now=self._now())
        for record in download.records:
            ledger.add(decode_record(record), record)
        ledger.repeated(download.repeats)
        return ledger.result()

    def download(self) -> Download:
        """The native records; raises what ``read`` raises."""
        store = PageStore(self._state_path, self._window)
        resumed = store.progress.pages
        seen = _Seen(store)
        client = PatientClient(
            self._base_url, self._token, settings=self._settings, sleep=self._sleep, rng=self._rng, now=self._now
        )
        with client:
            visited: set[str] = set()
            while not store.progress.complete:
                url = store.progress.next_url or client.resolve(self._first())
                if url in visited:
                    raise RemoteError(
                        f"{self._site}: the links to the next page run in a circle at page {len(visited)}."
                    )
                visited.add(url)
                page = client.get(url, _PAGE)
                following = client.resolve(page.links.next.href) if page.links.next is not None else None
                self._keep(store, seen, page, following)
        return Download(
            records=tuple(store.records()),
            repeats=store.progress.repeats,
            pages=store.progress.pages,
            resumed_pages=resumed,
            total=store.progress.total,
        )

    def _first(self) -> str:
        where = f'connectionTime>="{http_date(self._since)}" and connectionTime<"{http_date(self._until)}"'
        size = self._page_size
        query = urlencode({"where": where, "sort": "connectionTime", "max_results": size, "page": 1})
        return f"{self._resource}?{query}"

    def _keep(self, store: PageStore, seen: _Seen, page: Page, following: str | None) -> None:
        """Keep one page; after the last, check that as many records came as were announced."""
        fresh = [record for record in map(_compact, page.items) if seen.is_new(record)]
        before = store.progress
        complete = following is None and seen.count >= page.meta.total
        progress = Progress(
            window=self._window,
            pages=before.pages + 1,
            next_url=following,
            total=page.meta.total,
            repeats=before.repeats + len(page.items) - len(fresh),
            complete=complete,
        )
        store.add(fresh, progress)
        self._progress(seen.count, page.meta.total)
        if following is None and not complete:
            # some page moved while others were fetched; only walking all of them again can find what slipped through
            store.restart()
            raise IncompleteDownloadError(
                f"{self._site}: wanted the {page.meta.total} sessions that the service announced, found {seen.count}. "
                "Records may have been added while paging: run it again."
            )


class _Seen:
    """Which records have come: the same bytes again are no news; another version of one session is."""

    def __init__(self, store: PageStore) -> None:
        self._records: set[bytes] = set()
        self._names: set[bytes] = set()
        for record in store.records():
            self.is_new(record)

    @property
    def count(self) -> int:
        """Sessions, each counted once; a record without a name counts as one."""
        return len(self._names)

    def is_new(self, record: bytes) -> bool:
        """Note a record and tell whether it is new."""
        if record in self._records:
            return False
        self._records.add(record)
        try:
            name = _NAMED.decode(record).id_
        except msgspec.MsgspecError:
            name = None
        self._names.add(record if name is None else str(name).encode("utf-8", "replace"))
        return True


def _compact(record: msgspec.Raw) -> bytes:
    return msgspec.json.format(bytes(record), indent=-1)


def _checked(name: str, value: datetime) -> datetime:
    if value.tzinfo is None or value.microsecond:
        raise ConfigError(f"{name}: wanted an instant with its offset from UTC and whole seconds, found {value!r}.")
    return value.astimezone(UTC)


def http_date(value: datetime) -> str:
    """RFC 1123 in GMT, whatever the locale.

    >>> http_date(datetime(2019, 3, 1, tzinfo=UTC))
    'Fri, 01 Mar 2019 00:00:00 GMT'
    """
    day, month = _DAYS[value.weekday()], _MONTHS[value.month - 1]
    return f"{day}, {value.day:02d} {month} {value:%Y %H:%M:%S} GMT"
