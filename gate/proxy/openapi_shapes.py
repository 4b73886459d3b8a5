"""The schemas of what gate replies with, and of what it only passes on, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: str = "", **properties: Any) -> Schema:
    """An object that has at least these; ``required`` names those it never lacks, "" = all."""
    return {"type": "object", "required": required.split() or list(properties), "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(kind: str) -> Schema:
    return {"type": [kind, "null"]}


_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_ANY_OBJECT: Schema = {"type": "object"}
_CONTENT: Schema = {"anyOf": [{"type": "string"}, {"type": "null"}, _list(_ANY_OBJECT)]}
_DETAILS: Schema = {"type": "object", "additionalProperties": _COUNT}


def _constant(value: str) -> Schema:
    return {"const": value}


def _listing(items: Schema) -> Schema:
    return _object(object=_constant("list"), data=_list(items))


SCHEMAS: Schema = {
    "Gate": {
        "type": "object",
        "description": "The decision: whole where `gate.explain` asked for it, else action and reason wherever nothing "
        "was answered. Of several answers, `choices` holds each one's.",
        "properties": {
            "action": {"enum": ["answer", "clarify", "abstain"]},
            "reason": _or_null("string"),
            "hedged": {"type": "boolean"},
            "reference": _TEXT,
            "found": _list(_TEXT),
            "retracted": {"const": True, "description": "What had been streamed of an answer is withdrawn."},
            "choices": _list(_ANY_OBJECT),
            "confidence": _or_null("object"),
            "threshold": _or_null("number"),
            "steps": _list(_ANY_OBJECT),
            "passages": _list(_ANY_OBJECT),
            "cost": _ANY_OBJECT,
            "usage": _ANY_OBJECT,
        },
    },
    "Error": _object(
        "error",
        error=_object(message=_TEXT, type=_TEXT, param=_or_null("string"), code=_or_null("string")),
        gate=ref("Gate"),
    ),
    "MessagesError": _object(
        "type error",
        type=_constant("error"),
        error=_object("type message", type=_TEXT, message=_TEXT, details=_ANY_OBJECT),
        gate=ref("Gate"),
    ),
    "Usage": _object(
        "prompt_tokens completion_tokens total_tokens",
        prompt_tokens=_COUNT,
        completion_tokens=_COUNT,
        total_tokens=_COUNT,
        prompt_tokens_details=_DETAILS,
        completion_tokens_details=_DETAILS,
    ),
    "ChatTurn": _object(
        "role",
        role={"enum": ["system", "developer", "user", "assistant", "tool", "function"]},
        content=_CONTENT,
        tool_calls={"anyOf": [_list(_ANY_OBJECT), {"type": "null"}]},
        tool_call_id=_or_null("string"),
    ),
    "MessagesTurn": _object(
        role={"enum": ["user", "assistant", "system"]}, content={"anyOf": [_TEXT, _list(_ANY_OBJECT)]}
    ),
    "ChatCompletion": _object(
        "id object created model choices usage",
        id=_TEXT,
        object=_constant("chat.completion"),
        created=_COUNT,
        model=_TEXT,
        choices=_list(
            _object(
                index=_COUNT,
                message=_object(
                    "role content refusal",
                    role=_constant("assistant"),
                    content=_or_null("string"),
                    refusal=_or_null("string"),
                    tool_calls=_list(_ANY_OBJECT),
                    annotations=_list(_ANY_OBJECT),
                ),
                logprobs=_or_null("object"),
                finish_reason=_TEXT,
            )
        ),
        usage=ref("Usage"),
        gate=ref("Gate"),
    ),
    "Response": _object(
        "id object created_at status model output store usage",
        id=_TEXT,
        object=_constant("response"),
        created_at=_COUNT,
        status={"enum": ["completed", "incomplete"]},
        model=_TEXT,
        output=_list(_object("id type", id=_TEXT, type={"enum": ["message", "function_call"]})),
        store={"const": False},
        incomplete_details=_or_null("object"),
        usage=_object(input_tokens=_COUNT, output_tokens=_COUNT, total_tokens=_COUNT),
        gate=ref("Gate"),
    ),
    "Message": _object(
        "id type role model content stop_reason usage",
        id=_TEXT,
        type=_constant("message"),
        role=_constant("assistant"),
        model=_TEXT,
        content=_list(_object("type", type={"enum": ["text", "tool_use"]})),
        stop_reason={"enum": ["end_turn", "max_tokens", "tool_use", "refusal"]},
        stop_details=_or_null("object"),
        usage=_object(input_tokens=_COUNT, output_tokens=_COUNT),
        gate=ref("Gate"),
    ),
    "GuardrailVerdict": _object(
        "action",
        action={"enum": ["NONE", "GUARDRAIL_INTERVENED", "BLOCKED"]},
        texts=_list(_TEXT),
        blocked_reason=_TEXT,
        stream_holdback_chars=_list(_COUNT),
        gate=ref("Gate"),
    ),
    "PassedRequest": _object("model", model={"type": "string", "minLength": 1}),
    "Completion": _object("choices", choices=_list(_ANY_OBJECT), usage=ref("Usage")),
    "EmbeddingList": _object("data", data=_list(_ANY_OBJECT), usage=_ANY_OBJECT),
    "Model": _object(id=_TEXT, object=_constant("model"), created=_COUNT, owned_by=_TEXT),
    "ModelList": _listing(ref("Model")),
    "Feedback": {
        **_object(
            "decision_id correct",
            decision_id={"type": "string", "minLength": 1, "maxLength": 64},
            correct={"type": ["boolean", "null"], "description": "null where it cannot be told."},
            note=_or_null("string"),
            answer={"type": ["string", "null"], "description": "What would have been right."},
        ),
        "additionalProperties": False,
    },
    "FeedbackKept": _object(id=_TEXT, kept={"const": True}),
    "Health": _object(status=_constant("ok")),
    "Readiness": _object("status", status=_TEXT, policy=_TEXT, policy_fingerprint=_TEXT, certificate=_TEXT),
}
