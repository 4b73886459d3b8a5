"""The OpenAPI 3.1 document of the server: requests as the doors check them, and what they reply with.

Requests may hold more fields than are told here: those are forwarded to the upstream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from gate.proxy.chat_requests import ChatFields
from gate.proxy.guardrail_requests import GuardrailFields
from gate.proxy.messages_requests import MessagesFields
from gate.proxy.openapi_shapes import SCHEMAS, Schema, ref
from gate.proxy.responses_requests import ResponsesFields

_TEMPLATE = "#/components/schemas/{model}"
_JSON, _EVENTS = "application/json", "text/event-stream"
_REFUSALS: Mapping[int, str] = {
    400: "What was sent cannot be used; `param` names the field.",
    401: "No key, or none that is known.",
    403: "The key may not do this.",
    404: "There is no such model, or no such thing.",
    408: "The request took too long to arrive.",
    413: "The body is too large.",
    429: "Too much in too short a time; `Retry-After` says when to come again.",
    500: "A fault of gate's own.",
    502: "The upstream failed.",
    503: "Too much is under way, or the upstream fails; `Retry-After` says when to come again.",
    504: "The upstream did not answer in time.",
}
_UNASKED = "The question that this answers is not known, or several are."
_ABSTAINED = "gate abstained, and the policy or the request prefers an error to a refusal."
_DECISION = {
    "x-gate-action": "What was done: answer, clarify or abstain; of several answers, each in order.",
    "x-gate-reason": "A stable word for why.",
    "x-gate-confidence": "The calibrated probability that the answer is right.",
    "x-gate-policy": "The policy's name and the start of its fingerprint.",
    "x-gate-certificate": "certified; none; or void, and why.",
    "x-gate-decision-id": "Under which the decision is logged, and fed back on.",
    "x-gate-idempotent-replay": "true: this is the response to an earlier request with the same idempotency key.",
}
_ONCE = (
    "1 to 255 visible ASCII characters. A request that comes again under the same key is answered once and charged "
    "once: it gets the response of the first."
)
_NOT_TWICE = "The first request with this idempotency key is under way for too long, or its response was not kept."
_REUSED = "Or: the idempotency key was used for another request."
_KEYED: list[dict[str, list[str]]] = [{"bearer": []}]
_KEYED_EITHER_WAY: list[dict[str, list[str]]] = [{"x-api-key": []}, {"bearer": []}]
_OPEN: list[dict[str, list[str]]] = []


@cache
def document(version: str) -> Schema:
    """The whole document. It is shared: do not change it."""
    schemas = {**SCHEMAS, **_requests()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gate",
            "version": version,
            "summary": "A selective-answering gateway: answers come through only when they are probably right.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": _KEYED,
        "paths": {**_gated(), **_passed_through(), **_own()},
        "components": {
            "schemas": schemas,
            "headers": {name: {"description": said, "schema": {"type": "string"}} for name, said in _DECISION.items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _gated() -> Schema:
    decided = {name: {"$ref": f"#/components/headers/{name}"} for name in _DECISION}

    def door(request: str, reply: str, error: str, said: str) -> Schema:
        streamed = {"schema": {"description": "Server-sent events, where `stream` is true."}}
        answered = {
            "description": "What was decided, whether answered, asked back or refused.",
            "headers": decided,
            "content": {_JSON: {"schema": ref(reply)}, _EVENTS: streamed},
        }
        refused = {
            **_refusals(error),
            "409": _reply(_NOT_TWICE, error),
            "422": _reply(f"{_ABSTAINED} {_REUSED}", error),
        }
        made = _operation(said, {"200": answered, **refused}, request)
        key = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        made["parameters"] = [{"name": "Idempotency-Key", "in": "header", "description": _ONCE, "schema": key}]
        return made

    messages = door("MessagesRequest", "Message", "MessagesError", "Answer a conversation, in Anthropic's dialect.")
    guardrail = door("GuardrailRequest", "GuardrailVerdict", "Error", "Judge an answer for LiteLLM's guardrail API.")
    never = {name: each for name, each in decided.items() if name != "x-gate-idempotent-replay"}
    guardrail["responses"] |= {"200": _judged(never), "409": _reply(_UNASKED, "Error")}
    del guardrail["responses"]["422"], guardrail["parameters"]
    return {
        "/v1/chat/completions": {
            "post": door("ChatRequest", "ChatCompletion", "Error", "Answer a conversation, in OpenAI's chat dialect.")
        },
        "/v1/responses": {
            "post": door("ResponsesRequest", "Response", "Error", "Answer, in the dialect of OpenAI's Responses API.")
        },
        "/v1/messages": {"post": {**messages, "security": _KEYED_EITHER_WAY}},
        "/beta/litellm_basic_guardrail_api": {"post": {**guardrail, "security": _KEYED_EITHER_WAY}},
    }


def _judged(headers: Schema) -> Schema:
    said = "What is to become of the answer; of a request, that it may go on."
    return {**_reply(said, "GuardrailVerdict"), "headers": headers}


def _passed_through() -> Schema:
    def passed(said: str, reply: str) -> Schema:
        content = {_JSON: {"schema": ref(reply)}, _EVENTS: {"schema": {"description": "The upstream's events."}}}
        answered = {"description": "The upstream's reply, as it came.", "content": content}
        rest = {"description": "The upstream's error, with its status.", "content": {_JSON: {"schema": ref("Error")}}}
        return _operation(said, {"200": answered, **_refusals("Error"), "default": rest}, "PassedRequest")

    return {
        "/v1/completions": {"post": passed("Passed through to an upstream; nothing is judged.", "Completion")},
        "/v1/embeddings": {"post": passed("Passed through to an embedder; nothing is judged.", "EmbeddingList")},
    }


def _own() -> Schema:
    refused = _refusals("Error")
    named = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    ready = {
        "200": _reply("It answers.", "Readiness"),
        "503": _reply("It does not: what it decides could not be logged.", "Readiness"),
    }
    exposed = {
        "200": {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    }
    feedback = {"200": _reply("It is kept.", "FeedbackKept"), **refused}
    return {
        "/v1/models": {"get": _operation("The models this key may name.", {"200": _reply("", "ModelList"), **refused})},
        "/v1/models/{model}": {
            "get": {**_operation("One of them.", {"200": _reply("", "Model"), **refused}), "parameters": [named]}
        },
        "/v1/feedback": {"post": _operation("Say whether a decision's answer was right.", feedback, "Feedback")},
        "/healthz": {"get": _unkeyed("Whether it runs.", {"200": _reply("It runs.", "Health")})},
        "/readyz": {"get": _unkeyed("Whether it can answer; to a key that may know, how promises stand.", ready)},
        "/metrics": {"get": _operation("Counters and gauges.", {**exposed, **refused})},
    }


def _operation(said: str, responses: Schema, request: str = "") -> Schema:
    made: Schema = {"summary": said, "responses": responses}
    if request:
        made["requestBody"] = {"required": True, "content": {_JSON: {"schema": ref(request)}}}
    return made


def _unkeyed(said: str, responses: Schema) -> Schema:
    return {**_operation(said, responses), "security": _OPEN}


def _reply(said: str, schema: str) -> Schema:
    return {"description": said, "content": {_JSON: {"schema": ref(schema)}}}


def _refusals(shape: str) -> Schema:
    return {str(status): _reply(said, shape) for status, said in _REFUSALS.items()}


# --- requests: what pydantic checks, as it tells it itself -------------------------------------------------------

_MODELS: Mapping[str, type[BaseModel]] = {
    "ChatRequest": ChatFields,
    "ResponsesRequest": ResponsesFields,
    "MessagesRequest": MessagesFields,
    "GuardrailRequest": GuardrailFields,
}
_TURNS: Mapping[str, tuple[str, ...]] = {"ChatRequest": ("messages",), "MessagesRequest": ("messages",)}


def _requests() -> Schema:
    made: Schema = {}
    for name, model in _MODELS.items():
        schema = model.model_json_schema(ref_template=_TEMPLATE)
        made |= {inner: _plain(each) for inner, each in schema.pop("$defs", {}).items()}
        made[name] = _plain(schema)
        for field in _TURNS.get(name, ()):
            made[name]["properties"][field]["items"] = ref("ChatTurn" if name == "ChatRequest" else "MessagesTurn")
    return made


def _plain(schema: Any) -> Any:
    """Without the titles and defaults that pydantic makes up."""
    if isinstance(schema, dict):
        return dict(_kept(schema))
    return [_plain(item) for item in schema] if isinstance(schema, list) else schema


def _kept(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in schema.items():
        if name == "properties":
            yield name, {field: _plain(each) for field, each in value.items()}
        elif not (name == "title" or (name == "default" and value is None)):
            yield name, _plain(value)
