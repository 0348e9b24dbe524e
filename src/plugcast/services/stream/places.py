"""Which log a name means: a file of this machine, or a Kafka cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plugcast.adapters.clock import SystemClock
from plugcast.adapters.journal import JournalLog
from plugcast.config import KafkaSettings
from plugcast.errors import ConfigError

if TYPE_CHECKING:
    from plugcast.ports import Bus, Clock, Log

KAFKA: Final = "kafka://"
_SERVERS: Final = re.compile(r"[^\s,/:@]+:\d+(,[^\s,/:@]+:\d+)*")


def shown(place: str) -> str:
    """A place as messages may name it: who asks is told nobody's password.

    >>> shown("kafka://user:secret@host:9092")
    'kafka://***@host:9092'
    """
    return re.sub(r"//[^/]*@", "//***@", place)


def open_log(place: str, *, kafka: KafkaSettings | None = None, clock: Clock | None = None) -> Log:
    """The log at a place.

    Args:
        place: ``kafka://host:port[,host:port]`` for Apache Kafka, else a file of this machine, made if missing.
        kafka: Credentials and time limits of a cluster.
        clock: Of a file's entries; the system's by default.

    Raises:
        ConfigError: The place cannot be.
        LogUnavailableError: It cannot be reached.
        MissingExtraError: Kafka's client is not installed.
    """
    if place.startswith(KAFKA):
        return _open_kafka(place.removeprefix(KAFKA).rstrip("/"), kafka or KafkaSettings())
    if "://" in place:
        raise ConfigError(f"{shown(place)}: wanted a file name, or kafka://host:port.")
    path = Path(place)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigError(f"{place}: wanted the name of a file in a folder that exists.")
    return JournalLog(path, clock=clock or SystemClock())


def _open_kafka(servers: str, told: KafkaSettings) -> Log:
    from plugcast.adapters.kafka import KafkaLog, Security, Times  # noqa: PLC0415 - an extra

    if not _SERVERS.fullmatch(servers):
        raise ConfigError(f"{shown(KAFKA + servers)}: wanted kafka://host:port[,host:port].")
    if told.protocol.startswith("sasl") and not told.username:
        raise ConfigError(f"kafka.protocol is {told.protocol}: wanted kafka.username and kafka.password, found none.")
    security = Security(
        protocol=told.protocol,
        mechanism=told.mechanism,
        username=told.username,
        password=told.password.get_secret_value(),
        ca_file=told.ca_file,
        certificate_file=told.certificate_file,
        key_file=told.key_file,
        key_password=told.key_password.get_secret_value(),
    )
    times = Times(
        answer_s=told.answer_s,
        session_s=told.session_s,
        processing_s=told.processing_s,
        transaction_s=told.transaction_s,
    )
    return KafkaLog(servers, prefix=told.prefix, security=security, times=times)


def open_bus(url: str) -> Bus:
    """RabbitMQ at an address; connects when it is first used.

    Raises:
        ConfigError: There is no address, or none that could be.
        MissingExtraError: The client is not installed.
    """
    if not url:
        raise ConfigError(
            "There is no address of a broker. Name one: PLUGCAST__STREAM__BUS=amqp://user:password@host:5672/ "
            "(or stream.bus in the settings)."
        )
    from plugcast.adapters.rabbitmq import RabbitBus  # noqa: PLC0415 - an extra

    return RabbitBus(url)
