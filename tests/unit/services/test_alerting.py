"""Alerting over real parts: a bus, an outbox on disk, a mail server and a webhook receiver; stopped and back."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiosmtplib
import msgspec
import pytest
from tests.people import SECRET, MailServer, Receiver

from plugcast.adapters.clock import SystemClock
from plugcast.adapters.memory_bus import MemoryBus
from plugcast.adapters.notify.mail import MailChannel
from plugcast.adapters.notify.webhook import WebhookChannel, secret_bytes, signed, verify
from plugcast.adapters.subscriber.outbox import MOST_QUEUED, Outbox
from plugcast.alerts.lifecycle import Policy
from plugcast.config import MailSettings, Settings
from plugcast.domain.finding import Cause, Severity
from plugcast.domain.outgoing import FindingRaised, ReasonGiven, encode_outgoing
from plugcast.errors import ConfigError, LogFullError, LogUnavailableError
from plugcast.ports import BusMessage, Outcome, Sending
from plugcast.services.alert_channels import channels_of, sample
from plugcast.services.alerting import Alerting
from plugcast.services.stream.publishing import bus_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from plugcast.domain.alert import Notification
    from plugcast.ports import Channel

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUICK = Policy(hold=timedelta(seconds=0.2))


def message(number: int, *, station: str | None = None, minutes: float = 0.0) -> BusMessage:
    made = FindingRaised(
        v=1,
        finding_id=f"f{number}",
        session_id=f"s{number}",
        site_id="depot",
        station_id=station or f"post-{number}",
        user_id=None,
        observed_at=NOW + timedelta(minutes=minutes),
        score=0.9,
        p_value=None,
        cause=Cause.METER_FAULT,
        severity=Severity.CRITICAL,
        by="rule:meter",
        reasons=(ReasonGiven(feature="meter", text="delivered 1875.5 kWh in 2.7 h", contribution=1.0),),
    )
    return bus_message(made, encode_outgoing(made))


class Recorder:
    """A channel that says what it is told to say, and keeps what it was given."""

    def __init__(self, *answers: Outcome) -> None:
        self.name = "recorder"
        self.sent: list[Notification] = []
        self._answers = list(answers)

    async def send(self, notification: Notification) -> Sending:
        self.sent.append(notification)
        outcome = self._answers.pop(0) if self._answers else Outcome.SENT
        return Sending(outcome=outcome, detail="as told", retry_after_s=0.05)


@asynccontextmanager
async def running(path: Path, bus: MemoryBus, channels: Sequence[Channel]) -> AsyncIterator[Alerting]:
    stop = asyncio.Event()
    with Outbox(path) as outbox:
        service = Alerting(bus=bus, outbox=outbox, channels=channels, clock=SystemClock(), policy=QUICK)
        task = asyncio.create_task(service.run(stop))
        async with asyncio.timeout(10):
            while not service.ready:  # noqa: ASYNC110 - the service knows no tests
                await asyncio.sleep(0.01)
        try:
            yield service
        finally:
            stop.set()
            await task


async def until(reached: Any, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not reached():  # noqa: ASYNC110 - any condition, the disk's too
            await asyncio.sleep(0.02)


def test_each_alert_is_sent_once_however_often_its_finding_comes(tmp_path: Path) -> None:
    channel = Recorder()

    async def play() -> None:
        bus = MemoryBus()
        async with running(tmp_path / "outbox", bus, [channel]) as service:
            for _ in range(3):
                await bus.publish([message(1), message(2, minutes=60)])
            await until(lambda: len(channel.sent) >= 2)
            assert service.counts["repeats"] == 4
        async with running(tmp_path / "outbox", bus, [channel]) as service:
            await bus.publish([message(1)])
            await asyncio.sleep(1.0)
            assert service.counts["repeats"] == 1
            assert len(service.alerts) == 2

    asyncio.run(play())
    assert len(channel.sent) == 2


def test_of_two_services_on_one_outbox_one_tells_and_the_other_takes_over(tmp_path: Path) -> None:
    channel = Recorder()

    async def play() -> None:
        first, second = MemoryBus(), MemoryBus()
        async with running(tmp_path / "outbox", first, [channel]) as working:
            async with running(tmp_path / "outbox", second, [channel]) as waiting:
                assert (working.standing_by, waiting.standing_by) == (False, True)
                await first.publish([message(number) for number in range(2)])
                await until(lambda: len(waiting.alerts) == len(working.alerts) == 2)  # it can be asked meanwhile
                await until(lambda: working.counts["recorder_sent"] >= 2)
            async with running(tmp_path / "outbox", second, [channel]) as waiting:
                working._outbox.close()  # as a process that dies
                await until(lambda: waiting.ready and not waiting.standing_by)
                await second.publish([message(1), message(9)])
                await until(lambda: waiting.counts["recorder_sent"] == 1)
                assert waiting.counts["repeats"] == 1
                assert len(waiting.alerts) == 3

    asyncio.run(play())
    assert len(channel.sent) == len({sent.notification_id for sent in channel.sent}) == 3


def test_a_temporary_failure_is_tried_again_and_a_permanent_one_is_kept_with_its_reason(tmp_path: Path) -> None:
    channel = Recorder(Outcome.TEMPORARY, Outcome.TEMPORARY, Outcome.SENT, Outcome.PERMANENT)

    async def play() -> None:
        bus = MemoryBus()
        async with running(tmp_path / "outbox", bus, [channel]) as service:
            await bus.publish([message(1)])
            await until(lambda: service.counts["recorder_sent"] == 1)
            await bus.publish([message(2)])
            await until(lambda: service.counts["recorder_permanent"] == 1)

    asyncio.run(play())
    assert [len({n.notification_id for n in channel.sent[:3]}), len(channel.sent)] == [1, 4]
    with Outbox(tmp_path / "outbox") as outbox:
        states = {row.notification.alert.station_id: (row.state, row.attempts, row.detail) for row in outbox.sendings()}
    assert states == {"post-1": ("sent", 3, "as told"), "post-2": ("failed", 1, "as told")}


def test_what_was_taken_in_is_sent_by_whoever_comes_next(tmp_path: Path) -> None:
    """The service dies after it took the finding in and before anybody was told."""
    channel = Recorder()

    async def play() -> None:
        bus = MemoryBus()
        async with running(tmp_path / "outbox", bus, []):
            await bus.publish([message(1)])
        async with running(tmp_path / "outbox", bus, [channel]):
            await until(lambda: channel.sent)

    asyncio.run(play())
    assert channel.sent[0].alert.finding_id == "f1"


class FullDisk:
    """Refuses the outbox's writes of one kind, as a full disk does."""

    def __init__(self, patched: pytest.MonkeyPatch, name: str, *, times: int) -> None:
        self.refused, self._times = 0, times
        real = getattr(Outbox, name)

        def refuse(outbox: Outbox, *given: Any, **named: Any) -> Any:
            if self.refused < self._times:
                self.refused += 1
                raise LogUnavailableError("Outbox: database or disk is full.")
            return real(outbox, *given, **named)

        patched.setattr(Outbox, name, refuse)


