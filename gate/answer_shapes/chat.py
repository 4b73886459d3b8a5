"""Chat completions: of the ``openai`` library, of LiteLLM, and the JSON of either as a dict."""

from __future__ import annotations

from typing import Any

from gate.answer_shapes.looks import field, plain, wire_logprobs, wire_tool_calls, written_anew
from gate.answer_shapes.shape import Read
from gate.answer_shapes.structured import fitted
from gate.errors import UpstreamError
from gate.types import Generation, Outcome
from gate.upstreams.openai_chat import read_chat


class ChatCompletion:
    """``choices`` with a ``message`` each. Those after the first are read as further choices."""

    name = "chat completions"

    def fits(self, value: object) -> bool:
        if field(value, "object") == "chat.completion":
            return True
        choices = field(value, "choices")
        message = field(choices[0], "message") if isinstance(choices, list) and choices else None
        return field(message, "role") is not None

    def read(self, value: object) -> Read:
        data = plain(value)
        if not all(isinstance(choice, dict) for choice in _choices(data)):
            raise ValueError("a choice of the completion holds no message")
        try:
            said = read_chat("of the caller's", data)
        except UpstreamError as error:
            raise ValueError("a choice of the completion holds no message") from error
        return Read(said.choices[0], said.choices[1:], said.usage, said.model)

    def written(self, outcome: Outcome, like: object) -> object:
        """A completion with this one choice. A ``parsed`` message is parsed anew."""
        data = plain(like)
        first = _choices(data)[0]
        answer = outcome.generation or Generation(outcome.text)
        calls = wire_tool_calls(answer.tool_calls)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": outcome.text or (None if calls or answer.refusal else ""),
            "refusal": answer.refusal,
            "tool_calls": calls or None,
        }
        parsed = _parsed(like)
        if parsed is not None:
            message["parsed"] = fitted(outcome.text, parsed) if outcome.text else None
        shown = wire_logprobs(answer.tokens) if field(first, "logprobs") else None
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": answer.finish_reason,
            "logprobs": shown and {"content": shown, "refusal": None},
        }
        return written_anew(like, {**data, "choices": [choice]}, "choices")


def _choices(data: dict[str, Any]) -> list[Any]:
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ValueError("the completion holds no choices")
    return choices


def _parsed(like: object) -> object:
    """What the library made of the first choice's text, where it was asked to."""
    choices = field(like, "choices")
    return field(field(choices[0], "message"), "parsed") if isinstance(choices, list) and choices else None
