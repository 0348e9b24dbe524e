from __future__ import annotations

import json
import logging
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from polars.testing import assert_frame_equal

from plugcast.adapters.acn import AcnApi, AcnFile, ClientSettings
from plugcast.adapters.acn.series import AcnSeriesFile
from plugcast.errors import (
    ConfigError,
    IncompleteDownloadError,
    RemoteError,
    RemoteRefusedError,
    RemoteUnavailableError,
)
from plugcast.ports import SessionSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.adapters.acn_server import Service

    Record = dict[str, Any]
    Maker = Callable[[int], Record]

NOW = datetime(2024, 1, 1, tzinfo=UTC)
SINCE = datetime(2019, 3, 1, tzinfo=UTC)
UNTIL = datetime(2019, 4, 1, tzinfo=UTC)
STEP = timedelta(minutes=37)
TOKEN = "dyqqDFzf-test-token"  # noqa: S105 - the local server's only token


class Play:
    """A client of the local service whose waits are noted, not waited."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.waits: list[float] = []
        self.steps: list[tuple[int, int]] = []

    def api(self, site: str = "caltech", token: str = TOKEN, **changes: Any) -> AcnApi:
        options: dict[str, Any] = {
            "since": SINCE,
            "until": UNTIL,
            "base_url": self.service.base_url,
            "settings": ClientSettings(read_timeout_s=5.0),
            "sleep": self.waits.append,
            "rng": random.Random(1),  # noqa: S311 - jitter
            "now": lambda: NOW,
            "progress": lambda done, total: self.steps.append((done, total)),
        }
        return AcnApi(site, token, **(options | changes))


@pytest.fixture
def play(acn_service: Service) -> Play:
    return Play(acn_service)


def test_a_window_arrives_whole_and_equals_the_file(play: Play, acn_records: list[Record], tmp_path: Path) -> None:
    api = play.api()
    assert isinstance(api, SessionSource)
    result = api.read()
    assert result.counts.accepted == result.counts.read == 250
    assert play.service.asked == [("caltech", 1), ("caltech", 2), ("caltech", 3)]
    assert play.steps == [(100, 250), (200, 250), (250, 250)]
    assert play.waits == []
    (tmp_path / "a").write_text("\n".join(map(json.dumps, acn_records)))
    from_file = AcnFile(tmp_path / "a", now=NOW).read()
    assert_frame_equal(result.sessions, from_file.sessions)
    assert_frame_equal(result.user_inputs, from_file.user_inputs)


@pytest.mark.parametrize(("first", "last"), [(0, 250), (10, 20), (10, 11), (249, 250), (7, 7 + 100)])
def test_windows_are_half_open(first: int, last: int, play: Play) -> None:
    result = play.api(since=SINCE + first * STEP, until=SINCE + last * STEP).read()
    starts = result.sessions["arrival_at"].to_list()
    assert starts == [SINCE + number * STEP for number in range(first, last)]


def test_series_come_from_their_own_place_in_smaller_pages(play: Play, tmp_path: Path) -> None:
    window: dict[str, Any] = {"since": SINCE, "until": SINCE + timedelta(hours=8)}
    api = play.api(series=True, **window, state_path=tmp_path / "state")
    download = api.download()
    assert {site for site, _ in play.service.asked} == {"caltech/ts"}
    assert len(play.service.asked) == -(-download.total // 5) > 1
    path = tmp_path / "ts.jsonl"
    path.write_bytes(b"\n".join(download.records))
    values = AcnSeriesFile(path, now=NOW).read().values
    assert values.height == 2 * download.total
    assert set(values["offered_current_a"]) == {16.0}
    assert_frame_equal(api.booked(download).sessions, play.api(**window).read().sessions)
    assert_frame_equal(AcnFile(path, now=NOW).read().sessions, play.api(**window).read().sessions)


def test_adjacent_windows_share_nothing_and_lose_nothing(play: Play) -> None:
    middle = SINCE + 123 * STEP
    one, two = play.api(until=middle).read(), play.api(since=middle).read()
    assert one.counts.accepted == 123
    assert one.counts.accepted + two.counts.accepted == 250
    assert not set(one.sessions["session_id"]) & set(two.sessions["session_id"])


def test_a_window_without_sessions_is_empty_not_wrong(play: Play) -> None:
    result = play.api(since=SINCE - timedelta(days=9), until=SINCE).read()
    assert result.counts.read == result.sessions.height == result.user_inputs.height == 0


@pytest.mark.parametrize("fault", ["503", "500", "429", "cut", "drop", "rubbish"])
@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_page_that_fails_twice_is_asked_for_again(fault: str, page: int, play: Play) -> None:
    play.service.faults[page] = [fault, fault]
    result = play.api().read()
    assert play.service.faults[page] == []  # the faults did happen
    assert result.counts.accepted == 250
    assert result.duplicates == 0
    assert len(play.waits) == 2
    assert 0 <= play.waits[0] <= 1
    assert 0 <= play.waits[1] <= 2
    assert play.service.asked.count(("caltech", page)) == 3


def test_waits_are_jittered_and_bounded(play: Play) -> None:
    play.service.faults[1] = ["503"] * 9
    settings = ClientSettings(attempts=9, backoff_first_s=1.0, backoff_max_s=10.0)
    with pytest.raises(RemoteUnavailableError, match=r"after 9 attempts.*503.*goes on where it stopped"):
        play.api(settings=settings).read()
    assert len(play.waits) == 8
    bounds = [1, 2, 4, 8, 10, 10, 10, 10]
    assert all(0 <= wait <= bound for wait, bound in zip(play.waits, bounds, strict=True))
    assert len(set(play.waits)) == 8


def test_retry_after_is_honoured_within_bounds(play: Play) -> None:
    play.service.retry_after = "7"
    play.service.faults[2] = ["429"]
    play.api().read()
    assert play.waits == [7.0]
    play.service.retry_after = "Mon, 01 Jan 2024 00:00:30 GMT"
    play.service.faults[2] = ["503"]
    play.api().read()
    assert play.waits == [7.0, 30.0]
    play.service.retry_after = "86400"
    play.service.faults[2] = ["503"]
    with pytest.raises(RemoteUnavailableError, match="wait 86400 s"):
        play.api().read()
    assert play.waits == [7.0, 30.0]


def test_a_silent_service_times_out(play: Play) -> None:
    play.service.faults[1] = ["hang"]
    result = play.api(settings=ClientSettings(read_timeout_s=0.2)).read()
    assert result.counts.accepted == 250
    assert len(play.waits) == 1


def test_nobody_at_home_is_unavailable(play: Play) -> None:
    settings = ClientSettings(attempts=2, connect_timeout_s=1.0)
    with pytest.raises(RemoteUnavailableError, match="after 2 attempts"):
        play.api(base_url="http://127.0.0.1:9/", settings=settings).read()


def test_a_bad_token_is_refused_at_once_and_never_told(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(RemoteRefusedError, match="PLUGCAST_ACN_TOKEN") as caught:
        play.api(token="wrong-secret").read()  # noqa: S106 - wrong on purpose
    assert "wrong-secret" not in str(caught.value) + caplog.text
    assert play.waits == []
    assert play.service.asked == []
    for status in ("400", "302"):
        play.service.faults[1] = [status]
        with pytest.raises(RemoteRefusedError, match=status):
            play.api().read()


def test_an_unknown_site_is_refused(play: Play) -> None:
    with pytest.raises(RemoteRefusedError, match="caltech, jpl or office001"):
        play.api("atlantis").read()


def test_fewer_records_than_announced_are_an_error(play: Play, tmp_path: Path) -> None:
    play.service.lie_about_total = 3
    with pytest.raises(IncompleteDownloadError, match=r"wanted the 253.*found 250"):
        play.api(state_path=tmp_path / "state").read()
    play.service.lie_about_total = 0
    # the state of an incomplete walk is not trusted: all pages come again
    assert play.api(state_path=tmp_path / "state").read().counts.read == 250
    assert len(play.service.asked) == 6


def test_more_records_than_announced_are_welcome(play: Play) -> None:
    play.service.lie_about_total = -40
    assert play.api().read().counts.accepted == 250


def test_records_that_arrive_while_paging(play: Play, acn_record: Maker) -> None:
    # one more at the end: accepted, though the first page announced fewer
    play.service.before_page[2] = lambda: play.service.records.append(acn_record(250))
    assert play.api().read().counts.accepted == 251
    assert play.steps[0] == (100, 250)
    # one more before what has been read: pages shift, one record comes twice, the new one slips through
    early = acn_record(0) | {"_id": "early"}
    play.service.before_page[3] = lambda: play.service.records.insert(0, early)
    with pytest.raises(IncompleteDownloadError):
        play.api().read()
    assert play.api().read().counts.accepted == 252


def test_amended_versions_are_merged(play: Play, acn_record: Maker) -> None:
    whole = acn_record(5)
    play.service.records[:] = [whole | {"userInputs": whole["userInputs"][:1]}, acn_record(6), whole, whole]
    play.service.lie_about_total = -2
    result = play.api().read()
    assert (result.counts.accepted, result.duplicates) == (2, 2)
    assert result.user_inputs.filter(session_id=whole["_id"]).height == 3


def test_a_link_to_another_origin_is_not_followed(play: Play) -> None:
    for link in ("http://127.0.0.1:9/x", "//evil.example/x", "https://127.0.0.1/x", "http://u:p@127.0.0.1/x"):
        play.service.foreign_next = link
        with pytest.raises(RemoteError, match="same origin"):
            play.api().read()


def test_links_in_a_circle_end(play: Play) -> None:
    play.service.foreign_next = (
        "sessions/caltech?where=connectionTime%3E%22Fri%2C+01+Mar+2019+00%3A00%3A00+GMT%22&page=1&max_results=50"
    )
    with pytest.raises(RemoteError, match="circle"):
        play.api().read()


def test_an_oversized_answer_is_refused(play: Play) -> None:
    with pytest.raises(RemoteError, match="at most 5000 bytes"):
        play.api(settings=ClientSettings(max_response_bytes=5000)).read()


class KilledError(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupted_download_goes_on_where_it_stopped(after: int, play: Play, tmp_path: Path) -> None:
    state = tmp_path / "state"
    expected = play.api().read()
    play.service.asked.clear()

    def kill(_done: int, _total: int) -> None:
        if len(play.service.asked) == after:
            raise KilledError

    with pytest.raises(KilledError):
        play.api(state_path=state, progress=kill).read()
    # a page that was being written when the process died
    (state / f"page-{after:06d}.jsonl").write_bytes(b'{"half": ')
    (state / "progress.part").write_bytes(b"{")
    download = play.api(state_path=state).download()
    assert download.resumed_pages == after
    assert [page for _, page in play.service.asked] == [1, 2, 3]
    result = play.api(state_path=state).read()  # complete: nothing is asked
    assert [page for _, page in play.service.asked] == [1, 2, 3]
    assert_frame_equal(result.sessions, expected.sessions)
    assert_frame_equal(result.user_inputs, expected.user_inputs)
    assert result.counts == expected.counts
    kept = b"".join(file.read_bytes() for file in state.iterdir())
    assert TOKEN.encode() not in kept


def test_a_state_belongs_to_its_window(play: Play, tmp_path: Path) -> None:
    play.api(state_path=tmp_path).read()
    for other in (play.api("jpl", state_path=tmp_path), play.api(until=UNTIL + STEP, state_path=tmp_path)):
        with pytest.raises(ConfigError, match="another download"):
            other.read()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"site": "../admin"}, "site"),
        ({"site": "caltech?x=1"}, "site"),
        ({"token": ""}, "PLUGCAST_ACN_TOKEN"),
        ({"token": "a\nb"}, "token"),
        ({"since": UNTIL}, "until"),
        ({"since": datetime(2019, 3, 1)}, "offset"),  # noqa: DTZ001 - the point
        ({"base_url": "http://example.com/api/"}, "https"),
        ({"base_url": "ftp://127.0.0.1/"}, "https"),
    ],
    ids=range(8),
)
def test_settings_that_cannot_work_say_so(changes: dict[str, Any], words: str, play: Play) -> None:
    with pytest.raises(ConfigError, match=words):
        play.api(**changes).read()
