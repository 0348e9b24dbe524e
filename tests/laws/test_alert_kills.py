"""kill -9 of the alerts at each step of a notification: nothing lost, doubled only where the answer was lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from plugcast.adapters.subscriber.outbox import Outbox

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
STEPS: Final = {
    "before the findings are kept": "BEFORE Outbox take",
    "after they are kept, before they are acknowledged": "AFTER Outbox take",
    "before a sending is claimed": "BEFORE Outbox claim",
    "after it is claimed": "AFTER Outbox claim",
    "after it is sent, before it is marked": "AFTER Filed send",
    "after it is marked": "AFTER Outbox settle",
    "nowhere: a control": "",
}
PROGRAM: Final = """
import asyncio, os, signal, sys
from datetime import UTC, datetime, timedelta
from plugcast.adapters.clock import SystemClock
from plugcast.adapters.memory_bus import MemoryBus
from plugcast.adapters.subscriber.outbox import Outbox
from plugcast.alerts.lifecycle import Policy
from plugcast.domain.finding import Cause, Severity
from plugcast.domain.outgoing import FindingRaised, ReasonGiven, encode_outgoing
from plugcast.ports import Outcome, Sending
from plugcast.services.alerting import Alerting
from plugcast.services.stream.publishing import bus_message

folder, step = sys.argv[1:]


class Filed:
    name = "filed"

    async def send(self, notification):
        with open(f"{folder}/sent", "a") as file:
            print(notification.notification_id, file=file, flush=True)
        return Sending(outcome=Outcome.SENT)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def trap(owner, name, after):
    real = getattr(owner, name)

    def dying(self, *given, **named):
        if not after:
            die()
        real(self, *given, **named)
        die()

    async def dying_send(self, *given, **named):
        await real(self, *given, **named)
        die()

    setattr(owner, name, dying_send if owner is Filed else dying)


if step:
    when, owner, name = step.split()
    trap({"Outbox": Outbox, "Filed": Filed}[owner], name, when == "AFTER")


def finding(number):
    made = FindingRaised(
        v=1, finding_id=f"f{number}", session_id=f"s{number}", site_id="depot", station_id=f"post-{number}",
        user_id=None, observed_at=datetime(2026, 3, 1, 12 + number, tzinfo=UTC), score=0.9, p_value=None,
        cause=Cause.METER_FAULT, severity=Severity.CRITICAL, by="rule:meter",
        reasons=(ReasonGiven(feature="meter", text="too much", contribution=1.0),),
    )
    return bus_message(made, encode_outgoing(made))


async def main():
    bus, stop = MemoryBus(), asyncio.Event()
    with Outbox(f"{folder}/outbox") as outbox:
        policy = Policy(hold=timedelta(0))
        service = Alerting(bus=bus, outbox=outbox, channels=[Filed()], clock=SystemClock(), policy=policy)
        task = asyncio.create_task(service.run(stop))
        while not service.ready:
            await asyncio.sleep(0.01)
        await bus.publish([finding(1), finding(2)])  # as a bus does that was not answered
        while True:
            await asyncio.sleep(0.05)
            rows = outbox.sendings()
            if len(rows) == 2 and all(row.state == "sent" for row in rows):
                break
        stop.set()
        await task


asyncio.run(main())
"""


@pytest.mark.parametrize("where", STEPS)
def test_killed_at_a_step_and_back(where: str, tmp_path: Path) -> None:
    step = STEPS[where]

    def run(step: str) -> int:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), step]
        return subprocess.run(command, check=False, timeout=120).returncode

    if step:
        assert run(step) == -signal.SIGKILL, "the process was to die"
    assert run("") == 0
    with Outbox(tmp_path / "outbox") as outbox:
        rows = outbox.sendings()
    assert {(row.notification.alert.station_id, row.state) for row in rows} == {("post-1", "sent"), ("post-2", "sent")}
    sent = (tmp_path / "sent").read_text().split()
    assert sorted(set(sent)) == sorted(row.notification.notification_id for row in rows)
    doubled = len(sent) - len(set(sent))
    assert doubled == (1 if step == "AFTER Filed send" else 0), "only a lost answer doubles, under the same id"
