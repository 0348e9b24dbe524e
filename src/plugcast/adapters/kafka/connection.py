"""How a cluster is reached: addresses, credentials, time limits, and what topics it has."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # its package exports them without saying so

from plugcast.adapters.kafka.failures import (
    CREDENTIALS,
    KafkaError,
    KafkaException,
    is_passing,
    kafka_error,
    translated,
)
from plugcast.errors import ConfigError, LogUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugcast.errors import PlugcastError

LOGGER: Final = logging.getLogger("plugcast.kafka")
MAX_MESSAGE_BYTES: Final = 1_000_000
"""Of one entry, key included: a little below what a broker takes unless it is told otherwise."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """How to prove who we are, and whom to believe; secrets are not shown when it is printed."""

    protocol: str = "plaintext"
    """``plaintext``, ``ssl``, ``sasl_plaintext`` or ``sasl_ssl``."""
    mechanism: str = "SCRAM-SHA-512"
    """For the two ``sasl`` protocols: ``PLAIN``, ``SCRAM-SHA-256`` or ``SCRAM-SHA-512``."""
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    """Certificates to believe; the system's where empty."""
    certificate_file: str = ""
    """Our own, for brokers that ask for one."""
    key_file: str = ""
    key_password: str = field(default="", repr=False)

    def settings(self) -> dict[str, str]:
        """For librdkafka."""
        found = {"security.protocol": self.protocol}
        if self.protocol.startswith("sasl"):
            found |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username,
                "sasl.password": self.password,
            }
        if self.protocol.endswith("ssl"):
            files = {
                "ssl.ca.location": self.ca_file,
                "ssl.certificate.location": self.certificate_file,
                "ssl.key.location": self.key_file,
                "ssl.key.password": self.key_password,
            }
            found |= {name: value for name, value in files.items() if value}
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long things may take, in seconds."""

    answer_s: float = 30.0
    """For one operation, a broker's restart included; then it counts as unreachable."""
    join_s: float = 10.0
    """How long the first poll of a member waits for its partitions."""
    session_s: float = 6.0
    """A member that was not heard of for so long is given up, and its partitions to others."""
    processing_s: float = 120.0
    """A member that lives but does not poll for so long is given up, too."""
    transaction_s: float = 10.0
    """A transaction whose producer has died is aborted after so long; until then readers wait for it. Nobody insists on
    one for longer."""


class _Trouble:
    """The last failure that a client told of, beside those of single calls."""

    def __init__(self) -> None:
        self.last: KafkaError | None = None

    def tell(self, error: KafkaError) -> None:
        """Called by librdkafka."""
        self.last = error


class Connection:
    """What all clients of one cluster share.

    Args:
        servers: ``host:port[,host:port]``.
        prefix: Before the name of every topic and group, where a cluster serves several purposes.
        security: Credentials.
        times: Limits.
    """

    def __init__(self, servers: str, *, prefix: str, security: Security, times: Times) -> None:
        self.servers = servers
        self.prefix = prefix
        self.times = times
        self._security = security
        self._admin: AdminClient | None = None
        self._partitions: dict[str, int] = {}
        self._trouble = _Trouble()

    def settings(self, **more: object) -> dict[str, Any]:
        """Settings for a client; underscores of the names stand for librdkafka's dots."""
        return {
            "bootstrap.servers": self.servers,
            "client.id": "plugcast",
            "logger": LOGGER,
            "log_level": 2,  # an outage would be told many times a second; calls that fail say what is wrong
            "error_cb": self._trouble.tell,
            "log.connection.close": False,
            "socket.keepalive.enable": True,
            "socket.connection.setup.timeout.ms": 5_000,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1_000,
            **self._security.settings(),
            **{name.replace("_", "."): value for name, value in more.items()},
        }

    def failure(self, raised: KafkaException, what: str) -> PlugcastError:
        """What to raise for an error of librdkafka; a time-out whose cause is a refused password says so."""
        error = kafka_error(raised)
        trouble = self._trouble.last
        if trouble is not None and trouble.code() in CREDENTIALS:
            error = trouble
        return translated(error, f"{what} (Kafka at {self.servers})")

    def silence(self, what: str) -> PlugcastError:
        """What to raise where no answer came in time."""
        trouble = self._trouble.last
        if trouble is not None and trouble.code() in CREDENTIALS:
            return translated(trouble, f"{what} (Kafka at {self.servers})")
        last = f" The last trouble was: {trouble.str()}." if trouble is not None else ""
        return LogUnavailableError(f"{what}: Kafka at {self.servers} did not answer in time.{last} It may work later.")

    @property
    def admin(self) -> AdminClient:
        """For topics and ends of partitions; made on first use."""
        if self._admin is None:
            self._admin = AdminClient(self.settings())
        return self._admin

    def asked(self, what: str, ask: Callable[[], Result]) -> Result:
        """An answer, with librdkafka's errors as the log's."""
        try:
            return ask()
        except KafkaException as error:
            raise self.failure(error, what) from error

    def topics(self) -> dict[str, int]:
        """Every topic of the cluster with its number of partitions, asked anew; real names."""
        listed = self.asked("listing the topics", lambda: self.admin.list_topics(timeout=self.times.answer_s))
        self._partitions = {name: len(topic.partitions) for name, topic in listed.topics.items() if topic.error is None}
        return self._partitions

    def partitions(self, topic: str) -> int:
        """How many a topic has; ConfigError where there is none such."""
        real = self.prefix + topic
        count = self._partitions.get(real) or self.topics().get(real)
        if not count:
            raise ConfigError(f"There is no topic {topic!r}. Call ensure() with its TopicSpec first.")
        return count

    def ends(self, places: list[tuple[str, int]], *, committed: bool) -> dict[tuple[str, int], int]:
        """The next offset of each place by real names, with what open transactions have written or before it."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # it has no types
        wanted = {TopicPartition(topic, part): latest for topic, part in places}
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        until_s = time.monotonic() + self.times.answer_s
        while wanted:
            asked = self.admin.list_offsets(wanted, isolation_level=level, request_timeout=self.times.answer_s)
            try:
                return {(place.topic, place.partition): answer.result().offset for place, answer in asked.items()}
            except KafkaException as error:
                if not is_passing(kafka_error(error)) or time.monotonic() > until_s:
                    raise self.failure(error, "asking for the ends of partitions") from error
                self._admin = None  # it may hold leaders from before a broker's restart, and would ask those again
                time.sleep(0.1)
        return {}
