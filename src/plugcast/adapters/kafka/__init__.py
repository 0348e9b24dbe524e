"""Where do messages pass between machines? Through Apache Kafka: a log with groups and transactions, by librdkafka."""

from plugcast.errors import MissingExtraError

try:
    from plugcast.adapters.kafka.connection import Security, Times
    from plugcast.adapters.kafka.log import KafkaLog
except ImportError as error:
    raise MissingExtraError("confluent-kafka", "kafka") from error

__all__ = ["KafkaLog", "Security", "Times"]
