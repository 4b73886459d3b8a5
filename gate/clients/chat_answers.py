"""What a wrapped client gives back: its own reply where that was let through, and else one in its likeness. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from gate.answer_shapes import Read
from gate.answer_shapes.chat import ChatCompletion
from gate.answer_shapes.looks import field, plain, written_anew
from gate.answer_shapes.structured import made
from gate.clients.gating import Judged
from gate.decorator.decided import Decided
from gate.decorator.writers import signed, writer_of
from gate.errors import UpstreamError
from gate.proxy.chat_replies import choice
from gate.proxy.request_fields import ChatRequest
from gate.proxy.spoken import PIECE, RefusalIn, refuses
from gate.types import Cost, Generation, Outcome

_SHAPE = ChatCompletion()


def read_reply(reply: object, upstream: str) -> Read:
    """Raises `UpstreamError` where it is no completion."""
    try:
        return _SHAPE.read(reply)
    except ValueError as error:
        raise UpstreamError(upstream, f"gave its client a reply that cannot be judged: {error}") from error


def judged_reply(
    reply: Any,
    drafts: Sequence[Generation],
    judged: Sequence[Judged],
    request: ChatRequest,
    refusal_in: RefusalIn,
    kind: Any = None,
) -> Any:
    """The completion with every choice as its verdict has it. Its ``id`` and ``usage`` stay its own; ``model`` is
    who wrote the first of them.

    ``kind``: the type that answers are parsed into, if they are. Raises `UpstreamError` where an answer that another
    model gave does not fit into it.
    """
    data = plain(reply)
    listed = [choice(request, outcome, place, refusal_in) for place, (outcome, _) in enumerate(judged)]
    if kind is not None:
        for each, (outcome, _) in zip(listed, judged, strict=True):
            each["message"]["parsed"] = None if _is_own(outcome, drafts) else _parsed(kind, outcome)
    anew = written_anew(reply, {**data, "choices": listed}, "choices")
    choices = [
        _as_asked(reply.choices[place], request) if _is_own(outcome, drafts) else field(anew, "choices")[place]
        for place, (outcome, _) in enumerate(judged)
    ]
    return signed(reply.model_copy(update={"choices": choices}), _writer(drafts, judged[0]))


def mark(reply: Any, decided: Sequence[Decided[Any]], seconds: float) -> None:
    """Let a reply and its choices tell of their decisions, by an attribute that is no field: it goes into no JSON.

    That of the reply is the first choice's, with the cost of all, which took so many ``seconds`` together.
    """
    whole = decided[0] if len(decided) == 1 else _at_the_cost_of_all(decided, seconds)
    for where, decision in ((reply, whole), *zip(reply.choices, decided, strict=True)):
        object.__setattr__(where, "gate", decision)


def _at_the_cost_of_all(decided: Sequence[Decided[Any]], seconds: float) -> Decided[Any]:
    first, cost = decided[0], replace(sum((each.cost for each in decided), Cost()), seconds=seconds)
    outcome = replace(first.outcome, cost=cost)
    return replace(first, outcome=outcome, trace=replace(first.trace, outcome=outcome, cost=cost))


def chunks(reply: Any, *, include_usage: bool) -> Iterator[dict[str, Any]]:
    """A completion as what streams it. Its words come one by one; all else of a message comes at its beginning."""
    data = plain(reply)
    choices, usage = data.pop("choices"), data.pop("usage", None)
    envelope = {**data, "object": "chat.completion.chunk"}
    if include_usage:
        envelope["usage"] = None
    for each in choices:
        for delta in _deltas(each["message"]):
            yield {**envelope, "choices": [{"index": each["index"], "delta": delta, "finish_reason": None}]}
        ending = {"finish_reason": each["finish_reason"], "logprobs": each.get("logprobs")}
        yield {**envelope, "choices": [{"index": each["index"], "delta": {}, **ending}]}
    if include_usage:
        yield {**envelope, "choices": [], "usage": usage}


def _deltas(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    apart = {"content", "refusal", "tool_calls", "parsed"}
    opening = {name: value for name, value in message.items() if name not in apart and value is not None}
    yield {**opening, "content": "" if isinstance(message.get("content"), str) else None}
    for name in ("content", "refusal"):
        for piece in PIECE.findall(message.get(name) or ""):
            yield {name: piece}
    for place, call in enumerate(message.get("tool_calls") or ()):
        yield {"tool_calls": [{**call, "index": place}]}


def _writer(drafts: Sequence[Generation], judged: Judged) -> str:
    """The model that wrote the first choice, where that is another's; else ""."""
    outcome, trace = judged
    return "" if not outcome.answered or _is_own(outcome, drafts) else writer_of(outcome, trace)


def _is_own(outcome: Outcome, drafts: Sequence[Generation]) -> bool:
    """Whether it is the very answer the client's model gave, word by word."""
    said = outcome.generation
    return outcome.answered and any(said is draft and outcome.text == draft.text for draft in drafts)


def _as_asked(choice: Any, request: ChatRequest) -> Any:
    """The choice without log-probabilities that gate alone had asked for."""
    listed = field(choice, "logprobs")
    if not isinstance(listed, BaseModel):
        return choice
    shown = field(listed, "content") if request.logprobs is not None else None
    if not isinstance(shown, list):
        return choice.model_copy(update={"logprobs": None} if request.logprobs is None else {})
    tokens = [token.model_copy(update={"top_logprobs": _first(token, request.logprobs or 0)}) for token in shown]
    return choice.model_copy(update={"logprobs": listed.model_copy(update={"content": tokens})})


def _first(token: Any, most: int) -> list[Any]:
    return list(field(token, "top_logprobs") or ())[:most]


def _parsed(kind: Any, outcome: Outcome) -> object:
    if refuses(outcome) or not outcome.answered or not outcome.text:
        return None
    try:
        return made(kind, outcome.text)
    except ValueError as error:
        raise UpstreamError(outcome.upstream, str(error)) from error
