"""Which log a name means: a file of this machine, or a Kafka cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from plugcast.adapters.clock import SystemClock
from plugcast.adapters.journal import JournalLog
from plugcast.errors import ConfigError

if TYPE_CHECKING:
    from plugcast.ports import Bus, Clock, Log

KAFKA: Final = "kafka://"


def open_log(place: str, *, clock: Clock | None = None) -> Log:
    """The log at a place.

    Args:
        place: ``kafka://host:port[,host:port]`` for Apache Kafka, else a file of this machine, made if missing.
        clock: Of a file's entries; the system's by default.

    Raises:
        ConfigError: The place cannot be.
        LogUnavailableError: It cannot be reached.
    """
    if place.startswith(KAFKA):
        raise ConfigError(f"{place}: there is no adapter for Kafka here yet; name a file for a journal.")
    if "://" in place:
        raise ConfigError(f"{place}: wanted a file name, or kafka://host:port.")
    path = Path(place)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigError(f"{place}: wanted the name of a file in a folder that exists.")
    return JournalLog(path, clock=clock or SystemClock())


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
