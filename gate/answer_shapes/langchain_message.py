"""Messages of LangChain that a model wrote: ``AIMessage`` and its chunks."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from gate.answer_shapes.anthropic_message import arguments_of
from gate.answer_shapes.looks import count, field, plain, wire_logprobs
from gate.answer_shapes.shape import Read
from gate.types import Generation, Outcome, ToolCall, Usage
from gate.upstreams.openai_wire import content_text, text_of, token_logprobs

_FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
_REASONS = ("finish_reason", "stop_reason", "done_reason")
"""What the packages for the various servers call it."""


class LangChainMessage:
    """Its text, ``tool_calls``, and what ``response_metadata`` tells of tokens and of the end."""

    name = "LangChain messages"

    def fits(self, value: object) -> bool:
        said = isinstance(value, BaseModel) and field(value, "type") in {"ai", "AIMessageChunk"}
        return said and isinstance(field(value, "response_metadata"), dict)

    def read(self, value: object) -> Read:
        data = plain(value)
        told = data["response_metadata"]
        calls = [_call(call) for call in data.get("tool_calls") or () if isinstance(call, dict)]
        calls += [_broken_call(call) for call in data.get("invalid_tool_calls") or () if isinstance(call, dict)]
        reason = next((told[name] for name in _REASONS if isinstance(told.get(name), str)), "")
        generation = Generation(
            text=content_text(_spoken(data.get("content"))),
            finish_reason=_FINISH.get(reason, reason or "stop"),
            tokens=token_logprobs(told.get("logprobs")),
            tool_calls=tuple(calls),
            refusal=text_of(field(data.get("additional_kwargs"), "refusal")) or None,
        )
        usage = data.get("usage_metadata")
        used = Usage(count(usage, "input_tokens"), count(usage, "output_tokens"))
        return Read(generation, usage=used, model=text_of(told.get("model_name")) or text_of(told.get("model")))

    def written(self, outcome: Outcome, like: object) -> object:
        """A message that says this. Arguments that are no JSON object stand among its ``invalid_tool_calls``."""
        if not isinstance(like, BaseModel):
            raise ValueError(f"a {type(like).__qualname__} is no message of LangChain")
        data = plain(like)
        answer = outcome.generation or Generation(outcome.text)
        told = {**data["response_metadata"]}
        for name in _REASONS:
            if name in told:
                told[name] = answer.finish_reason
        if told.get("logprobs"):
            shown = wire_logprobs(answer.tokens)
            told["logprobs"] = shown and {"content": shown, "refusal": None}
        beside = {**(data.get("additional_kwargs") or {})}
        for name in ("refusal", "tool_calls", "parsed", "reasoning_content"):
            beside.pop(name, None)
        if answer.refusal:
            beside["refusal"] = answer.refusal
        good, broken = _sorted(answer.tool_calls)
        changed = {
            "content": outcome.text,
            "tool_calls": good,
            "invalid_tool_calls": broken,
            "response_metadata": told,
            "additional_kwargs": beside,
        }
        if field(like, "tool_call_chunks"):
            changed["tool_call_chunks"] = []
        return like.model_copy(update=changed)


def _spoken(content: Any) -> Any:
    """Its parts that are text: thinking, say, is none of them."""
    if not isinstance(content, list):
        return content
    return [
        {"text": part} if isinstance(part, str) else part
        for part in content
        if isinstance(part, str) or field(part, "type") in {"text", "output_text", None}
    ]


def _call(call: dict[str, Any]) -> ToolCall:
    try:
        arguments = json.dumps(call.get("args") or {}, ensure_ascii=False)
    except RecursionError as error:
        raise ValueError("the arguments of a tool nest too deep") from error
    return ToolCall(text_of(call.get("id")), text_of(call.get("name")), arguments)


def _broken_call(call: dict[str, Any]) -> ToolCall:
    return ToolCall(text_of(call.get("id")), text_of(call.get("name")), text_of(call.get("args")))


def _sorted(calls: tuple[ToolCall, ...]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    good: list[dict[str, Any]] = []
    broken: list[dict[str, Any]] = []
    for call in calls:
        named = {"id": call.id, "name": call.name}
        try:
            good.append({**named, "args": arguments_of(call), "type": "tool_call"})
        except ValueError as error:
            broken.append({**named, "args": call.arguments, "error": str(error), "type": "invalid_tool_call"})
    return good, broken
