"""Chunks of a streamed chat completion, as the ``openai`` library has them."""

from __future__ import annotations

from typing import Any

from openai.types.chat import ChatCompletionChunk


def chunk(content: str | None = None, finish: str | None = None, **more: Any) -> ChatCompletionChunk:
    delta = {"content": content, **more.pop("delta", {})}
    choices = more.pop("choices", [{"index": 0, "delta": delta, "finish_reason": finish, **more.pop("choice", {})}])
    head = {"id": "c", "created": 1, "model": "small-1", "object": "chat.completion.chunk"}
    return ChatCompletionChunk.model_validate({**head, "choices": choices, **more})
