"""``POST /v1/responses``: an outcome as a response object, or as its sequence of events. Pure.

An abstention is a completed response whose message holds a ``refusal`` part. Of a stream that began before the verdict,
what was sent of an answer that may not stand is withdrawn: a ``refusal`` part follows, the finished message holds that
text no more, and ``gate.retracted`` is true.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gate.proxy.json_wire import sse
from gate.proxy.request_fields import ChatRequest
from gate.proxy.spoken import PIECE, RefusalIn, finish, logprobs, refuses, tool_calls, withdrawn
from gate.proxy.url_citations import url_citations
from gate.proxy.verdicts import Decided, told, total
from gate.proxy.wire_errors import WireError
from gate.types import Outcome

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_UNSAID: Mapping[str, Any] = {
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "usage": None,
    "user": None,
}
_PARTS: Mapping[RefusalIn, tuple[str, ...]] = {
    "refusal": ("refusal",),
    "content": ("output_text",),
    "both": ("output_text", "refusal"),
}


def response(request: ChatRequest, decided: Sequence[Decided], refusal_in: RefusalIn = "refusal") -> dict[str, Any]:
    """The ``response`` object."""
    outcome, record = decided[0]
    parts = _parts(request, outcome, refusal_in)
    message = [_message(record.id, parts, _status(outcome))] if parts else []
    output = [*message, *_calls(record.id, outcome)]
    return _finished(_opened(request, record.id), request, decided, output)


class ResponseEvents:
    """Writes one stream. See `gate.proxy.doors.Events`."""

    def __init__(self, request: ChatRequest, stream_id: str) -> None:
        self._request = request
        self._id = stream_id
        self._opened = _opened(request, stream_id)
        self._number = -1
        self._sent = ""

    def begin(self) -> bytes:
        return self._event("response.created", response=self._opened) + self._event(
            "response.in_progress", response=self._opened
        )

    def text(self, piece: str, index: int = 0) -> bytes:
        if not piece:
            return b""
        opening = b"" if self._sent else self._message_begins() + self._part_begins(0, _text_part(""))
        self._sent += piece
        return opening + self._text_delta(piece)

    def end(
        self, decided: Sequence[Decided], refusal_in: RefusalIn = "refusal", certificate: str = "none"
    ) -> Iterator[bytes]:
        return self._ended(decided, refusal_in, certificate)

    def whole(
        self, decided: Sequence[Decided], refusal_in: RefusalIn = "refusal", certificate: str | None = None
    ) -> Iterator[bytes]:
        yield self.begin()
        yield from self._ended(decided, refusal_in, certificate)

    def fail(self, error: WireError) -> bytes:
        said = {"code": error.code or error.type, "message": error.message}
        beside = {} if error.gate is None else {"gate": error.gate}
        failed = {**self._opened, "status": "failed", "error": said, **beside}
        return self._event("response.failed", response=failed) + self._event("error", **said, param=error.param)

    def _ended(self, decided: Sequence[Decided], refusal_in: RefusalIn, certificate: str | None) -> Iterator[bytes]:
        outcome = decided[0][0]
        retracted = withdrawn(self._sent, outcome)
        taken_back = [_text_part(""), {"type": "refusal", "refusal": outcome.text}]
        parts = taken_back if retracted else _parts(self._request, outcome, refusal_in)
        output: list[dict[str, Any]] = []
        if parts:
            if not self._sent:
                yield self._message_begins()
            for place, part in enumerate(parts):
                yield from self._part(place, part, retracted)
            output.append(_message(self._id, parts, _status(outcome)))
            yield self._event("response.output_item.done", output_index=0, item=output[0])
        for call in _calls(self._id, outcome):
            yield from self._call(len(output), call)
            output.append(call)
        finished = _finished(self._opened, self._request, decided, output, certificate)
        if retracted:
            finished["gate"] = {**finished.get("gate", {}), "retracted": True}
        yield self._event(f"response.{finished['status']}", response=finished)

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return sse({"type": kind, "sequence_number": self._number, **fields}, kind)

    def _message_begins(self) -> bytes:
        item = _message(self._id, [], "in_progress")
        return self._event("response.output_item.added", output_index=0, item=item)

    def _at(self, place: int) -> dict[str, Any]:
        return {"item_id": f"msg_{self._id}", "output_index": 0, "content_index": place}

    def _part_begins(self, place: int, empty: Mapping[str, Any]) -> bytes:
        return self._event("response.content_part.added", **self._at(place), part=empty)

    def _text_delta(self, piece: str) -> bytes:
        return self._event("response.output_text.delta", **self._at(0), delta=piece, logprobs=[])

    def _part(self, place: int, part: Mapping[str, Any], retracted: bool) -> Iterator[bytes]:
        """What is left to say of a part, and its end."""
        at = self._at(place)
        if part["type"] == "refusal":
            yield self._part_begins(place, {"type": "refusal", "refusal": ""})
            for piece in PIECE.findall(part["refusal"]):
                yield self._event("response.refusal.delta", **at, delta=piece)
            yield self._event("response.refusal.done", **at, refusal=part["refusal"])
        else:
            if not self._sent:
                yield self._part_begins(place, _text_part(""))
            for piece in () if retracted else PIECE.findall(part["text"][len(self._sent) :]):
                yield self._text_delta(piece)
            for number, cited in enumerate(part["annotations"]):
                added = {"annotation_index": number, "annotation": cited}
                yield self._event("response.output_text.annotation.added", **at, **added)
            text = self._sent if retracted else part["text"]
            yield self._event("response.output_text.done", **at, text=text, logprobs=part["logprobs"])
        yield self._event("response.content_part.done", **at, part=part)

    def _call(self, place: int, call: Mapping[str, Any]) -> Iterator[bytes]:
        at = {"item_id": call["id"], "output_index": place}
        empty = {**call, "arguments": "", "status": "in_progress"}
        yield self._event("response.output_item.added", output_index=place, item=empty)
        yield self._event("response.function_call_arguments.delta", **at, delta=call["arguments"])
        done = {"name": call["name"], "arguments": call["arguments"]}
        yield self._event("response.function_call_arguments.done", **at, **done)
        yield self._event("response.output_item.done", output_index=place, item=call)


def _opened(request: ChatRequest, stream_id: str) -> dict[str, Any]:
    """The response before anything is said."""
    effort = request.question.options.get("reasoning_effort")
    return {
        **_UNSAID,
        **request.repeated,
        "reasoning": {"effort": effort, "summary": None},
        "id": f"resp_{stream_id}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "model": request.model,
        "output": [],
    }


def _finished(
    opened: Mapping[str, Any],
    request: ChatRequest,
    decided: Sequence[Decided],
    output: list[dict[str, Any]],
    certificate: str | None = None,
) -> dict[str, Any]:
    why = _INCOMPLETE.get(finish(decided[0][0]))
    made = {
        **opened,
        "status": "incomplete" if why else "completed",
        "incomplete_details": {"reason": why} if why else None,
        "output": output,
        "usage": _usage(decided),
    }
    if not why:
        made["completed_at"] = int(time.time())
    gate = told(decided, explain=request.explain, certificate=certificate)
    return made if gate is None else {**made, "gate": gate}


def _usage(decided: Sequence[Decided]) -> dict[str, Any]:
    cost = total(decided)
    return {
        "input_tokens": cost.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": cost.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": cost.tokens,
    }


def _status(outcome: Outcome) -> str:
    return "incomplete" if finish(outcome) in _INCOMPLETE else "completed"


def _message(stream_id: str, parts: Sequence[Mapping[str, Any]], status: str) -> dict[str, Any]:
    return {
        "id": f"msg_{stream_id}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": list(parts),
    }


def _text_part(text: str, annotations: Sequence[Any] = (), shown: Sequence[Any] = ()) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": list(shown)}


def _parts(request: ChatRequest, outcome: Outcome, refusal_in: RefusalIn) -> list[dict[str, Any]]:
    """What the message holds; nothing where there are only calls."""
    if refuses(outcome):
        made = {"refusal": {"type": "refusal", "refusal": outcome.text}, "output_text": _text_part(outcome.text)}
        return [made[kind] for kind in _PARTS[refusal_in]]
    if not outcome.text and tool_calls(outcome):
        return []
    cited = [{"type": "url_citation", **each["url_citation"]} for each in url_citations(outcome)]
    return [_text_part(outcome.text, cited, logprobs(request, outcome.generation) or ())]


def _calls(stream_id: str, outcome: Outcome) -> list[dict[str, Any]]:
    return [
        {
            "id": f"fc_{stream_id}_{place}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }
        for place, call in enumerate(tool_calls(outcome))
    ]
