"""What never comes back from librdkafka is given up in time, and what does come back is passed on."""

from __future__ import annotations

import time
from threading import Event

import pytest

from plugcast.adapters.kafka import worker
from plugcast.adapters.kafka.failures import KafkaError, KafkaException, kafka_error


def test_a_call_that_hangs_is_given_up_as_timed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_HANGS_S", 0.05)
    answered, begun_s = Event(), time.monotonic()

    def hang(_: float) -> None:
        answered.wait()

    with pytest.raises(KafkaException) as raised:
        worker._watched(hang)(0.1)
    assert 0.15 <= time.monotonic() - begun_s < 5.0
    assert kafka_error(raised.value).code() == KafkaError._TIMED_OUT
    answered.set()


def test_a_call_is_given_its_time_and_its_failure_is_passed_on() -> None:
    given: list[float] = []
    worker._watched(given.append)(2.5)
    assert given == [2.5]
    with pytest.raises(ZeroDivisionError):
        worker._watched(lambda wait_s: given.append(1.0 / (wait_s - 1.0)))(1.0)
