"""The whole chain over real servers: a replayed fault is one mail, one webhook call and one entry on the page.

Apache Kafka carries the messages, RabbitMQ the findings; each service is a process of its own, as users run them.
``PLUGCAST_OUTAGE_S`` says for how long nobody takes mail.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.people import SECRET, MailServer, Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLUGCAST = str(Path(sys.executable).with_name("plugcast"))
ZONE = "America/Los_Angeles"
OUTAGE_S = float(os.environ.get("PLUGCAST_OUTAGE_S", "0"))
PROMPT_S = 10.0
LAST = 40
"""Sessions that are kept for the end, with faults in them."""
pytestmark = [pytest.mark.connected, pytest.mark.slow]


class Chain:
    """The services of one site, and the people that they tell."""

    def __init__(
        self,
        folder: Path,
        servers: tuple[str, str],
        people: tuple[Receiver, MailServer],
        spawn: Callable[..., subprocess.Popen[Any]],
    ) -> None:
        self.folder, self._spawn = folder, spawn
        kafka, rabbitmq = servers
        self.receiver, self.mail = receiver, mail = people
        self._log = f"kafka://{kafka}"
        self._environment = os.environ | {
            "PLUGCAST__KAFKA__PREFIX": f"chain-{uuid.uuid4().hex[:8]}.",
            "PLUGCAST__STREAM__BUS": rabbitmq,
            "PLUGCAST__STREAM__LOG": self._log,
            "PLUGCAST__SITE__TIME_ZONE": ZONE,
            "PLUGCAST__MAIL__HOST": "127.0.0.1",
            "PLUGCAST__MAIL__PORT": str(mail.port),
            "PLUGCAST__MAIL__SECURITY": "none",
            "PLUGCAST__MAIL__TO": "operator@example.org",
            "PLUGCAST__WEBHOOK__URL": receiver.url,
            "PLUGCAST__WEBHOOK__SECRET": SECRET.decode(),
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def run(self, *words: str, expected: int = 0) -> str:
        done = subprocess.run(
            [PLUGCAST, *words], cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == expected, done.stderr
        return done.stdout

    def start(self, name: str) -> str:
        """A service; returns where its health is told, once it says so."""
        said = self.folder / f"{name}.txt"
        with said.open("w") as out:
            self._processes.append(
                self._spawn([PLUGCAST, "serve", name], cwd=self.folder, env=self._environment, stderr=out)
            )
        until(lambda: "http://" in said.read_text())
        return said.read_text().split("http://")[1].split()[0]

    def stop(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            assert process.wait(60) == 0


def until(reached: Any, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


@pytest.fixture
def chain(
    tmp_path: Path, kafka_servers: str, rabbitmq_url: str, spawn: Callable[..., subprocess.Popen[Any]]
) -> Iterator[Chain]:
    mail = MailServer(tmp_path / "mail")
    with Receiver() as receiver:
        yield Chain(tmp_path, (kafka_servers, rabbitmq_url), (receiver, mail), spawn)
        mail.stop()


def test_a_replayed_fault_is_one_mail_one_call_and_one_entry_with_its_cause(chain: Chain) -> None:
    file = resources.files("plugcast.adapters") / "data" / "caltech_2019_03_sessions.csv"
    header, *rows = file.read_text(encoding="utf-8").splitlines()
    earlier, last_day = chain.folder / "earlier.csv", chain.folder / "last_day.csv"
    earlier.write_text("\n".join([header, *rows[:-LAST]]) + "\n")
    last_day.write_text("\n".join([header, *rows[-LAST:]]) + "\n")
    chain.run("detect", str(earlier), "--model", "detector", "--json", expected=3)
    page = f"http://{chain.start('alerts')}"
    chain.start("publish")
    chain.start("detect")
    # the mail server is away while findings come, and loses nothing
    chain.run("replay", str(earlier), "--faults", "0.1", "--seed", "4")
    until(lambda: chain.receiver.got)
    time.sleep(OUTAGE_S)
    chain.mail.start()
    until(lambda: len(chain.mail.mails()) >= len(chain.receiver.got), 300)  # pauses have grown with the outage
    quiet(chain)
    told = agreed(chain, page)
    truth = [line for line in chain.run("tail", "ev-truth").splitlines() if '"meter_jump"' in line]
    assert truth  # a fault that nobody can miss
    for line in truth:
        station = line.split('"station_id":"')[1].split('"')[0]
        (alert,) = [each for each in told.values() if (each["station_id"], each["cause"]) == (station, "meter_fault")]
        (mail,) = [each for each in chain.mail.mails() if f", {station}: meter fault" in str(each["Subject"])]
        assert alert["reasons"][0].split(";")[0] in mail.get_body(("html",)).get_content().replace("\n", " ")  # type: ignore[union-attr]
    # once all is up, people know within seconds
    before = len(chain.mail.mails())
    chain.run("replay", str(last_day), "--faults", "0.5", "--seed", "4")
    sent_at = time.time()
    quiet(chain)
    assert len(agreed(chain, page)) > len(told)
    assert len(chain.mail.mails()) > before
    assert chain.mail.last_at() - sent_at < PROMPT_S
    chain.stop()


def agreed(chain: Chain, page: str) -> dict[str, Any]:
    """The alerts that people were told of: the page, the mails and the calls have the same ones, each once."""
    entries = httpx.get(f"{page}api/v1/alerts", timeout=30).json()["alerts"]
    told = {entry["alert"]["alert_id"]: entry["alert"] for entry in entries if entry["notified"]}
    mails = [str(mail["Message-ID"]) for mail in chain.mail.mails()]
    calls = [headers["webhook-id"] for headers, _ in chain.receiver.got]
    assert len(mails) == len(set(mails)) == len(calls) == len(set(calls))
    assert {mail.split("@")[0].strip("<") for mail in mails} == set(calls)
    assert {call.rpartition("-")[0] for call in calls} == set(told)
    return told


def quiet(chain: Chain, seconds: float = 12.0) -> None:
    """Until nothing has come for a while."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < seconds:
        count = len(chain.mail.mails()) + len(chain.receiver.got)
        if count != last:
            last, since = count, time.monotonic()
        time.sleep(0.2)
