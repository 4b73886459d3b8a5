"""The document is whole and sound, and what the doors take and give is what it tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from gate.errors import RequestError
from gate.proxy.doors import DOORS, Door
from gate.proxy.guardrail import GUARDRAIL
from gate.proxy.guardrail_replies import NONE
from gate.proxy.guardrail_requests import OPTIONS
from gate.proxy.json_wire import dumps
from gate.proxy.openapi import document
from gate.proxy.verdicts import abstention_error
from gate.proxy.wire_errors import WireError
from tests.proxy.asking import ENDED, USER, decided, saying
from tests.proxy.fake_gateway import CALLING, GENERATION, outcome_of

DOCUMENT = json.loads(json.dumps(document("1.2.3")))
REQUESTS = {"chat": "ChatRequest", "responses": "ResponsesRequest", "messages": "MessagesRequest"}
REPLIES = {"chat": "ChatCompletion", "responses": "Response", "messages": "Message"}
ERRORS = {"chat": "Error", "responses": "Error", "messages": "MessagesError"}
ASK: dict[str, dict[str, Any]] = {
    "chat": {"model": "gate", "messages": [USER]},
    "responses": {"model": "gate", "input": "Where is Lagos?"},
    "messages": {"model": "gate", "messages": [USER], "max_tokens": 9},
}


def schema(name: str) -> Draft202012Validator:
    registry = Registry().with_resource("urn:gate", Resource(DOCUMENT, DRAFT202012))
    return Draft202012Validator({"$ref": f"urn:gate#/components/schemas/{name}"}, registry=registry)


def refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from refs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from refs(inner)


def test_every_endpoint_is_told_and_whatever_is_named_is_there() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == "1.2.3"
    assert DOCUMENT["paths"].keys() == {
        *(door.path for door in (*DOORS, GUARDRAIL)), "/v1/completions", "/v1/embeddings", "/v1/models",
        "/v1/models/{model}", "/v1/feedback", "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    for name in set(refs(DOCUMENT)):
        found: Any = DOCUMENT
        for part in name.removeprefix("#/").split("/"):
            found = found[part]
        assert found
    used = {name.rsplit("/", 1)[-1] for name in refs(DOCUMENT)}
    assert not DOCUMENT["components"]["schemas"].keys() - used


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_every_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])


def test_only_health_is_open() -> None:
    keyless = {
        path for path, item in DOCUMENT["paths"].items() for op in item.values() if "responses" in op
        if op.get("security", DOCUMENT["security"]) == []
    }  # fmt: skip
    assert keyless == {"/healthz", "/readyz"}


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_what_a_door_gives_is_what_is_told(door: Door) -> None:
    for outcome in (outcome_of(GENERATION), outcome_of(None), outcome_of(CALLING), *(one[0] for one in ENDED.values())):
        for explain in (False, True):
            asked = door.parse(json.dumps({**ASK[door.name], "gate": {"explain": explain}}).encode())
            schema(REPLIES[door.name]).validate(json.loads(dumps(door.reply(asked, decided(outcome)))))
    for error in (WireError(400, "m", "t"), WireError(400, "m", "t", "c", "p"), abstention_error(saying(None))):
        schema(ERRORS[door.name]).validate(json.loads(dumps(door.error(error))))


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
@pytest.mark.parametrize(
    ("fields", "sound"),
    [
        ({}, True),
        ({"temperature": 1, "top_p": None, "x": [1], "gate": {"budget": {"calls": 1}, "policy": "strict"}}, True),
        ({"temperature": "1"}, False),
        ({"temperature": 3}, False),
        ({"stream": 1}, False),
        ({"gate": {"explian": True}}, False),
        ({"gate": {"budget": {"calls": 0}}}, False),
        ({"model": None}, False),
    ],
    ids=str,
)
def test_what_a_door_takes_is_what_is_told(door: Door, fields: dict[str, Any], sound: bool) -> None:
    body = {**ASK[door.name], **fields}
    assert schema(REQUESTS[door.name]).is_valid(body) == sound
    if sound:
        assert door.parse(json.dumps(body).encode()).model == "gate"
    else:
        with pytest.raises(RequestError):
            door.parse(json.dumps(body).encode())


def test_the_gated_doors_alone_take_an_idempotency_key() -> None:
    taking = {
        path for path, item in DOCUMENT["paths"].items() for op in item.values() if isinstance(op, dict)
        for named in op.get("parameters", ()) if named["name"] == "Idempotency-Key"
    }  # fmt: skip
    assert taking == {door.path for door in DOORS}
    for door in DOORS:
        assert {"409", "422"} <= DOCUMENT["paths"][door.path]["post"]["responses"].keys()


SHOWN = {"input_type": "response", "texts": ["Nigeria."], "structured_messages": [USER]}


@pytest.mark.parametrize("how", ["block", "replace"])
def test_what_a_guardrail_gives_is_what_is_told(how: str) -> None:
    for outcome in (outcome_of(GENERATION), outcome_of(None), outcome_of(CALLING), *(one[0] for one in ENDED.values())):
        for explain in (False, True):
            asked = GUARDRAIL.parse(dumps({**SHOWN, OPTIONS: {"explain": explain, "on_abstention": how}}))
            schema("GuardrailVerdict").validate(json.loads(dumps(GUARDRAIL.reply(asked, decided(outcome)))))
    schema("GuardrailVerdict").validate(NONE)


@pytest.mark.parametrize(
    ("fields", "sound"),
    [
        ({}, True),
        ({"input_type": "request", "request_data": {}, "litellm_version": "1", OPTIONS: None}, True),
        ({OPTIONS: {"gather": True, "on_abstention": "replace", "budget": {"calls": 1}, "policy": "strict"}}, True),
        ({"input_type": "both"}, False),
        ({"input_type": None}, False),
        ({"texts": "Nigeria."}, False),
        ({"litellm_call_id": "a" * 257}, False),
        ({OPTIONS: {"gather": "all"}}, False),
        ({OPTIONS: {"polcy": "strict"}}, False),
        ({OPTIONS: {"on_abstention": "pass"}}, False),
    ],
    ids=str,
)
def test_what_a_guardrail_takes_is_what_is_told(fields: dict[str, Any], sound: bool) -> None:
    body = {**SHOWN, **fields}
    assert schema("GuardrailRequest").is_valid(body) == sound
    if sound:
        assert GUARDRAIL.parse(json.dumps(body).encode()).model == "gate"
    else:
        with pytest.raises(RequestError):
            GUARDRAIL.parse(json.dumps(body).encode())


def test_feedback_names_a_decision_and_says_what_of_it() -> None:
    schema("Feedback").validate({"decision_id": "feed", "correct": None, "note": "n", "answer": "Nigeria"})
    for broken in ({"decision_id": "feed"}, {"correct": True}, {"decision_id": "", "correct": True}):
        with pytest.raises(jsonschema.ValidationError):
            schema("Feedback").validate(broken)
