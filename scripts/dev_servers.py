"""Which servers there are for development and tests, how each is started, and how it shows that it works."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import smtplib
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).resolve().parent.parent
HOST: Final = "127.0.0.1"
START_S: Final = float(os.environ.get("PLUGCAST_SERVICES_START_S", "120"))
SMTP_OK: Final = 250
DEBIAN_RABBITMQ: Final = "/usr/lib/rabbitmq/bin/rabbitmq-server"
PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is remembered of a server between two calls: a pid counts only together with the start of its process."""

    ports: tuple[int, ...] = ()
    pid: int = 0
    born: str = ""

    @classmethod
    def read(cls, folder: Path) -> State:
        """The state in a server's folder, empty where it never ran."""
        try:
            kept = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return cls()
        return cls(ports=tuple(kept["ports"]), pid=kept["pid"], born=kept["born"])

    def write(self, folder: Path) -> None:
        """Keep it; the pid alone stands in ``pid``, for tests that stop servers on purpose."""
        (folder / "pid").write_text(f"{self.pid}\n", encoding="utf-8")
        unfinished = folder / ".state.json"
        unfinished.write_text(json.dumps({"ports": self.ports, "pid": self.pid, "born": self.born}), encoding="utf-8")
        unfinished.rename(folder / "state.json")

    def alive(self) -> bool:
        """Whether that very process is there, and no zombie."""
        return bool(self.born) and born(self.pid) == self.born


