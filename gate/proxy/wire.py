"""OpenAI JSON in and out: requests to questions, outcomes to completions and SSE, errors to status and body. Pure.

A request's unknown fields are kept and forwarded to the upstream; the ``gate`` object is consumed here. Known fields
must have their JSON type: ``"1"``, ``true`` and ``2.0`` are no integers. A null is a field that was left out. An
abstention is a normal completion whose text stands in ``message.refusal``; a question asked back, and an answer that is
marked as unsure, stand in ``message.content``. Wherever nothing was answered, a ``gate`` object says why.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.errors import ConfigError, GateError, RequestError, UnknownName, UpstreamError, UpstreamTimeout
from gate.log.explain import beside, explanation, sources
from gate.proxy.url_citations import url_citations
from gate.traces import TraceRecord
from gate.types import Action, Budget, Generation, Message, Outcome, Question, TokenLogprob

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_OURS = frozenset({"messages", "model", "stream", "stream_options", "n", "gate"})
_PIECE = re.compile(r"\s*\S+|\s+")
_BEYOND_CONTEXT = re.compile(
    r"context[ _-]?(length|window|size)|(maximum|max) (context|model length)|too many (input )?tokens"
    r"|token count\b.{0,40}\bexceeds"
    r"|\b(prompt|inputs?|messages?|conversation)\b.{0,40}\b(is|are|was) (too long|longer than)",
    re.IGNORECASE,
)
"""How servers say that the conversation does not fit into the model's context."""
MAX_DEPTH = 64
"""Levels of objects and lists in a request, the body itself included. The deepest tool schemas have about twenty."""


# --- requests ----------------------------------------------------------------------------------------------------


class GateFields(BaseModel):
    """The ``gate`` object of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    class BudgetFields(BaseModel):
        """The most this question may cost; it may tighten the policy's budget, never loosen it."""

        model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

        calls: int | None = Field(default=None, ge=1)
        tokens: int | None = Field(default=None, ge=1)
        seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
        money: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    explain: bool | None = None
    budget: BudgetFields | None = None


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    include_usage: bool | None = None


class ChatFields(BaseModel):
    """What gate itself looks at; everything else is forwarded as it came.

    Strict, because the fields are forwarded as they came too: what a lax reading would convert, nothing converts later.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    model: str
    messages: list[dict[str, Any]] = Field(min_length=1)
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    gate: GateFields | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    model: str
    question: Question
    budget: Budget
    stream: bool
    include_usage: bool
    explain: bool
    logprobs: int | None
    """Alternatives a token the caller wants to see; None = no log-probabilities."""


def parse_chat_request(body: bytes) -> ChatRequest:
    """Raises `RequestError` for anything that is no usable request, and nothing else."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise RequestError("the body must be a JSON object")
    if _too_deep(data):
        raise RequestError(f"the body is nested too deep: at most {MAX_DEPTH} levels of objects and lists are taken")
    try:
        fields = ChatFields.model_validate(data)
    except ValidationError as error:
        raise _refused(error) from error
    messages = tuple(_message(raw, place) for place, raw in enumerate(fields.messages))
    if not any(m.role == "user" for m in messages):
        raise RequestError("messages hold no user message: there is nothing to answer", param="messages")
    if not any(m.role == "user" and (m.content.strip() or m.wire) for m in messages):
        raise RequestError("every user message is empty: there is nothing to answer", param="messages")
    ours = fields.gate or GateFields()
    options = {key: value for key, value in data.items() if key not in _OURS and value is not None}
    return ChatRequest(
        model=fields.model,
        question=Question(messages, options),
        budget=Budget(**ours.budget.model_dump()) if ours.budget else Budget(),
        stream=bool(fields.stream),
        include_usage=bool(fields.stream_options and fields.stream_options.include_usage),
        explain=bool(ours.explain),
        logprobs=(fields.top_logprobs or 0) if fields.logprobs else None,
    )


def _too_deep(data: Any) -> bool:
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def _refused(error: ValidationError) -> RequestError:
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"])
    if first["loc"][0] == "n":
        return RequestError("n must be 1: gate judges one answer at a time", param="n")
    if first["type"] == "extra_forbidden":
        known = GateFields.BudgetFields if "budget" in first["loc"] else GateFields
        return RequestError(str(UnknownName("field", str(first["loc"][-1]), known.model_fields)), param=param)
    return RequestError(f"{param}: {first['msg']}", param=param)


