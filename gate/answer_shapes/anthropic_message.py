"""Messages of Anthropic's API: objects of the ``anthropic`` library, and their JSON as a dict."""

from __future__ import annotations

import json
from typing import Any

from gate.answer_shapes.looks import count, field, plain, written_anew
from gate.answer_shapes.shape import Read
from gate.types import Generation, Outcome, ToolCall, Usage
from gate.upstreams.openai_wire import text_of

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STOP = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_DECLINED = "the model declined to answer"


class AnthropicMessage:
    """``content`` with blocks of text and uses of tools; there are no log-probabilities in this dialect."""

    name = "Anthropic messages"

    def fits(self, value: object) -> bool:
        said = field(value, "role") == "assistant" and isinstance(field(value, "content"), list)
        return said and field(value, "type") == "message" and field(value, "object") is None

    def read(self, value: object) -> Read:
        data = plain(value)
        blocks = [block for block in data["content"] if isinstance(block, dict)]
        text = "".join(text_of(block.get("text")) for block in blocks if block.get("type") == "text")
        calls = tuple(_call(block) for block in blocks if block.get("type") == "tool_use")
        stopped = text_of(data.get("stop_reason"))
        declined = stopped == "refusal"
        generation = Generation(
            text="" if declined else text,
            finish_reason=_FINISH.get(stopped, stopped or "stop"),
            tool_calls=calls,
            refusal=(text or text_of(field(data.get("stop_details"), "explanation")) or _DECLINED)
            if declined
            else None,
        )
        usage = data.get("usage")
        cached = ("cache_creation_input_tokens", "cache_read_input_tokens")
        read = sum(count(usage, name) for name in ("input_tokens", *cached))
        return Read(generation, usage=Usage(read, count(usage, "output_tokens")), model=text_of(data.get("model")))

    def written(self, outcome: Outcome, like: object) -> object:
        """A message with one block of text and its uses of tools. Thinking goes with the answer that it led to."""
        answer = outcome.generation or Generation(outcome.text)
        text = outcome.text or answer.refusal or ""
        content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text or not answer.tool_calls else []
        content += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments_of(call)}
            for call in answer.tool_calls
        ]
        stopped = "refusal" if answer.refusal else _STOP.get(answer.finish_reason, "end_turn")
        changed = {"content": content, "stop_reason": stopped, "stop_sequence": None}
        return written_anew(like, {**plain(like), **changed}, *changed)


def _call(block: dict[str, Any]) -> ToolCall:
    try:
        arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
    except RecursionError as error:
        raise ValueError("the input of a tool nests too deep") from error
    return ToolCall(text_of(block.get("id")), text_of(block.get("name")), arguments)


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """What a tool is called with. Raises `ValueError` where the model wrote something that is no JSON object."""
    try:
        found = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"the arguments of the tool {call.name!r} are no JSON object")
    return found
