"""The AsyncAPI document is valid, complete, and says of each message what its decoder does."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, FormatChecker

from plugcast.domain import topics
from plugcast.domain.messages import Message
from plugcast.domain.outgoing import Outgoing, decode_outgoing
from plugcast.domain.rejected import Rejected
from plugcast.domain.wire import decode
from plugcast.services.stream.asyncapi import EXAMPLES, TOPICS, document
from plugcast.services.stream.topics import specs

NOW = datetime(2026, 3, 4, tzinfo=UTC)
DOCUMENT = document()
MESSAGES = DOCUMENT["components"]["messages"]
INCOMING = {kind.__struct_config__.tag for kind in get_args(Message)}


def validator(tag: str) -> Draft7Validator:
    schema = {**MESSAGES[tag]["payload"], "components": DOCUMENT["components"]}
    return Draft7Validator(schema, format_checker=FormatChecker())


VALIDATORS = {tag: validator(tag) for tag in MESSAGES}


def decodes(payload: dict[str, Any]) -> bool:
    content = json.dumps(payload).encode()
    if str(payload.get("type")) in INCOMING:
        return not isinstance(decode(content, now=NOW, source="test", row=1), Rejected)
    try:
        decode_outgoing(content)
    except msgspec.MsgspecError:
        return False
    return True


def test_it_is_valid_by_the_schema_of_asyncapi() -> None:
    schema = json.loads(Path(__file__).with_name("asyncapi-3.0.0.json").read_text(encoding="utf-8"))
    assert [error.message for error in Draft7Validator(schema).iter_errors(DOCUMENT)] == []
    broken = {**DOCUMENT, "operations": {"send": {"action": "shout", "channel": {"$ref": "#/channels/ev-findings"}}}}
    assert list(Draft7Validator(schema).iter_errors(broken))  # and that schema does look


def test_every_reference_leads_somewhere() -> None:
    def references(part: Any) -> list[str]:
        if isinstance(part, list):
            return [found for each in part for found in references(each)]
        if not isinstance(part, dict):
            return []
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [found for each in part.values() for found in references(each)]

    for reference in references(DOCUMENT):
        target = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            assert step in target, reference
            target = target[step]


def test_every_message_and_topic_is_in_it() -> None:
    kinds = {*get_args(Message), *get_args(Outgoing)}
    assert {kind.__struct_config__.tag for kind in kinds} == set(MESSAGES)
    assert {type(example) for example in EXAMPLES} == kinds
    assert {kind for doc in TOPICS for kind in doc.messages} == kinds
    inner = {topics.DETECTOR_STATE, topics.FORECASTER_STATE}
    assert {spec.name for spec in specs()} - inner == {doc.name for doc in TOPICS}


@pytest.mark.parametrize("tag", MESSAGES)
def test_an_example_decodes_to_itself_and_fits_its_schema(tag: str) -> None:
    payload = MESSAGES[tag]["examples"][0]["payload"]
    VALIDATORS[tag].validate(payload)
    assert decodes(payload)
    (example,) = (each for each in EXAMPLES if each.__struct_config__.tag == tag)
    content = json.dumps(payload).encode()
    found = decode(content, now=NOW, source="test", row=1) if tag in INCOMING else decode_outgoing(content)
    assert found == example


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**7), 10**7),
    st.floats(-1e12, 1e12),
    st.text(max_size=140),
    st.sampled_from(["derating", "warning", "Zm9v", "2026-03-03T10:00:00Z", "", "x" * 129, "x" * 2_001, [], {}]),
)


@given(tag=st.sampled_from(sorted(MESSAGES)), value=VALUES, choose=st.randoms(use_true_random=False))
def test_what_the_schema_refuses_is_refused(tag: str, value: object, choose: Any) -> None:
    """The decoder asks for more (time zones, clocks, an end after its start), never for less."""
    payload = dict(MESSAGES[tag]["examples"][0]["payload"])
    name = choose.choice(sorted(payload))
    if choose.random() < 0.2:
        del payload[name]
    else:
        payload[name] = value
    if not VALIDATORS[tag].is_valid(payload):
        assert not decodes(payload)


@given(tag=st.sampled_from(sorted(MESSAGES)), value=VALUES, choose=st.randoms(use_true_random=False))
def test_what_is_refused_for_its_form_is_refused_by_the_schema(tag: str, value: object, choose: Any) -> None:
    payload = dict(MESSAGES[tag]["examples"][0]["payload"])
    schema = DOCUMENT["components"]["schemas"][MESSAGES[tag]["title"]]
    plain = [name for name in payload if not name.endswith("_at") and name not in {"time_zone", "timestamp", "raw"}]
    name = choose.choice(sorted(plain))
    # JSON Schema counts 0.0 as an integer, the decoder does not
    assume(not (isinstance(value, float) and value.is_integer()))
    payload[name] = value
    if not decodes(payload):
        assert not VALIDATORS[tag].is_valid(payload), schema["properties"][name]