def test_what_cannot_be_claimed_on_the_disk_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugcast.services.alerting.FIRST_RETRY_S", 0.05)
    channel, disk = Recorder(), FullDisk(monkeypatch, "claim", times=3)

    async def play() -> None:
        bus = MemoryBus()
        async with running(tmp_path / "outbox", bus, [channel]) as service:
            await bus.publish([message(1)])
            await until(lambda: disk.refused == 2)
            assert channel.sent == []
            await until(lambda: service.counts["recorder_sent"] == 1)

    asyncio.run(play())
    assert (disk.refused, len(channel.sent)) == (3, 1)


def test_a_disk_that_refuses_the_mark_repeats_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugcast.services.alerting.FIRST_RETRY_S", 0.05)
    channel, disk = Recorder(), FullDisk(monkeypatch, "settle", times=5)

    async def play() -> None:
        bus = MemoryBus()
        async with running(tmp_path / "outbox", bus, [channel]) as service:
            await bus.publish([message(1)])
            await until(lambda: service.counts["recorder_sent"] == 1)
            await asyncio.sleep(0.5)

    asyncio.run(play())
    assert (disk.refused, len(channel.sent)) == (5, 1)
    with Outbox(tmp_path / "outbox") as outbox:
        assert [(row.state, row.attempts) for row in outbox.sendings()] == [("sent", 1)]