def _message(raw: Mapping[str, Any], place: int) -> Message:
    param = f"messages.{place}"
    role, content = raw.get("role"), raw.get("content")
    if not isinstance(role, str) or role not in _ROLES:
        raise RequestError(f"{param}.role must be one of {', '.join(_ROLES)}", param=f"{param}.role")
    if isinstance(content, str):
        return Message(role, content, None if raw.keys() == {"role", "content"} else raw)
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        parts = [part.get("text") for part in content if part.get("type") == "text"]
        if all(isinstance(part, str) for part in parts):
            only_blank_text = len(parts) == len(content) and not "".join(map(str, parts)).strip()
            return Message(role, "\n".join(map(str, parts)), None if only_blank_text else raw)
    if content is None and role != "user":
        return Message(role, "", raw)
    raise RequestError(f"{param}.content must be text or a list of parts", param=f"{param}.content")


# --- answers -----------------------------------------------------------------------------------------------------


def completion(request: ChatRequest, outcome: Outcome, record: TraceRecord) -> dict[str, Any]:
    """The ``chat.completion`` object."""
    made = {
        **_envelope(request, record, "chat.completion"),
        "choices": [
            {
                "index": 0,
                "message": _answer(outcome),
                "logprobs": _logprobs(request, outcome.generation),
                "finish_reason": _finish(outcome),
            }
        ],
        "usage": usage(outcome),
    }
    return made | _told(request, outcome, record)


def _explained(outcome: Outcome, record: TraceRecord) -> dict[str, Any]:
    return {**explanation(record), "passages": sources(outcome)}


def _told(request: ChatRequest, outcome: Outcome, record: TraceRecord) -> dict[str, Any]:
    """The ``gate`` object: the whole decision where it was asked for, and why, wherever nothing was answered."""
    if request.explain:
        return {"gate": _explained(outcome, record)}
    if outcome.answered:
        return {}
    return {"gate": {"action": outcome.action.value, "reason": outcome.decision.reason, **beside(outcome)}}


