"""``serve publish`` and ``listen`` as a user types them, over a real RabbitMQ: killed and started again, each once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from plugcast.adapters.rabbitmq import connect
from plugcast.domain import topics
from plugcast.domain.outgoing import FindingRaised, encode_outgoing
from plugcast.ports import Entry
from plugcast.services.stream.asyncapi_examples import EXAMPLES
from plugcast.services.stream.places import open_log
from plugcast.services.stream.topics import specs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLUGCAST = str(Path(sys.executable).with_name("plugcast"))
(EXAMPLE,) = (each for each in EXAMPLES if isinstance(each, FindingRaised))
pytestmark = pytest.mark.connected


@pytest.fixture
def queue(rabbitmq_url: str) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name

    async def gone() -> None:
        connection = await connect(rabbitmq_url, "test")
        channel = await connection.channel()
        for each in (name, f"{name}.dead"):
            await channel.queue_delete(each)
        await connection.close()

    asyncio.run(gone())


class _Listener:
    """``plugcast listen`` with a queue and a memory of its own."""

    def __init__(
        self, folder: Path, queue: str, url: str, site: str, spawn: Callable[..., subprocess.Popen[Any]]
    ) -> None:
        self.printed = folder / "printed.jsonl"
        words = ["listen", "--queue", queue, "--bind", f"finding.critical.*.{site}", "--seen", "seen.sqlite"]
        environment = os.environ | {"PLUGCAST__STREAM__BUS": url}
        with self.printed.open("ab") as out:
            self.process = spawn([PLUGCAST, *words], cwd=folder, env=environment, stdout=out)

    def ids(self) -> list[str]:
        return [json.loads(line)["finding_id"] for line in self.printed.read_text().splitlines()]

    def wait_for(self, count: int) -> None:
        until_s = time.monotonic() + 120
        while len(self.ids()) < count:
            assert self.process.poll() is None
            assert time.monotonic() < until_s, f"{len(self.ids())} of {count}"
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0


def test_each_finding_is_printed_once_across_new_starts(
    tmp_path: Path, rabbitmq_url: str, queue: str, spawn: Callable[..., subprocess.Popen[Any]]
) -> None:
    log, site = open_log(str(tmp_path / "a.journal")), queue
    log.ensure(specs())
    findings = [msgspec.structs.replace(EXAMPLE, finding_id=f"{queue}-{n}", site_id=site) for n in range(60)]
    entries = [Entry(topics.station_key(site, f"{n % 9}"), encode_outgoing(f)) for n, f in enumerate(findings)]
    listener = _Listener(tmp_path, queue, rabbitmq_url, site, spawn)
    environment = os.environ | {"PLUGCAST__STREAM__BUS": rabbitmq_url}
    words = [PLUGCAST, "serve", "publish", "--log", "a.journal"]
    publisher = spawn(words, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    log.writer().append(topics.FINDINGS, entries[:20])
    listener.wait_for(20)
    publisher.kill()
    assert publisher.wait() == -signal.SIGKILL
    listener.stop()
    log.writer().append(topics.FINDINGS, [*entries[20:], *entries[:20]])  # the queue collects while nobody listens
    publisher = spawn(words, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    listener = _Listener(tmp_path, queue, rabbitmq_url, site, spawn)
    listener.wait_for(60)
    publisher.send_signal(signal.SIGTERM)
    assert publisher.wait(30) == 0
    listener.stop()
    assert sorted(listener.ids()) == sorted(finding.finding_id for finding in findings)
