"""The pocket model as an upstream: a small language model of geography inside this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import BaseModel

from gate.effects import Generate
from gate.errors import UpstreamError
from gate.pocket.weights import Size, fingerprint
from gate.ports import Price, Profile
from gate.types import Generation, Generations, Message, Usage


class PocketOptions(BaseModel, extra="forbid"):
    """What a policy file may say about a pocket upstream."""

    model: Size = "small"


@dataclass(frozen=True)
class PocketUpstream:
    """Fits `LocalUpstream`. Costs nothing to construct: the model is opened by the first request, and shared by all."""

    kind: ClassVar[str] = "pocket"
    Options: ClassVar[type[BaseModel]] = PocketOptions
    profile: ClassVar[Profile] = Profile(logprobs=True, top_logprobs=20, n=64, tools=False, seed=True)

    name: str
    size: Size = "small"
    price: Price = Price()

    @classmethod
    def from_options(cls, name: str, options: PocketOptions, price: Price) -> Self:
        return cls(name, options.model, price)

    @property
    def fingerprint(self) -> str:
        """That of weights and tokenizer; the first look reads them from disk once a process."""
        return f"pocket-{self.size}:{fingerprint(self.size)}"

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        """Answer the last user message; stop between two tokens, raising `UpstreamError`, once ``cancelled()`` is true.

        Messages may hold nothing but text, and ``effect.extra`` may not ask for tools; its other fields have no meaning
        here. Temperature is 1 unless given.
        """
        from gate.pocket.model import PocketModel  # these load onnxruntime and numpy: a few tenths of a second that
        from gate.pocket.sampling import Sampling  # only who runs the model pays

        if effect.n > self.profile.n:
            raise UpstreamError(
                self.name, f"gives at most {self.profile.n} answers a request, not {effect.n}", status=400
            )
        if effect.extra.get("tools") or effect.extra.get("functions"):
            raise UpstreamError(self.name, "the pocket model cannot call tools: leave them out", status=400)
        if not all(map(_only_text, effect.messages)):
            raise UpstreamError(
                self.name, "the pocket model reads text only: leave out images, audio and files", status=400
            )
        how = Sampling(
            n=effect.n,
            temperature=1.0 if effect.temperature is None else effect.temperature,
            top_p=1.0 if effect.top_p is None else effect.top_p,
            max_tokens=effect.limit,
            stop=effect.stop,
            seed=effect.seed,
            top_logprobs=effect.logprobs,
        )
        model = PocketModel.load(self.size)
        try:
            prompt = model.encode_chat(effect.messages)
            answers = model.generate(prompt, how, cancelled)
        except UpstreamError as error:  # the model knows its own name; the policy's name is what people look for
            raise UpstreamError(self.name, error.cause, status=error.status) from error
        choices = tuple(Generation(a.text, a.finish_reason, a.tokens) for a in answers)
        return Generations(choices, Usage(len(prompt), sum(len(a.ids) for a in answers)), model.name)


def _only_text(message: Message) -> bool:
    parts = message.wire.get("content") if message.wire else None
    return not isinstance(parts, list) or all(part.get("type") == "text" for part in parts)