def test_a_sending_cut_short_comes_again_after_a_pause_and_under_the_same_id(tmp_path: Path) -> None:
    """The process dies while the other side has the message: before the mark, after the claim."""
    with Outbox(tmp_path / "outbox") as outbox:
        outbox.take(now=NOW, notifications=[sample(now=NOW)], channels=["mail"])
        (first,) = outbox.due("mail", now=NOW)
        outbox.claim(first, retry_at=NOW + timedelta(seconds=2))
    with Outbox(tmp_path / "outbox") as outbox:
        assert outbox.due("mail", now=NOW + timedelta(seconds=1)) == []
        (again,) = outbox.due("mail", now=NOW + timedelta(seconds=2))
    assert (again.notification, again.attempts, again.detail) == (first.notification, 1, "under way")


def test_rubbish_on_the_bus_is_a_dead_letter_and_stops_nothing(tmp_path: Path) -> None:
    channel, bus = Recorder(), MemoryBus()

    async def play() -> None:
        async with running(tmp_path / "outbox", bus, [channel]):
            await bus.publish([BusMessage(message_id="x", routing_key="finding.x", body=b"\xff\x00"), message(1)])
            await until(lambda: channel.sent)

    asyncio.run(play())
    assert [letter.body for letter in bus.dead("alerts")] == [b"\xff\x00"]


