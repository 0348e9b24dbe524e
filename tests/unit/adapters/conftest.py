"""What the adapters' tests share: made-up ACN-Data records and a local service."""

from __future__ import annotations

import importlib.util
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

START = datetime(2019, 3, 1, tzinfo=UTC)
_STAMP = "%a, %d %b %Y %H:%M:%S GMT"


def _load(name: str) -> ModuleType:
    """A module that stands beside this file, wherever the tests were started from."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def make_record(number: int) -> dict[str, Any]:
    """One native record; together they hold every null, several amendments and a clock fault."""
    rng = random.Random(number)  # noqa: S311 - made-up data, no secret
    arrival = START + timedelta(minutes=37 * number)
    stay = timedelta(minutes=rng.randint(20, 700))
    done = {0: None, 1: arrival + stay + timedelta(seconds=59), 2: arrival - timedelta(minutes=3)}.get(
        number % 7, arrival + stay / 2
    )
    user = None if number % 3 == 0 else rng.randint(1, 5000)
    inputs = [
        {
            "WhPerMile": 350,
            "kWhRequested": float(rng.randint(1, 60)),
            "milesRequested": rng.randint(1, 200),
            "minutesAvailable": rng.randint(10, 900),
            "modifiedAt": (arrival + timedelta(minutes=5 * turn, seconds=23)).strftime(_STAMP),
            "paymentRequired": turn % 2 == 0,
            "requestedDeparture": (arrival + timedelta(minutes=90 + turn)).strftime(_STAMP),
            "userID": user,
        }
        for turn in range(number % 3 + number % 2)
    ]
    return {
        "_id": f"5c{number:022x}",
        "clusterID": "0039",
        "connectionTime": arrival.strftime(_STAMP),
        "disconnectTime": None if number % 11 == 10 else (arrival + stay).strftime(_STAMP),
        "doneChargingTime": done and done.strftime(_STAMP),
        "kWhDelivered": round(rng.uniform(0.501, 75.0), 3),
        "sessionID": f"2_39_78_{number}_{arrival:%Y-%m-%d %H:%M:%S}.400812",
        "siteID": "0002",
        "spaceID": f"CA-{300 + number % 50}",
        "stationID": f"2-39-78-{300 + number % 50}",
        "timezone": "America/Los_Angeles",
        "userID": user if user is None else f"{user:09d}",
        "userInputs": inputs if user is not None else None,
    }


@pytest.fixture
def acn_record() -> Callable[[int], dict[str, Any]]:
    return make_record


@pytest.fixture
def acn_records() -> list[dict[str, Any]]:
    """250 sessions from 1 March 2019 on, 37 minutes apart."""
    return [make_record(number) for number in range(250)]


@pytest.fixture
def acn_service(acn_records: list[dict[str, Any]]) -> Iterator[Any]:
    """The local double of the service, serving ``acn_records``."""
    with _load("acn_server").serving(acn_records) as service:
        yield service