def born(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty where there is none or only its remains."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]


class ServiceError(Exception):
    """A server did not start; the message says which, and where its log is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """How one server is prepared, started, asked whether it works, and found by others."""

    name: str
    variable: str
    """The environment variable that names it, also a user's own; of a part, the one of the whole."""
    ports: int
    command: Callable[[Path, list[int]], tuple[list[str], dict[str, str]]]
    """Prepare the folder; returns the command and what its environment has beside ours."""
    healthy: Callable[[int], bool]
    """Whether the server behind the first port does its work, not just listens."""
    address: Callable[[int], str]
    part: bool = False
    """Started and stopped for the next one in the list, and of no use by itself."""


# --- Kafka


def _classpath() -> str:
    """Kafka's jars in Maven's own repository; asked for once, and again when the POM has changed or a jar is gone."""
    pom = ROOT / "deploy" / "dev" / "pom.xml"
    kept = ROOT / ".cache" / f"kafka-classpath-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    kept.parent.mkdir(exist_ok=True)
    if kept.exists() and all(Path(jar).exists() for jar in kept.read_text(encoding="utf-8").split(":")):
        return kept.read_text(encoding="utf-8")
    print("Fetching Kafka with Maven ...", file=sys.stderr)
    wanted = ["-Dmdep.includeScope=runtime", f"-Dmdep.outputFile={kept}"]
    command = ["mvn", "-B", "-q", "-ntp", "-f", str(pom), "dependency:build-classpath", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        kept.unlink(missing_ok=True)
        raise ServiceError(f"Maven could not fetch Kafka. Is it online?\n{(done.stdout + done.stderr)[-2000:]}")
    return kept.read_text(encoding="utf-8")


def _kafka(folder: Path, ports: list[int]) -> tuple[list[str], dict[str, str]]:
    classpath, settings, data = _classpath(), folder / "server.properties", folder / "data"
    template = (ROOT / "deploy" / "dev" / "kafka.properties").read_text(encoding="utf-8")
    settings.write_text(template.format(broker=ports[0], controller=ports[1], data=data), encoding="utf-8")
    java = ["java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-Djava.awt.headless=true", "-cp", classpath]
    java.insert(1, f"-Dlog4j2.configurationFile={ROOT / 'deploy' / 'dev' / 'kafka-log4j2.properties'}")
    if not (data / "meta.properties").exists():
        cluster = "plugcast-dev-cluster-0"  # 22 characters of base64, as Kafka wants
        tool = [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings)]
        done = subprocess.run(tool, capture_output=True, text=True, check=False, timeout=START_S)
        if done.returncode:
            raise ServiceError(f"Kafka's folder could not be formatted:\n{(done.stdout + done.stderr)[-2000:]}")
    return [*java, "kafka.Kafka", str(settings)], {}


def _kafka_works(port: int) -> bool:
    from confluent_kafka import KafkaException  # noqa: PLC0415 - `down` must work without the package
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - the same

    client = AdminClient({"bootstrap.servers": f"{HOST}:{port}", "log_level": 0, "socket.timeout.ms": 3000})
    try:
        return len(client.list_topics(timeout=3.0).brokers) == 1
    except KafkaException:
        return False


# --- RabbitMQ


def _rabbitmq(folder: Path, ports: list[int]) -> tuple[list[str], dict[str, str]]:
    """One node with its own name, cookie and port mapper, so that several live on one machine."""
    for name in ("mnesia", "logs", "home"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = {HOST}:{ports[0]}\n"
        "disk_free_limit.absolute = 50MB\nvm_memory_high_watermark.absolute = 512MB\n"
        "log.console = true\nlog.file = false\n",
        encoding="utf-8",
    )
    (folder / "env.conf").touch()
    (folder / "plugins").write_text("[].\n", encoding="utf-8")
    environ = {
        "HOME": str(folder / "home"),
        "RABBITMQ_NODENAME": "plugcast@localhost",  # its data belongs to the name, whatever the ports
        "RABBITMQ_NODE_PORT": str(ports[0]),
        "RABBITMQ_DIST_PORT": str(ports[1]),
        "ERL_EPMD_PORT": str(State.read(folder.parent / "epmd").ports[0]),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",  # idle means idle
        "RUNNING_UNDER_SYSTEMD": "true",  # become the server instead of watching over it: one pid
        "NOTIFY_SOCKET": "",
    }
    server = DEBIAN_RABBITMQ if Path(DEBIAN_RABBITMQ).exists() else shutil.which("rabbitmq-server", path=PATH)
    return [server or "rabbitmq-server"], environ


def _epmd(_folder: Path, ports: list[int]) -> tuple[list[str], dict[str, str]]:
    return ["epmd", "-port", str(ports[0]), "-address", HOST], {}


def _talks(port: int, greeting: bytes, answer: bytes) -> bool:
    """Whether a server answers these bytes as its protocol has it."""
    try:
        with socket.create_connection((HOST, port), timeout=3.0) as connection:
            connection.sendall(greeting)
            return connection.recv(64).startswith(answer)
    except OSError:
        return False


# --- Mosquitto and mail


def _mosquitto(folder: Path, ports: list[int]) -> tuple[list[str], dict[str, str]]:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    settings = folder / "mosquitto.conf"
    user = "user root\n" if os.getuid() == 0 else ""  # else it gives up the right to its own folder
    settings.write_text(
        f"listener {ports[0]} {HOST}\nallow_anonymous true\npersistence true\npersistence_location {data}/\n{user}",
        encoding="utf-8",
    )
    return [shutil.which("mosquitto", path=PATH) or "mosquitto", "-c", str(settings)], {}


def _smtp(folder: Path, ports: list[int]) -> tuple[list[str], dict[str, str]]:
    sink = str(ROOT / "scripts" / "mail_sink.py")
    return [sys.executable, sink, "--port", str(ports[0]), "--folder", str(folder / "mail")], {}


def _smtp_works(port: int) -> bool:
    try:
        with smtplib.SMTP(HOST, port, timeout=3.0) as client:
            return client.noop()[0] == SMTP_OK
    except (OSError, smtplib.SMTPException):
        return False


SERVICES: Final = (
    Service(
        name="kafka",
        variable="PLUGCAST_KAFKA",
        ports=2,
        command=_kafka,
        healthy=_kafka_works,
        address=lambda port: f"{HOST}:{port}",
    ),
    Service(
        name="epmd",  # the port mapper of Erlang
        variable="PLUGCAST_RABBITMQ",
        part=True,
        ports=1,
        command=_epmd,
        healthy=lambda port: _talks(port, b"\0\1n", port.to_bytes(4, "big")),
        address=lambda port: f"{HOST}:{port}",
    ),
    Service(
        name="rabbitmq",
        variable="PLUGCAST_RABBITMQ",
        ports=2,
        command=_rabbitmq,
        healthy=lambda port: _talks(port, b"AMQP\0\0\x09\x01", b"\x01\0\0"),
        address=lambda port: f"amqp://guest:guest@{HOST}:{port}/",  # its own default, which works from this host alone
    ),
    Service(
        name="mosquitto",
        variable="PLUGCAST_MQTT",
        ports=1,
        command=_mosquitto,
        healthy=lambda port: _talks(port, b"\x10\x0e\0\x04MQTT\x04\x02\0\x05\0\x02ok", b"\x20\x02\0\0"),
        address=lambda port: f"{HOST}:{port}",
    ),
    Service(
        name="smtp",
        variable="PLUGCAST_SMTP",
        ports=1,
        command=_smtp,
        healthy=_smtp_works,
        address=lambda port: f"{HOST}:{port}",
    ),
)