def test_a_full_outbox_takes_nothing_and_keeps_what_it_has(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox") as outbox:
        notifications = [sample(now=NOW + timedelta(seconds=n)) for n in range(MOST_QUEUED)]
        outbox.take(now=NOW, notifications=notifications, channels=["mail"])
        with pytest.raises(LogFullError):
            outbox.take(now=NOW, seen=["y"], notifications=[sample()], channels=["mail"])
        assert outbox.unseen(["y"]) == {"y"}


# --- mail, over real SMTP


@pytest.fixture
def mail_server(tmp_path: Path) -> Iterator[MailServer]:
    made = MailServer(tmp_path / "mail")
    yield made
    made.stop()


def test_a_mail_server_that_is_away_loses_and_doubles_nothing(tmp_path: Path, mail_server: MailServer) -> None:
    async def play() -> None:
        bus = MemoryBus()
        async with running(tmp_path / "outbox", bus, [mail_server.channel()]) as service:
            await bus.publish([message(1), message(2, minutes=60)])
            await until(lambda: service.counts["mail_temporary"] >= 2)
            mail_server.start()
            await until(lambda: service.counts["mail_sent"] == 2)
            await bus.publish([message(3, minutes=120)])
            await until(lambda: service.counts["mail_sent"] == 3)

    asyncio.run(play())
    mails = mail_server.mails()
    assert sorted(str(mail["Subject"]) for mail in mails) == [
        f"[critical] depot, post-{n}: meter fault" for n in (1, 2, 3)
    ]
    assert len({mail["Message-ID"] for mail in mails}) == 3
    for mail in mails:
        for kind in ("plain", "html"):
            body = mail.get_body((kind,))
            assert body is not None
            assert "delivered 1875.5 kWh in 2.7 h" in body.get_content()


def test_twenty_stations_out_at_once_are_one_mail(tmp_path: Path, mail_server: MailServer) -> None:
    mail_server.start()

    async def play() -> None:
        bus = MemoryBus()
        async with running(tmp_path / "outbox", bus, [mail_server.channel()]) as service:
            await bus.publish([message(n, minutes=n / 10) for n in range(20)])
            await until(lambda: service.counts["mail_sent"] == 1)
            await asyncio.sleep(1.0)

    asyncio.run(play())
    (mail,) = mail_server.mails()
    assert mail["Subject"] == "[critical] depot, 20 stations: site event"


def test_refusals_for_good_and_for_now_are_told_apart(mail_server: MailServer) -> None:
    mail_server.start()

    async def ask(*receivers: str) -> Outcome:
        channel = mail_server.channel(*receivers)
        for _ in range(100):
            sending = await channel.send(sample())
            if "Connect" not in sending.detail:  # the server is up
                return sending.outcome
            await asyncio.sleep(0.1)
        raise AssertionError(sending)

    assert asyncio.run(ask("refuse@example.org")) is Outcome.PERMANENT
    assert asyncio.run(ask("later@example.org")) is Outcome.TEMPORARY
    assert asyncio.run(ask("operator@example.org", "refuse@example.org")) is Outcome.SENT


def test_a_name_cannot_add_a_header(mail_server: MailServer) -> None:
    evil = sample()
    alert = msgspec.structs.replace(evil.alert, station_id="a\r\nBcc: all@example.org")
    made = msgspec.structs.replace(evil, alert=alert)
    mail = mail_server.channel().message(made)
    assert mail["Bcc"] is None
    assert "\n" not in str(mail["Subject"])


@pytest.mark.parametrize("address", ["", "nobody", "a@", "@b", "a@b\r\nBcc: c@d"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="wanted an address"):
        MailChannel(host="localhost", port=25, sender="a@b.c", receivers=[address])


# --- webhooks, over real HTTP


def test_a_webhook_is_signed_so_that_the_receiver_can_tell() -> None:
    with Receiver() as receiver:
        channel = WebhookChannel(url=receiver.url, secret=SECRET, clock=SystemClock())
        notification = sample()
        assert asyncio.run(channel.send(notification)) == Sending(outcome=Outcome.SENT)
        ((headers, body),) = receiver.got
    assert verify(headers, body, secret=SECRET, now=datetime.now(UTC))
    assert not verify(headers, body + b" ", secret=SECRET, now=datetime.now(UTC))
    assert not verify(headers, body, secret=SECRET[::-1], now=datetime.now(UTC))
    assert not verify(headers, body, secret=SECRET, now=datetime.now(UTC) + timedelta(minutes=6))
    assert not verify({}, body, secret=SECRET, now=datetime.now(UTC))
    told = json.loads(body)
    assert (told["type"], told["data"]["notification_id"]) == ("alert.new", notification.notification_id)
    assert SECRET.decode() not in repr(headers) + body.decode()


def test_the_signature_is_that_of_the_specification() -> None:
    """The vector of standardwebhooks.com's libraries, its secret as bytes."""
    import base64  # noqa: PLC0415 - this test alone

    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', at=at, secret=secret)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("status", "headers", "outcome", "retry_s"),
    [
        (400, {}, Outcome.PERMANENT, None),
        (404, {}, Outcome.PERMANENT, None),
        (301, {"location": "http://127.0.0.1:1/"}, Outcome.PERMANENT, None),
        (429, {"retry-after": "7"}, Outcome.TEMPORARY, 7.0),
        (503, {"retry-after": "999999999"}, Outcome.TEMPORARY, 3600.0),
        (500, {"retry-after": "soon"}, Outcome.TEMPORARY, None),
    ],
)
def test_answers_are_final_or_not(
    status: int, headers: dict[str, str], outcome: Outcome, retry_s: float | None
) -> None:
    with Receiver((status, headers)) as receiver:
        channel = WebhookChannel(url=receiver.url, secret=SECRET, clock=SystemClock())
        sending = asyncio.run(channel.send(sample()))
    assert (sending.outcome, sending.retry_after_s) == (outcome, retry_s)


def test_nobody_there_is_temporary_and_a_bad_setting_is_refused() -> None:
    channel = WebhookChannel(url="http://127.0.0.1:1/", secret=SECRET, clock=SystemClock())
    assert asyncio.run(channel.send(sample())).outcome is Outcome.TEMPORARY
    with pytest.raises(ConfigError, match="secret of at least"):
        WebhookChannel(url="http://127.0.0.1:1/", secret=b"short", clock=SystemClock())
    with pytest.raises(ConfigError, match="wanted an address"):
        WebhookChannel(url="file:///etc/passwd", secret=SECRET, clock=SystemClock())


@pytest.mark.parametrize("url", ["http://xn--/", "http://[::1/", "http://a:99999/", "http://:80/"])
def test_an_address_that_no_call_can_reach_is_refused_before_the_first_call(url: str) -> None:
    with pytest.raises(ConfigError, match="wanted an address"):
        WebhookChannel(url=url, secret=SECRET, clock=SystemClock())


def test_a_secret_as_the_specification_writes_it_is_base64() -> None:
    """So that receivers with the specification's own libraries agree."""
    assert secret_bytes("whsec_MDEyMzQ1Njc4OWFiY2RlZg==") == SECRET
    assert secret_bytes(SECRET.decode()) == SECRET
    with pytest.raises(ConfigError, match="base64"):
        secret_bytes("whsec_*")


def test_an_answer_without_end_is_judged_by_its_status_or_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(first: bytes, then: bytes) -> Outcome:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                writer.write(first)
                while not reader.at_eof():
                    writer.write(then)
                    await writer.drain()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(4096), 0.02)
            writer.close()
            gone.set()

        gone = asyncio.Event()
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with server, asyncio.timeout(30):
            sending = await WebhookChannel(url=url, secret=SECRET, clock=SystemClock()).send(sample())
            await gone.wait()
        return sending.outcome

    status = b"HTTP/1.1 200 OK\r\n"
    assert asyncio.run(ask(status + b"content-length: 99999999999\r\n\r\n", b"x" * 1000)) is Outcome.SENT
    monkeypatch.setattr("plugcast.adapters.notify.webhook.TIMEOUT_S", 0.5)
    assert asyncio.run(ask(status, b"x: y\r\n")) is Outcome.TEMPORARY


