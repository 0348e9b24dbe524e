"""What Kafka's errors mean to a caller of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException

from plugcast.errors import ConfigError, LogFencedError, LogRefusedError, LogUnavailableError

if TYPE_CHECKING:
    from plugcast.errors import PlugcastError

__all__ = [
    "CREDENTIALS",
    "MISSING",
    "KafkaError",
    "KafkaException",
    "is_fenced",
    "is_passing",
    "kafka_error",
    "translated",
]

_FENCED: Final = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001 - librdkafka's own codes begin with an underscore
        KafkaError._MAX_POLL_EXCEEDED,  # noqa: SLF001 - the same
        KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001 - the same
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.UNKNOWN_PRODUCER_ID,
        KafkaError.INVALID_TXN_STATE,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.STALE_MEMBER_EPOCH,
    }
)
_REFUSED: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.POLICY_VIOLATION,
    }
)
_PASSING: Final = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001 - librdkafka's own
        KafkaError._TIMED_OUT,  # noqa: SLF001 - the same
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)
MISSING: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - librdkafka's own
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - the same
    }
)
CREDENTIALS: Final = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - librdkafka's own
        KafkaError._SSL,  # noqa: SLF001 - the same
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
_RIGHTS: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)


def kafka_error(raised: KafkaException) -> KafkaError:
    """The error in an exception."""
    found = raised.args[0]
    return found if isinstance(found, KafkaError) else KafkaError(KafkaError._FAIL, str(found))  # noqa: SLF001 - its own


def is_fenced(error: KafkaError) -> bool:
    """Whether another member or producer has taken this one's place."""
    return error.code() in _FENCED


def is_passing(error: KafkaError) -> bool:
    """Whether the same question may well be answered in a moment: leaders move, a topic just made is not known yet."""
    return error.code() in _PASSING or bool(error.retriable())


def translated(error: KafkaError, what: str) -> PlugcastError:
    """One of the log's errors that says what was being done and what Kafka answered; it holds no setting.

    Args:
        error: As librdkafka gives it.
        what: What was being done and where, to begin the message.
    """
    code, said = error.code(), f"{error.str()} ({error.name()})"
    if code in _FENCED:
        return LogFencedError(f"{what}: another member has taken over: {said}. Close, and join again.")
    if code in _REFUSED:
        return LogRefusedError(f"{what}: Kafka refuses an entry: {said}. Make it smaller, or raise max.message.bytes.")
    if code in MISSING:
        return ConfigError(
            f"{what}: there is no such topic or partition: {said}. Call ensure() with its TopicSpec first."
        )
    if code in CREDENTIALS:
        return ConfigError(f"{what}: Kafka refuses the connection: {said}. Check the settings of [kafka].")
    if code in _RIGHTS:
        return ConfigError(f"{what}: Kafka grants no right to this: {said}. Ask for it, or use another user.")
    return LogUnavailableError(f"{what}: {said}. It may work later.")
