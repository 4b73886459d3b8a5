"""The legacy OpenAI completions dialect: ``POST …/completions``, for base models and older servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel

from gate.effects import Generate
from gate.errors import UpstreamError
from gate.ports import HttpRequest, Price, Profile
from gate.types import Generation, Generations, Message, TokenLogprob
from gate.upstreams.openai_wire import (
    ServerOptions,
    log_probability,
    passed_through,
    reply_object,
    request_headers,
    sampling_fields,
    text_of,
    usage_of,
)

_SPEAKERS = {"user": "User: ", "assistant": "Assistant: "}


class OpenAICompletionsOptions(ServerOptions):
    template: Literal["transcript", "last_user"] = "transcript"
    """``transcript``: every turn, then ``Assistant:``; ``last_user``: the last user message and nothing else."""


@dataclass(frozen=True, slots=True)
class OpenAICompletions:
    """Fits `WireUpstream`. The dialect has no tools: a request with tools is refused."""

    kind: ClassVar[str] = "openai_completions"
    Options: ClassVar[type[BaseModel]] = OpenAICompletionsOptions

    name: str
    options: OpenAICompletionsOptions
    price: Price
    key: str | None = field(repr=False)

    @classmethod
    def from_options(cls, name: str, options: OpenAICompletionsOptions, price: Price) -> Self:
        return cls(name, options, price, options.key())

    @property
    def profile(self) -> Profile:
        return replace(self.options.capabilities.profile, tools=False, stream=False)

    @property
    def fingerprint(self) -> str:
        return self.options.fingerprint(self.kind, f"1-{self.options.template}")

    def encode(self, effect: Generate) -> HttpRequest:
        if effect.extra.get("tools") or effect.extra.get("functions"):
            raise UpstreamError(self.name, "the completions dialect has no tools", status=400)
        body: dict[str, Any] = {
            "model": self.options.model,
            "prompt": prompt_of(effect.messages, self.options.template),
            **sampling_fields(effect, self.profile),
        }
        if effect.limit is not None:
            body["max_tokens"] = effect.limit
        if effect.logprobs is not None and self.profile.logprobs:
            body["logprobs"] = max(1, min(effect.logprobs, self.profile.top_logprobs))
        body |= passed_through(effect)
        return HttpRequest(f"{self.options.base_url}/completions", request_headers(self.options, self.key), body)

    def decode(self, status: int, headers: Mapping[str, str], body: bytes) -> Generations:
        data = reply_object(self.name, status, headers, body, self.key)
        choices = tuple(
            Generation(
                text=text_of(choice.get("text")).strip(),
                finish_reason=text_of(choice.get("finish_reason")) or "stop",
                tokens=_tokens(choice.get("logprobs")),
            )
            for choice in data["choices"]
        )
        return Generations(choices, usage_of(data), text_of(data.get("model")))


def prompt_of(messages: tuple[Message, ...], template: str) -> str:
    """The conversation as one text."""
    if template == "last_user":
        return next((m.content for m in reversed(messages) if m.role == "user"), "")
    turns = [f"{_SPEAKERS.get(message.role, '')}{message.content}" for message in messages]
    return "\n\n".join([*turns, "Assistant:"])


def _tokens(logprobs: Any) -> tuple[TokenLogprob, ...] | None:
    if not isinstance(logprobs, dict):
        return None
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    tops = logprobs.get("top_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        return None
    read = [log_probability(value) for value in values]
    if read and read[0] is None and values[0] is None:  # servers that echo give the first token none
        tokens, read = tokens[1:], read[1:]
        tops = tops[1:] if isinstance(tops, list) else None
    if any(value is None for value in read):
        return None
    listed = tops if isinstance(tops, list) and len(tops) == len(tokens) else [None] * len(tokens)
    return tuple(
        TokenLogprob(text_of(token), value, _alternatives(top))
        for token, value, top in zip(tokens, read, listed, strict=True)
        if value is not None
    )


def _alternatives(top: Any) -> tuple[tuple[str, float], ...]:
    pairs = (
        (text_of(token), log_probability(value)) for token, value in (top.items() if isinstance(top, dict) else ())
    )
    return tuple((token, value) for token, value in pairs if value is not None)