def test_a_receiver_who_is_to_be_tried_again_does_not_hold_up_or_double_another(
    tmp_path: Path, mail_server: MailServer
) -> None:
    mail_server.start()
    to = ("later@example.org", "operator@example.org", "operator@example.org")
    mail = MailSettings(host="127.0.0.1", port=mail_server.port, security="none", to=to, sender="plugcast@example.org")
    channels = channels_of(Settings(mail=mail))

    async def play() -> None:
        bus = MemoryBus()
        async with running(tmp_path / "outbox", bus, channels) as service:
            await bus.publish([message(1)])
            await until(lambda: service.counts["mail_sent"] == 1 and service.counts["mail_temporary"] >= 2)

    asyncio.run(play())
    assert len(mail_server.mails()) == 1
    with Outbox(tmp_path / "outbox") as outbox:
        states = {row.channel: row.state for row in outbox.sendings()}
    assert states == {"mail:later@example.org": "queued", "mail:operator@example.org": "sent"}


def test_a_refused_password_is_tried_again_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise aiosmtplib.SMTPAuthenticationError(535, "no")

    monkeypatch.setattr(aiosmtplib, "send", refuse)
    channel = MailChannel(
        host="localhost", port=25, sender="a@b.c", receivers=["d@e.f"], username="me", password=SECRET.decode()
    )
    sending = asyncio.run(channel.send(sample()))
    assert sending.outcome is Outcome.TEMPORARY
    assert SECRET.decode() not in sending.detail
