"""What every test shares: one thread, the property-test profiles, the real data, and what the run cost."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _pytest.terminal import TerminalReporter

# Nothing above starts a thread pool, and the tests are imported later: two workers share two cores, and sums must not
# depend on how many threads add them up.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[_name] = "1"

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI") == "true"

SERVICES_ENV = ROOT / ".cache" / "services" / "env"
if SERVICES_ENV.is_file():  # `make services-up` was called: nobody has to source its file
    for _line in SERVICES_ENV.read_text(encoding="utf-8").splitlines():
        _name, _, _value = shlex.split(_line)[1].partition("=")
        os.environ.setdefault(_name, _value)

# A slow machine is no defect: no deadline, no complaint about slow data. CI keeps looking for new cases, like everyone.
_COMMON: dict[str, Any] = {
    "deadline": None,
    "derandomize": False,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow],
}
settings.register_profile("dev", **_COMMON, max_examples=50)
settings.register_profile("ci", **_COMMON, max_examples=50, database=None)
settings.register_profile("thorough", **_COMMON, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if IN_CI else "dev"))

_worker_cpu_s: list[float] = []


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real data sets: PLUGCAST_DATA, or ../shared/data beside the checkout; never a copy of them."""
    named = os.environ.get("PLUGCAST_DATA")
    path = Path(named) if named else ROOT.parent / "shared" / "data"
    if path.is_dir():
        return path
    reason = f"no real data: {path} is not a directory; set PLUGCAST_DATA to the data sets"
    if IN_CI:
        pytest.fail(f"CI=true, but {reason}")
    pytest.skip(reason)


def server(variable: str) -> str:
    """The address of a real server that a connected test talks to: fails in CI where there is none, else skips."""
    if address := os.environ.get(variable):
        return address
    reason = f"no server: {variable} is not set; run `make services-up`, or name your own"
    if IN_CI:
        pytest.fail(f"CI=true, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def kafka_servers() -> str:
    """host:port of a real Kafka."""
    return server("PLUGCAST_KAFKA")


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """The AMQP URL of a real RabbitMQ."""
    return server("PLUGCAST_RABBITMQ")


@pytest.fixture(scope="session")
def smtp_server() -> str:
    """host:port of a real mail server; what it takes lies in the folder that PLUGCAST_MAIL names."""
    return server("PLUGCAST_SMTP")


@pytest.fixture(scope="session")
def mqtt_server() -> str:
    """host:port of a real MQTT broker."""
    return server("PLUGCAST_MQTT")


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[Any]]]:
    """``subprocess.Popen``, but whatever still runs when the test ends, well or badly, is killed."""
    started: list[subprocess.Popen[Any]] = []

    def start(*args: Any, **options: Any) -> subprocess.Popen[Any]:
        started.append(subprocess.Popen(*args, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()  # nothing, to one that has ended
        process.wait()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Benches first: they take longest, and one begun last keeps everybody waiting."""
    items.sort(key=lambda item: not item.name.startswith("test_a_bench_gives"))


def _cpu_s() -> float:
    """CPU seconds of this process and the children that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a worker hand its CPU time to the run that started it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["cpu_s"] = _cpu_s()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect a worker's CPU time."""
    _worker_cpu_s.append(getattr(node, "workeroutput", {}).get("cpu_s", 0.0))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say what the run cost in CPU seconds; the quick suite is meant to stay under 60."""
    own = os.times()
    total = own.user + own.system + sum(_worker_cpu_s) if _worker_cpu_s else _cpu_s()
    terminalreporter.write_line(f"CPU time of the tests: {total:.1f} s")
