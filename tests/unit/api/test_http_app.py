from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from plugcast.api import assets
from plugcast.api.security import CONTENT_SECURITY_POLICY, host_name, same_origin
from plugcast.services.live import Frame, SiteInfo

if TYPE_CHECKING:
    from tests.ui.fake_feed import FakeFeed
    from tests.ui.served import Served


def test_snapshot_and_info_decode_into_the_messages(client: httpx.Client, feed: FakeFeed) -> None:
    assert msgspec.json.decode(client.get("api/v1/snapshot").content, type=Frame) == feed.snapshot()
    assert msgspec.json.decode(client.get("api/v1/info").content, type=SiteInfo) == feed.info()


@pytest.mark.parametrize("path", ["", "api/v1/snapshot", "api/openapi.json", "healthz", "nowhere", "static/x/y.js"])
def test_every_answer_is_dressed(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_an_unforeseen_error_is_a_dressed_problem_without_its_text(served: Served) -> None:
    def broken() -> Frame:
        raise KeyError("a secret in a message")

    served.feed.snapshot = broken  # type: ignore[method-assign]
    answer = httpx.get(f"{served.url}api/v1/snapshot", trust_env=False)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "secret" not in answer.text


def test_control_changes_the_feed_and_answers_its_state(client: httpx.Client, feed: FakeFeed) -> None:
    answer = client.post("api/v1/control", json={"speed": 60, "playing": False, "seek": 0.5})
    assert answer.status_code == 200
    assert (feed.speed, feed.playing) == (60.0, False)
    assert answer.json() == {"at": feed.at.isoformat(), "speed": 60.0, "playing": False}


BAD: list[tuple[bytes, int]] = [
    (b'{"speed": 0}', 422),
    (b'{"speed": -1}', 422),
    (b'{"speed": 1441}', 422),
    (b'{"speed": NaN}', 422),
    (b'{"speed": 1e999}', 422),
    (b'{"speed": "5"}', 422),
    (b'{"speed": true}', 422),
    (b'{"playing": "yes"}', 422),
    (b'{"playing": 1}', 422),
    (b'{"seek": 1.0001}', 422),
    (b'{"seek": -0.1}', 422),
    (b'{"other": 1}', 422),
    (b"{}", 422),
    (b"[]", 422),
    (b"null", 422),
    (b"", 422),
    (b"{", 400),
    (b"\xff", 400),
    (b"[" * 4000, 400),
    (b" " * 5000, 413),
]


@pytest.mark.parametrize(("body", "status"), BAD, ids=lambda value: str(value)[:20])
def test_a_bad_wish_is_a_problem_and_changes_nothing(
    client: httpx.Client, feed: FakeFeed, body: bytes, status: int
) -> None:
    before = (feed.speed, feed.playing, feed.at)
    answer = client.post("api/v1/control", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(answer.content)
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert (feed.speed, feed.playing, feed.at) == before


def test_a_wish_that_is_not_declared_json_is_refused(client: httpx.Client, feed: FakeFeed) -> None:
    # a form of a foreign page can only send these types without asking first
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = client.post("api/v1/control", content=b'{"playing": false}', headers={"content-type": kind})
        assert answer.status_code == 422
    assert feed.playing


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_control_from_another_origin_is_refused(client: httpx.Client, feed: FakeFeed, headers: dict[str, str]) -> None:
    assert client.post("api/v1/control", json={"playing": False}, headers=headers).status_code == 403
    assert feed.playing


def test_control_from_the_page_itself_passes(client: httpx.Client, served: Served, feed: FakeFeed) -> None:
    headers = {"origin": served.url.rstrip("/"), "sec-fetch-site": "same-origin"}
    assert client.post("api/v1/control", json={"playing": False}, headers=headers).status_code == 200
    assert not feed.playing


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil", "", "127.0.0.1/x"])
def test_a_foreign_host_name_is_refused(client: httpx.Client, host: str) -> None:
    answer = client.get("", headers={"host": host})
    assert answer.status_code == 421
    assert "stations" not in answer.text


def test_a_body_of_unknown_length_is_refused(client: httpx.Client) -> None:
    answer = client.post("api/v1/control", content=iter([b"{}"]), headers={"content-type": "application/json"})
    assert answer.status_code == 411


def test_unknown_paths_and_methods_are_problems(client: httpx.Client) -> None:
    for answer, status in ((client.get("docs"), 404), (client.get("redoc"), 404), (client.delete("api/v1/info"), 405)):
        assert answer.status_code == status
        assert answer.json()["status"] == status


def test_openapi_names_our_messages_and_only_resolvable_ones(client: httpx.Client) -> None:
    text = client.get("api/openapi.json").text
    document = json.loads(text)
    names = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert {"Frame", "SiteInfo", "Problem", "Control"} <= names <= set(document["components"]["schemas"])
    assert set(document["paths"]) == {"/api/v1/snapshot", "/api/v1/info", "/api/v1/control"}


def test_the_page_names_only_assets_that_exist_and_has_nothing_inline(client: httpx.Client) -> None:
    html = client.get("").text
    paths = re.findall(r'(?:src|href)="(/static/[^"]+)"', html)
    assert len(paths) >= 7
    for path in paths:
        assert client.get(path).status_code == 200, path
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", html) == []
    assert re.findall(r'(?:src|href)="(?:https?:)?//', html) == []


def test_assets_are_kept_for_ever_compressed_and_revalidated(client: httpx.Client) -> None:
    static = assets.load()
    url = static.url("js/main.js")
    answer = client.get(url, headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.content == client.get(url, headers={"accept-encoding": "identity"}).content
    again = client.get(url, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(url.replace(static.fingerprint, "000000000000")).status_code == 404
    assert client.get(f"/static/{static.fingerprint}/../../app.py").status_code == 404
    assert client.get(f"/static/{static.fingerprint}/%2e%2e/%2e%2e/app.py").status_code == 404
    with pytest.raises(KeyError):
        static.url("js/none.js")


def test_every_module_imports_only_modules_that_exist() -> None:
    static = assets.load().by_path
    for path, asset in static.items():
        if path.startswith("js/"):
            for name in re.findall(r'from "\./([^"]+)"', asset.body.decode()):
                assert f"js/{name}" in static, (path, name)


def test_healthz_and_head(client: httpx.Client) -> None:
    assert client.get("healthz").json()["status"] == "ok"
    assert client.head("").status_code == 200


@given(st.text())
def test_no_host_text_breaks_the_check(text: str) -> None:
    assert host_name(text) is not None
    same_origin(Headers({"origin": text.encode("ascii", "ignore").decode(), "host": "localhost"}))


@given(st.from_regex(r"https?://[a-z]{1,8}(:[0-9]{1,5})?", fullmatch=True))
def test_an_origin_is_ours_exactly_when_it_names_our_host(origin: str) -> None:
    host = origin.partition("//")[2]
    assert same_origin(Headers({"origin": origin, "host": host}))
    assert not same_origin(Headers({"origin": origin, "host": host + "1"}))
