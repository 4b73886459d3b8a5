"""The OpenAI chat dialect: ``POST …/chat/completions``. OpenAI, vLLM, llama.cpp, Ollama and many more speak it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel

from gate.effects import Generate
from gate.errors import UpstreamError
from gate.ports import HttpRequest, Price, Profile
from gate.types import Generation, Generations, Message, ToolCall
from gate.upstreams.openai_stream import ChatStream, streamed
from gate.upstreams.openai_wire import (
    ServerOptions,
    content_text,
    passed_through,
    reply_object,
    request_headers,
    sampling_fields,
    text_of,
    token_logprobs,
    usage_of,
)


class OpenAIChatOptions(ServerOptions):
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls the limit: newer OpenAI models take only ``max_completion_tokens``."""


@dataclass(frozen=True, slots=True)
class OpenAIChat:
    """Fits `LiveWireUpstream`."""

    kind: ClassVar[str] = "openai_chat"
    Options: ClassVar[type[BaseModel]] = OpenAIChatOptions

    name: str
    options: OpenAIChatOptions
    price: Price
    key: str | None = field(repr=False)

    @classmethod
    def from_options(cls, name: str, options: OpenAIChatOptions, price: Price) -> Self:
        return cls(name, options, price, options.key())

    @property
    def profile(self) -> Profile:
        return self.options.capabilities.profile

    @property
    def fingerprint(self) -> str:
        return self.options.fingerprint(self.kind, "1")

    def encode(self, effect: Generate) -> HttpRequest:
        body: dict[str, Any] = {
            "model": self.options.model,
            "messages": [wire_message(message) for message in effect.messages],
            **sampling_fields(effect, self.profile),
        }
        if effect.limit is not None:
            body[self.options.max_tokens_field] = effect.limit
        if effect.logprobs is not None and self.profile.logprobs:
            body["logprobs"] = True
            alternatives = min(effect.logprobs, self.profile.top_logprobs)
            if alternatives:
                body["top_logprobs"] = alternatives
        body |= passed_through(effect)
        return HttpRequest(f"{self.options.base_url}/chat/completions", request_headers(self.options, self.key), body)

    def encode_live(self, effect: Generate) -> HttpRequest | None:
        return streamed(self.encode(effect), effect) if self.profile.stream else None

    def live(self, status: int, headers: Mapping[str, str]) -> ChatStream:
        return ChatStream(self.name, status, headers, self.key, self.decode, self.read)

    def decode(self, status: int, headers: Mapping[str, str], body: bytes) -> Generations:
        return self.read(reply_object(self.name, status, headers, body, self.key))

    def read(self, data: Mapping[str, Any]) -> Generations:
        """What a reply's JSON object, as `reply_object` gives it, says. Raises `UpstreamError` for a broken choice."""
        return read_chat(self.name, data)


def read_chat(upstream: str, data: Mapping[str, Any]) -> Generations:
    """What a ``chat.completion`` with at least one choice says, whoever brought it."""
    choices = tuple(_choice(upstream, choice) for choice in data["choices"])
    return Generations(choices, usage_of(data), text_of(data.get("model")))


def _choice(upstream: str, choice: Mapping[str, Any]) -> Generation:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise UpstreamError(upstream, "answered with a choice that holds no message", retryable=True)
    return Generation(
        text=content_text(message.get("content")),
        finish_reason=text_of(choice.get("finish_reason")) or "stop",
        tokens=token_logprobs(choice.get("logprobs")),
        tool_calls=_tool_calls(message.get("tool_calls")),
        refusal=text_of(message.get("refusal")) or None,
    )


def wire_message(message: Message) -> Mapping[str, Any]:
    return message.wire if message.wire is not None else {"role": message.role, "content": message.content}


def _tool_calls(calls: Any) -> tuple[ToolCall, ...]:
    made = []
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            made.append(
                ToolCall(text_of(call.get("id")), text_of(function.get("name")), text_of(function.get("arguments")))
            )
    return tuple(made)
