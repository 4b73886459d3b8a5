"""``POST /v1/messages``: an outcome as a message of Anthropic's API, or as its sequence of events; errors too. Pure.

An abstention is a message with the ``stop_reason`` ``refusal``: its text stands in the content, which is all that
clients show, and in ``stop_details.explanation``. Of a stream that began before the verdict, what was sent of an answer
that may not stand is withdrawn: the refusal follows as a block of its own, and ``gate.retracted`` is true.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from gate.proxy.json_wire import dumps, sse
from gate.proxy.request_fields import ChatRequest
from gate.proxy.spoken import PIECE, RefusalIn, finish, refuses, tool_calls, withdrawn
from gate.proxy.verdicts import Decided, told, total
from gate.proxy.wire_errors import ABSTENTION, WireError
from gate.types import Outcome, ToolCall

PING = sse({"type": "ping"}, "ping")
"""What keeps a stream alive in this dialect."""
_STOPPED = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_KINDS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def message(request: ChatRequest, decided: Sequence[Decided], refusal_in: RefusalIn = "refusal") -> dict[str, Any]:
    """The ``message`` object."""
    outcome, record = decided[0]
    calls = tool_calls(outcome)
    content: list[dict[str, Any]] = [_text_block(outcome.text)] if outcome.text or not calls else []
    content += [_tool_block(call, _input(call)) for call in calls]
    made = {
        **_opened(request, record.id),
        "content": content,
        **_stop(outcome, refusal_in),
        "usage": _usage(decided),
    }
    gate = told(decided, explain=request.explain)
    return made if gate is None else {**made, "gate": gate}


class MessageEvents:
    """Writes one stream. See `gate.proxy.doors.Events`."""

    def __init__(self, request: ChatRequest, stream_id: str) -> None:
        self._request = request
        self._opened = _opened(request, stream_id)
        self._sent = ""

    def begin(self) -> bytes:
        return _event("message_start", message={**self._opened, "usage": {"input_tokens": 0, "output_tokens": 0}})

    def text(self, piece: str, index: int = 0) -> bytes:
        if not piece:
            return b""
        opening = b"" if self._sent else _block_begins(0, _text_block(""))
        self._sent += piece
        return opening + _text_delta(0, piece)

    def end(
        self, decided: Sequence[Decided], refusal_in: RefusalIn = "refusal", certificate: str = "none"
    ) -> Iterator[bytes]:
        return self._ended(decided, refusal_in, certificate)

    def whole(
        self, decided: Sequence[Decided], refusal_in: RefusalIn = "refusal", certificate: str | None = None
    ) -> Iterator[bytes]:
        yield _event("message_start", message={**self._opened, "usage": _usage(decided) | {"output_tokens": 0}})
        yield from self._ended(decided, refusal_in, certificate)

    def fail(self, error: WireError) -> bytes:
        return sse(error_body(error), "error")

    def _ended(self, decided: Sequence[Decided], refusal_in: RefusalIn, certificate: str | None) -> Iterator[bytes]:
        outcome = decided[0][0]
        retracted = withdrawn(self._sent, outcome)
        calls = tool_calls(outcome)
        place = 0
        if retracted:
            yield _event("content_block_stop", index=place)
            place += 1
        if outcome.text or not calls:
            if not self._sent or retracted:
                yield _block_begins(place, _text_block(""))
            for piece in PIECE.findall(outcome.text if retracted else outcome.text[len(self._sent) :]):
                yield _text_delta(place, piece)
            yield _event("content_block_stop", index=place)
            place += 1
        for at, call in enumerate(calls, place):
            yield _block_begins(at, _tool_block(call, {}))
            given = dumps(_input(call)).decode()
            yield _event("content_block_delta", index=at, delta={"type": "input_json_delta", "partial_json": given})
            yield _event("content_block_stop", index=at)
        gate = told(decided, explain=self._request.explain, certificate=certificate)
        if retracted:
            gate = {**(gate or {}), "retracted": True}
        delta = _stop(outcome, refusal_in) | ({"stop_reason": "refusal"} if retracted else {})
        more = {} if gate is None else {"gate": gate}
        yield _event("message_delta", delta=delta, usage=_usage(decided), **more)
        yield _event("message_stop")


def error_body(error: WireError) -> dict[str, Any]:
    """As Anthropic has errors; ``error.details.error_code`` is gate's word for it."""
    if error.type == ABSTENTION:
        kind = ABSTENTION
    else:
        kind = _KINDS.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    said: dict[str, Any] = {"type": kind, "message": error.message}
    if error.code is not None:
        said["details"] = {"error_code": error.code}
    made = {"type": "error", "error": said}
    return made if error.gate is None else {**made, "gate": error.gate}


def _opened(request: ChatRequest, stream_id: str) -> dict[str, Any]:
    """The message before anything is said."""
    return {
        "id": f"msg_{stream_id}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


def _block_begins(place: int, block: Mapping[str, Any]) -> bytes:
    return _event("content_block_start", index=place, content_block=block)


def _text_delta(place: int, piece: str) -> bytes:
    return _event("content_block_delta", index=place, delta={"type": "text_delta", "text": piece})


def _text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "citations": None}


def _tool_block(call: ToolCall, given: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": given}


def _input(call: ToolCall) -> dict[str, Any]:
    """What the tool is called with. A model may write no JSON object: then as it is, under ``arguments``."""
    try:
        given = orjson.loads(call.arguments or "{}")
    except orjson.JSONDecodeError:
        given = None
    return given if isinstance(given, dict) else {"arguments": call.arguments}


def _stop(outcome: Outcome, refusal_in: RefusalIn) -> dict[str, Any]:
    if not refuses(outcome):
        return {"stop_reason": _STOPPED.get(finish(outcome), "end_turn"), "stop_sequence": None}
    explained = None if refusal_in == "content" else outcome.text
    details = {"type": "refusal", "category": None, "explanation": explained}
    return {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}


def _usage(decided: Sequence[Decided]) -> dict[str, Any]:
    cost = total(decided)
    return {
        "input_tokens": cost.prompt_tokens,
        "output_tokens": cost.completion_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }
