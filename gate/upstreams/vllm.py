"""The chat dialect as vLLM speaks it: sampling spelled out, its own end of an answer, and what is read in the model.

Internal states come from servers that run `gate.engine_plugin`; any other vLLM server answers without them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, Field

from gate.effects import STOPPED_EARLY, Generate
from gate.errors import UpstreamError
from gate.http_wire import masked
from gate.ports import HttpRequest, Price, Profile
from gate.types import Generation, Generations, InternalStates, TokenLogprob
from gate.upstreams.openai_chat import OpenAIChat, OpenAIChatOptions
from gate.upstreams.openai_stream import ChatStream, streamed
from gate.upstreams.openai_wire import Capabilities, reply_object

_NEUTRAL: Mapping[str, float] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""All that a model folder's ``generation_config.json`` may set otherwise (but a limit of tokens), at its no effect."""
_GREEDY = 1e-5
"""Temperatures below this are 0 to vLLM."""
_STATES = "gate_states"
"""The name under ``kv_transfer_params``, in request and reply."""
_MOST_LAYERS = 64
_MOST_FEATURES = 2**14
"""Characters: ten times what is written."""
_MOST_ID = 64
_NUMBERS = range(1, 2**31)


class VllmCapabilities(Capabilities):
    """Set ``seed`` to false where vLLM 0.32 runs on a CPU: it dies of a seeded request whose prompt comes in pieces."""

    top_logprobs: int = Field(default=20, ge=0, le=20)
    n: int = Field(default=64, ge=1, le=128)
    states: bool = True
    """Whether the server runs the plugin that reads inside the model."""


class VllmOptions(OpenAIChatOptions):
    capabilities: VllmCapabilities = VllmCapabilities()


@dataclass(frozen=True, slots=True)
class VllmChat:
    """Fits `LiveWireUpstream`. Refuses, before anything is sent, what vLLM refuses: several greedy answers."""

    kind: ClassVar[str] = "vllm"
    Options: ClassVar[type[BaseModel]] = VllmOptions

    options: VllmOptions
    chat: OpenAIChat
    """The dialect it adds to."""

    @classmethod
    def from_options(cls, name: str, options: VllmOptions, price: Price) -> Self:
        return cls(options, OpenAIChat.from_options(name, options, price))

    @property
    def name(self) -> str:
        return self.chat.name

    @property
    def price(self) -> Price:
        return self.chat.price

    @property
    def profile(self) -> Profile:
        return self.chat.profile

    @property
    def fingerprint(self) -> str:
        return self.options.fingerprint(self.kind, "1")

    def encode(self, effect: Generate) -> HttpRequest:
        sent = self.chat.encode(effect)
        body = {**_NEUTRAL, **sent.body}
        if effect.n > 1 and effect.temperature is not None and effect.temperature < _GREEDY:
            raise UpstreamError(
                self.name, f"gives one answer at temperature 0, not {effect.n}: they would be alike", status=400
            )
        if effect.states is not None and self.profile.states:
            body["kv_transfer_params"] = {_STATES: {}}
            if effect.states.given:
                body |= self._reading(effect)
        return dataclasses.replace(sent, body=body)

    def encode_live(self, effect: Generate) -> HttpRequest | None:
        """A stream of vLLM's has no place for internal states: what is read inside is not streamed."""
        if not self.profile.stream or (effect.states is not None and self.profile.states):
            return None
        return streamed(self.encode(effect), effect, continuous_usage_stats=True)

    def live(self, status: int, headers: Mapping[str, str]) -> ChatStream:
        return ChatStream(self.name, status, headers, self.chat.key, self.decode, self.read)

    def _reading(self, effect: Generate) -> dict[str, Any]:
        """What has the model read the last message as its own answer, instead of writing one after it."""
        answer = effect.messages[-1]
        if answer.role != "assistant":
            raise UpstreamError(self.name, f"reads answers of the assistant, not a message of {answer.role!r}")
        return {
            "kv_transfer_params": {_STATES: {"given": answer.content}},
            "continue_final_message": True,
            "add_generation_prompt": False,
            self.options.max_tokens_field: 1,
        }

    def decode(self, status: int, headers: Mapping[str, str], body: bytes) -> Generations:
        """A reply without internal states says nothing of them, for it may not have been asked: drivers know."""
        return self.read(reply_object(self.name, status, headers, body, self.chat.key))

    def read(self, data: Mapping[str, Any]) -> Generations:
        read = self.chat.read(data)
        sent = _object(_object(data.get("kv_transfer_params")).get(_STATES))
        choices = tuple(
            _with_states(
                _without_its_end(generation, choice.get("stop_reason")), sent, _index(choice, place), self.chat.key
            )
            for place, (generation, choice) in enumerate(zip(read.choices, data["choices"], strict=True))
        )
        return dataclasses.replace(read, choices=choices)


# --- the end of an answer ----------------------------------------------------------------------------------------


def _without_its_end(generation: Generation, stop_reason: Any) -> Generation:
    """vLLM lists the token that ended an answer, or those of a stop string, behind the tokens of its text."""
    if not generation.tokens or generation.finish_reason in {"length", STOPPED_EARLY}:
        return generation
    if isinstance(stop_reason, str):
        kept = _before(generation.tokens, stop_reason)
    elif generation.text.endswith(generation.tokens[-1].token):  # the caller wanted special tokens to be shown
        kept = generation.tokens
    else:
        kept = generation.tokens[:-1]
    return dataclasses.replace(generation, tokens=kept)


def _before(tokens: tuple[TokenLogprob, ...], stop: str) -> tuple[TokenLogprob, ...]:
    """Those that begin before the last ``stop`` in what they spell; all of them where it is not to be found."""
    cut = "".join(token.token for token in tokens).rfind(stop)
    kept, spelled = 0, 0
    for token in tokens:
        if spelled >= cut >= 0:
            break
        spelled += len(token.token)
        kept += 1
    return tokens[:kept]


# --- internal states ---------------------------------------------------------------------------------------------


def _with_states(generation: Generation, sent: Mapping[str, Any], index: int, key: str | None) -> Generation:
    """With what the server sent for the choice of this index: its states, or why there are none."""
    if not sent:
        return generation
    block = sent.get(str(index))
    if not isinstance(block, dict):
        return dataclasses.replace(generation, no_states=f"the server sent no internal states of answer {index}")
    if "missing" in block:
        reason = block["missing"] if isinstance(block["missing"], str) else ""
        return dataclasses.replace(generation, no_states=masked(reason, key) or "the server did not say why")
    states = _states(block)
    if states is None:
        return dataclasses.replace(generation, no_states="the server sent internal states that cannot be read")
    return dataclasses.replace(generation, states=states)


def _states(block: Mapping[str, Any]) -> InternalStates | None:
    """None unless every field is there and of its kind. Whether they hold together is for who unpacks them to see."""
    numbers = [block.get(name) for name in ("version", "depth", "width", "answer_tokens")]
    texts = [block.get(name) for name in ("model", "digest")]
    layers, features = block.get("layers"), block.get("features")
    if not isinstance(layers, list) or len(layers) > _MOST_LAYERS or not all(map(_is_number, [*numbers, *layers])):
        return None
    if not all(isinstance(text, str) and len(text) <= _MOST_ID for text in texts):
        return None
    if not isinstance(features, str) or len(features) > _MOST_FEATURES:
        return None
    return InternalStates(
        version=block["version"],
        model=block["model"],
        depth=block["depth"],
        width=block["width"],
        layers=tuple(layers),
        answer_tokens=block["answer_tokens"],
        features=features,
        digest=block["digest"],
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in _NUMBERS


def _index(choice: Mapping[str, Any], place: int) -> int:
    """Which of the answers it is: servers need not list them in order."""
    index = choice.get("index")
    return index if isinstance(index, int) and not isinstance(index, bool) else place


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
