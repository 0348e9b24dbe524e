"""The stream's topics and messages as an AsyncAPI 3 document, made from the types that encode and decode them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec

from plugcast.adapters.rabbitmq import EXCHANGE
from plugcast.domain import topics
from plugcast.domain.finding import Cause, Severity
from plugcast.domain.messages import Heartbeat, Message, MeterValues, SessionEnded, SessionStarted, SessionUpdated
from plugcast.domain.messages import Telemetry as TelemetrySent
from plugcast.domain.outgoing import DeadLetter, FaultInjected, FindingRaised, ForecastIssued, Outgoing, SessionScored
from plugcast.domain.topics import ALERTS_QUEUE
from plugcast.domain.wire import MAX_MESSAGE_BYTES
from plugcast.services.stream import publishing, serving
from plugcast.services.stream.asyncapi_examples import EXAMPLES
from plugcast.services.stream.topics import specs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plugcast.ports import TopicSpec

JsonObject = dict[str, Any]
MESSAGES_VERSION: Final = "1.0.0"
"""Of the messages' ``v``; a field added that readers may ignore raises the second number."""
_DAY_MS: Final = 86_400_000
_DESCRIPTION: Final = f"""\
What travels through Plugcast. Stations and vehicles write to topics of a log (Apache Kafka, or a journal of this
machine); detectors and forecasters write to others, each message exactly once; findings go on to a topic exchange of
RabbitMQ, each at least once.

Every message has a `type` and a version `v`; another `v` is refused whole. Fields that are not named here are ignored.
Instants are RFC 3339 with an offset. A message has at most {MAX_MESSAGE_BYTES:,} bytes. What is refused goes to
`{topics.DEAD_LETTERS}` with the reason.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDoc:
    """What a topic carries, and who reads it in Plugcast."""

    name: str
    says: str
    key: str
    messages: tuple[type[msgspec.Struct], ...]
    readers: tuple[str, ...] = ()
    """Consumer groups of Plugcast."""


TOPICS: Final = (
    TopicDoc(
        name=topics.STATION_DATA,
        says="What stations say of their sessions. All of one station shares a partition, in the order of its sending.",
        key="site_id/station_id",
        messages=(SessionStarted, SessionUpdated, SessionEnded, MeterValues, Heartbeat),
        readers=(serving.GROUP,),
    ),
    TopicDoc(
        name=topics.TELEMETRY,
        says="What vehicles report.",
        key="asset_id",
        messages=(TelemetrySent,),
        readers=(serving.FORECASTERS,),
    ),
    TopicDoc(
        name=topics.FINDINGS,
        says="What looks wrong, and why.",
        key="site_id/station_id",
        messages=(FindingRaised,),
        readers=(publishing.GROUP,),
    ),
    TopicDoc(
        name=topics.SCORES,
        says="How odd each finished session is, exactly one message each.",
        key="site_id/session_id",
        messages=(SessionScored,),
    ),
    TopicDoc(
        name=topics.FORECASTS,
        says="What is forecast of a vehicle, one message for each sample.",
        key="asset_id",
        messages=(ForecastIssued,),
    ),
    TopicDoc(
        name=topics.DEAD_LETTERS,
        says="What could not be taken, where it stood, and why.",
        key="topic/partition/offset",
        messages=(DeadLetter,),
    ),
    TopicDoc(
        name=topics.TRUTH,
        says="Which replayed sessions have an injected fault: for whoever measures, never for a detector.",
        key="site_id/session_id",
        messages=(FaultInjected,),
    ),
)
FINDING_CHANNEL: Final = "bus-findings"


def document(field_docs: Callable[[type], Mapping[str, str]] = lambda _: {}) -> JsonObject:
    """The whole document.

    Args:
        field_docs: What is to be said of a type's fields, by name.
    """
    types = (*get_args(Message), *get_args(Outgoing))
    made = {spec.name: spec for spec in specs()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Plugcast's stream",
            "version": MESSAGES_VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {"host": "localhost:9092", "protocol": "kafka", "description": "Or any other; see stream.log."},
            "rabbitmq": {
                "host": "localhost:5672",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "Or any other; see stream.bus.",
            },
        },
        "channels": {**{doc.name: _topic(doc, made[doc.name]) for doc in TOPICS}, FINDING_CHANNEL: _bus_channel()},
        "operations": _operations(),
        "components": {
            "messages": {_tag(kind): _message(kind) for kind in types},
            "schemas": _schemas(types, field_docs),
        },
    }


def _tag(kind: type[msgspec.Struct]) -> str:
    return str(kind.__struct_config__.tag)


def _topic(doc: TopicDoc, spec: TopicSpec) -> JsonObject:
    kept: JsonObject = {"cleanup.policy": ["compact" if spec.compacted else "delete"]}
    if spec.keep_days is not None:
        kept["retention.ms"] = round(spec.keep_days * _DAY_MS)
    return {
        "address": doc.name,
        "title": doc.says.partition(".")[0],
        "description": f"{doc.says} The key of a message is `{doc.key}`, in UTF-8.",
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {_tag(kind): {"$ref": f"#/components/messages/{_tag(kind)}"} for kind in doc.messages},
        "bindings": {
            "kafka": {
                "topic": doc.name,
                "partitions": spec.partitions,
                "topicConfiguration": kept,
                "bindingVersion": "0.5.0",
            }
        },
    }


def _bus_channel() -> JsonObject:
    return {
        "address": "finding.{severity}.{cause}.{site}",
        "title": "Findings for whoever wants to know",
        "description": (
            f"A durable topic exchange, `{EXCHANGE}`. Bind a queue of your own with `finding.critical.#` or the like. "
            "A message comes at least once; `message_id` is the finding's id, by which to tell a repeat. Plugcast's "
            f"own alerts read the quorum queue `{ALERTS_QUEUE}`; what it cannot take goes to `{ALERTS_QUEUE}.dead`."
        ),
        "servers": [{"$ref": "#/servers/rabbitmq"}],
        "parameters": {
            "severity": {"description": "How much it matters to the operator.", "enum": list(Severity)},
            "cause": {"description": "What the finding is about.", "enum": list(Cause)},
            "site": {"description": "The site's id; what is no letter, digit or dash is an underscore."},
        },
        "messages": {"finding": {"$ref": "#/components/messages/finding"}},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": EXCHANGE, "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"},
                "bindingVersion": "0.3.0",
            }
        },
    }


def _operations() -> JsonObject:
    """From Plugcast's point of view: what it sends, what it receives."""
    found: JsonObject = {}
    for doc in TOPICS:
        name = doc.name.removeprefix("ev-").replace("-", "_")
        channel = {"$ref": f"#/channels/{doc.name}"}
        found[f"send_{name}"] = {"action": "send", "channel": channel}
        for group in doc.readers:
            binding = {"groupId": {"type": "string", "enum": [group]}, "bindingVersion": "0.5.0"}
            found[f"receive_{name}"] = {"action": "receive", "channel": channel, "bindings": {"kafka": binding}}
    channel = {"$ref": f"#/channels/{FINDING_CHANNEL}"}
    sent = {"deliveryMode": 2, "mandatory": True, "bindingVersion": "0.3.0"}
    found["publish_findings"] = {"action": "send", "channel": channel, "bindings": {"amqp": sent}}
    taken = {"ack": True, "bindingVersion": "0.3.0"}
    found["subscribe_findings"] = {"action": "receive", "channel": channel, "bindings": {"amqp": taken}}
    return found


def _message(kind: type[msgspec.Struct]) -> JsonObject:
    key = next(doc.key for doc in TOPICS if kind in doc.messages)
    example = next(each for each in EXAMPLES if type(each) is kind)
    return {
        "name": _tag(kind),
        "title": kind.__name__,
        "summary": _first(kind.__doc__ or ""),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        "examples": [{"name": _tag(kind), "payload": msgspec.json.decode(msgspec.json.encode(example))}],
        "bindings": {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": "0.5.0"}},
    }


def _first(says: str) -> str:
    """A docstring up to its first semicolon, as a sentence."""
    return says.partition(";")[0].strip().removesuffix(".") + "."


def _schemas(types: tuple[Any, ...], field_docs: Callable[[type], Mapping[str, str]]) -> JsonObject:
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for kind in types:
        schema = schemas[kind.__name__]
        schema["description"] = _first(schema["description"])
        for name, says in field_docs(kind).items():
            field = schema["properties"].get(name)
            if field is not None and "$ref" not in field:  # beside a reference nothing is read
                field["description"] = says
    return schemas


__all__ = ["EXAMPLES", "TOPICS", "document"]
