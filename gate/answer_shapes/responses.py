"""Replies of OpenAI's Responses API: objects of the ``openai`` library, and their JSON as a dict."""

from __future__ import annotations

from typing import Any

from gate.answer_shapes.looks import count, field, plain, wire_logprobs, written_anew
from gate.answer_shapes.shape import Read
from gate.types import Generation, Outcome, TokenLogprob, ToolCall, Usage
from gate.upstreams.openai_wire import text_of, token_logprobs

_CUT = {"max_output_tokens": "length", "content_filter": "content_filter"}


class Response:
    """``output`` with messages and calls of functions; what else is in it, reasoning say, is no part of the answer."""

    name = "OpenAI responses"

    def fits(self, value: object) -> bool:
        return bool(field(value, "object") == "response")

    def read(self, value: object) -> Read:
        data = plain(value)
        status = text_of(data.get("status")) or "completed"
        if status not in {"completed", "incomplete"}:
            raise ValueError(f"the response is no answer: its status is {status!r}")
        items = _objects(data.get("output"))
        parts = [part for item in items if item.get("type") == "message" for part in _objects(item.get("content"))]
        texts = [part for part in parts if part.get("type") == "output_text"]
        calls = tuple(_call(item) for item in items if item.get("type") == "function_call")
        if not parts and not calls and status == "completed":
            raise ValueError("the response holds neither a message nor a call of a function")
        declined = "".join(text_of(part.get("refusal")) for part in parts)
        details = data.get("incomplete_details")
        cut = _CUT.get(text_of(field(details, "reason")), "length")
        generation = Generation(
            text="".join(text_of(part.get("text")) for part in texts),
            finish_reason=cut if status == "incomplete" else "tool_calls" if calls else "stop",
            tokens=_tokens(texts),
            tool_calls=calls,
            refusal=declined or None,
        )
        usage = data.get("usage")
        used = Usage(count(usage, "input_tokens"), count(usage, "output_tokens"))
        return Read(generation, usage=used, model=text_of(data.get("model")))

    def written(self, outcome: Outcome, like: object) -> object:
        """A response with one message and its calls. Reasoning goes with the answer that it led to."""
        data = plain(like)
        answer = outcome.generation or Generation(outcome.text)
        items = _objects(data.get("output"))
        before = next((item for item in items if item.get("type") == "message"), {})
        output: list[dict[str, Any]] = []
        if outcome.text or answer.refusal or not answer.tool_calls:
            output.append(_message(outcome.text, answer, before))
        for place, call in enumerate(answer.tool_calls):
            made = {"call_id": call.id, "name": call.name, "arguments": call.arguments, "status": "completed"}
            output.append({"type": "function_call", "id": f"fc_{call.id or place}", **made})
        cut = answer.finish_reason in {"length", "content_filter"}
        reason = "max_output_tokens" if answer.finish_reason == "length" else "content_filter"
        status = {
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": reason} if cut else None,
        }
        return written_anew(like, {**data, "output": output, **status}, "output", *status)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _call(item: dict[str, Any]) -> ToolCall:
    return ToolCall(text_of(item.get("call_id")), text_of(item.get("name")), text_of(item.get("arguments")))


def _tokens(texts: list[dict[str, Any]]) -> tuple[TokenLogprob, ...] | None:
    """Of all the text, or none: an empty list beside a text says that they were not asked for."""
    made: list[TokenLogprob] = []
    for part in texts:
        tokens = token_logprobs({"content": part.get("logprobs")})
        if tokens is None or (part.get("text") and not tokens):
            return None
        made += tokens
    return tuple(made) if texts else None


def _message(text: str, answer: Generation, before: dict[str, Any]) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if text or not answer.refusal:
        content.append({"type": "output_text", "text": text, "annotations": []})
        had = any(part.get("logprobs") for part in _objects(before.get("content")))
        content[0]["logprobs"] = (wire_logprobs(answer.tokens) or []) if had else []
    if answer.refusal:
        content.append({"type": "refusal", "refusal": answer.refusal})
    made = {"type": "message", "role": "assistant", "status": "completed", "content": content}
    return {"id": text_of(before.get("id")) or "msg_gate", **made}
