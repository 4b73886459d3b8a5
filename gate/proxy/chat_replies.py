"""``POST /v1/chat/completions``: outcomes as a completion, or as its server-sent chunks. Pure.

An abstention is a normal completion whose text stands in ``message.refusal``, or where the policy wants it; a question
asked back, and an answer that is marked as unsure, stand in ``message.content``. Wherever nothing was answered, a
``gate`` object says why.

Of a stream that began before the verdict, what was sent of an answer that may not stand is withdrawn: the refusal
follows in ``delta.refusal``, the ``finish_reason`` is ``content_filter``, and ``gate.retracted`` is true.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gate.answer_shapes.looks import wire_tool_calls
from gate.proxy.json_wire import sse
from gate.proxy.request_fields import ChatRequest
from gate.proxy.spoken import PIECE, RefusalIn, finish, logprobs, refuses, tool_calls, withdrawn
from gate.proxy.url_citations import url_citations
from gate.proxy.verdicts import Decided, told, usage
from gate.proxy.wire_errors import WireError
from gate.types import Outcome

_KEYS: Mapping[RefusalIn, tuple[str, ...]] = {
    "refusal": ("refusal",),
    "content": ("content",),
    "both": ("content", "refusal"),
}
_DONE = b"data: [DONE]\n\n"


def completion(request: ChatRequest, decided: Sequence[Decided], refusal_in: RefusalIn = "refusal") -> dict[str, Any]:
    """The ``chat.completion`` object, with one choice for each answer."""
    made: dict[str, Any] = {
        "id": f"chatcmpl-{decided[0][1].id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [choice(request, outcome, place, refusal_in) for place, (outcome, _) in enumerate(decided)],
        "usage": usage(decided),
    }
    gate = told(decided, explain=request.explain)
    if gate is not None:
        made["gate"] = gate
    return made


def choice(request: ChatRequest, outcome: Outcome, place: int, refusal_in: RefusalIn = "refusal") -> dict[str, Any]:
    """One of its ``choices``."""
    return {
        "index": place,
        "message": _message(outcome, refusal_in),
        "logprobs": _logprobs(request, outcome),
        "finish_reason": finish(outcome),
    }


class ChatEvents:
    """Writes one stream. See `gate.proxy.doors.Events`."""

    def __init__(self, request: ChatRequest, stream_id: str) -> None:
        self._request = request
        self._sent = [""] * request.n
        self._envelope = {
            "id": f"chatcmpl-{stream_id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": request.model,
        }

    def begin(self) -> bytes:
        opening = {"role": "assistant", "content": ""}
        return b"".join(self._delta(opening, place) for place in range(self._request.n))

    def text(self, piece: str, index: int = 0) -> bytes:
        self._sent[index] += piece
        return self._delta({"content": piece}, index)

    def end(
        self, decided: Sequence[Decided], refusal_in: RefusalIn = "refusal", certificate: str = "none"
    ) -> Iterator[bytes]:
        return self._ended(decided, refusal_in, certificate)

    def whole(
        self, decided: Sequence[Decided], refusal_in: RefusalIn = "refusal", certificate: str | None = None
    ) -> Iterator[bytes]:
        for place, (outcome, _) in enumerate(decided):
            empty = None if refuses(outcome) and refusal_in == "refusal" else ""
            yield self._delta({"role": "assistant", "content": empty}, place)
        yield from self._ended(decided, refusal_in, certificate)

    def fail(self, error: WireError) -> bytes:
        return sse(error.body) + _DONE

    def _ended(self, decided: Sequence[Decided], refusal_in: RefusalIn, certificate: str | None) -> Iterator[bytes]:
        retracted = [place for place, (outcome, _) in enumerate(decided) if withdrawn(self._sent[place], outcome)]
        for place, (outcome, _) in enumerate(decided):
            yield from self._rest(outcome, place, refusal_in)
            if place < len(decided) - 1:
                yield self._closing(outcome, place, place in retracted)
        gate = told(decided, explain=self._request.explain, certificate=certificate)
        if retracted:
            gate = {**(gate or {}), "retracted": True}
        # a chunk without choices comes last where one is asked for, by whoever can be asked to expect it
        counted = self._request.include_usage or self._request.explain
        beside = {} if gate is None else {"gate": gate}
        last = len(decided) - 1
        yield self._closing(decided[last][0], last, last in retracted, {} if counted else beside)
        if counted:
            yield sse({**self._envelope, "choices": [], "usage": usage(decided), **beside})
        yield _DONE

    def _rest(self, outcome: Outcome, place: int, refusal_in: RefusalIn) -> Iterator[bytes]:
        """All of an answer that was not sent yet, but for how it ended."""
        if withdrawn(self._sent[place], outcome):
            keys, text = _KEYS["refusal"], outcome.text
        else:
            keys = _KEYS[refusal_in] if refuses(outcome) else _KEYS["content"]
            text = outcome.text[len(self._sent[place]) :]
        for piece in PIECE.findall(text):
            yield self._delta(dict.fromkeys(keys, piece), place)
        calls = wire_tool_calls(tool_calls(outcome))
        if calls:
            yield self._delta({"tool_calls": [{"index": at, **call} for at, call in enumerate(calls)]}, place)
        if cited := url_citations(outcome):
            yield self._delta({"annotations": cited}, place)

    def _closing(self, outcome: Outcome, place: int, retracted: bool, more: Mapping[str, Any] = {}) -> bytes:
        how = "content_filter" if retracted else finish(outcome)
        return self._delta({}, place, how, _logprobs(self._request, outcome), more)

    def _delta(
        self,
        delta: Mapping[str, Any],
        place: int,
        finish_reason: str | None = None,
        shown: Mapping[str, Any] | None = None,
        more: Mapping[str, Any] = {},
    ) -> bytes:
        choice = {"index": place, "delta": delta, "logprobs": shown, "finish_reason": finish_reason}
        return sse({**self._envelope, "choices": [choice], **more})


def _message(outcome: Outcome, refusal_in: RefusalIn) -> dict[str, Any]:
    if refuses(outcome):
        keys = _KEYS[refusal_in]
        said: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        return said | dict.fromkeys(keys, outcome.text)
    calls = wire_tool_calls(tool_calls(outcome))
    made: dict[str, Any] = {"role": "assistant", "content": outcome.text or (None if calls else ""), "refusal": None}
    if calls:
        made["tool_calls"] = calls
    if cited := url_citations(outcome):
        made["annotations"] = cited
    return made


def _logprobs(request: ChatRequest, outcome: Outcome) -> dict[str, Any] | None:
    listed = logprobs(request, outcome.generation)
    return None if listed is None else {"content": listed, "refusal": None}