def chunks(request: ChatRequest, outcome: Outcome, record: TraceRecord) -> Iterator[bytes]:
    """The same as server-sent events, word by word, ``[DONE]`` last."""
    envelope = _envelope(request, record, "chat.completion.chunk")
    key = _key(outcome)

    def event(delta: Mapping[str, Any], finish: str | None = None, told: Mapping[str, Any] = {}, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({**envelope, "choices": [choice | more], **told})

    yield event({"role": "assistant", "content": "" if key == "content" else None})
    for piece in _PIECE.findall(outcome.text):
        yield event({key: piece})
    calls = _tool_calls(outcome.generation)
    if calls:
        yield event({"tool_calls": [{"index": place, **call} for place, call in enumerate(calls)]})
    if cited := url_citations(outcome):
        yield event({"annotations": cited})
    shown = _logprobs(request, outcome.generation)
    told = {} if request.explain else _told(request, outcome, record)
    yield event({}, _finish(outcome), told, **({"logprobs": shown} if shown else {}))
    if request.include_usage or request.explain:
        closing = {"choices": [], "usage": usage(outcome)}
        yield _event({**envelope, **closing, **({"gate": _explained(outcome, record)} if request.explain else {})})
    yield b"data: [DONE]\n\n"


def usage(outcome: Outcome) -> dict[str, Any]:
    """Every token any upstream read or wrote for this answer, not only those of the text returned."""
    cost = outcome.cost
    return {
        "prompt_tokens": cost.prompt_tokens,
        "completion_tokens": cost.completion_tokens,
        "total_tokens": cost.tokens,
    }


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + dumps(data) + b"\n\n"


def dumps(data: Any, option: int | None = None) -> bytes:
    """JSON for the wire. A lone surrogate, which some models emit and JSON cannot hold, becomes a question mark."""
    try:
        return orjson.dumps(data, option=option)
    except TypeError:
        return orjson.dumps(_sound(data), option=option)


def _sound(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_sound(k): _sound(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_sound(item) for item in value]
    return value


def _envelope(request: ChatRequest, record: TraceRecord, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{record.id}", "object": kind, "created": int(time.time()), "model": request.model}


def _key(outcome: Outcome) -> str:
    """Where the text stands in a message: a question asked back and an unsure answer are no refusals."""
    return "refusal" if outcome.action is Action.ABSTAIN and not outcome.hedged else "content"


def _answer(outcome: Outcome) -> dict[str, Any]:
    if _key(outcome) == "refusal":
        return {"role": "assistant", "content": None, "refusal": outcome.text}
    calls = _tool_calls(outcome.generation)
    content = outcome.text or (None if calls else "")
    cited = url_citations(outcome)
    return {
        "role": "assistant",
        "content": content,
        "refusal": None,
        **({"tool_calls": calls} if calls else {}),
        **({"annotations": cited} if cited else {}),
    }


def _tool_calls(generation: Generation | None) -> list[dict[str, Any]]:
    calls = generation.tool_calls if generation else ()
    return [{"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in calls]


def _finish(outcome: Outcome) -> str:
    return outcome.generation.finish_reason if outcome.generation else "stop"


def _logprobs(request: ChatRequest, generation: Generation | None) -> dict[str, Any] | None:
    if request.logprobs is None or generation is None or generation.tokens is None:
        return None
    return {"content": [_token(token, request.logprobs) for token in generation.tokens], "refusal": None}


def _token(token: TokenLogprob, alternatives: int) -> dict[str, Any]:
    def shown(text: str, logprob: float) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace"))}

    listed = [shown(text, logprob) for text, logprob in token.top[:alternatives]]
    return {**shown(token.token, token.logprob), "top_logprobs": listed}


def headers(policy: str, certificate: str, record: TraceRecord | None, outcome: Outcome | None) -> dict[str, str]:
    """The decision in response headers. Values are printable ASCII whatever they are made of."""
    made = {"x-gate-policy": policy, "x-gate-certificate": certificate}
    if record is not None:
        made["x-gate-decision-id"] = record.id
    if outcome is not None:
        made["x-gate-action"] = outcome.action.value
        made["x-gate-reason"] = outcome.decision.reason
        if outcome.hedged:
            made["x-gate-hedged"] = "true"
        if outcome.reference:
            made["x-gate-reference"] = outcome.reference
        if outcome.confidence is not None:
            made["x-gate-confidence"] = f"{outcome.confidence.p:.4f}"
    return {name: re.sub(r"[^ -~]", "?", value) for name, value in made.items()}


# --- errors ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as HTTP has it."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def wire_error(error: GateError) -> WireError:
    """The one place where errors get an HTTP status."""
    match error:
        case RequestError():
            code = error.code or ("model_not_found" if error.status == 404 else None)
            return _wire(error.status, str(error), "invalid_request_error", code, error.param)
        case UpstreamTimeout():
            return _wire(504, error.in_full, "upstream_error", "upstream_timeout")
        case UpstreamError(status=429):
            after = {"retry-after": str(max(1, round(error.retry_after)))} if error.retry_after is not None else {}
            return _wire(429, error.in_full, "upstream_error", "rate_limit_exceeded", more=after)
        case UpstreamError(status=400 | 413 | 422) if _BEYOND_CONTEXT.search(error.in_full):
            return _wire(400, error.in_full, "invalid_request_error", "context_length_exceeded", "messages")
        case UpstreamError(status=400 | 413 | 422):  # what the caller sent: not to be tried again as it is
            return _wire(400, error.in_full, "invalid_request_error", "upstream_refused")
        case UpstreamError():
            return _wire(502, error.in_full, "upstream_error", "upstream_error")
        case ConfigError():
            return _wire(500, str(error), "server_error", "configuration_error")
        case _:
            return _wire(500, str(error), "server_error", "gate_error")


def _wire(
    status: int,
    message: str,
    kind: str,
    code: str | None,
    param: str | None = None,
    more: dict[str, str] | None = None,
) -> WireError:
    return WireError(
        status, {"error": {"message": message, "type": kind, "param": param, "code": code}}, dict(more or {})
    )
